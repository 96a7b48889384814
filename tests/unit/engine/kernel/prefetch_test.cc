// SPDX-License-Identifier: Apache-2.0
//
// What is asked for at a point of a chunk is what the next one reads: the lines
// of both are counted out.
#include "engine/kernel/prefetch.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "backends/null/null_backend.h"
#include "engine/graph/contraction.h"
#include "engine/graph/reduction.h"
#include "engine/ir/symbolic.h"
#include "engine/kernel/opts.h"
#include "engine/kernel/tile_cpu.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::Op;
using ir::RangeKind;
using support::GraphMaker;

constexpr int64_t kFloatsOfLine = 16;

// A body scheduled for AVX-512, of a graph of one kernel.
class Scheduled {
 public:
  explicit Scheduled(const absl::StatusOr<graph::Graph>& graph,
                     const std::vector<bool>& at_load = {})
      : cut_(*support::Cut(*graph)) {
    EXPECT_EQ(cut_.schedule.kernels.size(), 1u);
    body_ = TileForCpu(arena(), cut_.schedule.kernels[0].bodies[0],
                       null::MakeTarget(null::Shape::kAvx512), /*shrink=*/0,
                       at_load)
                .bodies[0];
    for (Id id : ir::TopologicalOrder(arena(), {body_})) {
      if (arena()[id].op == Op::kPrefetch) asking_.push_back(id);
    }
  }

  // Of the lines that loads read at `next`, the share that is asked for at
  // `now`, both values of the chunk range along which they read; and the lines
  // asked for in vain.
  std::pair<double, size_t> AskedFor(int64_t now, int64_t next) {
    std::set<int64_t> asked;
    std::set<int64_t> read;
    for (Id id : asking_) AddLines(arena()[id].srcs[2], id, now, asked);
    for (Id id : ir::TopologicalOrder(arena(), {body_})) {
      if (arena()[id].op == Op::kLoad &&
          arena()[id].srcs[0] == arena()[asking_.at(0)].srcs[1]) {
        AddLines(arena()[id].srcs[1], id, next, read);
      }
    }
    size_t hits = 0;
    for (int64_t line : read) hits += asked.contains(line) ? 1 : 0;
    return {static_cast<double>(hits) / static_cast<double>(read.size()),
            asked.size() - hits};
  }

 private:
  Arena& arena() { return *cut_.arena; }

  // The lines of all points of `index` where the chunk range of what `id` reads
  // is `chunk`.
  void AddLines(Id index, Id id, int64_t chunk, std::set<int64_t>& lines) {
    ir::Substitution point;
    Id load = id;
    while (arena()[load].op == Op::kPrefetch) load = arena()[load].srcs[0];
    std::vector<Id> fixed = FreeRanges(arena(), arena()[load].srcs[1]);
    // A tile of the chunk's own is filled at its panel.
    if (const Id base = arena()[load].srcs[0]; arena()[base].op == Op::kStage) {
      fixed = FreeRanges(arena(), base);
    }
    for (Id range : FreeRanges(arena(), index)) {
      if (KindOf(arena(), range) == RangeKind::kGrid &&
          std::binary_search(fixed.begin(), fixed.end(), range)) {
        point[range] = arena().Int(chunk);
      }
    }
    AddPoints(ir::Substitute(arena(), index, point), lines);
  }

  void AddPoints(Id index, std::set<int64_t>& lines) {
    if (arena().IsConst(index)) {
      lines.insert(arena().IntValue(index) / kFloatsOfLine);
      return;
    }
    const Id range = FreeRanges(arena(), index).back();
    const int64_t extent = arena()[arena()[range].srcs[0]].greatest;
    for (int64_t i = 0; i < extent; ++i) {
      AddPoints(ir::Substitute(arena(), index, {{range, arena().Int(i)}}),
                lines);
    }
  }

  support::CutGraph cut_;
  Id body_ = ir::kNoNode;
  std::vector<Id> asking_;
};

graph::Graph Product(int64_t rows, int64_t steps, int64_t columns,
                     bool weights) {
  GraphMaker g;
  const Id b =
      weights ? g.Weight({steps, columns}) : g.Input("b", {steps, columns});
  g.Output("y", graph::MatMul(g.b(), g.Input("a", {rows, steps}), b));
  return *g.Finish();
}

TEST(Prefetch, AsksForTheNextPanelOfWeights) {
  // With many tiles a line at each turn, with few several.
  for (int64_t rows : {128, 24}) {
    SCOPED_TRACE(rows);
    Scheduled scheduled(Product(rows, 768, 768, true), {false, false, true});
    const auto [share, in_vain] = scheduled.AskedFor(3, 4);
    EXPECT_EQ(share, 1);
    EXPECT_EQ(in_vain, 0u);
  }
}

TEST(Prefetch, AsksForWhatTheNextPanelIsCopiedFrom) {
  Scheduled scheduled(Product(1040, 256, 528, false), {false, false, false});
  const auto [share, in_vain] = scheduled.AskedFor(3, 4);
  EXPECT_GT(share, 0.9);  // Columns that are no multiple of the tiles are left.
  EXPECT_EQ(in_vain, 0u);
}

TEST(Prefetch, AsksForTheNextRow) {
  GraphMaker g;
  g.Output("y", graph::Softmax(g.b(), g.Input("x", {4096, 1024}), {1}));
  Scheduled scheduled(g.Finish());
  const auto [share, in_vain] = scheduled.AskedFor(7, 8);
  EXPECT_EQ(share, 1);
  EXPECT_EQ(in_vain, 0u);
}

}  // namespace
}  // namespace quern::kernel
