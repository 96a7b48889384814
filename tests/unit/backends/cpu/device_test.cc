// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/device.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/isa.h"
#include "tests/unit/backends/cpu/kernel_runner.h"

namespace quern::cpu {
namespace {

using ::testing::HasSubstr;

class CpuDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    backend_ = MakeCpuBackend();
    absl::StatusOr<std::unique_ptr<runtime::Device>> device =
        backend_->Open(0, {.threads = 4, .spin_us = 10});
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  runtime::Backend& backend() { return *backend_; }
  runtime::Device& device() { return *device_; }

 private:
  std::unique_ptr<runtime::Backend> backend_;
  std::unique_ptr<runtime::Device> device_;
};

TEST_F(CpuDevice, IsTheOnlyOne) {
  EXPECT_EQ(backend().name(), "cpu");
  const absl::Status status = backend().Open(1, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

TEST_F(CpuDevice, AllocatesAlignedZeros) {
  for (const size_t size : {size_t{1}, size_t{100}, size_t{5} << 20}) {
    const absl::StatusOr<std::unique_ptr<runtime::Buffer>> buffer =
        device().Allocate(size);
    ASSERT_TRUE(buffer.ok()) << buffer.status();
    EXPECT_EQ((*buffer)->size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*buffer)->host()) % 64, 0U);
    const auto* bytes = static_cast<const char*>((*buffer)->host());
    EXPECT_TRUE(
        std::all_of(bytes, bytes + size, [](char c) { return c == 0; }));
  }
}

TEST_F(CpuDevice, SaysThatThereIsNotSoMuchMemory) {
  for (const size_t size :
       {std::numeric_limits<size_t>::max(), size_t{1} << 62}) {
    EXPECT_EQ(device().Allocate(size).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
}

TEST_F(CpuDevice, CopiesIntoAndOutOfABuffer) {
  const auto buffer = device().Allocate(4);
  ASSERT_TRUE(buffer.ok());
  const int32_t in = 1234;
  int32_t out = 0;
  ASSERT_TRUE(device().CopyFromHost((*buffer)->host(), &in, 4).ok());
  ASSERT_TRUE(device().CopyToHost(&out, (*buffer)->host(), 4).ok());
  EXPECT_EQ(out, in);
}

// Each chunk writes its number, and through scratch, to its place.
constexpr char kNumbers[] =
    "kernel k contract=1 vars=0\nparam i64 written\n"
    "%0 = param\n%1 = grid\n%2 = const #0\n%3 = scratch %2\n"
    "%4 = store %3 %2 %1\n%5 = load %3 %2\n%6 = store %0 %1 %5\n";

TEST_F(CpuDevice, RunsEachChunkOnce) {
  KernelRunner compiler(device().target());
  const absl::StatusOr<std::string> blob = compiler.Blob(kNumbers);
  ASSERT_TRUE(blob.ok()) << blob.status();
  const auto kernel = device().Load("k", *blob);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  for (const int64_t grid : {0, 1, 2, 7, 1000}) {
    std::vector<int64_t> out(1001, -1);
    std::vector<void*> buffers = {out.data()};
    ASSERT_TRUE(device()
                    .Launch(**kernel, {.buffers = buffers,
                                       .vars = {},
                                       .grid = grid,
                                       .scratch_bytes = 64})
                    .ok());
    for (int64_t i = 0; i <= 1000; ++i) {
      ASSERT_EQ(out[i], i < grid ? i : -1) << "grid " << grid;
    }
  }
}

TEST_F(CpuDevice, RefusesMoreScratchThanItsTargetHas) {
  KernelRunner compiler(device().target());
  const auto kernel = device().Load("k", *compiler.Blob(kNumbers));
  ASSERT_TRUE(kernel.ok());
  int64_t out = 0;
  std::vector<void*> buffers = {&out};
  EXPECT_EQ(device()
                .Launch(**kernel, {.buffers = buffers,
                                   .vars = {},
                                   .scratch_bytes = int64_t{1} << 60})
                .code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(CpuDevice, RefusesABlobThatIsNotOne) {
  EXPECT_EQ(device().Load("k", "garbage").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(CpuDevice, RefusesABlobForAnotherCpu) {
  const absl::Status status =
      device()
          .Load("k", MakeBlob(absl::StrCat(kHostArch, " +teleport"), ""))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("teleport"));
}

TEST_F(CpuDevice, RefusesAKernelOfAnotherBackend) {
  class Foreign final : public runtime::LoadedKernel {};
  EXPECT_EQ(device().Launch(Foreign(), {}).code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quern::cpu
