// SPDX-License-Identifier: Apache-2.0
//
// Small linear programs, as text, run by the reference device.
#include "backends/ref/ref_backend.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::ref {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RefDevice : public ::testing::Test {
 protected:
  absl::Status Launch(const std::string& text, std::vector<void*> buffers,
                      std::vector<int64_t> vars = {}, int64_t grid = 1,
                      int64_t scratch_bytes = 0) {
    const auto blob =
        backend_->codegen().Assemble({"k", text}, device_->target());
    if (!blob.ok()) return blob.status();
    const auto kernel = device_->Load("k", *blob);
    if (!kernel.ok()) return kernel.status();
    runtime::LaunchArgs args;
    args.buffers = buffers;
    args.vars = vars;
    args.grid = grid;
    args.scratch_bytes = scratch_bytes;
    return device_->Launch(**kernel, args);
  }

  std::unique_ptr<runtime::Backend> backend_ = MakeRefBackend();
  std::unique_ptr<runtime::Device> device_ = backend_->Open(0, {}).value();
};

TEST_F(RefDevice, SaysWhatItIs) {
  EXPECT_EQ(backend_->name(), "ref");
  EXPECT_TRUE(device_->target().interpreted);
  EXPECT_EQ(device_->target().vector_bytes, 0);
  EXPECT_TRUE(device_->host_memory());
  EXPECT_EQ(backend_->Open(1, {}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RefDevice, RunsEveryChunkOfTheGrid) {
  std::vector<float> x = {1, 2, 3, 4};
  std::vector<float> y(4);
  ASSERT_TRUE(Launch("kernel k contract=1 vars=0\n"
                     "param f32\n"
                     "param f32 written\n"
                     "%0 = param #0\n"
                     "%1 = param #1\n"
                     "%2 = grid\n"
                     "%3 = load.f32 %0 %2\n"
                     "%4 = mul.f32 %3 %3\n"
                     "%5 = store.f32 %1 %2 %4\n",
                     {x.data(), y.data()}, {}, 4)
                  .ok());
  EXPECT_THAT(y, ElementsAre(1, 4, 9, 16));
}

TEST_F(RefDevice, LoopsUpToAVariable) {
  std::vector<int32_t> x = {1, 2, 3, 4, 5};
  int32_t sum = 0;
  const std::string text =
      "kernel k contract=1 vars=1\n"
      "param i32\n"
      "param i32 written\n"
      "%0 = param #0\n"
      "%1 = param #1\n"
      "%2 = const #0\n"
      "%3 = var\n"
      "%4 = const.i32 #100\n"
      "%5 = register.i32 %4\n"
      "%6 = loop #2 %2 %3\n"
      "  %7 = load.i32 %0 %6\n"
      "  %8 = get.i32 %5\n"
      "  %9 = add.i32 %8 %7\n"
      "  %10 = set %5 %9\n"
      "%11 = end_loop %6\n"
      "%12 = get.i32 %5\n"
      "%13 = store.i32 %1 %2 %12\n";
  ASSERT_TRUE(Launch(text, {x.data(), &sum}, {5}).ok());
  EXPECT_EQ(sum, 109);  // Every second element.
  ASSERT_TRUE(Launch(text, {x.data(), &sum}, {0}).ok());
  EXPECT_EQ(sum, 100);  // No round at all.
}

TEST_F(RefDevice, MasksLanesAndReducesThem) {
  std::vector<float> x = {1, 2, 3, 4};
  std::vector<float> y = {9, 9, 9, 9, 9};
  ASSERT_TRUE(Launch("kernel k contract=1 vars=0\n"
                     "param f32\n"
                     "param f32 written\n"
                     "%0 = param #0\n"
                     "%1 = param #1\n"
                     "%2 = const #0\n"
                     "%3 = lanes.i64x4\n"
                     "%4 = const.i64x4 #3\n"
                     "%5 = cmplt.boolx4 %3 %4\n"
                     "%6 = load.f32x4 %0 %2 %5\n"
                     "%7 = store.f32x4 %1 %2 %6 %5\n"
                     "%8 = reduce_lanes.f32 #add %6\n"
                     "%9 = const #4\n"
                     "%10 = store.f32 %1 %9 %8\n",
                     {x.data(), y.data()})
                  .ok());
  EXPECT_THAT(y, ElementsAre(1, 2, 3, 9, 6));
}

TEST_F(RefDevice, GathersThroughAVectorOfIndices) {
  std::vector<int16_t> x = {10, 11, 12, 13};
  std::vector<int16_t> y(4);
  ASSERT_TRUE(Launch("kernel k contract=1 vars=0\n"
                     "param i16\n"
                     "param i16 written\n"
                     "%0 = param #0\n"
                     "%1 = param #1\n"
                     "%2 = const #0\n"
                     "%3 = lanes.i32x4\n"
                     "%4 = const.i32x4 #3\n"
                     "%5 = sub.i32x4 %4 %3\n"
                     "%6 = load.i16x4 %0 %5\n"
                     "%7 = store.i16x4 %1 %2 %6\n",
                     {x.data(), y.data()})
                  .ok());
  EXPECT_THAT(y, ElementsAre(13, 12, 11, 10));
}

TEST_F(RefDevice, KeepsValuesInScratchMemoryAndTables) {
  double y = 0;
  ASSERT_TRUE(Launch("kernel k contract=1 vars=0\n"
                     "param f64 written\n"
                     "table f64 0.5 0.25\n"
                     "%0 = param\n"
                     "%1 = const #64\n"
                     "%2 = scratch %1\n"
                     "%3 = const_array\n"
                     "%4 = const #1\n"
                     "%5 = load.f64 %3 %4\n"
                     "%6 = store.f64 %2 %4 %5\n"
                     "%7 = load.f64 %2 %4\n"
                     "%8 = const #0\n"
                     "%9 = store.f64 %0 %8 %7\n",
                     {&y}, {}, 1, 128)
                  .ok());
  EXPECT_EQ(y, 0.25);
}

TEST_F(RefDevice, SkipsABlockWhoseConditionIsFalse) {
  std::vector<int64_t> y(2);
  ASSERT_TRUE(Launch("kernel k contract=1 vars=0\n"
                     "param i64 written\n"
                     "%0 = param\n"
                     "%1 = grid\n"
                     "%2 = const #1\n"
                     "%3 = cmplt.bool %1 %2\n"
                     "%4 = if.bool %3\n"
                     "  %5 = store %0 %1 %2\n"
                     "%6 = end_if %4\n",
                     {y.data()}, {}, 2)
                  .ok());
  EXPECT_THAT(y, ElementsAre(1, 0));
}

TEST_F(RefDevice, RoundsWhereItStoresAndCasts) {
  std::vector<float> x = {1};
  std::vector<float> y(2);
  // 1 + 2^-24 stays what it is until it is stored or cast.
  const std::string head =
      "kernel k contract=1 vars=0\n"
      "param f32\n"
      "param f32 written\n"
      "%0 = param #0\n"
      "%1 = param #1\n"
      "%2 = const #0\n"
      "%3 = load.f32 %0 %2\n"
      "%4 = const.f32 #5.960464477539063e-08\n"
      "%5 = add.f32 %3 %4\n";
  ASSERT_TRUE(Launch(head + "%6 = add.f32 %5 %4\n"
                            "%7 = store.f32 %1 %2 %6\n"
                            "%8 = cast.f32 %5\n"
                            "%9 = add.f32 %8 %4\n"
                            "%10 = const #1\n"
                            "%11 = store.f32 %1 %10 %9\n",
                     {x.data(), y.data()})
                  .ok());
  EXPECT_THAT(y, ElementsAre(1 + 0x1p-23f, 1));
}

TEST_F(RefDevice, ReportsWhatLiesOutside) {
  double y = 0;
  const std::string head =
      "kernel k contract=1 vars=1\n"
      "param f64 written\n"
      "table f64 0.5 0.25\n"
      "%0 = param\n"
      "%1 = var\n"
      "%2 = const #0\n";
  const std::string table = head + "%3 = const_array\n%4 = load.f64 %3 %1\n";
  EXPECT_TRUE(Launch(table, {&y}, {1}).ok());
  for (int64_t at : {int64_t{-1}, int64_t{2}, INT64_MAX}) {
    const absl::Status status = Launch(table, {&y}, {at});
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(status.message(), HasSubstr("of a table of size 2"));
  }
  const std::string scratch = head + "%3 = scratch %2\n%4 = load.f64 %3 %1\n";
  EXPECT_TRUE(Launch(scratch, {&y}, {7}, 1, 64).ok());
  for (int64_t at : {int64_t{-1}, int64_t{8}, INT64_MAX}) {
    EXPECT_THAT(Launch(scratch, {&y}, {at}, 1, 64).message(),
                HasSubstr("of the scratch memory of size 64"));
  }
}

TEST_F(RefDevice, RefusesOtherArguments) {
  const std::string text = "kernel k contract=1 vars=1\nparam f64\n%0 = var\n";
  double x = 0;
  EXPECT_TRUE(Launch(text, {&x}, {1}).ok());
  EXPECT_THAT(Launch(text, {}, {1}).message(),
              HasSubstr("takes 1 buffers and 1 variables, got 0 and 1"));
  EXPECT_FALSE(Launch(text, {&x}, {}).ok());
}

TEST_F(RefDevice, RefusesProgramsThatBreakTheRules) {
  EXPECT_FALSE(
      Launch("kernel k contract=1 vars=0\n%0 = load.f32 %0 %0\n", {}).ok());
  EXPECT_FALSE(Launch("nonsense", {}).ok());
  EXPECT_THAT(
      Launch("kernel other contract=1 vars=0\n%0 = grid\n", {}).message(),
      HasSubstr("the text of kernel 'k' holds the kernel 'other'"));
}

TEST_F(RefDevice, GivesZeroedMemory) {
  const auto buffer = device_->Allocate(1000).value();
  EXPECT_EQ(buffer->size(), 1000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->host()) % 64, 0u);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(static_cast<const char*>(buffer->host())[i], 0);
  }
  EXPECT_EQ(device_->Allocate(SIZE_MAX).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace quern::ref
