// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/unit/backends/cpu/kernel_runner.h"

namespace quern::cpu {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kUnaryF32[] = "param f32\nparam f32 written\n";
const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

class Codegen : public AtEachLevel {};
QUERN_AT_EACH_LEVEL(Codegen);

// y = max(2 x + 1, 0) over chunks of `lanes`, the last one masked.
std::string ReluText(int lanes) {
  const std::string v = absl::StrCat("x", lanes);
  KernelText k(kUnaryF32, 1);
  const int x = k.Add("param #0");
  const int y = k.Add("param #1");
  const int grid = k.Add("grid");
  const int n = k.Add("var #0");
  const int first = k.Add("mul", grid, k.Const(lanes));
  const int left = k.Add("sub", n, first);
  const int mask = k.Add("cmplt.bool" + v, k.Add("lanes.i64" + v),
                         k.Add("splat.i64" + v, left));
  const int two = k.Add("splat.f32" + v, k.Add("const.f32 #2"));
  const int one = k.Add("splat.f32" + v, k.Add("const.f32 #1"));
  const int zero = k.Add("splat.f32" + v, k.Add("const.f32 #0"));
  const int value = k.Add("load.f32" + v, x, first, mask);
  const int sum = k.Add("add.f32" + v, k.Add("mul.f32" + v, value, two), one);
  k.Add("store.f32" + v, y, first, k.Add("max.f32" + v, sum, zero), mask);
  return k.text();
}

TEST_P(Codegen, RunsAnElementwiseKernelWithAMaskedTail) {
  const int lanes = runner().target().vector_bytes / 4;
  const int n = 3 * lanes - 5;
  std::vector<float> x(n);
  std::iota(x.begin(), x.end(), -7.0F);
  std::vector<float> y(n + lanes, -99.0F);
  ASSERT_TRUE(runner().Run(ReluText(lanes), {x.data(), y.data()}, {n}, 3).ok());
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(y[i], std::max(2 * x[i] + 1, 0.0F)) << i;
  }
  EXPECT_THAT(std::vector<float>(y.begin() + n, y.end()), Each(-99.0F));
}

TEST_P(Codegen, RendersAndAssemblesTheSameTwice) {
  const absl::StatusOr<std::string> first = runner().Blob(ReluText(8));
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(*first, *runner().Blob(ReluText(8)));
}

// C[14][2 vectors] = A[K][14] * B[K][2 vectors], accumulators in registers.
std::string ContractionText(int lanes, int rows) {
  const std::string v = absl::StrCat(".f32x", lanes);
  KernelText k("param f32\nparam f32\nparam f32 written\n", 1);
  const int a = k.Add("param #0");
  const int b = k.Add("param #1");
  const int c = k.Add("param #2");
  const int zero = k.Add("splat" + v, k.Add("const.f32 #0"));
  std::vector<int> sums;
  for (int i = 0; i < 2 * rows; ++i)
    sums.push_back(k.Add("register" + v, zero));
  const int loop = k.Add("loop #1", k.Const(0), k.Add("var #0"));
  const int a_row = k.Add("mul", loop, k.Const(rows));
  const int b_row = k.Add("mul", loop, k.Const(2 * lanes));
  const int b0 = k.Add("load" + v, b, b_row);
  const int b1 = k.Add("load" + v, b, k.Add("add", b_row, k.Const(lanes)));
  for (int r = 0; r < rows; ++r) {
    const int scalar = k.Add("load.f32", a, k.Add("add", a_row, k.Const(r)));
    const int splat = k.Add("splat" + v, scalar);
    for (int j = 0; j < 2; ++j) {
      const int sum = sums[2 * r + j];
      const int product = k.Add("mul" + v, splat, j == 0 ? b0 : b1);
      k.Add("set", sum, k.Add("add" + v, k.Add("get" + v, sum), product));
    }
  }
  k.Add("end_loop", loop);
  for (int i = 0; i < 2 * rows; ++i) {
    k.Add("store" + v, c, k.Const(i * lanes), k.Add("get" + v, sums[i]));
  }
  return k.text();
}

TEST_P(Codegen, RunsATiledContractionWithAccumulatorsInALoop) {
  const int lanes = runner().target().vector_bytes / 4;
  const int depth = 37;
  const int columns = 2 * lanes;
  std::vector<float> a(14 * depth);
  std::vector<float> b(columns * depth);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<int>(i % 7) - 3;
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<int>(i % 5) - 2;
  std::vector<float> c(14 * columns);
  const absl::Status status = runner().Run(
      ContractionText(lanes, 14), {a.data(), b.data(), c.data()}, {depth});
  ASSERT_TRUE(status.ok()) << status;
  for (int i = 0; i < 14; ++i) {
    for (int j = 0; j < columns; ++j) {
      float sum = 0;
      for (int d = 0; d < depth; ++d) sum += a[d * 14 + i] * b[d * columns + j];
      ASSERT_EQ(c[i * columns + j], sum) << i << "," << j;
    }
  }
}

TEST_P(Codegen, KeepsTheAccumulatorsOfATileInVectorRegisters) {
  if (!runner().target().fused_multiply_add) GTEST_SKIP() << "no fma";
  const int rows = GetParam() == IsaLevel::kAvx512 ? 14 : 6;
  const absl::StatusOr<std::string> blob =
      runner().Blob(ContractionText(runner().target().vector_bytes / 4, rows));
  ASSERT_TRUE(blob.ok()) << blob.status();
  const absl::StatusOr<std::string> code =
      runner().codegen().Disassemble(*blob, runner().target());
  ASSERT_TRUE(code.ok()) << code.status();
  EXPECT_THAT(*code, Not(HasSubstr("[rsp")));
  const std::vector<std::string> pieces = absl::StrSplit(*code, "vfmadd");
  EXPECT_EQ(pieces.size(), 2 * rows + 1) << *code;
}

TEST_P(Codegen, RoundsTwiceIfContractionIsOff) {
  // x * x is 1 + 2^-11 + 2^-24: the last term is lost if it is rounded.
  KernelText k(kUnaryF32, 0, /*contract=*/false);
  const int x = k.Add("load.f32", k.Add("param #0"), k.Const(0));
  const int square = k.Add("mul.f32", x, x);
  const int minus = k.Add("const.f32 #-1.00048828125");
  k.Add("store.f32", k.Add("param #1"), k.Const(0),
        k.Add("add.f32", square, minus));
  float in = 1.0F + std::ldexp(1.0F, -12);
  float out = -1;
  ASSERT_TRUE(runner().Run(k.text(), {&in, &out}).ok());
  EXPECT_EQ(out, 0.0F);
}

TEST_P(Codegen, GathersAndScattersUnderAMask) {
  KernelText k("param f32\nparam i32\nparam bool\nparam f32 written\n", 0);
  const int zero = k.Const(0);
  const int index = k.Add("load.i32x8", k.Add("param #1"), zero);
  const int mask = k.Add("load.boolx8", k.Add("param #2"), zero);
  const int value = k.Add("load.f32x8", k.Add("param #0"), index, mask);
  const int wide = k.Add("cast.i64x8", index);
  k.Add("store.f32x8", k.Add("param #3"), wide, value, mask);
  std::vector<float> in(100);
  std::iota(in.begin(), in.end(), 0.0F);
  // The lane with a wild index is masked.
  const std::vector<int32_t> at = {9, 0, 3, 1 << 30, 7, 99, 2, 8};
  const std::vector<uint8_t> mask_bytes = {1, 1, 0, 0, 1, 1, 255, 1};
  std::vector<float> out(100, -1);
  ASSERT_TRUE(
      runner()
          .Run(k.text(), {in.data(), const_cast<int32_t*>(at.data()),
                          const_cast<uint8_t*>(mask_bytes.data()), out.data()})
          .ok());
  std::vector<float> expected(100, -1);
  for (const int i : {9, 0, 7, 99, 2, 8}) expected[i] = i;
  EXPECT_THAT(out, ElementsAreArray(expected));
}

TEST_P(Codegen, GathersZeroWhereTheMaskIsFalse) {
  KernelText k("param i16\nparam i16 written\n", 0);
  const int lanes = k.Add("lanes.i64x4");
  const int two = k.Add("splat.i64x4", k.Const(2));
  const int mask = k.Add("cmplt.boolx4", lanes, two);
  const int value = k.Add("load.i16x4", k.Add("param #0"), lanes, mask);
  k.Add("store.i16x4", k.Add("param #1"), k.Const(0), value);
  std::vector<int16_t> in = {5, 6, 7, 8};
  std::vector<int16_t> out(4, -1);
  ASSERT_TRUE(runner().Run(k.text(), {in.data(), out.data()}).ok());
  EXPECT_THAT(out, ElementsAre(5, 6, 0, 0));
}

TEST_P(Codegen, StoresPastTheCachesWhereverTheMemoryBegins) {
  const int lanes = runner().target().vector_bytes / 4;
  const std::string v = absl::StrCat(".f32x", lanes);
  KernelText k(kUnaryF32, 0);
  const int first = k.Add("mul", k.Add("grid"), k.Const(lanes));
  const int value = k.Add("load" + v, k.Add("param #0"), first);
  k.Add("store" + v + " #1", k.Add("param #1"), first, value);
  const absl::StatusOr<std::string> blob = runner().Blob(k.text());
  ASSERT_TRUE(blob.ok()) << blob.status();
  if (absl::StartsWith(runner().target().isa, "x86_64")) {
    EXPECT_THAT(*runner().codegen().Disassemble(*blob, runner().target()),
                AllOf(HasSubstr("movntps"), HasSubstr("sfence")));
  }
  std::vector<float> x(4 * lanes);
  std::iota(x.begin(), x.end(), 1.0F);
  for (int offset = 0; offset <= lanes; ++offset) {
    std::vector<float> memory(6 * lanes, -1.0F);
    float* const y = memory.data() + offset;
    ASSERT_TRUE(runner().Run(k.text(), {x.data(), y}, {}, 4).ok());
    EXPECT_THAT(std::vector<float>(y, y + 4 * lanes), ElementsAreArray(x));
    EXPECT_THAT(std::vector<float>(y + 4 * lanes, y + 5 * lanes), Each(-1.0F));
  }
}

TEST_P(Codegen, StoresNarrowElementsPastTheCaches) {
  // Twice as many elements of a half and four times as many of a bool make a
  // vector.
  const int bytes = runner().target().vector_bytes;
  for (const char* dtype : {"bool", "i8", "f16", "bf16"}) {
    SCOPED_TRACE(dtype);
    const int size = dtype[0] == 'b' && dtype[1] == 'o' ? 1
                     : dtype[0] == 'i'                  ? 1
                                                        : 2;
    const std::string v = absl::StrCat(".", dtype, "x", bytes / size);
    KernelText k(absl::StrCat("param ", dtype, "\nparam ", dtype, " written\n"),
                 0);
    const int value = k.Add("load" + v, k.Add("param #0"), k.Const(0));
    k.Add("store" + v + " #1", k.Add("param #1"), k.Const(0), value);
    std::vector<uint8_t> x(bytes);
    for (int i = 0; i < bytes; ++i) x[i] = size == 1 ? i % 3 % 2 : i % 60;
    std::vector<uint8_t> memory(3 * bytes, 9);
    // Wherever the memory begins, one of these places is aligned.
    for (int offset = 0; offset < bytes; offset += size) {
      uint8_t* const y = memory.data() + offset;
      const absl::Status status = runner().Run(k.text(), {x.data(), y});
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_THAT(std::vector<uint8_t>(y, y + bytes), ElementsAreArray(x));
      EXPECT_EQ(y[bytes], 9);
      std::fill(memory.begin(), memory.end(), 9);
    }
  }
}

TEST_P(Codegen, LoadsEverySecondElement) {
  KernelText k("param f32\nparam f32 written\n", 1);
  const int in = k.Add("param #0");
  const int out = k.Add("param #1");
  const int one = k.Const(1);
  const int limit = k.Add("splat.i64x8", k.Add("var #0"));
  const int mask = k.Add("cmplt.boolx8", k.Add("lanes.i64x8"), limit);
  k.Add("store.f32x8", out, k.Const(0), k.Add("load.f32x8 #2", in, one));
  k.Add("store.f32x8", out, k.Const(8), k.Add("load.f32x8 #2", in, one, mask));
  std::vector<float> x(16);
  std::iota(x.begin(), x.end(), 0.0F);
  std::vector<float> y(16, -1);
  const absl::Status status = runner().Run(k.text(), {x.data(), y.data()}, {5});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(y,
              ElementsAre(1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 0, 0, 0));
}

TEST_P(Codegen, ReadsAndWritesNothingWhereAScalarMaskIsFalse) {
  KernelText k(kUnaryF32, 1);
  const int n = k.Add("var #0");
  const int zero = k.Const(0);
  const int yes = k.Add("cmplt.bool", zero, n);
  const int no = k.Add("cmplt.bool", n, zero);
  const int in = k.Add("param #0");
  const int out = k.Add("param #1");
  // Far outside of the buffer: a read would be a fault.
  const int far = k.Const(int64_t{1} << 40);
  const int nothing = k.Add("load.f32", in, far, no);
  const int something = k.Add("load.f32", in, zero, yes);
  k.Add("store.f32", out, far, something, no);
  k.Add("store.f32", out, zero, k.Add("add.f32", nothing, something), yes);
  float x = 3;
  float y = -1;
  ASSERT_TRUE(runner().Run(k.text(), {&x, &y}, {1}).ok());
  EXPECT_EQ(y, 3.0F);
}

TEST_P(Codegen, MaskedVectorsStopAtTheEndOfTheMemory) {
  for (const char* type : {"f32", "i8", "i16", "f64", "bool"}) {
    const std::string v = absl::StrCat(".", type, "x16");
    KernelText k(absl::StrCat("param ", type, "\nparam ", type, " written\n"),
                 1);
    const int limit = k.Add("splat.i64x16", k.Add("var #0"));
    const int mask = k.Add("cmplt.boolx16", k.Add("lanes.i64x16"), limit);
    const int zero = k.Const(0);
    const int value = k.Add("load" + v, k.Add("param #0"), zero, mask);
    k.Add("store" + v, k.Add("param #1"), zero, value, mask);
    std::vector<uint8_t> in(128, 1);
    std::vector<uint8_t> out(128, 0);
    ASSERT_TRUE(runner().Run(k.text(), {in.data(), out.data()}, {3}).ok());
    const int size = type == std::string("f64")   ? 8
                     : type == std::string("f32") ? 4
                     : type == std::string("i16") ? 2
                                                  : 1;
    std::vector<uint8_t> expected(128, 0);
    std::fill(expected.begin(), expected.begin() + 3 * size, 1);
    EXPECT_THAT(out, ElementsAreArray(expected)) << type;
  }
}

TEST_P(Codegen, HoldsABoolAsAByteOfZeroOrOne) {
  KernelText k("param bool\nparam bool written\n", 0);
  const int zero = k.Const(0);
  k.Add("store.boolx4", k.Add("param #1"), zero,
        k.Add("load.boolx4", k.Add("param #0"), zero));
  std::vector<uint8_t> in = {0, 1, 2, 255};
  std::vector<uint8_t> out(4, 77);
  ASSERT_TRUE(runner().Run(k.text(), {in.data(), out.data()}).ok());
  EXPECT_THAT(out, ElementsAre(0, 1, 1, 1));
}

TEST_P(Codegen, CombinesLanesHalvesAgainstHalves) {
  KernelText k(kUnaryF32, 0, /*contract=*/false);
  const int zero = k.Const(0);
  const int value = k.Add("load.f32x8", k.Add("param #0"), zero);
  k.Add("store.f32", k.Add("param #1"), zero,
        k.Add("reduce_lanes.f32 #add", value));
  // Sums in another order round otherwise.
  std::vector<float> x = {1e8F, 3, -7, 0.5F, -1e8F, 1, 2.25F, 1e-3F};
  float y = 0;
  ASSERT_TRUE(runner().Run(k.text(), {x.data(), &y}).ok());
  const float expected =
      ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
  EXPECT_EQ(y, expected);
}

TEST_P(Codegen, CombinesLanesOfIntegersByTheSignOfTheirDtype) {
  for (const char* type : {"i32", "u32"}) {
    const std::string dtype = type;
    KernelText k(absl::StrCat("param ", dtype, "\nparam ", dtype, " written\n"),
                 0);
    const int zero = k.Const(0);
    const int value = k.Add("load." + dtype + "x4", k.Add("param #0"), zero);
    k.Add("store." + dtype, k.Add("param #1"), zero,
          k.Add("reduce_lanes." + dtype + " #max", value));
    std::vector<int32_t> x = {5, -1, 7, 2};
    int32_t y = 0;
    ASSERT_TRUE(runner().Run(k.text(), {x.data(), &y}).ok());
    EXPECT_EQ(y, dtype == "i32" ? 7 : -1) << dtype;
  }
}

TEST_P(Codegen, GivesNanForAMaximumOrMinimumWithNan) {
  const std::vector<float> a = {1, kNan, 2, kNan, -kInf, kInf, 3, -1};
  const std::vector<float> b = {2, 1, kNan, kNan, 5, kNan, 3, -2};
  for (const char* op : {"max", "min"}) {
    for (const bool by_constant : {false, true}) {
      KernelText k("param f32\nparam f32\nparam f32 written\n", 0);
      const int zero = k.Const(0);
      const int x = k.Add("load.f32x8", k.Add("param #0"), zero);
      const int y = by_constant ? k.Add("splat.f32x8", k.Add("const.f32 #2"))
                                : k.Add("load.f32x8", k.Add("param #1"), zero);
      k.Add("store.f32x8", k.Add("param #2"), zero,
            k.Add(absl::StrCat(op, ".f32x8"), x, y));
      std::vector<float> out(8);
      ASSERT_TRUE(runner()
                      .Run(k.text(), {const_cast<float*>(a.data()),
                                      const_cast<float*>(b.data()), out.data()})
                      .ok());
      for (int i = 0; i < 8; ++i) {
        const float other = by_constant ? 2 : b[i];
        if (std::isnan(a[i]) || std::isnan(other)) {
          EXPECT_TRUE(std::isnan(out[i])) << op << i;
        } else {
          EXPECT_EQ(out[i], op == std::string("max") ? std::max(a[i], other)
                                                     : std::min(a[i], other));
        }
      }
    }
  }
}

TEST_P(Codegen, RunsBlocksOnlyWhereTheirConditionHolds) {
  KernelText k("param i64 written\n", 1);
  const int out = k.Add("param #0");
  const int n = k.Add("var #0");
  const int sum = k.Add("register.i64", k.Const(0));
  const int loop = k.Add("loop #3", k.Const(1), n);
  const int odd =
      k.Add("cmpeq.bool", k.Add("and", loop, k.Const(1)), k.Const(1));
  const int block = k.Add("if", odd);
  k.Add("set", sum, k.Add("add", k.Add("get", sum), loop));
  k.Add("end_if", block);
  k.Add("end_loop", loop);
  k.Add("store", out, k.Const(0), k.Add("get", sum));
  int64_t y = -1;
  ASSERT_TRUE(runner().Run(k.text(), {&y}, {14}).ok());
  EXPECT_EQ(y, 1 + 7 + 13);
}

TEST_P(Codegen, SkipsALoopWithoutIterations) {
  KernelText k("param i64 written\n", 1);
  const int out = k.Add("param #0");
  const int loop = k.Add("loop #1", k.Const(5), k.Add("var #0"));
  k.Add("store", out, loop, loop);
  k.Add("end_loop", loop);
  std::vector<int64_t> y(8, -1);
  ASSERT_TRUE(runner().Run(k.text(), {y.data()}, {5}).ok());
  EXPECT_THAT(y, Each(-1));
}

TEST_P(Codegen, SetsARegisterAnewEachTimeItsBlockRuns) {
  KernelText k("param i64 written\n", 0);
  const int out = k.Add("param #0");
  const int outer = k.Add("loop #1", k.Const(0), k.Const(3));
  const int sum = k.Add("register.i64", outer);
  const int inner = k.Add("loop #1", k.Const(0), k.Const(4));
  k.Add("set", sum, k.Add("add", k.Add("get", sum), k.Const(10)));
  k.Add("end_loop", inner);
  k.Add("store", out, outer, k.Add("get", sum));
  k.Add("end_loop", outer);
  std::vector<int64_t> y(3);
  ASSERT_TRUE(runner().Run(k.text(), {y.data()}).ok());
  EXPECT_THAT(y, ElementsAre(40, 41, 42));
}

TEST_P(Codegen, PassesValuesThroughScratchAndTables) {
  KernelText k("param i64 written\ntable i64 7 -8 9\n", 0);
  const int out = k.Add("param #0");
  const int table = k.Add("const_array #0");
  const int tile = k.Add("scratch", k.Const(64));
  const int fill = k.Add("loop #1", k.Const(0), k.Const(3));
  const int mirrored = k.Add("sub", k.Const(2), fill);
  k.Add("store", tile, fill, k.Add("load", table, mirrored));
  k.Add("end_loop", fill);
  const int drain = k.Add("loop #1", k.Const(0), k.Const(3));
  k.Add("store", out, drain, k.Add("load", tile, drain));
  k.Add("end_loop", drain);
  std::vector<int64_t> y(3);
  ASSERT_TRUE(runner().Run(k.text(), {y.data()}, {}, 1, 128).ok());
  EXPECT_THAT(y, ElementsAre(9, -8, 7));
}

TEST_P(Codegen, FindsElementsByAnyAffineIndex) {
  KernelText k("param i64\nparam i64 written\n", 1);
  const int in = k.Add("param #0");
  const int out = k.Add("param #1");
  const int n = k.Add("var #0");
  const int i = k.Add("loop #1", k.Const(0), n);
  const int j = k.Add("loop #1", k.Const(0), k.Const(4));
  // (i << 2) + 3 - j, and i * 4 + j through a product of two leaves.
  const int shifted = k.Add("shl", i, k.Const(2));
  const int from = k.Add("sub", k.Add("add", shifted, k.Const(3)), j);
  const int row = k.Add("mul", i, k.Add("add", n, k.Const(-1)));
  const int to = k.Add("add", k.Add("neg", k.Add("neg", row)), j);
  k.Add("store", out, to, k.Add("load", in, from));
  k.Add("end_loop", j);
  k.Add("end_loop", i);
  std::vector<int64_t> x(20);
  std::iota(x.begin(), x.end(), 0);
  std::vector<int64_t> y(20, -1);
  ASSERT_TRUE(runner().Run(k.text(), {x.data(), y.data()}, {5}).ok());
  std::vector<int64_t> expected;
  for (int r = 0; r < 5; ++r) {
    for (int c = 3; c >= 0; --c) expected.push_back(4 * r + c);
  }
  EXPECT_THAT(y, ElementsAreArray(expected));
}

TEST_P(Codegen, ComputesSqrtTruncNegAndDivision) {
  KernelText k("param f64\nparam f64 written\n", 0);
  const int zero = k.Const(0);
  const int out = k.Add("param #1");
  const int x = k.Add("load.f64x4", k.Add("param #0"), zero);
  k.Add("store.f64x4", out, zero, k.Add("sqrt.f64x4", x));
  k.Add("store.f64x4", out, k.Const(4), k.Add("trunc.f64x4", x));
  k.Add("store.f64x4", out, k.Const(8), k.Add("neg.f64x4", x));
  const int three = k.Add("splat.f64x4", k.Add("const.f64 #3"));
  k.Add("store.f64x4", out, k.Const(12), k.Add("div.f64x4", x, three));
  std::vector<double> in = {2.25, 7.9, 100, 0.1};
  std::vector<double> y(16);
  ASSERT_TRUE(runner().Run(k.text(), {in.data(), y.data()}).ok());
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(y[i], std::sqrt(in[i]));
    EXPECT_EQ(y[4 + i], std::trunc(in[i]));
    EXPECT_EQ(y[8 + i], -in[i]);
    EXPECT_EQ(y[12 + i], in[i] / 3);
  }
}

TEST_P(Codegen, ComparesAndSelectsAsIeeeSaysForNan) {
  KernelText k("param f32\nparam bool written\nparam f32 written\n", 0);
  const int zero = k.Const(0);
  const int x = k.Add("load.f32x4", k.Add("param #0"), zero);
  const int one = k.Add("splat.f32x4", k.Add("const.f32 #1"));
  const int out = k.Add("param #1");
  const int less = k.Add("cmplt.boolx4", x, one);
  k.Add("store.boolx4", out, zero, less);
  k.Add("store.boolx4", out, k.Const(4), k.Add("cmpeq.boolx4", x, one));
  k.Add("store.boolx4", out, k.Const(8), k.Add("cmpne.boolx4", x, one));
  k.Add("store.f32x4", k.Add("param #2"), zero,
        k.Add("where.f32x4", less, x, one));
  std::vector<float> in = {0, 1, 2, kNan};
  std::vector<uint8_t> flags(12);
  std::vector<float> y(4);
  ASSERT_TRUE(runner().Run(k.text(), {in.data(), flags.data(), y.data()}).ok());
  EXPECT_THAT(flags, ElementsAre(1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 1));
  EXPECT_THAT(y, ElementsAre(0, 1, 1, 1));
}

TEST_P(Codegen, RefusesWhatTheEngineIsToDecompose) {
  for (const char* op : {"exp2", "log2", "sin", "tanh", "erf"}) {
    KernelText k(kUnaryF32, 0);
    k.Add(absl::StrCat(op, ".f32"), k.Add("const.f32 #1"));
    const absl::Status status = runner().Blob(k.text()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(status.message(), HasSubstr("is to be decomposed")) << op;
  }
}

TEST_P(Codegen, RefusesArithmeticOn16BitFloats) {
  for (const char* type : {"f16", "bf16"}) {
    KernelText k(kUnaryF32, 0);
    const int one = k.Add(absl::StrCat("const.", type, " #1"));
    k.Add(absl::StrCat("add.", type), one, one);
    const absl::Status status = runner().Blob(k.text()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(status.message(), HasSubstr("computes in")) << type;
  }
}

TEST_P(Codegen, RefusesAProgramThatDoesNotVerify) {
  EXPECT_EQ(runner()
                .Blob("kernel k contract=1 vars=0\n%0 = neg %7\n")
                .status()
                .code(),
            absl::StatusCode::kInternal);
}

TEST_P(Codegen, UsesAFusedMultiplyAddOnlyWhereTheTargetHasOne) {
  KernelText k(kUnaryF32, 0);
  const int x = k.Add("load.f32", k.Add("param #0"), k.Const(0));
  k.Add("store.f32", k.Add("param #1"), k.Const(0), k.Add("fma.f32", x, x, x));
  float in = 3;
  float out = 0;
  const absl::Status status = runner().Run(k.text(), {&in, &out});
  if (runner().target().fused_multiply_add) {
    EXPECT_EQ(out, 12.0F);
  } else {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  }
}

TEST(CodegenText, TakesNoIsaThatIsNotAFeatureList) {
  base::Target target = TargetOfLevel(IsaLevel::kSse4);
  target.isa = "x86_64 +avx\" }\nmodule asm \"";
  const absl::StatusOr<kernel::Program> program =
      kernel::ParseProgram(ReluText(4));
  ASSERT_TRUE(program.ok());
  EXPECT_THAT(RenderLlvm(*program, target).status().message(),
              HasSubstr("outside of [a-z0-9+,.-]"));
}

TEST(CodegenText, TakesNoIsaOfAnUnknownArchitecture) {
  base::Target target = TargetOfLevel(IsaLevel::kSse4);
  target.isa = "vax +pdp";
  const absl::StatusOr<kernel::Program> program =
      kernel::ParseProgram(ReluText(4));
  ASSERT_TRUE(program.ok());
  EXPECT_THAT(RenderLlvm(*program, target).status().message(),
              HasSubstr("isa is 'vax +pdp', expected it to begin with x86_64"));
}

// The machine code of ReluText for `level`, whatever this machine is.
std::string CodeFor(IsaLevel level, int lanes) {
  const base::Target target = TargetOfLevel(level);
  const absl::StatusOr<kernel::Program> program =
      kernel::ParseProgram(ReluText(lanes));
  if (!program.ok()) return program.status().ToString();
  const std::unique_ptr<runtime::Codegen> codegen = MakeCpuCodegen();
  const absl::StatusOr<std::string> text = codegen->Render(*program, target);
  if (!text.ok()) return text.status().ToString();
  const absl::StatusOr<std::string> blob =
      codegen->Assemble({"k", *text}, target);
  if (!blob.ok()) return blob.status().ToString();
  return codegen->Disassemble(*blob, target).value_or("");
}

TEST(CodegenText, AssemblesForACpuThatIsNotHere) {
  EXPECT_THAT(CodeFor(IsaLevel::kAvx512, 16), HasSubstr("zmm"));
}

TEST(CodegenText, AssemblesForAnotherArchitecture) {
  EXPECT_THAT(CodeFor(IsaLevel::kNeon, 4), HasSubstr(".4s"));
}

}  // namespace
}  // namespace quern::cpu
