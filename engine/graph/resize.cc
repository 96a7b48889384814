// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Builder;
using ir::DType;
using ir::kNoNode;

// Results times their reach that weights are worked out for.
constexpr double kMaxWeights = 1 << 22;

// Elements of an axis that go into each result: `taps` lists of positions and
// weights, each with an entry per result.
struct Taps {
  std::vector<std::vector<int64_t>> positions;
  std::vector<std::vector<double>> weights;
  std::vector<bool> outside;  // Results outside of the region.
};

// The coordinate in the operand of result `i`.
double Coordinate(int64_t i, int64_t from, int64_t to, const ResizeAxis& axis,
                  Coordinates mode) {
  const double x = static_cast<double>(i);
  const auto in = static_cast<double>(from);
  const auto out = static_cast<double>(to);
  switch (mode) {
    case Coordinates::kHalfPixel:
      return (x + 0.5) / axis.scale - 0.5;
    case Coordinates::kHalfPixelSymmetric: {
      // The result's own size may differ from operand times scale.
      const double adjustment = out / (axis.scale * in);
      const double offset = in / 2 * (1 - adjustment);
      return offset + (x + 0.5) / axis.scale - 0.5;
    }
    case Coordinates::kPytorchHalfPixel:
      return to == 1 ? 0 : (x + 0.5) / axis.scale - 0.5;
    case Coordinates::kAlignCorners: {
      // The corners of the result's size before it was rounded.
      const double exact = axis.scale * in;
      return to == 1 ? 0 : x * (in - 1) / (exact - 1);
    }
    case Coordinates::kAsymmetric:
      return x / axis.scale;
    case Coordinates::kCropAndResize:
      if (to == 1) return 0.5 * (axis.begin + axis.end) * (in - 1);
      return axis.begin * (in - 1) +
             x * (axis.end - axis.begin) * (in - 1) / (out - 1);
  }
  return x;
}

int64_t Nearest(double x, NearestRounding rounding) {
  switch (rounding) {
    case NearestRounding::kPreferFloor:
      return static_cast<int64_t>(std::ceil(x - 0.5));
    case NearestRounding::kPreferCeil:
      return static_cast<int64_t>(std::floor(x + 0.5));
    case NearestRounding::kFloor:
      return static_cast<int64_t>(std::floor(x));
    case NearestRounding::kCeil:
      return static_cast<int64_t>(std::ceil(x));
  }
  return 0;
}

// The weight of an element at distance `d`.
double Kernel(double d, const ResizeOptions& o) {
  d = std::fabs(d);
  if (o.interpolation == Interpolation::kLinear) return std::max(0.0, 1 - d);
  const double a = o.cubic_a;
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

Taps TapsOf(int64_t from, int64_t to, const ResizeAxis& axis,
            const ResizeOptions& o) {
  Taps taps;
  const bool nearest = o.interpolation == Interpolation::kNearest;
  const bool smooth = o.antialias && axis.scale < 1 && !nearest;
  const double stretch = smooth ? axis.scale : 1;
  const double radius =
      (o.interpolation == Interpolation::kCubic ? 2 : 1) / stretch;
  const int64_t count =
      nearest ? 1 : 2 * static_cast<int64_t>(std::ceil(radius));
  taps.positions.assign(count, std::vector<int64_t>(to));
  taps.weights.assign(count, std::vector<double>(to));
  taps.outside.assign(to, false);
  for (int64_t i = 0; i < to; ++i) {
    const double x = Coordinate(i, from, to, axis, o.coordinates);
    taps.outside[i] = o.coordinates == Coordinates::kCropAndResize &&
                      (x < 0 || x > static_cast<double>(from - 1));
    if (nearest) {
      taps.positions[0][i] =
          std::clamp<int64_t>(Nearest(x, o.rounding), 0, from - 1);
      taps.weights[0][i] = 1;
      continue;
    }
    const auto first = static_cast<int64_t>(std::floor(x)) - count / 2 + 1;
    double total = 0;
    for (int64_t t = 0; t < count; ++t) {
      const int64_t at = first + t;
      double weight = Kernel((static_cast<double>(at) - x) * stretch, o);
      const bool inside = at >= 0 && at < from;
      if (o.exclude_outside && !inside) weight = 0;
      taps.positions[t][i] = std::clamp<int64_t>(at, 0, from - 1);
      taps.weights[t][i] = weight;
      total += weight;
    }
    if ((o.exclude_outside || smooth) && total != 0) {
      for (int64_t t = 0; t < count; ++t) taps.weights[t][i] /= total;
    }
  }
  return taps;
}

// A list along `axis`, broadcastable to `rank` axes.
Id Along(Builder& b, int64_t axis, int rank, const std::vector<double>& values,
         DType dtype) {
  std::vector<int64_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(double));
  std::vector<Id> dims(rank, b.Int(1));
  dims[axis] = b.Int(static_cast<int64_t>(values.size()));
  return b.ConstArray(dtype, bits, dims);
}

Id ResizeKnown(Builder& b, Id x, int64_t from, int64_t to,
               const ResizeAxis& axis, const ResizeOptions& o) {
  const double radius = o.antialias ? std::max(1.0, 1 / axis.scale) : 1;
  if (radius * static_cast<double>(to) > kMaxWeights) {
    return b.Fail(absl::UnimplementedError(
        absl::StrCat("resize of axis ", axis.axis, " from ", from, " to ", to,
                     " takes too many weights")));
  }
  const Taps taps = TapsOf(from, to, axis, o);
  const Id size = b.Int(to);
  const auto gathered = [&](size_t t) {
    return b.Gather(x, b.ConstArray(DType::kI32, taps.positions[t], {size}),
                    axis.axis);
  };
  const DType dtype = b.DTypeOf(x);
  Id sum = kNoNode;
  if (o.interpolation == Interpolation::kNearest) {
    sum = gathered(0);
  } else {
    for (size_t t = 0; t < taps.positions.size(); ++t) {
      const bool unused =
          std::all_of(taps.weights[t].begin(), taps.weights[t].end(),
                      [](double w) { return w == 0; });
      if (unused) continue;
      const Id part = b.Mul(
          gathered(t), Along(b, axis.axis, b.Rank(x), taps.weights[t], dtype));
      sum = sum == kNoNode ? part : b.Add(sum, part);
    }
  }
  if (std::find(taps.outside.begin(), taps.outside.end(), true) ==
      taps.outside.end()) {
    return sum;
  }
  std::vector<int64_t> outside(taps.outside.begin(), taps.outside.end());
  std::vector<Id> dims(b.Rank(x), b.Int(1));
  dims[axis.axis] = size;
  return b.Where(b.ConstArray(DType::kBool, outside, dims),
                 b.Cast(b.Float(o.extrapolation_value), dtype), sum);
}

// Nearest neighbours of free sizes at a whole scale: every element repeated.
Id Repeat(Builder& b, Id x, const ResizeAxis& axis, const ResizeOptions& o) {
  const bool whole = axis.scale >= 1 && axis.scale == std::trunc(axis.scale) &&
                     axis.scale <= static_cast<double>(ir::kMaxElements);
  const bool plain = o.interpolation == Interpolation::kNearest &&
                     ((o.coordinates == Coordinates::kAsymmetric &&
                       o.rounding == NearestRounding::kFloor) ||
                      o.coordinates == Coordinates::kHalfPixel ||
                      o.coordinates == Coordinates::kPytorchHalfPixel);
  if (!whole || !plain) {
    return b.Fail(absl::UnimplementedError(absl::StrCat(
        "resize of axis ", axis.axis, " of ", b.ShapeText(x),
        " with a free size, expected nearest neighbours at a whole scale")));
  }
  const Id times = b.Int(static_cast<int64_t>(axis.scale));
  std::vector<Id> dims = b.Dims(x);
  std::vector<Id> apart = dims;
  apart.insert(apart.begin() + axis.axis + 1, b.Int(1));
  std::vector<Id> wide = apart;
  wide[axis.axis + 1] = times;
  dims[axis.axis] = ir::Mul(b.arena(), dims[axis.axis], times);
  return b.Reshape(b.Expand(b.Reshape(x, apart), wide), dims);
}

}  // namespace

Id Resize(Builder& b, Id x, const std::vector<ResizeAxis>& axes,
          const ResizeOptions& options) {
  if (!b.ok() || x == kNoNode) return kNoNode;
  const DType dtype = b.DTypeOf(x);
  // Weighted sums of integers and of 16-bit floats are taken in f32.
  const bool weighted = options.interpolation != Interpolation::kNearest;
  if (weighted) {
    x = ir::IsFloat(dtype) ? Widened(b, x) : b.Cast(x, DType::kF32);
  }
  for (const ResizeAxis& axis : axes) {
    if (!b.ok() || x == kNoNode) return kNoNode;
    const Id from = b.Dim(x, axis.axis);
    const bool crop = options.coordinates == Coordinates::kCropAndResize;
    if (from == axis.size && !crop && axis.scale == 1) continue;
    if (!b.arena().IsConst(from) || !b.arena().IsConst(axis.size)) {
      x = Repeat(b, x, axis, options);
      continue;
    }
    const int64_t to = b.arena().IntValue(axis.size);
    const int64_t size = b.arena().IntValue(from);
    if (size < 1 || to < 0 || to > (int64_t{1} << 24) || !(axis.scale > 0) ||
        !std::isfinite(axis.scale)) {
      return b.Invalid(absl::StrCat("resize of axis ", axis.axis, " from ",
                                    size, " to ", to));
    }
    x = ResizeKnown(b, x, size, to, axis, options);
  }
  return b.Cast(x, dtype);
}

}  // namespace quern::graph
