// SPDX-License-Identifier: Apache-2.0
//
// Resampling. The forms before opset 11 are the newer ones with the
// coordinates asymmetric and rounded down.
#include "engine/graph/resize.h"

#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/ir/symbolic.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

using graph::Coordinates;
using graph::Interpolation;
using graph::NearestRounding;

constexpr int64_t kAny = INT64_MAX;

template <typename Enum>
struct Word {
  const char* text;
  Enum value;
};

constexpr Word<Interpolation> kModes[] = {
    {"nearest", Interpolation::kNearest},
    {"linear", Interpolation::kLinear},
    {"bilinear", Interpolation::kLinear},
    {"cubic", Interpolation::kCubic},
};
constexpr Word<Coordinates> kCoordinates[] = {
    {"half_pixel", Coordinates::kHalfPixel},
    {"half_pixel_symmetric", Coordinates::kHalfPixelSymmetric},
    {"pytorch_half_pixel", Coordinates::kPytorchHalfPixel},
    {"align_corners", Coordinates::kAlignCorners},
    {"asymmetric", Coordinates::kAsymmetric},
    {"tf_crop_and_resize", Coordinates::kCropAndResize},
};
constexpr Word<NearestRounding> kRoundings[] = {
    {"round_prefer_floor", NearestRounding::kPreferFloor},
    {"round_prefer_ceil", NearestRounding::kPreferCeil},
    {"floor", NearestRounding::kFloor},
    {"ceil", NearestRounding::kCeil},
};

template <typename Enum, size_t n>
Enum Choice(NodeCall& c, const char* attribute, const char* value,
            const Word<Enum> (&words)[n]) {
  const std::string text = c.Text(attribute, value);
  for (const Word<Enum>& word : words) {
    if (text == word.text) return word.value;
  }
  c.Unimplemented(
      absl::StrCat(attribute, " ", Quoted(text), " is not supported"));
  return words[0].value;
}

graph::ResizeOptions OptionsOf(NodeCall& c) {
  graph::ResizeOptions o;
  o.interpolation = Choice(c, "mode", "nearest", kModes);
  if (c.opset() < 11) {
    o.coordinates = Coordinates::kAsymmetric;
    o.rounding = NearestRounding::kFloor;
    return o;
  }
  o.coordinates =
      Choice(c, "coordinate_transformation_mode", "half_pixel", kCoordinates);
  o.rounding = Choice(c, "nearest_mode", "round_prefer_floor", kRoundings);
  o.cubic_a = c.Float("cubic_coeff_a", -0.75);
  o.exclude_outside = c.Int("exclude_outside", 0) != 0;
  o.antialias = c.Int("antialias", 0) != 0;
  o.extrapolation_value = c.Float("extrapolation_value", 0);
  return o;
}

// floor(size * scale), with a free size where the scale is whole.
Id Scaled(NodeCall& c, Id size, double scale) {
  if (!(scale > 0) || scale > static_cast<double>(ir::kMaxElements)) {
    return c.Invalid(absl::StrCat("scale is ", scale));
  }
  if (c.arena().IsConst(size)) {
    const auto from = static_cast<double>(c.arena().IntValue(size));
    return c.b().Int(static_cast<int64_t>(std::floor(from * scale)));
  }
  if (scale != std::trunc(scale)) {
    return c.Unimplemented(absl::StrCat("scale ", scale, " of a free size"));
  }
  return ir::Mul(c.arena(), size, c.b().Int(static_cast<int64_t>(scale)));
}

// One scale for all axes, so that the result fits into (or around) the sizes.
void KeepAspectRatio(NodeCall& c, std::vector<graph::ResizeAxis>& axes) {
  const std::string policy = c.Text("keep_aspect_ratio_policy", "stretch");
  if (policy == "stretch" || axes.empty()) return;
  if (policy != "not_larger" && policy != "not_smaller") {
    c.Invalid(absl::StrCat("keep_aspect_ratio_policy is ", Quoted(policy)));
    return;
  }
  double scale = axes[0].scale;
  for (const graph::ResizeAxis& axis : axes) {
    scale = policy == "not_larger" ? std::min(scale, axis.scale)
                                   : std::max(scale, axis.scale);
  }
  const std::vector<Id> dims = c.Dims(0);
  for (graph::ResizeAxis& axis : axes) {
    const Id from = dims[axis.axis];
    if (!c.arena().IsConst(from)) {
      c.Unimplemented("keep_aspect_ratio_policy with a free size");
      return;
    }
    const auto size = static_cast<double>(c.arena().IntValue(from));
    axis.scale = scale;
    axis.size = c.b().Int(static_cast<int64_t>(std::floor(size * scale + 0.5)));
  }
}

// The axes to resample: all, or those that `axes` names, with the scales or
// sizes given for them.
void ResizeBy(NodeCall& c, absl::Span<const double> scales,
              absl::Span<const Id> sizes, absl::Span<const double> region) {
  std::vector<int64_t> named = c.Ints("axes");
  const int rank = c.Rank(0);
  if (!c.HasAttribute("axes")) {
    named.resize(static_cast<size_t>(rank));
    std::iota(named.begin(), named.end(), 0);
  }
  if (!c.ok()) return;
  const size_t count = named.size();
  const bool by_scale = !scales.empty();
  if ((by_scale ? scales.size() : sizes.size()) != count ||
      (!region.empty() && region.size() != 2 * count)) {
    c.Invalid(absl::StrCat(by_scale ? "scales has " : "sizes has ",
                           by_scale ? scales.size() : sizes.size(),
                           " entries for ", count, " axes"));
    return;
  }
  const graph::ResizeOptions options = OptionsOf(c);
  const bool crop = options.coordinates == Coordinates::kCropAndResize;
  const std::vector<Id> dims = c.Dims(0);
  std::vector<graph::ResizeAxis> axes;
  for (size_t i = 0; i < count && c.ok(); ++i) {
    graph::ResizeAxis axis;
    axis.axis = c.b().Axis(named[i], rank);
    if (!c.ok()) return;
    const Id from = dims[axis.axis];
    if (crop && !region.empty()) {
      axis.begin = region[i];
      axis.end = region[i + count];
    }
    if (by_scale) {
      axis.scale = scales[i];
      axis.size = Scaled(c, from, scales[i] * (axis.end - axis.begin));
    } else {
      axis.size = sizes[i];
      if (c.arena().IsConst(from) && c.arena().IsConst(sizes[i])) {
        axis.scale = static_cast<double>(c.arena().IntValue(sizes[i])) /
                     static_cast<double>(c.arena().IntValue(from));
      } else {
        const Id whole = ir::IDiv(c.arena(), sizes[i], from);
        axis.scale = c.arena().IsConst(whole)
                         ? static_cast<double>(c.arena().IntValue(whole))
                         : 0;
      }
    }
    axes.push_back(axis);
  }
  if (!by_scale) KeepAspectRatio(c, axes);
  if (c.ok()) c.Set(0, graph::Resize(c.b(), c.In(0), axes, options));
}

void Resize(NodeCall& c) {
  std::vector<double> region;
  std::vector<double> scales;
  std::vector<Id> sizes;
  if (c.Has(1)) region = c.Doubles(1, "roi");
  if (c.Has(2)) scales = c.Doubles(2, "scales");
  if (c.Has(3)) sizes = c.Sizes(3, "sizes");
  // Opset 11 wrote an empty list where later ones leave the input out.
  if (sizes.empty() && scales.empty() && c.ok()) {
    c.Invalid("neither scales nor sizes are given");
    return;
  }
  if (!sizes.empty()) scales.clear();
  ResizeBy(c, scales, sizes, region);
}

void ResizeByScales(NodeCall& c) {
  ResizeBy(c, c.Doubles(1, "scales"), {}, {});
}

void Upsample(NodeCall& c) {
  std::vector<double> scales;
  if (c.opset() >= 9) {
    scales = c.Doubles(1, "scales");
  } else {
    scales = c.Floats("scales");
    if (c.opset() < 7) {
      scales = {1, 1, c.Float("height_scale", 1), c.Float("width_scale", 1)};
    }
  }
  ResizeBy(c, scales, {}, {});
}

constexpr OpRow kRows[] = {
    {"Resize", 10, 10, ResizeByScales},
    {"Resize", 11, kAny, Resize},
    {"Upsample", 1, kAny, Upsample},
};

}  // namespace

absl::Span<const OpRow> ResizeOps() { return kRows; }

}  // namespace quern::onnx_import
