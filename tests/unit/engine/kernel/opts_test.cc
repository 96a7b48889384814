// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/opts.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/contraction.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
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

// The only reduction of `body`; kNoNode if there are several or none.
Id OnlyReduction(const Arena& arena, Id body) {
  Id found = ir::kNoNode;
  for (Id id : ir::TopologicalOrder(arena, {body})) {
    if (arena[id].op != Op::kReduce) continue;
    if (found != ir::kNoNode) return ir::kNoNode;
    found = id;
  }
  return found;
}

// The size `size` where the ranges of `point` have its values.
int64_t At(Arena& arena, Id size, const ir::Substitution& point) {
  const Id value = ir::Substitute(arena, size, point);
  EXPECT_TRUE(arena.IsConst(value)) << ir::ToText(arena, {value});
  return arena.IsConst(value) ? arena.IntValue(value) : 0;
}

// Calls `visit` at every point of `ranges`, from the outside in; the extent of
// one may depend on those before it.
template <typename Visit>
void ForEachPoint(Arena& arena, const std::vector<Id>& ranges,
                  const Visit& visit, ir::Substitution point = {}) {
  if (point.size() == ranges.size()) {
    visit(point);
    return;
  }
  const Id range = ranges[point.size()];
  const int64_t extent = At(arena, arena[range].srcs[0], point);
  for (int64_t i = 0; i < extent; ++i) {
    ir::Substitution inner = point;
    inner[range] = arena.Int(i);
    ForEachPoint(arena, ranges, visit, std::move(inner));
  }
}

// Runs each subject after `change` to its only kernel and expects the result
// that the kernel has without.
class Unchanged {
 public:
  explicit Unchanged(const Subject& subject, int64_t size = 0)
      : name_(subject.name) {
    GraphMaker g;
    subject.make(g);
    graph_ = *g.Finish();
    cut_ = *support::Cut(graph_);
    EXPECT_THAT(cut_.schedule.kernels, SizeIs(1));
    inputs_ = support::InputsFor(graph_, size, 3);
    target_.vector_bytes = 16;
    expected_ = Run([](Arena&, Id body) { return body; });
    const auto oracle = ref::EvaluateGraph(graph_, inputs_);
    EXPECT_TRUE(oracle.ok()) << oracle.status();
    ref::Tensor flat = (*oracle)[0];
    flat.dims = expected_.dims;
    EXPECT_EQ(support::Difference(flat, expected_, 1e-6), "") << name_;
  }

  [[nodiscard]] Arena& arena() const { return *cut_.arena; }
  [[nodiscard]] Id body() const { return cut_.schedule.kernels[0].bodies[0]; }

  void Expect(const std::string& what, const support::BodyScheduler& change) {
    const ref::Tensor got = Run(change);
    EXPECT_EQ(support::Difference(expected_, got, 1e-6), "")
        << name_ << ": " << what << "\n"
        << ir::ToText(arena(), change(arena(), body()).bodies);
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

int Divisions(const Arena& arena, Id body) {
  int count = 0;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    const ir::Node& node = arena[id];
    count += node.dtype == ir::DType::kWeakInt &&
                     (node.op == Op::kIDiv || node.op == Op::kMod)
                 ? 1
                 : 0;
  }
  return count;
}

// Interleaves the halves of 12 points and cuts some at both ends.
template <int64_t kBefore, int64_t kAfter>
void Interleave(GraphMaker& g) {
  ir::Builder& b = g.b();
  const Id x = b.Mul(g.Input("x", {2, 3, 6}), b.Float(2));
  const Id rows = b.Reshape(b.Permute(x, {1, 2, 0}), {b.Int(3), b.Int(12)});
  g.Output("y", b.Shrink(rows, {b.Int(0), b.Int(kBefore)},
                         {b.Int(3), b.Int(12 - kBefore - kAfter)}));
}

TEST(SplitQuotients, LeavesNoQuotientAndChangesNoResult) {
  constexpr Subject kInterleaved[] = {
      {"all of it", Interleave<0, 0>},
      {"without the first", Interleave<1, 0>},
      {"without the last", Interleave<0, 1>},
      {"without both", Interleave<1, 1>},
      {"the middle", Interleave<3, 2>},
  };
  for (const Subject& subject : kInterleaved) {
    Unchanged unchanged(subject);
    EXPECT_GT(Divisions(unchanged.arena(), unchanged.body()), 0);
    unchanged.Expect("split", [&](Arena& arena, Id body) {
      const Id split = SplitQuotients(arena, body);
      EXPECT_EQ(Divisions(arena, split), 0) << subject.name;
      return split;
    });
  }
}

// Each point twice, and once more from the second of the first two on.
void TwoShifts(GraphMaker& g) {
  ir::Builder& b = g.b();
  const auto twice = [&](const char* name) {
    const Id x =
        b.Reshape(g.Input(name, {3, 6}), {b.Int(3), b.Int(6), b.Int(1)});
    return b.Reshape(b.Expand(x, {b.Int(3), b.Int(6), b.Int(2)}),
                     {b.Int(3), b.Int(12)});
  };
  const auto part = [&](Id x, int64_t begin) {
    return b.Shrink(x, {b.Int(0), b.Int(begin)}, {b.Int(3), b.Int(11)});
  };
  g.Output("y", b.Add(part(twice("x"), 0), part(twice("z"), 1)));
}

TEST(SplitQuotients, EndsWhereARangeIsDividedFromTwoPlaces) {
  Unchanged unchanged({"two shifts", TwoShifts});
  EXPECT_EQ(Divisions(unchanged.arena(), unchanged.body()), 2);
  unchanged.Expect("split", [&](Arena& arena, Id body) {
    const Id split = SplitQuotients(arena, body);
    EXPECT_EQ(Divisions(arena, split), 0);
    return split;
  });
}

// Two of 12 points in three phases, on both sides of a multiple of three.
void TwoOfThreePhases(GraphMaker& g) {
  ir::Builder& b = g.b();
  const Id x = b.Mul(g.Input("x", {3, 5, 4}), b.Float(2));
  const Id rows = b.Reshape(b.Permute(x, {1, 2, 0}), {b.Int(5), b.Int(12)});
  g.Output("y", b.Shrink(rows, {b.Int(0), b.Int(5)}, {b.Int(5), b.Int(2)}));
}

TEST(SplitQuotients, LeavesRangesShorterThanTheDivisor) {
  Unchanged unchanged({"two points", TwoOfThreePhases});
  EXPECT_GT(Divisions(unchanged.arena(), unchanged.body()), 0);
  EXPECT_EQ(SplitQuotients(unchanged.arena(), unchanged.body()),
            unchanged.body());
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

// Store ranges of a free size, split where it is not known whether the factor
// fits even once.
TEST(SplitRange, RepeatsOfAFreeSizeNothingBeyondIt) {
  constexpr Subject kRows = {
      "rows of a free size", [](GraphMaker& g) {
        const Id n = g.b().Var("n", 1, 1000);
        const Id x = g.SizedInput("x", {n, g.b().Int(5)});
        g.Output("y", graph::MatMul(g.b(), x, g.Input("w", {5, 3})));
      }};
  for (const int64_t size : {1, 2, 3, 4, 5, 8, 9, 17}) {
    Unchanged unchanged(kRows, size);
    const Id rows = StoreRanges(unchanged.arena(), unchanged.body())[0];
    for (const RangeKind kind : {RangeKind::kSerial, RangeKind::kUnroll}) {
      for (const int64_t factor : {2, 4, 7}) {
        unchanged.Expect(absl::StrCat(size, " rows by ", factor),
                         [&](Arena& arena, Id body) {
                           return SplitRange(arena, body, rows, factor, kind,
                                             Tail::kRepeat)
                               .body;
                         });
      }
    }
  }
}

TEST(SplitRange, LetsTheLastRangeEndAtTheEnd) {
  struct Row {
    int64_t factor;
    std::vector<int64_t> positions;  // Of the 7 points of a row.
  };
  for (const Row& row : {
           Row{7, {0, 1, 2, 3, 4, 5, 6}},
           Row{3, {0, 1, 2, 3, 4, 5, 4, 5, 6}},
           Row{4, {0, 1, 2, 3, 3, 4, 5, 6}},
           Row{6, {0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6}},
           Row{9, {0, 1, 2, 3, 4, 5, 6, 6, 6}},
       }) {
    SCOPED_TRACE(row.factor);
    Unchanged unchanged(kSubjects[0]);
    Arena& arena = unchanged.arena();
    const std::vector<Id> before = StoreRanges(arena, unchanged.body());
    const Split split =
        SplitRange(arena, unchanged.body(), before[1], row.factor,
                   RangeKind::kSerial, Tail::kRepeat);
    std::vector<int64_t> positions;
    const Id index = arena[arena[split.body].srcs[0]].srcs[1];
    ForEachPoint(arena, StoreRanges(arena, split.body),
                 [&](const ir::Substitution& point) {
                   const int64_t at = At(arena, index, point);
                   if (at < 7) positions.push_back(at);
                 });
    EXPECT_EQ(positions, row.positions) << ir::ToText(arena, {split.body});
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

// Contractions whose windows reach into padding: how often their sums, without
// it, meet an element of the image.
struct Window {
  Subject subject;
  int64_t visits;
};

// [batch, channels, spatial..] with [filters, channels, taps..], both inputs.
void Convolve(GraphMaker& g, const std::vector<int64_t>& image,
              const std::vector<int64_t>& weights, graph::Windows windows,
              const std::vector<int64_t>& before,
              const std::vector<int64_t>& after) {
  for (int64_t pad : before) windows.pads_before.push_back(g.b().Int(pad));
  for (int64_t pad : after) windows.pads_after.push_back(g.b().Int(pad));
  g.Output("y",
           graph::Convolution(g.b(), g.Input("x", image), g.Input("w", weights),
                              ir::kNoNode, 1, windows));
}

graph::Windows Every(std::vector<int64_t> strides,
                     std::vector<int64_t> dilations) {
  return {std::move(strides), std::move(dilations), {}, {}};
}

// Each line counts, for one filter and channel, the taps of each window that
// lie on the image.
const Window kWindows[] = {
    {{"stride 1",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 5}, {4, 2, 3}, Every({1}, {1}), {1}, {1});
      }},
     4 * 2 * (2 + 3 + 3 + 3 + 2)},
    {{"stride 2",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 6}, {4, 2, 5}, Every({2}, {1}), {2}, {2});
      }},
     4 * 2 * (3 + 5 + 4)},
    {{"dilation 2",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 5}, {4, 2, 3}, Every({1}, {2}), {2}, {2});
      }},
     4 * 2 * (2 + 2 + 3 + 2 + 2)},
    {{"stride 2, dilation 3",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 7}, {4, 2, 3}, Every({2}, {3}), {4}, {3});
      }},
     4 * 2 * (1 + 2 + 3 + 2)},
    {{"left border",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 4}, {4, 2, 3}, Every({1}, {1}), {2}, {0});
      }},
     4 * 2 * (1 + 2 + 3 + 3)},
    {{"right border",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 4}, {4, 2, 3}, Every({1}, {1}), {0}, {2});
      }},
     4 * 2 * (3 + 3 + 2 + 1)},
    {{"windows of padding alone",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 3}, {4, 2, 2}, Every({1}, {1}), {4}, {3});
      }},
     4 * 2 * (0 + 0 + 0 + 1 + 2 + 2 + 1 + 0 + 0)},
    {{"two axes",
      [](GraphMaker& g) {
        Convolve(g, {1, 2, 4, 5}, {3, 2, 3, 5}, Every({1, 2}, {1, 1}), {1, 2},
                 {0, 2});
      }},
     3 * 2 * (2 + 3 + 3) * (3 + 5 + 3)},
};

Id ClipAll(Arena& arena, Id body) {
  for (Id range : InnerRanges(arena, OnlyReduction(arena, body))) {
    const Split clipped =
        ClipReduction(arena, body, OnlyReduction(arena, body), range);
    if (clipped.body != ir::kNoNode) body = clipped.body;
  }
  return body;
}

TEST(ClipReduction, ChangesNoResult) {
  for (const Window& window : kWindows) {
    Unchanged(window.subject).Expect("clipped", ClipAll);
  }
}

TEST(ClipReduction, VisitsNothingOfThePadding) {
  for (const Window& window : kWindows) {
    SCOPED_TRACE(window.subject.name);
    const Unchanged unchanged(window.subject);
    Arena& arena = unchanged.arena();
    const Id body = ClipAll(arena, unchanged.body());
    const Id reduce = OnlyReduction(arena, body);
    std::vector<Id> ranges = StoreRanges(arena, body);
    const std::vector<Id> inner = InnerRanges(arena, reduce);
    ranges.insert(ranges.end(), inner.begin(), inner.end());
    int64_t visits = 0;
    ForEachPoint(arena, ranges, [&](const ir::Substitution&) { ++visits; });
    EXPECT_EQ(visits, window.visits) << ir::ToText(arena, {body});
    for (Id id : ir::TopologicalOrder(arena, {body})) {
      if (arena[id].op != Op::kLoad || arena[id].srcs.size() < 3) continue;
      EXPECT_TRUE(arena.IsConst(arena[id].srcs[2])) << "a gate";
    }
  }
}

TEST(ClipReduction, LeavesAloneWhatNoGateDependsOn) {
  const Unchanged padded(kWindows[0].subject);
  const Unchanged product(kSubjects[4]);
  int clipped = 0;
  for (const Unchanged* unchanged : {&padded, &product}) {
    Arena& arena = unchanged->arena();
    const Id reduce = OnlyReduction(arena, unchanged->body());
    for (Id range : InnerRanges(arena, reduce)) {
      const Split split =
          ClipReduction(arena, unchanged->body(), reduce, range);
      clipped += split.body == ir::kNoNode ? 0 : 1;
      if (split.body != ir::kNoNode) {
        EXPECT_TRUE(arena.IsInt(arena[range].srcs[0], 3)) << "not the taps";
      }
    }
  }
  EXPECT_EQ(clipped, 1);
}

TEST(ClipReduction, LeavesGatesThatDependOnCopies) {
  const Unchanged unchanged(kWindows[0].subject);
  Arena& arena = unchanged.arena();
  const Id positions = StoreRanges(arena, unchanged.body()).back();
  const Id body =
      Relabel(arena, unchanged.body(), positions, RangeKind::kUnroll).body;
  EXPECT_EQ(ClipAll(arena, body), body);
}

TEST(ClipReduction, ChangesNoResultWhereAGateDependsOnTwoRanges) {
  // Both are summed over, and the weights keep them apart.
  constexpr Subject kTwo = {
      "windows of a joined axis", [](GraphMaker& g) {
        const auto size = [&](int64_t value) { return g.b().Int(value); };
        const Id padded = g.b().Pad(g.Input("x", {3, 11}), {size(0), size(2)},
                                    {size(0), size(3)});
        const Id x =
            g.b().Reshape(padded, {size(3), size(1), size(4), size(4)});
        const Id w = g.b().Permute(g.Input("w", {5, 4, 4}), {0, 2, 1});
        g.Output("y", g.b().Reduce(Op::kAdd, g.b().Mul(x, w), {2, 3}));
      }};
  Unchanged unchanged(kTwo);
  unchanged.Expect("clipped", ClipAll);
  for (Id range :
       InnerRanges(unchanged.arena(),
                   OnlyReduction(unchanged.arena(), unchanged.body()))) {
    unchanged.Expect("clipped in one", [&](Arena& arena, Id body) {
      const Split split =
          ClipReduction(arena, body, OnlyReduction(arena, body), range);
      return split.body == ir::kNoNode ? body : split.body;
    });
  }
}

TEST(ReorderReduction, ChangesNoResult) {
  for (const Window& window : kWindows) {
    Unchanged unchanged(window.subject);
    std::vector<Id> order = InnerRanges(
        unchanged.arena(), OnlyReduction(unchanged.arena(), unchanged.body()));
    std::sort(order.begin(), order.end());
    do {
      unchanged.Expect(absl::StrCat("first ", order[0]), [&](Arena& arena,
                                                             Id body) {
        return ReorderReduction(arena, body, OnlyReduction(arena, body), order);
      });
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST(ReorderReduction, GivesTheRangesTheirNewOrder) {
  const Unchanged unchanged(kWindows[0].subject);
  Arena& arena = unchanged.arena();
  const Id reduce = OnlyReduction(arena, unchanged.body());
  const std::vector<Id> before = InnerRanges(arena, reduce);
  ASSERT_THAT(before, SizeIs(2));
  EXPECT_EQ(ReorderReduction(arena, unchanged.body(), reduce, before),
            unchanged.body());
  const std::vector<Id> turned = {before[1], before[0]};
  const Id body = ReorderReduction(arena, unchanged.body(), reduce, turned);
  EXPECT_EQ(InnerRanges(arena, OnlyReduction(arena, body)), turned);
  EXPECT_EQ(StoreRanges(arena, body), StoreRanges(arena, unchanged.body()));
}

constexpr Subject kCostlyEpilogue = {
    "product_with_epilogue", [](GraphMaker& g) {
      const Id x = g.Input("x", {6, 5});
      const Id y = graph::MatMul(g.b(), x, g.Input("w", {5, 7}));
      g.Output("y", graph::Gelu(g.b(), g.b().Add(y, g.Input("bias", {7}))));
    }};

TEST(StageBeforeStore, ChangesNoResult) {
  Unchanged unchanged(kCostlyEpilogue);
  const std::vector<Id> store =
      StoreRanges(unchanged.arena(), unchanged.body());
  ASSERT_THAT(store, SizeIs(2));
  for (const std::vector<Id>& ranges :
       {std::vector<Id>{store[1]}, std::vector<Id>{store[0], store[1]},
        std::vector<Id>{store[1], store[0]}}) {
    unchanged.Expect(absl::StrCat(ranges.size(), " ranges"), [&](Arena& arena,
                                                                 Id body) {
      return StageBeforeStore(arena, body, OnlyReduction(arena, body), ranges);
    });
  }
}

TEST(StageBeforeStore, ChangesNoResultOfATileOfCopiesAndLanes) {
  Unchanged unchanged(kCostlyEpilogue);
  const std::vector<Id> store =
      StoreRanges(unchanged.arena(), unchanged.body());
  for (const int64_t rows : {2, 4, 8}) {
    for (const int64_t lanes : {2, 4, 8}) {
      unchanged.Expect(
          absl::StrCat(rows, " rows, ", lanes, " lanes"),
          [&](Arena& arena, Id body) {
            const Split down = SplitRange(arena, body, store[0], rows,
                                          RangeKind::kUnroll, Tail::kRepeat);
            const Split across = SplitRange(arena, down.body, store[1], lanes,
                                            RangeKind::kVector, Tail::kMask);
            std::vector<Id> order;
            if (down.outer != ir::kNoNode) order.push_back(down.outer);
            if (across.outer != ir::kNoNode) order.push_back(across.outer);
            order.insert(order.end(), {down.inner, across.inner});
            body = Reorder(arena, across.body, order);
            body = StageBeforeStore(arena, body, OnlyReduction(arena, body),
                                    {down.inner, across.inner});
            return Relabel(arena, body, down.inner, RangeKind::kSerial).body;
          });
    }
  }
}

TEST(StageBeforeStore, ReadsEverythingElseFromATile) {
  const Unchanged unchanged(kCostlyEpilogue);
  Arena& arena = unchanged.arena();
  const std::vector<Id> store = StoreRanges(arena, unchanged.body());
  const Id body =
      StageBeforeStore(arena, unchanged.body(),
                       OnlyReduction(arena, unchanged.body()), {store[1]});
  std::vector<Id> stages;
  for (Id id : ir::TopologicalOrder(arena, {body})) {
    if (arena[id].op == Op::kStage) stages.push_back(id);
  }
  ASSERT_THAT(stages, SizeIs(1)) << ir::ToText(arena, {body});
  const Id reduce = OnlyReduction(arena, body);
  ASSERT_NE(reduce, ir::kNoNode) << "the sum is there twice";
  EXPECT_EQ(arena[stages[0]].srcs[0], reduce);
  EXPECT_TRUE(arena.IsInt(arena[stages[0]].srcs[2], 7)) << "a row of sums";
  // Computed for each row, at ranges of its own.
  EXPECT_EQ(FreeRanges(arena, stages[0]), std::vector<Id>{store[0]});
  EXPECT_THAT(InnerRanges(arena, stages[0]), SizeIs(1));
  EXPECT_EQ(StoreRanges(arena, body), store);
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
