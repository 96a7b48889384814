// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/prefetch.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

#include "engine/ir/symbolic.h"
#include "engine/kernel/opts.h"
#include "engine/schedule/fuse.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::kNoNode;
using ir::Op;
using ir::RangeKind;

constexpr int64_t kLine = 64;  // Of a cache.

std::vector<Id> Below(const Arena& arena, Id root) {
  return ir::TopologicalOrder(arena, absl::MakeConstSpan(&root, 1));
}

// The step of `index` along `range`: kNoNode if it is not affine in it.
Id Step(Arena& arena, Id index, Id range) {
  return ir::AffineIn(arena, index, range).coefficient;
}

// The extent if it is known, else 0.
int64_t StaticExtent(const Arena& arena, Id range) {
  const Id extent = arena[range].srcs[0];
  return arena.IsConst(extent) ? arena.IntValue(extent) : 0;
}

// The reduction that `load` is a factor of.
Id SumOfLoad(const Arena& arena, Id body, Id load) {
  for (Id id : Below(arena, body)) {
    if (arena[id].op == Op::kReduce && ir::Contains(arena, id, load)) return id;
  }
  return kNoNode;
}

// The elements of a panel that one turn of the innermost loop asks for.
struct Share {
  Id first = kNoNode;
  int64_t count = 0;  // 0: nothing is asked for.
};

// Of a panel of `size` elements, each tile, of a number `tile` of `tiles`, asks
// for its part; `load` reads the panel that the tiles meet.
Share ShareOfTurn(Arena& arena, Id body, Id load, const Panels& panels,
                  int64_t size, Id tile, int64_t tiles) {
  // With more tiles than columns, the first one is a small part of the time.
  if (tiles < 2 || tiles > panels.width) return {};
  const Id index = arena[load].srcs[1];
  // The number of the step, without the steps that are written out inside the
  // innermost loop.
  Id step = arena.Int(0);
  int64_t steps_a_turn = 1;
  bool written_out = true;
  const std::vector<Id> steps =
      InnerRanges(arena, SumOfLoad(arena, body, load));
  for (size_t i = steps.size(); i-- > 0;) {
    written_out &= KindOf(arena, steps[i]) == RangeKind::kUnroll;
    if (written_out) {
      steps_a_turn *= StaticExtent(arena, steps[i]);
      continue;
    }
    const Id by = Step(arena, index, steps[i]);
    if (by == kNoNode || !arena.IsConst(by)) return {};
    const int64_t rows = arena.IntValue(by) / panels.width;
    step = ir::Add(arena, step, ir::Mul(arena, steps[i], arena.Int(rows)));
  }
  const int64_t part = panels.width / tiles;  // Elements for each step.
  const Id of_tile =
      ir::Mul(arena, tile, arena.Int(size / panels.width * part));
  return {ir::Add(arena, of_tile, ir::Mul(arena, step, arena.Int(part))),
          part * steps_a_turn};
}

// Where `load` is read, asks for the lines of `count` elements of `base`, of
// which the n-th stands at `position(n)`.
template <typename Position>
Id Ask(Arena& arena, Id body, Id load, Id base, int64_t count,
       Position position) {
  const int64_t line = kLine / ir::ByteSize(arena[load].dtype);
  Id asking = load;
  for (int64_t at = 0; at < count; at += line) {
    asking = arena.Make(Op::kPrefetch, arena[load].dtype,
                        {asking, base, position(at)});
  }
  return asking == load ? body : ir::Substitute(arena, body, {{load, asking}});
}

// True if `load` reads a parameter of more than the caches of a thread hold.
bool ComesFromMemory(const Arena& arena, Id load, const base::Target& target) {
  if (arena[arena[load].srcs[0]].op != Op::kParam ||
      arena[load].srcs.size() != 2) {
    return false;
  }
  double bytes = static_cast<double>(ir::ByteSize(arena[load].dtype));
  for (Id range : FreeRanges(arena, load)) {
    bytes *= schedule::EstimateSize(arena, arena[range].srcs[0]);
  }
  return bytes > static_cast<double>(target.l2_bytes);
}

// True if `id` changes from one turn of the reduction or tile `loop` to the
// next.
bool RunsIn(const Arena& arena, Id loop, Id id) {
  const std::vector<Id> free = FreeRanges(arena, id);
  const std::vector<Id> ranges = InnerRanges(arena, loop);
  return std::any_of(ranges.begin(), ranges.end(), [&](Id range) {
    return std::binary_search(free.begin(), free.end(), range);
  });
}

// The index of `load` at the next point of `row`, at its first lane.
Id IndexAtNext(Arena& arena, Id load, Id row) {
  ir::Substitution next = {{row, ir::Add(arena, row, arena.Int(1))}};
  for (Id range : FreeRanges(arena, load)) {
    if (KindOf(arena, range) == RangeKind::kVector) next[range] = arena.Int(0);
  }
  return ir::Substitute(arena, arena[load].srcs[1], next);
}

}  // namespace

Id AskForNextPanel(Arena& arena, Id body, Id load, const Panels& panels,
                   const std::vector<Id>& data) {
  int64_t tiles = 1;
  Id tile = arena.Int(0);
  for (Id range : data) {
    const int64_t extent = StaticExtent(arena, range);
    if (extent == 0) return body;
    tiles *= extent;
    tile = ir::Add(arena, ir::Mul(arena, tile, arena.Int(extent)), range);
  }
  const Id index = arena[load].srcs[1];
  const Id elements = Step(arena, index, panels.panel);
  if (elements == kNoNode || !arena.IsConst(elements)) return body;
  const Share share = ShareOfTurn(arena, body, load, panels,
                                  arena.IntValue(elements), tile, tiles);
  ir::Substitution first;  // Where the panel begins.
  for (Id range : InnerRanges(arena, SumOfLoad(arena, body, load))) {
    first[range] = arena.Int(0);
  }
  for (Id range : FreeRanges(arena, panels.inside)) first[range] = arena.Int(0);
  const Id next = ir::Add(arena, ir::Substitute(arena, index, first), elements);
  return Ask(
      arena, body, load, arena[load].srcs[0], share.count, [&](int64_t at) {
        return ir::Add(arena, next, ir::Add(arena, share.first, arena.Int(at)));
      });
}

Id AskForNextCopy(Arena& arena, Id body, Id source, const Panels& panels,
                  Id tile, int64_t tiles) {
  Id copy = kNoNode;
  Id load = kNoNode;
  for (Id id : Below(arena, body)) {
    if (arena[id].op == Op::kStage && arena[id].srcs[0] == source) {
      copy = id;
    } else if (arena[id].op == Op::kLoad && arena[id].srcs[0] == copy) {
      load = id;
    }
  }
  if (load == kNoNode || panels.panel == kNoNode) return body;
  const Id index = arena[source].srcs[1];
  ir::Substitution next = {
      {panels.panel, ir::Add(arena, panels.panel, arena.Int(1))}};
  Id step = kNoNode;
  Id apart = arena.Int(1);  // Neighbouring columns.
  for (Id range : InnerRanges(arena, copy)) {
    if (KindOf(arena, range) != RangeKind::kSerial) {
      next[range] = arena.Int(0);
      if (KindOf(arena, range) == RangeKind::kVector) {
        apart = Step(arena, index, range);
      }
    } else if (step == kNoNode) {
      step = range;
    } else {
      return body;  // No matrix.
    }
  }
  if (apart == kNoNode || step == kNoNode) return body;
  const int64_t size = StaticExtent(arena, step) * panels.width;
  const Share share = ShareOfTurn(arena, body, load, panels, size, tile, tiles);
  const Id width = arena.Int(panels.width);
  return Ask(
      arena, body, load, arena[source].srcs[0], share.count, [&](int64_t at) {
        const Id element = ir::Add(arena, share.first, arena.Int(at));
        next[step] = ir::IDiv(arena, element, width);
        return ir::Add(arena, ir::Substitute(arena, index, next),
                       ir::Mul(arena, ir::Mod(arena, element, width), apart));
      });
}

Id AskForNextRow(Arena& arena, Id body, Id row, const base::Target& target) {
  absl::flat_hash_map<Id, Id> first_loop;  // By parameter; kNoNode: asked for.
  ir::Substitution asking;
  for (Id loop : Below(arena, body)) {
    const Op op = arena[loop].op;
    if (op != Op::kReduce && op != Op::kStage) continue;
    for (Id load : Below(arena, arena[loop].srcs[0])) {
      if (arena[load].op != Op::kLoad ||
          !ComesFromMemory(arena, load, target) || !RunsIn(arena, loop, load)) {
        continue;
      }
      const Id step = Step(arena, arena[load].srcs[1], row);
      if (step == kNoNode || arena.IsInt(step, 0)) continue;
      const Id param = arena[load].srcs[0];
      const auto [first, is_new] = first_loop.try_emplace(param, loop);
      if (is_new || first->second == loop || first->second == kNoNode) continue;
      first->second = kNoNode;
      asking[load] = arena.Make(Op::kPrefetch, arena[load].dtype,
                                {load, param, IndexAtNext(arena, load, row)});
    }
  }
  return asking.empty() ? body : ir::Substitute(arena, body, asking);
}

}  // namespace quern::kernel
