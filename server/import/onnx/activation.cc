// SPDX-License-Identifier: Apache-2.0
//
// Activation functions, and what training leaves behind in a served model.
#include "absl/strings/str_cat.h"

#include "engine/graph/tensor_ops.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

template <Id (*F)(ir::Builder&, Id)>
void Unary(NodeCall& c) {
  c.Set(0, F(c.b(), c.In(0)));
}

void Celu(NodeCall& c) {
  c.Set(0, graph::Celu(c.b(), c.In(0), c.Float("alpha", 1)));
}

void Elu(NodeCall& c) {
  c.Set(0, graph::Elu(c.b(), c.In(0), c.Float("alpha", 1)));
}

void Selu(NodeCall& c) {
  c.Set(0,
        graph::Selu(c.b(), c.In(0), c.Float("alpha", 1.67326319217681884765625),
                    c.Float("gamma", 1.05070102214813232421875)));
}

void HardSigmoid(NodeCall& c) {
  c.Set(0, graph::HardSigmoid(c.b(), c.In(0), c.Float("alpha", 0.2),
                              c.Float("beta", 0.5)));
}

void LeakyRelu(NodeCall& c) {
  const Id slope = c.b().Float(c.Float("alpha", 0.01));
  c.Set(0, graph::LeakyRelu(c.b(), c.In(0), slope));
}

void PRelu(NodeCall& c) {
  Id slope = c.In(1);
  // Before opset 7 a list of slopes belonged to the channels, axis 1.
  if (c.opset() < 7 && c.ok() && c.Rank(1) == 1 && c.Rank(0) > 2) {
    std::vector<Id> dims(static_cast<size_t>(c.Rank(0)) - 1, c.b().Int(1));
    dims[0] = c.Dim(1, 0);
    slope = c.b().Reshape(slope, dims);
  }
  c.Set(0, graph::LeakyRelu(c.b(), c.In(0), slope));
}

void ThresholdedRelu(NodeCall& c) {
  const Id x = c.In(0);
  const Id above = graph::Greater(c.b(), x, c.b().Float(c.Float("alpha", 1)));
  c.Set(0, c.b().Where(above, x, c.b().Float(0)));
}

void Shrink(NodeCall& c) {
  ir::Builder& b = c.b();
  const Id x = c.In(0);
  const double limit = c.Float("lambd", 0.5);
  const Id bias = b.Float(c.Float("bias", 0));
  const DType dtype = c.TypeOf(0);
  const Id v = ir::IsFloat(dtype) ? x : b.Cast(x, DType::kF32);
  const Id low =
      b.Where(b.Less(v, b.Float(-limit)), b.Add(v, bias), b.Float(0));
  c.Set(0,
        b.Cast(b.Where(b.Less(b.Float(limit), v), b.Sub(v, bias), low), dtype));
}

void Gelu(NodeCall& c) {
  const std::string form = c.Text("approximate", "none");
  if (form != "none" && form != "tanh") {
    c.Invalid(absl::StrCat("approximate is ", Quoted(form),
                           ", expected none or tanh"));
  }
  c.Set(0, form == "tanh" ? graph::GeluTanh(c.b(), c.In(0))
                          : graph::Gelu(c.b(), c.In(0)));
}

void Swish(NodeCall& c) {
  c.Set(0, graph::Swish(c.b(), c.In(0), c.Float("alpha", 1)));
}

// Serving drops nothing: the result is the input, and the mask keeps all.
void Dropout(NodeCall& c) {
  const auto training = c.MaybeIntegers(2);
  const auto ratio = c.MaybeDoubles(1);
  const bool trains =
      c.Has(2) &&
      !(training.has_value() && !training->empty() && training->front() == 0);
  const bool drops =
      !(ratio.has_value() && !ratio->empty() && ratio->front() == 0);
  if (trains && drops) {
    c.Unimplemented("dropout in training mode is not supported");
  }
  const Id x = c.In(0);
  c.Set(0, x);
  if (!c.Wants(1) || !c.ok()) return;
  const DType mask = c.opset() < 10 ? c.TypeOf(0) : DType::kBool;
  c.Set(1, c.b().Expand(c.arena().IntConst(mask, 1), c.Dims(0)));
}

constexpr OpRow kRows[] = {
    {"Celu", 12, kAny, Celu},
    {"Dropout", 1, kAny, Dropout},
    {"Elu", 1, kAny, Elu},
    {"Gelu", 20, kAny, Gelu},
    {"HardSigmoid", 1, kAny, HardSigmoid},
    {"HardSwish", 14, kAny, Unary<graph::HardSwish>},
    {"LeakyRelu", 1, kAny, LeakyRelu},
    {"Mish", 18, kAny, Unary<graph::Mish>},
    {"PRelu", 1, kAny, PRelu},
    {"Relu", 1, kAny, Unary<graph::Relu>},
    {"Selu", 1, kAny, Selu},
    {"Shrink", 9, kAny, Shrink},
    {"Sigmoid", 1, kAny, Unary<graph::Sigmoid>},
    {"Softplus", 1, kAny, Unary<graph::Softplus>},
    {"Softsign", 1, kAny, Unary<graph::Softsign>},
    {"Swish", 24, kAny, Swish},
    {"ThresholdedRelu", 10, kAny, ThresholdedRelu},
};

}  // namespace

absl::Span<const OpRow> ActivationOps() { return kRows; }

}  // namespace quern::onnx_import
