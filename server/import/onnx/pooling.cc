// SPDX-License-Identifier: Apache-2.0
//
// Pooling.
#include "engine/graph/pooling.h"

#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"
#include "server/import/onnx/windows.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

graph::PoolOptions OptionsOf(NodeCall& c) {
  graph::PoolOptions options;
  options.taps = c.Ints("kernel_shape");
  if (options.taps.empty()) c.Invalid("attribute 'kernel_shape' is missing");
  options.windows = WindowsOf(c, options.taps);
  options.ceil_mode = c.Int("ceil_mode", 0) != 0;
  options.count_padding = c.Int("count_include_pad", 0) != 0;
  return options;
}

void MaxPool(NodeCall& c) {
  const graph::PoolOptions options = OptionsOf(c);
  c.Set(0, graph::MaxPool(c.b(), c.In(0), options));
  if (!c.Wants(1)) return;
  c.Set(1, graph::MaxPoolPositions(c.b(), c.In(0), options,
                                   c.Int("storage_order", 0) != 0));
}

void AveragePool(NodeCall& c) {
  c.Set(0, graph::AveragePool(c.b(), c.In(0), OptionsOf(c)));
}

void LpPool(NodeCall& c) {
  c.Set(0, graph::LpPool(c.b(), c.In(0), c.Int("p", 2), OptionsOf(c)));
}

// Over all spatial axes, which stay with size 1.
Id Global(NodeCall& c, graph::Reduction kind, Id x) {
  const int rank = c.Rank(0);
  if (rank < 2) return c.Invalid(absl::StrCat("input has rank ", rank));
  std::vector<int64_t> axes(static_cast<size_t>(rank) - 2);
  std::iota(axes.begin(), axes.end(), 2);
  return graph::ReduceBy(c.b(), kind, x, axes, true);
}

void GlobalAveragePool(NodeCall& c) {
  c.Set(0, Global(c, graph::Reduction::kMean, c.In(0)));
}

void GlobalMaxPool(NodeCall& c) {
  c.Set(0, Global(c, graph::Reduction::kMax, c.In(0)));
}

void GlobalLpPool(NodeCall& c) {
  ir::Builder& b = c.b();
  const auto p = static_cast<double>(c.Int("p", 2));
  const Id powers = graph::Pow(b, graph::Abs(b, c.In(0)), b.Float(p));
  const Id sum = Global(c, graph::Reduction::kSum, powers);
  c.Set(0, graph::Pow(b, sum, b.Float(1 / p)));
}

constexpr OpRow kRows[] = {
    {"AveragePool", 1, kAny, AveragePool},
    {"GlobalAveragePool", 1, kAny, GlobalAveragePool},
    {"GlobalLpPool", 2, kAny, GlobalLpPool},
    {"GlobalMaxPool", 1, kAny, GlobalMaxPool},
    {"LpPool", 2, kAny, LpPool},
    {"MaxPool", 1, kAny, MaxPool},
};

}  // namespace

absl::Span<const OpRow> PoolingOps() { return kRows; }

}  // namespace quern::onnx_import
