// SPDX-License-Identifier: Apache-2.0
//
// Dynamic batching, on the real daemon.
#include <atomic>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

using ::testing::HasSubstr;

class Batches : public ::testing::Test {
 protected:
  // Serves the perceptron twice: "mlp" joins requests, "alone" does not.
  void Start(const std::string& batching) {
    WriteFile(folder_.path() + "/mlp/1/model.onnx", PerceptronFile());
    WriteFile(folder_.path() + "/alone/1/model.onnx", PerceptronFile());
    WriteFile(
        folder_.path() + "/mlp/config.pbtxt",
        absl::StrCat("max_batch_size: 16 dynamic_batching { ", batching, " }"));
    daemon_ = std::make_unique<Daemon>(
        std::vector<std::string>{"--model-repository", folder_.path()});
    ASSERT_FALSE(daemon_->address().empty());
  }

  // A request whose rows depend on `seed`.
  static inference::ModelInferRequest Request(int64_t rows, int seed) {
    inference::ModelInferRequest request = PerceptronRequest(rows);
    std::vector<float> values = FloatsOf(request.raw_input_contents(0));
    for (float& value : values) value += 0.01F * static_cast<float>(seed % 50);
    request.set_raw_input_contents(0, RawFloats(values));
    return request;
  }

  std::vector<float> Alone(inference::ModelInferRequest request) {
    request.set_model_name("alone");
    const Called called = Infer(*daemon_, request);
    EXPECT_TRUE(called.status.ok()) << called.status.error_message();
    return FloatsOf(called.response.raw_output_contents(0));
  }

  Folder folder_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(Batches, GiveEveryRequestItsOwnRows) {
  Start("max_queue_delay_microseconds: 20000");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back([&, client] {
      for (int i = 0; i < 20; ++i) {
        const int64_t rows = 1 + (client + i) % 4;
        const auto request = Request(rows, client * 20 + i);
        const Called called = Infer(*daemon_, request);
        if (!called.status.ok()) {
          ++wrong;
          continue;
        }
        const std::vector<float> got =
            FloatsOf(called.response.raw_output_contents(0));
        const std::vector<float> want = Alone(request);
        bool same = got.size() == want.size() &&
                    called.response.outputs(0).shape(0) == rows;
        for (size_t k = 0; same && k < got.size(); ++k) {
          same = std::abs(got[k] - want[k]) < 1e-5;
        }
        wrong += same ? 0 : 1;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(daemon_->Metric("quern_batched_requests_total{model=\"mlp/1\"}"),
            0);
  EXPECT_EQ(daemon_->Metric("quern_batched_requests_total{model=\"alone/1\"}"),
            0);
  inference::ModelStatisticsRequest request;
  request.set_name("mlp");
  inference::ModelStatisticsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->v2().ModelStatistics(&context, request, &response).ok());
  const inference::ModelStatistics& statistics = response.model_stats(0);
  EXPECT_EQ(statistics.inference_stats().success().count(), 160u);
  EXPECT_EQ(statistics.inference_count(), 400u);
  EXPECT_LT(statistics.execution_count(), 160u);
  uint64_t rows = 0;
  for (const auto& batch : statistics.batch_stats()) {
    EXPECT_LE(batch.batch_size(), 16u);
    rows += batch.batch_size() * batch.compute_infer().count();
  }
  EXPECT_EQ(rows, 400u);
}

TEST_F(Batches, DoNotWaitLongerThanTheConfigAllows) {
  Start("max_queue_delay_microseconds: 300000 preferred_batch_size: [ 4 ]");
  const auto time = [&](int64_t rows) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(Infer(*daemon_, Request(rows, 1)).status.ok());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  };
  EXPECT_GE(time(1), 0.3);
  EXPECT_LT(time(4), 0.3);
  EXPECT_EQ(daemon_->Metric(
                "quern_batch_flushes_total{model=\"mlp/1\",reason=\"full\"}"),
            1);
  EXPECT_EQ(daemon_->Metric(
                "quern_batch_flushes_total{model=\"mlp/1\",reason=\"delay\"}"),
            1);
}

TEST_F(Batches, KeepErrorsToTheRequestThatHasThem) {
  Start("max_queue_delay_microseconds: 100000");
  std::thread good([&] {
    const Called called = Infer(*daemon_, Request(2, 3));
    EXPECT_TRUE(called.status.ok()) << called.status.error_message();
  });
  const Called large = Infer(*daemon_, Request(17, 1));
  EXPECT_EQ(large.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(large.status.error_message(), HasSubstr("max_batch_size is 16"));
  inference::ModelInferRequest bad = Request(2, 1);
  bad.mutable_inputs(0)->set_shape(1, 32);
  EXPECT_EQ(Infer(*daemon_, bad).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  inference::ModelInferRequest narrow = Request(2, 1);
  narrow.mutable_inputs(0)->set_shape(0, 4);
  narrow.mutable_inputs(0)->set_shape(1, 32);
  const Called refused = Infer(*daemon_, narrow);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("features"));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(30));
  inference::ModelInferResponse response;
  EXPECT_EQ(
      daemon_->v2().ModelInfer(&context, Request(1, 1), &response).error_code(),
      grpc::StatusCode::DEADLINE_EXCEEDED);
  good.join();
}

TEST_F(Batches, LeaveTheBatchOutOfTheConfigAndRunAtOnceWithoutADelay) {
  Start("");
  inference::ModelConfigRequest request;
  request.set_name("mlp");
  inference::ModelConfigResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->v2().ModelConfig(&context, request, &response).ok());
  EXPECT_EQ(response.config().max_batch_size(), 16);
  EXPECT_THAT(response.config().input(0).dims(), ::testing::ElementsAre(64));
  // No delay: a request that is alone runs at once.
  EXPECT_TRUE(Infer(*daemon_, Request(1, 1)).status.ok());
}

}  // namespace
}  // namespace quern::e2e
