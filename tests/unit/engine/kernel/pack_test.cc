// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/pack.h"

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/ir/symbolic.h"
#include "engine/ir/text.h"
#include "engine/kernel/opts.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::kNoNode;
using ir::RangeKind;
using schedule::BufferDecl;
using support::GraphMaker;
using ::testing::SizeIs;

// A graph of one kernel with one body, some of whose parameters are packed.
class Subject {
 public:
  // The oracle's result is that of `size` for what is free.
  explicit Subject(void (*make)(GraphMaker& g), int64_t size = 0) {
    GraphMaker g;
    make(g);
    graph_ = *g.Finish();
    cut_ = *support::Cut(graph_);
    EXPECT_THAT(cut_.schedule.kernels, SizeIs(1));
    inputs_ = support::InputsFor(graph_, size, 3);
    body_ = cut_.schedule.kernels[0].bodies[0];
  }

  Arena& arena() { return *cut_.arena; }
  [[nodiscard]] Id body() const { return body_; }

  // The parameter that holds weights.
  int WeightParam() {
    const std::vector<int>& buffers = OnlyLaunch().buffers;
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (cut_.schedule.buffers[buffers[i]].kind == BufferDecl::Kind::kWeight) {
        return static_cast<int>(i);
      }
    }
    ADD_FAILURE() << "no weights";
    return 0;
  }

  Id WeightLoad(Id body) { return OnlyLoadOf(arena(), body, WeightParam()); }

  // The range of `body` along which the weights advance by `step`.
  Id RangeOfStep(Id body, int64_t step) {
    const Id index = arena()[WeightLoad(body)].srcs[1];
    for (Id range : FreeRanges(arena(), index)) {
      const Id by = ir::AffineIn(arena(), index, range).coefficient;
      if (by != kNoNode && arena().IsInt(by, step)) return range;
    }
    ADD_FAILURE() << "no range of step " << step << "\n"
                  << ir::ToText(arena(), {body});
    return kNoNode;
  }

  // The values of the weights as they lie in memory.
  std::vector<int64_t> Weights() {
    const graph::Weight& weight = graph_.weights[0];
    return ref::TensorOf(ir::DType::kF32, weight.dims,
                         {weight.data.data(), weight.data.size()})
        ->bits;
  }

  // What the body of `pack` writes.
  std::vector<int64_t> Packed(const Pack& pack) {
    support::CutGraph cut = WithCopy(pack, BufferDecl::Kind::kOutput);
    for (BufferDecl& decl : cut.schedule.buffers) {
      if (&decl != &cut.schedule.buffers.back() &&
          decl.kind == BufferDecl::Kind::kOutput) {
        decl.kind = BufferDecl::Kind::kTemporary;
      }
    }
    cut.schedule.steps.pop_back();
    const auto results = Run(cut, [](Arena&, Id body) { return body; });
    return results.empty() ? std::vector<int64_t>() : results[0].bits;
  }

  // Expects of `body`, which reads the copy, what the oracle says.
  void ExpectRight(const Pack& pack, Id body) {
    const auto oracle = ref::EvaluateGraph(graph_, inputs_);
    ASSERT_TRUE(oracle.ok()) << oracle.status();
    support::CutGraph cut = WithCopy(pack, BufferDecl::Kind::kTemporary);
    const auto results =
        Run(cut, [&](Arena&, Id each) { return each == body_ ? body : each; });
    ASSERT_THAT(results, SizeIs(1));
    ref::Tensor flat = (*oracle)[0];
    flat.dims = results[0].dims;
    EXPECT_EQ(support::Difference(flat, results[0], 1e-6), "")
        << ir::ToText(arena(), {body});
  }

 private:
  schedule::Launch& OnlyLaunch() {
    return std::get<schedule::Launch>(cut_.schedule.steps[0]);
  }

  // The schedule with a launch that packs before the only other one, which
  // reads the copy. It borrows the arena.
  support::CutGraph WithCopy(const Pack& pack, BufferDecl::Kind kind) {
    support::CutGraph cut;
    cut.input_dims = cut_.input_dims;
    cut.schedule = cut_.schedule;
    schedule::Schedule& schedule = cut.schedule;
    const int copy = static_cast<int>(schedule.buffers.size());
    BufferDecl decl;
    decl.kind = kind;
    decl.dtype = pack.dtype;
    decl.elements = arena().Int(pack.elements);
    schedule.buffers.push_back(decl);
    schedule::Kernel kernel;
    kernel.name = "pack";
    kernel.params = {{pack.dtype, true}, {pack.dtype, false}};
    kernel.bodies = {pack.body};
    schedule.kernels.push_back(kernel);
    schedule::Launch reader = OnlyLaunch();
    schedule::Launch packing = reader;
    packing.kernel = 1;
    packing.buffers = {copy, reader.buffers[pack.param]};
    reader.buffers[pack.param] = copy;
    schedule.steps = {packing, reader};
    return cut;
  }

  std::vector<ref::Tensor> Run(support::CutGraph& cut,
                               const support::BodyScheduler& scheduler) {
    base::Target target;
    target.vector_bytes = 16;
    cut.arena = std::move(cut_.arena);
    const auto results =
        support::RunCut(cut, graph_, inputs_, target, scheduler);
    cut_.arena = std::move(cut.arena);
    EXPECT_TRUE(results.ok()) << results.status();
    return results.ok() ? *results : std::vector<ref::Tensor>();
  }

  graph::Graph graph_;
  support::CutGraph cut_;
  std::vector<ref::Tensor> inputs_;
  Id body_ = kNoNode;
};

// A body whose columns are split into panels.
struct Paneled {
  Id body = kNoNode;
  Panels panels;
};

// Splits `columns` into panels of `vectors` x `lanes`.
Paneled SplitColumns(Arena& arena, Id body, Id columns, int64_t vectors,
                     int64_t lanes) {
  Paneled out;
  out.panels.width = vectors * lanes;
  out.panels.count = arena.IntValue(arena[columns].srcs[0]);
  Split split = SplitRange(arena, body, columns, out.panels.width,
                           RangeKind::kSerial, Tail::kMask);
  out.panels.panel = split.outer;
  split = SplitRange(arena, split.body, split.inner, lanes, RangeKind::kVector,
                     Tail::kMask);
  out.panels.inside = split.inner;
  if (split.outer != kNoNode) {
    const Id lane = split.inner;
    split = Relabel(arena, split.body, split.outer, RangeKind::kUnroll);
    out.panels.inside =
        ir::Add(arena, ir::Mul(arena, split.inner, arena.Int(lanes)), lane);
  }
  out.body = split.body;
  return out;
}

constexpr int64_t kDepth = 7;
constexpr int64_t kColumns = 5;

void Product(GraphMaker& g) {
  const Id w = g.Weight({kDepth, kColumns});
  g.Output("y", graph::MatMul(g.b(), g.Input("x", {6, kDepth}), w));
}

void TransposedProduct(GraphMaker& g) {
  const Id w = graph::Transpose(g.b(), g.Weight({kColumns, kDepth}));
  g.Output("y", graph::MatMul(g.b(), g.Input("x", {6, kDepth}), w));
}

// The weights of a product by panel, step and column, zeros past the last.
std::vector<int64_t> PanelsOf(const std::vector<int64_t>& weights,
                              int64_t row_step, int64_t column_step,
                              int64_t width) {
  std::vector<int64_t> out;
  for (int64_t panel = 0; panel * width < kColumns; ++panel) {
    for (int64_t k = 0; k < kDepth; ++k) {
      for (int64_t i = 0; i < width; ++i) {
        const int64_t column = panel * width + i;
        out.push_back(column < kColumns
                          ? weights[k * row_step + column * column_step]
                          : 0);
      }
    }
  }
  return out;
}

TEST(ReadPacked, PutsTheColumnsOfATileSideBySide) {
  struct Factor {
    void (*make)(GraphMaker& g);
    int64_t row_step, column_step;
  };
  struct Width {
    int64_t vectors, lanes;
  };
  for (const Factor& factor :
       {Factor{Product, kColumns, 1}, Factor{TransposedProduct, 1, kDepth}}) {
    for (const Width& width : {Width{1, 2}, Width{1, 4}, Width{2, 2},
                               Width{1, 8}, Width{2, 4}, Width{3, 2}}) {
      SCOPED_TRACE(absl::StrCat("column step ", factor.column_step, ", ",
                                width.vectors, " vectors of ", width.lanes));
      Subject s(factor.make);
      const Id steps = s.RangeOfStep(s.body(), factor.row_step);
      const Paneled paneled = SplitColumns(
          s.arena(), s.body(), s.RangeOfStep(s.body(), factor.column_step),
          width.vectors, width.lanes);
      Pack pack;
      const Id body =
          ReadPacked(s.arena(), paneled.body, s.WeightLoad(paneled.body),
                     /*outer=*/{}, paneled.panels, {steps}, &pack);
      ASSERT_NE(body, kNoNode);
      const std::vector<int64_t> expected =
          PanelsOf(s.Weights(), factor.row_step, factor.column_step,
                   width.vectors * width.lanes);
      EXPECT_EQ(pack.param, s.WeightParam());
      EXPECT_EQ(pack.dtype, ir::DType::kF32);
      EXPECT_EQ(pack.elements, static_cast<int64_t>(expected.size()));
      EXPECT_EQ(s.Packed(pack), expected) << ir::ToText(s.arena(), {pack.body});
      s.ExpectRight(pack, body);
      // Whatever lies there is read: no gate, columns one after the other.
      const Id load = s.WeightLoad(body);
      ASSERT_THAT(s.arena()[load].srcs, SizeIs(2));
      const Id lane = [&] {
        for (Id range : FreeRanges(s.arena(), load)) {
          if (KindOf(s.arena(), range) == RangeKind::kVector) return range;
        }
        return kNoNode;
      }();
      ASSERT_NE(lane, kNoNode);
      EXPECT_TRUE(s.arena().IsInt(
          ir::AffineIn(s.arena(), s.arena()[load].srcs[1], lane).coefficient,
          1));
    }
  }
}

constexpr int64_t kGroups = 2;
constexpr int64_t kFilters = 3;  // Of a group.
constexpr int64_t kChannels = 5;
constexpr int64_t kTaps = 2;

void GroupedConvolution(GraphMaker& g) {
  const Id x = g.Input("x", {1, kGroups * kChannels, 6});
  const Id w = g.Weight({kGroups * kFilters, kChannels, kTaps});
  g.Output("y", graph::Convolution(g.b(), x, w, kNoNode, kGroups, {}));
}

TEST(ReadPacked, KeepsGroupsApartAndStepsInTheirOrder) {
  for (const bool taps_first : {false, true}) {
    SCOPED_TRACE(taps_first);
    Subject s(GroupedConvolution);
    const Id filters = s.RangeOfStep(s.body(), kChannels * kTaps);
    const Id channels = s.RangeOfStep(s.body(), kTaps);
    const Id taps = s.RangeOfStep(s.body(), 1);
    const Split groups = SplitRange(s.arena(), s.body(), filters, kFilters,
                                    RangeKind::kSerial, Tail::kMask);
    const Paneled paneled =
        SplitColumns(s.arena(), groups.body, groups.inner, 1, 4);
    EXPECT_EQ(paneled.panels.panel, kNoNode);
    Pack pack;
    const Id body =
        ReadPacked(s.arena(), paneled.body, s.WeightLoad(paneled.body),
                   {groups.outer}, paneled.panels,
                   taps_first ? std::vector<Id>{taps, channels}
                              : std::vector<Id>{channels, taps},
                   &pack);
    ASSERT_NE(body, kNoNode);
    const std::vector<int64_t> weights = s.Weights();
    std::vector<int64_t> expected;
    for (int64_t group = 0; group < kGroups; ++group) {
      for (int64_t step = 0; step < kChannels * kTaps; ++step) {
        const int64_t channel = taps_first ? step % kChannels : step / kTaps;
        const int64_t tap = taps_first ? step / kChannels : step % kTaps;
        for (int64_t i = 0; i < 4; ++i) {
          const int64_t filter = group * kFilters + i;
          const int64_t at = (filter * kChannels + channel) * kTaps + tap;
          expected.push_back(i < kFilters ? weights[at] : 0);
        }
      }
    }
    EXPECT_EQ(s.Packed(pack), expected) << ir::ToText(s.arena(), {pack.body});
    s.ExpectRight(pack, body);
  }
}

TEST(ReadPacked, RefusesAnExtentThatIsNotKnown) {
  Subject s(
      [](GraphMaker& g) {
        const Id n = g.b().Var("n", 1, 100);
        const Id x = g.SizedInput("x", {n, g.b().Int(kDepth)});
        const Id w = g.Weight({kDepth, kColumns});
        g.Output("y", graph::MatMul(g.b(), x, w));
      },
      4);
  const Id rows = StoreRanges(s.arena(), s.body())[0];
  ASSERT_FALSE(s.arena().IsConst(s.arena()[rows].srcs[0]));
  const Paneled paneled =
      SplitColumns(s.arena(), s.body(), s.RangeOfStep(s.body(), 1), 1, 4);
  const Id steps = s.RangeOfStep(s.body(), kColumns);
  Pack pack;
  EXPECT_EQ(ReadPacked(s.arena(), paneled.body, s.WeightLoad(paneled.body),
                       {rows}, paneled.panels, {steps}, &pack),
            kNoNode);
  // The other ranges are known.
  const Id body =
      ReadPacked(s.arena(), paneled.body, s.WeightLoad(paneled.body), {},
                 paneled.panels, {steps}, &pack);
  ASSERT_NE(body, kNoNode);
  s.ExpectRight(pack, body);
}

TEST(OnlyLoadOf, IsNoneWhereAParameterIsReadTwiceOrNever) {
  Subject s([](GraphMaker& g) {
    const Id w = g.Weight({4, 4});
    g.Output("y", g.b().Add(w, g.b().Add(graph::Transpose(g.b(), w),
                                         g.Input("x", {4, 4}))));
  });
  EXPECT_EQ(s.WeightLoad(s.body()), kNoNode);
  EXPECT_EQ(OnlyLoadOf(s.arena(), s.body(), 99), kNoNode);
  const int other = s.WeightParam() == 1 ? 2 : 1;
  const Id load = OnlyLoadOf(s.arena(), s.body(), other);
  ASSERT_NE(load, kNoNode);
  EXPECT_EQ(s.arena()[load].op, ir::Op::kLoad);
}

}  // namespace
}  // namespace quern::kernel
