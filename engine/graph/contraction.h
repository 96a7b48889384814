// SPDX-License-Identifier: Apache-2.0
//
// Matrix products and convolutions as a sum over a product of two views:
// Reduce(add, Mul(x', w')), where x' and w' are movement operations over the
// operands (of 16-bit floats, over the operands widened to f32, so that the
// sum is rounded once). The scheduler recognizes contractions by this form.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "engine/ir/builder.h"

namespace quern::graph {

using ir::Id;

// [.., m, k] x [.., k, n] -> [.., m, n], with NumPy's rules: leading axes
// broadcast, a vector is a row on the left and a column on the right.
Id MatMul(ir::Builder& b, Id x, Id y);

// alpha * x' * y' + beta * c, where x' = x or its transpose [m, k], y'
// likewise [k, n]; `c` broadcasts to [m, n] and may be kNoNode.
struct GemmOptions {
  bool transpose_x = false;
  bool transpose_y = false;
  double alpha = 1;
  double beta = 1;
};
Id Gemm(ir::Builder& b, Id x, Id y, Id c, const GemmOptions& options);

// The windows of a convolution or pooling: one entry per spatial axis. The
// padding is in elements; empty lists mean ones and zeros.
struct Windows {
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  std::vector<Id> pads_before;
  std::vector<Id> pads_after;
};

// x [batch, channels, spatial..] with w [filters, channels / groups, taps..]
// -> [batch, filters, spatial..]; `bias` [filters] or kNoNode. The sizes of w
// must be known.
Id Convolution(ir::Builder& b, Id x, Id w, Id bias, int64_t groups,
               const Windows& windows);

// The transposed (fractionally strided) convolution: w [channels, filters /
// groups, taps..]; pads crop the result; `extra` elements are appended to each
// spatial axis of it, none if it is empty.
Id TransposedConvolution(ir::Builder& b, Id x, Id w, Id bias, int64_t groups,
                         const Windows& windows,
                         absl::Span<const int64_t> extra);

// Sums products over labelled axes: "bij,bjk->bik" has the labels of each
// operand in `inputs` and of the result in `output`. A label met twice in one
// operand takes its diagonal.
Id Einsum(ir::Builder& b, absl::Span<const Id> operands,
          absl::Span<const std::vector<int>> inputs,
          absl::Span<const int> output);

}  // namespace quern::graph
