// SPDX-License-Identifier: Apache-2.0
//
// The KernelService of the real daemon: what it tells of kernels, once and
// again and again.
#include <chrono>
#include <memory>
#include <signal.h>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

using ::testing::HasSubstr;

v1::Subject ModelNamed(const std::string& name) {
  v1::Subject subject;
  subject.mutable_model()->set_name(name);
  return subject;
}

class Kernels : public ::testing::Test {
 protected:
  Kernels() {
    WriteFile(folder_.path() + "/mlp/1/model.onnx", PerceptronFile());
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{
        "--model-repository", folder_.path(), "--model-control-mode",
        "explicit", "--load-model", "mlp", "--max-watches", "2"});
  }

  v1::ListKernelsResponse List(bool in_window) {
    v1::ListKernelsRequest request;
    *request.mutable_subject() = ModelNamed("mlp");
    request.set_in_window(in_window);
    v1::ListKernelsResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        daemon_->kernels().ListKernels(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  // A watch that was begun.
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchKernelsResponse>> reader;
  };
  std::unique_ptr<Watch> Begin(double period_s = 0.1) {
    auto watch = std::make_unique<Watch>();
    v1::WatchKernelsRequest request;
    *request.mutable_subject() = ModelNamed("mlp");
    request.mutable_period()->set_seconds(static_cast<int64_t>(period_s));
    request.mutable_period()->set_nanos(static_cast<int32_t>(
        (period_s - static_cast<int64_t>(period_s)) * 1e9));
    watch->reader = daemon_->kernels().WatchKernels(&watch->context, request);
    return watch;
  }

  // Waits until the metric has the value.
  bool Becomes(const std::string& metric, double value) {
    for (int i = 0; i < 500; ++i) {
      if (daemon_->Metric(metric) == value) return true;
      usleep(10'000);
    }
    return false;
  }

  Folder folder_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(Kernels, HaveStatisticsSinceTheLoadAndInTheWindow) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Infer(*daemon_, PerceptronRequest(1)).status.ok());
  }
  v1::ResetWindowResponse reset;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->kernels().ResetWindow(&context, {}, &reset).ok());
  ASSERT_TRUE(Infer(*daemon_, PerceptronRequest(1)).status.ok());
  const v1::ListKernelsResponse all = List(false);
  const v1::ListKernelsResponse window = List(true);
  ASSERT_EQ(all.loaded_size(), 1);
  ASSERT_EQ(window.loaded_size(), 1);
  EXPECT_EQ(all.loaded(0).label(), "mlp/1");
  EXPECT_EQ(all.loaded(0).successes(), 4u);
  EXPECT_EQ(window.loaded(0).successes(), 1u);
  EXPECT_EQ(window.loaded(0).phases_size(), 4);
  EXPECT_GT(window.window().nanos() + window.window().seconds(), 0);
  ASSERT_EQ(all.loaded(0).kernels_size(), window.loaded(0).kernels_size());
  uint64_t launches = 0;
  uint64_t in_window = 0;
  double share = 0;
  for (const v1::KernelStatistics& kernel : all.loaded(0).kernels()) {
    if (!kernel.at_load()) launches += kernel.launches();
    share += kernel.share();
  }
  for (const v1::KernelStatistics& kernel : window.loaded(0).kernels()) {
    in_window += kernel.launches();
  }
  EXPECT_EQ(launches, 4 * in_window);
  EXPECT_NEAR(share, 1, 1e-9);
  // Prometheus counts on.
  EXPECT_EQ(daemon_->Metric("quern_requests_total{model=\"mlp/1\""), 4);
}

TEST_F(Kernels, CodeIsGivenAtEachLevel) {
  const std::string name = List(false).loaded(0).kernels(0).name();
  v1::GetKernelRequest request;
  *request.mutable_subject() = ModelNamed("mlp");
  request.set_kernel(name);
  v1::GetKernelResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      daemon_->kernels().GetKernel(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.statistics().name(), name);
  EXPECT_THAT(response.loops(), HasSubstr(name));
  EXPECT_THAT(response.source(), HasSubstr("define"));
  EXPECT_THAT(response.assembly(), HasSubstr("ret"));
  request.set_kernel("nothing");
  grpc::ClientContext again;
  EXPECT_EQ(
      daemon_->kernels().GetKernel(&again, request, &response).error_code(),
      grpc::StatusCode::NOT_FOUND);
}

TEST_F(Kernels, AreWatchedWhileTheyRun) {
  const auto watch = Begin();
  ASSERT_TRUE(Becomes("quern_watches", 1));
  uint64_t seen = 0;
  v1::WatchKernelsResponse message;
  ASSERT_TRUE(Infer(*daemon_, PerceptronRequest(1)).status.ok());
  ASSERT_TRUE(Infer(*daemon_, PerceptronRequest(1)).status.ok());
  while (seen < 2 && watch->reader->Read(&message)) {
    ASSERT_EQ(message.loaded_size(), 1);
    seen += message.loaded(0).successes();
    EXPECT_GT(message.window().nanos() + message.window().seconds(), 0);
  }
  EXPECT_EQ(seen, 2u);
  watch->context.TryCancel();
  EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Becomes("quern_watches", 0));
}

TEST_F(Kernels, WatchesEndWithWhatTheyWatch) {
  const auto watch = Begin();
  ASSERT_TRUE(Becomes("quern_watches", 1));
  inference::RepositoryModelUnloadRequest request;
  request.set_model_name("mlp");
  inference::RepositoryModelUnloadResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(
      daemon_->v2().RepositoryModelUnload(&context, request, &response).ok());
  v1::WatchKernelsResponse message;
  while (watch->reader->Read(&message)) {
  }
  EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(Kernels, MoreWatchesThanAllowedAreRefused) {
  const auto first = Begin(3600);
  const auto second = Begin(3600);
  ASSERT_TRUE(Becomes("quern_watches", 2));
  const grpc::Status refused = Begin()->reader->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("--max-watches"));
  EXPECT_EQ(daemon_->Metric("quern_rejected_requests_total{reason=\"limit\"}"),
            1);
  // A client that goes makes place for another, whatever its period.
  first->context.TryCancel();
  ASSERT_TRUE(Becomes("quern_watches", 1));
  v1::WatchKernelsResponse message;
  EXPECT_TRUE(Begin()->reader->Read(&message));
}

TEST_F(Kernels, APeriodOutOfItsRangeIsRefused) {
  for (const double period : {0.0, 0.05, 3601.0, -1.0, 1e15}) {
    const grpc::Status status = Begin(period)->reader->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("0.1 s to 1 h"));
  }
}

TEST_F(Kernels, AWatchDoesNotKeepTheServerFromEnding) {
  const auto watch = Begin(3600);
  ASSERT_TRUE(Becomes("quern_watches", 1));
  const auto start = std::chrono::steady_clock::now();
  kill(daemon_->pid(), SIGTERM);
  EXPECT_EQ(watch->reader->Finish().error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(daemon_->Stop(0), 0);
  // Not after --shutdown-timeout. gRPC also waits for this client to take its
  // leave, which an idle one does every 5 s.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace quern::e2e
