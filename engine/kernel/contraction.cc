// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/contraction.h"

#include <algorithm>
#include <cmath>

#include "engine/ir/symbolic.h"
#include "engine/kernel/opts.h"
#include "engine/schedule/fuse.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;

bool AllSerial(const Arena& arena, const std::vector<Id>& ranges) {
  return std::all_of(ranges.begin(), ranges.end(), [&](Id range) {
    return KindOf(arena, range) == ir::RangeKind::kSerial;
  });
}

Id WithoutCasts(const Arena& arena, Id id) {
  while (arena[id].op == Op::kCast) id = arena[id].srcs[0];
  return id;
}

bool AddsProducts(const Arena& arena, Id id) {
  const Node& node = arena[id];
  return node.op == Op::kReduce &&
         node.attr->ints[0] == static_cast<int64_t>(Op::kAdd) &&
         arena[WithoutCasts(arena, node.srcs[0])].op == Op::kMul;
}

}  // namespace

std::optional<Contraction> Contraction::Find(Arena& arena, Id body) {
  Contraction found(arena);
  found.outputs_ = StoreRanges(arena, body);
  std::vector<Id> sorted = found.outputs_;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty() || !AllSerial(arena, sorted)) return std::nullopt;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    if (!AddsProducts(arena, id) || FreeRanges(arena, id) != sorted) continue;
    found.reduced_ = InnerRanges(arena, id);
    if (!AllSerial(arena, found.reduced_)) continue;
    found.sum_ = id;
    found.stored_ = arena[arena[body].srcs[0]].srcs[1];
    const Id product = arena[id].srcs[0];
    for (Id below :
         ir::TopologicalOrder(arena, absl::MakeConstSpan(&product, 1))) {
      if (arena[below].op != Op::kLoad) continue;
      found.factors_.push_back(below);
      found.free_[below] = FreeRanges(arena, below);
    }
    return found;
  }
  return std::nullopt;
}

bool Contraction::Depends(Id factor, Id range) const {
  const std::vector<Id>& free = free_.at(factor);
  return std::binary_search(free.begin(), free.end(), range);
}

Stride Contraction::StrideOf(Id index, Id range) const {
  const Id step = ir::AffineIn(*arena_, index, range).coefficient;
  if (step == kNoNode) return Stride::kFar;
  if (arena_->IsInt(step, 0)) return Stride::kZero;
  if (arena_->IsInt(step, 1)) return Stride::kOne;
  return arena_->IsInt(step, 2) ? Stride::kTwo : Stride::kFar;
}

Stride Contraction::StrideOfResult(Id range) const {
  return StrideOf(stored_, range);
}

Stride Contraction::StrideOfFactor(Id factor, Id range) const {
  return StrideOf((*arena_)[factor].srcs[1], range);
}

std::optional<int64_t> Contraction::StepOfFactor(Id factor, Id range) const {
  const Id step =
      ir::AffineIn(*arena_, (*arena_)[factor].srcs[1], range).coefficient;
  if (step == kNoNode || !arena_->IsConst(step)) return std::nullopt;
  return std::abs(arena_->IntValue(step));
}

double Contraction::Extent(Id range) const {
  return schedule::EstimateSize(*arena_, (*arena_)[range].srcs[0]);
}

double Contraction::Reads(Id factor) const {
  double points = 1;
  for (Id range : free_.at(factor)) points *= Extent(range);
  return points;
}

// From the first element that a factor reads to the last; infinite if an index
// is not affine.
double Contraction::Span(Id factor) const {
  double span = 1;
  for (Id range : free_.at(factor)) {
    const Id step =
        ir::AffineIn(*arena_, (*arena_)[factor].srcs[1], range).coefficient;
    if (step == kNoNode) return HUGE_VAL;
    span +=
        std::abs(schedule::EstimateSize(*arena_, step)) * (Extent(range) - 1);
  }
  return span;
}

bool Contraction::Overlaps(Id factor) const {
  return Span(factor) < Reads(factor);
}

double Contraction::Bytes(Id factor) const {
  return std::min(Reads(factor), Span(factor)) *
         static_cast<double>(ir::ByteSize((*arena_)[factor].dtype));
}

Id Contraction::RowsFor(Id columns) const {
  Id best = kNoNode;
  for (Id range : outputs_) {
    if (range == columns) continue;
    bool reused = false;
    bool reads = false;
    for (Id factor : factors_) {
      reused |= Depends(factor, columns) && !Depends(factor, range);
      reads |= Depends(factor, range);
    }
    if (reused && reads && (best == kNoNode || Extent(range) >= Extent(best))) {
      best = range;
    }
  }
  return best;
}

bool Contraction::HasConstantFactor() const {
  const Arena& arena = *arena_;
  const Id product = WithoutCasts(arena, arena[sum_].srcs[0]);
  for (Id src : arena[product].srcs) {
    const Node& factor = arena[WithoutCasts(arena, src)];
    if (factor.op == Op::kLoad && arena[factor.srcs[0]].op == Op::kConstArray) {
      return true;
    }
  }
  return false;
}

}  // namespace quern::kernel
