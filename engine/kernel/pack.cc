// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/pack.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "engine/ir/symbolic.h"
#include "engine/kernel/opts.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Op;

Id Param(Arena& arena, DType dtype, int64_t number) {
  return arena.Make(Op::kParam, dtype, {}, ir::Attr{{number}, {}});
}

// The axes of a packed copy, the contiguous one last.
class Copy {
 public:
  explicit Copy(Arena& arena) : arena_(arena) {}

  // Adds an axis that is read at `index`; returns the range that writes it.
  Id Axis(Id index, Id extent) {
    const Id range =
        arena_.Make(Op::kRange, DType::kWeakInt, {extent},
                    ir::Attr{{static_cast<int64_t>(ranges_.size()), 0}, {}});
    ranges_.push_back(range);
    read_ = ir::Add(arena_, ir::Mul(arena_, read_, extent), index);
    written_ = ir::Add(arena_, ir::Mul(arena_, written_, extent), range);
    elements_ = ir::Mul(arena_, elements_, extent);
    return range;
  }

  Id read() const { return read_; }
  Id written() const { return written_; }
  Id elements() const { return elements_; }
  const std::vector<Id>& ranges() const { return ranges_; }

 private:
  Arena& arena_;
  std::vector<Id> ranges_;
  Id read_ = arena_.Int(0);
  Id written_ = arena_.Int(0);
  Id elements_ = arena_.Int(1);
};

// `ranges` so that the original is read in the order in which it lies: those
// with long steps outside. The last of them, the lanes of the copy, stays.
std::vector<Id> AsItLies(Arena& arena, Id position, std::vector<Id> ranges) {
  const auto step = [&](Id range) {
    const Id by = ir::AffineIn(arena, position, range).coefficient;
    return by != kNoNode && arena.IsConst(by) ? std::abs(arena.IntValue(by))
                                              : INT64_MAX;
  };
  std::stable_sort(ranges.begin(), ranges.end() - 1,
                   [&](Id a, Id b) { return step(a) > step(b); });
  return ranges;
}

}  // namespace

Id OnlyLoadOf(const Arena& arena, Id body, int param) {
  Id found = kNoNode;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    const ir::Node& node = arena[id];
    if (node.op != Op::kLoad) continue;
    const ir::Node& base = arena[node.srcs[0]];
    if (base.op != Op::kParam || base.attr->ints[0] != param) continue;
    if (found != kNoNode) return kNoNode;
    found = id;
  }
  return found;
}

Id ReadPacked(Arena& arena, Id body, Id load, const std::vector<Id>& outer,
              const Panels& panels, const std::vector<Id>& steps, Pack* pack) {
  const Id base = arena[load].srcs[0];
  const Id position = arena[load].srcs[1];
  const DType dtype = arena[load].dtype;
  Copy copy(arena);
  ir::Substitution original;
  const auto axis = [&](Id range) {
    original[range] = copy.Axis(range, arena[range].srcs[0]);
  };
  for (Id range : outer) axis(range);
  Id column = arena.Int(0);
  if (panels.panel != kNoNode) {
    axis(panels.panel);
    column = ir::Mul(arena, original[panels.panel], arena.Int(panels.width));
  }
  for (Id range : steps) axis(range);
  const Id inside = copy.Axis(panels.inside, arena.Int(panels.width));
  column = ir::Add(arena, column, inside);
  if (!arena.IsConst(copy.elements())) return kNoNode;

  // Inside a panel the ranges of the columns are one in the copy.
  for (Id range : FreeRanges(arena, panels.inside)) {
    original[range] = arena.Int(0);
  }
  const Id first = ir::Substitute(arena, position, original);
  const Id step = [&] {
    // The distance of neighbouring columns in the original.
    ir::Substitution next = original;
    for (Id range : FreeRanges(arena, panels.inside)) {
      const Id by = ir::AffineIn(arena, panels.inside, range).coefficient;
      if (by != kNoNode && arena.IsInt(by, 1)) next[range] = arena.Int(1);
    }
    return ir::Sub(arena, ir::Substitute(arena, position, next), first);
  }();
  std::vector<Id> srcs = {Param(arena, dtype, 1),
                          ir::Add(arena, first, ir::Mul(arena, step, inside))};
  if (panels.count % panels.width != 0) {
    srcs.push_back(ir::Less(arena, column, arena.Int(panels.count)));
  }
  const Id value = arena.Make(Op::kLoad, dtype, srcs);
  const Id store = arena.Make(Op::kStore, dtype,
                              {Param(arena, dtype, 0), copy.written(), value});
  std::vector<Id> sink = {store};
  const std::vector<Id> loops = AsItLies(arena, first, copy.ranges());
  sink.insert(sink.end(), loops.begin(), loops.end());
  pack->param = static_cast<int>(arena[base].attr->ints[0]);
  pack->body = arena.Make(Op::kSink, dtype, sink, ir::Attr{{1}, {}});
  pack->dtype = dtype;
  pack->elements = arena.IntValue(copy.elements());

  const Id packed = arena.Make(Op::kLoad, dtype, {base, copy.read()});
  return ir::Substitute(arena, body, {{load, packed}});
}

Id PackByChunks(Arena& arena, Id body, Id load, const Panels& panels,
                std::vector<Id> steps) {
  const std::vector<Id> columns = FreeRanges(arena, panels.inside);
  for (ir::RangeKind kind : {ir::RangeKind::kUnroll, ir::RangeKind::kVector}) {
    for (Id range : columns) {
      if (KindOf(arena, range) == kind) steps.push_back(range);
    }
  }
  return StageBeforeStore(arena, body, load, steps);
}

}  // namespace quern::kernel
