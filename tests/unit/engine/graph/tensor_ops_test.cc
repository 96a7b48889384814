// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/tensor_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/engine/graph/evaluate.h"

namespace quern::graph {
namespace {

using ir::Builder;
using testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNan = std::nan("");

struct Function {
  const char* name;
  Id (*build)(Builder&, Id);
  double (*expected)(double);
  double least;
  double greatest;
};

double SoftplusOf(double x) { return std::log1p(std::exp(x)); }

const Function kFunctions[] = {
    {"Exp", Exp, std::exp, -20, 20},
    {"Log", Log, std::log, 1e-3, 20},
    {"Cos", Cos, std::cos, -10, 10},
    {"Tan", Tan, std::tan, -1.5, 1.5},
    {"Asin", Asin, std::asin, -1, 1},
    {"Acos", Acos, std::acos, -1, 1},
    {"Atan", Atan, std::atan, -20, 20},
    {"Sinh", Sinh, std::sinh, -5, 5},
    {"Cosh", Cosh, std::cosh, -5, 5},
    {"Asinh", Asinh, std::asinh, -20, 20},
    {"Acosh", Acosh, std::acosh, 1, 20},
    {"Atanh", Atanh, std::atanh, -0.999, 0.999},
    {"Floor", Floor, std::floor, -5, 5},
    {"Ceil", Ceil, std::ceil, -5, 5},
    {"Round", Round, std::nearbyint, -5, 5},
    {"Abs", Abs, std::fabs, -5, 5},
    {"Softplus", Softplus, SoftplusOf, -30, 30},
    {"Sigmoid", Sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -30,
     30},
    {"Relu", Relu, [](double x) { return x > 0 ? x : 0; }, -5, 5},
    {"Softsign", Softsign, [](double x) { return x / (1 + std::fabs(x)); }, -5,
     5},
    {"Mish", Mish, [](double x) { return x * std::tanh(SoftplusOf(x)); }, -10,
     10},
    {"Gelu", Gelu,
     [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }, -5,
     5},
    {"HardSwish", HardSwish,
     [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }, -5, 5},
};

class FunctionTest : public testing::TestWithParam<Function> {};

TEST_P(FunctionTest, FollowsItsDefinition) {
  const Function& f = GetParam();
  Values x{{201}, {}};
  std::vector<double> expected;
  for (int i = 0; i <= 200; ++i) {
    // Halves and wholes are among them.
    x.data.push_back(f.least + (f.greatest - f.least) * i / 200);
    expected.push_back(f.expected(x.data.back()));
  }
  const Values y = Evaluate({x}, [&](Builder& b, const std::vector<Id>& in) {
    return f.build(b, in[0]);
  });
  ASSERT_EQ(y.data.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(y.data[i], expected[i], 1e-9 * (1 + std::fabs(expected[i])))
        << x.data[i];
  }
}

TEST_P(FunctionTest, LetsNanThrough) {
  const Values y =
      Evaluate({{{1}, {kNan}}}, [&](Builder& b, const std::vector<Id>& in) {
        return GetParam().build(b, in[0]);
      });
  ASSERT_EQ(y.data.size(), 1u);
  EXPECT_TRUE(std::isnan(y.data[0]));
}

INSTANTIATE_TEST_SUITE_P(All, FunctionTest, testing::ValuesIn(kFunctions),
                         [](const testing::TestParamInfo<Function>& info) {
                           return info.param.name;
                         });

TEST(Pow, FollowsTheRulesOfSignsAndSpecialCases) {
  const std::vector<double> x = {2, -2, -2, -2, 0, 0, 5, 1, 4, kInfinity};
  const std::vector<double> y = {3, 3, 2, 0.5, 2, 0, 0, kNan, -0.5, -1};
  const int64_t n = static_cast<int64_t>(x.size());
  const Values result =
      Evaluate({{{n}, x}, {{n}, y}}, [](Builder& b, const std::vector<Id>& in) {
        return Pow(b, in[0], in[1]);
      });
  ASSERT_EQ(result.data.size(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = std::pow(x[i], y[i]);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(result.data[i])) << x[i] << "^" << y[i];
    } else {
      EXPECT_NEAR(result.data[i], expected, 1e-12) << x[i] << "^" << y[i];
    }
  }
}

TEST(Pow, OfAKnownSmallPowerIsMultiplication) {
  ir::Arena arena;
  Builder b(&arena);
  const Id x = b.Input(0, ir::DType::kF32, {b.Int(4)});
  const Id square = Pow(b, x, b.Scalar(ir::DType::kF32, 2));
  EXPECT_EQ(square, b.Mul(x, x));
}

TEST(Mod, TakesTheSignOfTheDivisorOrOfTheDividend) {
  const Values x{{4}, {7, -7, 7, -7}, ir::DType::kI32};
  const Values y{{4}, {3, 3, -3, -3}, ir::DType::kI32};
  EXPECT_THAT(Evaluate({x, y},
                       [](Builder& b, const std::vector<Id>& in) {
                         return FloorMod(b, in[0], in[1]);
                       })
                  .data,
              ElementsAre(1, 2, -2, -1));
  EXPECT_THAT(Evaluate({x, y},
                       [](Builder& b, const std::vector<Id>& in) {
                         return TruncMod(b, in[0], in[1]);
                       })
                  .data,
              ElementsAre(1, -1, 1, -1));
}

TEST(LessOrEqual, IsFalseForNan) {
  EXPECT_THAT(Evaluate({{{3}, {1, kNan, 2}}, {{3}, {1, 1, kNan}}},
                       [](Builder& b, const std::vector<Id>& in) {
                         return LessOrEqual(b, in[0], in[1]);
                       })
                  .data,
              ElementsAre(1, 0, 0));
}

TEST(LessOrEqual, IsFalseForNanBesideAWeakConstant) {
  const Values x{{3}, {1, kNan, 3}};
  EXPECT_THAT(Evaluate({x},
                       [](Builder& b, const std::vector<Id>& in) {
                         return LessOrEqual(b, b.Int(2), in[0]);
                       })
                  .data,
              ElementsAre(0, 0, 1));
  EXPECT_THAT(Evaluate({x},
                       [](Builder& b, const std::vector<Id>& in) {
                         return GreaterOrEqual(b, in[0], b.Int(2));
                       })
                  .data,
              ElementsAre(0, 0, 1));
}

TEST(Functions, OfAWeakConstantAndAFloatAreThoseOfFloats) {
  using Function = Id (*)(Builder&, Id, Id);
  const std::pair<Function, double> cases[] = {
      {Divide, -2.8}, {FloorMod, -0.5}, {TruncMod, 2}, {Pow, 0.0077}};
  for (const auto& [function, expected] : cases) {
    const Values y =
        Evaluate({{{1}, {-2.5}}}, [&](Builder& b, const std::vector<Id>& in) {
          return function(b, b.Int(7), in[0]);
        });
    EXPECT_EQ(y.dtype, ir::DType::kF64);
    EXPECT_NEAR(y.data[0], expected, 1e-4);
  }
}

TEST(Sigmoid, OfHalfFloatsRoundsOnce) {
  // With every step rounded to 11 bits this would be off by several units.
  const Values y = Evaluate(
      {{{1}, {3.2}, ir::DType::kF16}},
      [](Builder& b, const std::vector<Id>& in) { return Sigmoid(b, in[0]); });
  const double x = ir::RoundTo(ir::DType::kF16, 3.2);
  EXPECT_EQ(y.dtype, ir::DType::kF16);
  EXPECT_EQ(y.data[0], ir::RoundTo(ir::DType::kF16, 1 / (1 + std::exp(-x))));
}

}  // namespace
}  // namespace quern::graph
