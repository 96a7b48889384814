// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/rewrite.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "engine/ir/text.h"

namespace quern::ir {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// x + 0 -> x
Id DropZero(Arena& arena, Id id) {
  const absl::Span<const Id> srcs = arena[id].srcs;
  const bool zero = arena.IsConst(srcs[1]) && arena.FloatValue(srcs[1]) == 0;
  return zero ? srcs[0] : kNoNode;
}

// -(-x) -> x
Id DropTwoSigns(Arena& arena, Id id) {
  const Node& inner = arena[arena[id].srcs[0]];
  return inner.op == Op::kNeg ? inner.srcs[0] : kNoNode;
}

// x - y -> x + -y
Id SubAsAdd(Arena& arena, Id id) {
  const Node node = arena[id];
  const Id sign =
      arena.Make(Op::kNeg, node.dtype, {node.srcs[1]}, {}, node.shape);
  return arena.Make(Op::kAdd, node.dtype, {node.srcs[0], sign}, {}, node.shape);
}

// x + y -> y + x, which has no end.
Id Swap(Arena& arena, Id id) {
  const Node node = arena[id];
  return arena.Make(node.op, node.dtype, {node.srcs[1], node.srcs[0]}, {},
                    node.shape);
}

// sin(x) -> sin(sin(x)), which contains what it replaces.
Id Nest(Arena& arena, Id id) {
  const Node node = arena[id];
  return arena.Make(Op::kSin, node.dtype, {id}, {}, node.shape);
}

// c -> c + 1 in a cast of a constant, new nodes each time.
Id Grow(Arena& arena, Id id) {
  const Node node = arena[id];
  const Id more =
      arena.FloatConst(node.dtype, arena.FloatValue(node.srcs[0]) + 1);
  const Id inner = arena.Make(Op::kTanh, node.dtype, {more});
  return arena.Make(Op::kSqrt, node.dtype, {inner});
}

constexpr Rule kRules[] = {
    {"x+0 -> x", Op::kAdd, DropZero},
    {"-(-x) -> x", Op::kNeg, DropTwoSigns},
    {"x-y -> x+-y", Op::kSub, SubAsAdd},
};

class RewriteTest : public ::testing::Test {
 protected:
  Id X(int slot = 0) { return b_.Input(slot, DType::kF32, {}); }
  Id Zero() { return b_.Scalar(DType::kF32, 0); }

  Arena arena_;
  Builder b_{&arena_};
};

TEST_F(RewriteTest, ReachesTheFixpointOfAllRules) {
  // (x + 0) - -(y + 0) -> x + -(-y) -> x + y
  const Id y = X(1);
  const Id root =
      b_.Sub(b_.Add(X(), Zero()), b_.Unary(Op::kNeg, b_.Add(y, Zero())));
  const auto result = Rewrite(arena_, {root}, kRules);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(*result, ElementsAre(b_.Add(X(), y)));
}

TEST_F(RewriteTest, LeavesWhatNoRuleMatches) {
  const Id root = b_.Mul(X(), X(1));
  EXPECT_THAT(Rewrite(arena_, {root, root}, kRules).value(),
              ElementsAre(root, root));
}

TEST_F(RewriteTest, RecordsEachStep) {
  const Id sum = b_.Add(X(), Zero());
  std::vector<RewriteStep> steps;
  RewriteOptions options;
  options.trace = &steps;
  ASSERT_TRUE(Rewrite(arena_, {b_.Unary(Op::kNeg, sum)}, kRules, options).ok());
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_STREQ(steps[0].rule, "x+0 -> x");
  EXPECT_EQ(steps[0].before, sum);
  EXPECT_EQ(steps[0].after, X());
}

TEST_F(RewriteTest, StopsRulesThatRunInACircle) {
  const Rule rules[] = {{"swap", Op::kAdd, Swap}};
  const auto result = Rewrite(arena_, {b_.Add(X(), X(1))}, rules);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(result.status().message(),
              HasSubstr("no end after 64 rewrites, last rules: swap; swap"));
}

TEST_F(RewriteTest, RefusesARuleThatWrapsItsOwnNode) {
  const Rule rules[] = {{"nest", Op::kSin, Nest}};
  const auto result = Rewrite(arena_, {b_.Unary(Op::kSin, X())}, rules);
  EXPECT_THAT(result.status().message(),
              HasSubstr("contains what it replaces, last rules: nest"));
}

TEST_F(RewriteTest, StopsRulesThatNestNewNodesWithoutEnd) {
  const Rule rules[] = {{"grow", Op::kTanh, Grow}};
  const Id root = b_.Unary(Op::kTanh, b_.Scalar(DType::kF32, 1));
  const auto result = Rewrite(arena_, {root}, rules);
  EXPECT_THAT(result.status().message(), HasSubstr("no end after 64"));
}

TEST_F(RewriteTest, FollowsDeepGraphsWithoutDeepStacks) {
  Id root = X();
  for (int i = 0; i < 200'000; ++i) root = b_.Unary(Op::kTanh, root);
  root = b_.Add(root, Zero());
  EXPECT_EQ(Rewrite(arena_, {root}, kRules).value()[0], arena_[root].srcs[0]);
}

TEST_F(RewriteTest, TakesTheSameOperandTwice) {
  const Id sum = b_.Add(X(), Zero());
  EXPECT_EQ(Rewrite(arena_, {b_.Mul(sum, sum)}, kRules).value()[0],
            b_.Mul(X(), X()));
}

}  // namespace
}  // namespace quern::ir
