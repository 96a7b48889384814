// SPDX-License-Identifier: Apache-2.0
//
// Operators that move elements or tell about shapes.
#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/ir/symbolic.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

void Identity(NodeCall& c) { c.Set(0, c.In(0)); }

void Shape(NodeCall& c) {
  const std::vector<Id> dims = c.Dims(0);
  const auto rank = static_cast<int64_t>(dims.size());
  int64_t start = c.Int("start", 0);
  int64_t end = c.Int("end", rank);
  start = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
  end = std::clamp<int64_t>(end < 0 ? end + rank : end, start, rank);
  const absl::Span<const Id> all = dims;
  if (!c.ok()) return;
  if (start == end) {
    c.Set(0, c.b().Expand(c.arena().IntConst(DType::kI64, 0), {c.b().Int(0)}));
    return;
  }
  c.Set(0, c.SizeList(all.subspan(start, end - start), DType::kI64));
}

void Size(NodeCall& c) {
  c.Set(0, c.b().Cast(ir::Product(c.arena(), c.Dims(0)), DType::kI64));
}

// The shape that a reshape asks for: 0 keeps a size, -1 is what is left.
void Reshape(NodeCall& c) {
  std::vector<Id> dims;
  if (c.opset() < 5) {
    for (int64_t size : c.Ints("shape")) dims.push_back(c.b().Int(size));
  } else {
    dims = c.Sizes(1, "shape");
  }
  const bool zero_is_zero = c.Int("allowzero", 0) != 0;
  const std::vector<Id> from = c.Dims(0);
  ir::Arena& arena = c.arena();
  int rest = -1;
  Id known = c.b().Int(1);
  for (size_t i = 0; i < dims.size(); ++i) {
    if (arena.IsInt(dims[i], 0) && !zero_is_zero) {
      if (i >= from.size()) {
        c.Invalid(absl::StrCat("shape keeps axis ", i, " of an input of rank ",
                               from.size()));
        return;
      }
      dims[i] = from[i];
    }
    if (arena.IsInt(dims[i], -1)) {
      if (rest >= 0) {
        c.Invalid("shape has two sizes of -1");
        return;
      }
      rest = static_cast<int>(i);
      continue;
    }
    known = ir::Mul(arena, known, dims[i]);
  }
  if (rest >= 0) {
    const Id all = ir::Product(arena, from);
    if (arena.IsInt(known, 0)) {
      c.Invalid("shape has a size of -1 beside a size of 0");
      return;
    }
    dims[rest] = ir::IDiv(arena, all, known);
  }
  c.Set(0, c.b().Reshape(c.In(0), dims));
}

void Flatten(NodeCall& c) {
  const int rank = c.Rank(0);
  int64_t axis = c.Int("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis > rank) {
    c.Invalid(absl::StrCat("axis ", axis, " of an input of rank ", rank));
    return;
  }
  c.Set(0, graph::Flatten(c.b(), c.In(0), axis));
}

void Transpose(NodeCall& c) {
  std::vector<int64_t> order = c.Ints("perm");
  if (!c.HasAttribute("perm")) {
    order.resize(static_cast<size_t>(c.Rank(0)));
    std::iota(order.rbegin(), order.rend(), 0);
  }
  c.Set(0, c.b().Permute(c.In(0), order));
}

// Axes are an attribute before opset 13 and an input since.
std::vector<int64_t> AxesOf(NodeCall& c) {
  if (c.opset() < 13) return c.Ints("axes");
  return c.Has(1) ? c.Integers(1, "axes") : std::vector<int64_t>();
}

void Squeeze(NodeCall& c) {
  std::vector<int64_t> axes = AxesOf(c);
  if (axes.empty() && !c.Has(1) && !c.HasAttribute("axes")) {
    const std::vector<Id> dims = c.Dims(0);
    for (size_t i = 0; i < dims.size(); ++i) {
      if (c.arena().IsInt(dims[i], 1)) axes.push_back(static_cast<int64_t>(i));
    }
  }
  c.Set(0, graph::Squeeze(c.b(), c.In(0), axes));
}

void Unsqueeze(NodeCall& c) {
  c.Set(0, graph::Unsqueeze(c.b(), c.In(0), AxesOf(c)));
}

void Concat(NodeCall& c) {
  std::vector<Id> parts;
  for (int i = 0; i < c.inputs(); ++i) parts.push_back(c.In(i));
  // The axis was 1 unless said otherwise before opset 4.
  c.Set(0, c.b().Concat(parts, c.Int("axis", 1)));
}

void Split(NodeCall& c) {
  ir::Arena& arena = c.arena();
  const int64_t axis = c.b().Axis(c.Int("axis", 0), c.Rank(0));
  if (!c.ok()) return;
  const Id size = c.Dim(0, axis);
  std::vector<Id> sizes;
  if (c.Has(1)) {
    sizes = c.Sizes(1, "split");
  } else {
    for (int64_t s : c.Ints("split")) sizes.push_back(c.b().Int(s));
  }
  if (sizes.empty() && c.ok()) {
    // Equal parts; the last one may be smaller.
    const int64_t parts = c.Int("num_outputs", c.outputs());
    if (parts < 1 || parts != c.outputs()) {
      c.Invalid(absl::StrCat("split into ", parts, " parts for ", c.outputs(),
                             " outputs"));
      return;
    }
    const Id each = ir::CeilDiv(arena, size, c.b().Int(parts));
    sizes.assign(static_cast<size_t>(parts), each);
    sizes.back() =
        ir::Sub(arena, size, ir::Mul(arena, each, c.b().Int(parts - 1)));
  }
  if (static_cast<int>(sizes.size()) != c.outputs()) {
    c.Invalid(absl::StrCat("split into ", sizes.size(), " parts for ",
                           c.outputs(), " outputs"));
    return;
  }
  Id begin = c.b().Int(0);
  for (size_t i = 0; i < sizes.size() && c.ok(); ++i) {
    c.Set(static_cast<int>(i),
          graph::Narrow(c.b(), c.In(0), axis, begin, sizes[i]));
    begin = ir::Add(arena, begin, sizes[i]);
  }
  if (c.ok() && !ir::ProvablyEqual(arena, begin, size)) {
    c.Invalid(absl::StrCat("the parts of the split have ",
                           ir::SizeText(arena, begin), " elements of ",
                           ir::SizeText(arena, size)));
  }
}

void Expand(NodeCall& c) {
  c.Set(0, graph::BroadcastTo(c.b(), c.In(0), c.Sizes(1, "shape")));
}

void Tile(NodeCall& c) {
  c.Set(0, graph::Tile(c.b(), c.In(0), c.Sizes(1, "repeats")));
}

// Before opset 6: the number of copies, and the axis to lay them along.
void TileAxis(NodeCall& c) {
  const std::vector<Id> tiles = c.Sizes(1, "tiles");
  const std::vector<int64_t> axis = c.Integers(2, "axis");
  if (!c.ok() || tiles.size() != 1 || axis.size() != 1) return;
  std::vector<Id> repeats(static_cast<size_t>(c.Rank(0)), c.b().Int(1));
  const int64_t at = c.b().Axis(axis[0], c.Rank(0));
  if (!c.ok()) return;
  repeats[at] = tiles[0];
  c.Set(0, graph::Tile(c.b(), c.In(0), repeats));
}

// True if the slice ends at an expression of free sizes that is taken to lie in
// an axis of known size: the graph then has a limit for it.
bool TrustsSlice(NodeCall& c, Id x, int64_t axis, Id start, Id end) {
  ir::Arena& arena = c.arena();
  if (!c.context().trust_slices || !c.ok()) return false;
  const Id size = c.b().Dim(x, axis);
  if (!arena.IsConst(size) || arena.IsConst(end) || arena[start].least < 0 ||
      arena[end].least < 0 || arena[end].op == ir::Op::kVar ||
      arena[end].greatest <= arena.IntValue(size)) {
    return false;
  }
  c.context().graph.limits.push_back(
      {end, arena.IntValue(size),
       absl::StrCat(c.Description(), ": ", ir::SizeText(arena, end),
                    " must be at most ", arena.IntValue(size))});
  return true;
}

void Slice(NodeCall& c) {
  std::vector<Id> starts;
  std::vector<Id> ends;
  std::vector<int64_t> axes;
  std::vector<int64_t> steps;
  if (c.opset() < 10) {
    for (int64_t s : c.Ints("starts")) starts.push_back(c.b().Int(s));
    for (int64_t e : c.Ints("ends")) ends.push_back(c.b().Int(e));
    axes = c.Ints("axes");
  } else {
    starts = c.Sizes(1, "starts");
    ends = c.Sizes(2, "ends");
    if (c.Has(3)) axes = c.Integers(3, "axes");
    if (c.Has(4)) steps = c.Integers(4, "steps");
  }
  if (axes.empty()) {
    axes.resize(starts.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (!c.ok()) return;
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    c.Invalid(absl::StrCat("slice has ", starts.size(), " starts, ",
                           ends.size(), " ends, ", axes.size(), " axes and ",
                           steps.size(), " steps"));
    return;
  }
  std::vector<graph::SliceAxis> parts;
  Id x = c.In(0);
  for (size_t i = 0; i < starts.size() && c.ok(); ++i) {
    if (steps[i] == 1 && TrustsSlice(c, x, axes[i], starts[i], ends[i])) {
      x = graph::SliceWithin(c.b(), x, axes[i], starts[i], ends[i]);
    } else {
      parts.push_back({axes[i], starts[i], ends[i], steps[i]});
    }
  }
  c.Set(0, graph::Slice(c.b(), x, parts));
}

void PadBy(NodeCall& c, absl::Span<const Id> pads,
           absl::Span<const int64_t> axes, Id value) {
  const int rank = c.Rank(0);
  const std::string mode = c.Text("mode", "constant");
  if (!c.ok()) return;
  if (pads.size() != 2 * axes.size()) {
    c.Invalid(absl::StrCat("pads has ", pads.size(), " sizes for ", axes.size(),
                           " axes"));
    return;
  }
  std::vector<Id> before(static_cast<size_t>(rank), c.b().Int(0));
  std::vector<Id> after = before;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = c.b().Axis(axes[i], rank);
    if (!c.ok()) return;
    before[axis] = pads[i];
    after[axis] = pads[i + axes.size()];
  }
  graph::PadMode kind = graph::PadMode::kConstant;
  if (mode == "reflect") {
    kind = graph::PadMode::kReflect;
  } else if (mode == "edge") {
    kind = graph::PadMode::kEdge;
  } else if (mode == "wrap") {
    kind = graph::PadMode::kWrap;
  } else if (mode != "constant") {
    c.Invalid(absl::StrCat("mode is ", Quoted(mode),
                           ", expected constant, reflect, edge or wrap"));
  }
  c.Set(0, graph::PadWith(c.b(), c.In(0), before, after, kind, value));
}

std::vector<int64_t> AllAxes(NodeCall& c) {
  std::vector<int64_t> axes(static_cast<size_t>(c.Rank(0)));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

void Pad(NodeCall& c) {
  const std::vector<int64_t> axes =
      c.Has(3) ? c.Integers(3, "axes") : AllAxes(c);
  Id value = c.b().Int(0);
  if (c.Has(2)) {
    value = c.In(2);
    const std::vector<Id> dims = c.Dims(2);
    if (!dims.empty()) value = c.b().Reshape(value, {});
  }
  PadBy(c, c.Sizes(1, "pads"), axes, value);
}

void PadByAttributes(NodeCall& c) {
  std::vector<Id> pads;
  for (int64_t p : c.Ints(c.opset() < 2 ? "paddings" : "pads")) {
    pads.push_back(c.b().Int(p));
  }
  PadBy(c, pads, AllAxes(c), c.b().Float(c.Float("value", 0)));
}

void CenterCropPad(NodeCall& c) {
  const std::vector<Id> shape = c.Sizes(1, "shape");
  const std::vector<int64_t> axes =
      c.HasAttribute("axes") ? c.Ints("axes") : AllAxes(c);
  if (!c.ok()) return;
  if (axes.size() != shape.size()) {
    c.Invalid(absl::StrCat("shape has ", shape.size(), " sizes for ",
                           axes.size(), " axes"));
    return;
  }
  ir::Arena& arena = c.arena();
  const int rank = c.Rank(0);
  const std::vector<Id> dims = c.Dims(0);
  std::vector<Id> before(static_cast<size_t>(rank), c.b().Int(0));
  std::vector<Id> after = before;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = c.b().Axis(axes[i], rank);
    if (!c.ok()) return;
    if (!arena.IsConst(dims[axis]) || !arena.IsConst(shape[i])) {
      c.Unimplemented("cropping and padding of free sizes is not supported");
      return;
    }
    // What is over is cut or added in halves, the greater half behind.
    const int64_t more = arena.IntValue(shape[i]) - arena.IntValue(dims[axis]);
    const int64_t low = more >= 0 ? more / 2 : -(-more / 2);
    before[axis] = c.b().Int(low);
    after[axis] = c.b().Int(more - low);
  }
  c.Set(0, graph::PadWith(c.b(), c.In(0), before, after,
                          graph::PadMode::kConstant, c.b().Int(0)));
}

void DepthToSpace(NodeCall& c) {
  const std::string mode = c.Text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") {
    c.Invalid(absl::StrCat("mode is ", Quoted(mode), ", expected DCR or CRD"));
  }
  c.Set(0, graph::DepthToSpace(c.b(), c.In(0), c.Int("blocksize", 1),
                               mode == "CRD"));
}

void SpaceToDepth(NodeCall& c) {
  c.Set(0, graph::SpaceToDepth(c.b(), c.In(0), c.Int("blocksize", 1)));
}

constexpr OpRow kRows[] = {
    {"CenterCropPad", 18, kAny, CenterCropPad},
    {"Concat", 1, kAny, Concat},
    {"DepthToSpace", 1, kAny, DepthToSpace},
    {"Expand", 8, kAny, Expand},
    {"Flatten", 1, kAny, Flatten},
    {"Identity", 1, kAny, Identity},
    {"Pad", 1, 10, PadByAttributes},
    {"Pad", 11, kAny, Pad},
    {"Reshape", 1, kAny, Reshape},
    {"Shape", 1, kAny, Shape},
    {"Size", 1, kAny, Size},
    {"Slice", 1, kAny, Slice},
    {"SpaceToDepth", 1, kAny, SpaceToDepth},
    {"Split", 1, kAny, Split},
    {"Squeeze", 1, kAny, Squeeze},
    {"Tile", 1, 5, TileAxis},
    {"Tile", 6, kAny, Tile},
    {"Transpose", 1, kAny, Transpose},
    {"Unsqueeze", 1, kAny, Unsqueeze},
};

}  // namespace

absl::Span<const OpRow> ShapeOps() { return kRows; }

}  // namespace quern::onnx_import
