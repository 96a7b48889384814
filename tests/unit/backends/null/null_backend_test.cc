// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_backend.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::null {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

constexpr char kText[] = "kernel k contract=1 vars=0\n%0 = grid\n";

TEST(NullBackend, HasADeviceForEachShapeOfTarget) {
  const auto backend = MakeNullBackend();
  EXPECT_EQ(backend->name(), "null");
  std::set<std::string> targets;
  for (int ordinal = 0; ordinal < 4; ++ordinal) {
    const auto device = backend->Open(ordinal, {});
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ((*device)->target().backend, "null");
    EXPECT_FALSE((*device)->target().interpreted);
    targets.insert((*device)->target().ToString());
  }
  EXPECT_EQ(targets.size(), 4u);
  EXPECT_EQ(backend->Open(4, {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend->Open(-1, {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(NullBackend, StartsWithWideMaskedVectors) {
  const base::Target target = MakeTarget(Shape::kAvx512);
  EXPECT_EQ(target.vector_bytes, 64);
  EXPECT_EQ(target.vector_registers, 32);
  EXPECT_TRUE(target.masked_vectors);
}

TEST(NullBackend, RendersTheTextOfTheKernel) {
  const auto backend = MakeNullBackend();
  const auto program = kernel::ParseProgram(kText);
  ASSERT_TRUE(program.ok()) << program.status();
  const base::Target target = MakeTarget(Shape::kAvx2);
  const auto text = backend->codegen().Render(*program, target);
  EXPECT_EQ(text.value(), kText);
  EXPECT_EQ(backend->codegen().Assemble({"k", *text}, target).value(), kText);
  EXPECT_THAT(
      backend->codegen().Assemble({"k", "nonsense"}, target).status().message(),
      HasSubstr("expected 'kernel NAME'"));
}

TEST(NullBackend, LaunchesWithoutTouchingMemory) {
  const auto device = MakeNullBackend()->Open(0, {}).value();
  const auto buffer = device->Allocate(64).value();
  const std::string ones(64, '\1');
  ASSERT_TRUE(device->CopyFromHost(buffer->host(), ones.data(), 64).ok());
  const auto kernel = device->Load("k", kText).value();
  void* address = buffer->host();
  runtime::LaunchArgs args;
  args.buffers = absl::MakeConstSpan(&address, 1);
  EXPECT_TRUE(device->Launch(*kernel, args).ok());
  std::string back(64, '\0');
  ASSERT_TRUE(device->CopyToHost(back.data(), address, 64).ok());
  EXPECT_THAT(back, Each('\1'));
}

TEST(NullBackend, RefusesMemoryThatThereIsNot) {
  const auto device = MakeNullBackend()->Open(0, {}).value();
  EXPECT_EQ(device->Allocate(SIZE_MAX).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace quern::null
