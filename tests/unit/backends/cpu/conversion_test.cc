// SPDX-License-Identifier: Apache-2.0
//
// Conversions between every pair of dtypes, against the one place that says
// what they mean (engine/ir/eval.h). Kernels run with denormals as zero, so a
// denormal f32 or f64 may count as zero.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

#include "engine/ir/eval.h"
#include "tests/unit/backends/cpu/kernel_runner.h"

namespace quern::cpu {
namespace {

using ir::DType;

constexpr int kLanes = 8;

std::vector<DType> StrongDTypes() {
  std::vector<DType> dtypes;
  for (int d = 0; d < ir::kNumDTypes; ++d) {
    if (!ir::IsWeak(static_cast<DType>(d))) {
      dtypes.push_back(static_cast<DType>(d));
    }
  }
  return dtypes;
}

// Elements of `dtype` at which conversions go wrong.
std::vector<char> EdgeElements(DType dtype) {
  std::vector<int64_t> held;
  if (ir::IsFloat(dtype)) {
    std::vector<double> values = {0.0,
                                  0.5,
                                  0.99,
                                  1.0,
                                  1.5,
                                  2.5,
                                  127.5,
                                  128.0,
                                  255.5,
                                  256.0,
                                  32767.5,
                                  32768.0,
                                  65503.9,
                                  65504.0,
                                  65519.9,
                                  65520.0,
                                  65536.0,
                                  6.1e-5,
                                  5.96e-8,
                                  2.98e-8,
                                  3e-8,
                                  1e-10,
                                  1.0 + 1e-3,
                                  1.0 + 1e-7,
                                  1e-42,
                                  3.3e38,
                                  3.4e38,
                                  1e300,
                                  1e-300,
                                  5e-324,
                                  2147483647.5,
                                  2147483648.0,
                                  4294967295.5,
                                  4294967296.0,
                                  9223372036854775807.0,
                                  18446744073709551615.0,
                                  std::numeric_limits<double>::infinity(),
                                  std::numeric_limits<double>::quiet_NaN()};
    // Halfway between neighbours of f16, bf16 and f32, and just beside.
    for (const int bits : {7, 10, 23}) {
      for (const double odd : {1.0, 3.0}) {
        const double tie = 1.0 + odd * std::ldexp(1.0, -bits - 1);
        values.insert(values.end(),
                      {tie, std::nextafter(tie, 0.0), std::nextafter(tie, 9.0),
                       tie + std::ldexp(1.0, -40)});
      }
    }
    for (const double value : values) {
      held.push_back(std::bit_cast<int64_t>(value));
      held.push_back(std::bit_cast<int64_t>(-value));
    }
  } else {
    for (int shift = 0; shift < 64; ++shift) {
      const int64_t power = static_cast<int64_t>(uint64_t{1} << shift);
      for (const int64_t near : {-1, 0, 1}) {
        held.push_back(static_cast<int64_t>(uint64_t(power) + near));
        held.push_back(static_cast<int64_t>(-uint64_t(power) + near));
      }
    }
    // Ties of f32 and bf16, and what only the last bit decides.
    for (const int64_t tail : {-1, 0, 1}) {
      held.push_back((int64_t{1} << 62) + (int64_t{1} << 54) + tail);
      held.push_back((int64_t{1} << 40) + (int64_t{1} << 16) + tail);
      held.push_back(-(int64_t{1} << 62) - (int64_t{1} << 54) + tail);
    }
  }
  while (held.size() % kLanes != 0) held.push_back(0);
  std::vector<char> elements(held.size() * ir::ByteSize(dtype));
  for (size_t i = 0; i < held.size(); ++i) {
    char* element = elements.data() + i * ir::ByteSize(dtype);
    if (dtype == DType::kBool) {
      *element = static_cast<char>(held[i] & 1);
    } else {
      ir::WriteElement(dtype, held[i], element);
    }
  }
  return elements;
}

// Whether `bits`, held as `dtype`, is NaN.
bool IsNan(DType dtype, int64_t bits) {
  return ir::IsFloat(dtype) && std::isnan(std::bit_cast<double>(bits));
}

// `bits` with a denormal replaced by zero, except one of f16.
int64_t Flushed(DType dtype, int64_t bits) {
  const double least = dtype == DType::kF64 ? 0x1p-1022 : 0x1p-126;
  if (!ir::IsFloat(dtype) || dtype == DType::kF16) return bits;
  const double value = std::bit_cast<double>(bits);
  if (std::fabs(value) >= least || std::isnan(value)) return bits;
  return std::bit_cast<int64_t>(std::copysign(0.0, value));
}

int64_t Converted(DType from, DType to, int64_t bits) {
  const absl::StatusOr<ir::Evaluator> cast =
      ir::EvaluatorOf(ir::Op::kCast, from, to, ir::Rounding::kCasts);
  EXPECT_TRUE(cast.ok()) << cast.status();
  int64_t result = 0;
  cast->Run(&bits, nullptr, nullptr, &result, 1);
  // In memory a f16 of a double is the rounded one.
  char element[8];
  ir::WriteElement(to, result, element);
  return ir::ReadElement(to, element);
}

std::string CastText(DType from, DType to, int lanes) {
  const std::string v = lanes > 1 ? absl::StrCat("x", lanes) : "";
  KernelText k(absl::StrCat("param ", ir::Name(from), "\nparam ", ir::Name(to),
                            " written\n"),
               0);
  const int at = k.Add("mul", k.Add("grid"), k.Const(lanes));
  const int x =
      k.Add(absl::StrCat("load.", ir::Name(from), v), k.Add("param #0"), at);
  k.Add(absl::StrCat("store.", ir::Name(to), v), k.Add("param #1"), at,
        k.Add(absl::StrCat("cast.", ir::Name(to), v), x));
  return k.text();
}

void ExpectCasts(KernelRunner& runner, DType from, DType to, int lanes,
                 std::vector<char> in) {
  const int64_t count = in.size() / ir::ByteSize(from);
  std::vector<char> out(count * ir::ByteSize(to));
  const absl::Status status = runner.Run(
      CastText(from, to, lanes), {in.data(), out.data()}, {}, count / lanes);
  ASSERT_TRUE(status.ok()) << status;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t x = ir::ReadElement(from, in.data() + i * ir::ByteSize(from));
    const int64_t y = ir::ReadElement(to, out.data() + i * ir::ByteSize(to));
    const int64_t expected = Converted(from, to, x);
    const int64_t flushed = Converted(from, to, Flushed(from, x));
    const bool same = y == expected || y == Flushed(to, expected) ||
                      y == flushed || (IsNan(to, y) && IsNan(to, expected));
    ASSERT_TRUE(same) << ir::Name(from) << " to " << ir::Name(to) << " x"
                      << lanes << " of 0x" << std::hex << x << ": 0x" << y
                      << ", expected 0x" << expected;
  }
}

class Conversion : public AtEachLevel {};
QUERN_AT_EACH_LEVEL(Conversion);

TEST_P(Conversion, OfVectorsIsRightForAllPairsOfDTypes) {
  for (const DType from : StrongDTypes()) {
    for (const DType to : StrongDTypes()) {
      ExpectCasts(runner(), from, to, kLanes, EdgeElements(from));
    }
  }
}

TEST_P(Conversion, OfScalarsIsRightForAllPairsOfDTypes) {
  for (const DType from : StrongDTypes()) {
    for (const DType to : StrongDTypes()) {
      ExpectCasts(runner(), from, to, 1, EdgeElements(from));
    }
  }
}

// All values of a 16-bit type.
std::vector<char> AllHalves() {
  std::vector<char> elements(2 * 65536);
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    std::memcpy(elements.data() + 2 * i, &bits, 2);
  }
  return elements;
}

// For each finite value of `dtype`, the f32 halfway to the next one, and its
// two neighbours.
std::vector<char> HalfwayPoints(DType dtype) {
  std::vector<float> points;
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const auto next_bits = static_cast<uint16_t>(i + 1);
    const double value = std::bit_cast<double>(ir::ReadElement(dtype, &bits));
    const double next =
        std::bit_cast<double>(ir::ReadElement(dtype, &next_bits));
    const auto tie = static_cast<float>((value + next) / 2);
    if (!std::isfinite(tie)) continue;
    points.insert(points.end(), {tie, std::nextafter(tie, -kLanes * 1e30F),
                                 std::nextafter(tie, kLanes * 1e30F)});
  }
  while (points.size() % 16 != 0) points.push_back(0);
  std::vector<char> elements(4 * points.size());
  std::memcpy(elements.data(), points.data(), elements.size());
  return elements;
}

TEST_P(Conversion, OfEach16BitFloatIsRight) {
  for (const DType from : {DType::kF16, DType::kBF16}) {
    ExpectCasts(runner(), from, DType::kF32, 16, AllHalves());
    ExpectCasts(runner(), from, DType::kF64, 16, AllHalves());
    ExpectCasts(runner(), from, DType::kBool, 16, AllHalves());
    ExpectCasts(runner(), from, DType::kI8, 16, AllHalves());
  }
}

TEST_P(Conversion, To16BitFloatsRoundsToNearestEven) {
  for (const DType to : {DType::kF16, DType::kBF16}) {
    ExpectCasts(runner(), DType::kF32, to, 16, HalfwayPoints(to));
  }
}

TEST_P(Conversion, OfF16WithoutAnInstructionGivesTheSameBits) {
  base::Target plain = runner().target();
  if (!plain.f16_conversion) GTEST_SKIP() << "this level has no instruction";
  plain.f16_conversion = false;
  KernelRunner emulated(plain);
  const std::vector<char> points = HalfwayPoints(DType::kF16);
  for (const auto& [from, to, in] :
       {std::tuple(DType::kF16, DType::kF32, AllHalves()),
        std::tuple(DType::kF32, DType::kF16, points)}) {
    std::vector<char> input = in;
    const int64_t count = in.size() / ir::ByteSize(from);
    std::vector<char> by_instruction(count * ir::ByteSize(to));
    std::vector<char> by_integers(by_instruction.size());
    const std::string text = CastText(from, to, 16);
    ASSERT_TRUE(
        runner()
            .Run(text, {input.data(), by_instruction.data()}, {}, count / 16)
            .ok());
    ASSERT_TRUE(
        emulated.Run(text, {input.data(), by_integers.data()}, {}, count / 16)
            .ok());
    EXPECT_EQ(by_instruction, by_integers) << ir::Name(from);
  }
}

TEST_P(Conversion, KeepsANanQuietAndItsSign) {
  base::Target plain = runner().target();
  plain.f16_conversion = false;
  KernelRunner emulated(plain);
  // A signaling one whose payload is lost in 16 bits, and a quiet one.
  std::vector<uint32_t> in = {0x7f800001, 0xffc00000};
  for (KernelRunner* runner : {&this->runner(), &emulated}) {
    std::vector<uint16_t> f16(2);
    std::vector<uint16_t> bf16(2);
    ASSERT_TRUE(runner
                    ->Run(CastText(DType::kF32, DType::kF16, 2),
                          {in.data(), f16.data()})
                    .ok());
    ASSERT_TRUE(runner
                    ->Run(CastText(DType::kF32, DType::kBF16, 2),
                          {in.data(), bf16.data()})
                    .ok());
    EXPECT_EQ(f16, (std::vector<uint16_t>{0x7e00, 0xfe00}));
    EXPECT_EQ(bf16, (std::vector<uint16_t>{0x7fc0, 0xffc0}));
  }
}

TEST_P(Conversion, BitcastKeepsTheBitsOfEveryPairOfTheSameSize) {
  for (const DType from : StrongDTypes()) {
    for (const DType to : StrongDTypes()) {
      if (ir::ByteSize(from) != ir::ByteSize(to)) continue;
      const std::string text =
          absl::StrReplaceAll(CastText(from, to, 4), {{"cast.", "bitcast."}});
      std::vector<char> in(4 * ir::ByteSize(from));
      for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<char>(37 * i);
      const bool has_bool = from == DType::kBool || to == DType::kBool;
      if (has_bool) in = {0, 1, 1, 0};
      std::vector<char> out(in.size());
      const absl::Status status = runner().Run(text, {in.data(), out.data()});
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_EQ(in, out) << ir::Name(from) << " to " << ir::Name(to);
    }
  }
}

TEST_P(Conversion, OfConstantsIsThatOfValues) {
  for (const DType to : {DType::kF16, DType::kBF16, DType::kF32}) {
    for (const double value : {0.1, -65519.0, 1e-7, 1e30, 0.0}) {
      KernelText k(absl::StrCat("param ", ir::Name(to), " written\n"), 0);
      k.Add(absl::StrCat("store.", ir::Name(to)), k.Add("param #0"), k.Const(0),
            k.Add(absl::StrCat("const.", ir::Name(to), " #", value)));
      char out[4] = {};
      ASSERT_TRUE(runner().Run(k.text(), {out}).ok());
      EXPECT_EQ(std::bit_cast<double>(ir::ReadElement(to, out)),
                ir::RoundTo(to, value));
    }
  }
}

}  // namespace
}  // namespace quern::cpu
