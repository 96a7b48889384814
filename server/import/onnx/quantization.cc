// SPDX-License-Identifier: Apache-2.0
//
// Quantized operators, as the arithmetic on integers and floats that they
// stand for.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"
#include "server/import/onnx/windows.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

// A scale or zero point so that it broadcasts over `x`: a scalar, a list for
// `axis`, or, with blocks, each element repeated along `axis`.
Id Spread(NodeCall& c, Id parameter, Id x, int64_t axis, int64_t block) {
  ir::Builder& b = c.b();
  if (!c.ok() || parameter == kNoNode) return kNoNode;
  const int rank = b.Rank(x);
  const std::vector<Id> own = b.Dims(parameter);
  if (own.empty()) return parameter;
  if (own.size() == 1 && c.arena().IsInt(own[0], 1) && block == 0) {
    return b.Reshape(parameter, {});
  }
  axis = b.Axis(axis, rank);
  if (!c.ok()) return kNoNode;
  if (block == 0) {
    if (own.size() != 1) return parameter;  // Already of the shape of x.
    std::vector<Id> dims(static_cast<size_t>(rank), b.Int(1));
    dims[axis] = own[0];
    return b.Reshape(parameter, dims);
  }
  std::vector<Id> apart = own;
  apart.insert(apart.begin() + axis + 1, b.Int(1));
  std::vector<Id> wide = apart;
  wide[axis + 1] = b.Int(block);
  std::vector<Id> merged = own;
  merged[axis] = ir::Mul(c.arena(), own[axis], b.Int(block));
  const Id repeated =
      b.Reshape(b.Expand(b.Reshape(parameter, apart), wide), merged);
  return graph::Narrow(b, repeated, axis, b.Int(0), b.Dim(x, axis));
}

// saturate(round(x / scale) + zero) as `dtype`.
Id Quantized(NodeCall& c, Id x, Id scale, Id zero, DType dtype) {
  ir::Builder& b = c.b();
  const int64_t bits = 8 * ir::ByteSize(dtype);
  const bool is_signed = ir::KindOf(dtype) == ir::DTypeKind::kSigned;
  if (bits > 16 || ir::IsFloat(dtype)) {
    return c.Unimplemented(absl::StrCat("quantization to ", ir::Name(dtype)));
  }
  const double span = static_cast<double>(int64_t{1} << bits);
  const double least = is_signed ? -span / 2 : 0;
  Id value = graph::Round(b, b.Div(x, scale));
  if (zero != kNoNode) value = b.Add(value, b.Cast(zero, DType::kF32));
  value = graph::Clip(b, value, b.Float(least), b.Float(least + span - 1));
  return b.Cast(value, dtype);
}

void QuantizeLinear(NodeCall& c) {
  ir::Builder& b = c.b();
  const int64_t axis = c.Int("axis", 1);
  const int64_t block = c.Int("block_size", 0);
  const Id x = c.In(0);
  const Id scale = Spread(c, c.In(1), x, axis, block);
  const Id zero = Spread(c, c.Optional(2), x, axis, block);
  DType dtype = c.Has(2) ? c.TypeOf(2) : DType::kU8;
  if (c.Int("output_dtype", 0) != 0) dtype = c.Type("output_dtype", dtype);
  c.Set(0, Quantized(c, b.Cast(x, DType::kF32), b.Cast(scale, DType::kF32),
                     zero, dtype));
}

void DequantizeLinear(NodeCall& c) {
  ir::Builder& b = c.b();
  const int64_t axis = c.Int("axis", 1);
  const int64_t block = c.Int("block_size", 0);
  const Id x = c.In(0);
  const Id scale = Spread(c, c.In(1), x, axis, block);
  const Id zero = Spread(c, c.Optional(2), x, axis, block);
  DType dtype = c.TypeOf(1);
  if (c.Int("output_dtype", 0) != 0) dtype = c.Type("output_dtype", dtype);
  // The difference of two 8- or 16-bit integers fits 32 bits.
  Id value = b.Cast(x, DType::kI32);
  if (zero != kNoNode) value = b.Sub(value, b.Cast(zero, DType::kI32));
  c.Set(0, b.Cast(b.Mul(b.Cast(value, DType::kF32), b.Cast(scale, DType::kF32)),
                  dtype));
}

void DynamicQuantizeLinear(NodeCall& c) {
  ir::Builder& b = c.b();
  const Id x = c.In(0);
  std::vector<int64_t> axes;
  for (int i = 0; i < c.Rank(0); ++i) axes.push_back(i);
  const Id zero = b.Scalar(DType::kF32, 0);
  const Id least =
      b.Min(graph::ReduceBy(b, graph::Reduction::kMin, x, axes, false), zero);
  const Id greatest =
      b.Max(graph::ReduceBy(b, graph::Reduction::kMax, x, axes, false), zero);
  const Id range = b.Div(b.Sub(greatest, least), b.Float(255));
  // All zeros: any scale will do.
  const Id scale = b.Where(b.Equal(range, zero), b.Float(1), range);
  const Id offset =
      graph::Round(b, graph::Clip(b, b.Div(b.Sub(zero, least), scale),
                                  b.Float(0), b.Float(255)));
  const Id point = b.Cast(offset, DType::kU8);
  c.Set(0, Quantized(c, x, scale, point, DType::kU8));
  c.Set(1, scale);
  c.Set(2, point);
}

// x - zero in 32 bits; `zero` may be a list for axis `axis`.
Id Centered(NodeCall& c, int input, int zero_input, int64_t axis) {
  ir::Builder& b = c.b();
  const Id x = c.In(input);
  const Id wide = b.Cast(x, DType::kI32);
  if (!c.Has(zero_input)) return wide;
  const Id zero = Spread(c, c.In(zero_input), x, axis, 0);
  return b.Sub(wide, b.Cast(zero, DType::kI32));
}

void MatMulInteger(NodeCall& c) {
  c.Set(0, graph::MatMul(c.b(), Centered(c, 0, 2, -2), Centered(c, 1, 3, -1)));
}

std::vector<int64_t> TapsOf(NodeCall& c, int weights) {
  const std::vector<Id> dims = c.Dims(weights);
  std::vector<int64_t> taps;
  for (size_t i = 2; i < dims.size(); ++i) {
    taps.push_back(c.arena().IsConst(dims[i]) ? c.arena().IntValue(dims[i])
                                              : 0);
  }
  return taps;
}

void ConvInteger(NodeCall& c) {
  const graph::Windows windows = WindowsOf(c, TapsOf(c, 1));
  c.Set(0, graph::Convolution(c.b(), Centered(c, 0, 2, 1), Centered(c, 1, 3, 0),
                              kNoNode, c.Int("group", 1), windows));
}

// A sum of products as the quantized result: by scales[0] * scales[1] /
// scales[2], rounded once.
Id Requantized(NodeCall& c, Id sum, Id scale, int result_scale,
               int result_zero) {
  ir::Builder& b = c.b();
  const Id value = b.Mul(b.Cast(sum, DType::kF32), b.Cast(scale, DType::kF32));
  const Id by = Spread(c, c.In(result_scale), sum, -1, 0);
  const Id zero = Spread(c, c.In(result_zero), sum, -1, 0);
  return Quantized(c, value, b.Cast(by, DType::kF32), zero,
                   c.TypeOf(result_zero));
}

void QLinearMatMul(NodeCall& c) {
  ir::Builder& b = c.b();
  const Id sum = graph::MatMul(b, Centered(c, 0, 2, -2), Centered(c, 3, 5, -1));
  const Id scale = b.Mul(Spread(c, c.In(1), c.In(0), -2, 0),
                         Spread(c, c.In(4), c.In(3), -1, 0));
  c.Set(0, Requantized(c, sum, scale, 6, 7));
}

void QLinearConv(NodeCall& c) {
  ir::Builder& b = c.b();
  const graph::Windows windows = WindowsOf(c, TapsOf(c, 3));
  const Id sum =
      graph::Convolution(b, Centered(c, 0, 2, 1), Centered(c, 3, 5, 0),
                         c.Optional(8), c.Int("group", 1), windows);
  // The weights' scale is one for each filter, axis 1 of the result.
  const Id scale =
      b.Mul(Spread(c, c.In(1), sum, 1, 0), Spread(c, c.In(4), sum, 1, 0));
  c.Set(0, Requantized(c, sum, scale, 6, 7));
}

constexpr OpRow kRows[] = {
    {"ConvInteger", 10, kAny, ConvInteger},
    {"DequantizeLinear", 10, kAny, DequantizeLinear},
    {"DynamicQuantizeLinear", 11, kAny, DynamicQuantizeLinear},
    {"MatMulInteger", 10, kAny, MatMulInteger},
    {"QLinearConv", 10, kAny, QLinearConv},
    {"QLinearMatMul", 10, kAny, QLinearMatMul},
    {"QuantizeLinear", 10, kAny, QuantizeLinear},
};

}  // namespace

absl::Span<const OpRow> QuantizationOps() { return kRows; }

}  // namespace quern::onnx_import
