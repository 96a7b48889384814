// SPDX-License-Identifier: Apache-2.0
//
// Measures the errors of the elementary functions against the C library in a
// wider type. With --exhaustive the f32 tests take all 2^32 arguments (minutes
// for each function); otherwise one in 211.
#include "engine/kernel/transcendental.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "engine/ir/node.h"
#include "tests/unit/engine/kernel/scalar_evaluator.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ::testing::Le;

bool exhaustive = false;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr int kBlock = ScalarEvaluator::kBlock;

struct Function {
  const char* name;
  ir::Id (*make)(ir::Arena&, ir::Id, bool);
  double (*in_double)(double);
  long double (*in_long_double)(long double);
  // Bounds of the error in units in the last place: f32, f64.
  double f32_bound;
  double f64_bound;
};

void PrintTo(const Function& function, std::ostream* out) {
  *out << function.name;
}

const Function kFunctions[] = {
    {"exp2", Exp2, std::exp2, std::exp2, 2, 2},
    {"log2", Log2, std::log2, std::log2, 2, 2},
    {"sin", Sin, std::sin, std::sin, 2, 2.25},
    {"tanh", Tanh, std::tanh, std::tanh, 2, 2},
    {"erf", Erf, std::erf, std::erf, 2, 2},
};

// The function as a graph, made ready to run.
ScalarEvaluator EvaluatorOf(const Function& function, DType dtype, bool fused) {
  ir::Arena arena;
  const ir::Id x = arena.Make(ir::Op::kParam, dtype, {}, {{0}, {}});
  const ir::Id y = function.make(arena, x, fused);
  auto evaluator = ScalarEvaluator::Make(arena, {x}, y);
  EXPECT_TRUE(evaluator.ok()) << evaluator.status();
  return *std::move(evaluator);
}

// One value after the other, for the special ones.
template <typename T>
class Caller {
 public:
  Caller(const Function& function, bool fused)
      : evaluator_(EvaluatorOf(
            function, sizeof(T) == 4 ? DType::kF32 : DType::kF64, fused)) {}

  T operator()(T x) {
    evaluator_.template Argument<T>(0)[0] = x;
    evaluator_.Run();
    return evaluator_.template Result<T>()[0];
  }

 private:
  ScalarEvaluator evaluator_;
};

// |value - exact| in units in the last place of T at `exact`. Infinity counts
// as the first power of two that T lacks.
template <typename T, typename Wide>
double UlpError(T value, Wide exact) {
  using Limits = std::numeric_limits<T>;
  if (std::isnan(exact) || std::isnan(value)) {
    return std::isnan(exact) && std::isnan(value) ? 0 : kInf;
  }
  if (std::isinf(exact)) return value == static_cast<T>(exact) ? 0 : kInf;
  const Wide limit = std::ldexp(Wide{1}, Limits::max_exponent);
  Wide wide = value;
  if (std::isinf(wide)) wide = wide < 0 ? -limit : limit;
  if (exact > limit || exact < -limit) exact = exact < 0 ? -limit : limit;
  const int least = Limits::min_exponent - 1;
  int exponent = exact == 0 ? least : std::ilogb(exact);
  if (exponent < least) exponent = least;
  return static_cast<double>(
      std::ldexp(std::fabs(wide - exact), Limits::digits - 1 - exponent));
}

struct Worst {
  double error = 0;
  double argument = 0;
};

// Every `stride`-th f32.
Worst WorstOfF32(const Function& function, bool fused, uint64_t stride) {
  ScalarEvaluator evaluator = EvaluatorOf(function, DType::kF32, fused);
  Worst worst;
  float* x = evaluator.Argument<float>(0);
  for (uint64_t first = 0; first < uint64_t{1} << 32;
       first += stride * kBlock) {
    for (int i = 0; i < kBlock; ++i) {
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(first + i * stride));
    }
    evaluator.Run();
    const float* y = evaluator.Result<float>();
    for (int i = 0; i < kBlock; ++i) {
      const double exact = function.in_double(x[i]);
      const double error = UlpError<float>(y[i], exact);
      if (error > worst.error) worst = {error, x[i]};
    }
  }
  return worst;
}

Worst WorstOfF64(const Function& function, bool fused,
                 const std::vector<double>& arguments) {
  ScalarEvaluator evaluator = EvaluatorOf(function, DType::kF64, fused);
  Worst worst;
  double* x = evaluator.Argument<double>(0);
  for (size_t first = 0; first < arguments.size(); first += kBlock) {
    for (int i = 0; i < kBlock; ++i) {
      x[i] = arguments[std::min(first + i, arguments.size() - 1)];
    }
    evaluator.Run();
    const double* y = evaluator.Result<double>();
    for (int i = 0; i < kBlock; ++i) {
      const long double exact =
          function.in_long_double(static_cast<long double>(x[i]));
      const double error = UlpError<double>(y[i], exact);
      if (error > worst.error) worst = {error, x[i]};
    }
  }
  return worst;
}

// Doubles of both signs: all bit patterns, the interval where the functions
// are not constant, neighbours of multiples of pi/2, and of 1.
std::vector<double> Doubles(size_t count) {
  std::mt19937_64 random(1);
  std::vector<double> x;
  const auto pi = static_cast<long double>(M_PIl);
  while (x.size() < count) {
    const uint64_t bits = random();
    x.push_back(std::bit_cast<double>(bits));
    const double unit = std::ldexp(static_cast<double>(random() >> 11), -53);
    x.push_back((unit - 0.5) * 14);
    x.push_back(std::exp2((unit - 0.5) * 16));
    x.push_back((unit - 0.5) * 2160);
    const auto multiple =
        static_cast<long double>(random() >> (random() % 63 + 1));
    x.push_back(static_cast<double>(multiple * (pi / 2)));
    x.push_back(1 + (unit - 0.5) * std::exp2(-static_cast<int>(bits % 52)));
  }
  // Doubles that are nearest to multiples of pi/2 among all (the first: Muller
  // et al., "Handbook of Floating-Point Arithmetic", 2010), from both sides.
  const struct {
    double mantissa;
    int exponent;
  } nearest[] = {
      {6381956970095103, 797}, {6381956970095103, 798}, {5850965514341686, 525},
      {8583082635084172, 145}, {7763785107565477, -29}, {5916243447979695, 79},
      {8444920710073313, 939}, {8160885118204141, 808},
  };
  for (const auto& [mantissa, exponent] : nearest) {
    x.push_back(std::ldexp(mantissa, exponent));
  }
  return x;
}

class Transcendental : public ::testing::TestWithParam<Function> {};

INSTANTIATE_TEST_SUITE_P(All, Transcendental, ::testing::ValuesIn(kFunctions),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

void Report(const Function& function, const char* what, const Worst& worst) {
  std::printf("%s %s: at most %.3f ulp, at %a\n", function.name, what,
              worst.error, worst.argument);
}

TEST_P(Transcendental, IsWithinItsBoundInF32) {
  const Worst worst = WorstOfF32(GetParam(), true, exhaustive ? 1 : 211);
  Report(GetParam(), "f32", worst);
  EXPECT_THAT(worst.error, Le(GetParam().f32_bound));
}

TEST_P(Transcendental, IsWithinItsBoundInF32WithoutFusedOperations) {
  const Worst worst = WorstOfF32(GetParam(), false, exhaustive ? 1 : 211);
  Report(GetParam(), "f32 not fused", worst);
  EXPECT_THAT(worst.error, Le(GetParam().f32_bound));
}

TEST_P(Transcendental, IsWithinItsBoundInF64) {
  const Worst worst =
      WorstOfF64(GetParam(), true, Doubles(exhaustive ? 20000000 : 300000));
  Report(GetParam(), "f64", worst);
  EXPECT_THAT(worst.error, Le(GetParam().f64_bound));
}

TEST_P(Transcendental, IsWithinItsBoundInF64WithoutFusedOperations) {
  const Worst worst =
      WorstOfF64(GetParam(), false, Doubles(exhaustive ? 20000000 : 300000));
  Report(GetParam(), "f64 not fused", worst);
  EXPECT_THAT(worst.error, Le(GetParam().f64_bound));
}

// Special values are the same in both types, fused or not.
template <typename T>
class Special : public ::testing::Test {};
using Floats = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Special, Floats);

// Equal as values with the sign of zero, or both NaN.
template <typename T>
bool Same(T a, T b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return a == b && std::signbit(a) == std::signbit(b);
}

template <typename T>
void ExpectValues(const Function& function,
                  const std::vector<std::pair<double, double>>& values) {
  for (bool fused : {true, false}) {
    Caller<T> call(function, fused);
    for (const auto& [x, y] : values) {
      const T result = call(static_cast<T>(x));
      EXPECT_TRUE(Same(result, static_cast<T>(y)))
          << function.name << "(" << x << ") = " << result << ", expected " << y
          << (fused ? "" : ", not fused");
    }
  }
}

constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

TYPED_TEST(Special, Exp2OfInfinitiesAndZeros) {
  ExpectValues<TypeParam>(kFunctions[0], {{kInf, kInf},
                                          {-kInf, 0},
                                          {0.0, 1},
                                          {-0.0, 1},
                                          {kNotANumber, kNotANumber},
                                          {1e30, kInf},
                                          {-1e30, 0}});
}

TYPED_TEST(Special, Exp2OfIntegersIsExactAlsoBelowTheNormalRange) {
  using Limits = std::numeric_limits<TypeParam>;
  std::vector<std::pair<double, double>> values = {
      {Limits::max_exponent, kInf},
      {Limits::min_exponent - Limits::digits - 1, 0}};
  for (int n = Limits::min_exponent - Limits::digits; n < Limits::max_exponent;
       ++n) {
    values.emplace_back(n, std::ldexp(1, n));
  }
  ExpectValues<TypeParam>(kFunctions[0], values);
}

TYPED_TEST(Special, Log2OfWhatHasNone) {
  ExpectValues<TypeParam>(kFunctions[1], {{0.0, -kInf},
                                          {-0.0, -kInf},
                                          {-1, kNotANumber},
                                          {-kInf, kNotANumber},
                                          {kInf, kInf},
                                          {1, 0},
                                          {kNotANumber, kNotANumber}});
}

TYPED_TEST(Special, Log2OfPowersOfTwoIsExactAlsoBelowTheNormalRange) {
  using Limits = std::numeric_limits<TypeParam>;
  std::vector<std::pair<double, double>> values;
  for (int n = Limits::min_exponent - Limits::digits; n < Limits::max_exponent;
       ++n) {
    values.emplace_back(std::ldexp(1, n), n);
  }
  ExpectValues<TypeParam>(kFunctions[1], values);
}

TYPED_TEST(Special, SinKeepsZerosAndHasNoValueAtInfinity) {
  const double least = std::numeric_limits<TypeParam>::denorm_min();
  ExpectValues<TypeParam>(kFunctions[2], {{0.0, 0.0},
                                          {-0.0, -0.0},
                                          {least, least},
                                          {-least, -least},
                                          {kInf, kNotANumber},
                                          {-kInf, kNotANumber},
                                          {kNotANumber, kNotANumber}});
}

TYPED_TEST(Special, TanhAndErfKeepZerosAndReachOne) {
  const double least = std::numeric_limits<TypeParam>::denorm_min();
  const double greatest = std::numeric_limits<TypeParam>::max();
  for (int i : {3, 4}) {
    ExpectValues<TypeParam>(kFunctions[i], {{0.0, 0.0},
                                            {-0.0, -0.0},
                                            {least, least},
                                            {kInf, 1},
                                            {-kInf, -1},
                                            {greatest, 1},
                                            {-greatest, -1},
                                            {kNotANumber, kNotANumber}});
  }
}

// A NaN may carry any payload, and the tricks with low bits must not turn one
// into a number.
TYPED_TEST(Special, EveryNaNGivesANaN) {
  constexpr int kFraction = std::numeric_limits<TypeParam>::digits - 1;
  using Bits = std::conditional_t<sizeof(TypeParam) == 4, uint32_t, uint64_t>;
  for (const Function& function : kFunctions) {
    Caller<TypeParam> call(function, true);
    for (int bit = 0; bit < kFraction; ++bit) {
      for (Bits fraction : {Bits{1} << bit, (Bits{2} << bit) - 1}) {
        const Bits infinity =
            std::bit_cast<Bits>(std::numeric_limits<TypeParam>::infinity());
        const auto nan = std::bit_cast<TypeParam>(infinity | fraction);
        EXPECT_TRUE(std::isnan(call(nan))) << function.name << " " << fraction;
      }
    }
  }
}

// These stand in the inner loops of softmax and gelu.
TEST(Transcendentals, StaySmall) {
  const struct {
    int function;
    int limit;
  } limits[] = {{0, 26}, {1, 36}, {3, 32}, {4, 37}};
  for (const auto& [function, limit] : limits) {
    const ScalarEvaluator evaluator =
        EvaluatorOf(kFunctions[function], DType::kF32, true);
    std::printf("%s: %d operations\n", kFunctions[function].name,
                evaluator.size());
    EXPECT_THAT(evaluator.size(), Le(limit)) << kFunctions[function].name;
  }
}

#if defined(__SSE2__)
// As the pool's threads do: denormal results and arguments are zero.
Worst WorstWhereDenormalsAreFlushed(const Function& function, bool fused) {
  constexpr uint64_t kStride = 4219;
  ScalarEvaluator evaluator = EvaluatorOf(function, DType::kF32, fused);
  float* x = evaluator.Argument<float>(0);
  Worst worst;
  for (uint64_t first = 0; first < uint64_t{1} << 32;
       first += kStride * kBlock) {
    for (int i = 0; i < kBlock; ++i) {
      x[i] = std::bit_cast<float>(static_cast<uint32_t>(first + i * kStride));
    }
    const unsigned int mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040);
    evaluator.Run();
    _mm_setcsr(mode);
    for (int i = 0; i < kBlock; ++i) {
      const double least = std::numeric_limits<float>::min() * 1.001;
      const double y = evaluator.Result<float>()[i];
      const bool is_zero = std::fpclassify(x[i]) == FP_SUBNORMAL;
      const double exact = function.in_double(is_zero ? 0 : x[i]);
      const bool is_tiny = std::fabs(exact) < least;
      const double error = !is_tiny               ? UlpError<float>(y, exact)
                           : std::fabs(y) < least ? 0
                                                  : kInf;
      if (error > worst.error) worst = {error, x[i]};
    }
  }
  return worst;
}

TEST(Transcendentals, HoldTheirBoundsWhereDenormalsAreFlushed) {
  for (const Function& function : kFunctions) {
    for (bool fused : {true, false}) {
      const Worst worst = WorstWhereDenormalsAreFlushed(function, fused);
      EXPECT_THAT(worst.error, Le(function.f32_bound))
          << function.name << " at " << worst.argument
          << (fused ? "" : ", not fused");
    }
  }
}
#endif

}  // namespace
}  // namespace quern::kernel

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    quern::kernel::exhaustive |= std::strcmp(argv[i], "--exhaustive") == 0;
  }
  return RUN_ALL_TESTS();
}
