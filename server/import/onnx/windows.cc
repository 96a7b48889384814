// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/windows.h"

#include "absl/strings/str_cat.h"

#include "engine/ir/symbolic.h"
#include "server/import/onnx/names.h"

namespace quern::onnx_import {

graph::Windows WindowsOf(NodeCall& call, absl::Span<const int64_t> taps) {
  graph::Windows w;
  const size_t spatial = taps.size();
  ir::Arena& arena = call.arena();
  ir::Builder& b = call.b();
  w.strides = call.Ints("strides", std::vector<int64_t>(spatial, 1));
  w.dilations = call.Ints("dilations", std::vector<int64_t>(spatial, 1));
  const std::vector<int64_t> pads =
      call.Ints("pads", std::vector<int64_t>(2 * spatial, 0));
  const std::string mode = call.Text("auto_pad", "NOTSET");
  const std::vector<Id> dims = call.Dims(0);
  if (!call.ok()) return w;
  if (dims.size() != spatial + 2 || w.strides.size() != spatial ||
      w.dilations.size() != spatial || pads.size() != 2 * spatial) {
    call.Invalid(absl::StrCat(
        "strides, dilations and pads have ", w.strides.size(), ", ",
        w.dilations.size(), " and ", pads.size(), " entries for an input ",
        b.ShapeText(call.In(0)), " and ", spatial, " spatial axes"));
    return w;
  }
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && mode != "NOTSET" && mode != "VALID") {
    call.Invalid(absl::StrCat("auto_pad is ", Quoted(mode),
                              ", expected NOTSET, VALID, SAME_UPPER or "
                              "SAME_LOWER"));
  }
  for (size_t i = 0; i < spatial; ++i) {
    int64_t reach = 0;
    if (w.strides[i] < 1 || w.dilations[i] < 1 || taps[i] < 1 ||
        __builtin_mul_overflow(taps[i] - 1, w.dilations[i], &reach) ||
        reach > ir::kMaxElements) {
      call.Invalid(absl::StrCat("window of ", taps[i], " taps with stride ",
                                w.strides[i], " and dilation ",
                                w.dilations[i]));
      return w;
    }
    if (!same) {
      const bool valid = mode == "VALID";
      w.pads_before.push_back(b.Int(valid ? 0 : pads[i]));
      w.pads_after.push_back(b.Int(valid ? 0 : pads[i + spatial]));
      continue;
    }
    // As many results as strides fit into the input.
    const Id size = dims[i + 2];
    const Id count = ir::CeilDiv(arena, size, b.Int(w.strides[i]));
    const Id last =
        ir::Mul(arena, ir::Sub(arena, count, b.Int(1)), b.Int(w.strides[i]));
    const Id needed = ir::Add(arena, last, b.Int(reach + 1));
    const Id total = ir::Max(arena, ir::Sub(arena, needed, size), b.Int(0));
    const Id less = ir::IDiv(arena, total, b.Int(2));
    const Id more = ir::Sub(arena, total, less);
    const bool upper = mode == "SAME_UPPER";
    w.pads_before.push_back(upper ? less : more);
    w.pads_after.push_back(upper ? more : less);
  }
  return w;
}

}  // namespace quern::onnx_import
