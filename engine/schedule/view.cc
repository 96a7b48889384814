// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/view.h"

#include "engine/ir/symbolic.h"

namespace quern::schedule {
namespace {

using ir::Arena;
using ir::Id;
using ir::Op;

// Reshape, by groups of axes with equal products, so that unrelated axes do
// not meet in one quotient.
std::vector<Id> ThroughReshape(Arena& arena, absl::Span<const Id> from,
                               absl::Span<const Id> to,
                               absl::Span<const Id> index) {
  std::vector<Id> out(from.size(), arena.Int(0));
  size_t i = 0;
  size_t j = 0;
  while (i < from.size() || j < to.size()) {
    const size_t i0 = i;
    const size_t j0 = j;
    Id a = arena.Int(1);
    Id b = arena.Int(1);
    if (i < from.size()) a = from[i++];
    if (j < to.size()) b = to[j++];
    while (!ir::ProvablyEqual(arena, a, b) &&
           (i < from.size() || j < to.size())) {
      // Grow the smaller product where that is known, else both to the end.
      const bool from_smaller = ir::ProvablyLess(arena, a, b);
      const bool to_smaller = ir::ProvablyLess(arena, b, a);
      if (from_smaller && i < from.size()) {
        a = ir::Mul(arena, a, from[i++]);
      } else if (to_smaller && j < to.size()) {
        b = ir::Mul(arena, b, to[j++]);
      } else if (i < from.size() && (!to_smaller || j >= to.size())) {
        a = ir::Mul(arena, a, from[i++]);
        if (j < to.size() && !from_smaller && !ir::ProvablyEqual(arena, a, b)) {
          b = ir::Mul(arena, b, to[j++]);
        }
      } else {
        b = ir::Mul(arena, b, to[j++]);
      }
    }
    const Id position =
        LinearIndex(arena, to.subspan(j0, j - j0), index.subspan(j0, j - j0));
    const std::vector<Id> part =
        IndexOf(arena, from.subspan(i0, i - i0), position);
    std::copy(part.begin(), part.end(), out.begin() + i0);
  }
  return out;
}

}  // namespace

Id LinearIndex(Arena& arena, absl::Span<const Id> dims,
               absl::Span<const Id> index) {
  Id position = arena.Int(0);
  Id stride = arena.Int(1);
  for (size_t i = dims.size(); i-- > 0;) {
    // Beside padding an index may be out of range; what is read is at 0.
    if (arena.IsInt(dims[i], 1)) continue;
    position = ir::Add(arena, position, ir::Mul(arena, index[i], stride));
    stride = ir::Mul(arena, stride, dims[i]);
  }
  return position;
}

std::vector<Id> IndexOf(Arena& arena, absl::Span<const Id> dims, Id position) {
  std::vector<Id> index(dims.size());
  Id rest = position;
  for (size_t i = dims.size(); i-- > 0;) {
    if (arena.IsInt(dims[i], 1)) {
      index[i] = arena.Int(0);
      continue;
    }
    // The first axis that is not 1 needs no remainder: positions are in range.
    bool outermost = true;
    for (size_t k = 0; k < i; ++k) outermost &= arena.IsInt(dims[k], 1);
    index[i] = outermost ? rest : ir::Mod(arena, rest, dims[i]);
    if (!outermost) rest = ir::IDiv(arena, rest, dims[i]);
  }
  return index;
}

ViewIndex ThroughView(Arena& arena, Id id, absl::Span<const Id> index) {
  const ir::Node node = arena[id];
  const Id src = node.srcs[0];
  const std::vector<Id> from(arena.DimsOf(src).begin(),
                             arena.DimsOf(src).end());
  ViewIndex out;
  switch (node.op) {
    case Op::kReshape: {
      const std::vector<Id> to(arena.DimsOf(id).begin(),
                               arena.DimsOf(id).end());
      out.index = ThroughReshape(arena, from, to, index);
      break;
    }
    case Op::kPermute:
      out.index.resize(index.size());
      for (size_t i = 0; i < index.size(); ++i) {
        out.index[node.attr->ints[i]] = index[i];
      }
      break;
    case Op::kExpand:
      for (size_t i = 0; i < index.size(); ++i) {
        out.index.push_back(arena.IsInt(from[i], 1) ? arena.Int(0) : index[i]);
      }
      break;
    case Op::kPad:
      for (size_t i = 0; i < index.size(); ++i) {
        const Id before = node.srcs[i + 1];
        const Id at = ir::Sub(arena, index[i], before);
        out.index.push_back(at);
        Id valid = ir::And(
            arena,
            ir::Less(arena, ir::Sub(arena, before, arena.Int(1)), index[i]),
            ir::Less(arena, at, from[i]));
        if (out.valid != ir::kNoNode) {
          valid = ir::And(arena, out.valid, valid);
        }
        out.valid = valid;
      }
      if (arena.IsConst(out.valid) && arena.IntValue(out.valid) != 0) {
        out.valid = ir::kNoNode;
      }
      break;
    case Op::kShrink:
      for (size_t i = 0; i < index.size(); ++i) {
        out.index.push_back(
            ir::Add(arena, node.srcs[i + 1],
                    ir::Mul(arena, index[i], arena.Int(node.attr->ints[i]))));
      }
      break;
    case Op::kFlip:
      out.index.assign(index.begin(), index.end());
      for (int64_t axis : node.attr->ints) {
        out.index[axis] = ir::Sub(
            arena, ir::Sub(arena, from[axis], arena.Int(1)), index[axis]);
      }
      break;
    case Op::kWindow: {
      const int64_t axis = node.attr->ints[0];
      out.index.assign(index.begin(), index.end() - 1);
      out.index[axis] = ir::Add(
          arena, ir::Mul(arena, index[axis], arena.Int(node.attr->ints[2])),
          ir::Mul(arena, index.back(), arena.Int(node.attr->ints[3])));
      break;
    }
    default:
      out.index.assign(index.begin(), index.end());
      break;
  }
  return out;
}

}  // namespace quern::schedule
