// SPDX-License-Identifier: Apache-2.0
#include "engine/calibrate.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "backends/null/null_backend.h"

namespace quern {
namespace {

// A device that remembers the last launch, and the memory that it gave away.
class Recorder : public runtime::Device {
 public:
  explicit Recorder(std::unique_ptr<runtime::Device> device)
      : device_(std::move(device)) {}

  const base::Target& target() const override { return device_->target(); }
  absl::StatusOr<std::unique_ptr<runtime::Buffer>> Allocate(
      size_t size) override {
    auto buffer = device_->Allocate(size);
    if (buffer.ok()) sizes_.emplace_back((*buffer)->host(), size);
    return buffer;
  }
  absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> Load(
      const std::string& name, const std::string& blob) override {
    return device_->Load(name, blob);
  }
  absl::Status Launch(const runtime::LoadedKernel& kernel,
                      const runtime::LaunchArgs& args) override {
    buffers.assign(args.buffers.begin(), args.buffers.end());
    vars.assign(args.vars.begin(), args.vars.end());
    grid = args.grid;
    return device_->Launch(kernel, args);
  }
  absl::Status CopyFromHost(void* to, const void* host, size_t size) override {
    return device_->CopyFromHost(to, host, size);
  }
  absl::Status CopyToHost(void* host, const void* from, size_t size) override {
    return device_->CopyToHost(host, from, size);
  }
  bool host_memory() const override { return device_->host_memory(); }
  int threads() const override { return device_->threads(); }

  size_t SizeOf(const void* buffer) const {
    const auto found =
        std::find_if(sizes_.begin(), sizes_.end(),
                     [&](const auto& entry) { return entry.first == buffer; });
    return found == sizes_.end() ? 0 : found->second;
  }

  std::vector<void*> buffers;
  std::vector<int64_t> vars;
  int64_t grid = 0;

 private:
  const std::unique_ptr<runtime::Device> device_;
  std::vector<std::pair<const void*, size_t>> sizes_;
};

class CalibrateTest : public ::testing::Test {
 protected:
  const std::unique_ptr<runtime::Backend> backend_ = null::MakeNullBackend();
  Recorder device_{*backend_->Open(0, {})};
};

TEST_F(CalibrateTest, WhatIsReadHasBeenWrittenSoThatItIsMemory) {
  const auto read =
      Yardstick::Read(device_, backend_->codegen(), int64_t{1} << 20);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_TRUE((*read)->Launch().ok());
  ASSERT_EQ(device_.buffers.size(), 2u);
  const auto* values = static_cast<const float*>(device_.buffers[1]);
  const size_t count = device_.SizeOf(values) / sizeof(float);
  ASSERT_GT(count, 0u);
  EXPECT_EQ(std::count(values, values + count, 0.0f), 0);
}

TEST_F(CalibrateTest, TheWorkOfAReadIsItsSetAsOftenAsItIsRead) {
  for (const int64_t bytes :
       {int64_t{1}, int64_t{3} << 20, int64_t{40} << 20}) {
    const auto read = Yardstick::Read(device_, backend_->codegen(), bytes);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_TRUE((*read)->Launch().ok());
    const size_t set = device_.SizeOf(device_.buffers[1]);
    EXPECT_EQ((*read)->work(), static_cast<double>(set * device_.vars[1]));
    EXPECT_GE((*read)->work(), 16 << 20);
    EXPECT_EQ(set % (device_.vars[0] * 4 * device_.grid), 0u);
  }
}

TEST(Peaks, RoundedAreTheSameForNearFigures) {
  Peaks one;
  one.flops = 1.000e11;
  one.read = {{4096, 2.00e10}};
  Peaks other = one;
  other.flops *= 1.01;
  other.read[0].per_second *= 1.01;
  EXPECT_NE(one.ToText(), other.ToText());
  EXPECT_EQ(one.Rounded().ToText(), other.Rounded().ToText());
  EXPECT_NEAR(one.Rounded().flops / one.flops, 1, 0.025);
}

TEST_F(CalibrateTest, FindsOutThatADeviceDoesMoreThanWasMeasured) {
  const auto kept = [&](const runtime::KernelSource& source) {
    return backend_->codegen().Assemble(source, device_.target());
  };
  // Launches of this device take no time at all.
  const auto more = DoesMoreThan({1e6, {}}, device_, backend_->codegen(), kept);
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_TRUE(*more);
  const auto less =
      DoesMoreThan({1e30, {}}, device_, backend_->codegen(), kept);
  ASSERT_TRUE(less.ok()) << less.status();
  EXPECT_FALSE(*less);
}

}  // namespace
}  // namespace quern
