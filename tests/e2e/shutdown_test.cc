// SPDX-License-Identifier: Apache-2.0
//
// How the daemon ends: it says that it is not ready while it still serves, and
// nothing that it is at work on keeps it for longer than it was given.
#include <chrono>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

using Clock = std::chrono::steady_clock;

bool IsReady(Daemon& daemon) {
  grpc::ClientContext context;
  inference::ServerReadyResponse response;
  const grpc::Status status = daemon.v2().ServerReady(
      &context, inference::ServerReadyRequest(), &response);
  return status.ok() && response.ready();
}

TEST(Shutdown, SaysNotReadyAndServesOnForTheDelay) {
  const Folder models;
  WriteFile(models.path() + "/mlp/1/model.onnx", PerceptronFile());
  Daemon daemon({"--model-repository", models.path(), "--shutdown-delay", "2"});
  ASSERT_TRUE(IsReady(daemon));
  const Clock::time_point start = Clock::now();
  kill(daemon.pid(), SIGTERM);
  while (IsReady(daemon) && Clock::now() - start < std::chrono::seconds(2)) {
    usleep(1000);
  }
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));
  EXPECT_TRUE(Infer(daemon, PerceptronRequest(1)).status.ok());
  EXPECT_EQ(daemon.Stop(0), 0);
  EXPECT_GE(Clock::now() - start, std::chrono::seconds(2));
}

TEST(Shutdown, IsNotHeldUpByAKernelThatTakesForEver) {
  const Folder models;
  WriteFile(models.path() + "/product/1/model.onnx", MatMulFile(2048, 2048));
  Daemon daemon({"--model-repository", models.path(), "--devices", "ref",
                 "--shutdown-timeout", "1"});
  // Minutes of work for the interpreter.
  constexpr int64_t kRows = 4096;
  inference::ModelInferRequest request;
  request.set_model_name("product");
  auto* input = request.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(kRows);
  input->add_shape(2048);
  request.add_raw_input_contents(
      RawFloats(std::vector<float>(kRows * 2048, 1.0F)));
  std::thread client([&] { EXPECT_FALSE(Infer(daemon, request).status.ok()); });
  while (daemon.Metric("quern_requests_in_flight") == 0) usleep(1000);
  const Clock::time_point start = Clock::now();
  const pid_t pid = daemon.pid();
  kill(pid, SIGTERM);
  client.join();
  EXPECT_EQ(daemon.Stop(0), 1);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace quern::e2e
