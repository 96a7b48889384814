// SPDX-License-Identifier: Apache-2.0
//
// The pool with the real worker program, which is told to fail in its second
// job, and with programs that are no workers at all.
#include "backends/worker/pool.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <sys/stat.h>

#include "backends/cpu/codegen.h"
#include "backends/cpu/cpu_target.h"

namespace quern::worker {
namespace {

using ::testing::HasSubstr;

constexpr char kText[] = "define void @k() nounwind { ret void }\n";

class WorkerPool : public ::testing::Test {
 protected:
  WorkerPool() {
    options_.program = ProgramBesideThis();
    options_.on_replacement = [this] { ++replaced_; };
  }

  void Start() {
    absl::StatusOr<std::unique_ptr<runtime::Assembler>> pool =
        MakeWorkerPool(options_);
    ASSERT_TRUE(pool.ok()) << pool.status();
    pool_ = *std::move(pool);
  }

  absl::StatusOr<std::string> Assemble(const std::string& text = kText) {
    return pool_->Assemble("cpu", target_, {"k", text});
  }

  // Fails in the second job as told; the first and the third are good.
  absl::Status SecondJob(const std::string& failure) {
    options_.arguments = {"--inject", absl::StrCat(failure, ":2")};
    Start();
    EXPECT_TRUE(Assemble().ok());
    const absl::Status status = Assemble().status();
    EXPECT_TRUE(Assemble().ok());
    EXPECT_EQ(replaced_, 1);
    return status;
  }

  WorkerPoolOptions options_;
  std::atomic<int> replaced_{0};
  std::unique_ptr<runtime::Assembler> pool_;
  const base::Target target_ = cpu::TargetOfLevel(cpu::IsaLevel::kSse4);
};

TEST_F(WorkerPool, MakesTheBlobThatThisProcessWouldMake) {
  Start();
  const absl::StatusOr<std::string> blob = Assemble();
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(*blob, *cpu::MakeCpuCodegen()->Assemble({"k", kText}, target_));
}

TEST_F(WorkerPool, HandsOnTheErrorOfACompiler) {
  Start();
  const absl::Status status = Assemble("nonsense").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("does not parse at line 1"));
  EXPECT_TRUE(Assemble().ok());
  EXPECT_EQ(replaced_, 0);
}

TEST_F(WorkerPool, KnowsNoOtherBackends) {
  Start();
  EXPECT_EQ(pool_->Assemble("abacus", target_, {"k", kText}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(WorkerPool, SurvivesACrashAndTellsTheLastWords) {
  const absl::Status status = SecondJob("crash");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(),
              HasSubstr("signal 6 (Aborted); its last words: quern-compile: "
                        "injected crash"));
}

TEST_F(WorkerPool, KillsAWorkerThatHangs) {
  options_.limits.time = std::chrono::milliseconds(1500);
  const absl::Status status = SecondJob("hang");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("longer than 1500 ms (--compile-timeout)"));
}

TEST_F(WorkerPool, KillsAWorkerThatNeverEnds) {
  options_.limits.time = std::chrono::milliseconds(1500);
  EXPECT_EQ(SecondJob("spin").code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(WorkerPool, StopsAWorkerThatEatsMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer reserves more than any limit";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer reserves more than any limit";
#endif
#endif
  options_.limits.memory_bytes = int64_t{600} << 20;
  const absl::Status status = SecondJob("memory");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("bytes of memory (--compile-memory)"));
}

TEST_F(WorkerPool, RunsJobsOfSeveralThreads) {
  options_.workers = 2;
  options_.arguments = {"--inject", "crash:5"};
  Start();
  EXPECT_EQ(pool_->parallelism(), 2);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        if (Assemble().ok()) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Each job fails or is good, and each failure cost one worker.
  EXPECT_EQ(good + replaced_, 40);
  EXPECT_GT(good, 25);
}

TEST_F(WorkerPool, DoesNotStartWithoutAProgram) {
  options_.program = "/nonexistent/quern-compile";
  const absl::Status status = MakeWorkerPool(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("/nonexistent/quern-compile"));
}

// A program that says something else than a worker would, and stays.
class Impostor {
 public:
  explicit Impostor(const std::string& words) {
    std::string path =
        absl::StrCat(::testing::TempDir(), "/quern_impostor_XXXXXX");
    const int file = mkstemp(path.data());
    path_ = path;
    const std::string script =
        absl::StrCat("#!/bin/sh\nprintf '", words, "'\nexec sleep 60\n");
    EXPECT_EQ(write(file, script.data(), script.size()),
              static_cast<ssize_t>(script.size()));
    fchmod(file, 0700);
    close(file);
  }
  ~Impostor() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST_F(WorkerPool, BelievesNoGiganticReply) {
  const Impostor impostor("\\377\\377\\377\\377");
  options_.program = impostor.path();
  Start();
  const absl::Status status = Assemble().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("announces 4294967295 bytes"));
}

TEST_F(WorkerPool, BelievesNoMalformedReply) {
  const Impostor impostor("\\005\\000\\000\\000hello");
  options_.program = impostor.path();
  Start();
  const absl::Status status = Assemble().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("malformed"));
  EXPECT_EQ(replaced_, 1);
}

TEST_F(WorkerPool, TellsHowAWorkerEndedThatSaidNothing) {
  options_.program = "/bin/false";
  Start();
  // It may be gone before the job and is then tried anew.
  const absl::Status status = Assemble().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("exit code 1"));
}

}  // namespace
}  // namespace quern::worker
