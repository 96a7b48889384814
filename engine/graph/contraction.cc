// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/contraction.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Builder;
using ir::kNoNode;
using ir::Op;

bool Failed(const Builder& b, Id x) { return !b.ok() || x == kNoNode; }

// x * y summed over the last `count` axes, not yet rounded to the operands'
// type: a bias may follow.
Id SumOfProducts(Builder& b, Id x, Id y, int count) {
  if (Failed(b, x) || Failed(b, y)) return kNoNode;
  const Id product = b.Mul(Widened(b, x), Widened(b, y));
  std::vector<int64_t> axes;
  for (int i = 1; i <= count; ++i) axes.push_back(-i);
  return b.Reduce(Op::kAdd, product, axes);
}

// The size of each axis of `x`, or an error if one is not known.
std::vector<int64_t> KnownDims(Builder& b, Id x, absl::string_view what) {
  std::vector<int64_t> sizes;
  for (Id dim : b.Dims(x)) {
    if (!b.arena().IsConst(dim)) {
      b.Invalid(absl::StrCat(what, " of shape ", b.ShapeText(x),
                             ", expected known sizes"));
      return {};
    }
    sizes.push_back(b.arena().IntValue(dim));
  }
  return sizes;
}

}  // namespace

namespace {

// The matrix product in the type of its sums.
Id WideMatMul(Builder& b, Id x, Id y) {
  if (Failed(b, x) || Failed(b, y)) return kNoNode;
  const std::string shapes =
      absl::StrCat(b.ShapeText(x), " x ", b.ShapeText(y));
  const bool row = b.Rank(x) == 1;
  const bool column = b.Rank(y) == 1;
  if (b.Rank(x) == 0 || b.Rank(y) == 0) {
    return b.Invalid(absl::StrCat("matmul of ", shapes));
  }
  if (row) x = Unsqueeze(b, x, {0});
  if (column) y = Unsqueeze(b, y, {1});
  const int rank_x = b.Rank(x);
  const int rank_y = b.Rank(y);
  const Id inner_x = b.Dim(x, rank_x - 1);
  const Id inner_y = b.Dim(y, rank_y - 2);
  if (!ir::ProvablyEqual(b.arena(), inner_x, inner_y)) {
    return b.Invalid(absl::StrCat("matmul inner dimensions differ: ", shapes));
  }
  // [.., m, 1, k] * [.., 1, n, k].
  const Id left = Unsqueeze(b, x, {rank_x - 1});
  const Id right = Unsqueeze(b, Transpose(b, y), {rank_y - 2});
  Id result = SumOfProducts(b, left, right, 1);
  if (row) result = Squeeze(b, result, {-2});
  if (column) result = Squeeze(b, result, {-1});
  return result;
}

}  // namespace

Id MatMul(Builder& b, Id x, Id y) {
  const ir::DType dtype = ir::Promote(TypeOf(b, x), TypeOf(b, y));
  return b.Cast(WideMatMul(b, x, y), dtype);
}

Id Gemm(Builder& b, Id x, Id y, Id c, const GemmOptions& options) {
  if (Failed(b, x) || Failed(b, y)) return kNoNode;
  if (b.Rank(x) != 2 || b.Rank(y) != 2) {
    return b.Invalid(absl::StrCat("gemm of ", b.ShapeText(x), " x ",
                                  b.ShapeText(y), ", expected matrices"));
  }
  if (options.transpose_x) x = Transpose(b, x);
  if (options.transpose_y) y = Transpose(b, y);
  const ir::DType dtype = ir::Promote(TypeOf(b, x), TypeOf(b, y));
  Id result = WideMatMul(b, x, y);
  if (Failed(b, result)) return kNoNode;
  const ir::DType wide = b.DTypeOf(result);
  if (options.alpha != 1) {
    result = b.Mul(result, b.Scalar(wide, options.alpha));
  }
  if (c != kNoNode && options.beta != 0) {
    c = b.Cast(c, wide);
    if (options.beta != 1) c = b.Mul(c, b.Scalar(wide, options.beta));
    result = b.Add(result, BroadcastTo(b, c, b.Dims(result)));
  }
  return b.Cast(result, dtype);
}

namespace {

// `windows` with every list of `spatial` entries, or an error.
Windows Completed(Builder& b, const Windows& windows, size_t spatial) {
  Windows w = windows;
  if (w.strides.empty()) w.strides.assign(spatial, 1);
  if (w.dilations.empty()) w.dilations.assign(spatial, 1);
  if (w.pads_before.empty()) w.pads_before.assign(spatial, b.Int(0));
  if (w.pads_after.empty()) w.pads_after.assign(spatial, b.Int(0));
  if (w.strides.size() != spatial || w.dilations.size() != spatial ||
      w.pads_before.size() != spatial || w.pads_after.size() != spatial) {
    b.Invalid(absl::StrCat("strides, dilations or pads have ", w.strides.size(),
                           ", ", w.dilations.size(), " and ",
                           w.pads_before.size(), ",", w.pads_after.size(),
                           " entries, expected ", spatial));
  }
  return w;
}

// x [batch, channels, spatial..] -> [batch, channels, positions.., taps..],
// with an axis of taps for each window of more than one.
Id WindowsOf(Builder& b, Id x, absl::Span<const int64_t> taps,
             const Windows& windows) {
  const size_t spatial = taps.size();
  std::vector<Id> before(2, b.Int(0));
  std::vector<Id> after(2, b.Int(0));
  before.insert(before.end(), windows.pads_before.begin(),
                windows.pads_before.end());
  after.insert(after.end(), windows.pads_after.begin(),
               windows.pads_after.end());
  x = PadWith(b, x, before, after, PadMode::kConstant, b.Int(0));
  for (size_t i = 0; i < spatial; ++i) {
    if (taps[i] == 1 && windows.strides[i] == 1) continue;
    x = b.Window(x, static_cast<int64_t>(2 + i), taps[i], windows.strides[i],
                 windows.dilations[i]);
    if (taps[i] == 1) x = Squeeze(b, x, {-1});
  }
  return x;
}

}  // namespace

Id Convolution(Builder& b, Id x, Id w, Id bias, int64_t groups,
               const Windows& windows) {
  if (Failed(b, x) || Failed(b, w)) return kNoNode;
  const std::vector<int64_t> sizes = KnownDims(b, w, "convolution weights");
  if (!b.ok()) return kNoNode;
  const int rank = b.Rank(x);
  if (rank < 3 || sizes.size() != static_cast<size_t>(rank)) {
    return b.Invalid(absl::StrCat("convolution of ", b.ShapeText(x), " with ",
                                  b.ShapeText(w)));
  }
  const size_t spatial = static_cast<size_t>(rank) - 2;
  const Windows full = Completed(b, windows, spatial);
  if (!b.ok()) return kNoNode;
  const int64_t filters = sizes[0];
  const int64_t channels = sizes[1];  // Of one group.
  if (groups < 1 || channels < 1 || filters < 1 || filters % groups != 0 ||
      !ir::ProvablyEqual(b.arena(), b.Dim(x, 1),
                         ir::Mul(b.arena(), b.Int(channels), b.Int(groups)))) {
    return b.Invalid(absl::StrCat("convolution of ", b.ShapeText(x), " with ",
                                  b.ShapeText(w), " in ", groups, " groups"));
  }
  const absl::Span<const int64_t> all_taps =
      absl::MakeConstSpan(sizes).subspan(2);
  std::vector<int64_t> taps;  // Windows of one tap have no axis.
  for (int64_t t : all_taps) {
    if (t != 1) taps.push_back(t);
  }
  const Id view = WindowsOf(b, x, all_taps, full);
  if (Failed(b, view)) return kNoNode;
  const std::vector<Id> dims = b.Dims(view);
  const std::vector<Id> positions(
      dims.begin() + 2, dims.begin() + 2 + static_cast<int64_t>(spatial));

  // x' [batch, (groups,) 1, positions.., channels, taps..] and
  // w' [(groups,) filters, 1.., channels, taps..].
  const bool grouped = groups > 1;
  std::vector<Id> x_dims = {dims[0]};
  std::vector<Id> w_dims;
  std::vector<Id> out_dims = {dims[0], b.Int(filters)};
  if (grouped) {
    x_dims.push_back(b.Int(groups));
    w_dims.push_back(b.Int(groups));
  }
  const int64_t head = grouped ? 2 : 1;
  std::vector<Id> split = x_dims;  // [batch, (groups,) channels, pos.., taps..]
  split.push_back(b.Int(channels));
  split.insert(split.end(), dims.begin() + 2, dims.end());
  std::vector<int64_t> order;  // Channels behind the positions.
  for (int64_t i = 0; i < head; ++i) order.push_back(i);
  for (size_t i = 0; i < spatial; ++i) {
    order.push_back(head + 1 + static_cast<int64_t>(i));
  }
  order.push_back(head);
  for (size_t i = 0; i < taps.size(); ++i) {
    order.push_back(head + 1 + static_cast<int64_t>(spatial + i));
  }
  x_dims.push_back(b.Int(1));
  w_dims.push_back(b.Int(filters / groups));
  for (Id p : positions) {
    x_dims.push_back(p);
    w_dims.push_back(b.Int(1));
    out_dims.push_back(p);
  }
  x_dims.push_back(b.Int(channels));
  w_dims.push_back(b.Int(channels));
  for (int64_t t : taps) {
    x_dims.push_back(b.Int(t));
    w_dims.push_back(b.Int(t));
  }
  const Id left = b.Reshape(b.Permute(b.Reshape(view, split), order), x_dims);
  const Id right = b.Reshape(w, w_dims);
  Id result = SumOfProducts(b, left, right, 1 + static_cast<int>(taps.size()));
  result = b.Reshape(result, out_dims);
  if (bias != kNoNode) {
    std::vector<Id> bias_dims(spatial + 1, b.Int(1));
    bias_dims[0] = b.Int(filters);
    const Id column = b.Reshape(bias, bias_dims);
    result = b.Add(result, b.Cast(column, TypeOf(b, result)));
  }
  return b.Cast(result, ir::Promote(TypeOf(b, x), TypeOf(b, w)));
}

namespace {

// x with step - 1 zeros between neighbours of `axis`: (size - 1) * step + 1.
Id Spread(Builder& b, Id x, int64_t axis, int64_t step) {
  if (step == 1 || Failed(b, x)) return x;
  ir::Arena& arena = b.arena();
  std::vector<Id> dims = b.Dims(x);
  const Id size = dims[axis];
  x = Unsqueeze(b, x, {axis + 1});
  std::vector<Id> before(dims.size() + 1, b.Int(0));
  std::vector<Id> after = before;
  after[axis + 1] = b.Int(step - 1);
  x = b.Pad(x, before, after);
  dims[axis] = ir::Mul(arena, size, b.Int(step));
  x = b.Reshape(x, dims);
  const Id kept = ir::Add(arena, dims[axis], b.Int(1 - step));
  return Narrow(b, x, axis, b.Int(0), kept);
}

// How a transposed convolution runs along an axis.
struct Axis {
  int64_t phases = 1;
  int64_t taps = 1;  // Of each phase.
  int64_t cut = 0;   // Interleaved positions before the first of the result.
  Id extent = kNoNode;
};

// [channels, filters, taps..] -> [groups * filters * phases, channels / groups,
// taps of a phase.. in descending order].
Id FiltersOfPhases(Builder& b, Id w, int64_t groups,
                   absl::Span<const Axis> axes) {
  if (Failed(b, w)) return kNoNode;
  const std::vector<Id> sizes = b.Dims(w);
  ir::Arena& arena = b.arena();
  // Taps that no filter has are zeros.
  std::vector<Id> after(sizes.size(), b.Int(0));
  for (size_t i = 0; i < axes.size(); ++i) {
    after[2 + i] =
        ir::Sub(arena, b.Int(axes[i].taps * axes[i].phases), sizes[2 + i]);
  }
  w = b.Pad(w, std::vector<Id>(sizes.size(), b.Int(0)), after);
  const Id channels = ir::IDiv(arena, sizes[0], b.Int(groups));
  std::vector<Id> split = {b.Int(groups), channels, sizes[1]};
  std::vector<Id> merged = {ir::Mul(arena, b.Int(groups), sizes[1]), channels};
  std::vector<int64_t> order = {0, 2};
  std::vector<int64_t> of_taps = {1};
  std::vector<int64_t> flipped;
  for (size_t i = 0; i < axes.size(); ++i) {
    split.insert(split.end(), {b.Int(axes[i].taps), b.Int(axes[i].phases)});
    of_taps.push_back(static_cast<int64_t>(3 + 2 * i));
    order.push_back(static_cast<int64_t>(4 + 2 * i));
    merged[0] = ir::Mul(arena, merged[0], b.Int(axes[i].phases));
    merged.push_back(b.Int(axes[i].taps));
    flipped.push_back(static_cast<int64_t>(2 + i));
  }
  order.insert(order.end(), of_taps.begin(), of_taps.end());
  return b.Flip(b.Reshape(b.Permute(b.Reshape(w, split), order), merged),
                flipped);
}

// [batch, filters * phases, positions..] -> [batch, filters, result..].
Id Interleaved(Builder& b, Id x, absl::Span<const Axis> axes) {
  if (Failed(b, x)) return kNoNode;
  const std::vector<Id> dims = b.Dims(x);
  ir::Arena& arena = b.arena();
  const int64_t spatial = static_cast<int64_t>(axes.size());
  int64_t phases = 1;
  for (const Axis& axis : axes) phases *= axis.phases;
  std::vector<Id> split = {dims[0], ir::IDiv(arena, dims[1], b.Int(phases))};
  std::vector<Id> merged = split;
  std::vector<int64_t> order = {0, 1};
  for (const Axis& axis : axes) split.push_back(b.Int(axis.phases));
  for (int64_t i = 0; i < spatial; ++i) {
    split.push_back(dims[2 + i]);
    order.insert(order.end(), {2 + spatial + i, 2 + i});
    merged.push_back(ir::Mul(arena, dims[2 + i], b.Int(axes[i].phases)));
  }
  x = b.Reshape(b.Permute(b.Reshape(x, split), order), merged);
  for (int64_t i = 0; i < spatial; ++i) {
    if (Failed(b, x)) return kNoNode;
    if (axes[i].phases == 1) continue;
    x = Narrow(b, x, 2 + i, b.Int(axes[i].cut), axes[i].extent);
  }
  return x;
}

}  // namespace

Id TransposedConvolution(Builder& b, Id x, Id w, Id bias, int64_t groups,
                         const Windows& windows,
                         absl::Span<const int64_t> extra) {
  if (Failed(b, x) || Failed(b, w)) return kNoNode;
  const std::vector<int64_t> sizes =
      KnownDims(b, w, "transposed convolution weights");
  if (!b.ok()) return kNoNode;
  const int rank = b.Rank(x);
  if (rank < 3 || sizes.size() != static_cast<size_t>(rank) || groups < 1 ||
      sizes[0] % groups != 0 || sizes[0] == 0 || sizes[1] == 0) {
    return b.Invalid(absl::StrCat("transposed convolution of ", b.ShapeText(x),
                                  " with ", b.ShapeText(w), " in ", groups,
                                  " groups"));
  }
  const size_t spatial = static_cast<size_t>(rank) - 2;
  const Windows full = Completed(b, windows, spatial);
  if (!b.ok()) return kNoNode;
  std::vector<int64_t> appended(extra.begin(), extra.end());
  if (appended.empty()) appended.assign(spatial, 0);
  if (appended.size() != spatial) {
    return b.Invalid(absl::StrCat("output padding has ", extra.size(),
                                  " entries, expected ", spatial));
  }
  // It is a plain convolution with the flipped filters. An output belongs to
  // the phase that its position leaves of the stride, and meets every stride-th
  // tap only: each phase is a filter of its own, and their results interleave
  // (sub-pixel convolution, Shi et al. 2016, arXiv:1609.05158). Along an axis
  // without phases the input is spread instead.
  Windows inner;
  ir::Arena& arena = b.arena();
  std::vector<Axis> axes;
  int64_t phases = 1;
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t axis = static_cast<int64_t>(2 + i);
    const int64_t step = full.strides[i];
    int64_t reach = 0;
    if (sizes[axis] < 1 || full.dilations[i] < 1 || step < 1 ||
        step > ir::kMaxElements ||
        __builtin_mul_overflow(sizes[axis] - 1, full.dilations[i], &reach)) {
      return b.Invalid("transposed convolution with impossible windows");
    }
    const Id before = full.pads_before[i];
    const Id size = b.Dim(x, axis);
    // Of the result.
    const Id extent = ir::Add(
        arena, ir::Mul(arena, ir::Sub(arena, size, b.Int(1)), b.Int(step)),
        ir::Sub(arena, b.Int(reach + 1 + appended[i]),
                ir::Add(arena, before, full.pads_after[i])));
    if (step > 1 && step <= sizes[axis] && full.dilations[i] == 1 &&
        arena.IsConst(before) && arena.IntValue(before) >= 0 &&
        arena.IsConst(full.pads_after[i])) {
      const int64_t first = arena.IntValue(before) / step;
      const int64_t cut = arena.IntValue(before) % step;
      const int64_t taps = (sizes[axis] + step - 1) / step;
      const Id positions =
          ir::CeilDiv(arena, ir::Add(arena, extent, b.Int(cut)), b.Int(step));
      inner.dilations.push_back(1);
      inner.pads_before.push_back(b.Int(taps - 1 - first));
      inner.pads_after.push_back(
          ir::Add(arena, ir::Sub(arena, positions, size), b.Int(first)));
      axes.push_back({step, taps, cut, extent});
      phases *= step;  // At most the number of taps, which is checked.
      continue;
    }
    x = Spread(b, x, axis, step);
    inner.dilations.push_back(full.dilations[i]);
    inner.pads_before.push_back(ir::Sub(arena, b.Int(reach), before));
    inner.pads_after.push_back(
        ir::Add(arena, ir::Sub(arena, b.Int(reach), full.pads_after[i]),
                b.Int(appended[i])));
    axes.push_back({1, sizes[axis], 0, extent});
  }
  const Id filters = FiltersOfPhases(b, w, groups, axes);
  if (bias != kNoNode) {
    const Id column = b.Reshape(bias, {b.Int(groups * sizes[1]), b.Int(1)});
    bias =
        b.Reshape(b.Expand(column, {b.Int(groups * sizes[1]), b.Int(phases)}),
                  {b.Int(groups * sizes[1] * phases)});
  }
  return Interleaved(b, Convolution(b, x, filters, bias, groups, inner), axes);
}

namespace {

// The diagonal over all axes labelled alike, and its labels.
Id TakeDiagonals(Builder& b, Id x, std::vector<int>& labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    for (size_t j = labels.size(); --j > i;) {
      if (labels[j] != labels[i] || Failed(b, x)) continue;
      // Off the diagonal stand zeros; summing axis j away leaves it.
      const std::vector<Id> dims = b.Dims(x);
      const int rank = b.Rank(x);
      const Id same = b.Equal(
          Positions(b, dims[i], static_cast<int64_t>(i), rank, ir::DType::kI64),
          Positions(b, dims[j], static_cast<int64_t>(j), rank,
                    ir::DType::kI64));
      x = b.Where(same, x, b.Cast(b.Int(0), b.DTypeOf(x)));
      x = b.Reduce(Op::kAdd, x, {static_cast<int64_t>(j)});
      labels.erase(labels.begin() + static_cast<int64_t>(j));
    }
  }
  return x;
}

}  // namespace

Id Einsum(Builder& b, absl::Span<const Id> operands,
          absl::Span<const std::vector<int>> inputs,
          absl::Span<const int> output) {
  // Result axes first, then those summed over, in order of appearance.
  std::vector<int> all(output.begin(), output.end());
  for (const std::vector<int>& labels : inputs) {
    for (int label : labels) {
      if (std::find(all.begin(), all.end(), label) == all.end()) {
        all.push_back(label);
      }
    }
  }
  Id product = kNoNode;
  for (size_t n = 0; n < operands.size(); ++n) {
    std::vector<int> labels = inputs[n];
    Id x = operands[n];
    if (Failed(b, x)) return kNoNode;
    if (labels.size() != static_cast<size_t>(b.Rank(x))) {
      return b.Invalid(absl::StrCat("einsum labels ", labels.size(),
                                    " axes of ", b.ShapeText(x)));
    }
    x = TakeDiagonals(b, x, labels);
    if (Failed(b, x)) return kNoNode;
    std::vector<int64_t> order;
    std::vector<Id> dims;
    const std::vector<Id> own = b.Dims(x);
    for (int label : all) {
      const auto it = std::find(labels.begin(), labels.end(), label);
      if (it == labels.end()) {
        dims.push_back(b.Int(1));
      } else {
        order.push_back(it - labels.begin());
        dims.push_back(own[order.back()]);
      }
    }
    x = Widened(b, b.Reshape(b.Permute(x, order), dims));
    product = product == kNoNode ? x : b.Mul(product, x);
  }
  std::vector<int64_t> summed;
  for (size_t i = output.size(); i < all.size(); ++i) {
    summed.push_back(static_cast<int64_t>(i));
  }
  if (Failed(b, product)) return kNoNode;
  return b.Cast(b.Reduce(Op::kAdd, product, summed), TypeOf(b, operands[0]));
}

}  // namespace quern::graph
