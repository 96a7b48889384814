// SPDX-License-Identifier: Apache-2.0
//
// Reductions, and the softmax family.
#include "engine/graph/reduction.h"

#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

using graph::Reduction;

constexpr int64_t kAny = INT64_MAX;

std::vector<int64_t> AllAxes(NodeCall& c) {
  std::vector<int64_t> axes(static_cast<size_t>(c.Rank(0)));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// Axes are an attribute before the opset `as_input` and an input since; no
// axes mean all of them, or with noop_with_empty_axes none.
std::vector<int64_t> AxesOf(NodeCall& c, int64_t as_input) {
  std::vector<int64_t> axes;
  if (c.opset() < as_input) {
    axes = c.Ints("axes");
  } else if (c.Has(1)) {
    axes = c.Integers(1, "axes");
  }
  const bool none = c.Int("noop_with_empty_axes", 0) != 0;
  return axes.empty() && !none ? AllAxes(c) : axes;
}

template <Reduction kind, int64_t as_input>
void Reduce(NodeCall& c) {
  const bool keep = c.Int("keepdims", 1) != 0;
  const std::vector<int64_t> axes = AxesOf(c, as_input);
  if (!c.ok()) return;
  const Id x = c.In(0);
  // A maximum or minimum of bools is one of 0 and 1.
  const bool boolean = c.TypeOf(0) == DType::kBool;
  const Id v = boolean ? c.b().Cast(x, DType::kU8) : x;
  const Id result = graph::ReduceBy(c.b(), kind, v, axes, keep);
  c.Set(0, c.b().Cast(result, c.TypeOf(0)));
}

// Since opset 13 over one axis; before over all axes from one on.
std::vector<int64_t> SoftmaxAxes(NodeCall& c) {
  const int rank = c.Rank(0);
  if (c.opset() >= 13) return {c.Int("axis", -1)};
  const int64_t axis = c.b().Axis(c.Int("axis", 1), rank);
  if (!c.ok()) return {};
  std::vector<int64_t> axes(static_cast<size_t>(rank - axis));
  std::iota(axes.begin(), axes.end(), axis);
  return axes;
}

void Softmax(NodeCall& c) {
  c.Set(0, graph::Softmax(c.b(), c.In(0), SoftmaxAxes(c)));
}

void LogSoftmax(NodeCall& c) {
  c.Set(0, graph::LogSoftmax(c.b(), c.In(0), SoftmaxAxes(c)));
}

void Hardmax(NodeCall& c) {
  if (c.opset() >= 13) {
    c.Set(0, graph::Hardmax(c.b(), c.In(0), c.Int("axis", -1)));
    return;
  }
  const int64_t axis = c.b().Axis(c.Int("axis", 1), c.Rank(0));
  if (!c.ok()) return;
  const Id flat = graph::Flatten(c.b(), c.In(0), axis);
  c.Set(0, c.b().Reshape(graph::Hardmax(c.b(), flat, 1), c.Dims(0)));
}

constexpr OpRow kRows[] = {
    {"Hardmax", 1, kAny, Hardmax},
    {"LogSoftmax", 1, kAny, LogSoftmax},
    {"ReduceL1", 1, kAny, Reduce<Reduction::kL1, 18>},
    {"ReduceL2", 1, kAny, Reduce<Reduction::kL2, 18>},
    {"ReduceLogSum", 1, kAny, Reduce<Reduction::kLogSum, 18>},
    {"ReduceLogSumExp", 1, kAny, Reduce<Reduction::kLogSumExp, 18>},
    {"ReduceMax", 1, kAny, Reduce<Reduction::kMax, 18>},
    {"ReduceMean", 1, kAny, Reduce<Reduction::kMean, 18>},
    {"ReduceMin", 1, kAny, Reduce<Reduction::kMin, 18>},
    {"ReduceProd", 1, kAny, Reduce<Reduction::kProduct, 18>},
    {"ReduceSum", 1, kAny, Reduce<Reduction::kSum, 13>},
    {"ReduceSumSquare", 1, kAny, Reduce<Reduction::kSumSquare, 18>},
    {"Softmax", 1, kAny, Softmax},
};

}  // namespace

absl::Span<const OpRow> ReductionOps() { return kRows; }

}  // namespace quern::onnx_import
