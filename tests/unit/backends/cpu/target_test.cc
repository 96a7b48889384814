// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/cpu_target.h"
#include "backends/cpu/isa.h"

namespace quern::cpu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CpuTarget, ReadsTheNamesOfLevels) {
  EXPECT_EQ(*ParseIsaLevel("avx2"), IsaLevel::kAvx2);
  EXPECT_EQ(*ParseIsaLevel("auto"), IsaLevel::kAuto);
  EXPECT_EQ(*ParseIsaLevel("neon"), IsaLevel::kNeon);
  EXPECT_THAT(ParseIsaLevel("mmx").status().message(),
              HasSubstr("unknown instruction set level 'mmx'"));
}

TEST(CpuTarget, HasAWiderVectorWithEachLevel) {
  EXPECT_EQ(TargetOfLevel(IsaLevel::kSse4).vector_bytes, 16);
  EXPECT_EQ(TargetOfLevel(IsaLevel::kAvx2).vector_bytes, 32);
  EXPECT_EQ(TargetOfLevel(IsaLevel::kAvx512).vector_bytes, 64);
}

TEST(CpuTarget, NamesNoFeatureAboveItsLevel) {
  const base::Target avx2 = TargetOfLevel(IsaLevel::kAvx2);
  EXPECT_THAT(avx2.isa, Not(HasSubstr("avx512")));
  EXPECT_TRUE(avx2.fused_multiply_add && avx2.f16_conversion);
  EXPECT_FALSE(avx2.masked_vectors);
  const base::Target sse4 = TargetOfLevel(IsaLevel::kSse4);
  EXPECT_THAT(sse4.isa, Not(HasSubstr("avx")));
  EXPECT_FALSE(sse4.fused_multiply_add || sse4.f16_conversion);
}

TEST(CpuTarget, ListsItsFeaturesInOrder) {
  for (const IsaLevel level : {IsaLevel::kAvx512, IsaLevel::kNeon}) {
    const absl::StatusOr<Isa> isa = ParseIsa(TargetOfLevel(level).isa);
    ASSERT_TRUE(isa.ok()) << isa.status();
    EXPECT_EQ(isa->arch, level == IsaLevel::kNeon ? kAarch64 : kX86);
    const std::vector<std::string> features =
        absl::StrSplit(isa->features, ',');
    EXPECT_TRUE(std::is_sorted(features.begin(), features.end()));
    EXPECT_THAT(features, ::testing::Each(::testing::StartsWith("+")));
  }
}

TEST(CpuTarget, OfAarch64HasWhatEveryOneHas) {
  const base::Target neon = TargetOfLevel(IsaLevel::kNeon);
  EXPECT_EQ(neon.vector_bytes, 16);
  EXPECT_EQ(neon.vector_registers, 32);
  EXPECT_TRUE(neon.fused_multiply_add && neon.f16_conversion);
  EXPECT_FALSE(neon.masked_vectors);
}

TEST(CpuTarget, RefusesALevelOfAnotherArchitecture) {
  const IsaLevel other = kHostArch == kX86 ? IsaLevel::kNeon : IsaLevel::kAvx2;
  const absl::Status status = DetectTarget(other).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("this machine is of"));
}

TEST(CpuTarget, OfThisMachineRunsOnThisMachine) {
  const absl::StatusOr<base::Target> target = DetectTarget(IsaLevel::kAuto);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_TRUE(CheckHostHas(target->isa).ok());
  EXPECT_EQ(target->backend, "cpu");
  EXPECT_GE(target->l1_bytes, 8 << 10);
  EXPECT_GE(target->l2_bytes, target->l1_bytes);
  EXPECT_GE(target->l3_bytes, target->l2_bytes);
}

TEST(CpuTarget, RefusesCodeForFeaturesThatAreMissing) {
  const absl::Status status =
      CheckHostHas(absl::StrCat(kHostArch, " +teleport"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("needs teleport"));
  const absl::Status other =
      CheckHostHas(kHostArch == kX86 ? "aarch64 " : "x86_64 ");
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(other.message(), HasSubstr("the kernel is for"));
}

}  // namespace
}  // namespace quern::cpu
