// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/estimate.h"

#include <string>

#include "gtest/gtest.h"

#include "engine/ir/text.h"

namespace quern::kernel {
namespace {

Program Parsed(const std::string& lines) {
  const absl::StatusOr<Program> program = ParseProgram(
      "kernel k contract=1 vars=0\nparam f32\nparam f32 written\n" + lines);
  EXPECT_TRUE(program.ok()) << program.status();
  const absl::Status verified = Verify(*program);
  EXPECT_TRUE(verified.ok()) << verified;
  return *program;
}

TEST(Measure, CountsInstructionsButNotWhatIsGivenOrKept) {
  const ProgramCost cost =
      Measure(Parsed("%0 = param\n"
                     "%1 = param #1\n"
                     "%2 = const #0\n"
                     "%3 = load.f32 %0 %2\n"
                     "%4 = add.f32 %3 %3\n"
                     "%5 = store.f32 %1 %2 %4\n"));
  EXPECT_EQ(cost.operations, 3);
  EXPECT_EQ(cost.live_vectors, 0);
}

TEST(Measure, FindsTheMomentWhenMostVectorsLive) {
  // %3 and %4 live together, then %4 and %5; a constant lives in memory.
  const ProgramCost cost =
      Measure(Parsed("%0 = param\n"
                     "%1 = param #1\n"
                     "%2 = const #0\n"
                     "%3 = load.f32x8 %0 %2\n"
                     "%4 = neg.f32x8 %3\n"
                     "%5 = add.f32x8 %3 %3\n"
                     "%6 = mul.f32x8 %4 %5\n"
                     "%7 = store.f32x8 %1 %2 %6\n"));
  EXPECT_EQ(cost.live_vectors, 2);
  EXPECT_EQ(cost.operations, 5);
}

int64_t OperationsOf(const std::string& text) {
  ir::Arena arena;
  const auto roots = ir::Parse(arena, text);
  EXPECT_TRUE(roots.ok()) << roots.status();
  const ir::Id size = Operations(arena, (*roots)[0]);
  EXPECT_TRUE(arena.IsConst(size));
  return arena.IntValue(size);
}

TEST(Operations, CountsValuesAtEachPointAndNoIndices) {
  EXPECT_EQ(OperationsOf("%0 = param f32 {0}\n"
                         "%1 = param f32 {1}\n"
                         "r0 = range [10] {serial}\n"
                         "%3 = load f32 %1 [r0*3+1]\n"
                         "%4 = neg f32 %3\n"
                         "%5 = mul f32 %4 %4\n"
                         "%6 = store f32 %0 [r0] %5\n"
                         "%7 = sink f32 %6 [r0] {1}\n"
                         "return %7\n"),
            20);
}

TEST(Operations, CountsAReductionAsOneAPointAndASharedValueOnce) {
  // 5 * 8 negations and additions, and 5 doublings of the sum.
  EXPECT_EQ(OperationsOf("%0 = param f32 {0}\n"
                         "%1 = param f32 {1}\n"
                         "r0 = range [5] {serial}\n"
                         "r1 = range [8] {serial}\n"
                         "%3 = load f32 %1 [r0*8+r1]\n"
                         "%4 = neg f32 %3\n"
                         "%5 = reduce f32 %4 [r1] {add}\n"
                         "%6 = add f32 %5 %5\n"
                         "%7 = store f32 %0 [r0] %6\n"
                         "%8 = sink f32 %7 [r0] {1}\n"
                         "return %8\n"),
            2 * 5 * 8 + 5);
}

}  // namespace
}  // namespace quern::kernel
