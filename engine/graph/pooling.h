// SPDX-License-Identifier: Apache-2.0
//
// Pooling over windows of [batch, channels, spatial..], and local response
// normalization. A pooling is a reduction over the taps of a sliding window.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "engine/graph/contraction.h"
#include "engine/ir/builder.h"

namespace quern::graph {

struct PoolOptions {
  std::vector<int64_t> taps;  // One per spatial axis.
  Windows windows;
  bool ceil_mode = false;  // A last window that reaches over the end counts.
  bool count_padding = false;  // Of averages: the padding counts as zeros.
};

Id MaxPool(ir::Builder& b, Id x, const PoolOptions& options);
Id AveragePool(ir::Builder& b, Id x, const PoolOptions& options);
// (sum(|x|^p))^(1/p).
Id LpPool(ir::Builder& b, Id x, int64_t p, const PoolOptions& options);

// For each element that MaxPool takes, its position (i64) in the flat tensor;
// column_major: with the spatial axes in reverse order.
Id MaxPoolPositions(ir::Builder& b, Id x, const PoolOptions& options,
                    bool column_major);

// x / (bias + alpha / size * sum of squares of `size` channels around)^beta.
struct ResponseOptions {
  int64_t size = 1;
  double alpha = 1e-4;
  double beta = 0.75;
  double bias = 1;
};
Id LocalResponseNormalize(ir::Builder& b, Id x, const ResponseOptions& options);

}  // namespace quern::graph
