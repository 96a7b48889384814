// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/verify.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"

namespace quern::ir {
namespace {

// Where a broken rule is reported: the node, and what the level expects.
class Place {
 public:
  Place(const Arena& arena, Id id) : arena_(arena), id_(id) {}

  template <typename... Args>
  [[nodiscard]] absl::Status Broken(const Args&... args) const {
    return absl::InternalError(
        absl::StrCat("node ", id_, " (", Name(node().op), "): ", args...));
  }
  [[nodiscard]] const Node& node() const { return arena_[id_]; }
  [[nodiscard]] const Node& src(size_t i) const {
    return arena_[node().srcs[i]];
  }
  [[nodiscard]] absl::Span<const Id> dims() const { return arena_.DimsOf(id_); }
  [[nodiscard]] absl::Span<const Id> src_dims(size_t i) const {
    return arena_.DimsOf(node().srcs[i]);
  }

  absl::Status Operands(size_t least, size_t most) const {
    const size_t count = node().srcs.size();
    if (count >= least && count <= most) return absl::OkStatus();
    return Broken(count, " operands, expected ", least,
                  least == most ? "" : absl::StrCat(" to ", most));
  }
  absl::Status Attributes(size_t least, size_t most) const {
    const size_t count = node().attr->ints.size();
    if (count >= least && count <= most) return absl::OkStatus();
    return Broken(count, " attributes, expected ", least,
                  least == most ? "" : absl::StrCat(" to ", most));
  }
  // Operand `i` is a scalar of `dtype`.
  absl::Status IsScalar(size_t i, DType dtype) const {
    if (src(i).dtype == dtype && src(i).shape == kScalarShape) {
      return absl::OkStatus();
    }
    return Broken("operand ", i, " is ", Name(src(i).dtype),
                  src(i).shape == kScalarShape ? "" : " with a shape",
                  ", expected a scalar of ", Name(dtype));
  }
  absl::Status IsOf(size_t i, DType dtype) const {
    if (src(i).dtype == dtype) return absl::OkStatus();
    return Broken("operand ", i, " is ", Name(src(i).dtype), ", expected ",
                  Name(dtype));
  }
  absl::Status IsLevel(int64_t value) const {
    if (value >= 0 && value <= static_cast<int64_t>(Level::kGlobal)) {
      return absl::OkStatus();
    }
    return Broken("there is no level ", value);
  }

 private:
  const Arena& arena_;
  const Id id_;
};

bool IsReduction(int64_t op) {
  return op == static_cast<int64_t>(Op::kAdd) ||
         op == static_cast<int64_t>(Op::kMul) ||
         op == static_cast<int64_t>(Op::kMax) ||
         op == static_cast<int64_t>(Op::kMin);
}

absl::Status CheckReduction(const Place& at) {
  const std::vector<int64_t>& ints = at.node().attr->ints;
  if (ints.empty() || !IsReduction(ints[0])) {
    return at.Broken("the operation is none of add, mul, max and min");
  }
  const bool sums = ints[0] == static_cast<int64_t>(Op::kAdd) ||
                    ints[0] == static_cast<int64_t>(Op::kMul);
  if (at.node().dtype == DType::kBool && sums) {
    return at.Broken("sums and products of bool have no meaning");
  }
  return at.IsOf(0, at.node().dtype);
}

// Dtypes and arity of an elementwise operation, on all levels.
absl::Status CheckElementwise(const Place& at) {
  const Node& node = at.node();
  const OpInfo& info = InfoOf(node.op);
  QUERN_RETURN_IF_ERROR(at.Operands(info.arity, info.arity));
  QUERN_RETURN_IF_ERROR(at.Attributes(0, 0));
  for (size_t i = 0; i < node.srcs.size(); ++i) {
    if (at.src(i).shape != node.shape) {
      return at.Broken("operand ", i, " has another shape than the result");
    }
  }
  if (node.op == Op::kCast) return absl::OkStatus();
  if (node.op == Op::kBitcast) {
    const DType from = at.src(0).dtype;
    if (IsWeak(from) || IsWeak(node.dtype) ||
        ByteSize(from) != ByteSize(node.dtype)) {
      return at.Broken("from ", Name(from), " to ", Name(node.dtype));
    }
    return absl::OkStatus();
  }
  if (node.op == Op::kWhere) {
    QUERN_RETURN_IF_ERROR(at.IsOf(0, DType::kBool));
    QUERN_RETURN_IF_ERROR(at.IsOf(1, node.dtype));
    return at.IsOf(2, node.dtype);
  }
  DType operand = node.dtype;
  const bool compares = (info.traits & kComparison) != 0;
  if (compares) {
    if (node.dtype != DType::kBool) {
      return at.Broken("is ", Name(node.dtype), ", expected bool");
    }
    operand = at.src(0).dtype;
  }
  for (size_t i = 0; i < node.srcs.size(); ++i) {
    QUERN_RETURN_IF_ERROR(at.IsOf(i, operand));
  }
  const bool logical = node.op == Op::kAnd || node.op == Op::kOr ||
                       node.op == Op::kXor || node.op == Op::kMax ||
                       node.op == Op::kMin;
  if (((info.traits & kFloatOnly) != 0 && !IsFloat(operand)) ||
      ((info.traits & kIntegerOnly) != 0 && IsFloat(operand)) ||
      (operand == DType::kBool && !logical && !compares)) {
    return at.Broken("of ", Name(operand), " has no meaning");
  }
  return absl::OkStatus();
}

// Attr::ints are values of the dtype.
absl::Status CheckValues(const Place& at) {
  const DType dtype = at.node().dtype;
  if (IsFloat(dtype)) return absl::OkStatus();
  for (int64_t bits : at.node().attr->ints) {
    if (Scalar::OfInt(dtype, bits).bits != bits) {
      return at.Broken(bits, " is no value of ", Name(dtype));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckConst(const Place& at) {
  QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
  QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
  if (at.node().shape != kScalarShape) {
    return at.Broken("a constant is a scalar");
  }
  return CheckValues(at);
}

absl::Status CheckVar(const Place& at) {
  QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
  QUERN_RETURN_IF_ERROR(at.Attributes(2, 2));
  const std::vector<int64_t>& ints = at.node().attr->ints;
  if (at.node().dtype != DType::kWeakInt || at.node().shape != kScalarShape) {
    return at.Broken("a variable is a weak integer");
  }
  if (ints[0] < 0 || ints[1] < ints[0]) {
    return at.Broken("the bounds are ", ints[0], "..", ints[1]);
  }
  return absl::OkStatus();
}

// -------------------------------------------------------------- Tensor level.

// Sizes copied to an arena of their own, where they can be added and
// multiplied without leaving nodes behind in the one that is checked.
class Sizes {
 public:
  explicit Sizes(const Arena& arena) : from_(arena) {}

  Arena& arena() { return arena_; }

  Id Of(Id id) {
    if (const auto it = copies_.find(id); it != copies_.end()) {
      return it->second;
    }
    for (Id part : TopologicalOrder(from_, {id})) {
      if (copies_.contains(part)) continue;
      const Node& node = from_[part];
      if (from_.IsConst(part) && node.dtype == DType::kWeakInt) {
        copies_[part] = arena_.Int(from_.IntValue(part));
      } else if (node.dtype == DType::kWeakInt && IsSymbolic(from_, part)) {
        copies_[part] =
            Simplified(arena_, node.op,
                       {copies_.at(node.srcs[0]), copies_.at(node.srcs[1])});
      } else {
        copies_[part] =
            arena_.Make(Op::kVar, DType::kWeakInt, {},
                        Attr{{node.least, node.greatest}, absl::StrCat(part)});
      }
    }
    return copies_.at(id);
  }

  bool Equal(Id a, Id b) {
    return a == b || ProvablyEqual(arena_, Of(a), Of(b));
  }

  Id ProductOf(absl::Span<const Id> dims) {
    Id product = arena_.Int(1);
    for (Id dim : dims) product = Mul(arena_, product, Of(dim));
    return product;
  }

 private:
  const Arena& from_;
  Arena arena_;
  absl::flat_hash_map<Id, Id> copies_;
};

class TensorLevel {
 public:
  explicit TensorLevel(const Arena& arena) : arena_(arena), sizes_(arena) {}

  absl::Status Check(Id id) {
    const Place at(arena_, id);
    QUERN_RETURN_IF_ERROR(CheckShape(at));
    switch (InfoOf(at.node().op).op_class) {
      case OpClass::kSource:
        return Source(at);
      case OpClass::kMovement:
        return Movement(at);
      case OpClass::kElementwise:
        return CheckElementwise(at);
      case OpClass::kReduction:
        return Reduction(at);
      case OpClass::kIndexed:
        return Gather(at);
      case OpClass::kPlace:
        return Placed(at);
      case OpClass::kLoopStructure:
      case OpClass::kLinear:
        break;
    }
    return at.Broken("is no operation of the tensor level");
  }

 private:
  absl::Status CheckShape(const Place& at) {
    if (at.dims().size() > static_cast<size_t>(kMaxRank)) {
      return at.Broken("rank ", at.dims().size(), " is over the limit of ",
                       kMaxRank);
    }
    int64_t elements = 1;
    for (Id dim : at.dims()) {
      const Node& size = arena_[dim];
      if (size.dtype != DType::kWeakInt || size.shape != kScalarShape) {
        return at.Broken("a dimension is no scalar of ", Name(DType::kWeakInt));
      }
      if (size.greatest < 0) return at.Broken("a dimension is negative");
      if (!arena_.IsConst(dim)) continue;
      if (__builtin_mul_overflow(elements, std::max<int64_t>(size.least, 1),
                                 &elements) ||
          elements > kMaxElements) {
        return at.Broken("more than ", kMaxElements, " elements");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Source(const Place& at) {
    const Node& node = at.node();
    switch (node.op) {
      case Op::kConst:
        return CheckConst(at);
      case Op::kVar:
        return CheckVar(at);
      case Op::kConstArray: {
        QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
        const Id elements = sizes_.ProductOf(at.dims());
        const auto count = static_cast<int64_t>(node.attr->ints.size());
        if (!sizes_.arena().IsInt(elements, count)) {
          return at.Broken(count, " elements do not fill the shape");
        }
        return CheckValues(at);
      }
      case Op::kWeight:
      case Op::kInput:
        QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
        QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
        if (node.attr->ints[0] < 0) return at.Broken("the slot is negative");
        if (IsWeak(node.dtype)) return at.Broken("the dtype is weak");
        return absl::OkStatus();
      case Op::kIota:
        QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
        if (node.dtype != DType::kWeakInt || at.dims().size() != 1) {
          return at.Broken("expected one axis of ", Name(DType::kWeakInt));
        }
        return absl::OkStatus();
      default:
        return at.Broken("is no operation of the tensor level");
    }
  }

  absl::Status SameRank(const Place& at) {
    if (at.src_dims(0).size() == at.dims().size()) return absl::OkStatus();
    return at.Broken("rank ", at.dims().size(), " from rank ",
                     at.src_dims(0).size());
  }

  // The operands after the first are one size for each axis, none negative.
  absl::Status SizePerAxis(const Place& at) {
    const size_t rank = at.src_dims(0).size();
    QUERN_RETURN_IF_ERROR(at.Operands(rank + 1, rank + 1));
    QUERN_RETURN_IF_ERROR(SameRank(at));
    for (size_t i = 0; i < rank; ++i) {
      QUERN_RETURN_IF_ERROR(at.IsScalar(i + 1, DType::kWeakInt));
      if (at.src(i + 1).greatest < 0) {
        return at.Broken("operand ", i + 1, " is negative");
      }
    }
    return absl::OkStatus();
  }

  absl::Status SameDim(const Place& at, size_t i, Id expected) {
    if (sizes_.Equal(at.dims()[i], expected)) return absl::OkStatus();
    return at.Broken("axis ", i, " has size ", SizeText(arena_, at.dims()[i]),
                     ", expected ", SizeText(arena_, expected));
  }

  absl::Status Movement(const Place& at) {
    const Node& node = at.node();
    QUERN_RETURN_IF_ERROR(at.Operands(1, node.srcs.size()));
    QUERN_RETURN_IF_ERROR(at.IsOf(0, node.dtype));
    switch (node.op) {
      case Op::kReshape:
        QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
        if (ProvablyEqual(sizes_.arena(), sizes_.ProductOf(at.dims()),
                          sizes_.ProductOf(at.src_dims(0)))) {
          return absl::OkStatus();
        }
        return at.Broken("the number of elements changes");
      case Op::kPermute:
        return Permute(at);
      case Op::kExpand:
        QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
        QUERN_RETURN_IF_ERROR(SameRank(at));
        for (size_t i = 0; i < at.dims().size(); ++i) {
          if (arena_.IsInt(at.src_dims(0)[i], 1)) continue;
          QUERN_RETURN_IF_ERROR(SameDim(at, i, at.src_dims(0)[i]));
        }
        return absl::OkStatus();
      case Op::kPad:
        return Pad(at);
      case Op::kShrink:
        return Shrink(at);
      case Op::kFlip:
        QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
        if (node.shape != at.src(0).shape) {
          return at.Broken("the shape changes");
        }
        return Axes(at, 0);
      case Op::kConcat:
        return Concat(at);
      case Op::kWindow:
        return Window(at);
      default:
        return at.Broken("is no movement that the verifier knows");
    }
  }

  // Attr::ints from `first` on are axes of operand 0, ascending, at least one.
  absl::Status Axes(const Place& at, size_t first) {
    const std::vector<int64_t>& ints = at.node().attr->ints;
    int64_t before = -1;
    for (size_t i = first; i < ints.size(); ++i) {
      if (ints[i] <= before ||
          ints[i] >= static_cast<int64_t>(at.src_dims(0).size())) {
        return at.Broken("axis ", ints[i], " is out of range or order");
      }
      before = ints[i];
    }
    if (ints.size() > first) return absl::OkStatus();
    return at.Broken("there are no axes");
  }

  absl::Status Permute(const Place& at) {
    QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
    QUERN_RETURN_IF_ERROR(SameRank(at));
    const std::vector<int64_t>& order = at.node().attr->ints;
    std::vector<int64_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    bool valid = order.size() == at.dims().size();
    for (size_t i = 0; valid && i < sorted.size(); ++i) {
      valid = sorted[i] == static_cast<int64_t>(i);
    }
    if (!valid) return at.Broken("the axes are no permutation");
    for (size_t i = 0; i < order.size(); ++i) {
      QUERN_RETURN_IF_ERROR(SameDim(at, i, at.src_dims(0)[order[i]]));
    }
    return absl::OkStatus();
  }

  absl::Status Pad(const Place& at) {
    QUERN_RETURN_IF_ERROR(SizePerAxis(at));
    Arena& scratch = sizes_.arena();
    for (size_t i = 0; i < at.dims().size(); ++i) {
      const Id content = Add(scratch, sizes_.Of(at.src_dims(0)[i]),
                             sizes_.Of(at.node().srcs[i + 1]));
      if (scratch[Sub(scratch, sizes_.Of(at.dims()[i]), content)].greatest <
          0) {
        return at.Broken("axis ", i, " is smaller than what it holds");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Shrink(const Place& at) {
    QUERN_RETURN_IF_ERROR(SizePerAxis(at));
    const size_t rank = at.dims().size();
    QUERN_RETURN_IF_ERROR(at.Attributes(rank, rank));
    Arena& scratch = sizes_.arena();
    for (size_t i = 0; i < rank; ++i) {
      const int64_t step = at.node().attr->ints[i];
      if (step < 1) return at.Broken("the step of axis ", i, " is ", step);
      const Id size = sizes_.Of(at.dims()[i]);
      if (scratch[size].least <= 0) continue;  // Perhaps nothing is read.
      const Id last = Add(
          scratch, sizes_.Of(at.node().srcs[i + 1]),
          Mul(scratch, Add(scratch, size, scratch.Int(-1)), scratch.Int(step)));
      const Id room = Sub(scratch, sizes_.Of(at.src_dims(0)[i]), last);
      if (scratch[room].greatest < 1) {
        return at.Broken("axis ", i, " is read past its end");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Concat(const Place& at) {
    QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
    const int64_t axis = at.node().attr->ints[0];
    const size_t rank = at.dims().size();
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) {
      return at.Broken("axis ", axis, " is out of range");
    }
    Arena& scratch = sizes_.arena();
    Id total = scratch.Int(0);
    for (size_t part = 0; part < at.node().srcs.size(); ++part) {
      QUERN_RETURN_IF_ERROR(at.IsOf(part, at.node().dtype));
      const absl::Span<const Id> dims = at.src_dims(part);
      if (dims.size() != rank) {
        return at.Broken("operand ", part, " has rank ", dims.size());
      }
      for (size_t i = 0; i < rank; ++i) {
        if (static_cast<int64_t>(i) == axis) continue;
        QUERN_RETURN_IF_ERROR(SameDim(at, i, dims[i]));
      }
      total = Add(scratch, total, sizes_.Of(dims[axis]));
    }
    if (ProvablyEqual(scratch, total, sizes_.Of(at.dims()[axis]))) {
      return absl::OkStatus();
    }
    return at.Broken("axis ", axis, " is not as long as the operands together");
  }

  absl::Status Window(const Place& at) {
    QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
    QUERN_RETURN_IF_ERROR(at.Attributes(4, 4));
    const std::vector<int64_t>& ints = at.node().attr->ints;
    const auto rank = static_cast<int64_t>(at.src_dims(0).size());
    if (ints[0] < 0 || ints[0] >= rank) {
      return at.Broken("axis ", ints[0], " is out of range");
    }
    for (size_t i = 1; i < ints.size(); ++i) {
      if (ints[i] < 1 || ints[i] > kMaxElements) {
        return at.Broken("attribute ", i, " is ", ints[i]);
      }
    }
    int64_t reach = 0;
    if (__builtin_mul_overflow(ints[1] - 1, ints[3], &reach) ||
        reach > kMaxElements) {
      return at.Broken("the taps reach too far");
    }
    if (static_cast<int64_t>(at.dims().size()) != rank + 1 ||
        !arena_.IsInt(at.dims()[rank], ints[1])) {
      return at.Broken("there is no last axis of taps");
    }
    Arena& scratch = sizes_.arena();
    for (int64_t i = 0; i < rank; ++i) {
      if (i != ints[0]) {
        QUERN_RETURN_IF_ERROR(SameDim(at, i, at.src_dims(0)[i]));
        continue;
      }
      const Id room =
          Add(scratch, sizes_.Of(at.src_dims(0)[i]), scratch.Int(-(reach + 1)));
      const Id positions = Add(
          scratch, IDiv(scratch, room, scratch.Int(ints[2])), scratch.Int(1));
      if (scratch[room].greatest < 0 ||
          !ProvablyEqual(scratch, positions, sizes_.Of(at.dims()[i]))) {
        return at.Broken("axis ", i, " does not have the size of its windows");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Gather(const Place& at) {
    QUERN_RETURN_IF_ERROR(at.Operands(2, 2));
    QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
    QUERN_RETURN_IF_ERROR(at.IsOf(0, at.node().dtype));
    if (!IsInteger(at.src(1).dtype)) {
      return at.Broken("positions are ", Name(at.src(1).dtype));
    }
    const int64_t axis = at.node().attr->ints[0];
    const absl::Span<const Id> data = at.src_dims(0);
    if (axis < 0 || axis >= static_cast<int64_t>(data.size())) {
      return at.Broken("axis ", axis, " is out of range");
    }
    if (arena_[data[axis]].greatest < 1) return at.Broken("the axis is empty");
    std::vector<Id> expected(data.begin(), data.begin() + axis);
    expected.insert(expected.end(), at.src_dims(1).begin(),
                    at.src_dims(1).end());
    expected.insert(expected.end(), data.begin() + axis + 1, data.end());
    return HasDims(at, expected);
  }

  absl::Status HasDims(const Place& at, absl::Span<const Id> expected) {
    if (at.dims().size() != expected.size()) {
      return at.Broken("rank ", at.dims().size(), ", expected ",
                       expected.size());
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      QUERN_RETURN_IF_ERROR(SameDim(at, i, expected[i]));
    }
    return absl::OkStatus();
  }

  absl::Status Reduction(const Place& at) {
    QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
    QUERN_RETURN_IF_ERROR(CheckReduction(at));
    QUERN_RETURN_IF_ERROR(Axes(at, 1));
    const std::vector<int64_t>& ints = at.node().attr->ints;
    std::vector<Id> expected;
    for (size_t i = 0; i < at.src_dims(0).size(); ++i) {
      if (!std::binary_search(ints.begin() + 1, ints.end(),
                              static_cast<int64_t>(i))) {
        expected.push_back(at.src_dims(0)[i]);
      }
    }
    return HasDims(at, expected);
  }

  absl::Status Placed(const Place& at) {
    const Node& node = at.node();
    QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
    QUERN_RETURN_IF_ERROR(at.IsOf(0, node.dtype));
    if (node.shape != at.src(0).shape) return at.Broken("the shape changes");
    if (node.op == Op::kStage) {
      QUERN_RETURN_IF_ERROR(at.Attributes(2, 2));
      return at.IsLevel(node.attr->ints[0]);
    }
    if (node.attr->text.empty()) return at.Broken("the device has no name");
    return absl::OkStatus();
  }

  const Arena& arena_;
  Sizes sizes_;
};

// The nodes below `roots`, those of dimensions included, operands first.
std::vector<Id> Reachable(const Arena& arena, absl::Span<const Id> roots) {
  std::vector<bool> wanted(arena.size(), false);
  for (Id root : roots) wanted[root] = true;
  std::vector<Id> order;
  for (Id id = static_cast<Id>(arena.size()); id-- > 0;) {
    if (!wanted[id]) continue;
    order.push_back(id);
    for (Id src : arena[id].srcs) wanted[src] = true;
    for (Id dim : arena.DimsOf(id)) wanted[dim] = true;
  }
  std::reverse(order.begin(), order.end());
  return order;
}

// -------------------------------------------------------------- Kernel level.

class KernelLevel {
 public:
  explicit KernelLevel(const Arena& arena) : arena_(arena) {}

  absl::Status Run(Id sink) {
    const Place at_sink(arena_, sink);
    if (at_sink.node().op != Op::kSink) return at_sink.Broken("is no sink");
    for (Id id : Reachable(arena_, {sink})) {
      QUERN_RETURN_IF_ERROR(Check(id));
      FindFree(id);
    }
    const std::vector<Id>& free = free_[sink];
    if (free.empty()) return absl::OkStatus();
    return at_sink.Broken("range r", arena_[free[0]].attr->ints[0],
                          " is used but nothing runs it");
  }

 private:
  absl::Status Check(Id id) {
    const Place at(arena_, id);
    const Node& node = at.node();
    const bool base = node.op == Op::kParam || node.op == Op::kConstArray ||
                      node.op == Op::kStage;
    if (node.shape != kScalarShape && !base) {
      return at.Broken("has a shape, but there are only scalars here");
    }
    switch (node.op) {
      case Op::kConst:
        return CheckConst(at);
      case Op::kVar:
        return CheckVar(at);
      case Op::kConstArray:
        QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
        return CheckValues(at);
      case Op::kParam:
        QUERN_RETURN_IF_ERROR(at.Operands(0, 0));
        QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
        if (node.attr->ints[0] < 0) return at.Broken("the slot is negative");
        return absl::OkStatus();
      case Op::kRange:
        return Range(at, id);
      case Op::kLoad:
        QUERN_RETURN_IF_ERROR(at.Operands(2, 3));
        QUERN_RETURN_IF_ERROR(Access(at, 2));
        return at.IsOf(0, node.dtype);
      case Op::kPrefetch:
        QUERN_RETURN_IF_ERROR(at.Operands(3, 3));
        if (at.src(1).op != Op::kParam) {
          return at.Broken("operand 1 is ", Name(at.src(1).op),
                           ", not a parameter");
        }
        QUERN_RETURN_IF_ERROR(at.IsScalar(2, DType::kWeakInt));
        return at.IsOf(0, node.dtype);
      case Op::kStore:
        QUERN_RETURN_IF_ERROR(at.Operands(3, 4));
        QUERN_RETURN_IF_ERROR(Access(at, 3));
        if (at.src(0).op == Op::kConstArray) {
          return at.Broken("writes to a constant array");
        }
        return at.IsOf(2, at.src(0).dtype);
      case Op::kSink:
        return Sink(at);
      case Op::kReduce:
        QUERN_RETURN_IF_ERROR(at.Operands(2, node.srcs.size()));
        QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
        QUERN_RETURN_IF_ERROR(Ranges(at, 1));
        return CheckReduction(at);
      case Op::kStage:
        QUERN_RETURN_IF_ERROR(at.Operands(3, node.srcs.size()));
        QUERN_RETURN_IF_ERROR(at.Attributes(2, 2));
        QUERN_RETURN_IF_ERROR(at.IsOf(0, node.dtype));
        QUERN_RETURN_IF_ERROR(at.IsScalar(1, DType::kWeakInt));
        QUERN_RETURN_IF_ERROR(at.IsScalar(2, DType::kWeakInt));
        QUERN_RETURN_IF_ERROR(Ranges(at, 3));
        return at.IsLevel(node.attr->ints[0]);
      default:
        if (IsElementwise(node.op)) return CheckElementwise(at);
        return at.Broken("is no operation of the kernel level");
    }
  }

  absl::Status Range(const Place& at, Id id) {
    QUERN_RETURN_IF_ERROR(at.Operands(1, 1));
    QUERN_RETURN_IF_ERROR(at.Attributes(2, 2));
    QUERN_RETURN_IF_ERROR(at.IsScalar(0, DType::kWeakInt));
    const std::vector<int64_t>& ints = at.node().attr->ints;
    if (at.node().dtype != DType::kWeakInt) {
      return at.Broken("is ", Name(at.node().dtype));
    }
    if (ints[1] < 0 || ints[1] > static_cast<int64_t>(RangeKind::kVector)) {
      return at.Broken("there is no kind of range ", ints[1]);
    }
    const auto [it, fresh] = numbers_.emplace(ints[0], id);
    if (fresh) return absl::OkStatus();
    return at.Broken("node ", it->second, " is range ", ints[0], " as well");
  }

  // Base, index, and the gate at operand `gate` if there is one.
  absl::Status Access(const Place& at, size_t gate) {
    const Op base = at.src(0).op;
    if (base != Op::kParam && base != Op::kConstArray && base != Op::kStage) {
      return at.Broken("operand 0 is ", Name(base), ", not a base");
    }
    QUERN_RETURN_IF_ERROR(at.IsScalar(1, DType::kWeakInt));
    if (at.node().srcs.size() <= gate) return absl::OkStatus();
    return at.IsScalar(gate, DType::kBool);
  }

  // The operands from `first` on are ranges, each once, from the outside in.
  absl::Status Ranges(const Place& at, size_t first) {
    std::vector<Id> ranges(at.node().srcs.begin() + first,
                           at.node().srcs.end());
    for (size_t i = first; i < at.node().srcs.size(); ++i) {
      if (at.src(i).op != Op::kRange) {
        return at.Broken("operand ", i, " is ", Name(at.src(i).op),
                         ", expected a range");
      }
    }
    QUERN_RETURN_IF_ERROR(ExtentsAreKnownOutside(at, ranges));
    std::sort(ranges.begin(), ranges.end());
    if (std::adjacent_find(ranges.begin(), ranges.end()) == ranges.end()) {
      return absl::OkStatus();
    }
    return at.Broken("a range is there twice");
  }

  // A loop needs its extent before the loops inside it run.
  absl::Status ExtentsAreKnownOutside(const Place& at,
                                      const std::vector<Id>& ranges) {
    for (auto outer = ranges.begin(); outer != ranges.end(); ++outer) {
      for (Id inside : free_[arena_[*outer].srcs[0]]) {
        if (std::find(outer, ranges.end(), inside) == ranges.end()) continue;
        return at.Broken("the extent of range r", arena_[*outer].attr->ints[0],
                         " depends on range r", arena_[inside].attr->ints[0],
                         " inside it");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Sink(const Place& at) {
    QUERN_RETURN_IF_ERROR(at.Attributes(1, 1));
    const int64_t stores = at.node().attr->ints[0];
    if (stores < 1 || stores > static_cast<int64_t>(at.node().srcs.size())) {
      return at.Broken(stores, " stores of ", at.node().srcs.size(),
                       " operands");
    }
    for (int64_t i = 0; i < stores; ++i) {
      if (at.src(i).op != Op::kStore) {
        return at.Broken("operand ", i, " is ", Name(at.src(i).op),
                         ", expected a store");
      }
    }
    return Ranges(at, stores);
  }

  // The ranges whose values `id` depends on; what runs a range has it no more.
  void FindFree(Id id) {
    const Node& node = arena_[id];
    std::vector<Id> free;
    for (Id src : node.srcs) {
      const std::vector<Id>& more = free_[src];
      free.insert(free.end(), more.begin(), more.end());
    }
    size_t first = node.srcs.size();
    if (node.op == Op::kRange) free.push_back(id);
    if (node.op == Op::kReduce) first = 1;
    if (node.op == Op::kStage) first = 3;
    if (node.op == Op::kSink) first = static_cast<size_t>(node.attr->ints[0]);
    std::sort(free.begin(), free.end());
    free.erase(std::unique(free.begin(), free.end()), free.end());
    for (size_t i = first; i < node.srcs.size(); ++i) {
      free.erase(std::remove(free.begin(), free.end(), node.srcs[i]),
                 free.end());
    }
    free_[id] = std::move(free);
  }

  const Arena& arena_;
  absl::flat_hash_map<int64_t, Id> numbers_;
  absl::flat_hash_map<Id, std::vector<Id>> free_;
};

}  // namespace

absl::Status VerifyTensorLevel(const Arena& arena, absl::Span<const Id> roots) {
  TensorLevel level(arena);
  for (Id id : Reachable(arena, roots)) {
    QUERN_RETURN_IF_ERROR(level.Check(id));
  }
  return absl::OkStatus();
}

absl::Status VerifyKernelLevel(const Arena& arena, Id sink) {
  return KernelLevel(arena).Run(sink);
}

}  // namespace quern::ir
