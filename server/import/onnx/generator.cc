// SPDX-License-Identifier: Apache-2.0
//
// Operators that make tensors out of little or nothing.
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"
#include "server/import/onnx/tensor.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

// The tensor in an attribute, as a node.
Id ConstantOf(NodeCall& c, const onnx::TensorProto& tensor) {
  const absl::StatusOr<graph::Weight> weight =
      ReadTensor(tensor, c.context().file->proto);
  if (!weight.ok()) return c.b().Fail(weight.status());
  return c.context().Constant(*weight);
}

template <typename Element>
graph::Weight ListOf(DType dtype, const std::vector<Element>& values) {
  std::string bytes(reinterpret_cast<const char*>(values.data()),
                    values.size() * sizeof(Element));
  return {"",
          dtype,
          {static_cast<int64_t>(values.size())},
          graph::Bytes(std::move(bytes))};
}

void Constant(NodeCall& c) {
  if (const onnx::TensorProto* value = c.Tensor("value")) {
    c.Set(0, ConstantOf(c, *value));
  } else if (c.HasAttribute("value_float")) {
    c.Set(0, c.arena().FloatConst(DType::kF32, c.Float("value_float", 0)));
  } else if (c.HasAttribute("value_int")) {
    c.Set(0, c.arena().IntConst(DType::kI64, c.Int("value_int", 0)));
  } else if (c.HasAttribute("value_floats")) {
    const std::vector<double> wide = c.Floats("value_floats");
    const std::vector<float> values(wide.begin(), wide.end());
    c.Set(0, c.context().Constant(ListOf(DType::kF32, values)));
  } else if (c.HasAttribute("value_ints")) {
    c.Set(0, c.context().Constant(ListOf(DType::kI64, c.Ints("value_ints"))));
  } else if (c.ok()) {
    c.Unimplemented("a constant of strings or in sparse form is not supported");
  }
}

void ConstantOfShape(NodeCall& c) {
  Id value = c.arena().FloatConst(DType::kF32, 0);
  if (const onnx::TensorProto* tensor = c.Tensor("value")) {
    value = ConstantOf(c, *tensor);
    if (c.ok() && ir::Product(c.arena(), c.b().Dims(value)) != c.b().Int(1)) {
      c.Invalid("attribute 'value' has more than one element");
    }
    value = c.b().Reshape(value, {});
  }
  c.Set(0, c.b().Expand(value, c.Sizes(0, "shape")));
}

// start, start + delta, ... before limit.
void Range(NodeCall& c) {
  ir::Builder& b = c.b();
  const DType dtype = c.TypeOf(0);
  if (!c.ok()) return;
  Id count = kNoNode;
  if (ir::IsFloat(dtype)) {
    const std::vector<double> start = c.Doubles(0, "start");
    const std::vector<double> limit = c.Doubles(1, "limit");
    const std::vector<double> delta = c.Doubles(2, "delta");
    if (!c.ok() || start.size() != 1 || limit.size() != 1 ||
        delta.size() != 1) {
      c.Invalid("start, limit and delta must be scalars");
      return;
    }
    const double steps = std::ceil((limit[0] - start[0]) / delta[0]);
    if (!(steps < static_cast<double>(ir::kMaxElements))) {
      c.Invalid(absl::StrCat("range from ", start[0], " to ", limit[0], " by ",
                             delta[0]));
      return;
    }
    count = b.Int(steps > 0 ? static_cast<int64_t>(steps) : 0);
  } else {
    const std::vector<Id> start = c.Sizes(0, "start");
    const std::vector<Id> limit = c.Sizes(1, "limit");
    const std::vector<int64_t> delta = c.Integers(2, "delta");
    if (!c.ok() || start.size() != 1 || limit.size() != 1 ||
        delta.size() != 1 || delta[0] == 0 || delta[0] == INT64_MIN) {
      c.Invalid("start, limit and delta must be scalars, delta not 0");
      return;
    }
    const Id span = delta[0] > 0 ? ir::Sub(c.arena(), limit[0], start[0])
                                 : ir::Sub(c.arena(), start[0], limit[0]);
    count = ir::CeilDiv(c.arena(), ir::Max(c.arena(), span, b.Int(0)),
                        b.Int(std::abs(delta[0])));
  }
  const Id start = b.Reshape(c.In(0), {});
  const Id delta = b.Reshape(c.In(2), {});
  const Id steps = b.Cast(b.Iota(count), dtype);
  c.Set(0, b.Add(b.Mul(steps, delta), start));
}

void EyeLike(NodeCall& c) {
  ir::Builder& b = c.b();
  const std::vector<Id> dims = c.Dims(0);
  const DType dtype = c.Type("dtype", c.TypeOf(0));
  if (!c.ok()) return;
  if (dims.size() != 2) {
    c.Invalid(absl::StrCat("input has rank ", dims.size(), ", expected 2"));
    return;
  }
  const Id row = graph::Positions(b, dims[0], 0, 2, DType::kI64);
  const Id column = graph::Positions(b, dims[1], 1, 2, DType::kI64);
  const Id k = b.Int(c.Int("k", 0));
  c.Set(0, b.Cast(b.Equal(b.Add(row, k), column), dtype));
}

// a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N).
void Window(NodeCall& c, double a0, double a1, double a2) {
  ir::Builder& b = c.b();
  const std::vector<Id> size = c.Sizes(0, "size");
  const DType dtype = c.Type("output_datatype", DType::kF32);
  if (!c.ok()) return;
  if (size.size() != 1) {
    c.Invalid(absl::StrCat("size has ", size.size(), " elements"));
    return;
  }
  const Id steps = c.Int("periodic", 1) != 0
                       ? size[0]
                       : ir::Sub(c.arena(), size[0], b.Int(1));
  const Id n = b.Cast(b.Iota(size[0]), DType::kF32);
  const Id angle = b.Div(b.Mul(n, b.Float(2 * std::numbers::pi)),
                         b.Cast(steps, DType::kF32));
  Id value = b.Sub(b.Float(a0), b.Mul(b.Float(a1), graph::Cos(b, angle)));
  if (a2 != 0) {
    const Id twice = graph::Cos(b, b.Mul(angle, b.Float(2)));
    value = b.Add(value, b.Mul(b.Float(a2), twice));
  }
  c.Set(0, b.Cast(value, dtype));
}

void BlackmanWindow(NodeCall& c) { Window(c, 0.42, 0.5, 0.08); }
void HammingWindow(NodeCall& c) { Window(c, 25.0 / 46, 21.0 / 46, 0); }
void HannWindow(NodeCall& c) { Window(c, 0.5, 0.5, 0); }

constexpr OpRow kRows[] = {
    {"BlackmanWindow", 17, kAny, BlackmanWindow},
    {"Constant", 1, kAny, Constant},
    {"ConstantOfShape", 9, kAny, ConstantOfShape},
    {"EyeLike", 9, kAny, EyeLike},
    {"HammingWindow", 17, kAny, HammingWindow},
    {"HannWindow", 17, kAny, HannWindow},
    {"Range", 11, kAny, Range},
};

}  // namespace

absl::Span<const OpRow> GeneratorOps() { return kRows; }

}  // namespace quern::onnx_import
