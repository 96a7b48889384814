// SPDX-License-Identifier: Apache-2.0
//
// Builds a graph from a function and evaluates it with the oracle, for tests
// of compositions.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "backends/ref/oracle.h"
#include "engine/graph/graph.h"
#include "engine/ir/builder.h"
#include "engine/ir/eval.h"

namespace quern::graph {

// A tensor of doubles, the value of any dtype that a test needs.
struct Values {
  std::vector<int64_t> dims;
  std::vector<double> data;
  ir::DType dtype = ir::DType::kF64;
};

// 0.1, -0.2, 0.3, ...: values that tell positions apart.
inline Values Counted(std::vector<int64_t> dims,
                      ir::DType dtype = ir::DType::kF64) {
  Values values{std::move(dims), {}, dtype};
  int64_t count = 1;
  for (int64_t d : values.dims) count *= d;
  for (int64_t i = 1; i <= count; ++i) {
    values.data.push_back((i % 2 == 0 ? -0.1 : 0.1) * static_cast<double>(i));
  }
  return values;
}

using Composition =
    std::function<ir::Id(ir::Builder&, const std::vector<ir::Id>&)>;

// The result of `compose` on `inputs`; a failed test and no data on an error.
inline Values Evaluate(const std::vector<Values>& inputs,
                       const Composition& compose) {
  Graph graph;
  ir::Builder b(graph.arena.get());
  std::vector<ir::Id> nodes;
  std::vector<ref::Tensor> tensors;
  for (const Values& input : inputs) {
    Port port{"x", input.dtype, {}, ir::kNoNode};
    for (int64_t d : input.dims) port.dims.push_back(b.Int(d));
    port.node = b.Input(static_cast<int>(nodes.size()), input.dtype, port.dims);
    nodes.push_back(port.node);
    graph.inputs.push_back(port);
    ref::Tensor tensor{input.dtype, input.dims, {}};
    for (double v : input.data) {
      const double rounded =
          ir::IsFloat(input.dtype) ? ir::RoundTo(input.dtype, v) : v;
      tensor.bits.push_back(ir::Scalar::OfFloat(input.dtype, rounded).bits);
    }
    tensors.push_back(tensor);
  }
  const ir::Id node = compose(b, nodes);
  if (!b.ok()) {
    ADD_FAILURE() << b.status();
    return {};
  }
  graph.outputs.push_back({"y", b.DTypeOf(node), b.Dims(node), node});
  ref::OracleOptions options;
  options.rounding = ir::Rounding::kAll;
  const auto results = ref::EvaluateGraph(graph, tensors, options);
  if (!results.ok()) {
    ADD_FAILURE() << results.status();
    return {};
  }
  const ref::Tensor& result = results->front();
  Values values{result.dims, {}, result.dtype};
  for (int64_t bits : result.bits) {
    values.data.push_back(ir::Scalar{result.dtype, bits}.AsDouble());
  }
  return values;
}

}  // namespace quern::graph
