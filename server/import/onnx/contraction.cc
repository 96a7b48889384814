// SPDX-License-Identifier: Apache-2.0
//
// Matrix products and convolutions.
#include "engine/graph/contraction.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"
#include "server/import/onnx/windows.h"

namespace quern::onnx_import {
namespace {

constexpr int64_t kAny = INT64_MAX;

void MatMul(NodeCall& c) { c.Set(0, graph::MatMul(c.b(), c.In(0), c.In(1))); }

void Gemm(NodeCall& c) {
  graph::GemmOptions options;
  options.transpose_x = c.Int("transA", 0) != 0;
  options.transpose_y = c.Int("transB", 0) != 0;
  options.alpha = c.Float("alpha", 1);
  options.beta = c.Float("beta", 1);
  c.Set(0, graph::Gemm(c.b(), c.In(0), c.In(1), c.Optional(2), options));
}

// The taps of weights: their known sizes after the first two.
std::vector<int64_t> TapsOf(NodeCall& c, int weights) {
  const std::vector<Id> dims = c.Dims(weights);
  std::vector<int64_t> taps;
  for (size_t i = 2; i < dims.size(); ++i) {
    if (!c.arena().IsConst(dims[i])) {
      c.Unimplemented(absl::StrCat("weights of the shape ",
                                   c.b().ShapeText(c.In(weights)),
                                   " have a free size"));
      return {};
    }
    taps.push_back(c.arena().IntValue(dims[i]));
  }
  const std::vector<int64_t> declared = c.Ints("kernel_shape", taps);
  if (c.ok() && declared != taps) {
    c.Invalid(absl::StrCat("kernel_shape differs from the weights' shape ",
                           c.b().ShapeText(c.In(weights))));
  }
  return taps;
}

void Conv(NodeCall& c) {
  const graph::Windows windows = WindowsOf(c, TapsOf(c, 1));
  c.Set(0, graph::Convolution(c.b(), c.In(0), c.In(1), c.Optional(2),
                              c.Int("group", 1), windows));
}

void ConvTranspose(NodeCall& c) {
  ir::Arena& arena = c.arena();
  ir::Builder& b = c.b();
  const std::vector<int64_t> taps = TapsOf(c, 1);
  const size_t spatial = taps.size();
  std::vector<int64_t> extra =
      c.Ints("output_padding", std::vector<int64_t>(spatial, 0));
  const std::vector<int64_t> shape = c.Ints("output_shape");
  const std::string mode = c.Text("auto_pad", "NOTSET");
  // The paddings of auto_pad follow from the size of the result, not from the
  // rule of convolutions.
  graph::Windows w;
  w.strides = c.Ints("strides", std::vector<int64_t>(spatial, 1));
  w.dilations = c.Ints("dilations", std::vector<int64_t>(spatial, 1));
  const std::vector<int64_t> pads =
      c.Ints("pads", std::vector<int64_t>(2 * spatial, 0));
  const std::vector<Id> dims = c.Dims(0);
  if (!c.ok()) return;
  if (dims.size() != spatial + 2 || w.strides.size() != spatial ||
      w.dilations.size() != spatial || pads.size() != 2 * spatial ||
      extra.size() != spatial || (!shape.empty() && shape.size() != spatial)) {
    c.Invalid(
        absl::StrCat("strides, dilations, pads, output_padding or "
                     "output_shape do not have ",
                     spatial, " entries"));
    return;
  }
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  for (size_t i = 0; i < spatial; ++i) {
    int64_t reach = 0;
    if (w.strides[i] < 1 || w.strides[i] > ir::kMaxElements ||
        w.dilations[i] < 1 || taps[i] < 1 || extra[i] < 0 ||
        extra[i] > ir::kMaxElements ||
        (!shape.empty() && (shape[i] < 0 || shape[i] > ir::kMaxElements)) ||
        __builtin_mul_overflow(taps[i] - 1, w.dilations[i], &reach) ||
        reach > ir::kMaxElements) {
      c.Invalid(
          "strides, dilations, output_padding or output_shape are out of "
          "range");
      return;
    }
    if (shape.empty() && !same) {
      const bool valid = mode == "VALID";
      w.pads_before.push_back(b.Int(valid ? 0 : pads[i]));
      w.pads_after.push_back(b.Int(valid ? 0 : pads[i + spatial]));
      continue;
    }
    const Id stride = b.Int(w.strides[i]);
    const Id target =
        shape.empty() ? ir::Mul(arena, dims[i + 2], stride) : b.Int(shape[i]);
    const Id full = ir::Add(
        arena, ir::Mul(arena, ir::Sub(arena, dims[i + 2], b.Int(1)), stride),
        b.Int(reach + 1 + extra[i]));
    Id total = ir::Sub(arena, full, target);
    if (arena[total].least < 0) {
      // More is asked for than there is: zeros at the end.
      if (!arena.IsConst(total)) {
        c.Unimplemented("padding that depends on a free size");
        return;
      }
      extra[i] -= arena.IntValue(total);
      total = b.Int(0);
    }
    const Id half = ir::IDiv(arena, total, b.Int(2));
    const Id rest = ir::Sub(arena, total, half);
    w.pads_before.push_back(mode == "SAME_UPPER" ? half : rest);
    w.pads_after.push_back(mode == "SAME_UPPER" ? rest : half);
  }
  c.Set(0, graph::TransposedConvolution(b, c.In(0), c.In(1), c.Optional(2),
                                        c.Int("group", 1), w, extra));
}

// Labels of one term of an einsum equation; "..." stands for labels counted
// down from -1, the last axis.
std::vector<int> Labels(NodeCall& c, absl::string_view term, int rank) {
  std::vector<int> labels;
  const size_t dots = term.find("...");
  for (size_t i = 0; i < term.size(); ++i) {
    if (i == dots) {
      const int named = static_cast<int>(term.size()) - 3;
      for (int k = rank - named; k > 0; --k) labels.push_back(-k);
      i += 2;
    } else if (absl::ascii_isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(term[i]);
    } else {
      c.Invalid(absl::StrCat("equation has the character ",
                             Quoted(term.substr(i, 1))));
      return {};
    }
  }
  return labels;
}

void Einsum(NodeCall& c) {
  std::string equation = c.Text("equation", "");
  equation.erase(std::remove(equation.begin(), equation.end(), ' '),
                 equation.end());
  const std::vector<std::string> sides = absl::StrSplit(equation, "->");
  const std::vector<std::string> terms = absl::StrSplit(sides[0], ',');
  if (sides.size() > 2 || static_cast<int>(terms.size()) != c.inputs()) {
    c.Invalid(absl::StrCat("equation ", Quoted(equation), " for ", c.inputs(),
                           " inputs"));
    return;
  }
  std::vector<Id> operands;
  std::vector<std::vector<int>> inputs;
  std::map<int, int> uses;
  int dots = 0;
  for (int i = 0; i < c.inputs(); ++i) {
    operands.push_back(c.In(i));
    inputs.push_back(Labels(c, terms[i], c.Rank(i)));
    for (int label : inputs.back()) {
      ++uses[label];
      dots = std::max(dots, -label);
    }
  }
  if (!c.ok()) return;
  std::vector<int> output;
  if (sides.size() == 2) {
    const int named = static_cast<int>(std::count_if(
        sides[1].begin(), sides[1].end(), [](char ch) { return ch != '.'; }));
    output = Labels(c, sides[1], named + dots);
  } else {
    for (int k = dots; k > 0; --k) output.push_back(-k);
    for (const auto& [label, count] : uses) {
      if (label > 0 && count == 1) output.push_back(label);
    }
  }
  for (int label : output) {
    if (!uses.contains(label)) {
      c.Invalid(absl::StrCat("equation ", Quoted(equation),
                             " has a result axis that no input has"));
      return;
    }
  }
  c.Set(0, graph::Einsum(c.b(), operands, inputs, output));
}

constexpr OpRow kRows[] = {
    {"Conv", 1, kAny, Conv},      {"ConvTranspose", 1, kAny, ConvTranspose},
    {"Einsum", 12, kAny, Einsum}, {"Gemm", 1, kAny, Gemm},
    {"MatMul", 1, kAny, MatMul},
};

}  // namespace

absl::Span<const OpRow> ContractionOps() { return kRows; }

}  // namespace quern::onnx_import
