// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/decompose.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/target.h"
#include "engine/ir/node.h"
#include "tests/unit/engine/kernel/scalar_evaluator.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Id;
using ir::Op;
using ::testing::HasSubstr;

constexpr int kBlock = ScalarEvaluator::kBlock;
constexpr double kInf = std::numeric_limits<double>::infinity();

base::Target TargetWith(bool fused) {
  base::Target target;
  target.fused_multiply_add = fused;
  return target;
}

// A body that stores `op` of loaded values; the loads are its arguments.
class Body {
 public:
  Body(Op op, DType to, std::vector<DType> from) {
    const Id range =
        arena_.Make(Op::kRange, DType::kWeakInt, {arena_.Int(8)}, {{0, 0}, {}});
    int slot = 1;
    for (DType dtype : from) {
      const Id param = arena_.Make(Op::kParam, dtype, {}, {{slot++}, {}});
      loads_.push_back(arena_.Make(Op::kLoad, dtype, {param, range}));
    }
    value_ = arena_.Make(op, to, loads_);
    const Id out = arena_.Make(Op::kParam, to, {}, {{0}, {}});
    const Id store = arena_.Make(Op::kStore, to, {out, range, value_});
    sink_ = arena_.Make(Op::kSink, DType::kWeakInt, {store, range}, {{1}, {}});
  }

  absl::StatusOr<Id> Decomposed(const base::Target& target) {
    return Decompose(arena_, sink_, target);
  }

  ScalarEvaluator Evaluator(const base::Target& target) {
    const auto sink = Decomposed(target);
    EXPECT_TRUE(sink.ok()) << sink.status();
    const Id store = arena_[*sink].srcs[0];
    auto evaluator =
        ScalarEvaluator::Make(arena_, loads_, arena_[store].srcs[2]);
    EXPECT_TRUE(evaluator.ok()) << evaluator.status();
    return *std::move(evaluator);
  }

  std::set<Op> Operations(Id sink) {
    std::set<Op> ops;
    for (Id id : ir::TopologicalOrder(arena_, {sink})) {
      ops.insert(arena_[id].op);
    }
    return ops;
  }

  Id sink() const { return sink_; }
  ir::Arena& arena() { return arena_; }

 private:
  ir::Arena arena_;
  std::vector<Id> loads_;
  Id value_ = ir::kNoNode;
  Id sink_ = ir::kNoNode;
};

// The nearest value with `digits` bits, a greatest power of two `emax` and a
// least place `least`, ties to even, computed exactly: `x` is scaled so that
// the last place is 1, which long double holds with all bits of an i64.
double Nearest(long double x, int digits, int emax, int least) {
  if (std::isnan(x) || std::isinf(x) || x == 0) return static_cast<double>(x);
  const int place = std::max(std::ilogb(x) - digits + 1, least);
  // In round-to-nearest mode, rint has ties to even.
  const long double rounded =
      std::ldexp(std::rint(std::ldexp(x, -place)), place);
  if (std::fabs(rounded) >= std::ldexp(1.0L, emax + 1)) {
    return x < 0 ? -kInf : kInf;
  }
  return static_cast<double>(rounded);
}
double NearestF16(long double x) { return Nearest(x, 11, 15, -24); }
double NearestBF16(long double x) { return Nearest(x, 8, 127, -133); }

// Calls `check(x, y)` for the results of casting `values`.
template <typename T>
void ForEachCast(DType from, DType to, const std::vector<T>& values,
                 double (*nearest)(long double)) {
  Body body(Op::kCast, to, {from});
  ScalarEvaluator evaluator = body.Evaluator(TargetWith(true));
  int failures = 0;
  for (size_t first = 0; first < values.size(); first += kBlock) {
    T* x = evaluator.Argument<T>(0);
    for (int i = 0; i < kBlock; ++i) {
      x[i] = values[std::min(first + i, values.size() - 1)];
    }
    evaluator.Run();
    for (int i = 0; i < kBlock; ++i) {
      const float y = evaluator.Result<float>()[i];
      const double expected = nearest(static_cast<long double>(x[i]));
      const bool same =
          std::isnan(expected)
              ? std::isnan(y)
              : y == expected && std::signbit(y) == std::signbit(expected);
      if (!same && ++failures < 5) {
        ADD_FAILURE() << "cast of " << x[i] << " gives " << y << ", expected "
                      << expected;
      }
    }
  }
  EXPECT_EQ(failures, 0);
}

// Values around every tie between two neighbours of the 16-bit type, moved by
// less than f32 can tell, and values of all exponents.
std::vector<double> DoublesNearTies(int digits, int least, int greatest) {
  std::mt19937_64 random(7);
  std::vector<double> x = {
      0.0, -0.0, kInf, -kInf, std::numeric_limits<double>::quiet_NaN(), 5e-324};
  for (int exponent = least; exponent <= greatest; ++exponent) {
    for (int i = 0; i < 40; ++i) {
      const double bits = static_cast<double>(random() >> (64 - digits));
      const double tie =
          std::ldexp(2 * bits + 1, exponent - digits);  // Half a place.
      for (double factor : {1.0, 1 + 0x1p-52, 1 - 0x1p-52, 1 + 0x1p-26,
                            1 - 0x1p-26, 1 + 0x1p-40, 1 - 0x1p-40}) {
        x.push_back(tie * factor);
        x.push_back(-tie * factor);
      }
    }
  }
  for (int i = 0; i < 100000; ++i) {
    x.push_back(std::bit_cast<double>(static_cast<uint64_t>(random())));
  }
  return x;
}

TEST(Decompose, RoundsF64ToF16Once) {
  ForEachCast<double>(DType::kF64, DType::kF16, DoublesNearTies(11, -30, 20),
                      NearestF16);
}

TEST(Decompose, RoundsF64ToBF16OnceAlsoBelowTheNormalRange) {
  ForEachCast<double>(DType::kF64, DType::kBF16, DoublesNearTies(8, -140, 130),
                      NearestBF16);
}

template <typename T>
std::vector<T> Integers() {
  std::mt19937_64 random(3);
  std::vector<T> x = {0,
                      1,
                      std::numeric_limits<T>::max(),
                      std::numeric_limits<T>::min(),
                      T(65504),
                      T(65519),
                      T(65520),
                      T(65521),
                      T(131073)};
  for (int shift = 0; shift < std::numeric_limits<T>::digits; ++shift) {
    for (int i = 0; i < 200; ++i) {
      const auto any = static_cast<T>(static_cast<T>(random()) >> shift);
      // A tie of bf16 and f16, and its neighbours.
      const T unit = T(1) << std::max(0, std::numeric_limits<T>::digits -
                                             shift - 9 - (i % 4));
      const T tie = any / unit * unit;
      for (T value : {any, tie, T(tie + 1), T(tie - 1)}) x.push_back(value);
    }
  }
  return x;
}

TEST(Decompose, RoundsIntegersToF16Once) {
  ForEachCast<int32_t>(DType::kI32, DType::kF16, Integers<int32_t>(),
                       NearestF16);
  ForEachCast<uint32_t>(DType::kU32, DType::kF16, Integers<uint32_t>(),
                        NearestF16);
  ForEachCast<int64_t>(DType::kI64, DType::kF16, Integers<int64_t>(),
                       NearestF16);
  ForEachCast<uint64_t>(DType::kU64, DType::kF16, Integers<uint64_t>(),
                        NearestF16);
}

TEST(Decompose, RoundsIntegersToBF16Once) {
  ForEachCast<int32_t>(DType::kI32, DType::kBF16, Integers<int32_t>(),
                       NearestBF16);
  ForEachCast<uint32_t>(DType::kU32, DType::kBF16, Integers<uint32_t>(),
                        NearestBF16);
  ForEachCast<int64_t>(DType::kI64, DType::kBF16, Integers<int64_t>(),
                       NearestBF16);
  ForEachCast<uint64_t>(DType::kU64, DType::kBF16, Integers<uint64_t>(),
                        NearestBF16);
}

TEST(Decompose, LeavesCastsThatRoundOnce) {
  for (DType from : {DType::kF32, DType::kI16, DType::kU8, DType::kBool}) {
    Body body(Op::kCast, DType::kBF16, {from});
    const auto sink = body.Decomposed(TargetWith(true));
    EXPECT_EQ(*sink, body.sink()) << ir::Name(from);
  }
}

// Random operands, many of which cancel or meet halfway between two floats.
std::vector<float> FmaOperands() {
  std::mt19937 random(5);
  std::vector<float> x;
  for (int i = 0; i < 300000; ++i) {
    const auto any = [&] {
      return std::bit_cast<float>(static_cast<uint32_t>(random()));
    };
    const auto near_one = [&] {
      return 1 + std::ldexp(static_cast<float>(random() >> 20),
                            -static_cast<int>(random() % 24));
    };
    float a = any(), b = any(), c = any();
    if (i % 4 == 3) {
      // (1 + u) (1 - u) is so little less than 1 that f64 may not tell, and 1
      // is a tie between two floats of the sum.
      const float u = std::ldexp(1.0f, -10 - static_cast<int>(random() % 14));
      a = (1 + u) * 0x1p-12f;
      b = (1 - u) * (random() % 2 ? 0x1p-12f : -0x1p-12f);
      c = 1 + static_cast<float>(random() >> 9) * 0x1p-23f;
    } else if (i % 3 == 1) {
      a = near_one();
      b = near_one();
      c = -(a * b) * (random() % 2 ? 1 : 1 + 0x1p-23f);
    } else if (i % 3 == 2) {
      a = near_one();
      b = near_one();
      c = std::ldexp(near_one(), static_cast<int>(random() % 60) - 30);
      if (random() % 2) c = -c;
    }
    x.insert(x.end(), {a, b, c});
  }
  return x;
}

TEST(Decompose, FmaOfF32IsRoundedOnceWithoutHardware) {
  Body body(Op::kFma, DType::kF32, {DType::kF32, DType::kF32, DType::kF32});
  ScalarEvaluator evaluator = body.Evaluator(TargetWith(false));
  const std::vector<float> x = FmaOperands();
  int failures = 0;
  for (size_t first = 0; first + 3 * kBlock <= x.size(); first += 3 * kBlock) {
    for (int i = 0; i < kBlock; ++i) {
      for (int j = 0; j < 3; ++j) {
        evaluator.Argument<float>(j)[i] = x[first + 3 * i + j];
      }
    }
    evaluator.Run();
    for (int i = 0; i < kBlock; ++i) {
      const float* operands = &x[first + 3 * i];
      const float y = evaluator.Result<float>()[i];
      const float expected = std::fma(operands[0], operands[1], operands[2]);
      if (std::isnan(y) && std::isnan(expected)) continue;
      if (y != expected && ++failures < 5) {
        ADD_FAILURE() << operands[0] << " * " << operands[1] << " + "
                      << operands[2] << " gives " << y << ", expected "
                      << expected;
      }
    }
  }
  EXPECT_EQ(failures, 0);
}

TEST(Decompose, LeavesFmaOfF64) {
  Body body(Op::kFma, DType::kF64, {DType::kF64, DType::kF64, DType::kF64});
  EXPECT_EQ(*body.Decomposed(TargetWith(true)), body.sink());
  EXPECT_EQ(*body.Decomposed(TargetWith(false)), body.sink());
}

TEST(Decompose, LeavesNoElementaryFunction) {
  for (Op op : {Op::kExp2, Op::kLog2, Op::kSin, Op::kTanh, Op::kErf}) {
    for (bool fused : {true, false}) {
      for (DType dtype : {DType::kF32, DType::kF64}) {
        Body body(op, dtype, {dtype});
        const auto sink = body.Decomposed(TargetWith(fused));
        ASSERT_TRUE(sink.ok()) << sink.status();
        const std::set<Op> ops = body.Operations(*sink);
        EXPECT_EQ(ops.count(op), 0) << ir::Name(op);
        EXPECT_EQ(ops.count(Op::kFma), fused ? 1 : 0) << ir::Name(op);
      }
    }
  }
}

TEST(Decompose, DecomposesFunctionsOfFunctions) {
  Body body(Op::kSin, DType::kF32, {DType::kF32});
  ir::Arena& arena = body.arena();
  const Id store = arena[body.sink()].srcs[0];
  const Id nested = arena.Make(Op::kTanh, DType::kF32, {arena[store].srcs[2]});
  const Id stored =
      arena.Make(Op::kStore, DType::kF32,
                 {arena[store].srcs[0], arena[store].srcs[1], nested});
  const Id sink = arena.Make(Op::kSink, DType::kWeakInt,
                             {stored, arena[body.sink()].srcs[1]}, {{1}, {}});
  const auto decomposed = Decompose(arena, sink, TargetWith(true));
  ASSERT_TRUE(decomposed.ok()) << decomposed.status();
  const std::set<Op> ops = body.Operations(*decomposed);
  EXPECT_EQ(ops.count(Op::kSin) + ops.count(Op::kTanh), 0);
}

TEST(Decompose, RefusesAnElementaryFunctionOfF16) {
  Body body(Op::kExp2, DType::kF16, {DType::kF16});
  const absl::Status status = body.Decomposed(TargetWith(true)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("exp2 of f16"));
}

TEST(Decompose, DoesNothingForAnInterpreter) {
  base::Target target = TargetWith(false);
  target.interpreted = true;
  Body body(Op::kExp2, DType::kF16, {DType::kF16});
  EXPECT_EQ(*body.Decomposed(target), body.sink());
}

}  // namespace
}  // namespace quern::kernel
