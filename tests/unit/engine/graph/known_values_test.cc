// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/known_values.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/ir/builder.h"

namespace quern::graph {
namespace {

using ir::DType;
using ir::Id;
using testing::ElementsAre;
using testing::Optional;

class KnownValuesTest : public testing::Test {
 protected:
  // A list of 64-bit integers.
  Id List(const std::vector<int64_t>& values) {
    return b_.ConstArray(DType::kI64, values,
                         {b_.Int(static_cast<int64_t>(values.size()))});
  }
  // A list of one free size.
  Id Size(Id size) {
    return b_.Reshape(b_.Cast(size, DType::kI64), {b_.Int(1)});
  }
  std::string SizesOf(Id id) {
    const auto sizes = known_.Sizes(id);
    return sizes.has_value() ? b_.ShapeText(*sizes) : "unknown";
  }

  ir::Arena arena_;
  ir::Builder b_{&arena_};
  KnownValues known_{&arena_};
  Id n_ = b_.Var("n", 1, 100);
};

TEST_F(KnownValuesTest, FollowsMovements) {
  const Id x = b_.Reshape(List({1, 2, 3, 4, 5, 6}), {b_.Int(2), b_.Int(3)});
  const Id y = b_.Permute(b_.Flip(x, {1}), {1, 0});
  EXPECT_THAT(known_.Integers(y), Optional(ElementsAre(3, 6, 2, 5, 1, 4)));
}

TEST_F(KnownValuesTest, FollowsPadsAndWindows) {
  const Id x = b_.Pad(List({1, 2}), {b_.Int(1)}, {b_.Int(0)});
  EXPECT_THAT(known_.Integers(b_.Window(x, 0, 2, 1, 1)),
              Optional(ElementsAre(0, 1, 1, 2)));
}

TEST_F(KnownValuesTest, KeepsFreeSizesThroughConcatAndGather) {
  const Id shape = b_.Concat({Size(n_), List({3, 4})}, 0);
  EXPECT_EQ(SizesOf(b_.Gather(shape, List({2, 0}), 0)), "[4,n]");
}

TEST_F(KnownValuesTest, ComputesWithFreeSizes) {
  const Id two = b_.Cast(b_.Int(2), DType::kI64);
  EXPECT_EQ(SizesOf(b_.Add(b_.Mul(Size(n_), two), two)), "[n*2+2]");
}

TEST_F(KnownValuesTest, MultipliesAShapeUp) {
  const Id shape = b_.Concat({Size(n_), List({3, 4})}, 0);
  EXPECT_EQ(SizesOf(b_.Reduce(ir::Op::kMul, shape, {0})), "[n*12]");
}

TEST_F(KnownValuesTest, DecidesComparisonsByBounds) {
  const Id minus = b_.Cast(b_.Int(-1), DType::kI64);
  const Id chosen = b_.Where(b_.Equal(Size(n_), minus), List({7}), Size(n_));
  EXPECT_EQ(SizesOf(chosen), "[n]");
}

TEST_F(KnownValuesTest, RoundsFloatsToTheirType) {
  const Id third = b_.Div(b_.Scalar(DType::kF32, 1), b_.Scalar(DType::kF32, 3));
  EXPECT_THAT(known_.Doubles(third),
              Optional(ElementsAre(static_cast<double>(1.0F / 3.0F))));
}

TEST_F(KnownValuesTest, DoesNotKnowInputs) {
  const Id x = b_.Input(0, DType::kI64, {b_.Int(2)});
  EXPECT_FALSE(known_.Sizes(x).has_value());
}

TEST_F(KnownValuesTest, KnowsTheElementsThatDoNotDependOnInputs) {
  const Id x = b_.Input(0, DType::kI64, {b_.Int(1)});
  const Id list = b_.Concat({x, List({3, 5})}, 0);
  EXPECT_FALSE(known_.Sizes(list).has_value());
  EXPECT_THAT(known_.Integers(b_.Gather(list, List({2, 1}), 0)),
              Optional(ElementsAre(5, 3)));
}

TEST_F(KnownValuesTest, LeavesLargeTensorsAlone) {
  const Id x = b_.Iota(b_.Int(kMaxKnownElements + 1));
  EXPECT_FALSE(known_.Sizes(x).has_value());
}

TEST_F(KnownValuesTest, IsNotLimitedByTheDepthOfTheGraph) {
  Id x = List({1});
  const Id one = b_.Cast(b_.Int(1), DType::kI64);
  for (int i = 0; i < 200000; ++i) x = b_.Add(x, one);
  EXPECT_THAT(known_.Integers(x), Optional(ElementsAre(200001)));
}

TEST_F(KnownValuesTest, ReadsWeightsThroughTheReader) {
  KnownValues known(&arena_, [](int64_t) {
    return std::optional<std::vector<int64_t>>({4, 5});
  });
  const Id w = b_.Weight(0, DType::kI32, {b_.Int(2)});
  EXPECT_THAT(known.Integers(w), Optional(ElementsAre(4, 5)));
}

}  // namespace
}  // namespace quern::graph
