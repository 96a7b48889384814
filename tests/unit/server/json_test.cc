// SPDX-License-Identifier: Apache-2.0
//
// JSON from clients who mean well and from those who do not, and to them.
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/inference/grpc_service.pb.h"
#include "server/http/json_reader.h"
#include "server/http/json_writer.h"

namespace quern::server {
namespace {

using ::testing::HasSubstr;

// Whether the text is one whole value.
absl::Status Check(const std::string& text) {
  JsonReader json(text);
  const absl::Status status = json.Skip();
  return status.ok() ? json.End() : status;
}

absl::StatusOr<std::string> StringOf(const std::string& text) {
  JsonReader json(text);
  return json.String();
}

std::string Repeated(absl::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) absl::StrAppend(&all, text);
  return all;
}

TEST(JsonReader, TakesWhatIsJsonAndTheWordsForFloats) {
  for (const char* text : {"0",
                           "-0",
                           "12",
                           "-1.5",
                           "1e9",
                           "1E-9",
                           "1.25e+2",
                           "NaN",
                           "Infinity",
                           "-Infinity",
                           "true",
                           "false",
                           "null",
                           "\"\"",
                           "\"a\"",
                           "[]",
                           "[ ]",
                           "[1,2]",
                           "[[],[[]]]",
                           "{}",
                           "{ }",
                           "{\"a\":1,\"b\":[{}]}",
                           " \t\r\n[ 1 , 2 ] "}) {
    EXPECT_TRUE(Check(text).ok()) << text << ": " << Check(text);
  }
}

TEST(JsonReader, RefusesWhatIsNot) {
  for (const char* text : {"",
                           " ",
                           "01",
                           "+1",
                           ".5",
                           "5.",
                           "1e",
                           "1e+",
                           "--1",
                           "0x10",
                           "1 2",
                           "nan",
                           "inf",
                           "+Infinity",
                           "NaNa",
                           "-NaN",
                           "tru",
                           "truefalse",
                           "nul",
                           "'a'",
                           "\"a",
                           "\"\\\"",
                           "[",
                           "]",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{",
                           "{\"a\"",
                           "{\"a\":",
                           "{\"a\":1",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{1:2}",
                           "{\"a\" 1}",
                           "{\"a\":1 \"b\":2}",
                           "[1]]",
                           "{}{}",
                           "// a\n1",
                           "\\u0031",
                           "\xef\xbb\xbf"
                           "1"}) {
    const absl::Status status = Check(text);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(status.message(), HasSubstr("malformed at byte ")) << text;
  }
}

TEST(JsonReader, UnderstandsEscapes) {
  EXPECT_EQ(*StringOf(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(*StringOf(R"("\u0041\u00e4\u20AC")"), "A\xc3\xa4\xe2\x82\xac");
  EXPECT_EQ(*StringOf(R"("\ud83d\ude00")"), "\xf0\x9f\x98\x80");
  EXPECT_EQ(*StringOf(R"("a\u0000b")"), std::string("a\0b", 3));
  EXPECT_EQ(*StringOf("\"\xc3\xa4\xf0\x9f\x98\x80\""),
            "\xc3\xa4\xf0\x9f\x98\x80");
}

TEST(JsonReader, RefusesStringsThatAreNoText) {
  for (const std::string text :
       {R"("\x")", R"("\u12")", R"("\u12g4")", R"("\ud83d")", R"("\ud83dA")",
        R"("\ud83d\u0041")", R"("\ude00")", "\"a\nb\"", "\"a\\\nb\"",
        "\"\x01\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
        "\"\\n\xff\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\""}) {
    EXPECT_FALSE(StringOf(text).ok()) << text;
  }
  EXPECT_FALSE(StringOf(std::string("\"\0\"", 3)).ok());
}

TEST(JsonReader, HasALimitOfDepth) {
  const auto nested = [](int depth) {
    return Repeated("[", depth) + Repeated("]", depth);
  };
  EXPECT_TRUE(Check(nested(JsonReader::kMaxDepth)).ok());
  EXPECT_THAT(Check(nested(JsonReader::kMaxDepth + 1)).message(),
              HasSubstr("deeper than 64 levels"));
  EXPECT_FALSE(Check(Repeated("[", 1'000'000)).ok());
  EXPECT_FALSE(Check(Repeated("{\"a\":", 1'000'000)).ok());
  // Depth is what is open at a time.
  EXPECT_TRUE(Check(absl::StrCat("[", Repeated("[[]],", 1000), "1]")).ok());
}

TEST(JsonReader, AnObjectHasEachNameOnceAndNotTooMany) {
  EXPECT_THAT(Check(R"({"a":1,"b":{"a":1},"a":2})").message(),
              HasSubstr("'a' twice"));
  EXPECT_THAT(Check("{\"a\":1,\"\\u0061\":2}").message(), HasSubstr("twice"));
  const auto members = [](size_t count) {
    std::string text = "{\"\":0";
    for (size_t i = 1; i < count; ++i) absl::StrAppend(&text, ",\"", i, "\":0");
    return text + "}";
  };
  EXPECT_TRUE(Check(members(JsonReader::kMaxMembers)).ok());
  EXPECT_THAT(Check(members(JsonReader::kMaxMembers + 1)).message(),
              HasSubstr("more than 4096 members"));
}

TEST(JsonReader, SaysWhatItExpectedWhereAndWhatCame) {
  EXPECT_EQ(Check("[1,x]").message(),
            "the JSON is malformed at byte 3: expected a value, got 'x]'");
  EXPECT_EQ(Check("[1").message(),
            "the JSON is malformed at byte 2: expected a comma or the array's "
            "end, got its end");
}

TEST(JsonReader, GivesAValueAsItIsWritten) {
  JsonReader json(R"({"a": [1, {"b" : 2}] , "c": 1.50})");
  std::vector<std::string> raw;
  ASSERT_TRUE(json.Object([&](const std::string&) {
                    const auto text = json.Raw();
                    if (text.ok()) raw.emplace_back(*text);
                    return text.status();
                  })
                  .ok());
  EXPECT_THAT(raw, ::testing::ElementsAre(R"([1, {"b" : 2}])", "1.50"));
}

// Every text of a few characters is read as another reader reads it.
TEST(JsonReader, AgreesWithTheLibraryOnAllShortTexts) {
  const std::string alphabet = "[]{}\",:0-1e.tn ";
  const int letters = static_cast<int>(alphabet.size());
  int taken = 0;
  for (int length = 1; length <= 4; ++length) {
    int texts = 1;
    for (int i = 0; i < length; ++i) texts *= letters;
    for (int n = 0; n < texts; ++n) {
      std::string text;
      for (int rest = n, i = 0; i < length; ++i, rest /= letters) {
        text += alphabet[static_cast<size_t>(rest % letters)];
      }
      const bool ok = Check(text).ok();
      taken += ok;
      ASSERT_EQ(ok, nlohmann::json::accept(text)) << text;
    }
  }
  EXPECT_GT(taken, 400);
}

std::string Written(absl::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

template <typename T>
std::string Number(T value) {
  std::string out;
  AppendJsonNumber(value, out);
  return out;
}

TEST(JsonWriter, AStringReadsBack) {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
  EXPECT_EQ(*StringOf(Written(all)), all);
  EXPECT_EQ(*StringOf(Written("a\xff\xfe"
                              "b")),
            "a\xef\xbf\xbd\xef\xbf\xbd"
            "b");
}

TEST(JsonWriter, ANumberIsTheShortestThatReadsBack) {
  EXPECT_EQ(Number(0.1f), "0.1");
  EXPECT_EQ(Number(0.1), "0.1");
  EXPECT_EQ(Number(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(Number(std::numeric_limits<int64_t>::min()),
            "-9223372036854775808");
  EXPECT_EQ(Number(std::numeric_limits<uint64_t>::max()),
            "18446744073709551615");
  EXPECT_EQ(Number(std::numeric_limits<double>::quiet_NaN()), "NaN");
  EXPECT_EQ(Number(-std::numeric_limits<float>::infinity()), "-Infinity");
  for (const double value : {5e-324, 2.2250738585072014e-308,
                             1.7976931348623157e308, 9007199254740993.0}) {
    EXPECT_EQ(std::strtod(Number(value).c_str(), nullptr), value);
  }
}

TEST(JsonWriter, AMessageHasAllItsFieldsAndNumbersAsNumbers) {
  inference::ModelStatistics message;
  message.set_name("a\"b");
  message.set_last_inference(18446744073709551615u);
  auto* memory = message.add_memory_usage();
  memory->set_id(-1);
  (*message.mutable_response_stats())["k"].mutable_success()->set_ns(7);
  std::string out;
  AppendJsonMessage(message, out);
  EXPECT_EQ(nlohmann::json::parse(out), nlohmann::json::parse(R"({
    "name": "a\"b", "version": "", "last_inference": 18446744073709551615,
    "inference_count": 0, "execution_count": 0, "batch_stats": [],
    "memory_usage": [{"type": "", "id": -1, "byte_size": 0}],
    "response_stats": {"k": {"success": {"count": 0, "ns": 7}}}})"));
}

}  // namespace
}  // namespace quern::server
