// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/movement.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/reduction.h"
#include "tests/unit/engine/graph/evaluate.h"

namespace quern::graph {
namespace {

using ir::Builder;
using testing::ElementsAre;
using testing::HasSubstr;

Values Range(int64_t size) {
  Values values{{size}, {}};
  for (int64_t i = 0; i < size; ++i) values.data.push_back(double(i));
  return values;
}

std::vector<double> Sliced(int64_t begin, int64_t end, int64_t step) {
  return Evaluate(
             {Range(6)},
             [&](Builder& b, const std::vector<Id>& in) {
               return Slice(b, in[0], {{0, b.Int(begin), b.Int(end), step}});
             })
      .data;
}

TEST(Slice, CountsNegativeBoundsFromTheEnd) {
  EXPECT_THAT(Sliced(-3, -1, 1), ElementsAre(3, 4));
}

TEST(Slice, ClampsBoundsToTheAxis) {
  EXPECT_THAT(Sliced(2, INT64_MAX, 1), ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(Sliced(-100, 2, 1), ElementsAre(0, 1));
}

TEST(Slice, StepsForwardAndBackward) {
  EXPECT_THAT(Sliced(0, 6, 4), ElementsAre(0, 4));
  EXPECT_THAT(Sliced(5, INT64_MIN, -2), ElementsAre(5, 3, 1));
  EXPECT_THAT(Sliced(4, 1, -1), ElementsAre(4, 3, 2));
}

TEST(Slice, IsEmptyWhereBoundsCross) { EXPECT_TRUE(Sliced(4, 2, 1).empty()); }

TEST(Slice, KeepsFreeSizesSymbolic) {
  ir::Arena arena;
  Builder b(&arena);
  const Id n = b.Var("n", 1, 100);
  const Id x = b.Input(0, ir::DType::kF32, {n});
  const Id y = Slice(b, x, {{0, b.Int(1), n, 1}});
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_EQ(b.ShapeText(y), "[n+-1]");
}

std::vector<double> Padded(PadMode mode, int64_t before, int64_t after) {
  return Evaluate({Range(3)},
                  [&](Builder& b, const std::vector<Id>& in) {
                    return PadWith(b, in[0], {b.Int(before)}, {b.Int(after)},
                                   mode, b.Float(7));
                  })
      .data;
}

TEST(PadWith, FillsByItsMode) {
  EXPECT_THAT(Padded(PadMode::kConstant, 1, 2), ElementsAre(7, 0, 1, 2, 7, 7));
  EXPECT_THAT(Padded(PadMode::kEdge, 1, 2), ElementsAre(0, 0, 1, 2, 2, 2));
  EXPECT_THAT(Padded(PadMode::kReflect, 2, 1), ElementsAre(2, 1, 0, 1, 2, 1));
  EXPECT_THAT(Padded(PadMode::kWrap, 2, 1), ElementsAre(1, 2, 0, 1, 2, 0));
}

TEST(PadWith, CutsWhereThePaddingIsNegative) {
  EXPECT_THAT(Padded(PadMode::kConstant, -1, 1), ElementsAre(1, 2, 7));
}

TEST(Take, CountsNegativePositionsFromTheEnd) {
  const Values at{{3}, {-1, 0, -3}, ir::DType::kI32};
  EXPECT_THAT(Evaluate({Range(3), at},
                       [](Builder& b, const std::vector<Id>& in) {
                         return Take(b, in[0], in[1], 0);
                       })
                  .data,
              ElementsAre(2, 0, 0));
}

TEST(Take, RefusesPositionsThatAreNotIntegers) {
  for (const ir::DType dtype : {ir::DType::kF32, ir::DType::kBool}) {
    ir::Arena arena;
    Builder b(&arena);
    const Id x = b.Input(0, ir::DType::kF32, {b.Int(3)});
    Take(b, x, b.Input(1, dtype, {b.Int(2)}), 0);
    EXPECT_THAT(b.status().message(), HasSubstr("expected integers"));
  }
}

TEST(GatherElements, ReadsAlongTheAxis) {
  const Values x{{2, 2}, {1, 2, 3, 4}};
  const Values at{{2, 2}, {0, 0, 1, 0}, ir::DType::kI64};
  EXPECT_THAT(Evaluate({x, at},
                       [](Builder& b, const std::vector<Id>& in) {
                         return GatherElements(b, in[0], in[1], 1);
                       })
                  .data,
              ElementsAre(1, 1, 4, 3));
}

TEST(ScatterElements, LetsTheLastWriterWinOrCombines) {
  const Values x{{3}, {1, 1, 1}};
  const Values at{{3}, {0, 2, 0}, ir::DType::kI64};
  const Values updates{{3}, {5, 6, 7}};
  const auto scatter = [&](ir::Op op) {
    return Evaluate({x, at, updates},
                    [&](Builder& b, const std::vector<Id>& in) {
                      return ScatterElements(b, in[0], in[1], in[2], 0, op);
                    })
        .data;
  };
  EXPECT_THAT(scatter(ir::Op::kConst), ElementsAre(7, 1, 6));
  EXPECT_THAT(scatter(ir::Op::kAdd), ElementsAre(13, 1, 7));
  EXPECT_THAT(scatter(ir::Op::kMax), ElementsAre(7, 1, 6));
}

TEST(Triangle, KeepsOneSideOfTheDiagonal) {
  const Values x{{2, 3}, {1, 2, 3, 4, 5, 6}};
  const auto triangle = [&](bool upper, int64_t k) {
    return Evaluate({x},
                    [&](Builder& b, const std::vector<Id>& in) {
                      return Triangle(b, in[0], b.Int(k), upper);
                    })
        .data;
  };
  EXPECT_THAT(triangle(true, 1), ElementsAre(0, 2, 3, 0, 0, 6));
  EXPECT_THAT(triangle(false, 0), ElementsAre(1, 0, 0, 4, 5, 0));
}

TEST(ArgReduce, TakesTheFirstOrTheLastOfEqualElements) {
  const Values x{{4}, {1, 3, 3, 2}};
  const auto best = [&](bool last) {
    return Evaluate({x},
                    [&](Builder& b, const std::vector<Id>& in) {
                      return ArgReduce(b, in[0], 0, {true, last, true});
                    })
        .data;
  };
  EXPECT_THAT(best(false), ElementsAre(1));
  EXPECT_THAT(best(true), ElementsAre(2));
}

TEST(ArgReduce, FindsNan) {
  const Values x{{3}, {1, std::nan(""), 3}};
  EXPECT_THAT(Evaluate({x},
                       [](Builder& b, const std::vector<Id>& in) {
                         return ArgReduce(b, in[0], 0, {});
                       })
                  .data,
              ElementsAre(1));
}

TEST(TopK, PutsTheFirstOfEqualElementsFirst) {
  const Values x{{5}, {2, 9, 4, 9, 1}};
  const auto top = [&](bool positions) {
    return Evaluate({x},
                    [&](Builder& b, const std::vector<Id>& in) {
                      const TopKResult r = TopK(b, in[0], b.Int(3), 0, true);
                      return positions ? r.positions : r.values;
                    })
        .data;
  };
  EXPECT_THAT(top(false), ElementsAre(9, 9, 4));
  EXPECT_THAT(top(true), ElementsAre(1, 3, 2));
}

TEST(Cumulative, SumsForwardBackwardAndExclusively) {
  const auto sum = [&](bool exclusive, bool reverse) {
    return Evaluate(
               {{{3}, {1, 2, 4}}},
               [&](Builder& b, const std::vector<Id>& in) {
                 return Cumulative(b, in[0], 0, {false, exclusive, reverse});
               })
        .data;
  };
  EXPECT_THAT(sum(false, false), ElementsAre(1, 3, 7));
  EXPECT_THAT(sum(true, false), ElementsAre(0, 1, 3));
  EXPECT_THAT(sum(false, true), ElementsAre(7, 6, 4));
}

TEST(Softmax, DoesNotOverflow) {
  const Values y = Evaluate({{{2}, {1000, 1000}, ir::DType::kF32}},
                            [](Builder& b, const std::vector<Id>& in) {
                              return Softmax(b, in[0], {0});
                            });
  EXPECT_THAT(y.data, ElementsAre(0.5, 0.5));
}

TEST(Flatten, CountsNegativeAxesFromTheEndAndRefusesThoseOutside) {
  ir::Arena arena;
  Builder b(&arena);
  const Id x = b.Input(0, ir::DType::kF32, {b.Int(2), b.Int(3), b.Int(5)});
  EXPECT_EQ(b.ShapeText(Flatten(b, x, 3)), "[30,1]");
  EXPECT_EQ(b.ShapeText(Flatten(b, x, -1)), "[6,5]");
  EXPECT_EQ(b.ShapeText(Flatten(b, x, -3)), "[1,30]");
  for (int64_t axis : {int64_t{4}, int64_t{-4}, int64_t{1} << 40}) {
    Builder failing(&arena);
    EXPECT_EQ(Flatten(failing, x, axis), ir::kNoNode);
    EXPECT_THAT(std::string(failing.status().message()),
                HasSubstr("of [2,3,5], expected -3 to 3"));
  }
}

TEST(Squeeze, RefusesAnAxisThatIsNotOne) {
  ir::Arena arena;
  Builder b(&arena);
  Squeeze(b, b.Input(0, ir::DType::kF32, {b.Int(2), b.Int(1)}), {0});
  EXPECT_THAT(std::string(b.status().message()),
              HasSubstr("squeeze of axis 0 of [2,1], expected size 1"));
}

}  // namespace
}  // namespace quern::graph
