// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/opts.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Attr;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;
using ir::RangeKind;

// Position of the first range among the operands of a node that closes
// ranges; the number of operands for the others.
size_t FirstRange(const Node& node) {
  switch (node.op) {
    case Op::kReduce:
      return 1;
    case Op::kStage:
      return 3;
    case Op::kSink:
      return static_cast<size_t>(node.attr->ints[0]);
    default:
      return node.srcs.size();
  }
}

// Rebuilds a body with `range` replaced by `value` wherever it is an index and
// by `ranges` wherever it is closed. `mask`, if any, is the condition under
// which points exist: what depends on all of `masked` (among `ranges`) needs
// it.
class Replacer {
 public:
  Replacer(Arena& arena, Id range, Id value, std::vector<Id> ranges)
      : arena_(arena),
        range_(range),
        value_(value),
        ranges_(std::move(ranges)) {}

  void MaskWith(Id mask, std::vector<Id> masked) {
    mask_ = mask;
    masked_ = std::move(masked);
  }

  Id Run(Id body) {
    done_[range_] = value_;
    const std::vector<Id> roots = {body};
    for (Id id : ir::TopologicalOrder(arena_, roots)) {
      if (!done_.contains(id)) done_[id] = Rebuilt(id);
    }
    return done_.at(body);
  }

 private:
  Id Rebuilt(Id id) {
    const Node node = arena_[id];
    const size_t first = FirstRange(node);
    std::vector<Id> srcs;
    bool closes = false;
    for (size_t i = 0; i < node.srcs.size(); ++i) {
      if (i >= first && node.srcs[i] == range_) {
        srcs.insert(srcs.end(), ranges_.begin(), ranges_.end());
        closes = true;
      } else {
        srcs.push_back(done_.at(node.srcs[i]));
      }
    }
    if (mask_ != kNoNode) Mask(node, closes, srcs);
    return ir::WithSources(arena_, id, srcs);
  }

  void Mask(const Node& node, bool closes, std::vector<Id>& srcs) {
    if (node.op == Op::kReduce && closes) {
      const Id identity = Identity(node);
      srcs[0] = arena_.Make(Op::kWhere, node.dtype, {mask_, srcs[0], identity});
    } else if (node.op == Op::kStage && closes) {
      // Points past the end land behind the row; the last row needs room.
      srcs[2] = ir::Add(arena_, srcs[2], arena_[masked_.back()].srcs[0]);
    } else if (node.op == Op::kLoad && DependsOnMasked(srcs[1])) {
      AddGate(srcs, 2);
    } else if (node.op == Op::kStore && DependsOnMasked(srcs[1])) {
      AddGate(srcs, 3);
    }
  }

  // Free in the index, not closed inside it: an index may be data that a
  // reduction of its own computes.
  bool DependsOnMasked(Id index) {
    for (Id range : masked_) {
      if (!ir::Contains(arena_, index, range)) return false;
    }
    const std::vector<Id> free = FreeRanges(arena_, index);
    return std::all_of(masked_.begin(), masked_.end(), [&](Id range) {
      return std::binary_search(free.begin(), free.end(), range);
    });
  }

  void AddGate(std::vector<Id>& srcs, size_t at) {
    if (srcs.size() > at) {
      srcs[at] = ir::And(arena_, srcs[at], mask_);
    } else {
      srcs.push_back(mask_);
    }
  }

  Id Identity(const Node& reduce) {
    const DType dtype = reduce.dtype;
    const Op op = static_cast<Op>(reduce.attr->ints[0]);
    return arena_.Make(Op::kConst, dtype, {},
                       Attr{{ir::IdentityOf(op, dtype).bits}, {}});
  }

  Arena& arena_;
  Id range_;
  Id value_;
  std::vector<Id> ranges_;
  Id mask_ = kNoNode;
  std::vector<Id> masked_;
  absl::flat_hash_map<Id, Id> done_;
};

std::vector<Id> AllRanges(const Arena& arena, Id body) {
  std::vector<Id> ranges;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    if (arena[id].op == Op::kRange) ranges.push_back(id);
  }
  return ranges;
}

int64_t NextNumber(const Arena& arena, Id body) {
  int64_t next = 0;
  for (Id range : AllRanges(arena, body)) {
    next = std::max(next, arena[range].attr->ints[0] + 1);
  }
  return next;
}

Id MakeRange(Arena& arena, Id extent, int64_t number, RangeKind kind) {
  return arena.Make(Op::kRange, DType::kWeakInt, {extent},
                    Attr{{number, static_cast<int64_t>(kind)}, {}});
}

// The number of quotients and remainders below `body`.
int CountDivisions(const Arena& arena, Id body) {
  int count = 0;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    const Node& node = arena[id];
    if ((node.op == Op::kIDiv || node.op == Op::kMod) &&
        node.dtype == DType::kWeakInt) {
      ++count;
    }
  }
  return count;
}

// Joins `outer` and `inner`, neighbours in one list, if that needs no new
// division; kNoNode otherwise.
Id Merged(Arena& arena, Id body, Id outer, Id inner) {
  const Id a = arena[outer].srcs[0];
  const Id b = arena[inner].srcs[0];
  if (arena[a].op != Op::kConst && ir::Contains(arena, a, inner)) {
    return kNoNode;
  }
  const Id joined = MakeRange(arena, ir::Mul(arena, a, b),
                              NextNumber(arena, body), RangeKind::kSerial);
  const int before = CountDivisions(arena, body);
  // The inner range disappears from its list, the outer one becomes the joint.
  Id result = Replacer(arena, inner, ir::Mod(arena, joined, b), {}).Run(body);
  result =
      Replacer(arena, outer, ir::IDiv(arena, joined, b), {joined}).Run(result);
  return CountDivisions(arena, result) <= before ? result : kNoNode;
}

// Nodes that close ranges, users before operands.
std::vector<Id> Closers(const Arena& arena, Id body) {
  std::vector<Id> out;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    const Op op = arena[id].op;
    if (op == Op::kReduce || op == Op::kStage || op == Op::kSink) {
      out.push_back(id);
    }
  }
  std::reverse(out.begin(), out.end());
  return out;
}

Id MergeOnce(Arena& arena, Id body) {
  for (Id closer : Closers(arena, body)) {
    const Node node = arena[closer];
    const size_t first = FirstRange(node);
    const std::vector<Id> ranges(node.srcs.begin() + first, node.srcs.end());
    for (size_t i = 0; i + 1 < ranges.size(); ++i) {
      const Id merged = Merged(arena, body, ranges[i], ranges[i + 1]);
      if (merged != kNoNode) return merged;
    }
  }
  return kNoNode;
}

// Numbers the ranges 0, 1, 2, ... by stores first, then in order of use.
Id Renumbered(Arena& arena, Id body) {
  std::vector<Id> order = StoreRanges(arena, body);
  for (Id closer : Closers(arena, body)) {
    const std::vector<Id> inner = InnerRanges(arena, closer);
    for (Id range : inner) {
      if (std::find(order.begin(), order.end(), range) == order.end()) {
        order.push_back(range);
      }
    }
  }
  // All at once, so that no two ranges ever share a number. An extent may hold
  // ranges, which have smaller ids than its own.
  ir::Substitution renamed;
  std::vector<Id> by_id = order;
  std::sort(by_id.begin(), by_id.end());
  for (Id old : by_id) {
    const int64_t number =
        std::find(order.begin(), order.end(), old) - order.begin();
    const Id extent = ir::Substitute(arena, arena[old].srcs[0], renamed);
    renamed[old] = MakeRange(arena, extent, number, KindOf(arena, old));
  }
  return ir::Substitute(arena, body, renamed);
}

}  // namespace

RangeKind KindOf(const Arena& arena, Id range) {
  return static_cast<RangeKind>(arena[range].attr->ints[1]);
}

std::vector<Id> InnerRanges(const Arena& arena, Id node) {
  const absl::Span<const Id> srcs = arena[node].srcs;
  return {srcs.begin() + FirstRange(arena[node]), srcs.end()};
}

std::vector<Id> StoreRanges(const Arena& arena, Id body) {
  return InnerRanges(arena, body);
}

std::vector<Id> FreeRanges(const Arena& arena, Id id) {
  const std::vector<Id> order =
      ir::TopologicalOrder(arena, absl::MakeConstSpan(&id, 1));
  absl::flat_hash_map<Id, std::vector<Id>> free;
  for (Id node_id : order) {
    const Node& node = arena[node_id];
    std::vector<Id>& own = free[node_id];
    if (node.op == Op::kRange) {
      own = free[node.srcs[0]];
      own.push_back(node_id);
    } else {
      const size_t first = FirstRange(node);
      for (size_t i = 0; i < node.srcs.size(); ++i) {
        const std::vector<Id>& below = free[node.srcs[i]];
        own.insert(own.end(), below.begin(), below.end());
      }
      for (size_t i = first; i < node.srcs.size(); ++i) {
        own.erase(std::remove(own.begin(), own.end(), node.srcs[i]), own.end());
      }
    }
    std::sort(own.begin(), own.end());
    own.erase(std::unique(own.begin(), own.end()), own.end());
  }
  return free[id];
}

Split SplitRange(Arena& arena, Id body, Id range, int64_t factor,
                 RangeKind inner_kind, Tail tail) {
  const Id extent = arena[range].srcs[0];
  const Id f = arena.Int(factor);
  const bool divides = arena.IsInt(ir::Mod(arena, extent, f), 0);
  const Id blocks = ir::CeilDiv(arena, extent, f);
  const int64_t number = NextNumber(arena, body);
  Split out;
  Id base = arena.Int(0);
  std::vector<Id> ranges;
  if (!arena.IsInt(blocks, 1)) {
    out.outer = MakeRange(arena, blocks, arena[range].attr->ints[0],
                          KindOf(arena, range));
    base = ir::Mul(arena, out.outer, f);
    ranges.push_back(out.outer);
  }
  Id inner_extent = f;
  if (!divides && tail == Tail::kShort) {
    inner_extent = ir::Min(arena, f, ir::Sub(arena, extent, base));
  }
  out.inner = MakeRange(arena, inner_extent, number, inner_kind);
  ranges.push_back(out.inner);
  Id value = ir::Add(arena, base, out.inner);
  const Id mask = ir::Less(arena, value, extent);
  if (!divides && tail == Tail::kRepeat) {
    const Id last = ir::Sub(arena, extent, f);
    value = ir::ProvablyLess(arena, arena.Int(-1), last)
                ? ir::Add(arena, ir::Min(arena, base, last), out.inner)
                : ir::Min(arena, value, ir::Sub(arena, extent, arena.Int(1)));
  }
  Replacer replacer(arena, range, value, ranges);
  if (!divides && tail == Tail::kMask) replacer.MaskWith(mask, {out.inner});
  out.body = replacer.Run(body);
  return out;
}

namespace {

// `range` + shift is divided by `factor` in some index.
struct Quotient {
  Id range = kNoNode;
  int64_t factor = 0;
  int64_t shift = 0;  // In [0, factor).
};

// The smallest divisor of a range of the stores; kNoNode if there is none.
Quotient SmallestQuotient(Arena& arena, Id body) {
  Quotient best;
  const std::vector<Id> ranges = StoreRanges(arena, body);
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    const Node& node = arena[id];
    if ((node.op != Op::kIDiv && node.op != Op::kMod) ||
        node.dtype != DType::kWeakInt || !arena.IsConst(node.srcs[1])) {
      continue;
    }
    const Id dividend = node.srcs[0];
    const int64_t factor = arena.IntValue(node.srcs[1]);
    const std::vector<Id> free = FreeRanges(arena, dividend);
    // Every remainder occurs, so that none needs a gate.
    if (free.size() != 1 || factor < 2 ||
        (best.range != kNoNode && factor >= best.factor) ||
        std::find(ranges.begin(), ranges.end(), free[0]) == ranges.end() ||
        arena[arena[free[0]].srcs[0]].least < factor) {
      continue;
    }
    const Id shift = ir::Sub(arena, dividend, free[0]);
    if (arena.IsConst(shift) && arena.IntValue(shift) >= 0) {
      best = {free[0], factor, arena.IntValue(shift) % factor};
    }
  }
  return best;
}

}  // namespace

Id SplitQuotients(Arena& arena, Id body) {
  for (;;) {
    const Quotient found = SmallestQuotient(arena, body);
    if (found.range == kNoNode) return body;
    const Id extent = arena[found.range].srcs[0];
    const Id factor = arena.Int(found.factor);
    const Id shift = arena.Int(found.shift);
    const Id padded = ir::Add(arena, extent, shift);
    const RangeKind kind = KindOf(arena, found.range);
    const Id outer = MakeRange(arena, ir::CeilDiv(arena, padded, factor),
                               arena[found.range].attr->ints[0], kind);
    const Id inner = MakeRange(arena, factor, NextNumber(arena, body), kind);
    const Id value = ir::Sub(
        arena, ir::Add(arena, ir::Mul(arena, outer, factor), inner), shift);
    Replacer replacer(arena, found.range, value, {outer, inner});
    if (found.shift != 0 || !arena.IsInt(ir::Mod(arena, padded, factor), 0)) {
      replacer.MaskWith(ir::And(arena, ir::Less(arena, arena.Int(-1), value),
                                ir::Less(arena, value, extent)),
                        {outer, inner});
    }
    body = replacer.Run(body);
  }
}

Partition PartitionRange(Arena& arena, Id body, Id range, Id at) {
  const int64_t number = arena[range].attr->ints[0];
  const RangeKind kind = KindOf(arena, range);
  Partition out;
  out.first_range = MakeRange(arena, at, number, kind);
  out.first =
      Replacer(arena, range, out.first_range, {out.first_range}).Run(body);
  const Id left = ir::Sub(arena, arena[range].srcs[0], at);
  out.rest_range = MakeRange(arena, left, number, kind);
  out.rest = Replacer(arena, range, ir::Add(arena, at, out.rest_range),
                      {out.rest_range})
                 .Run(body);
  return out;
}

Split Relabel(Arena& arena, Id body, Id range, RangeKind kind) {
  Split out;
  out.inner =
      MakeRange(arena, arena[range].srcs[0], arena[range].attr->ints[0], kind);
  out.body = out.inner == range
                 ? body
                 : Replacer(arena, range, out.inner, {out.inner}).Run(body);
  return out;
}

Id Reorder(Arena& arena, Id body, absl::Span<const Id> ranges) {
  const Node node = arena[body];
  std::vector<Id> srcs(node.srcs.begin(), node.srcs.begin() + FirstRange(node));
  srcs.insert(srcs.end(), ranges.begin(), ranges.end());
  return arena.Make(node.op, node.dtype, srcs, *node.attr, node.shape);
}

Id ReorderReduction(Arena& arena, Id body, Id reduce,
                    absl::Span<const Id> ranges) {
  std::vector<Id> srcs = {arena[reduce].srcs[0]};
  srcs.insert(srcs.end(), ranges.begin(), ranges.end());
  const Id ordered = ir::WithSources(arena, reduce, srcs);
  return ordered == reduce ? body
                           : ir::Substitute(arena, body, {{reduce, ordered}});
}

namespace {

// The gates without which a factor of `product` is 0.
std::vector<Id> GatesOfFactors(const Arena& arena, Id product) {
  std::vector<Id> gates;
  std::vector<Id> factors = {product};
  while (!factors.empty()) {
    const Node& node = arena[factors.back()];
    factors.pop_back();
    const auto is_zero = [&](Id id) {
      return arena.IsConst(id) && arena[id].attr->ints[0] == 0;
    };
    if (node.op == Op::kMul) {
      factors.insert(factors.end(), node.srcs.begin(), node.srcs.end());
    } else if (node.op == Op::kCast) {
      factors.push_back(node.srcs[0]);
    } else if (node.op == Op::kLoad && node.srcs.size() > 2) {
      gates.push_back(node.srcs[2]);
    } else if (node.op == Op::kWhere && is_zero(node.srcs[2])) {
      gates.push_back(node.srcs[0]);
      factors.push_back(node.srcs[1]);
    }
  }
  return gates;
}

// The comparisons that hold where `gate` does.
std::vector<Id> Comparisons(const Arena& arena, Id gate) {
  if (arena[gate].op == Op::kCmpLt) return {gate};
  std::vector<Id> out;
  if (arena[gate].op != Op::kAnd) return out;
  for (Id src : arena[gate].srcs) {
    const std::vector<Id> more = Comparisons(arena, src);
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

}  // namespace

Split ClipReduction(Arena& arena, Id body, Id reduce, Id range) {
  const Id extent = arena[range].srcs[0];
  const Id zero = arena.Int(0);
  Id first = zero;
  Id end = extent;
  ir::Substitution holds;
  const Id product = arena[reduce].srcs[0];
  const std::vector<Id> ranges = InnerRanges(arena, reduce);
  const auto own = std::find(ranges.begin(), ranges.end(), range);
  for (Id gate : GatesOfFactors(arena, product)) {
    for (Id comparison : Comparisons(arena, gate)) {
      const Id low = arena[comparison].srcs[0];
      const Id high = arena[comparison].srcs[1];
      if (arena[low].dtype != DType::kWeakInt) continue;
      bool same_everywhere = true;
      for (Id free : FreeRanges(arena, comparison)) {
        same_everywhere &=
            (KindOf(arena, free) == RangeKind::kSerial ||
             KindOf(arena, free) == RangeKind::kGrid) &&
            std::find(own + 1, ranges.end(), free) == ranges.end();
      }
      // low < high: c * range + rest >= 0.
      const Id slack = ir::Sub(arena, ir::Sub(arena, high, low), arena.Int(1));
      const ir::Affine affine = ir::AffineIn(arena, slack, range);
      if (!same_everywhere || affine.coefficient == kNoNode ||
          !arena.IsConst(affine.coefficient)) {
        continue;
      }
      const int64_t c = arena.IntValue(affine.coefficient);
      if (c > 0) {
        const Id least =
            ir::Max(arena, ir::Sub(arena, zero, affine.rest), zero);
        first = ir::Max(arena, first, ir::CeilDiv(arena, least, arena.Int(c)));
      } else if (c < 0) {
        const Id beyond =
            ir::Max(arena, ir::Add(arena, affine.rest, arena.Int(-c)), zero);
        end = ir::Min(arena, end, ir::IDiv(arena, beyond, arena.Int(-c)));
      } else {
        continue;
      }
      holds[comparison] =
          arena.Make(Op::kConst, DType::kBool, {}, Attr{{1}, {}});
    }
  }
  if (holds.empty()) return {};
  const Id clipped =
      MakeRange(arena, ir::Max(arena, ir::Sub(arena, end, first), zero),
                arena[range].attr->ints[0], KindOf(arena, range));
  const Id sum = ir::Substitute(arena, product, holds);
  std::vector<Id> srcs(arena[reduce].srcs.begin(), arena[reduce].srcs.end());
  srcs[0] = sum;
  const Id within = ir::WithSources(arena, reduce, srcs);
  const Id open = ir::Substitute(arena, body, {{reduce, within}});
  Split out;
  out.inner = clipped;
  out.body = Replacer(arena, range, ir::Add(arena, clipped, first), {clipped})
                 .Run(open);
  return out;
}

Id StageBeforeStore(Arena& arena, Id body, Id value,
                    absl::Span<const Id> ranges) {
  int64_t next = NextNumber(arena, body);
  int64_t number = 0;
  for (Id id : ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1))) {
    if (arena[id].op == Op::kStage) {
      number = std::max(number, arena[id].attr->ints[1] + 1);
    }
  }
  ir::Substitution inner;
  std::vector<Id> inner_ranges;
  Id written = arena.Int(0);
  Id read = arena.Int(0);
  Id elements = arena.Int(1);
  for (Id range : ranges) {
    const Id extent = arena[range].srcs[0];
    const Id own = MakeRange(arena, extent, next++, KindOf(arena, range));
    inner[range] = own;
    inner_ranges.push_back(own);
    written = ir::Add(arena, ir::Mul(arena, written, extent), own);
    read = ir::Add(arena, ir::Mul(arena, read, extent), range);
    elements = ir::Mul(arena, elements, extent);
  }
  std::vector<Id> srcs = {ir::Substitute(arena, value, inner), written,
                          elements};
  srcs.insert(srcs.end(), inner_ranges.begin(), inner_ranges.end());
  const DType dtype = arena[value].dtype;
  const Id stage =
      arena.Make(Op::kStage, dtype, srcs,
                 Attr{{static_cast<int64_t>(ir::Level::kTile), number}, {}});
  const Id load = arena.Make(Op::kLoad, dtype, {stage, read});
  return ir::Substitute(arena, body, {{value, load}});
}

Id MergeRanges(Arena& arena, Id body) {
  for (Id next = MergeOnce(arena, body); next != kNoNode;
       next = MergeOnce(arena, body)) {
    body = next;
  }
  return Renumbered(arena, body);
}

}  // namespace quern::kernel
