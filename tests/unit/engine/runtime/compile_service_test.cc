// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/compile_service.h"

#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::runtime {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Origin = CachedBlob::Origin;

// Makes "<backend>:<text>" after a while; texts that begin with '!' fail.
class FakeAssembler final : public Assembler {
 public:
  explicit FakeAssembler(int parallelism, milliseconds delay = milliseconds(0))
      : parallelism_(parallelism), delay_(delay) {}

  absl::StatusOr<std::string> Assemble(const std::string& backend,
                                       const base::Target&,
                                       const KernelSource& source) override {
    ++jobs_;
    const int running = ++running_;
    int most = most_.load();
    while (most < running && !most_.compare_exchange_weak(most, running)) {
    }
    std::this_thread::sleep_for(delay_);
    --running_;
    if (source.text[0] == '!') {
      return absl::InternalError(absl::StrCat("cannot ", source.text));
    }
    return absl::StrCat(backend, ":", source.text);
  }
  int parallelism() const override { return parallelism_; }

  int jobs() const { return jobs_; }
  int most() const { return most_; }

 private:
  const int parallelism_;
  const milliseconds delay_;
  std::atomic<int> jobs_{0};
  std::atomic<int> running_{0};
  std::atomic<int> most_{0};
};

base::Target FakeTarget() {
  base::Target target;
  target.backend = "fake";
  return target;
}

std::vector<KernelSource> Sources(const std::vector<std::string>& texts) {
  std::vector<KernelSource> sources;
  for (const std::string& text : texts) {
    sources.push_back({absl::StrCat("k", sources.size()), text});
  }
  return sources;
}

class CompileServiceTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<CompiledKernel>> Compile(
      CompileService& service, const std::vector<std::string>& texts) {
    return service.Compile("v1", FakeTarget(), Sources(texts));
  }
  telemetry::Metrics metrics_;
  CompileCache cache_{{}, &metrics_};
};

TEST_F(CompileServiceTest, GivesBlobsInTheOrderOfTheSources) {
  FakeAssembler assembler(3, milliseconds(1));
  CompileService service(&assembler, &cache_);
  const auto kernels = Compile(service, {"a", "b", "c", "d", "e", "f"});
  ASSERT_TRUE(kernels.ok()) << kernels.status();
  std::vector<std::string> blobs;
  for (const CompiledKernel& kernel : *kernels) blobs.push_back(*kernel.blob);
  EXPECT_THAT(blobs, ElementsAre("fake:a", "fake:b", "fake:c", "fake:d",
                                 "fake:e", "fake:f"));
}

TEST_F(CompileServiceTest, CompilesNothingForNoKernels) {
  FakeAssembler assembler(1);
  CompileService service(&assembler, &cache_);
  EXPECT_TRUE(Compile(service, {})->empty());
}

TEST_F(CompileServiceTest, CompilesAsManyAtATimeAsTheAssemblerCan) {
  FakeAssembler assembler(3, milliseconds(20));
  CompileService service(&assembler, &cache_);
  ASSERT_TRUE(Compile(service, {"a", "b", "c", "d", "e", "f"}).ok());
  EXPECT_EQ(assembler.most(), 3);
}

TEST_F(CompileServiceTest, TellsWhereABlobCameFrom) {
  FakeAssembler assembler(1);
  CompileService service(&assembler, &cache_);
  EXPECT_EQ((*Compile(service, {"a"}))[0].origin, Origin::kComputed);
  EXPECT_EQ((*Compile(service, {"a"}))[0].origin, Origin::kMemory);
  EXPECT_EQ(assembler.jobs(), 1);
}

TEST_F(CompileServiceTest, MeasuresHowLongAKernelTook) {
  FakeAssembler assembler(1, milliseconds(10));
  CompileService service(&assembler, &cache_);
  EXPECT_GE((*Compile(service, {"a"}))[0].time, milliseconds(10));
  EXPECT_LT((*Compile(service, {"a"}))[0].time, milliseconds(10));
}

TEST_F(CompileServiceTest, KeysBlobsByTargetAndCompiler) {
  FakeAssembler assembler(1);
  CompileService service(&assembler, &cache_);
  base::Target wide = FakeTarget();
  wide.vector_bytes = 64;
  ASSERT_TRUE(service.Compile("v1", FakeTarget(), Sources({"a"})).ok());
  ASSERT_TRUE(service.Compile("v1", wide, Sources({"a"})).ok());
  ASSERT_TRUE(service.Compile("v2", wide, Sources({"a"})).ok());
  EXPECT_EQ(assembler.jobs(), 3);
}

TEST_F(CompileServiceTest, ReportsTheFirstErrorInOrderWithTheKernelsName) {
  FakeAssembler assembler(2, milliseconds(1));
  CompileService service(&assembler, &cache_);
  const absl::Status status = Compile(service, {"a", "!b", "!c", "d"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "kernel k1: cannot !b");
}

TEST_F(CompileServiceTest, StopsSoonAfterAnError) {
  FakeAssembler assembler(1, milliseconds(1));
  CompileService service(&assembler, &cache_);
  std::vector<std::string> texts = {"!a"};
  for (int i = 0; i < 50; ++i) texts.push_back(absl::StrCat("t", i));
  EXPECT_FALSE(Compile(service, texts).ok());
  EXPECT_EQ(assembler.jobs(), 1);
}

TEST_F(CompileServiceTest, KeepsADeadline) {
  FakeAssembler assembler(1, milliseconds(100));
  CompileService service(&assembler, &cache_);
  const absl::Status status =
      service
          .Compile("v1", FakeTarget(), Sources({"a", "b", "c", "d", "e"}),
                   std::chrono::steady_clock::now() + milliseconds(40))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("of 5 kernels before the deadline"));
  EXPECT_LT(assembler.jobs(), 4);
}

TEST_F(CompileServiceTest, BeginsNothingAfterTheDeadline) {
  FakeAssembler assembler(1, milliseconds(0));
  {
    CompileService service(&assembler, &cache_);
    EXPECT_EQ(service
                  .Compile("v1", FakeTarget(), Sources({"a"}),
                           std::chrono::steady_clock::now())
                  .status(),
              absl::DeadlineExceededError(
                  "compiled 0 of 1 kernels before the deadline"));
  }
  EXPECT_EQ(assembler.jobs(), 0);
}

TEST_F(CompileServiceTest, KeepsWhatWasBeingCompiledAtTheDeadline) {
  FakeAssembler assembler(1, milliseconds(30));
  {
    CompileService service(&assembler, &cache_);
    ASSERT_FALSE(
        service
            .Compile("v1", FakeTarget(), Sources({"a"}),
                     std::chrono::steady_clock::now() + milliseconds(10))
            .ok());
  }
  CompileService service(&assembler, &cache_);
  EXPECT_EQ((*Compile(service, {"a"}))[0].origin, Origin::kMemory);
}

TEST_F(CompileServiceTest, ServesSeveralCallersAtOnce) {
  FakeAssembler assembler(2);
  CompileService service(&assembler, &cache_);
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto kernels = Compile(service, {absl::StrCat("t", i), "shared"});
        if (kernels.ok() && *(*kernels)[1].blob == "fake:shared") ++good;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(good, 80);
  EXPECT_EQ(assembler.jobs(), 21);
}

TEST(InProcessAssembler, KnowsItsBackendsOnly) {
  const std::unique_ptr<Assembler> assembler = MakeInProcessAssembler({}, 0);
  EXPECT_EQ(assembler->parallelism(), 1);
  EXPECT_EQ(assembler->Assemble("cpu", {}, {}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace quern::runtime
