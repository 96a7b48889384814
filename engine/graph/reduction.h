// SPDX-License-Identifier: Apache-2.0
//
// Reductions, softmax and normalizations as compositions. Sums of 16-bit
// floats are kept in f32 until the one rounding at the end.
//
// Axes may be counted from the end. With `keep` the reduced axes stay, of size
// 1. The builder's first error sticks.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "engine/ir/builder.h"

namespace quern::graph {

using ir::Id;

enum class Reduction {
  kSum,
  kProduct,
  kMax,
  kMin,
  kMean,
  kL1,         // sum(|x|)
  kL2,         // sqrt(sum(x^2))
  kSumSquare,  // sum(x^2)
  kLogSum,     // log(sum(x))
  kLogSumExp,  // log(sum(exp(x)))
};
Id ReduceBy(ir::Builder& b, Reduction kind, Id x,
            absl::Span<const int64_t> axes, bool keep);
Id Mean(ir::Builder& b, Id x, absl::Span<const int64_t> axes, bool keep);

// The position of the greatest (or least) element, i64. NaN counts as the
// greatest and as the least.
struct ArgOptions {
  bool greatest = true;
  bool last = false;  // Of equal ones, the last instead of the first.
  bool keep = true;
};
Id ArgReduce(ir::Builder& b, Id x, int64_t axis, const ArgOptions& options);

// The sum or product of all elements up to each one of `axis`.
struct CumulativeOptions {
  bool product = false;
  bool exclusive = false;  // Without the element itself.
  bool reverse = false;    // From each one to the end.
};
// Costs size * size additions: meant for short axes.
Id Cumulative(ir::Builder& b, Id x, int64_t axis,
              const CumulativeOptions& options);

// The k greatest (or least) elements of `axis` in order, and their positions
// (i64); of equal ones the first come first. Costs size * size comparisons,
// refused above 2^28 of them. Both kNoNode on error.
struct TopKResult {
  Id values = ir::kNoNode;
  Id positions = ir::kNoNode;
};
TopKResult TopK(ir::Builder& b, Id x, Id k, int64_t axis, bool greatest);

// Over all of `axes` together.
Id Softmax(ir::Builder& b, Id x, absl::Span<const int64_t> axes);
Id LogSoftmax(ir::Builder& b, Id x, absl::Span<const int64_t> axes);
Id Hardmax(ir::Builder& b, Id x, int64_t axis);

// (x - mean) / sqrt(variance + epsilon) over `axes`, in f32 for 16-bit floats
// (and not rounded back: cast the result); with the parts, axes kept.
struct Normalized {
  Id value = ir::kNoNode;
  Id mean = ir::kNoNode;
  Id inverse_deviation = ir::kNoNode;
};
Normalized Normalize(ir::Builder& b, Id x, absl::Span<const int64_t> axes,
                     double epsilon);
// x / sqrt(mean(x^2) + epsilon), likewise.
Normalized NormalizeByRootMeanSquare(ir::Builder& b, Id x,
                                     absl::Span<const int64_t> axes,
                                     double epsilon);
// Batch normalization of [batch, channels, ..] with known statistics of
// [channels]; written as x * s + t, where s and t depend on weights alone.
Id BatchNormalize(ir::Builder& b, Id x, Id scale, Id bias, Id mean, Id variance,
                  double epsilon);
// Each group of channels of [batch, channels, ..] normalized by itself; scale
// and bias [channels].
Id GroupNormalize(ir::Builder& b, Id x, Id scale, Id bias, int64_t groups,
                  double epsilon);
// x / |x| by the 1-norm or the 2-norm over `axis`.
Id NormalizeByNorm(ir::Builder& b, Id x, int64_t axis, int64_t p);

}  // namespace quern::graph
