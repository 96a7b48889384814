// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic, comparisons, logic and conversions, element by element.
#include "absl/strings/str_cat.h"

#include "engine/graph/tensor_ops.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"
#include "server/import/onnx/tensor.h"

namespace quern::onnx_import {
namespace {

using ir::Op;

constexpr int64_t kAny = INT64_MAX;

template <Id (*F)(ir::Builder&, Id)>
void Unary(NodeCall& c) {
  c.Set(0, F(c.b(), c.In(0)));
}

template <Op op>
void UnaryOp(NodeCall& c) {
  c.Set(0, c.b().Unary(op, c.In(0)));
}

// The second operand of a binary operator. Before opset 7 operands broadcast
// only when asked, and `axis` says which axis of the first operand the second
// one's first axis stands for.
Id SecondOperand(NodeCall& c) {
  const Id y = c.In(1);
  if (c.opset() >= 7 || c.Int("broadcast", 0) == 0 || !c.HasAttribute("axis") ||
      !c.ok()) {
    return y;
  }
  const int64_t axis = c.b().Axis(c.Int("axis", 0), c.Rank(0));
  std::vector<Id> dims = c.Dims(1);
  const int64_t after = c.Rank(0) - axis - static_cast<int64_t>(dims.size());
  if (after < 0) {
    return c.Invalid(absl::StrCat("the second operand does not fit at axis ",
                                  axis, " of the first"));
  }
  dims.insert(dims.end(), static_cast<size_t>(after), c.b().Int(1));
  return c.b().Reshape(y, dims);
}

template <Id (*F)(ir::Builder&, Id, Id)>
void Binary(NodeCall& c) {
  c.Set(0, F(c.b(), c.In(0), SecondOperand(c)));
}

template <Op op>
void BinaryOp(NodeCall& c) {
  c.Set(0, c.b().Binary(op, c.In(0), SecondOperand(c)));
}

// Any number of operands, combined from the first to the last.
template <Op op>
Id Fold(NodeCall& c) {
  Id result = c.In(0);
  for (int i = 1; i < c.inputs(); ++i) {
    result = c.b().Binary(op, result, c.In(i));
  }
  return result;
}

template <Op op>
void Variadic(NodeCall& c) {
  c.Set(0, Fold<op>(c));
}

void MeanOf(NodeCall& c) {
  const double count = c.inputs();
  c.Set(0, c.b().Div(Fold<Op::kAdd>(c), c.b().Float(count)));
}

void Neg(NodeCall& c) { c.Set(0, c.b().Unary(Op::kNeg, c.In(0))); }

void Not(NodeCall& c) { c.Set(0, c.b().Not(c.In(0))); }

void Mod(NodeCall& c) {
  const Id x = c.In(0);
  const Id y = c.In(1);
  const bool truncated = c.Int("fmod", 0) != 0;
  c.Set(0, truncated ? graph::TruncMod(c.b(), x, y)
                     : graph::FloorMod(c.b(), x, y));
}

void Pow(NodeCall& c) {
  c.Set(0, graph::Pow(c.b(), c.In(0), SecondOperand(c)));
}

void BitShift(NodeCall& c) {
  const std::string direction = c.Text("direction", "");
  if (direction != "LEFT" && direction != "RIGHT") {
    c.Invalid(absl::StrCat("direction is ", Quoted(direction),
                           ", expected LEFT or RIGHT"));
  }
  c.Set(0, c.b().Binary(direction == "LEFT" ? Op::kShl : Op::kShr, c.In(0),
                        c.In(1)));
}

void Where(NodeCall& c) { c.Set(0, c.b().Where(c.In(0), c.In(1), c.In(2))); }

void IsInf(NodeCall& c) {
  c.Set(0, graph::IsInf(c.b(), c.In(0), c.Int("detect_positive", 1) != 0,
                        c.Int("detect_negative", 1) != 0));
}

// Bounds are attributes before opset 11 and inputs since.
void Clip(NodeCall& c) {
  Id least = c.Optional(1);
  Id greatest = c.Optional(2);
  if (c.opset() < 11) {
    if (c.HasAttribute("min")) least = c.b().Float(c.Float("min", 0));
    if (c.HasAttribute("max")) greatest = c.b().Float(c.Float("max", 0));
  }
  c.Set(0, graph::Clip(c.b(), c.In(0), least, greatest));
}

void Cast(NodeCall& c) {
  if (!c.HasAttribute("to")) c.Invalid("attribute 'to' is missing");
  c.Set(0, c.b().Cast(c.In(0), c.Type("to", DType::kF32)));
}

// Before opset 6 the type was written as a word.
void CastByName(NodeCall& c) {
  onnx::TensorProto::DataType type = onnx::TensorProto::UNDEFINED;
  const std::string name = c.Text("to", "");
  if (!onnx::TensorProto_DataType_Parse(name, &type)) {
    c.Invalid(
        absl::StrCat("attribute 'to' is ", Quoted(name), ", expected a type"));
  }
  const auto dtype = DTypeOfElement(type);
  if (!dtype.ok()) c.b().Fail(dtype.status());
  c.Set(0, c.b().Cast(c.In(0), dtype.value_or(DType::kF32)));
}

void CastLike(NodeCall& c) { c.Set(0, c.b().Cast(c.In(0), c.TypeOf(1))); }

void BitCast(NodeCall& c) {
  const DType to = c.Type("to", DType::kF32);
  const DType from = c.TypeOf(0);
  // A bool is a byte of 0 or 1.
  const bool boolean = from == DType::kBool || to == DType::kBool;
  if (boolean && ir::ByteSize(from) == ir::ByteSize(to)) {
    const Id byte =
        from == DType::kBool ? c.b().Cast(c.In(0), DType::kU8) : c.In(0);
    c.Set(0,
          to == DType::kBool ? c.b().Cast(byte, to) : c.b().Bitcast(byte, to));
    return;
  }
  c.Set(0, c.b().Bitcast(c.In(0), to));
}

constexpr OpRow kRows[] = {
    {"Abs", 1, kAny, Unary<graph::Abs>},
    {"Acos", 7, kAny, Unary<graph::Acos>},
    {"Acosh", 9, kAny, Unary<graph::Acosh>},
    {"Add", 1, kAny, BinaryOp<Op::kAdd>},
    {"And", 1, kAny, BinaryOp<Op::kAnd>},
    {"Asin", 7, kAny, Unary<graph::Asin>},
    {"Asinh", 9, kAny, Unary<graph::Asinh>},
    {"Atan", 7, kAny, Unary<graph::Atan>},
    {"Atanh", 9, kAny, Unary<graph::Atanh>},
    {"BitCast", 26, kAny, BitCast},
    {"BitShift", 11, kAny, BitShift},
    {"BitwiseAnd", 18, kAny, BinaryOp<Op::kAnd>},
    {"BitwiseNot", 18, kAny, Not},
    {"BitwiseOr", 18, kAny, BinaryOp<Op::kOr>},
    {"BitwiseXor", 18, kAny, BinaryOp<Op::kXor>},
    {"Cast", 1, 5, CastByName},
    {"Cast", 6, kAny, Cast},
    {"CastLike", 15, kAny, CastLike},
    {"Ceil", 1, kAny, Unary<graph::Ceil>},
    {"Clip", 1, kAny, Clip},
    {"Cos", 7, kAny, Unary<graph::Cos>},
    {"Cosh", 9, kAny, Unary<graph::Cosh>},
    {"Div", 1, kAny, Binary<graph::Divide>},
    {"Equal", 1, kAny, BinaryOp<Op::kCmpEq>},
    {"Erf", 9, kAny, UnaryOp<Op::kErf>},
    {"Exp", 1, kAny, Unary<graph::Exp>},
    {"Floor", 1, kAny, Unary<graph::Floor>},
    {"Greater", 1, kAny, Binary<graph::Greater>},
    {"GreaterOrEqual", 12, kAny, Binary<graph::GreaterOrEqual>},
    {"IsInf", 10, kAny, IsInf},
    {"IsNaN", 9, kAny, Unary<graph::IsNan>},
    {"Less", 1, kAny, BinaryOp<Op::kCmpLt>},
    {"LessOrEqual", 12, kAny, Binary<graph::LessOrEqual>},
    {"Log", 1, kAny, Unary<graph::Log>},
    {"Max", 1, kAny, Variadic<Op::kMax>},
    {"Mean", 1, kAny, MeanOf},
    {"Min", 1, kAny, Variadic<Op::kMin>},
    {"Mod", 10, kAny, Mod},
    {"Mul", 1, kAny, BinaryOp<Op::kMul>},
    {"Neg", 1, kAny, Neg},
    {"Not", 1, kAny, Not},
    {"Or", 1, kAny, BinaryOp<Op::kOr>},
    {"Pow", 1, kAny, Pow},
    {"Reciprocal", 1, kAny, Unary<graph::Reciprocal>},
    {"Round", 11, kAny, Unary<graph::Round>},
    {"Sign", 9, kAny, Unary<graph::Sign>},
    {"Sin", 7, kAny, UnaryOp<Op::kSin>},
    {"Sinh", 9, kAny, Unary<graph::Sinh>},
    {"Sqrt", 1, kAny, UnaryOp<Op::kSqrt>},
    {"Sub", 1, kAny, BinaryOp<Op::kSub>},
    {"Sum", 1, kAny, Variadic<Op::kAdd>},
    {"Tan", 7, kAny, Unary<graph::Tan>},
    {"Tanh", 1, kAny, UnaryOp<Op::kTanh>},
    {"Where", 9, kAny, Where},
    {"Xor", 1, kAny, BinaryOp<Op::kXor>},
};

}  // namespace

absl::Span<const OpRow> ElementwiseOps() { return kRows; }

}  // namespace quern::onnx_import
