// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/known_values.h"

#include <algorithm>
#include <utility>

#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Arena;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Op;

// The sizes of `id` if they are known and their product is small.
std::optional<std::vector<int64_t>> SmallDims(const Arena& arena, Id id) {
  std::vector<int64_t> dims;
  int64_t elements = 1;
  for (Id dim : arena.DimsOf(id)) {
    if (!arena.IsConst(dim)) return std::nullopt;
    const int64_t size = arena.IntValue(dim);
    if (size < 0 || size > kMaxKnownElements) return std::nullopt;
    elements *= size;
    if (elements > kMaxKnownElements) return std::nullopt;
    dims.push_back(size);
  }
  return dims;
}

int64_t ProductOf(absl::Span<const int64_t> dims) {
  int64_t product = 1;
  for (int64_t d : dims) product *= d;
  return product;
}

// The coordinates of the `flat`-th element.
std::vector<int64_t> Coordinates(int64_t flat, absl::Span<const int64_t> dims) {
  std::vector<int64_t> at(dims.size());
  for (size_t i = dims.size(); i-- > 0;) {
    at[i] = flat % dims[i];
    flat /= dims[i];
  }
  return at;
}

int64_t FlatIndex(absl::Span<const int64_t> at,
                  absl::Span<const int64_t> dims) {
  int64_t flat = 0;
  for (size_t i = 0; i < dims.size(); ++i) flat = flat * dims[i] + at[i];
  return flat;
}

// A constant as the evaluator wants it; integers are exact whatever their type.
ir::Scalar AsScalar(const Arena& arena, Id id, DType dtype) {
  return ir::IsFloat(arena[id].dtype)
             ? ir::Scalar::OfFloat(dtype, arena.FloatValue(id))
             : ir::Scalar::OfInt(dtype, arena.IntValue(id));
}

}  // namespace

Id KnownValues::FromBits(DType dtype, int64_t bits) {
  if (ir::IsFloat(dtype) || dtype == DType::kBool) {
    return arena_.Make(Op::kConst, dtype, {}, ir::Attr{{bits}, {}});
  }
  return arena_.Int(bits);
}

bool KnownValues::Known(Id src) const {
  const auto it = known_.find(src);
  return it != known_.end() && it->second.has_value();
}

const KnownValues::Elements& KnownValues::ElementsOf(Id id) {
  // Depth first with a list of its own: graphs may be deeper than the stack.
  std::vector<std::pair<Id, bool>> work = {{id, false}};
  while (!work.empty()) {
    const auto [at, operands_done] = work.back();
    work.pop_back();
    if (known_.contains(at)) continue;
    if (!operands_done && SmallDims(arena_, at).has_value()) {
      work.emplace_back(at, true);
      for (Id src : arena_[at].srcs) work.emplace_back(src, false);
      continue;
    }
    Elements elements = operands_done ? Compute(at) : std::nullopt;
    known_[at] = std::move(elements);
  }
  return known_[id];
}

KnownValues::Elements KnownValues::Compute(Id id) {
  const ir::Node node = arena_[id];
  const std::vector<int64_t> dims = *SmallDims(arena_, id);
  const int64_t count = ProductOf(dims);
  work_ += count;
  if (work_ > kMaxKnownWork) return std::nullopt;
  std::vector<Id> result;
  switch (node.op) {
    case Op::kConst:
    case Op::kConstArray:
      for (int64_t bits : node.attr->ints) {
        result.push_back(FromBits(node.dtype, bits));
      }
      return result;
    case Op::kWeight: {
      if (!read_weight_) return std::nullopt;
      const auto bits = read_weight_(node.attr->ints[0]);
      if (!bits.has_value()) return std::nullopt;
      for (int64_t b : *bits) result.push_back(FromBits(node.dtype, b));
      return result;
    }
    case Op::kVar:
      return std::vector<Id>{id};
    case Op::kIota:
      for (int64_t i = 0; i < count; ++i) result.push_back(arena_.Int(i));
      return result;
    case Op::kReshape:
      return known_[node.srcs[0]];
    case Op::kReduce:
      return Reduced(id);
    case Op::kGather:
      return Gathered(id, dims);
    default:
      break;
  }
  if (ir::IsMovement(node.op)) return Move(id, dims);
  if (!ir::IsElementwise(node.op)) return std::nullopt;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<Id> operands;
    for (Id src : node.srcs) {
      operands.push_back(Known(src) ? (*known_[src])[i] : kNoNode);
    }
    result.push_back(Scalar(id, operands));
  }
  return result;
}

// Every element of a movement is an element of an operand, or padding.
KnownValues::Elements KnownValues::Move(Id id, absl::Span<const int64_t> dims) {
  const ir::Node node = arena_[id];
  const std::vector<int64_t>& ints = node.attr->ints;
  std::vector<int64_t> offsets(dims.size(), 0);  // Of kPad and kShrink.
  if (node.op == Op::kPad || node.op == Op::kShrink) {
    for (size_t i = 0; i < dims.size(); ++i) {
      if (!arena_.IsConst(node.srcs[i + 1])) return std::nullopt;
      offsets[i] = arena_.IntValue(node.srcs[i + 1]);
    }
  }
  std::vector<Id> result;
  for (int64_t n = 0; n < ProductOf(dims); ++n) {
    std::vector<int64_t> at = Coordinates(n, dims);
    Id src = node.srcs[0];
    bool padding = false;
    if (node.op == Op::kConcat) {
      for (Id part : node.srcs) {
        src = part;
        const Id size = arena_.DimsOf(part)[ints[0]];
        if (!arena_.IsConst(size)) return std::nullopt;
        if (at[ints[0]] < arena_.IntValue(size)) break;
        at[ints[0]] -= arena_.IntValue(size);
      }
    }
    if (!Known(src)) {
      result.push_back(kNoNode);
      continue;
    }
    const std::vector<int64_t> from = *SmallDims(arena_, src);
    switch (node.op) {
      case Op::kPermute: {
        std::vector<int64_t> moved(at.size());
        for (size_t i = 0; i < at.size(); ++i) moved[ints[i]] = at[i];
        at = std::move(moved);
        break;
      }
      case Op::kExpand:
        for (size_t i = 0; i < at.size(); ++i) {
          if (from[i] == 1) at[i] = 0;
        }
        break;
      case Op::kPad:
        for (size_t i = 0; i < at.size(); ++i) {
          at[i] -= offsets[i];
          padding |= at[i] < 0 || at[i] >= from[i];
        }
        break;
      case Op::kShrink:
        for (size_t i = 0; i < at.size(); ++i) {
          at[i] = offsets[i] + at[i] * ints[i];
        }
        break;
      case Op::kFlip:
        for (int64_t axis : ints) at[axis] = from[axis] - 1 - at[axis];
        break;
      case Op::kWindow:
        at[ints[0]] = at[ints[0]] * ints[2] + at.back() * ints[3];
        at.pop_back();
        break;
      default:
        break;
    }
    const Id zero = FromBits(node.dtype, 0);  // Also the bits of 0.0.
    result.push_back(padding ? zero : (*known_[src])[FlatIndex(at, from)]);
  }
  return result;
}

KnownValues::Elements KnownValues::Gathered(Id id,
                                            absl::Span<const int64_t> dims) {
  const ir::Node node = arena_[id];
  const Id data = node.srcs[0];
  const Id indices = node.srcs[1];
  if (!Known(data) || !Known(indices)) return std::nullopt;
  const std::vector<int64_t> from = *SmallDims(arena_, data);
  const std::vector<int64_t> index_dims = *SmallDims(arena_, indices);
  const int64_t axis = node.attr->ints[0];
  std::vector<Id> result;
  for (int64_t n = 0; n < ProductOf(dims); ++n) {
    const std::vector<int64_t> at = Coordinates(n, dims);
    const auto middle = at.begin() + axis;
    const auto end = middle + static_cast<int64_t>(index_dims.size());
    const std::vector<int64_t> index_at(middle, end);
    const Id index = (*known_[indices])[FlatIndex(index_at, index_dims)];
    if (index == kNoNode || !arena_.IsConst(index)) {
      result.push_back(kNoNode);
      continue;
    }
    std::vector<int64_t> data_at(at.begin(), middle);
    data_at.push_back(
        std::clamp<int64_t>(arena_.IntValue(index), 0, from[axis] - 1));
    data_at.insert(data_at.end(), end, at.end());
    result.push_back((*known_[data])[FlatIndex(data_at, from)]);
  }
  return result;
}

KnownValues::Elements KnownValues::Reduced(Id id) {
  const ir::Node node = arena_[id];
  if (!Known(node.srcs[0])) return std::nullopt;
  const std::vector<int64_t> from = *SmallDims(arena_, node.srcs[0]);
  const auto op = static_cast<Op>(node.attr->ints[0]);
  std::vector<int64_t> kept;
  for (size_t i = 0; i < from.size(); ++i) {
    const auto begin = node.attr->ints.begin() + 1;
    if (!std::binary_search(begin, node.attr->ints.end(),
                            static_cast<int64_t>(i))) {
      kept.push_back(static_cast<int64_t>(i));
    }
  }
  std::vector<int64_t> dims;
  for (int64_t axis : kept) dims.push_back(from[axis]);
  const ir::Scalar identity = ir::IdentityOf(op, node.dtype);
  std::vector<Id> result(ProductOf(dims), FromBits(node.dtype, identity.bits));
  std::vector<bool> begun(result.size(), false);
  const std::vector<Id> elements = *known_[node.srcs[0]];
  for (size_t n = 0; n < elements.size(); ++n) {
    const std::vector<int64_t> at = Coordinates(static_cast<int64_t>(n), from);
    std::vector<int64_t> out_at;
    for (int64_t axis : kept) out_at.push_back(at[axis]);
    const int64_t slot = FlatIndex(out_at, dims);
    // A single element stays what it is.
    if (!begun[slot]) {
      result[slot] = elements[n];
      begun[slot] = true;
      continue;
    }
    const Id pair[] = {result[slot], elements[n]};
    if (pair[0] == kNoNode || pair[1] == kNoNode) {
      result[slot] = kNoNode;
    } else if (arena_.IsConst(pair[0]) && arena_.IsConst(pair[1])) {
      const auto value = ir::Evaluate(op, node.dtype,
                                      {AsScalar(arena_, pair[0], node.dtype),
                                       AsScalar(arena_, pair[1], node.dtype)},
                                      ir::Rounding::kAll);
      result[slot] = value.ok() ? FromBits(node.dtype, value->bits) : kNoNode;
    } else if (ir::IsInteger(node.dtype)) {
      result[slot] = ir::Simplified(arena_, op, pair);
    } else {
      result[slot] = kNoNode;
    }
  }
  return result;
}

// One element of an elementwise node.
Id KnownValues::Scalar(Id id, absl::Span<const Id> operands) {
  const ir::Node node = arena_[id];
  if (node.op == Op::kWhere && operands[0] != kNoNode &&
      arena_.IsConst(operands[0])) {
    return operands[arena_.IntValue(operands[0]) != 0 ? 1 : 2];
  }
  bool constant = true;
  for (Id operand : operands) {
    if (operand == kNoNode) return kNoNode;
    constant &= arena_.IsConst(operand);
  }
  if (!constant) return Symbolic(id, operands);
  std::vector<ir::Scalar> scalars;
  for (size_t i = 0; i < operands.size(); ++i) {
    scalars.push_back(
        AsScalar(arena_, operands[i], arena_[node.srcs[i]].dtype));
  }
  const auto value =
      ir::Evaluate(node.op, node.dtype, scalars, ir::Rounding::kAll);
  return value.ok() ? FromBits(node.dtype, value->bits) : kNoNode;
}

// Sizes are exact: the integers that they are computed in do not wrap.
Id KnownValues::Symbolic(Id id, absl::Span<const Id> operands) {
  const ir::Node node = arena_[id];
  const DType from = arena_[node.srcs[0]].dtype;
  if (node.op == Op::kCast) return Converted(id, operands[0]);
  if (!ir::IsInteger(from) && from != DType::kBool) return kNoNode;
  switch (node.op) {
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kIDiv:
    case Op::kMod:
    case Op::kMin:
    case Op::kMax:
      return ir::IsInteger(from) ? ir::Simplified(arena_, node.op, operands)
                                 : kNoNode;
    case Op::kCmpLt:
    case Op::kCmpEq:
      return ir::IsInteger(from) ? ir::Simplified(arena_, node.op, operands)
                                 : kNoNode;
    case Op::kCmpNe: {
      if (!ir::IsInteger(from)) return kNoNode;
      const Id equal = ir::Equal(arena_, operands[0], operands[1]);
      if (!arena_.IsConst(equal)) return kNoNode;
      return arena_.IntConst(DType::kBool, arena_.IntValue(equal) == 0);
    }
    case Op::kNeg:
      return ir::Mul(arena_, operands[0], arena_.Int(-1));
    case Op::kAnd:
    case Op::kOr:
      return from == DType::kBool ? ir::Simplified(arena_, node.op, operands)
                                  : kNoNode;
    default:
      return kNoNode;
  }
}

Id KnownValues::Converted(Id id, Id operand) {
  const DType to = arena_[id].dtype;
  const ir::Node& value = arena_[operand];
  if (value.dtype != DType::kWeakInt) return kNoNode;
  if (to == DType::kBool) {
    const bool zero_possible = value.least <= 0 && value.greatest >= 0;
    return zero_possible ? kNoNode : arena_.IntConst(DType::kBool, 1);
  }
  // A size that a narrow type may not hold is no size any more.
  const bool wide = to == DType::kWeakInt || ir::ByteSize(to) >= 4;
  return ir::IsInteger(to) && wide ? operand : kNoNode;
}

std::optional<std::vector<Id>> KnownValues::Sizes(Id id) {
  if (!ir::IsInteger(arena_[id].dtype)) return std::nullopt;
  const Elements& elements = ElementsOf(id);
  if (!elements.has_value()) return std::nullopt;
  for (Id element : *elements) {
    if (element == kNoNode) return std::nullopt;
  }
  return elements;
}

std::optional<std::vector<int64_t>> KnownValues::Integers(Id id) {
  if (ir::IsFloat(arena_[id].dtype)) return std::nullopt;
  const Elements& elements = ElementsOf(id);
  if (!elements.has_value()) return std::nullopt;
  std::vector<int64_t> values;
  for (Id element : *elements) {
    if (element == kNoNode || !arena_.IsConst(element)) return std::nullopt;
    values.push_back(arena_.IntValue(element));
  }
  return values;
}

std::optional<std::vector<double>> KnownValues::Doubles(Id id) {
  const Elements& elements = ElementsOf(id);
  if (!elements.has_value()) return std::nullopt;
  std::vector<double> values;
  for (Id element : *elements) {
    if (element == kNoNode || !arena_.IsConst(element)) return std::nullopt;
    values.push_back(arena_.FloatValue(element));
  }
  return values;
}

}  // namespace quern::graph
