// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/movement.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Builder;
using ir::DType;
using ir::kNoNode;
using ir::Op;

// The comparisons that a scatter without a scatter operation may cost.
constexpr int64_t kMaxScatterWork = int64_t{1} << 30;

bool Failed(const Builder& b, Id x) { return !b.ok() || x == kNoNode; }

// Axes counted from 0, ascending.
std::vector<int64_t> SortedAxes(Builder& b, absl::Span<const int64_t> axes,
                                int rank) {
  std::vector<int64_t> sorted;
  for (int64_t axis : axes) sorted.push_back(b.Axis(axis, rank));
  std::sort(sorted.begin(), sorted.end());
  if (b.ok() &&
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    b.Invalid("an axis is named twice");
  }
  return sorted;
}

// A begin or end of a slice brought into [least, size + above].
Id ClampedBound(Builder& b, Id bound, Id size, int64_t least, int64_t above) {
  ir::Arena& arena = b.arena();
  // "To the end" is often the greatest integer.
  if (arena.IsConst(bound)) {
    bound = b.Int(std::clamp(arena.IntValue(bound), -2 * ir::kMaxElements,
                             2 * ir::kMaxElements));
  }
  const int64_t greatest = arena[bound].greatest;
  // Counted from the end, if that can be decided now.
  if (greatest < 0) bound = ir::Add(arena, bound, size);
  bound = ir::Max(arena, bound, b.Int(least));
  const Id limit = ir::Add(arena, size, b.Int(above));
  const Id gap = ir::Sub(arena, limit, bound);
  if (arena[gap].least >= 0) return bound;
  return ir::Min(arena, bound, limit);
}

// Row-major strides of `dims`.
std::vector<Id> Strides(Builder& b, absl::Span<const Id> dims) {
  std::vector<Id> strides(dims.size(), b.Int(1));
  for (size_t i = dims.size(); i-- > 1;) {
    strides[i - 1] = ir::Mul(b.arena(), strides[i], dims[i]);
  }
  return strides;
}

// Indices with negative ones counted from the end of an axis of `size`.
Id FromStart(Builder& b, Id indices, Id size) {
  if (Failed(b, indices)) return kNoNode;
  const DType dtype = b.DTypeOf(indices);
  const ir::DTypeKind kind = ir::KindOf(dtype);
  if (kind != ir::DTypeKind::kSigned && kind != ir::DTypeKind::kUnsigned) {
    return b.Invalid(absl::StrCat("indices of type ", ir::Name(dtype),
                                  ", expected integers"));
  }
  const ir::Node& node = b.arena()[indices];
  const bool known = node.op == Op::kConstArray || node.op == Op::kConst;
  if (known && std::all_of(node.attr->ints.begin(), node.attr->ints.end(),
                           [](int64_t i) { return i >= 0; })) {
    return indices;
  }
  if (kind == ir::DTypeKind::kUnsigned) return indices;
  // Narrow types could not hold the size.
  const Id wide = ir::IsWeak(dtype) ? indices : b.Cast(indices, DType::kI64);
  return b.Where(b.Less(wide, b.Int(0)), b.Add(wide, size), wide);
}

}  // namespace

Id Squeeze(Builder& b, Id x, absl::Span<const int64_t> axes) {
  if (Failed(b, x)) return kNoNode;
  const std::vector<int64_t> sorted = SortedAxes(b, axes, b.Rank(x));
  if (!b.ok()) return kNoNode;
  const std::vector<Id> from = b.Dims(x);
  std::vector<Id> dims;
  for (int64_t i = 0; i < b.Rank(x); ++i) {
    if (!std::binary_search(sorted.begin(), sorted.end(), i)) {
      dims.push_back(from[i]);
    } else if (!b.arena().IsInt(from[i], 1)) {
      return b.Invalid(absl::StrCat("squeeze of axis ", i, " of ",
                                    b.ShapeText(x), ", expected size 1"));
    }
  }
  return b.Reshape(x, dims);
}

Id Unsqueeze(Builder& b, Id x, absl::Span<const int64_t> axes) {
  if (Failed(b, x)) return kNoNode;
  const int rank = b.Rank(x) + static_cast<int>(axes.size());
  const std::vector<int64_t> sorted = SortedAxes(b, axes, rank);
  if (!b.ok()) return kNoNode;
  std::vector<Id> dims = b.Dims(x);
  for (int64_t axis : sorted) dims.insert(dims.begin() + axis, b.Int(1));
  return b.Reshape(x, dims);
}

Id Transpose(Builder& b, Id x) {
  if (Failed(b, x)) return kNoNode;
  std::vector<int64_t> order(b.Rank(x));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  if (order.size() < 2) return b.Invalid("transpose of fewer than two axes");
  std::swap(order[order.size() - 1], order[order.size() - 2]);
  return b.Permute(x, order);
}

Id Flatten(Builder& b, Id x, int64_t axis) {
  if (Failed(b, x)) return kNoNode;
  const std::vector<Id> dims = b.Dims(x);
  const absl::Span<const Id> all = dims;
  const int rank = b.Rank(x);
  if (axis < -rank || axis > rank) {
    return b.Invalid(absl::StrCat("flatten at axis ", axis, " of ",
                                  b.ShapeText(x), ", expected ", -rank, " to ",
                                  rank));
  }
  if (axis < 0) axis += rank;
  return b.Reshape(x, {ir::Product(b.arena(), all.subspan(0, axis)),
                       ir::Product(b.arena(), all.subspan(axis))});
}

Id BroadcastTo(Builder& b, Id x, absl::Span<const Id> dims) {
  if (Failed(b, x)) return kNoNode;
  const std::vector<Id> own = b.Dims(x);
  std::vector<Id> result(dims.begin(), dims.end());
  if (own.size() > result.size()) {
    result.insert(result.begin(), own.size() - result.size(), b.Int(1));
  }
  for (size_t i = 0; i < own.size(); ++i) {
    Id& dim = result[result.size() - own.size() + i];
    if (b.arena().IsInt(dim, 1)) dim = own[i];
  }
  return b.Expand(x, result);
}

Id Tile(Builder& b, Id x, absl::Span<const Id> repeats) {
  if (Failed(b, x)) return kNoNode;
  const std::vector<Id> from = b.Dims(x);
  if (repeats.size() != from.size()) {
    return b.Invalid(absl::StrCat("tile with ", repeats.size(),
                                  " repeats of rank ", from.size()));
  }
  std::vector<Id> apart;
  std::vector<Id> expanded;
  std::vector<Id> merged;
  for (size_t i = 0; i < from.size(); ++i) {
    const Id size = ir::Mul(b.arena(), repeats[i], from[i]);
    merged.push_back(size);
    if (!b.arena().IsInt(repeats[i], 1)) {
      apart.push_back(b.Int(1));
      expanded.push_back(repeats[i]);
    }
    apart.push_back(from[i]);
    expanded.push_back(from[i]);
  }
  return b.Reshape(b.Expand(b.Reshape(x, apart), expanded), merged);
}

Id Narrow(Builder& b, Id x, int64_t axis, Id begin, Id size) {
  if (Failed(b, x)) return kNoNode;
  axis = b.Axis(axis, b.Rank(x));
  if (!b.ok()) return kNoNode;
  std::vector<Id> begins(b.Rank(x), b.Int(0));
  std::vector<Id> sizes = b.Dims(x);
  begins[axis] = begin;
  sizes[axis] = size;
  return b.Shrink(x, begins, sizes);
}

namespace {

// One axis of a slice with a positive step whose bounds lie in the axis.
Id SliceForward(Builder& b, Id x, int64_t axis, Id begin, Id end,
                int64_t step) {
  ir::Arena& arena = b.arena();
  const Id extent = b.Dim(x, axis);
  Id span = ir::Sub(arena, end, begin);
  if (arena[span].least < 0) span = ir::Max(arena, span, b.Int(0));
  const Id count = ir::CeilDiv(arena, span, b.Int(step));
  const Id last =
      ir::Add(arena, begin,
              ir::Mul(arena, ir::Sub(arena, count, b.Int(1)), b.Int(step)));
  const bool fits =
      arena[begin].least >= 0 &&
      (arena.IsInt(count, 0) || ir::ProvablyLess(arena, last, extent));
  if (fits) {
    std::vector<Id> begins(b.Rank(x), b.Int(0));
    std::vector<Id> sizes = b.Dims(x);
    std::vector<int64_t> steps(b.Rank(x), 1);
    begins[axis] = arena.IsInt(count, 0) ? b.Int(0) : begin;
    sizes[axis] = count;
    steps[axis] = step;
    return b.Shrink(x, begins, sizes, steps);
  }
  // The bounds hold at run time but cannot be proved: read by position, which
  // is safe for any.
  const Id positions = b.Add(b.Mul(b.Iota(count), b.Int(step)), begin);
  return b.Gather(x, positions, axis);
}

}  // namespace

Id Slice(Builder& b, Id x, absl::Span<const SliceAxis> axes) {
  ir::Arena& arena = b.arena();
  for (const SliceAxis& part : axes) {
    if (Failed(b, x)) return kNoNode;
    const int64_t axis = b.Axis(part.axis, b.Rank(x));
    if (!b.ok()) return kNoNode;
    const Id size = b.Dim(x, axis);
    if (part.step == 0 || part.step == std::numeric_limits<int64_t>::min()) {
      return b.Invalid(absl::StrCat("slice with step ", part.step));
    }
    if (part.step > 0) {
      const Id begin = ClampedBound(b, part.begin, size, 0, 0);
      const Id end = ClampedBound(b, part.end, size, 0, 0);
      x = SliceForward(b, x, axis, begin, end, part.step);
      continue;
    }
    // Backwards: forward on the reversed axis.
    const Id begin = ClampedBound(b, part.begin, size, 0, -1);
    const Id end = ClampedBound(b, part.end, size, -1, -1);
    const Id top = ir::Sub(arena, size, b.Int(1));
    x = SliceForward(b, b.Flip(x, {axis}), axis, ir::Sub(arena, top, begin),
                     ir::Sub(arena, top, end), -part.step);
  }
  return x;
}

Id SliceWithin(Builder& b, Id x, int64_t axis, Id begin, Id end) {
  if (Failed(b, x)) return kNoNode;
  axis = b.Axis(axis, b.Rank(x));
  if (!b.ok()) return kNoNode;
  return SliceForward(b, x, axis, begin, end, 1);
}

Id Positions(Builder& b, Id size, int64_t axis, int rank, DType dtype) {
  if (Failed(b, size)) return kNoNode;
  std::vector<Id> dims(rank, b.Int(1));
  dims[axis] = size;
  return b.Reshape(b.Cast(b.Iota(size), dtype), dims);
}

namespace {

// Positions read by a padded axis of `size`, [size + padding].
Id PaddedPositions(Builder& b, Id size, Id before, Id padded, PadMode mode) {
  ir::Arena& arena = b.arena();
  Id at = b.Sub(b.Iota(padded), before);
  if (mode == PadMode::kEdge) return at;  // Gather clamps.
  const Id one = b.Int(1);
  if (mode == PadMode::kWrap) {
    return b.Binary(Op::kMod, b.Add(b.Binary(Op::kMod, at, size), size), size);
  }
  // Reflected at the first and the last element: a period of 2 (size - 1).
  const Id top = ir::Sub(arena, size, one);
  const Id period = ir::Max(arena, ir::Mul(arena, top, b.Int(2)), one);
  at = b.Binary(Op::kMod, Abs(b, at), period);
  return b.Min(at, b.Sub(period, at));
}

Id PadConstant(Builder& b, Id x, absl::Span<const Id> before,
               absl::Span<const Id> after, Id value) {
  const Id padded = b.Pad(x, before, after);
  if (Failed(b, padded) || padded == x) return padded;
  const bool zero =
      b.arena().IsConst(value) && b.arena().FloatValue(value) == 0;
  if (zero) return padded;
  // True inside, false in the padding, which pads with zeros.
  const Id inside = b.Pad(
      b.Expand(b.arena().IntConst(DType::kBool, 1), b.Dims(x)), before, after);
  return b.Where(inside, padded, b.Cast(value, b.DTypeOf(x)));
}

}  // namespace

Id PadWith(Builder& b, Id x, absl::Span<const Id> before,
           absl::Span<const Id> after, PadMode mode, Id value) {
  if (Failed(b, x)) return kNoNode;
  ir::Arena& arena = b.arena();
  const int rank = b.Rank(x);
  if (static_cast<int>(before.size()) != rank ||
      static_cast<int>(after.size()) != rank) {
    return b.Invalid(absl::StrCat("padding has ", before.size(), " and ",
                                  after.size(), " sizes for rank ", rank));
  }
  std::vector<Id> low(before.begin(), before.end());
  std::vector<Id> high(after.begin(), after.end());
  std::vector<Id> begins(rank, b.Int(0));
  std::vector<Id> sizes = b.Dims(x);
  for (int i = 0; i < rank; ++i) {
    // A negative size cuts; what is left pads by nothing.
    if (arena[low[i]].greatest < 0) {
      begins[i] = ir::Mul(arena, low[i], b.Int(-1));
      sizes[i] = ir::Add(arena, sizes[i], low[i]);
      low[i] = b.Int(0);
    }
    if (arena[high[i]].greatest < 0) {
      sizes[i] = ir::Add(arena, sizes[i], high[i]);
      high[i] = b.Int(0);
    }
  }
  x = b.Shrink(x, begins, sizes);
  if (mode == PadMode::kConstant) return PadConstant(b, x, low, high, value);
  for (int i = 0; i < rank; ++i) {
    if (arena.IsInt(low[i], 0) && arena.IsInt(high[i], 0)) continue;
    const Id padded = ir::Add(arena, sizes[i], ir::Add(arena, low[i], high[i]));
    x = b.Gather(x, PaddedPositions(b, sizes[i], low[i], padded, mode), i);
  }
  return x;
}

Id Take(Builder& b, Id x, Id indices, int64_t axis) {
  if (Failed(b, x) || Failed(b, indices)) return kNoNode;
  axis = b.Axis(axis, b.Rank(x));
  if (!b.ok()) return kNoNode;
  return b.Gather(x, FromStart(b, indices, b.Dim(x, axis)), axis);
}

Id GatherElements(Builder& b, Id x, Id indices, int64_t axis) {
  if (Failed(b, x) || Failed(b, indices)) return kNoNode;
  const int rank = b.Rank(x);
  axis = b.Axis(axis, rank);
  if (!b.ok()) return kNoNode;
  if (b.Rank(indices) != rank) {
    return b.Invalid(absl::StrCat("indices of shape ", b.ShapeText(indices),
                                  " into ", b.ShapeText(x),
                                  ", expected the same rank"));
  }
  const std::vector<Id> dims = b.Dims(x);
  const std::vector<Id> index_dims = b.Dims(indices);
  const std::vector<Id> strides = Strides(b, dims);
  Id at = b.Mul(FromStart(b, indices, dims[axis]), strides[axis]);
  for (int i = 0; i < rank; ++i) {
    if (i == axis) continue;
    const Id here = Positions(b, index_dims[i], i, rank, DType::kWeakInt);
    at = b.Add(at, b.Mul(here, strides[i]));
  }
  const Id flat = b.Reshape(x, {ir::Product(b.arena(), dims)});
  return b.Gather(flat, at, 0);
}

namespace {

// The coordinates in the last axis of `indices` as positions in a row-major
// tensor of `dims`, for the first of its axes; [indices without last axis].
Id FlatPositions(Builder& b, Id indices, absl::Span<const Id> dims,
                 int64_t count) {
  const int rank = b.Rank(indices);
  const std::vector<Id> strides =
      Strides(b, dims.subspan(0, static_cast<size_t>(count)));
  Id at = kNoNode;
  for (int64_t i = 0; i < count; ++i) {
    const Id one =
        Squeeze(b, Narrow(b, indices, -1, b.Int(i), b.Int(1)), {rank - 1});
    const Id scaled = b.Mul(FromStart(b, one, dims[i]), strides[i]);
    at = at == kNoNode ? scaled : b.Add(at, scaled);
  }
  return at;
}

// The size of the last axis of `indices`, which must be known.
int64_t CoordinateCount(Builder& b, Id indices, int64_t most) {
  const int rank = b.Rank(indices);
  if (!b.ok() || rank < 1) {
    b.Invalid("indices need at least one axis");
    return 0;
  }
  const Id last = b.Dim(indices, rank - 1);
  if (!b.arena().IsConst(last) || b.arena().IntValue(last) < 1 ||
      b.arena().IntValue(last) > most) {
    b.Invalid(absl::StrCat(
        "indices of shape ", b.ShapeText(indices), " have coordinates of ",
        ir::SizeText(b.arena(), last), " axes, expected 1 to ", most));
    return 0;
  }
  return b.arena().IntValue(last);
}

}  // namespace

Id GatherNd(Builder& b, Id x, Id indices, int64_t batch) {
  if (Failed(b, x) || Failed(b, indices)) return kNoNode;
  const std::vector<Id> dims = b.Dims(x);
  const std::vector<Id> index_dims = b.Dims(indices);
  const int64_t rank = b.Rank(x);
  if (batch < 0 || batch >= rank || batch >= b.Rank(indices)) {
    return b.Invalid(absl::StrCat("gather with ", batch, " batch axes from ",
                                  b.ShapeText(x)));
  }
  const int64_t count = CoordinateCount(b, indices, rank - batch);
  if (!b.ok()) return kNoNode;
  const absl::Span<const Id> all = dims;
  const absl::Span<const Id> own = all.subspan(batch);
  Id at = FlatPositions(b, indices, own, count);
  if (Failed(b, at)) return kNoNode;
  // A batch's slices follow each other.
  Id slices = ir::Product(b.arena(), own.subspan(0, count));
  for (int64_t i = batch; i-- > 0;) {
    const Id here = Positions(b, index_dims[i], i, b.Rank(at), DType::kWeakInt);
    at = b.Add(at, b.Mul(here, slices));
    slices = ir::Mul(b.arena(), slices, dims[i]);
  }
  std::vector<Id> merged = {slices};
  merged.insert(merged.end(), own.begin() + count, own.end());
  return b.Gather(b.Reshape(x, merged), at, 0);
}

namespace {

// data [n, ...] with updates [m, ...] combined in at positions [m], by
// comparing every position with every place.
Id ScatterRows(Builder& b, Id data, Id positions, Id updates, Op combine) {
  if (Failed(b, data) || Failed(b, positions) || Failed(b, updates)) {
    return kNoNode;
  }
  const Id n = b.Dim(data, 0);
  const Id m = b.Dim(positions, 0);
  const Id places = Positions(b, n, 0, 2, DType::kI64);
  const Id hits =
      b.Equal(places, b.Cast(b.Reshape(positions, {b.Int(1), m}), DType::kI64));
  const int64_t work =
      b.arena()[ir::Product(b.arena(),
                            {ir::Mul(b.arena(), m,
                                     ir::Product(b.arena(), b.Dims(data)))})]
          .greatest;
  if (combine == Op::kConst) {
    if (b.arena()[ir::Mul(b.arena(), n, m)].greatest > kMaxScatterWork) {
      return b.Fail(absl::UnimplementedError(absl::StrCat(
          "a scatter of ", ir::SizeText(b.arena(), m), " updates into ",
          ir::SizeText(b.arena(), n), " places is too large")));
    }
    // The number of the last update of each place, or -1.
    const Id order = Positions(b, m, 1, 2, DType::kI64);
    const Id minus = b.Cast(b.Int(-1), DType::kI64);
    const Id last = b.Reduce(Op::kMax, b.Where(hits, order, minus), {1});
    std::vector<Id> column(b.Rank(data), b.Int(1));
    column[0] = n;
    const Id hit = b.Reshape(b.Less(minus, last), column);
    return b.Where(hit, b.Gather(updates, last, 0), data);
  }
  if (work > kMaxScatterWork) {
    return b.Fail(absl::UnimplementedError(
        absl::StrCat("a combining scatter of ", ir::SizeText(b.arena(), m),
                     " updates into ", b.ShapeText(data), " is too large")));
  }
  const DType dtype = b.DTypeOf(data);
  // The value that changes nothing.
  const Id neutral = combine == Op::kAdd   ? b.Cast(b.Int(0), dtype)
                     : combine == Op::kMul ? b.Cast(b.Int(1), dtype)
                                           : kNoNode;
  std::vector<Id> wide = b.Dims(data);
  wide.insert(wide.begin() + 1, m);  // [n, m, ...]
  std::vector<Id> mask_dims(wide.size(), b.Int(1));
  mask_dims[0] = n;
  mask_dims[1] = m;
  const Id mask = b.Reshape(hits, mask_dims);
  const Id spread = Unsqueeze(b, updates, {0});
  const Id old = Unsqueeze(b, data, {1});
  // Max and min of the old value and itself change nothing either.
  const Id chosen = b.Where(mask, spread, neutral == kNoNode ? old : neutral);
  return b.Binary(combine, data,
                  b.Reduce(combine, b.Expand(chosen, wide), {1}));
}

}  // namespace

Id ScatterElements(Builder& b, Id x, Id indices, Id updates, int64_t axis,
                   Op combine) {
  if (Failed(b, x) || Failed(b, indices)) return kNoNode;
  const int rank = b.Rank(x);
  axis = b.Axis(axis, rank);
  if (!b.ok()) return kNoNode;
  if (b.Rank(indices) != rank || b.Dims(indices) != b.Dims(updates)) {
    return b.Invalid(absl::StrCat("scatter of updates ", b.ShapeText(updates),
                                  " at indices ", b.ShapeText(indices),
                                  " into ", b.ShapeText(x)));
  }
  const std::vector<Id> dims = b.Dims(x);
  const std::vector<Id> index_dims = b.Dims(indices);
  const std::vector<Id> strides = Strides(b, dims);
  Id at = b.Mul(FromStart(b, indices, dims[axis]), strides[axis]);
  for (int i = 0; i < rank; ++i) {
    if (i == axis) continue;
    const Id here = Positions(b, index_dims[i], i, rank, DType::kWeakInt);
    at = b.Add(at, b.Mul(here, strides[i]));
  }
  const Id count = ir::Product(b.arena(), index_dims);
  const Id flat = b.Reshape(x, {ir::Product(b.arena(), dims)});
  const Id result = ScatterRows(b, flat, b.Reshape(at, {count}),
                                b.Reshape(updates, {count}), combine);
  return b.Reshape(result, dims);
}

Id ScatterNd(Builder& b, Id x, Id indices, Id updates, Op combine) {
  if (Failed(b, x) || Failed(b, indices)) return kNoNode;
  const std::vector<Id> dims = b.Dims(x);
  const int64_t count = CoordinateCount(b, indices, b.Rank(x));
  if (!b.ok()) return kNoNode;
  const absl::Span<const Id> all = dims;
  const Id at = FlatPositions(b, indices, all, count);
  if (Failed(b, at)) return kNoNode;
  const Id rows = ir::Product(b.arena(), all.subspan(0, count));
  const Id updated = ir::Product(b.arena(), b.Dims(at));
  std::vector<Id> data_dims = {rows};
  std::vector<Id> update_dims = {updated};
  for (size_t i = count; i < dims.size(); ++i) {
    data_dims.push_back(dims[i]);
    update_dims.push_back(dims[i]);
  }
  const Id result =
      ScatterRows(b, b.Reshape(x, data_dims), b.Reshape(at, {updated}),
                  b.Reshape(updates, update_dims), combine);
  return b.Reshape(result, dims);
}

Id OneHot(Builder& b, Id indices, Id depth, int64_t axis, Id off, Id on) {
  if (Failed(b, indices)) return kNoNode;
  const int rank = b.Rank(indices) + 1;
  axis = b.Axis(axis, rank);
  if (!b.ok()) return kNoNode;
  const Id at =
      Unsqueeze(b, FromStart(b, b.Cast(indices, DType::kI64), depth), {axis});
  const Id places = Positions(b, depth, axis, rank, DType::kI64);
  return b.Where(b.Equal(places, at), on, off);
}

Id Triangle(Builder& b, Id x, Id k, bool upper) {
  if (Failed(b, x)) return kNoNode;
  const int rank = b.Rank(x);
  if (rank < 2) return b.Invalid("a triangle of fewer than two axes");
  const std::vector<Id> dims = b.Dims(x);
  const Id row = Positions(b, dims[rank - 2], rank - 2, rank, DType::kI64);
  const Id column = Positions(b, dims[rank - 1], rank - 1, rank, DType::kI64);
  // The diagonal that an element lies on is column - row.
  const Id limit = b.Add(row, k);
  const Id keep =
      upper ? GreaterOrEqual(b, column, limit) : LessOrEqual(b, column, limit);
  if (TypeOf(b, x) == DType::kBool) return b.Binary(Op::kAnd, keep, x);
  return b.Where(keep, x, b.Cast(b.Int(0), TypeOf(b, x)));
}

namespace {

// [batch, channels, height, width] or an error.
bool IsImage(Builder& b, Id x, int64_t block) {
  if (Failed(b, x)) return false;
  if (b.Rank(x) == 4 && block >= 1 && block <= ir::kMaxElements) return true;
  b.Invalid(absl::StrCat("blocks of ", block, " of ", b.ShapeText(x),
                         ", expected [batch,channels,height,width]"));
  return false;
}

}  // namespace

Id DepthToSpace(Builder& b, Id x, int64_t block, bool column_row_depth) {
  if (!IsImage(b, x, block)) return kNoNode;
  ir::Arena& arena = b.arena();
  const std::vector<Id> d = b.Dims(x);
  const Id s = b.Int(block);
  const Id depth = ir::IDiv(arena, d[1], ir::Mul(arena, s, s));
  const Id height = ir::Mul(arena, d[2], s);
  const Id width = ir::Mul(arena, d[3], s);
  if (column_row_depth) {
    x = b.Reshape(x, {d[0], depth, s, s, d[2], d[3]});
    x = b.Permute(x, {0, 1, 4, 2, 5, 3});
  } else {
    x = b.Reshape(x, {d[0], s, s, depth, d[2], d[3]});
    x = b.Permute(x, {0, 3, 4, 1, 5, 2});
  }
  return b.Reshape(x, {d[0], depth, height, width});
}

Id SpaceToDepth(Builder& b, Id x, int64_t block) {
  if (!IsImage(b, x, block)) return kNoNode;
  ir::Arena& arena = b.arena();
  const std::vector<Id> d = b.Dims(x);
  const Id s = b.Int(block);
  const Id height = ir::IDiv(arena, d[2], s);
  const Id width = ir::IDiv(arena, d[3], s);
  const Id depth = ir::Mul(arena, d[1], ir::Mul(arena, s, s));
  x = b.Reshape(x, {d[0], d[1], height, s, width, s});
  x = b.Permute(x, {0, 3, 5, 1, 2, 4});
  return b.Reshape(x, {d[0], depth, height, width});
}

}  // namespace quern::graph
