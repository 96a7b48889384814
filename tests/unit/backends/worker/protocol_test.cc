// SPDX-License-Identifier: Apache-2.0
#include "backends/worker/protocol.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::worker {
namespace {

Request AnyRequest() {
  Request request;
  request.backend = "cpu";
  request.target = {.backend = "cpu",
                    .isa = "+avx2",
                    .interpreted = true,
                    .vector_bytes = 3,
                    .vector_registers = 4,
                    .masked_vectors = true,
                    .fused_multiply_add = true,
                    .f16_conversion = true,
                    .l1_bytes = 5,
                    .l2_bytes = 6,
                    .l3_bytes = 12,
                    .max_arguments = 7,
                    .max_table_bytes = 11,
                    .max_scratch_bytes = 8,
                    .max_operations = 9,
                    .max_live_vectors = 10,
                    .peak_flops = 1.5,
                    .read_bandwidth = 2.5};
  request.source = {"k", std::string("text\0\xff", 6)};
  return request;
}

std::string Body(const std::string& frame) {
  return frame.substr(kFrameHeaderBytes);
}

TEST(WorkerProtocol, CarriesEveryFieldOfATarget) {
  const Request request = AnyRequest();
  const absl::StatusOr<Request> decoded =
      DecodeRequest(Body(*EncodeRequest(request)));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->target.ToString(), request.target.ToString());
  EXPECT_EQ(decoded->backend, "cpu");
  EXPECT_EQ(decoded->source.name, "k");
  EXPECT_EQ(decoded->source.text, request.source.text);
}

TEST(WorkerProtocol, CarriesABlobOrAnError) {
  const absl::StatusOr<Reply> blob =
      DecodeReply(Body(*EncodeReply(std::string("\0\1blob", 6))));
  ASSERT_TRUE(blob.ok() && blob->blob.ok());
  EXPECT_EQ(*blob->blob, std::string("\0\1blob", 6));
  const absl::StatusOr<Reply> error =
      DecodeReply(Body(*EncodeReply(absl::DataLossError("lost"))));
  ASSERT_TRUE(error.ok());
  EXPECT_EQ(error->blob.status(), absl::DataLossError("lost"));
}

TEST(WorkerProtocol, AnnouncesTheLengthOfAFrame) {
  const std::string frame = *EncodeReply(std::string("blob"));
  EXPECT_EQ(*FrameLength(frame.substr(0, kFrameHeaderBytes)),
            frame.size() - kFrameHeaderBytes);
}

TEST(WorkerProtocol, BelievesNoGreatLength) {
  EXPECT_EQ(FrameLength("\xff\xff\xff\xff").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(WorkerProtocol, RejectsEveryTruncatedOrExtendedMessage) {
  const std::string request = Body(*EncodeRequest(AnyRequest()));
  for (size_t size = 0; size < request.size(); ++size) {
    EXPECT_EQ(DecodeRequest(request.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
  EXPECT_FALSE(DecodeRequest(request + "x").ok());
  const std::string reply = Body(*EncodeReply(std::string("blob")));
  for (size_t size = 0; size < reply.size(); ++size) {
    EXPECT_FALSE(DecodeReply(reply.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeReply(reply + "x").ok());
}

TEST(WorkerProtocol, RejectsTextsLongerThanTheirMessage) {
  std::string reply = Body(*EncodeReply(std::string("blob")));
  reply.replace(16, 8, 8, '\xff');
  EXPECT_EQ(DecodeReply(reply).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace quern::worker
