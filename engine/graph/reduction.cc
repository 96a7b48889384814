// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/reduction.h"

#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Builder;
using ir::DType;
using ir::kNoNode;
using ir::Op;

constexpr int64_t kMaxSortWork = int64_t{1} << 28;

bool Failed(const Builder& b, Id x) { return !b.ok() || x == kNoNode; }

// Reduces, and puts the axes back with size 1 if they are to be kept.
Id Reduced(Builder& b, Op op, Id x, absl::Span<const int64_t> axes, bool keep) {
  if (Failed(b, x)) return kNoNode;
  const int rank = b.Rank(x);
  std::vector<int64_t> from_start;
  for (int64_t axis : axes) from_start.push_back(b.Axis(axis, rank));
  const Id reduced = b.Reduce(op, x, from_start);
  return keep ? Unsqueeze(b, reduced, from_start) : reduced;
}

// The number of elements that are reduced, as a weak integer.
Id Count(Builder& b, Id x, absl::Span<const int64_t> axes) {
  const std::vector<Id> dims = b.Dims(x);
  Id count = b.Int(1);
  for (int64_t axis : axes) {
    const int64_t at = b.Axis(axis, b.Rank(x));
    if (!b.ok()) return kNoNode;
    count = ir::Mul(b.arena(), count, dims[at]);
  }
  return count;
}

// The maximum over `axes`, kept, with infinities replaced by zero: what
// exponents are taken relative to.
Id SafeMaximum(Builder& b, Id x, absl::Span<const int64_t> axes) {
  const Id top = Reduced(b, Op::kMax, x, axes, true);
  return b.Where(IsInf(b, top), b.Cast(b.Int(0), TypeOf(b, x)), top);
}

}  // namespace

Id Mean(Builder& b, Id x, absl::Span<const int64_t> axes, bool keep) {
  if (Failed(b, x)) return kNoNode;
  const DType dtype = b.DTypeOf(x);
  const Id wide = Widened(b, x);
  const Id sum = Reduced(b, Op::kAdd, wide, axes, keep);
  const Id count = b.Cast(Count(b, x, axes), TypeOf(b, wide));
  return b.Cast(Divide(b, sum, count), dtype);
}

Id ReduceBy(Builder& b, Reduction kind, Id x, absl::Span<const int64_t> axes,
            bool keep) {
  if (Failed(b, x)) return kNoNode;
  const DType dtype = b.DTypeOf(x);
  if (kind == Reduction::kMax) return Reduced(b, Op::kMax, x, axes, keep);
  if (kind == Reduction::kMin) return Reduced(b, Op::kMin, x, axes, keep);
  if (kind == Reduction::kMean) return Mean(b, x, axes, keep);
  const auto sum = [&](Id v) { return Reduced(b, Op::kAdd, v, axes, keep); };
  // Roots and logarithms of integers are taken as f32, as others do.
  const auto real = [&](Id v) {
    return ir::IsFloat(TypeOf(b, v)) ? v : b.Cast(v, DType::kF32);
  };
  const Id v = Widened(b, x);
  Id result = kNoNode;
  switch (kind) {
    case Reduction::kSum:
      result = sum(v);
      break;
    case Reduction::kProduct:
      result = Reduced(b, Op::kMul, v, axes, keep);
      break;
    case Reduction::kL1:
      result = sum(Abs(b, v));
      break;
    case Reduction::kL2:
      result = b.Unary(Op::kSqrt, sum(Square(b, real(v))));
      break;
    case Reduction::kSumSquare:
      result = sum(Square(b, v));
      break;
    case Reduction::kLogSum:
      result = Log(b, sum(real(v)));
      break;
    case Reduction::kLogSumExp: {
      const Id r = real(v);
      const Id top = SafeMaximum(b, r, axes);
      const Id total = Reduced(b, Op::kAdd, Exp(b, b.Sub(r, top)), axes, true);
      result = b.Add(Log(b, total), top);
      if (!keep) result = Squeeze(b, result, axes);
      break;
    }
    case Reduction::kMax:
    case Reduction::kMin:
    case Reduction::kMean:
      break;
  }
  return b.Cast(result, dtype);
}

Id ArgReduce(Builder& b, Id x, int64_t axis, const ArgOptions& options) {
  if (Failed(b, x)) return kNoNode;
  axis = b.Axis(axis, b.Rank(x));
  if (!b.ok()) return kNoNode;
  const Id size = b.Dim(x, axis);
  const Id best =
      Reduced(b, options.greatest ? Op::kMax : Op::kMin, x, {axis}, true);
  Id hit = b.Equal(x, best);
  if (ir::IsFloat(TypeOf(b, x))) hit = b.Binary(Op::kOr, hit, IsNan(b, x));
  // Positions fit i32 wherever the axis does.
  const DType index =
      b.arena()[size].greatest < std::numeric_limits<int32_t>::max()
          ? DType::kI32
          : DType::kI64;
  const Id at = Positions(b, size, axis, b.Rank(x), index);
  const Id miss = options.last ? b.Cast(b.Int(-1), index) : b.Cast(size, index);
  const Id place = Reduced(b, options.last ? Op::kMax : Op::kMin,
                           b.Where(hit, at, miss), {axis}, options.keep);
  return b.Cast(place, DType::kI64);
}

Id Cumulative(Builder& b, Id x, int64_t axis,
              const CumulativeOptions& options) {
  if (Failed(b, x)) return kNoNode;
  const int rank = b.Rank(x);
  axis = b.Axis(axis, rank);
  if (!b.ok()) return kNoNode;
  const Id size = b.Dim(x, axis);
  const DType dtype = b.DTypeOf(x);
  // [.., here, there, ..]: the elements there that count here.
  const Id here = Positions(b, size, axis, rank + 1, DType::kI64);
  const Id there = Positions(b, size, axis + 1, rank + 1, DType::kI64);
  const Id first = options.reverse ? here : there;
  const Id second = options.reverse ? there : here;
  const Id counts =
      options.exclusive ? b.Less(first, second) : LessOrEqual(b, first, second);
  const Id neutral = b.Cast(b.Int(options.product ? 1 : 0), dtype);
  const Id terms = b.Where(counts, Unsqueeze(b, x, {axis}), neutral);
  return b.Reduce(options.product ? Op::kMul : Op::kAdd, terms, {axis + 1});
}

TopKResult TopK(Builder& b, Id x, Id k, int64_t axis, bool greatest) {
  if (Failed(b, x)) return {};
  const int rank = b.Rank(x);
  axis = b.Axis(axis, rank);
  if (!b.ok()) return {};
  const Id size = b.Dim(x, axis);
  const Id work = ir::Mul(b.arena(), size, ir::Product(b.arena(), b.Dims(x)));
  if (b.arena()[work].greatest > kMaxSortWork) {
    b.Fail(absl::UnimplementedError(
        absl::StrCat("sorting an axis of size ", ir::SizeText(b.arena(), size),
                     " of ", b.ShapeText(x), " is too large")));
    return {};
  }
  // An element's rank is the number of those that come before it.
  const Id self = Unsqueeze(b, x, {axis + 1});
  const Id other = Unsqueeze(b, x, {axis});
  const Id here = Positions(b, size, axis, rank + 1, DType::kI64);
  const Id there = Positions(b, size, axis + 1, rank + 1, DType::kI64);
  const Id ahead = greatest ? b.Less(self, other) : b.Less(other, self);
  const Id tie = b.Binary(Op::kAnd, b.Equal(self, other), b.Less(there, here));
  const Id before = b.Cast(b.Binary(Op::kOr, ahead, tie), DType::kI64);
  const Id order = b.Reduce(Op::kAdd, before, {axis + 1});
  // The n-th result is the element of rank n: found as the only hit.
  const Id wanted = Positions(b, k, axis, rank + 1, DType::kI64);
  const Id hit = b.Equal(Unsqueeze(b, order, {axis}), wanted);
  const Id none = b.Cast(b.Int(0), DType::kI64);
  const Id positions =
      b.Reduce(Op::kAdd, b.Where(hit, there, none), {axis + 1});
  return {GatherElements(b, x, positions, axis), positions};
}

Id Softmax(Builder& b, Id x, absl::Span<const int64_t> axes) {
  if (Failed(b, x)) return kNoNode;
  const Id v = Widened(b, x);
  const Id top = Reduced(b, Op::kMax, v, axes, true);
  const Id e = Exp(b, b.Sub(v, top));
  const Id total = Reduced(b, Op::kAdd, e, axes, true);
  return b.Cast(b.Div(e, total), b.DTypeOf(x));
}

Id LogSoftmax(Builder& b, Id x, absl::Span<const int64_t> axes) {
  if (Failed(b, x)) return kNoNode;
  const Id v = Widened(b, x);
  const Id shifted = b.Sub(v, Reduced(b, Op::kMax, v, axes, true));
  const Id total = Reduced(b, Op::kAdd, Exp(b, shifted), axes, true);
  return b.Cast(b.Sub(shifted, Log(b, total)), b.DTypeOf(x));
}

Id Hardmax(Builder& b, Id x, int64_t axis) {
  if (Failed(b, x)) return kNoNode;
  axis = b.Axis(axis, b.Rank(x));
  if (!b.ok()) return kNoNode;
  const DType dtype = b.DTypeOf(x);
  const Id place = ArgReduce(b, x, axis, {});
  const Id at = Positions(b, b.Dim(x, axis), axis, b.Rank(x), DType::kI64);
  return b.Where(b.Equal(at, place), b.Cast(b.Int(1), dtype),
                 b.Cast(b.Int(0), dtype));
}

Normalized Normalize(Builder& b, Id x, absl::Span<const int64_t> axes,
                     double epsilon) {
  if (Failed(b, x)) return {};
  const Id v = Widened(b, x);
  const Id mean = Mean(b, v, axes, true);
  const Id centered = b.Sub(v, mean);
  const Id variance = Mean(b, Square(b, centered), axes, true);
  const Id deviation = b.Unary(Op::kSqrt, b.Add(variance, b.Float(epsilon)));
  const Id inverse = Reciprocal(b, deviation);
  return {b.Mul(centered, inverse), mean, inverse};
}

Normalized NormalizeByRootMeanSquare(Builder& b, Id x,
                                     absl::Span<const int64_t> axes,
                                     double epsilon) {
  if (Failed(b, x)) return {};
  const Id v = Widened(b, x);
  const Id square = Mean(b, Square(b, v), axes, true);
  const Id inverse =
      Reciprocal(b, b.Unary(Op::kSqrt, b.Add(square, b.Float(epsilon))));
  return {b.Mul(v, inverse), kNoNode, inverse};
}

namespace {

// A list of channels as a column that broadcasts over [batch, channels, ..].
Id PerChannel(Builder& b, Id x, int rank) {
  if (Failed(b, x)) return kNoNode;
  std::vector<Id> dims(rank > 1 ? rank - 1 : 1, b.Int(1));
  dims[0] = ir::Product(b.arena(), b.Dims(x));
  return b.Reshape(x, dims);
}

}  // namespace

Id BatchNormalize(Builder& b, Id x, Id scale, Id bias, Id mean, Id variance,
                  double epsilon) {
  if (Failed(b, x)) return kNoNode;
  const Id deviation =
      b.Unary(Op::kSqrt, b.Add(Widened(b, variance), b.Float(epsilon)));
  const Id s = b.Div(Widened(b, scale), deviation);
  const Id t = b.Sub(Widened(b, bias), b.Mul(Widened(b, mean), s));
  const int rank = b.Rank(x);
  const Id scaled = b.Mul(Widened(b, x), PerChannel(b, s, rank));
  return b.Cast(b.Add(scaled, PerChannel(b, t, rank)), b.DTypeOf(x));
}

Id GroupNormalize(Builder& b, Id x, Id scale, Id bias, int64_t groups,
                  double epsilon) {
  if (Failed(b, x)) return kNoNode;
  const int rank = b.Rank(x);
  if (rank < 2 || groups < 1) {
    return b.Invalid(absl::StrCat("normalization of ", groups, " groups of ",
                                  b.ShapeText(x)));
  }
  const std::vector<Id> dims = b.Dims(x);
  std::vector<Id> split = dims;
  split[1] = ir::IDiv(b.arena(), dims[1], b.Int(groups));
  split.insert(split.begin() + 1, b.Int(groups));
  std::vector<int64_t> axes(rank - 1);
  std::iota(axes.begin(), axes.end(), 2);
  const Id value = Normalize(b, b.Reshape(x, split), axes, epsilon).value;
  const Id scaled =
      b.Mul(b.Reshape(value, dims), PerChannel(b, Widened(b, scale), rank));
  return b.Cast(b.Add(scaled, PerChannel(b, Widened(b, bias), rank)),
                b.DTypeOf(x));
}

Id NormalizeByNorm(Builder& b, Id x, int64_t axis, int64_t p) {
  if (p != 1 && p != 2) {
    return b.Invalid(absl::StrCat("norm ", p, ", expected 1 or 2"));
  }
  const Reduction kind = p == 1 ? Reduction::kL1 : Reduction::kL2;
  const Id norm = ReduceBy(b, kind, x, {axis}, true);
  // A vector of zeros stays one.
  const Id zero = b.Cast(b.Int(0), TypeOf(b, x));
  return b.Where(b.Equal(norm, zero), zero, b.Div(x, norm));
}

}  // namespace quern::graph
