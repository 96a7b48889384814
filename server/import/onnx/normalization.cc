// SPDX-License-Identifier: Apache-2.0
//
// Normalizations.
#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/pooling.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

std::vector<int64_t> AxesFrom(int64_t axis, int rank) {
  std::vector<int64_t> axes(
      static_cast<size_t>(std::max<int64_t>(rank - axis, 0)));
  std::iota(axes.begin(), axes.end(), axis);
  return axes;
}

// Statistics of the batch itself, and the running ones that follow them.
void TrainedBatch(NodeCall& c) {
  ir::Builder& b = c.b();
  const int rank = c.Rank(0);
  const Id x = graph::Widened(b, c.In(0));
  std::vector<int64_t> axes = AxesFrom(2, rank);
  axes.insert(axes.begin(), 0);
  const Id mean = graph::Mean(b, x, axes, true);
  const Id variance =
      graph::Mean(b, graph::Square(b, b.Sub(x, mean)), axes, true);
  if (!c.ok()) return;
  const std::vector<Id> channels = {c.Dim(0, 1)};
  const Id flat_mean = b.Reshape(mean, channels);
  const Id flat_variance = b.Reshape(variance, channels);
  c.Set(0, graph::BatchNormalize(b, c.In(0), c.In(1), c.In(2), flat_mean,
                                 flat_variance, c.Float("epsilon", 1e-5)));
  const double momentum = c.Float("momentum", 0.9);
  const auto running = [&](int input, Id fresh) {
    const Id old = b.Mul(c.In(input), b.Float(momentum));
    return b.Cast(b.Add(old, b.Mul(fresh, b.Float(1 - momentum))),
                  c.TypeOf(input));
  };
  c.Set(1, running(3, flat_mean));
  c.Set(2, running(4, flat_variance));
}

void BatchNormalization(NodeCall& c) {
  const bool training = c.opset() >= 14 && c.Int("training_mode", 0) != 0;
  if (training) return TrainedBatch(c);
  if (c.opset() < 7 && c.Int("is_test", 0) == 0) {
    c.Unimplemented("batch normalization in training mode is not supported");
  }
  if (c.opset() < 9 && c.Int("spatial", 1) == 0) {
    c.Unimplemented("batch normalization with spatial=0 is not supported");
  }
  c.Set(0, graph::BatchNormalize(c.b(), c.In(0), c.In(1), c.In(2), c.In(3),
                                 c.In(4), c.Float("epsilon", 1e-5)));
}

void LayerNormalization(NodeCall& c) {
  ir::Builder& b = c.b();
  const int rank = c.Rank(0);
  const int64_t axis = b.Axis(c.Int("axis", -1), rank);
  if (!c.ok()) return;
  const graph::Normalized n = graph::Normalize(b, c.In(0), AxesFrom(axis, rank),
                                               c.Float("epsilon", 1e-5));
  // stash_type says in which type the statistics are kept; f32 is the only
  // one in use, and what f64 is computed in is f64.
  Id value = b.Cast(n.value, c.TypeOf(0));
  if (c.Has(1)) value = b.Mul(value, c.In(1));
  if (c.Has(2)) value = b.Add(value, c.In(2));
  c.Set(0, value);
  c.Set(1, n.mean);
  c.Set(2, n.inverse_deviation);
}

void RmsNormalization(NodeCall& c) {
  ir::Builder& b = c.b();
  const int rank = c.Rank(0);
  const int64_t axis = b.Axis(c.Int("axis", -1), rank);
  if (!c.ok()) return;
  const graph::Normalized n = graph::NormalizeByRootMeanSquare(
      b, c.In(0), AxesFrom(axis, rank), c.Float("epsilon", 1e-5));
  c.Set(0, b.Cast(b.Mul(b.Cast(n.value, c.TypeOf(0)), c.In(1)), c.TypeOf(0)));
}

// Every channel by itself is a group.
void InstanceNormalization(NodeCall& c) {
  ir::Builder& b = c.b();
  const double epsilon = c.Float("epsilon", 1e-5);
  const int rank = c.Rank(0);
  const graph::Normalized n =
      graph::Normalize(b, c.In(0), AxesFrom(2, rank), epsilon);
  if (!c.ok()) return;
  std::vector<Id> column(static_cast<size_t>(std::max(rank - 1, 1)), b.Int(1));
  column[0] = ir::Product(c.arena(), c.Dims(1));
  const Id scale = graph::Widened(b, b.Reshape(c.In(1), column));
  const Id bias = graph::Widened(b, b.Reshape(c.In(2), column));
  c.Set(0, b.Cast(b.Add(b.Mul(n.value, scale), bias), c.TypeOf(0)));
}

void GroupNormalization(NodeCall& c) {
  ir::Builder& b = c.b();
  const int64_t groups = c.Int("num_groups", 1);
  Id scale = c.In(1);
  Id bias = c.In(2);
  if (!c.ok()) return;
  if (c.opset() < 21 && groups >= 1) {
    // One scale for each group; spread over its channels.
    if (c.Rank(0) < 2 || c.Rank(1) != 1 || c.Rank(2) != 1) {
      c.Invalid("scale and bias must be lists");
      return;
    }
    const Id each = ir::IDiv(c.arena(), c.Dim(0, 1), b.Int(groups));
    const auto spread = [&](Id list) {
      const Id column = graph::Unsqueeze(b, list, {1});
      const Id wide = b.Expand(column, {b.Int(groups), each});
      return b.Reshape(wide, {ir::Mul(c.arena(), b.Int(groups), each)});
    };
    scale = spread(scale);
    bias = spread(bias);
  }
  c.Set(0, graph::GroupNormalize(b, c.In(0), scale, bias, groups,
                                 c.Float("epsilon", 1e-5)));
}

void Lrn(NodeCall& c) {
  graph::ResponseOptions options;
  options.size = c.Int("size", 1);
  options.alpha = c.Float("alpha", 1e-4);
  options.beta = c.Float("beta", 0.75);
  options.bias = c.Float("bias", 1);
  c.Set(0, graph::LocalResponseNormalize(c.b(), c.In(0), options));
}

void LpNormalization(NodeCall& c) {
  c.Set(0, graph::NormalizeByNorm(c.b(), c.In(0), c.Int("axis", -1),
                                  c.Int("p", 2)));
}

void MeanVarianceNormalization(NodeCall& c) {
  ir::Builder& b = c.b();
  const std::vector<int64_t> axes = c.Ints("axes", {0, 2, 3});
  const Id x = graph::Widened(b, c.In(0));
  const Id mean = graph::Mean(b, x, axes, true);
  const Id centered = b.Sub(x, mean);
  const Id deviation = b.Unary(
      ir::Op::kSqrt, graph::Mean(b, graph::Square(b, centered), axes, true));
  // As the operator's definition has it, against a deviation of zero.
  c.Set(0,
        b.Cast(b.Div(centered, b.Add(deviation, b.Float(1e-9))), c.TypeOf(0)));
}

constexpr OpRow kRows[] = {
    {"BatchNormalization", 1, kAny, BatchNormalization},
    {"GroupNormalization", 18, kAny, GroupNormalization},
    {"InstanceNormalization", 1, kAny, InstanceNormalization},
    {"LayerNormalization", 17, kAny, LayerNormalization},
    {"LpNormalization", 1, kAny, LpNormalization},
    {"LRN", 1, kAny, Lrn},
    {"MeanVarianceNormalization", 9, kAny, MeanVarianceNormalization},
    {"RMSNormalization", 23, kAny, RmsNormalization},
};

}  // namespace

absl::Span<const OpRow> NormalizationOps() { return kRows; }

}  // namespace quern::onnx_import
