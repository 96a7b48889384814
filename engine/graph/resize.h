// SPDX-License-Identifier: Apache-2.0
//
// Resampling of one axis at a time. The positions and weights of the elements
// that go into each result are worked out here when the sizes are known, and
// become small constant arrays; a result is then a sum of a few gathers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/ir/builder.h"

namespace quern::graph {

using ir::Id;

enum class Interpolation { kNearest, kLinear, kCubic };
enum class Coordinates {
  kHalfPixel,
  kHalfPixelSymmetric,
  kPytorchHalfPixel,
  kAlignCorners,
  kAsymmetric,
  kCropAndResize,
};
enum class NearestRounding { kPreferFloor, kPreferCeil, kFloor, kCeil };

struct ResizeAxis {
  int64_t axis = 0;
  Id size = ir::kNoNode;  // Of the result.
  double scale = 1;  // What the model says; result / operand if it does not.
  double begin = 0;  // The region of kCropAndResize, as fractions.
  double end = 1;
};

struct ResizeOptions {
  Interpolation interpolation = Interpolation::kNearest;
  Coordinates coordinates = Coordinates::kHalfPixel;
  NearestRounding rounding = NearestRounding::kPreferFloor;
  double cubic_a = -0.75;
  bool exclude_outside = false;    // Weights outside the tensor become zero.
  bool antialias = false;          // Shrinking averages over what it skips.
  double extrapolation_value = 0;  // Outside the region of kCropAndResize.
};

// Free sizes are taken for nearest neighbours and whole scales only.
Id Resize(ir::Builder& b, Id x, const std::vector<ResizeAxis>& axes,
          const ResizeOptions& options);

}  // namespace quern::graph
