// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/cpu_target.h"

namespace quern::cpu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CpuTarget, ReadsTheNamesOfLevels) {
  EXPECT_EQ(*ParseIsaLevel("avx2"), IsaLevel::kAvx2);
  EXPECT_EQ(*ParseIsaLevel("auto"), IsaLevel::kAuto);
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
  const std::vector<std::string> features =
      absl::StrSplit(TargetOfLevel(IsaLevel::kAvx512).isa, ',');
  EXPECT_TRUE(std::is_sorted(features.begin(), features.end()));
  EXPECT_THAT(features, ::testing::Each(::testing::StartsWith("+")));
}

TEST(CpuTarget, OfThisMachineRunsOnThisMachine) {
  const absl::StatusOr<base::Target> target = DetectTarget(IsaLevel::kAuto);
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_TRUE(CheckHostHas(target->isa).ok());
  EXPECT_EQ(target->backend, "cpu");
  EXPECT_GE(target->l1_bytes, 8 << 10);
  EXPECT_GE(target->l2_bytes, target->l1_bytes);
}

TEST(CpuTarget, RefusesCodeForFeaturesThatAreMissing) {
  const absl::Status status = CheckHostHas("+sse4.1,+teleport");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("needs teleport"));
}

}  // namespace
}  // namespace quern::cpu
