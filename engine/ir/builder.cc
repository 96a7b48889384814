// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/builder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"
#include "engine/ir/symbolic.h"

namespace quern::ir {

std::string SizeText(const Arena& arena, Id size) {
  const Node& node = arena[size];
  if (node.unfolded > kMaxSizeNodes) return "...";
  const auto src = [&](int i) { return SizeText(arena, node.srcs[i]); };
  switch (node.op) {
    case Op::kConst:
      return absl::StrCat(arena.IntValue(size));
    case Op::kVar:
      return absl::Utf8SafeCHexEscape(node.attr->text);
    case Op::kRange:
      return absl::StrCat("r", node.attr->ints[0]);
    case Op::kAdd:
      return absl::StrCat(src(0), "+", src(1));
    case Op::kMul:
      return arena[node.srcs[0]].op == Op::kAdd
                 ? absl::StrCat("(", src(0), ")*", src(1))
                 : absl::StrCat(src(0), "*", src(1));
    case Op::kIDiv:
      return absl::StrCat("(", src(0), ")/(", src(1), ")");
    case Op::kMod:
      return absl::StrCat("(", src(0), ")%(", src(1), ")");
    case Op::kMin:
      return absl::StrCat("min(", src(0), ",", src(1), ")");
    case Op::kMax:
      return absl::StrCat("max(", src(0), ",", src(1), ")");
    default:
      return "?";
  }
}

Id Builder::Fail(absl::Status status) {
  if (status_.ok()) {
    status_ = context_.empty()
                  ? std::move(status)
                  : absl::Status(status.code(), absl::StrCat(context_, ": ",
                                                             status.message()));
  }
  return kNoNode;
}

Id Builder::Invalid(absl::string_view message) {
  return Fail(absl::InvalidArgumentError(message));
}

bool Builder::Bad(absl::Span<const Id> operands) const {
  if (!status_.ok()) return true;
  return std::find(operands.begin(), operands.end(), kNoNode) != operands.end();
}

std::string Builder::ShapeText(absl::Span<const Id> dims) const {
  std::string out = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : ",", SizeText(arena_, dims[i]));
  }
  return absl::StrCat(out, "]");
}

std::string Builder::ShapeText(Id x) const {
  return x == kNoNode ? "[?]" : ShapeText(arena_.DimsOf(x));
}

std::vector<Id> Builder::Dims(Id x) const {
  if (x == kNoNode) return {};
  const absl::Span<const Id> dims = arena_.DimsOf(x);
  return {dims.begin(), dims.end()};
}

Id Builder::Dim(Id x, int64_t axis) {
  const int rank = Rank(x);
  const int64_t at = Axis(axis, rank);
  const bool found = axis >= -rank && axis < rank;
  return found ? arena_.DimsOf(x)[at] : Int(1);
}

int64_t Builder::Axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    Invalid(absl::StrCat("axis ", axis, " is outside a tensor of rank ", rank));
    return 0;
  }
  return axis < 0 ? axis + rank : axis;
}

bool Builder::IsShort(Id size) {
  const uint32_t nodes = arena_[size].unfolded;
  if (nodes <= kMaxSizeNodes) return true;
  Invalid(absl::StrCat("a symbolic size is an expression of ", nodes,
                       " operations and operands, the limit is ",
                       kMaxSizeNodes));
  return false;
}

ShapeId Builder::CheckedShape(absl::Span<const Id> dims) {
  if (dims.size() > static_cast<size_t>(kMaxRank)) {
    Invalid(
        absl::StrCat("rank ", dims.size(), " is over the limit of ", kMaxRank));
    return kScalarShape;
  }
  int64_t elements = 1;
  for (Id dim : dims) {
    const Node& node = arena_[dim];
    if (node.greatest < 0 || (arena_.IsConst(dim) && node.least < 0)) {
      Invalid(absl::StrCat("negative dimension in shape ", ShapeText(dims)));
      return kScalarShape;
    }
    if (node.least > kMaxElements) {
      Invalid(absl::StrCat("a dimension is at least ", node.least,
                           ", the limit is ", kMaxElements));
      return kScalarShape;
    }
    if (!arena_.IsConst(dim)) {
      if (!IsShort(dim)) return kScalarShape;
      const size_t terms = TermsOf(arena_, dim).size();
      if (terms > static_cast<size_t>(kMaxSizeTerms)) {
        Invalid(absl::StrCat("a symbolic size has ", terms,
                             " terms, the limit is ", kMaxSizeTerms));
        return kScalarShape;
      }
      continue;
    }
    int64_t product = 0;
    if (__builtin_mul_overflow(elements, std::max<int64_t>(node.least, 1),
                               &product) ||
        product > kMaxElements) {
      Invalid(absl::StrCat("shape ", ShapeText(dims), " has more than ",
                           kMaxElements, " elements"));
      return kScalarShape;
    }
    elements = product;
  }
  return arena_.MakeShape(dims);
}

Id Builder::Float(double value) {
  return arena_.FloatConst(DType::kWeakFloat, value);
}

Id Builder::Scalar(DType dtype, double value) {
  return arena_.FloatConst(dtype, value);
}

Id Builder::Input(int slot, DType dtype, absl::Span<const Id> dims,
                  absl::string_view device) {
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kInput, dtype, {}, Attr{{slot}, std::string(device)},
                     shape);
}

Id Builder::Weight(int slot, DType dtype, absl::Span<const Id> dims) {
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kWeight, dtype, {}, Attr{{slot}, {}}, shape);
}

Id Builder::Var(absl::string_view name, int64_t least, int64_t greatest) {
  if (least < 0 || greatest < least) {
    return Invalid(absl::StrCat("variable ", base::Quoted(name),
                                " has the bounds ", least, "..", greatest));
  }
  if (least == greatest) return Int(least);
  return arena_.Make(Op::kVar, DType::kWeakInt, {},
                     Attr{{least, greatest}, std::string(name)});
}

Id Builder::Iota(Id size) {
  if (Bad({size})) return kNoNode;
  const ShapeId shape = CheckedShape({size});
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kIota, DType::kWeakInt, {}, {}, shape);
}

Id Builder::ConstArray(DType dtype, absl::Span<const int64_t> bits,
                       absl::Span<const Id> dims) {
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  const Id elements = Product(arena_, dims);
  if (!arena_.IsInt(elements, static_cast<int64_t>(bits.size()))) {
    return Invalid(absl::StrCat("constant array of shape ", ShapeText(dims),
                                " has ", bits.size(), " elements"));
  }
  const bool uniform =
      !bits.empty() && std::all_of(bits.begin(), bits.end(),
                                   [&](int64_t b) { return b == bits[0]; });
  if (uniform) {
    return Expand(arena_.Make(Op::kConst, dtype, {}, Attr{{bits[0]}, {}}),
                  dims);
  }
  return arena_.Make(Op::kConstArray, dtype, {},
                     Attr{{bits.begin(), bits.end()}, {}}, shape);
}

Id Builder::Reshape(Id x, absl::Span<const Id> dims) {
  if (Bad({x}) || Bad(dims)) return kNoNode;
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  if (shape == arena_[x].shape) return x;
  const Id before = Product(arena_, arena_.DimsOf(x));
  const Id after = Product(arena_, dims);
  if (!ProvablyEqual(arena_, before, after)) {
    return Invalid(absl::StrCat("cannot reshape ", ShapeText(x), " to ",
                                ShapeText(dims), ": ", SizeText(arena_, before),
                                " elements against ", SizeText(arena_, after)));
  }
  if (arena_[x].op == Op::kReshape) x = arena_[x].srcs[0];
  if (shape == arena_[x].shape) return x;
  return arena_.Make(Op::kReshape, arena_[x].dtype, {x}, {}, shape);
}

Id Builder::Permute(Id x, absl::Span<const int64_t> order) {
  if (Bad({x})) return kNoNode;
  const int rank = Rank(x);
  std::vector<bool> seen(rank, false);
  bool valid = static_cast<int>(order.size()) == rank;
  for (int64_t axis : order) {
    valid = valid && axis >= 0 && axis < rank && !seen[axis];
    if (valid) seen[axis] = true;
  }
  if (!valid) {
    return Invalid(absl::StrCat("axes of a permutation of a tensor of rank ",
                                rank, " are not a permutation"));
  }
  if (std::is_sorted(order.begin(), order.end())) return x;
  std::vector<Id> dims;
  for (int64_t axis : order) dims.push_back(arena_.DimsOf(x)[axis]);
  return arena_.Make(Op::kPermute, arena_[x].dtype, {x},
                     Attr{{order.begin(), order.end()}, {}},
                     arena_.MakeShape(dims));
}

Id Builder::Expand(Id x, absl::Span<const Id> dims) {
  if (Bad({x}) || Bad(dims)) return kNoNode;
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  if (shape == arena_[x].shape) return x;
  const std::vector<Id> from = Dims(x);
  if (from.size() > dims.size()) {
    return Invalid(
        absl::StrCat("cannot expand ", ShapeText(x), " to ", ShapeText(dims)));
  }
  std::vector<Id> padded(dims.size() - from.size(), Int(1));
  padded.insert(padded.end(), from.begin(), from.end());
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!arena_.IsInt(padded[i], 1) &&
        !ProvablyEqual(arena_, padded[i], dims[i])) {
      return Invalid(absl::StrCat("cannot expand ", ShapeText(x), " to ",
                                  ShapeText(dims)));
    }
  }
  x = Reshape(x, padded);
  if (Bad({x})) return kNoNode;
  if (shape == arena_[x].shape) return x;
  return arena_.Make(Op::kExpand, arena_[x].dtype, {x}, {}, shape);
}

Id Builder::Pad(Id x, absl::Span<const Id> before, absl::Span<const Id> after) {
  if (Bad({x}) || Bad(before) || Bad(after)) return kNoNode;
  const std::vector<Id> dims = Dims(x);
  if (before.size() != dims.size() || after.size() != dims.size()) {
    return Invalid(absl::StrCat("padding has ", before.size(), " and ",
                                after.size(), " sizes for rank ", dims.size()));
  }
  std::vector<Id> srcs = {x};
  std::vector<Id> result;
  bool none = true;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (arena_[before[i]].least < 0 || arena_[after[i]].least < 0) {
      return Invalid(absl::StrCat("negative padding ",
                                  SizeText(arena_, before[i]), ",",
                                  SizeText(arena_, after[i]), " of axis ", i));
    }
    // What is larger makes no tensor, and its sums would not be exact.
    if (arena_[before[i]].least > kMaxElements ||
        arena_[after[i]].least > kMaxElements) {
      return Invalid(absl::StrCat("padding ", SizeText(arena_, before[i]), ",",
                                  SizeText(arena_, after[i]), " of axis ", i,
                                  ", the limit is ", kMaxElements));
    }
    none &= arena_.IsInt(before[i], 0) && arena_.IsInt(after[i], 0);
    srcs.push_back(before[i]);
    result.push_back(
        ir::Add(arena_, dims[i], ir::Add(arena_, before[i], after[i])));
  }
  if (none) return x;
  const ShapeId shape = CheckedShape(result);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kPad, arena_[x].dtype, srcs, {}, shape);
}

Id Builder::Shrink(Id x, absl::Span<const Id> begins,
                   absl::Span<const Id> sizes,
                   absl::Span<const int64_t> steps) {
  if (Bad({x}) || Bad(begins) || Bad(sizes)) return kNoNode;
  const std::vector<Id> dims = Dims(x);
  std::vector<int64_t> step(steps.begin(), steps.end());
  if (steps.empty()) step.assign(dims.size(), 1);
  if (begins.size() != dims.size() || sizes.size() != dims.size() ||
      step.size() != dims.size()) {
    return Invalid(absl::StrCat("slice has ", begins.size(),
                                " begins for rank ", dims.size()));
  }
  bool whole = true;
  for (size_t i = 0; i < dims.size(); ++i) {
    // The last element read is begin + (size - 1) * step.
    const Id last = ir::Add(
        arena_, begins[i],
        ir::Mul(arena_, ir::Add(arena_, sizes[i], Int(-1)), Int(step[i])));
    const bool fits =
        arena_.IsInt(sizes[i], 0) || ProvablyLess(arena_, last, dims[i]);
    if (step[i] <= 0 || arena_[begins[i]].least < 0 || !fits) {
      return Invalid(absl::StrCat(
          "slice of axis ", i, " from ", SizeText(arena_, begins[i]), ", ",
          SizeText(arena_, sizes[i]), " elements with step ", step[i],
          ", does not fit ", ShapeText(x)));
    }
    whole &= step[i] == 1 && arena_.IsInt(begins[i], 0) && sizes[i] == dims[i];
  }
  if (whole) return x;
  std::vector<Id> srcs = {x};
  srcs.insert(srcs.end(), begins.begin(), begins.end());
  const ShapeId shape = CheckedShape(sizes);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kShrink, arena_[x].dtype, srcs, Attr{step, {}}, shape);
}

Id Builder::Flip(Id x, absl::Span<const int64_t> axes) {
  if (Bad({x})) return kNoNode;
  std::vector<int64_t> sorted;
  for (int64_t axis : axes) sorted.push_back(Axis(axis, Rank(x)));
  if (!ok()) return kNoNode;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  if (sorted.empty()) return x;
  return arena_.Make(Op::kFlip, arena_[x].dtype, {x}, Attr{sorted, {}},
                     arena_[x].shape);
}

Id Builder::Concat(absl::Span<const Id> parts, int64_t axis) {
  if (Bad(parts)) return kNoNode;
  if (parts.empty()) return Invalid("concat of no tensors");
  const int rank = Rank(parts[0]);
  axis = Axis(axis, rank);
  if (!ok()) return kNoNode;
  DType dtype = arena_[parts[0]].dtype;
  for (Id part : parts) dtype = Promote(dtype, arena_[part].dtype);
  std::vector<Id> dims = Dims(parts[0]);
  std::vector<Id> kept;
  dims[axis] = Int(0);
  for (Id part : parts) {
    const std::vector<Id> other = Dims(part);
    bool agrees = static_cast<int>(other.size()) == rank;
    for (int i = 0; agrees && i < rank; ++i) {
      agrees = i == axis || ProvablyEqual(arena_, other[i], dims[i]);
    }
    if (!agrees) {
      return Invalid(absl::StrCat("concat along axis ", axis, " of ",
                                  ShapeText(parts[0]), " and ",
                                  ShapeText(part)));
    }
    if (arena_.IsInt(other[axis], 0)) continue;
    dims[axis] = ir::Add(arena_, dims[axis], other[axis]);
    if (!IsShort(dims[axis])) return kNoNode;
    kept.push_back(Cast(part, dtype));
  }
  if (Bad(kept)) return kNoNode;
  if (kept.empty()) return Cast(parts[0], dtype);
  if (kept.size() == 1) return kept[0];
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kConcat, dtype, kept, Attr{{axis}, {}}, shape);
}

Id Builder::Window(Id x, int64_t axis, int64_t taps, int64_t stride,
                   int64_t dilation) {
  if (Bad({x})) return kNoNode;
  axis = Axis(axis, Rank(x));
  if (!ok()) return kNoNode;
  int64_t reach = 0;  // From the first to the last tap.
  if (taps < 1 || stride < 1 || dilation < 1 || taps > kMaxElements ||
      dilation > kMaxElements || stride > kMaxElements ||
      __builtin_mul_overflow(taps - 1, dilation, &reach) ||
      reach > kMaxElements) {
    return Invalid(absl::StrCat("window of ", taps, " taps with stride ",
                                stride, " and dilation ", dilation));
  }
  std::vector<Id> dims = Dims(x);
  if (!ProvablyLess(arena_, Int(reach), dims[axis])) {
    return Invalid(absl::StrCat("window of ", taps, " taps with dilation ",
                                dilation, " does not fit axis ", axis, " of ",
                                ShapeText(x)));
  }
  const Id room = ir::Sub(arena_, dims[axis], Int(reach + 1));
  dims[axis] = ir::Add(arena_, ir::IDiv(arena_, room, Int(stride)), Int(1));
  dims.push_back(Int(taps));
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kWindow, arena_[x].dtype, {x},
                     Attr{{axis, taps, stride, dilation}, {}}, shape);
}

Id Builder::Gather(Id data, Id indices, int64_t axis) {
  if (Bad({data, indices})) return kNoNode;
  axis = Axis(axis, Rank(data));
  if (!ok()) return kNoNode;
  if (!IsInteger(arena_[indices].dtype)) {
    return Invalid(absl::StrCat("gather indices are ",
                                Name(arena_[indices].dtype),
                                ", expected an integer type"));
  }
  const std::vector<Id> from = Dims(data);
  std::vector<Id> dims(from.begin(), from.begin() + axis);
  const std::vector<Id> index_dims = Dims(indices);
  dims.insert(dims.end(), index_dims.begin(), index_dims.end());
  dims.insert(dims.end(), from.begin() + axis + 1, from.end());
  if (arena_.IsInt(from[axis], 0)) {
    return Invalid(
        absl::StrCat("gather from an axis of size 0 of ", ShapeText(data)));
  }
  const ShapeId shape = CheckedShape(dims);
  if (!ok()) return kNoNode;
  return arena_.Make(Op::kGather, arena_[data].dtype, {data, indices},
                     Attr{{axis}, {}}, shape);
}

Id Builder::Reduce(Op op, Id x, absl::Span<const int64_t> axes) {
  if (Bad({x})) return kNoNode;
  const int rank = Rank(x);
  std::vector<int64_t> sorted;
  for (int64_t axis : axes) sorted.push_back(Axis(axis, rank));
  if (!ok()) return kNoNode;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return Invalid("an axis is reduced twice");
  }
  if (sorted.empty()) return x;
  const DType dtype = arena_[x].dtype;
  if (op != Op::kAdd && op != Op::kMul && op != Op::kMax && op != Op::kMin) {
    return Invalid(absl::StrCat("'", Name(op), "' is no reduction"));
  }
  if (dtype == DType::kBool && (op == Op::kAdd || op == Op::kMul)) {
    return Invalid(absl::StrCat("reduce ", Name(op), " of bool"));
  }
  const std::vector<Id> from = Dims(x);
  std::vector<Id> dims;
  std::vector<int64_t> ints = {static_cast<int64_t>(op)};
  ints.insert(ints.end(), sorted.begin(), sorted.end());
  for (int i = 0; i < rank; ++i) {
    if (!std::binary_search(sorted.begin(), sorted.end(), i)) {
      dims.push_back(from[i]);
    }
  }
  const DType accumulator = AccumulatorOf(dtype);
  const Id wide = Cast(x, accumulator);
  const Id sum = arena_.Make(Op::kReduce, accumulator, {wide}, Attr{ints, {}},
                             arena_.MakeShape(dims));
  return Cast(sum, dtype);
}

bool Builder::Broadcast(std::vector<Id>& operands, absl::string_view what) {
  size_t rank = 0;
  for (Id x : operands) rank = std::max<size_t>(rank, Rank(x));
  std::vector<Id> dims(rank, Int(1));
  for (Id x : operands) {
    const std::vector<Id> own = Dims(x);
    const size_t offset = rank - own.size();
    for (size_t i = 0; i < own.size(); ++i) {
      Id& dim = dims[offset + i];
      if (arena_.IsInt(own[i], 1) || ProvablyEqual(arena_, own[i], dim)) {
        continue;
      }
      if (!arena_.IsInt(dim, 1)) {
        std::string shapes;
        for (Id y : operands) {
          absl::StrAppend(&shapes, shapes.empty() ? "" : " and ", ShapeText(y));
        }
        Invalid(absl::StrCat(what, ": shapes ", shapes, " do not broadcast"));
        return false;
      }
      dim = own[i];
    }
  }
  for (Id& x : operands) x = Expand(x, dims);
  return ok();
}

Id Builder::Unary(Op op, Id x) {
  if (Bad({x})) return kNoNode;
  const OpInfo& info = InfoOf(op);
  DType dtype = arena_[x].dtype;
  if (info.op_class != OpClass::kElementwise || info.arity != 1 ||
      op == Op::kCast || op == Op::kBitcast) {
    return Invalid(absl::StrCat("'", Name(op), "' is no unary operation"));
  }
  if (dtype == DType::kBool || ((info.traits & kFloatOnly) != 0 &&
                                !IsFloat(dtype) && dtype != DType::kWeakInt)) {
    return Invalid(absl::StrCat(Name(op), " of ", Name(dtype)));
  }
  if ((info.traits & kFloatOnly) != 0 && dtype == DType::kWeakInt) {
    dtype = DType::kWeakFloat;
    x = Cast(x, dtype);
  }
  return arena_.Make(op, dtype, {x}, {}, arena_[x].shape);
}

Id Builder::Binary(Op op, Id x, Id y) {
  if (Bad({x, y})) return kNoNode;
  const OpInfo& info = InfoOf(op);
  if (info.op_class != OpClass::kElementwise || info.arity != 2) {
    return Invalid(absl::StrCat("'", Name(op), "' is no binary operation"));
  }
  DType dtype = Promote(arena_[x].dtype, arena_[y].dtype);
  if ((info.traits & kFloatOnly) != 0 && dtype == DType::kWeakInt) {
    dtype = DType::kWeakFloat;
  }
  const bool float_only = (info.traits & kFloatOnly) != 0;
  const bool integer_only = (info.traits & kIntegerOnly) != 0;
  const bool logical = op == Op::kAnd || op == Op::kOr || op == Op::kXor;
  const bool comparison = (info.traits & kComparison) != 0;
  if ((float_only && !IsFloat(dtype)) || (integer_only && IsFloat(dtype)) ||
      (dtype == DType::kBool && !logical && !comparison && op != Op::kMax &&
       op != Op::kMin)) {
    return Invalid(absl::StrCat(Name(op), " of ", Name(arena_[x].dtype),
                                " and ", Name(arena_[y].dtype)));
  }
  std::vector<Id> operands = {Cast(x, dtype), Cast(y, dtype)};
  if (!Broadcast(operands, Name(op))) return kNoNode;
  const ShapeId shape = arena_[operands[0]].shape;
  if (shape == kScalarShape && dtype == DType::kWeakInt) {
    const Id made =
        arena_.Make(op, comparison ? DType::kBool : dtype, operands);
    if (IsSymbolic(arena_, made)) return Simplified(arena_, op, operands);
    return made;
  }
  return arena_.Make(op, comparison ? DType::kBool : dtype, operands, {},
                     shape);
}

Id Builder::Where(Id condition, Id x, Id y) {
  if (Bad({condition, x, y})) return kNoNode;
  if (arena_[condition].dtype != DType::kBool) {
    return Invalid(absl::StrCat("where: the condition is ",
                                Name(arena_[condition].dtype),
                                ", expected bool"));
  }
  const DType dtype = Promote(arena_[x].dtype, arena_[y].dtype);
  std::vector<Id> operands = {condition, Cast(x, dtype), Cast(y, dtype)};
  if (!Broadcast(operands, "where")) return kNoNode;
  if (operands[1] == operands[2]) return operands[1];
  return arena_.Make(Op::kWhere, dtype, operands, {},
                     arena_[operands[0]].shape);
}

Id Builder::Fma(Id x, Id y, Id z) {
  if (Bad({x, y, z})) return kNoNode;
  const DType dtype =
      Promote(Promote(arena_[x].dtype, arena_[y].dtype), arena_[z].dtype);
  if (!IsFloat(dtype)) return Invalid(absl::StrCat("fma of ", Name(dtype)));
  std::vector<Id> operands = {Cast(x, dtype), Cast(y, dtype), Cast(z, dtype)};
  if (!Broadcast(operands, "fma")) return kNoNode;
  return arena_.Make(Op::kFma, dtype, operands, {}, arena_[operands[0]].shape);
}

Id Builder::Cast(Id x, DType dtype) {
  if (Bad({x})) return kNoNode;
  const Node node = arena_[x];
  if (node.dtype == dtype) return x;
  // A weak constant takes any type of its kind or above without rounding
  // twice: it is the constant itself that changes type.
  if (node.op == Op::kConst && IsWeak(node.dtype) && node.dtype != dtype &&
      (IsFloat(dtype) || (!IsFloat(node.dtype) && dtype != DType::kBool))) {
    return IsFloat(dtype) ? arena_.FloatConst(dtype, arena_.FloatValue(x))
                          : arena_.IntConst(dtype, arena_.IntValue(x));
  }
  if (node.op == Op::kExpand || node.op == Op::kReshape) {
    // Keep constants next to their consumer.
    const Id inner = node.srcs[0];
    if (arena_[inner].op == Op::kConst ||
        (arena_[inner].op == Op::kReshape &&
         arena_[arena_[inner].srcs[0]].op == Op::kConst)) {
      const Id cast = Cast(inner, dtype);
      return arena_.Make(node.op, dtype, {cast}, *node.attr, node.shape);
    }
  }
  return arena_.Make(Op::kCast, dtype, {x}, {}, node.shape);
}

Id Builder::Bitcast(Id x, DType dtype) {
  if (Bad({x})) return kNoNode;
  const DType from = arena_[x].dtype;
  if (from == dtype) return x;
  if (IsWeak(from) || IsWeak(dtype) || from == DType::kBool ||
      dtype == DType::kBool || ByteSize(from) != ByteSize(dtype)) {
    return Invalid(
        absl::StrCat("bitcast from ", Name(from), " to ", Name(dtype)));
  }
  return arena_.Make(Op::kBitcast, dtype, {x}, {}, arena_[x].shape);
}

Id Builder::Not(Id x) {
  if (Bad({x})) return kNoNode;
  const DType dtype = arena_[x].dtype;
  if (IsFloat(dtype)) return Invalid(absl::StrCat("not of ", Name(dtype)));
  return Binary(Op::kXor, x,
                arena_.IntConst(dtype, dtype == DType::kBool ? 1 : -1));
}

Id Builder::Copy(Id x, absl::string_view device) {
  if (Bad({x})) return kNoNode;
  if (device.empty()) return Invalid("copy to a device without a name");
  return arena_.Make(Op::kCopy, arena_[x].dtype, {x},
                     Attr{{}, std::string(device)}, arena_[x].shape);
}

}  // namespace quern::ir
