// SPDX-License-Identifier: Apache-2.0
//
// Losses, which evaluation graphs carry along.
#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

// The negative logarithm of the probability of each target, log
// [batch, classes, ..] and target [batch, ..], weighted by class, then reduced.
Id Loss(NodeCall& c, Id log, Id target, Id weight) {
  ir::Builder& b = c.b();
  const std::string reduction = c.Text("reduction", "mean");
  if (reduction != "none" && reduction != "sum" && reduction != "mean") {
    return c.Invalid(absl::StrCat("reduction is ", Quoted(reduction),
                                  ", expected none, sum or mean"));
  }
  const Id at = b.Cast(target, DType::kI64);
  Id loss = graph::GatherElements(b, log, graph::Unsqueeze(b, at, {1}), 1);
  loss = b.Unary(ir::Op::kNeg, graph::Squeeze(b, loss, {1}));
  const DType dtype = graph::TypeOf(b, loss);
  Id weights = kNoNode;
  if (weight != kNoNode) weights = graph::Take(b, weight, at, 0);
  if (c.HasAttribute("ignore_index")) {
    const Id kept = graph::NotEqual(b, at, b.Int(c.Int("ignore_index", -100)));
    const Id ones = weights == kNoNode ? b.Cast(b.Int(1), dtype) : weights;
    weights = b.Where(kept, ones, b.Cast(b.Int(0), dtype));
  }
  if (weights != kNoNode) {
    // What weighs nothing counts nothing, whatever it is.
    const Id zero = b.Cast(b.Int(0), dtype);
    loss = b.Where(b.Equal(weights, zero), zero, b.Mul(loss, weights));
  }
  if (reduction == "none" || !c.ok()) return loss;
  std::vector<int64_t> axes(static_cast<size_t>(b.Rank(loss)));
  std::iota(axes.begin(), axes.end(), 0);
  const graph::Reduction sum = graph::Reduction::kSum;
  if (reduction == "mean" && weights == kNoNode) {
    return graph::Mean(b, loss, axes, false);
  }
  const Id total = graph::ReduceBy(b, sum, loss, axes, false);
  if (reduction == "sum") return total;
  return b.Div(total, graph::ReduceBy(b, sum, weights, axes, false));
}

void NegativeLogLikelihoodLoss(NodeCall& c) {
  c.Set(0, Loss(c, c.In(0), c.In(1), c.Optional(2)));
}

void SoftmaxCrossEntropyLoss(NodeCall& c) {
  const Id log = graph::LogSoftmax(c.b(), c.In(0), {1});
  c.Set(0, Loss(c, log, c.In(1), c.Optional(2)));
  c.Set(1, log);
}

constexpr OpRow kRows[] = {
    {"NegativeLogLikelihoodLoss", 12, kAny, NegativeLogLikelihoodLoss},
    {"SoftmaxCrossEntropyLoss", 12, kAny, SoftmaxCrossEntropyLoss},
};

}  // namespace

absl::Span<const OpRow> LossOps() { return kRows; }

}  // namespace quern::onnx_import
