// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/contraction.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/pooling.h"
#include "tests/unit/engine/graph/evaluate.h"

namespace quern::graph {
namespace {

using ir::Builder;
using testing::ElementsAre;
using testing::HasSubstr;

void ExpectNear(const Values& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.data.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(got.data[i], expected[i], 1e-9) << i;
  }
}

TEST(MatMul, BroadcastsBatches) {
  const Values x = Counted({2, 1, 2, 3});
  const Values y = Counted({4, 3, 5});
  const Values z = Evaluate({x, y}, [](Builder& b, const std::vector<Id>& in) {
    return MatMul(b, in[0], in[1]);
  });
  EXPECT_THAT(z.dims, ElementsAre(2, 4, 2, 5));
  std::vector<double> expected;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int m = 0; m < 2; ++m) {
        for (int n = 0; n < 5; ++n) {
          double sum = 0;
          for (int k = 0; k < 3; ++k) {
            sum += x.data[(i * 2 + m) * 3 + k] * y.data[(j * 3 + k) * 5 + n];
          }
          expected.push_back(sum);
        }
      }
    }
  }
  ExpectNear(z, expected);
}

TEST(MatMul, TakesVectorsOnEitherSide) {
  const Values v = Counted({3});
  const Values z = Evaluate({v, v}, [](Builder& b, const std::vector<Id>& in) {
    return MatMul(b, in[0], in[1]);
  });
  EXPECT_TRUE(z.dims.empty());
  EXPECT_NEAR(z.data[0], 0.14, 1e-12);
}

TEST(MatMul, NamesTheShapesThatDoNotFit) {
  ir::Arena arena;
  Builder b(&arena);
  MatMul(b, b.Input(0, ir::DType::kF32, {b.Int(4), b.Int(8)}),
         b.Input(1, ir::DType::kF32, {b.Int(16), b.Int(2)}));
  EXPECT_EQ(std::string(b.status().message()),
            "matmul inner dimensions differ: [4,8] x [16,2]");
}

TEST(MatMul, OfHalfFloatsIsASumOfWideProductsRoundedOnce) {
  ir::Arena arena;
  Builder b(&arena);
  const Id x = b.Input(0, ir::DType::kF16, {b.Int(2), b.Int(3)});
  const Id rounded =
      MatMul(b, x, b.Input(1, ir::DType::kF16, {b.Int(3), b.Int(4)}));
  ASSERT_TRUE(b.ok()) << b.status();
  const ir::Node& cast = arena[rounded];
  ASSERT_EQ(cast.op, ir::Op::kCast);
  const ir::Node& sum = arena[cast.srcs[0]];
  ASSERT_EQ(sum.op, ir::Op::kReduce);
  const ir::Node& product = arena[sum.srcs[0]];
  ASSERT_EQ(product.op, ir::Op::kMul);
  EXPECT_EQ(product.dtype, ir::DType::kF32);
}

struct Conv {
  const char* name;
  std::vector<int64_t> x;  // [batch, channels, height, width]
  std::vector<int64_t> w;  // [filters, channels / groups, taps, taps]
  int64_t groups;
  int64_t stride;
  int64_t dilation;
  int64_t before;
  int64_t after;
};

double At(const Values& v, int64_t i, int64_t j, int64_t k, int64_t l) {
  if (k < 0 || l < 0 || k >= v.dims[2] || l >= v.dims[3]) return 0;
  return v.data[((i * v.dims[1] + j) * v.dims[2] + k) * v.dims[3] + l];
}

Windows WindowsFor(Builder& b, const Conv& c) {
  Windows windows;
  windows.strides = {c.stride, c.stride};
  windows.dilations = {c.dilation, c.dilation};
  windows.pads_before = {b.Int(c.before), b.Int(c.before)};
  windows.pads_after = {b.Int(c.after), b.Int(c.after)};
  return windows;
}

class ConvolutionTest : public testing::TestWithParam<Conv> {};

TEST_P(ConvolutionTest, FollowsItsDefinition) {
  const Conv& c = GetParam();
  const Values x = Counted(c.x);
  const Values w = Counted(c.w);
  const Values y = Evaluate({x, w}, [&](Builder& b, const std::vector<Id>& in) {
    return Convolution(b, in[0], in[1], ir::kNoNode, c.groups,
                       WindowsFor(b, c));
  });
  const auto size = [&](int axis) {
    return (c.x[axis] + c.before + c.after - (c.w[axis] - 1) * c.dilation - 1) /
               c.stride +
           1;
  };
  ASSERT_THAT(y.dims, ElementsAre(c.x[0], c.w[0], size(2), size(3)));
  std::vector<double> expected;
  for (int64_t n = 0; n < c.x[0]; ++n) {
    for (int64_t f = 0; f < c.w[0]; ++f) {
      for (int64_t i = 0; i < size(2); ++i) {
        for (int64_t j = 0; j < size(3); ++j) {
          double sum = 0;
          for (int64_t ch = 0; ch < c.w[1]; ++ch) {
            for (int64_t p = 0; p < c.w[2]; ++p) {
              for (int64_t q = 0; q < c.w[3]; ++q) {
                const int64_t from = f / (c.w[0] / c.groups) * c.w[1] + ch;
                sum += At(w, f, ch, p, q) *
                       At(x, n, from, i * c.stride + p * c.dilation - c.before,
                          j * c.stride + q * c.dilation - c.before);
              }
            }
          }
          expected.push_back(sum);
        }
      }
    }
  }
  ExpectNear(y, expected);
}

const Conv kConvolutions[] = {
    {"Plain", {2, 3, 6, 5}, {4, 3, 3, 3}, 1, 1, 1, 0, 0},
    {"Padded", {1, 2, 5, 5}, {3, 2, 3, 3}, 1, 1, 1, 1, 1},
    {"AsymmetricallyPadded", {1, 2, 5, 5}, {3, 2, 2, 2}, 1, 1, 1, 0, 1},
    {"Strided", {1, 2, 7, 8}, {2, 2, 3, 3}, 1, 2, 1, 1, 1},
    {"Dilated", {1, 1, 9, 9}, {2, 1, 3, 3}, 1, 1, 2, 2, 2},
    {"Grouped", {1, 4, 5, 5}, {6, 2, 3, 3}, 2, 1, 1, 1, 1},
    {"Depthwise", {1, 3, 5, 5}, {3, 1, 3, 3}, 3, 1, 1, 1, 1},
    {"Pointwise", {1, 3, 4, 4}, {5, 3, 1, 1}, 1, 1, 1, 0, 0},
    {"StridedPointwise", {1, 3, 5, 4}, {5, 3, 1, 1}, 1, 2, 1, 0, 0},
};

INSTANTIATE_TEST_SUITE_P(Shapes, ConvolutionTest,
                         testing::ValuesIn(kConvolutions),
                         [](const testing::TestParamInfo<Conv>& info) {
                           return info.param.name;
                         });

TEST(Convolution, KeepsFreeSizesAffine) {
  ir::Arena arena;
  Builder b(&arena);
  const Id n = b.Var("n", 1, 8);
  const Id h = b.Var("h", 1, 1000);
  const Id x = b.Input(0, ir::DType::kF32, {n, b.Int(3), h, b.Int(32)});
  const Id w =
      b.Weight(0, ir::DType::kF32, {b.Int(8), b.Int(3), b.Int(3), b.Int(3)});
  Windows windows;
  windows.pads_before = {b.Int(1), b.Int(1)};
  windows.pads_after = {b.Int(1), b.Int(1)};
  EXPECT_EQ(b.ShapeText(Convolution(b, x, w, ir::kNoNode, 1, windows)),
            "[n,8,h,32]");
}

TEST(TransposedConvolution, SpreadsEveryElementOverItsWindow) {
  const Values x = Counted({1, 2, 3, 4});
  const Values w = Counted({2, 3, 3, 3});
  const Values y = Evaluate({x, w}, [](Builder& b, const std::vector<Id>& in) {
    Windows windows;
    windows.strides = {2, 2};
    windows.pads_before = {b.Int(1), b.Int(1)};
    windows.pads_after = {b.Int(0), b.Int(0)};
    return TransposedConvolution(b, in[0], in[1], ir::kNoNode, 1, windows,
                                 {0, 0});
  });
  ASSERT_THAT(y.dims, ElementsAre(1, 3, 6, 8));
  std::vector<double> expected(y.data.size(), 0);
  for (int64_t c = 0; c < 2; ++c) {
    for (int64_t f = 0; f < 3; ++f) {
      for (int64_t i = 0; i < 3; ++i) {
        for (int64_t j = 0; j < 4; ++j) {
          for (int64_t p = 0; p < 3; ++p) {
            for (int64_t q = 0; q < 3; ++q) {
              const int64_t u = i * 2 + p - 1;
              const int64_t v = j * 2 + q - 1;
              if (u < 0 || v < 0 || u >= 6 || v >= 8) continue;
              expected[(f * 6 + u) * 8 + v] +=
                  At(x, 0, c, i, j) * At(w, c, f, p, q);
            }
          }
        }
      }
    }
  }
  ExpectNear(y, expected);
}

struct Transposed {
  const char* name;
  std::vector<int64_t> x;  // [batch, channels, height, width].
  std::vector<int64_t> w;  // [channels, filters / groups, height, width].
  int64_t groups;
  // By axis.
  std::vector<int64_t> strides, dilations, before, after, extra;
};

class TransposedTest : public testing::TestWithParam<Transposed> {};

TEST_P(TransposedTest, FollowsItsDefinition) {
  const Transposed& c = GetParam();
  const Values x = Counted(c.x);
  const Values w = Counted(c.w);
  const int64_t filters = c.w[1] * c.groups;
  const Values bias = Counted({filters});
  const Values y =
      Evaluate({x, w, bias}, [&](Builder& b, const std::vector<Id>& in) {
        Windows windows;
        windows.strides = c.strides;
        windows.dilations = c.dilations;
        for (int64_t pad : c.before) windows.pads_before.push_back(b.Int(pad));
        for (int64_t pad : c.after) windows.pads_after.push_back(b.Int(pad));
        return TransposedConvolution(b, in[0], in[1], in[2], c.groups, windows,
                                     c.extra);
      });
  const auto size = [&](int axis) {
    return (c.x[axis + 2] - 1) * c.strides[axis] +
           (c.w[axis + 2] - 1) * c.dilations[axis] + 1 - c.before[axis] -
           c.after[axis] + c.extra[axis];
  };
  ASSERT_THAT(y.dims, ElementsAre(c.x[0], filters, size(0), size(1)));
  std::vector<double> expected(y.data.size(), 0);
  const auto at = [&](int64_t n, int64_t f, int64_t u, int64_t v) -> double& {
    return expected[((n * filters + f) * size(0) + u) * size(1) + v];
  };
  for (int64_t n = 0; n < c.x[0]; ++n) {
    for (int64_t f = 0; f < filters; ++f) {
      for (int64_t u = 0; u < size(0); ++u) {
        for (int64_t v = 0; v < size(1); ++v) at(n, f, u, v) = bias.data[f];
      }
    }
  }
  const int64_t channels = c.x[1] / c.groups;
  for (int64_t n = 0; n < c.x[0]; ++n) {
    for (int64_t k = 0; k < c.x[1]; ++k) {
      for (int64_t f = 0; f < c.w[1]; ++f) {
        for (int64_t i = 0; i < c.x[2] * c.w[2]; ++i) {
          for (int64_t j = 0; j < c.x[3] * c.w[3]; ++j) {
            const int64_t p = i % c.w[2];
            const int64_t q = j % c.w[3];
            const int64_t u =
                i / c.w[2] * c.strides[0] + p * c.dilations[0] - c.before[0];
            const int64_t v =
                j / c.w[3] * c.strides[1] + q * c.dilations[1] - c.before[1];
            if (u < 0 || v < 0 || u >= size(0) || v >= size(1)) continue;
            at(n, k / channels * c.w[1] + f, u, v) +=
                At(x, n, k, i / c.w[2], j / c.w[3]) * At(w, k, f, p, q);
          }
        }
      }
    }
  }
  ExpectNear(y, expected);
}

const Transposed kTransposed[] = {
    {"Doubles",
     {2, 3, 3, 4},
     {3, 2, 2, 2},
     1,
     {2, 2},
     {1, 1},
     {0, 0},
     {0, 0},
     {0, 0}},
    {"Overlaps",
     {1, 2, 4, 3},
     {2, 3, 4, 4},
     1,
     {2, 2},
     {1, 1},
     {1, 1},
     {1, 1},
     {0, 0}},
    {"PadsMoreThanAStep",
     {1, 2, 5, 6},
     {2, 3, 7, 5},
     1,
     {2, 3},
     {1, 1},
     {3, 4},
     {5, 3},
     {1, 0}},
    {"LeavesPhasesWithFewerTaps",
     {1, 2, 3, 3},
     {2, 2, 3, 5},
     1,
     {2, 3},
     {1, 1},
     {0, 2},
     {1, 0},
     {0, 2}},
    {"StepsOverTaps",
     {1, 2, 3, 3},
     {2, 2, 1, 2},
     1,
     {2, 3},
     {1, 1},
     {0, 1},
     {0, 0},
     {1, 0}},
    {"Dilates",
     {1, 2, 3, 4},
     {2, 2, 3, 2},
     1,
     {2, 2},
     {2, 3},
     {1, 0},
     {0, 2},
     {0, 1}},
    {"MixesAxes",
     {1, 2, 4, 4},
     {2, 2, 3, 4},
     1,
     {1, 2},
     {2, 1},
     {2, 1},
     {1, 2},
     {0, 0}},
    {"Grouped",
     {2, 4, 3, 3},
     {4, 3, 4, 3},
     2,
     {2, 2},
     {1, 1},
     {1, 0},
     {0, 1},
     {0, 0}},
};

INSTANTIATE_TEST_SUITE_P(Shapes, TransposedTest, testing::ValuesIn(kTransposed),
                         [](const testing::TestParamInfo<Transposed>& info) {
                           return info.param.name;
                         });

TEST(TransposedConvolution, LeavesNoTapsOfOtherPhases) {
  // Of 2 x 2 taps at stride 2 each output meets one.
  ir::Arena arena;
  Builder b(&arena);
  const Id h = b.Var("h", 1, 1000);
  const Id x = b.Input(0, ir::DType::kF32, {b.Int(1), b.Int(2), h, b.Int(4)});
  const Id w =
      b.Weight(0, ir::DType::kF32, {b.Int(2), b.Int(3), b.Int(2), b.Int(2)});
  Windows windows;
  windows.strides = {2, 2};
  const Id y = TransposedConvolution(b, x, w, ir::kNoNode, 1, windows, {});
  EXPECT_EQ(b.ShapeText(y), "[1,3,h*2,8]") << b.status();
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&y, 1))) {
    EXPECT_NE(arena[id].op, ir::Op::kPad);
    EXPECT_NE(arena[id].op, ir::Op::kWindow);
  }
}

TEST(TransposedConvolution, RefusesWhatHasNoResult) {
  struct Row {
    int64_t stride, before, after;
  };
  for (const Row& row :
       {Row{2, 9, 9}, Row{2, int64_t{1} << 60, 0}, Row{2, 0, int64_t{1} << 60},
        Row{int64_t{1} << 40, 0, 0}, Row{4, -(int64_t{1} << 60), 0},
        Row{0, 0, 0}}) {
    SCOPED_TRACE(absl::StrCat(row.stride, " ", row.before, " ", row.after));
    ir::Arena arena;
    Builder b(&arena);
    const Id x =
        b.Input(0, ir::DType::kF32, {b.Int(1), b.Int(2), b.Int(4), b.Int(4)});
    const Id w =
        b.Input(1, ir::DType::kF32, {b.Int(2), b.Int(3), b.Int(4), b.Int(4)});
    Windows windows;
    windows.strides = {row.stride, 2};
    windows.pads_before = {b.Int(row.before), b.Int(0)};
    windows.pads_after = {b.Int(row.after), b.Int(0)};
    TransposedConvolution(b, x, w, ir::kNoNode, 1, windows, {});
    EXPECT_EQ(b.status().code(), absl::StatusCode::kInvalidArgument)
        << b.status();
  }
}

TEST(TransposedConvolution, AppendsNothingUnlessAsked) {
  ir::Arena arena;
  Builder b(&arena);
  const Id x =
      b.Input(0, ir::DType::kF32, {b.Int(1), b.Int(2), b.Int(4), b.Int(4)});
  const Id w =
      b.Input(1, ir::DType::kF32, {b.Int(2), b.Int(3), b.Int(2), b.Int(2)});
  const Id y = TransposedConvolution(b, x, w, ir::kNoNode, 1, {}, {});
  EXPECT_EQ(b.ShapeText(y), "[1,3,5,5]") << b.status();
}

TEST(Einsum, TakesDiagonalsAndSums) {
  const Values x{{2, 2}, {1, 2, 3, 4}};
  EXPECT_THAT(Evaluate({x},
                       [](Builder& b, const std::vector<Id>& in) {
                         return Einsum(b, in, {{'i', 'i'}}, {});
                       })
                  .data,
              ElementsAre(5));
}

std::vector<double> Pooled(bool average, bool ceil_mode, bool count_padding) {
  return Evaluate({{{1, 1, 5}, {-1, -2, -3, -4, -5}}},
                  [&](Builder& b, const std::vector<Id>& in) {
                    PoolOptions options;
                    options.taps = {3};
                    options.windows.strides = {2};
                    options.windows.pads_before = {b.Int(1)};
                    options.ceil_mode = ceil_mode;
                    options.count_padding = count_padding;
                    return average ? AveragePool(b, in[0], options)
                                   : MaxPool(b, in[0], options);
                  })
      .data;
}

TEST(MaxPool, DoesNotSeeThePadding) {
  EXPECT_THAT(Pooled(false, false, false), ElementsAre(-1, -2));
}

TEST(MaxPool, ReachesOverTheEndInCeilMode) {
  EXPECT_THAT(Pooled(false, true, false), ElementsAre(-1, -2, -4));
}

TEST(AveragePool, CountsElementsOrPaddingToo) {
  EXPECT_THAT(Pooled(true, false, false), ElementsAre(-1.5, -3));
  EXPECT_THAT(Pooled(true, false, true), ElementsAre(-1, -3));
}

TEST(AveragePool, OfFreeSizesCountsAtRunTime) {
  ir::Arena arena;
  Builder b(&arena);
  const Id h = b.Var("h", 1, 1000);
  const Id x = b.Input(0, ir::DType::kF32, {b.Int(1), b.Int(2), h});
  PoolOptions options;
  options.taps = {3};
  options.windows.pads_before = {b.Int(1)};
  options.windows.pads_after = {b.Int(1)};
  EXPECT_EQ(b.ShapeText(AveragePool(b, x, options)), "[1,2,h]");
}

TEST(MaxPool, RefusesAWindowThatDoesNotFit) {
  ir::Arena arena;
  Builder b(&arena);
  const Id x = b.Input(0, ir::DType::kF32, {b.Int(1), b.Int(2), b.Int(2)});
  PoolOptions options;
  options.taps = {3};
  MaxPool(b, x, options);
  EXPECT_THAT(std::string(b.status().message()),
              HasSubstr("window of 3 taps with dilation 1 does not fit axis 2 "
                        "of [1,2,2]"));
}

}  // namespace
}  // namespace quern::graph
