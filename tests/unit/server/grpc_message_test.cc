// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_message.h"

#include <string>
#include <vector>
#include <zlib.h>

#include "absl/strings/str_cat.h"
#include "google/protobuf/wrappers.pb.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A message with this text.
std::string Text(const std::string& text) {
  google::protobuf::BytesValue value;
  value.set_value(text);
  return value.SerializeAsString();
}

std::string Framed(const std::string& message, bool compressed = false) {
  std::string frame(kGrpcPrefixBytes, '\0');
  PutGrpcPrefix(message.size(), frame.data());
  frame[0] = compressed ? 1 : 0;
  return frame + message;
}

// By zlib, as gzip if `window` says so.
std::string Packed(const std::string& text, int window) {
  z_stream stream = {};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, window, 8,
               Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

class GrpcMessageReaderTest : public ::testing::Test {
 protected:
  // The texts of the messages, which are those of google.protobuf.BytesValue.
  absl::Status TakeFrom(GrpcMessageReader& reader, absl::string_view bytes) {
    absl::Status parsed;
    const absl::Status taken = reader.Take(bytes, [&](GrpcMessage message) {
      google::protobuf::BytesValue value;
      parsed.Update(message.Parse(value));
      if (parsed.ok()) messages_.push_back(value.value());
    });
    return taken.ok() ? parsed : taken;
  }
  absl::Status Take(absl::string_view bytes) {
    return TakeFrom(reader_, bytes);
  }
  double InFlight() {
    return metrics_.GetNumber(telemetry::Metric::kRequestBytesInFlight)->Get();
  }

  telemetry::Metrics metrics_;
  Admission admission_{{.pending_per_model = 1, .bytes_in_flight = 100'000},
                       &metrics_};
  GrpcMessageReader reader_{{.max_bytes = 50'000, .admission = &admission_}};
  std::vector<std::string> messages_;
};

TEST_F(GrpcMessageReaderTest, TakesMessagesCutAnywhere) {
  const std::string bytes =
      Framed(Text("one")) + Framed("") + Framed(Text(std::string(300, 'x')));
  for (size_t step = 1; step <= bytes.size(); ++step) {
    messages_.clear();
    for (size_t at = 0; at < bytes.size(); at += step) {
      ASSERT_TRUE(Take(absl::string_view(bytes).substr(at, step)).ok());
    }
    ASSERT_THAT(messages_, ElementsAre("one", "", std::string(300, 'x')));
    ASSERT_FALSE(reader_.inside());
    ASSERT_EQ(InFlight(), 0);
  }
}

TEST_F(GrpcMessageReaderTest, CountsWhatHasComeAndNotWhatIsAnnounced) {
  const std::string bytes = Framed(Text(std::string(40'000, 'x')));
  ASSERT_TRUE(Take(bytes.substr(0, 1005)).ok());
  EXPECT_EQ(InFlight(), 1000);
  EXPECT_TRUE(reader_.inside());
  EXPECT_EQ(reader_.seen(), 1005);
  ASSERT_TRUE(Take(bytes.substr(1005)).ok());
  EXPECT_EQ(InFlight(), 0);
  EXPECT_EQ(messages_.size(), 1u);
}

TEST_F(GrpcMessageReaderTest, RefusesWhatIsOverALimit) {
  const std::string bytes = Framed(std::string(50'001, 'x'));
  const absl::Status long_message = Take(bytes.substr(0, kGrpcPrefixBytes));
  EXPECT_EQ(long_message.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(long_message.message(), HasSubstr("--max-message-bytes"));

  Admission::Bytes others(&admission_);
  ASSERT_TRUE(others.Take(90'000).ok());
  // What is here as a whole need not be kept.
  GrpcMessageReader second({.max_bytes = 50'000, .admission = &admission_});
  EXPECT_TRUE(TakeFrom(second, Framed(Text(std::string(20'000, 'x')))).ok());
  const absl::Status kept = TakeFrom(
      second, Framed(Text(std::string(20'001, 'x'))).substr(0, 15'000));
  EXPECT_EQ(kept.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(kept.message(), HasSubstr("--max-bytes-in-flight"));
}

TEST_F(GrpcMessageReaderTest, TheMostThatWasInFlightIsKnown) {
  {
    Admission::Bytes bytes(&admission_);
    ASSERT_TRUE(bytes.Take(30'000).ok());
    ASSERT_TRUE(bytes.Take(20'000).ok());
  }
  Admission::Bytes bytes(&admission_);
  ASSERT_TRUE(bytes.Take(10'000).ok());
  EXPECT_EQ(admission_.TakeMostBytes(), 50'000);
  EXPECT_EQ(admission_.TakeMostBytes(), 10'000);
}

TEST_F(GrpcMessageReaderTest, InflatesWhatIsCompressed) {
  const std::string text(45'000, 'a');
  for (const GrpcEncoding encoding :
       {GrpcEncoding::kDeflate, GrpcEncoding::kGzip}) {
    reader_.SetEncoding(encoding);
    const int window =
        encoding == GrpcEncoding::kGzip ? 16 + MAX_WBITS : MAX_WBITS;
    for (const std::string& message : {text, std::string("b"), std::string()}) {
      messages_.clear();
      ASSERT_TRUE(Take(Framed(Packed(Text(message), window), true) +
                       Framed(Text("plain")))
                      .ok());
      EXPECT_THAT(messages_, ElementsAre(message, "plain"));
      EXPECT_EQ(InFlight(), 0);
    }
  }
}

TEST_F(GrpcMessageReaderTest, ABombIsFoundBeforeItIsLarge) {
  reader_.SetEncoding(GrpcEncoding::kGzip);
  const std::string bomb =
      Packed(Text(std::string(30'000'000, 'a')), 16 + MAX_WBITS);
  ASSERT_LT(bomb.size(), 50'000u);
  const absl::Status status = Take(Framed(bomb, true));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(messages_, IsEmpty());
}

TEST_F(GrpcMessageReaderTest, RefusesWhatIsNoMessage) {
  EXPECT_EQ(Take(std::string("\x02\0\0\0\x01x", 6)).code(),
            absl::StatusCode::kInvalidArgument);
  GrpcMessageReader plain({.max_bytes = 1000});
  EXPECT_EQ(TakeFrom(plain, Framed(Text("x"), true)).code(),
            absl::StatusCode::kInvalidArgument);
  GrpcMessageReader other({.max_bytes = 1000});
  EXPECT_THAT(TakeFrom(other, Framed("\xff")).message(),
              HasSubstr("no google.protobuf.BytesValue"));
  const std::string packed = Packed(Text("some text"), 16 + MAX_WBITS);
  const std::vector<std::string> damaged = {packed.substr(0, packed.size() - 1),
                                            packed + "x", "x", ""};
  for (const std::string& bytes : damaged) {
    GrpcMessageReader reader({.max_bytes = 1000});
    reader.SetEncoding(GrpcEncoding::kGzip);
    EXPECT_EQ(TakeFrom(reader, Framed(bytes, true)).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(GrpcMessage, ReadsTimesOfTheWire) {
  EXPECT_EQ(ParseGrpcTimeout("2H"), absl::Hours(2));
  EXPECT_EQ(ParseGrpcTimeout("3M"), absl::Minutes(3));
  EXPECT_EQ(ParseGrpcTimeout("0S"), absl::ZeroDuration());
  EXPECT_EQ(ParseGrpcTimeout("250m"), absl::Milliseconds(250));
  EXPECT_EQ(ParseGrpcTimeout("99999999u"), absl::Microseconds(99999999));
  EXPECT_EQ(ParseGrpcTimeout("1n"), absl::Nanoseconds(1));
  for (const char* bad : {"", "m", "1", "-1m", "1.5S", "1x", "123456789m"}) {
    EXPECT_EQ(ParseGrpcTimeout(bad), std::nullopt) << bad;
  }
}

TEST(GrpcMessage, KeepsOddCharactersOutOfHeaders) {
  EXPECT_EQ(EncodeGrpcMessage("model 'm' 100%\n\xc3\xa9"),
            "model 'm' 100%25%0A%C3%A9");
  EXPECT_EQ(EncodeGrpcMessage(std::string(5000, 'x')).size(), 2003u);
}

}  // namespace
}  // namespace quern::server
