// SPDX-License-Identifier: Apache-2.0
//
// Operators that read or write at computed positions, and masks of positions.
#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

using ir::Op;

constexpr int64_t kAny = INT64_MAX;

void Gather(NodeCall& c) {
  const Id x = c.In(0);
  const int64_t axis = c.b().Axis(c.Int("axis", 0), c.Rank(0));
  // One known position is a slice.
  const auto known = c.MaybeIntegers(1);
  if (c.ok() && known.has_value() && known->size() == 1) {
    const Id size = c.Dim(0, axis);
    const int64_t at = known->front();
    const bool inside = c.arena().IsConst(size) &&
                        at >= -c.arena().IntValue(size) &&
                        at < c.arena().IntValue(size);
    if (inside) {
      const int64_t begin = at < 0 ? at + c.arena().IntValue(size) : at;
      const Id row =
          graph::Narrow(c.b(), x, axis, c.b().Int(begin), c.b().Int(1));
      std::vector<Id> dims = c.Dims(0);
      const std::vector<Id> index_dims = c.Dims(1);
      dims.erase(dims.begin() + axis);
      dims.insert(dims.begin() + axis, index_dims.begin(), index_dims.end());
      c.Set(0, c.b().Reshape(row, dims));
      return;
    }
  }
  c.Set(0, graph::Take(c.b(), x, c.In(1), axis));
}

void GatherElements(NodeCall& c) {
  c.Set(0, graph::GatherElements(c.b(), c.In(0), c.In(1), c.Int("axis", 0)));
}

void GatherNd(NodeCall& c) {
  c.Set(0, graph::GatherNd(c.b(), c.In(0), c.In(1), c.Int("batch_dims", 0)));
}

Op Combination(NodeCall& c) {
  const std::string name = c.Text("reduction", "none");
  if (name == "add") return Op::kAdd;
  if (name == "mul") return Op::kMul;
  if (name == "max") return Op::kMax;
  if (name == "min") return Op::kMin;
  if (name != "none") {
    c.Invalid(absl::StrCat("reduction is ", Quoted(name),
                           ", expected none, add, mul, max or min"));
  }
  return Op::kConst;
}

void ScatterElements(NodeCall& c) {
  c.Set(0, graph::ScatterElements(c.b(), c.In(0), c.In(1), c.In(2),
                                  c.Int("axis", 0), Combination(c)));
}

void ScatterNd(NodeCall& c) {
  c.Set(0, graph::ScatterNd(c.b(), c.In(0), c.In(1), c.In(2), Combination(c)));
}

void OneHot(NodeCall& c) {
  ir::Builder& b = c.b();
  std::vector<Id> depth;
  if (c.Has(1) && ir::IsFloat(c.TypeOf(1))) {
    for (double d : c.Doubles(1, "depth")) {
      depth.push_back(b.Int(static_cast<int64_t>(d)));
    }
  } else {
    depth = c.Sizes(1, "depth");
  }
  if (!c.ok()) return;
  if (depth.size() != 1) {
    c.Invalid(absl::StrCat("depth has ", depth.size(), " elements"));
    return;
  }
  const Id off =
      b.Reshape(graph::Narrow(b, c.In(2), 0, b.Int(0), b.Int(1)), {});
  const Id on = b.Reshape(graph::Narrow(b, c.In(2), 0, b.Int(1), b.Int(1)), {});
  c.Set(0, graph::OneHot(b, c.In(0), depth[0], c.Int("axis", -1), off, on));
}

void Trilu(NodeCall& c) {
  Id k = c.b().Int(0);
  if (c.Has(1)) k = c.b().Reshape(c.In(1), {});
  c.Set(0, graph::Triangle(c.b(), c.In(0), k, c.Int("upper", 1) != 0));
}

// The elements of `axis` where a known condition holds.
void Compress(NodeCall& c) {
  const std::vector<int64_t> condition = c.Integers(1, "condition");
  Id x = c.In(0);
  int64_t axis = 0;
  if (c.HasAttribute("axis")) {
    axis = c.b().Axis(c.Int("axis", 0), c.Rank(0));
  } else {
    x = graph::Squeeze(c.b(), graph::Flatten(c.b(), x, 0), {0});
  }
  if (!c.ok()) return;
  std::vector<int64_t> kept;
  for (size_t i = 0; i < condition.size(); ++i) {
    if (condition[i] != 0) kept.push_back(static_cast<int64_t>(i));
  }
  const Id count = c.b().Int(static_cast<int64_t>(kept.size()));
  if (kept.empty()) {
    c.Set(0, graph::Narrow(c.b(), x, axis, c.b().Int(0), count));
    return;
  }
  c.Set(0, c.b().Gather(x, c.b().ConstArray(DType::kI64, kept, {count}), axis));
}

// The first lengths[i] elements of the time axis of batch i reversed.
void ReverseSequence(NodeCall& c) {
  ir::Builder& b = c.b();
  const Id x = c.In(0);
  const int rank = c.Rank(0);
  const int64_t batch = b.Axis(c.Int("batch_axis", 1), rank);
  const int64_t time = b.Axis(c.Int("time_axis", 0), rank);
  if (!c.ok()) return;
  const std::vector<Id> dims = c.Dims(0);
  std::vector<Id> length_dims(static_cast<size_t>(rank), b.Int(1));
  length_dims[batch] = dims[batch];
  const Id lengths = b.Cast(b.Reshape(c.In(1), length_dims), DType::kI64);
  const Id at = graph::Positions(b, dims[time], time, rank, DType::kI64);
  const Id turned = b.Sub(b.Sub(lengths, at), b.Int(1));
  const Id index = b.Where(b.Less(at, lengths), turned, at);
  c.Set(0, graph::GatherElements(b, x, b.Expand(index, dims), time));
}

void ArgExtreme(NodeCall& c, bool greatest) {
  graph::ArgOptions options;
  options.greatest = greatest;
  options.last = c.Int("select_last_index", 0) != 0;
  options.keep = c.Int("keepdims", 1) != 0;
  c.Set(0, graph::ArgReduce(c.b(), c.In(0), c.Int("axis", 0), options));
}

void ArgMax(NodeCall& c) { ArgExtreme(c, true); }
void ArgMin(NodeCall& c) { ArgExtreme(c, false); }

void TopK(NodeCall& c) {
  std::vector<Id> k;
  if (c.opset() < 10) {
    k.push_back(c.b().Int(c.Int("k", 1)));
  } else {
    k = c.Sizes(1, "k");
  }
  if (!c.ok()) return;
  if (k.size() != 1) {
    c.Invalid(absl::StrCat("k has ", k.size(), " elements"));
    return;
  }
  const graph::TopKResult result = graph::TopK(
      c.b(), c.In(0), k[0], c.Int("axis", -1), c.Int("largest", 1) != 0);
  c.Set(0, result.values);
  c.Set(1, result.positions);
}

template <bool product>
void Cumulative(NodeCall& c) {
  const std::vector<int64_t> axis = c.Integers(1, "axis");
  if (!c.ok()) return;
  if (axis.size() != 1) {
    c.Invalid(absl::StrCat("axis has ", axis.size(), " elements"));
    return;
  }
  graph::CumulativeOptions options;
  options.product = product;
  options.exclusive = c.Int("exclusive", 0) != 0;
  options.reverse = c.Int("reverse", 0) != 0;
  c.Set(0, graph::Cumulative(c.b(), c.In(0), axis[0], options));
}

constexpr OpRow kRows[] = {
    {"ArgMax", 1, kAny, ArgMax},
    {"ArgMin", 1, kAny, ArgMin},
    {"Compress", 9, kAny, Compress},
    {"CumProd", 26, kAny, Cumulative<true>},
    {"CumSum", 11, kAny, Cumulative<false>},
    {"Gather", 1, kAny, Gather},
    {"GatherElements", 11, kAny, GatherElements},
    {"GatherND", 11, kAny, GatherNd},
    {"OneHot", 9, kAny, OneHot},
    {"ReverseSequence", 10, kAny, ReverseSequence},
    {"Scatter", 9, kAny, ScatterElements},
    {"ScatterElements", 11, kAny, ScatterElements},
    {"ScatterND", 11, kAny, ScatterNd},
    {"TopK", 1, kAny, TopK},
    {"Trilu", 14, kAny, Trilu},
};

}  // namespace

absl::Span<const OpRow> IndexingOps() { return kRows; }

}  // namespace quern::onnx_import
