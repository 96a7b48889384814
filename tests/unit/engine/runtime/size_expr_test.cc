// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/size_expr.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/symbolic.h"

namespace quern::runtime {
namespace {

using ir::DType;
using ir::Id;
using ir::Op;

constexpr int64_t kGreatest = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();

class SizeExprTest : public ::testing::Test {
 protected:
  Id Var(const std::string& name) {
    const Id var = arena_.Make(Op::kVar, DType::kWeakInt, {},
                               ir::Attr{{1, int64_t{1} << 40}, name});
    vars_.push_back(var);
    return var;
  }

  // Without the algebra, which would simplify.
  Id Raw(Op op, Id a, Id b) { return arena_.Make(op, DType::kWeakInt, {a, b}); }

  absl::StatusOr<int64_t> Evaluate(Id size, const std::vector<int64_t>& vars) {
    const absl::StatusOr<SizeExpr> expr = SizeExpr::Of(arena_, size, vars_);
    if (!expr.ok()) return expr.status();
    return expr->Evaluate(vars);
  }

  ir::Arena arena_;
  std::vector<Id> vars_;
};

TEST_F(SizeExprTest, IsZeroAtFirst) {
  EXPECT_TRUE(SizeExpr().is_constant());
  EXPECT_EQ(*SizeExpr().Evaluate({}), 0);
}

TEST_F(SizeExprTest, HasTheValueOfEachOperation) {
  const Id a = Var("a");
  const Id b = Var("b");
  struct Row {
    Op op;
    int64_t a, b, value;
  };
  for (const Row& row : {
           Row{Op::kAdd, 3, 4, 7},
           Row{Op::kMul, 3, 4, 12},
           Row{Op::kIDiv, 7, 2, 3},
           Row{Op::kIDiv, -7, 2, -3},
           Row{Op::kIDiv, 7, 0, 0},
           Row{Op::kIDiv, 7, -1, -7},
           Row{Op::kMod, 7, 4, 3},
           Row{Op::kMod, -7, 4, -3},
           Row{Op::kMod, 7, 0, 0},
           Row{Op::kMod, kLeast, -1, 0},
           Row{Op::kMin, 3, 4, 3},
           Row{Op::kMax, 3, 4, 4},
       }) {
    const auto value = Evaluate(Raw(row.op, a, b), {row.a, row.b});
    ASSERT_TRUE(value.ok()) << value.status();
    EXPECT_EQ(*value, row.value)
        << ir::Name(row.op) << " " << row.a << " " << row.b;
  }
}

TEST_F(SizeExprTest, ReportsWhatLeaves64Bits) {
  const Id a = Var("a");
  const Id b = Var("b");
  struct Row {
    Op op;
    int64_t a, b;
  };
  for (const Row& row :
       {Row{Op::kAdd, kGreatest, 1}, Row{Op::kMul, kGreatest, 2},
        Row{Op::kMul, int64_t{1} << 32, int64_t{1} << 31},
        Row{Op::kIDiv, kLeast, -1}}) {
    EXPECT_EQ(Evaluate(Raw(row.op, a, b), {row.a, row.b}).status(),
              absl::InvalidArgumentError("a size is beyond 64 bits"))
        << ir::Name(row.op) << " " << row.a << " " << row.b;
  }
}

TEST_F(SizeExprTest, KeepsTheOrderOfOperands) {
  const Id n = Var("n");
  const Id m = Var("m");
  // (n + 7) / 8 * m - n, by the algebra.
  const Id size = ir::Sub(
      arena_, ir::Mul(arena_, ir::CeilDiv(arena_, n, arena_.Int(8)), m), n);
  for (const int64_t a : {1, 8, 9, 100}) {
    for (const int64_t b : {1, 5}) {
      EXPECT_EQ(*Evaluate(size, {a, b}), (a + 7) / 8 * b - a);
    }
  }
}

TEST_F(SizeExprTest, IsConstantWithoutVariables) {
  const auto five = SizeExpr::Of(arena_, arena_.Int(5), {});
  ASSERT_TRUE(five.ok()) << five.status();
  EXPECT_TRUE(five->is_constant());
  const Id n = Var("n");
  const auto free = SizeExpr::Of(arena_, n, vars_);
  ASSERT_TRUE(free.ok()) << free.status();
  EXPECT_FALSE(free->is_constant());
}

TEST_F(SizeExprTest, RefusesAVariableThatNobodyGives) {
  const Id n = Var("n");
  EXPECT_EQ(SizeExpr::Of(arena_, n, {}).status(),
            absl::InternalError("size uses unknown variable 'n'"));
}

TEST_F(SizeExprTest, RefusesWhatIsNoSize) {
  const Id zero = arena_.FloatConst(DType::kF32, 0);
  const Id root = arena_.Make(Op::kSqrt, DType::kF32, {zero});
  EXPECT_EQ(SizeExpr::Of(arena_, root, {}).status(),
            absl::InternalError("'sqrt' in a size"));
}

TEST_F(SizeExprTest, RefusesATreeThatNeedsALargeStack) {
  Id size = Var("n");
  for (int i = 0; i < 40; ++i) size = Raw(Op::kMin, arena_.Int(i), size);
  EXPECT_EQ(Evaluate(size, {1}).status(),
            absl::ResourceExhaustedError("a size is too complicated"));
}

TEST_F(SizeExprTest, RefusesSharedPartsInsteadOfRepeatingThemForever) {
  Id size = Var("n");
  for (int i = 0; i < 60; ++i) size = Raw(Op::kMul, size, size);
  EXPECT_EQ(Evaluate(size, {1}).status(),
            absl::ResourceExhaustedError("a size is too complicated"));
}

TEST_F(SizeExprTest, RefusesALongChainInsteadOfRecursing) {
  Id size = Var("n");
  for (int i = 0; i < 100'000; ++i) {
    size = Raw(Op::kMin, size, arena_.Int(1));
    if (i % 2 == 0) size = Raw(Op::kMax, size, arena_.Int(i));
  }
  EXPECT_EQ(Evaluate(size, {1}).status(),
            absl::ResourceExhaustedError("a size is too complicated"));
}

}  // namespace
}  // namespace quern::runtime
