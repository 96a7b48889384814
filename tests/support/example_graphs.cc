// SPDX-License-Identifier: Apache-2.0
#include "tests/support/example_graphs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/eval.h"

namespace quern::support {
namespace {

using ir::DType;
using ir::Id;

// A number for (seed, position), the same everywhere (splitmix64).
uint64_t Mixed(uint64_t seed, uint64_t position) {
  uint64_t z = seed * 0x9e3779b97f4a7c15 + position + 1;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

int64_t Elements(absl::Span<const int64_t> dims) {
  int64_t count = 1;
  for (int64_t dim : dims) count *= dim;
  return count;
}

Id Conv3x3(GraphMaker& g, Id x, int64_t in, int64_t out, bool bias) {
  const Id w = g.Weight({out, in, 3, 3});
  const Id one = g.b().Int(1);
  return graph::Convolution(g.b(), x, w, bias ? g.Weight({out}) : ir::kNoNode,
                            /*groups=*/1,
                            {.strides = {1, 1},
                             .dilations = {1, 1},
                             .pads_before = {one, one},
                             .pads_after = {one, one}});
}

void ElementwiseChain(GraphMaker& g) {
  const Id x = g.Input("x", {64, 100});
  const Id y = g.Input("y", {64, 100});
  const Id scaled = g.b().Add(g.b().Mul(x, g.b().Float(0.5)), y);
  g.Output("z", graph::Relu(g.b(), g.b().Sub(scaled, g.Weight({100}))));
}

void Softmax(GraphMaker& g) {
  g.Output("y", graph::Softmax(g.b(), g.Input("x", {64, 128}), {-1}));
}

void LayerNorm(GraphMaker& g) {
  const Id x = g.Input("x", {32, 256});
  const Id normal = graph::Normalize(g.b(), x, {-1}, 1e-5).value;
  const Id scale = g.Weight({256});
  const Id bias = g.Weight({256});
  g.Output("y", g.b().Add(g.b().Mul(normal, scale), bias));
}

void ConvBiasRelu(GraphMaker& g) {
  const Id x = g.Input("x", {1, 8, 14, 14});
  g.Output("y", graph::Relu(g.b(), Conv3x3(g, x, 8, 16, true)));
}

void MatmulBiasGelu(GraphMaker& g) {
  const Id x = g.Input("x", {32, 64});
  const Id product = graph::MatMul(g.b(), x, g.Weight({64, 48}));
  g.Output("y", graph::Gelu(g.b(), g.b().Add(product, g.Weight({48}))));
}

void StackTimesX(GraphMaker& g) {
  std::vector<int64_t> bits;
  for (double value : {1., 2., 3.}) {
    bits.push_back(ir::Scalar::OfFloat(DType::kF32, value).bits);
  }
  const Id three[] = {g.b().Int(3)};
  g.Output("y", g.b().Mul(g.b().ConstArray(DType::kWeakFloat, bits, three),
                          g.Input("x", {3})));
}

void DynamicAdd(GraphMaker& g) {
  const Id n = g.b().Var("n", 1, 1024);
  const Id x = g.SizedInput("x", {n, g.b().Int(16)});
  g.Output("y", g.b().Add(x, g.Weight({16})));
}

void ReduceAxis0(GraphMaker& g) {
  g.Output("y", g.b().Reduce(ir::Op::kAdd, g.Input("x", {64, 48}), {0}));
}

void SmallConvBiasRelu(GraphMaker& g) {
  const Id x = g.Input("x", {1, 1, 4, 4});
  g.Output("y", graph::Relu(g.b(), Conv3x3(g, x, 1, 2, true)));
}

void SmallMatmulBiasGelu(GraphMaker& g) {
  const Id x = g.Input("x", {2, 8});
  const Id product = graph::MatMul(g.b(), x, g.Weight({8, 16}));
  g.Output("y", graph::Gelu(g.b(), g.b().Add(product, g.Weight({16}))));
}

void TwoEqualLayers(GraphMaker& g) {
  Id x = g.Input("x", {16, 48});
  for (int i = 0; i < 2; ++i) {
    x = graph::MatMul(g.b(), x, g.Weight({48, 48}));
    x = graph::Relu(g.b(), g.b().Add(x, g.Weight({48})));
  }
  g.Output("y", x);
}

void ConvBatchNormRelu(GraphMaker& g) {
  const Id x = g.Input("x", {1, 8, 14, 14});
  const Id y = Conv3x3(g, x, 8, 16, false);
  const Id scale = g.Weight({16});
  const Id bias = g.Weight({16});
  const Id mean = g.Weight({16});
  // Of a weight with both signs; a variance has one.
  const Id variance = graph::Square(g.b(), g.Weight({16}));
  g.Output("y",
           graph::Relu(g.b(), graph::BatchNormalize(g.b(), y, scale, bias, mean,
                                                    variance, 1e-5)));
}

void ConcatOfThree(GraphMaker& g) {
  const Id x = g.Input("x", {8, 40});
  const Id y = g.Input("y", {8, 24});
  const Id parts[] = {g.b().Add(x, g.b().Float(1)),
                      g.b().Mul(y, g.b().Float(2)), graph::Relu(g.b(), x)};
  g.Output("z", g.b().Concat(parts, 1));
}

void ResidualBlock(GraphMaker& g) {
  const Id x = g.Input("x", {1, 16, 14, 14});
  const Id inner = graph::Relu(g.b(), Conv3x3(g, x, 16, 16, true));
  const Id outer = Conv3x3(g, inner, 16, 16, true);
  g.Output("y", graph::Relu(g.b(), g.b().Add(outer, x)));
}

void Attention(GraphMaker& g) {
  const Id q = g.Input("q", {4, 32, 16});
  const Id k = g.Input("k", {4, 32, 16});
  const Id v = g.Input("v", {4, 32, 16});
  const Id scores = g.b().Mul(
      graph::MatMul(g.b(), q, graph::Transpose(g.b(), k)), g.b().Float(0.25));
  const Id weights = graph::Softmax(g.b(), scores, {-1});
  g.Output("y", graph::MatMul(g.b(), weights, v));
}

struct Example {
  const char* name;
  void (*make)(GraphMaker& g);
};

constexpr Example kExamples[] = {
    {"attention", Attention},
    {"concat_of_three", ConcatOfThree},
    {"conv_batch_norm_relu", ConvBatchNormRelu},
    {"conv_bias_relu", ConvBiasRelu},
    {"dynamic_add", DynamicAdd},
    {"elementwise_chain", ElementwiseChain},
    {"layer_norm", LayerNorm},
    {"matmul_bias_gelu", MatmulBiasGelu},
    {"reduce_axis0", ReduceAxis0},
    {"residual_block", ResidualBlock},
    {"small_conv_bias_relu", SmallConvBiasRelu},
    {"small_matmul_bias_gelu", SmallMatmulBiasGelu},
    {"softmax_f32", Softmax},
    {"stack_times_x", StackTimesX},
    {"two_equal_layers", TwoEqualLayers},
};

}  // namespace

std::vector<Id> GraphMaker::Sizes(absl::Span<const int64_t> dims) {
  std::vector<Id> sizes;
  for (int64_t dim : dims) sizes.push_back(builder_.Int(dim));
  return sizes;
}

Id GraphMaker::SizedInput(absl::string_view name, absl::Span<const Id> dims,
                          DType dtype, absl::string_view device) {
  const int slot = static_cast<int>(graph_.inputs.size());
  const Id node = builder_.Input(slot, dtype, dims, device);
  graph_.inputs.push_back(
      {std::string(name), dtype, {dims.begin(), dims.end()}, node});
  return node;
}

Id GraphMaker::Input(absl::string_view name, absl::Span<const int64_t> dims,
                     DType dtype, absl::string_view device) {
  return SizedInput(name, Sizes(dims), dtype, device);
}

Id GraphMaker::Weight(absl::Span<const int64_t> dims) {
  const int slot = static_cast<int>(graph_.weights.size());
  graph::Weight weight;
  weight.name = absl::StrCat("w", slot);
  weight.dims.assign(dims.begin(), dims.end());
  weight.data =
      graph::Bytes(ref::BytesOf(SmallNumbers(DType::kF32, dims, 1000 + slot)));
  graph_.weights.push_back(std::move(weight));
  return builder_.Weight(slot, DType::kF32, Sizes(dims));
}

void GraphMaker::Output(absl::string_view name, Id value) {
  if (!builder_.ok()) return;
  const absl::Span<const Id> dims = graph_.arena->DimsOf(value);
  graph_.outputs.push_back({std::string(name),
                            (*graph_.arena)[value].dtype,
                            {dims.begin(), dims.end()},
                            value});
}

absl::StatusOr<graph::Graph> GraphMaker::Finish() {
  if (!builder_.ok()) return builder_.status();
  return std::move(graph_);
}

absl::StatusOr<graph::Graph> ExampleGraph(absl::string_view name) {
  for (const Example& example : kExamples) {
    if (name != example.name) continue;
    GraphMaker maker;
    example.make(maker);
    return maker.Finish();
  }
  return absl::NotFoundError(absl::StrCat("no example is called ", name));
}

std::vector<std::string> ExampleNames() {
  std::vector<std::string> names;
  for (const Example& example : kExamples) names.emplace_back(example.name);
  return names;
}

ref::Tensor SmallNumbers(DType dtype, absl::Span<const int64_t> dims,
                         uint64_t seed) {
  ref::Tensor tensor = {dtype, {dims.begin(), dims.end()}, {}};
  const int64_t count = Elements(dims);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t number =
        static_cast<int64_t>(Mixed(seed, static_cast<uint64_t>(i)) % 65) - 32;
    const ir::Scalar value =
        ir::IsFloat(dtype)
            ? ir::Scalar::OfFloat(dtype, static_cast<double>(number) / 8)
            : ir::Scalar::OfInt(dtype,
                                dtype == DType::kBool ? number & 1 : number);
    tensor.bits.push_back(value.bits);
  }
  return tensor;
}

std::vector<ref::Tensor> InputsFor(const graph::Graph& graph, int64_t size,
                                   uint64_t seed) {
  std::vector<ref::Tensor> inputs;
  for (const graph::Port& port : graph.inputs) {
    std::vector<int64_t> dims;
    for (Id dim : port.dims) {
      dims.push_back(graph.arena->IsConst(dim) ? graph.arena->IntValue(dim)
                                               : size);
    }
    inputs.push_back(SmallNumbers(port.dtype, dims, seed + inputs.size()));
  }
  return inputs;
}

std::string Difference(const ref::Tensor& expected, const ref::Tensor& got,
                       double tolerance) {
  const auto shape = [](const ref::Tensor& tensor) {
    return absl::StrCat(ir::Name(tensor.dtype), "[",
                        absl::StrJoin(tensor.dims, ","), "]");
  };
  if (shape(expected) != shape(got)) {
    return absl::StrCat("expected ", shape(expected), ", got ", shape(got));
  }
  for (size_t i = 0; i < expected.bits.size(); ++i) {
    if (expected.bits[i] == got.bits[i]) continue;
    const double want = ir::Scalar{expected.dtype, expected.bits[i]}.AsDouble();
    const double have = ir::Scalar{got.dtype, got.bits[i]}.AsDouble();
    const bool close =
        ir::IsFloat(expected.dtype) &&
        ((std::isnan(want) && std::isnan(have)) || want == have ||
         std::abs(want - have) <= tolerance * std::max(1.0, std::abs(want)));
    if (!close) {
      return absl::StrCat("element ", i, " is ", have, ", expected ", want);
    }
  }
  return "";
}

}  // namespace quern::support
