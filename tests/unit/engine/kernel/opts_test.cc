// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/opts.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/contraction.h"
#include "engine/graph/reduction.h"
#include "engine/ir/text.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::Op;
using ir::RangeKind;
using support::GraphMaker;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Subject {
  const char* name;
  void (*make)(GraphMaker& g);
};

const std::vector<int64_t> kShape = {6, 7};

constexpr Subject kSubjects[] = {
    {"elementwise",
     [](GraphMaker& g) {
       const Id x = g.Input("x", kShape);
       g.Output("y", g.b().Mul(x, g.Input("y", {7})));
     }},
    {"sum_of_rows",
     [](GraphMaker& g) {
       g.Output("y", g.b().Reduce(Op::kAdd, g.Input("x", kShape), {1}));
     }},
    {"least_of_rows",
     [](GraphMaker& g) {
       const Id x = g.Input("x", kShape, ir::DType::kI32);
       g.Output("y", g.b().Reduce(Op::kMin, x, {1}));
     }},
    {"product_of_columns",
     [](GraphMaker& g) {
       const Id x = g.Input("x", kShape, ir::DType::kI64);
       g.Output("y", g.b().Reduce(Op::kMul, x, {0}));
     }},
    {"matrix_product",
     [](GraphMaker& g) {
       const Id x = g.Input("x", kShape);
       g.Output("y", graph::MatMul(g.b(), x, g.Input("w", {7, 5})));
     }},
    {"softmax",
     [](GraphMaker& g) {
       g.Output("y", graph::Softmax(g.b(), g.Input("x", kShape), {1}));
     }},
    // Its tile fills its memory to the last byte.
    {"softmax_of_16",
     [](GraphMaker& g) {
       g.Output("y", graph::Softmax(g.b(), g.Input("x", {3, 16}), {1}));
     }},
    {"padding",
     [](GraphMaker& g) {
       const Id one = g.b().Int(1);
       const Id x = g.b().Add(g.Input("x", kShape), g.b().Float(1));
       g.Output("y", g.b().Pad(x, {one, one}, {one, one}));
     }},
};

std::vector<Id> RangesBelow(const Arena& arena, Id body) {
  std::vector<Id> ranges;
  for (Id id : ir::TopologicalOrder(arena, {body})) {
    if (arena[id].op == Op::kRange) ranges.push_back(id);
  }
  return ranges;
}

bool HasStages(const Arena& arena, Id body) {
  for (Id id : ir::TopologicalOrder(arena, {body})) {
    if (arena[id].op == Op::kStage) return true;
  }
  return false;
}

bool IsStoreRange(const Arena& arena, Id body, Id range) {
  const std::vector<Id> store = StoreRanges(arena, body);
  return std::find(store.begin(), store.end(), range) != store.end();
}

// Runs each subject after `change` to its only kernel and expects the result
// that the kernel has without.
class Unchanged {
 public:
  explicit Unchanged(const Subject& subject) : name_(subject.name) {
    GraphMaker g;
    subject.make(g);
    graph_ = *g.Finish();
    cut_ = *support::Cut(graph_);
    EXPECT_THAT(cut_.schedule.kernels, SizeIs(1));
    inputs_ = support::InputsFor(graph_, 0, 3);
    target_.vector_bytes = 16;
    expected_ = Run([](Arena&, Id body) { return body; });
    const auto oracle = ref::EvaluateGraph(graph_, inputs_);
    EXPECT_TRUE(oracle.ok()) << oracle.status();
    ref::Tensor flat = (*oracle)[0];
    flat.dims = expected_.dims;
    EXPECT_EQ(support::Difference(flat, expected_, 1e-6), "") << name_;
  }

  Arena& arena() { return *cut_.arena; }
  Id body() const { return cut_.schedule.kernels[0].bodies[0]; }

  void Expect(const std::string& what, const support::BodyScheduler& change) {
    const ref::Tensor got = Run(change);
    EXPECT_EQ(support::Difference(expected_, got, 1e-6), "")
        << name_ << ": " << what << "\n"
        << ir::ToText(arena(), {change(arena(), body())});
  }

 private:
  ref::Tensor Run(const support::BodyScheduler& change) {
    const auto results =
        support::RunCut(cut_, graph_, inputs_, target_, change);
    EXPECT_TRUE(results.ok()) << name_ << ": " << results.status();
    return results.ok() ? (*results)[0] : ref::Tensor();
  }

  std::string name_;
  graph::Graph graph_;
  support::CutGraph cut_;
  std::vector<ref::Tensor> inputs_;
  base::Target target_;
  ref::Tensor expected_;
};

TEST(SplitRange, ByASerialRangeChangesNoResult) {
  for (const Subject& subject : kSubjects) {
    Unchanged unchanged(subject);
    for (Id range : RangesBelow(unchanged.arena(), unchanged.body())) {
      const bool store =
          IsStoreRange(unchanged.arena(), unchanged.body(), range);
      for (const int64_t factor : {1, 2, 3, 4, 7, 8, 9}) {
        for (const Tail tail : {Tail::kMask, Tail::kRepeat, Tail::kShort}) {
          if (tail == Tail::kRepeat && !store) continue;
          unchanged.Expect(absl::StrCat("range ", range, " by ", factor,
                                        " with tail ", static_cast<int>(tail)),
                           [&](Arena& arena, Id body) {
                             return SplitRange(arena, body, range, factor,
                                               RangeKind::kSerial, tail)
                                 .body;
                           });
        }
      }
    }
  }
}

TEST(SplitRange, ByUnrolledCopiesChangesNoResult) {
  for (const Subject& subject : kSubjects) {
    Unchanged unchanged(subject);
    const bool stages = HasStages(unchanged.arena(), unchanged.body());
    for (Id range : RangesBelow(unchanged.arena(), unchanged.body())) {
      const bool store =
          IsStoreRange(unchanged.arena(), unchanged.body(), range);
      if (store && stages) continue;  // A tile has no copies.
      for (const int64_t factor : {2, 3, 7, 8}) {
        for (const Tail tail : {Tail::kMask, Tail::kRepeat}) {
          if (tail == Tail::kRepeat && !store) continue;
          unchanged.Expect(
              absl::StrCat("range ", range, " by ", factor, " copies"),
              [&](Arena& arena, Id body) {
                return SplitRange(arena, body, range, factor,
                                  RangeKind::kUnroll, tail)
                    .body;
              });
        }
      }
    }
  }
}

TEST(SplitRange, ByLanesChangesNoResult) {
  for (const Subject& subject : kSubjects) {
    Unchanged unchanged(subject);
    const bool stages = HasStages(unchanged.arena(), unchanged.body());
    for (Id range : RangesBelow(unchanged.arena(), unchanged.body())) {
      if (stages && IsStoreRange(unchanged.arena(), unchanged.body(), range)) {
        continue;  // A tile has no lanes.
      }
      for (const int64_t lanes : {2, 4, 8}) {
        unchanged.Expect(absl::StrCat("range ", range, " by ", lanes, " lanes"),
                         [&](Arena& arena, Id body) {
                           return SplitRange(arena, body, range, lanes,
                                             RangeKind::kVector, Tail::kMask)
                               .body;
                         });
      }
    }
  }
}

TEST(SplitRange, TwiceChangesNoResult) {
  for (const Subject& subject : kSubjects) {
    Unchanged unchanged(subject);
    const Id first = StoreRanges(unchanged.arena(), unchanged.body())[0];
    for (const Tail tail : {Tail::kMask, Tail::kRepeat, Tail::kShort}) {
      unchanged.Expect(
          "by 2, then the outer one by 2", [&](Arena& arena, Id body) {
            const Split split =
                SplitRange(arena, body, first, 2, RangeKind::kSerial, tail);
            return SplitRange(arena, split.body, split.outer, 2,
                              RangeKind::kSerial, tail)
                .body;
          });
    }
  }
}

TEST(SplitRange, LeavesNoOuterRangeWhereOnePointWouldBeLeft) {
  Unchanged unchanged(kSubjects[0]);
  Arena& arena = unchanged.arena();
  const Id range = StoreRanges(arena, unchanged.body())[1];
  const Split split = SplitRange(arena, unchanged.body(), range, 8,
                                 RangeKind::kVector, Tail::kMask);
  EXPECT_EQ(split.outer, ir::kNoNode);
  EXPECT_THAT(StoreRanges(arena, split.body), SizeIs(2));
  EXPECT_EQ(KindOf(arena, split.inner), RangeKind::kVector);
}

TEST(SplitRange, MasksNothingWhereTheFactorDivides) {
  Unchanged unchanged(kSubjects[0]);
  Arena& arena = unchanged.arena();
  const Id range = StoreRanges(arena, unchanged.body())[0];
  for (const Tail tail : {Tail::kMask, Tail::kRepeat, Tail::kShort}) {
    const Id body =
        SplitRange(arena, unchanged.body(), range, 3, RangeKind::kSerial, tail)
            .body;
    for (Id id : ir::TopologicalOrder(arena, {body})) {
      EXPECT_NE(arena[id].op, Op::kCmpLt);
      EXPECT_NE(arena[id].op, Op::kMin);
    }
  }
}

TEST(Reorder, OfTheRangesOfStoresChangesNoResult) {
  for (const Subject& subject : kSubjects) {
    Unchanged unchanged(subject);
    unchanged.Expect("reversed", [](Arena& arena, Id body) {
      std::vector<Id> ranges = StoreRanges(arena, body);
      std::reverse(ranges.begin(), ranges.end());
      return Reorder(arena, body, ranges);
    });
  }
}

TEST(MergeRanges, ChangesNoResult) {
  for (const Subject& subject : kSubjects) {
    Unchanged(subject).Expect("merged", MergeRanges);
  }
}

TEST(MergeRanges, ChangesNoResultAfterASplit) {
  for (const Subject& subject : kSubjects) {
    Unchanged unchanged(subject);
    for (Id range : RangesBelow(unchanged.arena(), unchanged.body())) {
      for (const Tail tail : {Tail::kMask, Tail::kShort}) {
        for (const int64_t factor : {2, 4}) {
          unchanged.Expect(absl::StrCat("range ", range, " by ", factor),
                           [&](Arena& arena, Id body) {
                             return MergeRanges(
                                 arena, SplitRange(arena, body, range, factor,
                                                   RangeKind::kSerial, tail)
                                            .body);
                           });
        }
      }
    }
  }
}

TEST(MergeRanges, JoinsWhatNoIndexNeedsApart) {
  GraphMaker g;
  const Id x = g.Input("x", {4, 5, 6});
  g.Output("y", g.b().Mul(x, x));
  const auto graph = g.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  auto cut = support::Cut(*graph);
  ASSERT_TRUE(cut.ok()) << cut.status();
  Arena& arena = *cut->arena;
  const Id body = MergeRanges(arena, cut->schedule.kernels[0].bodies[0]);
  const std::vector<Id> ranges = StoreRanges(arena, body);
  ASSERT_THAT(ranges, SizeIs(1)) << ir::ToText(arena, {body});
  EXPECT_TRUE(arena.IsInt(arena[ranges[0]].srcs[0], 4 * 5 * 6));
}

TEST(MergeRanges, KeepsApartWhatABroadcastNeedsApart) {
  Unchanged unchanged(kSubjects[0]);
  Arena& arena = unchanged.arena();
  EXPECT_THAT(StoreRanges(arena, MergeRanges(arena, unchanged.body())),
              SizeIs(2));
}

TEST(MergeRanges, GivesTheSameBodyTheSameNumbers) {
  Unchanged unchanged(kSubjects[4]);
  Arena& arena = unchanged.arena();
  const Id merged = MergeRanges(arena, unchanged.body());
  EXPECT_EQ(MergeRanges(arena, merged), merged);
  std::vector<int64_t> numbers;
  for (Id range : StoreRanges(arena, merged)) {
    numbers.push_back(arena[range].attr->ints[0]);
  }
  EXPECT_THAT(numbers, ElementsAre(0, 1));
}

TEST(FreeRanges, LeavesOutWhatAReductionCloses) {
  Unchanged unchanged(kSubjects[1]);
  Arena& arena = unchanged.arena();
  for (Id id : ir::TopologicalOrder(arena, {unchanged.body()})) {
    if (arena[id].op != Op::kReduce) continue;
    EXPECT_EQ(FreeRanges(arena, id), StoreRanges(arena, unchanged.body()));
    EXPECT_THAT(FreeRanges(arena, arena[id].srcs[0]), SizeIs(2));
  }
  EXPECT_THAT(FreeRanges(arena, unchanged.body()), IsEmpty());
}

}  // namespace
}  // namespace quern::kernel
