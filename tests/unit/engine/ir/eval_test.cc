// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/eval.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::ir {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNaN = std::numeric_limits<double>::quiet_NaN();

int64_t Integer(Op op, DType dtype, std::vector<int64_t> values) {
  std::vector<Scalar> operands;
  for (int64_t v : values) operands.push_back(Scalar::OfInt(dtype, v));
  const bool compares = (InfoOf(op).traits & kComparison) != 0;
  return Evaluate(op, compares ? DType::kBool : dtype, operands).value().bits;
}

double Real(Op op, std::vector<double> values) {
  std::vector<Scalar> operands;
  for (double v : values) operands.push_back(Scalar::OfFloat(DType::kF32, v));
  return Evaluate(op, DType::kF32, operands).value().AsDouble();
}

Scalar Cast(Scalar from, DType to, Rounding rounding = Rounding::kCasts) {
  return Evaluate(Op::kCast, to, {from}, rounding).value();
}

TEST(Evaluate, IntegersWrapAndNeverTrap) {
  struct Row {
    Op op;
    DType dtype;
    std::vector<int64_t> operands;
    int64_t expected;
  };
  const Row kRows[] = {
      {Op::kAdd, DType::kI8, {127, 1}, -128},
      {Op::kAdd, DType::kU8, {255, 1}, 0},
      {Op::kAdd, DType::kI64, {INT64_MAX, 1}, INT64_MIN},
      {Op::kSub, DType::kU16, {0, 1}, 65535},
      {Op::kMul, DType::kI16, {300, 300}, 24464},
      {Op::kMul, DType::kI64, {INT64_MIN, -1}, INT64_MIN},
      {Op::kNeg, DType::kI8, {-128}, -128},
      {Op::kNeg, DType::kU32, {1}, 4294967295},
      {Op::kIDiv, DType::kI32, {-7, 2}, -3},
      {Op::kIDiv, DType::kI32, {7, 0}, 0},
      {Op::kIDiv, DType::kI32, {INT32_MIN, -1}, INT32_MIN},
      {Op::kIDiv, DType::kI64, {INT64_MIN, -1}, INT64_MIN},
      {Op::kIDiv, DType::kU8, {200, 255}, 0},
      {Op::kIDiv, DType::kU64, {-1, 2}, INT64_MAX},
      {Op::kMod, DType::kI32, {-7, 2}, -1},
      {Op::kMod, DType::kI32, {7, 0}, 0},
      {Op::kMod, DType::kI64, {INT64_MIN, -1}, 0},
      {Op::kMax, DType::kU64, {-1, 1}, -1},
      {Op::kMin, DType::kI64, {-1, 1}, -1},
      {Op::kAnd, DType::kI8, {-1, 12}, 12},
      {Op::kOr, DType::kU8, {1, 254}, 255},
      {Op::kXor, DType::kI16, {-1, 0}, -1},
      {Op::kShl, DType::kI8, {1, 7}, -128},
      {Op::kShl, DType::kI8, {1, 8}, 0},
      {Op::kShl, DType::kI32, {1, -1}, 0},
      {Op::kShl, DType::kU64, {1, 63}, INT64_MIN},
      {Op::kShr, DType::kI8, {-128, 3}, -16},
      {Op::kShr, DType::kI8, {-128, 8}, -1},
      {Op::kShr, DType::kI8, {127, 100}, 0},
      {Op::kShr, DType::kI64, {-5, -1}, -1},
      {Op::kShr, DType::kU8, {255, 4}, 15},
      {Op::kShr, DType::kU8, {255, 8}, 0},
      {Op::kCmpLt, DType::kU8, {200, 100}, 0},
      {Op::kCmpLt, DType::kI8, {-1, 1}, 1},
      {Op::kCmpNe, DType::kI64, {3, 3}, 0},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(Integer(row.op, row.dtype, row.operands), row.expected)
        << Name(row.op) << " " << Name(row.dtype) << " of "
        << row.operands.front();
  }
}

TEST(Evaluate, FloatsFollowTheTable) {
  struct Row {
    Op op;
    std::vector<double> operands;
    double expected;
  };
  const Row kRows[] = {
      {Op::kDiv, {1, 0}, kInfinity},
      {Op::kMax, {1, kNaN}, kNaN},
      {Op::kMax, {kNaN, 1}, kNaN},
      {Op::kMin, {kNaN, 1}, kNaN},
      {Op::kMin, {-1, 2}, -1},
      {Op::kTrunc, {-1.5}, -1},
      {Op::kExp2, {-1}, 0.5},
      {Op::kLog2, {8}, 3},
      {Op::kLog2, {-1}, kNaN},
      {Op::kSqrt, {-1}, kNaN},
      {Op::kTanh, {kInfinity}, 1},
      {Op::kErf, {-kInfinity}, -1},
      {Op::kSin, {0}, 0},
      {Op::kFma, {0x1p30 + 1, 0x1p30 - 1, -0x1p60}, -1},
      {Op::kNeg, {2}, -2},
  };
  for (const Row& row : kRows) {
    const double got = Real(row.op, row.operands);
    if (std::isnan(row.expected)) {
      EXPECT_TRUE(std::isnan(got)) << Name(row.op);
    } else {
      EXPECT_EQ(got, row.expected) << Name(row.op);
    }
  }
}

TEST(Evaluate, ComparesNaNAsUnequalToAll) {
  const Scalar nan = Scalar::OfFloat(DType::kF32, kNaN);
  const auto compare = [&](Op op) {
    return Evaluate(op, DType::kBool, {nan, nan}).value().bits;
  };
  EXPECT_EQ(compare(Op::kCmpEq), 0);
  EXPECT_EQ(compare(Op::kCmpNe), 1);
  EXPECT_EQ(compare(Op::kCmpLt), 0);
}

TEST(Evaluate, KnowsPlusZeroAsGreater) {
  EXPECT_FALSE(std::signbit(Real(Op::kMax, {-0.0, 0.0})));
  EXPECT_TRUE(std::signbit(Real(Op::kMin, {0.0, -0.0})));
}

TEST(Evaluate, SelectsByTheCondition) {
  const Scalar x = Scalar::OfFloat(DType::kF64, 1);
  const Scalar y = Scalar::OfFloat(DType::kF64, 2);
  EXPECT_EQ(
      Evaluate(Op::kWhere, DType::kF64, {Scalar::OfInt(DType::kBool, 1), x, y})
          .value(),
      x);
  EXPECT_EQ(
      Evaluate(Op::kWhere, DType::kF64, {Scalar::OfInt(DType::kBool, 0), x, y})
          .value(),
      y);
}

TEST(Evaluate, CastsFloatsToIntegersWithSaturation) {
  struct Row {
    double from;
    DType to;
    int64_t expected;
  };
  const Row kRows[] = {
      {1.9, DType::kI32, 1},
      {-1.9, DType::kI32, -1},
      {kNaN, DType::kI32, 0},
      {kInfinity, DType::kI32, INT32_MAX},
      {-kInfinity, DType::kI32, INT32_MIN},
      {300, DType::kU8, 255},
      {-0.5, DType::kU8, 0},
      {-7, DType::kU64, 0},
      {1e30, DType::kI64, INT64_MAX},
      {1e30, DType::kU64, -1},
      {0x1p63, DType::kU64, INT64_MIN},
      {-0x1p63, DType::kI64, INT64_MIN},
      {0.25, DType::kBool, 1},
      {kNaN, DType::kBool, 1},
      {-0.0, DType::kBool, 0},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(Cast(Scalar::OfFloat(DType::kF64, row.from), row.to).bits,
              row.expected)
        << row.from << " to " << Name(row.to);
  }
}

TEST(Evaluate, CastsIntegersByWrapping) {
  EXPECT_EQ(Cast(Scalar::OfInt(DType::kI32, 300), DType::kU8).bits, 44);
  EXPECT_EQ(Cast(Scalar::OfInt(DType::kI8, -1), DType::kU32).bits, 4294967295);
  EXPECT_EQ(Cast(Scalar::OfInt(DType::kI8, -1), DType::kBool).bits, 1);
  EXPECT_EQ(Cast(Scalar::OfInt(DType::kU64, -1), DType::kF64).AsDouble(),
            0x1p64);
}

TEST(Evaluate, RoundsACastOnce) {
  // Just above the middle of two neighbours of f32, by less than a double can
  // tell: rounding through a double would take the even one.
  const int64_t value = (int64_t{1} << 62) + (int64_t{1} << 38) + 1;
  EXPECT_EQ(Cast(Scalar::OfInt(DType::kI64, value), DType::kF32).AsDouble(),
            0x1p62 + 0x1p39);
  EXPECT_EQ(Cast(Scalar::OfInt(DType::kI64, -value), DType::kF32).AsDouble(),
            -0x1p62 - 0x1p39);
}

TEST(Evaluate, RoundsOnlyWhatItIsAskedTo) {
  const Scalar x = Scalar::OfFloat(DType::kF32, 1 + 0x1p-40);
  const auto twice = [&](Rounding rounding) {
    return Evaluate(Op::kAdd, DType::kF32, {x, x}, rounding).value().AsDouble();
  };
  EXPECT_EQ(twice(Rounding::kNone), 2 + 0x1p-39);
  EXPECT_EQ(twice(Rounding::kCasts), 2 + 0x1p-39);
  EXPECT_EQ(twice(Rounding::kAll), 2);
  EXPECT_EQ(Cast(x, DType::kF32, Rounding::kCasts).AsDouble(), 1);
  EXPECT_EQ(Cast(x, DType::kF32, Rounding::kNone).AsDouble(), 1 + 0x1p-40);
}

TEST(Evaluate, BitcastsTheRoundedBits) {
  const auto bits = [](Scalar from, DType to) {
    return Evaluate(Op::kBitcast, to, {from}).value().bits;
  };
  EXPECT_EQ(bits(Scalar::OfFloat(DType::kF32, 1 + 0x1p-40), DType::kI32),
            0x3f800000);
  EXPECT_EQ(bits(Scalar::OfFloat(DType::kF16, -2), DType::kU16), 0xc000);
  EXPECT_EQ(bits(Scalar::OfInt(DType::kU8, 255), DType::kI8), -1);
  EXPECT_EQ(bits(Scalar::OfInt(DType::kI64, INT64_MIN), DType::kU64),
            INT64_MIN);
}

TEST(Evaluate, RefusesWhatHasNoMeaning) {
  const Scalar f = Scalar::OfFloat(DType::kF32, 1);
  const Scalar i = Scalar::OfInt(DType::kI32, 1);
  const Scalar b = Scalar::OfInt(DType::kBool, 1);
  const auto message = [](Op op, DType result, std::vector<Scalar> operands) {
    return std::string(Evaluate(op, result, operands).status().message());
  };
  EXPECT_EQ(message(Op::kAnd, DType::kF32, {f, f}),
            "'and' of f32 giving f32 has no meaning");
  EXPECT_EQ(message(Op::kSqrt, DType::kI32, {i}),
            "'sqrt' of i32 giving i32 has no meaning");
  EXPECT_EQ(message(Op::kAdd, DType::kBool, {b, b}),
            "'add' of bool giving bool has no meaning");
  EXPECT_EQ(message(Op::kAdd, DType::kF32, {f, i}),
            "'add' of f32 and i32 has no meaning");
  EXPECT_EQ(message(Op::kBitcast, DType::kI64, {f}),
            "'bitcast' of f32 giving i64 has no meaning");
  EXPECT_EQ(message(Op::kAdd, DType::kF32, {f}),
            "'add' of 1 values has no meaning, it takes 2");
  EXPECT_EQ(message(Op::kReshape, DType::kF32, {f}),
            "'reshape' of 1 values has no meaning, it takes 0");
}

TEST(Evaluate, HasAMeaningForEveryElementwiseOperation) {
  for (int n = 0; n < kNumOps; ++n) {
    const Op op = static_cast<Op>(n);
    if (!IsElementwise(op)) continue;
    const DType operand =
        (InfoOf(op).traits & kIntegerOnly) != 0 ? DType::kI32 : DType::kF32;
    const bool compares = (InfoOf(op).traits & kComparison) != 0;
    EXPECT_TRUE(EvaluatorOf(op, operand, compares ? DType::kBool : operand,
                            Rounding::kAll)
                    .ok())
        << Name(op);
  }
}

TEST(Reduction, StartsAtItsIdentity) {
  for (int n = 0; n < kNumDTypes; ++n) {
    const DType dtype = static_cast<DType>(n);
    for (Op op : {Op::kAdd, Op::kMul, Op::kMax, Op::kMin}) {
      const auto fold = FoldOf(op, dtype);
      if (!fold.ok()) continue;
      for (int64_t value : {-3, 0, 1, 5}) {
        const Scalar x = Scalar::OfInt(dtype, value);
        EXPECT_EQ((*fold)(IdentityOf(op, dtype).bits, &x.bits, 1), x.bits)
            << Name(op) << " " << Name(dtype) << " " << value;
      }
    }
  }
}

TEST(Reduction, CombinesFromTheFirstToTheLast) {
  std::vector<int64_t> values;
  for (double v : {1.0, 0x1p-53, 0x1p-53}) {
    values.push_back(std::bit_cast<int64_t>(v));
  }
  const auto fold = FoldOf(Op::kAdd, DType::kF32).value();
  EXPECT_EQ(std::bit_cast<double>(
                fold(IdentityOf(Op::kAdd, DType::kF32).bits, values.data(), 3)),
            1.0);
  const std::vector<int64_t> bytes = {100, 100, 100};
  EXPECT_EQ(FoldOf(Op::kAdd, DType::kU8).value()(0, bytes.data(), 3), 44);
}

TEST(Reduction, RefusesSumsOfBool) {
  EXPECT_THAT(FoldOf(Op::kAdd, DType::kBool).status().message(),
              HasSubstr("has no meaning"));
  EXPECT_THAT(FoldOf(Op::kSub, DType::kF32).status().message(),
              HasSubstr("has no meaning"));
}

TEST(RoundTo, TakesTheNearestAndTheEvenOfTwo) {
  struct Row {
    DType dtype;
    double from;
    double expected;
  };
  const Row kRows[] = {
      {DType::kF16, 1 + 0x1p-11, 1},
      {DType::kF16, 1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-10},
      {DType::kF16, 1 + 3 * 0x1p-11, 1 + 0x1p-9},
      {DType::kF16, 65504, 65504},
      {DType::kF16, 65519.999, 65504},
      {DType::kF16, 65520, kInfinity},
      {DType::kF16, -1e300, -kInfinity},
      {DType::kF16, 0x1p-24, 0x1p-24},
      {DType::kF16, 0x1p-25, 0},
      {DType::kF16, 0x1.8p-25, 0x1p-24},
      {DType::kF16, 0x1.ff8p-15, 0x1.ff8p-15},
      {DType::kF16, 0x1.ffcp-15, 0x1p-14},
      {DType::kBF16, 1 + 0x1p-8, 1},
      {DType::kBF16, 1 + 3 * 0x1p-8, 1 + 0x1p-6},
      {DType::kBF16, 3.4e38, kInfinity},
      {DType::kBF16, 0x1p-133, 0x1p-133},
      {DType::kBF16, 0x1p-134, 0},
      {DType::kF32, 1 + 0x1p-24, 1},
      {DType::kF32, 1e39, kInfinity},
      {DType::kF64, 0.1, 0.1},
      {DType::kWeakFloat, 0.1, 0.1},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(RoundTo(row.dtype, row.from), row.expected)
        << Name(row.dtype) << " " << row.from;
  }
  EXPECT_TRUE(std::isnan(RoundTo(DType::kF16, kNaN)));
  EXPECT_TRUE(std::isnan(RoundTo(DType::kBF16, kNaN)));
  EXPECT_TRUE(std::signbit(RoundTo(DType::kF16, -1e-30)));
}

TEST(Elements, OfSixteenBitsComeBackBitByBit) {
  for (DType dtype : {DType::kF16, DType::kBF16, DType::kI16, DType::kU16}) {
    for (uint32_t pattern = 0; pattern < 65536; ++pattern) {
      const auto in = static_cast<uint16_t>(pattern);
      const int64_t held = ReadElement(dtype, &in);
      const bool nan =
          IsFloat(dtype) && std::isnan(std::bit_cast<double>(held));
      uint16_t out = 0;
      WriteElement(dtype, held, &out);
      // The payload of a NaN may change, its being one may not.
      const int64_t again = ReadElement(dtype, &out);
      ASSERT_TRUE(nan ? std::isnan(std::bit_cast<double>(again)) : in == out)
          << Name(dtype) << " " << in << " " << out;
    }
  }
}

TEST(Elements, OfBrainFloatAreTheUpperHalvesOfFloats) {
  for (uint32_t pattern = 0; pattern < 0x7f80; ++pattern) {
    const auto in = static_cast<uint16_t>(pattern);
    const double held = std::bit_cast<double>(ReadElement(DType::kBF16, &in));
    ASSERT_EQ(held, std::bit_cast<float>(pattern << 16));
  }
}

TEST(Elements, AreReadAndWrittenSideBySide) {
  const std::vector<int64_t> bits = {1, -2, 3};
  int16_t memory[4] = {0, 0, 0, 99};
  WriteElements(DType::kI16, bits.data(), memory, 3);
  EXPECT_THAT(memory, ElementsAre(1, -2, 3, 99));
  std::vector<int64_t> back(3);
  ReadElements(DType::kI16, memory, back.data(), 3);
  EXPECT_EQ(back, bits);
}

TEST(Elements, OfBoolAreTrueUnlessZero) {
  const unsigned char two = 2;
  EXPECT_EQ(ReadElement(DType::kBool, &two), 1);
  unsigned char out = 9;
  WriteElement(DType::kBool, 1, &out);
  EXPECT_EQ(out, 1);
}

}  // namespace
}  // namespace quern::ir
