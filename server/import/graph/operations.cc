// SPDX-License-Identifier: Apache-2.0
//
// The operations of the vocabulary. Elementwise ones come from the engine's
// table as they are; the others have parameters and are listed one by one.
#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"
#include "engine/ir/op.h"
#include "server/import/graph/vocabulary.h"

namespace quern::graph_import {
namespace {

using ir::Builder;
using ir::Id;
using ir::Op;
using Operands = absl::Span<const Id>;
using Results = std::vector<Id>;

// A longer array is a weight.
constexpr size_t kMaxConstArray = 65'536;

ir::DType ConstType(const Attributes& a, const Value& value) {
  if (a.Has("data_type")) return a["data_type"].dtype;
  return value.is_real ? ir::DType::kWeakFloat : ir::DType::kWeakInt;
}

// The bits of an integer in a constant of type `dtype`.
int64_t Bits(ir::DType dtype, int64_t value) {
  return ir::IsFloat(dtype) ? std::bit_cast<int64_t>(static_cast<double>(value))
                            : value;
}

// False, with an error, for a float as the value of an integer type.
bool FitsType(Builder& b, ir::DType dtype, bool is_real) {
  if (!is_real || ir::IsFloat(dtype)) return true;
  b.Invalid(absl::StrCat("a float cannot be the value of a constant of type ",
                         ir::Name(dtype)));
  return false;
}

// False, with an error, for an integer outside an integer type.
bool InRange(Builder& b, ir::DType dtype, int64_t value) {
  const int64_t bits = 8 * ir::ByteSize(dtype);
  if (ir::IsFloat(dtype) || bits == 0 || bits == 64) return true;
  const bool is_signed = ir::KindOf(dtype) == ir::DTypeKind::kSigned;
  const int64_t least = is_signed ? -(int64_t{1} << (bits - 1)) : 0;
  int64_t greatest = (int64_t{1} << (is_signed ? bits - 1 : bits)) - 1;
  if (dtype == ir::DType::kBool) greatest = 1;
  if (value >= least && value <= greatest) return true;
  b.Invalid(absl::StrCat("constant ", value, " is outside the type ",
                         ir::Name(dtype)));
  return false;
}

Results Const(Builder& b, Operands, const Attributes& a) {
  const Value& value = a["value"];
  const ir::DType dtype = ConstType(a, value);
  if (!FitsType(b, dtype, value.is_real)) return {ir::kNoNode};
  if (value.is_real) return {b.arena().FloatConst(dtype, value.real)};
  if (!InRange(b, dtype, value.integer)) return {ir::kNoNode};
  return {b.arena().IntConst(dtype, value.integer)};
}

Results ConstArray(Builder& b, Operands, const Attributes& a) {
  const Value& values = a["values"];
  const ir::DType dtype = ConstType(a, values);
  if (!FitsType(b, dtype, values.is_real)) return {ir::kNoNode};
  const size_t count =
      values.is_real ? values.reals.size() : values.integers.size();
  if (count == 0 || count > kMaxConstArray) {
    return {b.Invalid(absl::StrCat("an array of constants has 1 to ",
                                   kMaxConstArray, " elements, got ", count))};
  }
  std::vector<int64_t> bits(count);
  for (size_t i = 0; i < count; ++i) {
    if (values.is_real) {
      bits[i] = std::bit_cast<int64_t>(values.reals[i]);
    } else if (InRange(b, dtype, values.integers[i])) {
      bits[i] = Bits(dtype, values.integers[i]);
    } else {
      return {ir::kNoNode};
    }
  }
  std::vector<Id> dims = {b.Int(static_cast<int64_t>(count))};
  if (a.Has("dims")) {
    dims.clear();
    for (int64_t dim : a["dims"].integers) dims.push_back(b.Int(dim));
  }
  return {b.ConstArray(dtype, bits, dims)};
}

Results Iota(Builder& b, Operands, const Attributes& a) {
  return {b.Iota(a["size"].sizes[0])};
}

Results Reshape(Builder& b, Operands x, const Attributes& a) {
  return {b.Reshape(x[0], a["dims"].sizes)};
}

Results Permute(Builder& b, Operands x, const Attributes& a) {
  return {b.Permute(x[0], a["order"].integers)};
}

Results Expand(Builder& b, Operands x, const Attributes& a) {
  return {b.Expand(x[0], a["dims"].sizes)};
}

Results Pad(Builder& b, Operands x, const Attributes& a) {
  return {b.Pad(x[0], a["before"].sizes, a["after"].sizes)};
}

Results Shrink(Builder& b, Operands x, const Attributes& a) {
  return {
      b.Shrink(x[0], a["begins"].sizes, a["sizes"].sizes, a["steps"].integers)};
}

Results Flip(Builder& b, Operands x, const Attributes& a) {
  return {b.Flip(x[0], a["axes"].integers)};
}

Results Concat(Builder& b, Operands x, const Attributes& a) {
  return {b.Concat(x, a.Int("axis"))};
}

Results Window(Builder& b, Operands x, const Attributes& a) {
  return {b.Window(x[0], a.Int("axis"), a.Int("taps"), a.Int("stride", 1),
                   a.Int("dilation", 1))};
}

Results Gather(Builder& b, Operands x, const Attributes& a) {
  return {b.Gather(x[0], x[1], a.Int("axis"))};
}

Results Reduce(Builder& b, Operands x, const Attributes& a) {
  const std::string& name = a["operation"].text;
  for (Op op : {Op::kAdd, Op::kMul, Op::kMax, Op::kMin}) {
    if (name == ir::Name(op)) return {b.Reduce(op, x[0], a["axes"].integers)};
  }
  return {b.Invalid(
      absl::StrCat("a reduction's operation is add, mul, max or min, got ",
                   base::Quoted(name)))};
}

Results Copy(Builder& b, Operands x, const Attributes& a) {
  return {b.Copy(x[0], a["device"].text)};
}

Results Cast(Builder& b, Operands x, const Attributes& a) {
  return {b.Cast(x[0], a["data_type"].dtype)};
}

Results Bitcast(Builder& b, Operands x, const Attributes& a) {
  return {b.Bitcast(x[0], a["data_type"].dtype)};
}

template <Op op>
Results Elementwise(Builder& b, Operands x, const Attributes&) {
  if constexpr (op == Op::kWhere) return {b.Where(x[0], x[1], x[2])};
  if constexpr (op == Op::kFma) return {b.Fma(x[0], x[1], x[2])};
  if (x.size() == 1) return {b.Unary(op, x[0])};
  return {b.Binary(op, x[0], x[1])};
}

using P = ParameterType;

Entry Row(Op op, std::vector<Parameter> parameters, BuildFunction build) {
  const ir::OpInfo& info = ir::InfoOf(op);
  return {.op = info.text,
          .meaning = info.meaning,
          .least_operands = info.arity,
          .greatest_operands = info.arity,
          .parameters = std::move(parameters),
          .build = build};
}

// As Row, where the engine's operands include sizes, which are parameters here.
Entry Row(Op op, const char* meaning, int least, int greatest,
          std::vector<Parameter> parameters, BuildFunction build) {
  Entry entry = Row(op, std::move(parameters), build);
  entry.meaning = meaning;
  entry.least_operands = least;
  entry.greatest_operands = greatest;
  return entry;
}

std::vector<Entry> WithParameters() {
  return {
      Row(Op::kConst,
          {{"data_type", P::kDataType, true}, {"value", P::kNumber}}, Const),
      Row(Op::kConstArray, "a small array; on no device", 0, 0,
          {{"data_type", P::kDataType, true},
           {"dims", P::kInts, true},
           {"values", P::kNumbers}},
          ConstArray),
      Row(Op::kIota, {{"size", P::kSize}}, Iota),
      Row(Op::kReshape, {{"dims", P::kSizes}}, Reshape),
      Row(Op::kPermute, {{"order", P::kInts}}, Permute),
      Row(Op::kExpand, {{"dims", P::kSizes}}, Expand),
      Row(Op::kPad, "zeros around the tensor", 1, 1,
          {{"after", P::kSizes}, {"before", P::kSizes}}, Pad),
      Row(Op::kShrink, "a box cut out with a step", 1, 1,
          {{"begins", P::kSizes},
           {"sizes", P::kSizes},
           {"steps", P::kInts, true}},
          Shrink),
      Row(Op::kFlip, {{"axes", P::kInts}}, Flip),
      Row(Op::kConcat, "operands one after the other along one axis", 1, -1,
          {{"axis", P::kInt}}, Concat),
      Row(Op::kWindow,
          {{"axis", P::kInt},
           {"dilation", P::kInt, true},
           {"stride", P::kInt, true},
           {"taps", P::kInt}},
          Window),
      Row(Op::kGather, {{"axis", P::kInt}}, Gather),
      Row(Op::kReduce, "`operation` (add, mul, max or min) over axes", 1, 1,
          {{"axes", P::kInts}, {"operation", P::kText}}, Reduce),
      Row(Op::kCopy, {{"device", P::kText}}, Copy),
      Row(Op::kCast, {{"data_type", P::kDataType}}, Cast),
      Row(Op::kBitcast, {{"data_type", P::kDataType}}, Bitcast),
  };
}

struct ElementwiseRow {
  Op op;
  BuildFunction build;
};

// Every operation as if it were elementwise; those of other classes are
// filtered out by the caller.
constexpr ElementwiseRow kElementwise[] = {
#define QUERN_OP(name, text, arity, op_class, traits, meaning) \
  {Op::name, Elementwise<Op::name>},
#include "engine/ir/ops.inc"
#undef QUERN_OP
};

}  // namespace

std::vector<Entry> OperationEntries() {
  std::vector<Entry> entries = WithParameters();
  for (const ElementwiseRow& row : kElementwise) {
    const auto same_name = [&](const Entry& entry) {
      return entry.op == ir::Name(row.op);
    };
    if (!ir::IsElementwise(row.op) ||
        std::any_of(entries.begin(), entries.end(), same_name)) {
      continue;
    }
    entries.push_back(Row(row.op, {}, row.build));
  }
  const auto number = [](const Entry& entry) {
    const absl::StatusOr<Op> op = ir::ParseOp(entry.op);
    return op.ok() ? static_cast<int>(*op) : ir::kNumOps;
  };
  std::sort(
      entries.begin(), entries.end(),
      [&](const Entry& a, const Entry& b) { return number(a) < number(b); });
  return entries;
}

}  // namespace quern::graph_import
