// SPDX-License-Identifier: Apache-2.0
//
// The daemon with a compiler that fails: one load gets an error that says what
// happened, every other request goes on, and so do later loads.
#include <filesystem>
#include <fstream>
#include <signal.h>
#include <string>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Failure {
  std::string kind;  // As quern-compile --inject names it.
  grpc::StatusCode code;
  std::string message;
  // Short where the time is what runs out; elsewhere a slow machine must not
  // let it run out first.
  std::string timeout_s = "60";
};

class CompilerFailure : public ::testing::TestWithParam<Failure> {
 protected:
  // A copy of the daemon beside a quern-compile that fails in its first job as
  // long as there is a file that says so.
  CompilerFailure() {
    fs::copy_file(Program("quernd"), folder_.path() + "/quernd");
    const std::string wrapper = folder_.path() + "/quern-compile";
    WriteFile(wrapper,
              absl::StrCat("#!/bin/sh\n"
                           "if [ -e ",
                           order(), " ]; then set -- --inject \"$(cat ",
                           order(), ")\" \"$@\"; fi\n", "exec ",
                           Program("quern-compile"), " \"$@\"\n"));
    fs::permissions(wrapper, fs::perms::owner_all);
    WriteFile(folder_.path() + "/models/mlp/1/model.onnx", PerceptronFile());
  }

  [[nodiscard]] std::string order() const { return folder_.path() + "/order"; }

  // Ends the workers that the daemon has, so that it starts new ones for the
  // next job, and waits until they are dead.
  static void KillWorkers(pid_t daemon) {
    for (const auto& thread :
         fs::directory_iterator(absl::StrCat("/proc/", daemon, "/task"))) {
      std::ifstream children(thread.path() / "children");
      for (pid_t child = 0; children >> child;) {
        kill(child, SIGKILL);
        std::string pid, name, state;
        while (state != "Z") {
          std::ifstream(absl::StrCat("/proc/", child, "/stat")) >> pid >>
              name >> state;
          usleep(1000);
        }
      }
    }
  }

  Folder folder_;
};

TEST_P(CompilerFailure, FailsOneLoadAndNothingElse) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  if (GetParam().kind == "memory") {
    GTEST_SKIP() << "a sanitizer reserves more than any limit";
  }
#endif
#endif
  Daemon daemon({"--model-repository", folder_.path() + "/models",
                 "--compile-workers", "1", "--compile-timeout",
                 GetParam().timeout_s, "--compile-memory", "1000000000"},
                folder_.path() + "/quernd");
  ASSERT_FALSE(daemon.address().empty());
  ASSERT_TRUE(Infer(daemon, PerceptronRequest(2)).status.ok());

  const Submitted submitted =
      Submit(daemon, v1::CONTENT_FORMAT_ONNX, MatMulFile(5, 7));
  ASSERT_TRUE(submitted.status.ok()) << submitted.status.error_message();
  v1::ExecuteRequest request;
  request.mutable_subject()->set_graph_id(submitted.response.graph_id());
  AddFloats(request, "x", {1, 5}, {1, 2, 3, 4, 5});

  WriteFile(order(), GetParam().kind + ":1");
  KillWorkers(daemon.pid());
  const Executed failed = Execute(daemon, request);
  EXPECT_EQ(failed.status.error_code(), GetParam().code);
  EXPECT_THAT(failed.status.error_message(), HasSubstr(GetParam().message));
  EXPECT_TRUE(Infer(daemon, PerceptronRequest(3)).status.ok());
  EXPECT_GE(daemon.Metric("quern_compile_worker_replacements_total"), 1);

  fs::remove(order());
  // The replacement may have been started with the order still there.
  Executed executed = Execute(daemon, request);
  if (!executed.status.ok()) executed = Execute(daemon, request);
  EXPECT_TRUE(executed.status.ok()) << executed.status.error_message();
  EXPECT_EQ(daemon.Stop(SIGTERM), 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, CompilerFailure,
    ::testing::Values(Failure{"crash", grpc::StatusCode::INTERNAL,
                              "injected crash"},
                      Failure{"hang", grpc::StatusCode::RESOURCE_EXHAUSTED,
                              "--compile-timeout", "1"},
                      Failure{"memory", grpc::StatusCode::RESOURCE_EXHAUSTED,
                              "--compile-memory"}),
    [](const auto& info) { return info.param.kind; });

}  // namespace
}  // namespace quern::e2e
