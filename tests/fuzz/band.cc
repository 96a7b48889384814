// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/band.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/status_macros.h"
#include "engine/ir/eval.h"

namespace quern::fuzz {
namespace {

using ir::Arena;
using ir::DType;
using ir::Id;
using ir::Node;
using ir::Op;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The greatest relative error of rounding to a dtype, and the greatest
// absolute one near zero, where results may also be flushed to it.
double RelativeError(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 0x1p-11;
    case DType::kBF16:
      return 0x1p-8;
    case DType::kF32:
    case DType::kWeakFloat:  // At best; it may become an f32.
      return 0x1p-24;
    default:
      return 0x1p-53;
  }
}
double Tiny(DType dtype) {
  if (dtype == DType::kF16) return 0x1p-24;
  return dtype == DType::kF64 ? 0x1p-1022 : 0x1p-126;
}
double Greatest(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return 65504;
    case DType::kBF16:
      return 0x1.fep127;
    case DType::kF32:
    case DType::kWeakFloat:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

// The range of an integer or bool dtype.
std::pair<__int128, __int128> RangeOf(DType dtype) {
  if (dtype == DType::kBool) return {0, 1};
  const int64_t bytes = dtype == DType::kWeakInt ? 8 : ir::ByteSize(dtype);
  const __int128 one = 1;
  if (ir::KindOf(dtype) == ir::DTypeKind::kUnsigned) {
    return {0, (one << (8 * bytes)) - 1};
  }
  return {-(one << (8 * bytes - 1)), (one << (8 * bytes - 1)) - 1};
}

__int128 Wide(DType dtype, int64_t bits) {
  return dtype == DType::kU64
             ? static_cast<__int128>(static_cast<uint64_t>(bits))
             : static_cast<__int128>(bits);
}

Band Anything(DType dtype) {
  Band band;
  band.anything = true;
  band.low = -kInfinity;
  band.high = kInfinity;
  if (!ir::IsFloat(dtype)) {
    std::tie(band.least, band.greatest) = RangeOf(dtype);
  }
  return band;
}

Band Real(double low, double high) {
  Band band;
  band.low = low;
  band.high = high;
  return band;
}

Band Whole(__int128 least, __int128 greatest) {
  Band band;
  band.least = least;
  band.greatest = greatest;
  return band;
}

Band BandOf(DType dtype, int64_t bits) {
  if (!ir::IsFloat(dtype)) {
    return Whole(Wide(dtype, bits), Wide(dtype, bits));
  }
  const double value = std::bit_cast<double>(bits);
  if (std::isnan(value)) return Anything(dtype);
  return Real(value, value);
}

bool IsPoint(DType dtype, const Band& band) {
  if (band.anything) return false;
  return ir::IsFloat(dtype) ? band.low == band.high
                            : band.least == band.greatest;
}

int64_t BitsOf(DType dtype, const Band& band) {
  return ir::IsFloat(dtype) ? std::bit_cast<int64_t>(band.low)
                            : static_cast<int64_t>(band.least);
}

Band Union(const Band& a, const Band& b) {
  Band band;
  band.low = std::min(a.low, b.low);
  band.high = std::max(a.high, b.high);
  band.least = std::min(a.least, b.least);
  band.greatest = std::max(a.greatest, b.greatest);
  band.anything = a.anything || b.anything;
  return band;
}

// [low, high] after an error of `units` times the rounding of `dtype`.
Band Rounded(DType dtype, double low, double high, double units) {
  if (std::isnan(low) || std::isnan(high)) return Anything(dtype);
  const double relative = RelativeError(dtype) * units;
  if (std::isfinite(low)) low -= std::fabs(low) * relative + Tiny(dtype);
  if (std::isfinite(high)) high += std::fabs(high) * relative + Tiny(dtype);
  const double most = Greatest(dtype) * (1 - 2 * relative);
  if (high > most) high = kInfinity;
  if (low < -most) low = -kInfinity;
  if (low > most) low = most;
  if (high < -most) high = -most;
  return Real(low, high);
}

// As Rounded, but a result that needs no rounding stays a point. (A double
// cannot tell whether it was rounded to an f64, but small integers were not.)
Band Exactly(DType dtype, double low, double high, double units) {
  const bool exact = dtype == DType::kF64 || dtype == DType::kWeakFloat
                         ? std::trunc(low) == low && std::fabs(low) < 0x1p24
                         : ir::RoundTo(dtype, low) == low;
  const bool normal = low == 0 || std::fabs(low) > Tiny(dtype);
  if (low == high && std::isfinite(low) && exact && normal) {
    return Real(low, high);
  }
  return Rounded(dtype, low, high, units);
}

// What the product of intervals may be; NaN ends as not-a-number bounds.
std::pair<double, double> Product(const Band& x, const Band& y) {
  double low = kInfinity;
  double high = -kInfinity;
  for (const double a : {x.low, x.high}) {
    for (const double b : {y.low, y.high}) {
      const double product = a * b;
      if (std::isnan(product)) return {product, product};
      low = std::min(low, product);
      high = std::max(high, product);
    }
  }
  // An infinity inside and a zero inside meet somewhere.
  const auto infinite = [](const Band& v) {
    return std::isinf(v.low) || std::isinf(v.high);
  };
  const auto zero = [](const Band& v) { return v.low <= 0 && v.high >= 0; };
  if ((infinite(x) && zero(y)) || (infinite(y) && zero(x))) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan};
  }
  return {low, high};
}

double Sum(double a, double b) { return a + b; }  // inf - inf is NaN.

bool MayCancelInfinities(const Band& x, const Band& y) {
  return (x.high == kInfinity && y.low == -kInfinity) ||
         (x.low == -kInfinity && y.high == kInfinity);
}

Band SumBand(DType dtype, const Band& x, const Band& y) {
  if (MayCancelInfinities(x, y)) return Anything(dtype);
  return Exactly(dtype, Sum(x.low, y.low), Sum(x.high, y.high), 1);
}

Band Negated(const Band& x) { return Real(-x.high, -x.low); }

// Elementary functions may be off by two units in the last place, which is
// four times the error of rounding; 16-bit ones are computed in f32.
constexpr double kFunctionUnits = 4.5;

Band SineBand(DType dtype, const Band& x) {
  const double middle = x.low + (x.high - x.low) / 2;
  const double radius = (x.high - x.low) / 2 + std::fabs(middle) * 0x1p-52;
  if (!std::isfinite(middle)) return Anything(dtype);
  if (radius > 4) return Rounded(dtype, -1, 1, kFunctionUnits);
  const double value = std::sin(middle);
  return Rounded(dtype, std::max(-1.0, value - radius),
                 std::min(1.0, value + radius), kFunctionUnits);
}

Band FloatBand(Op op, DType dtype, const Band* v) {
  const int arity = ir::InfoOf(op).arity;
  for (int i = 0; i < arity; ++i) {
    if (v[i].anything) return Anything(dtype);
  }
  const Band& x = v[0];
  const auto increasing = [&](auto f, double units) {
    return Rounded(dtype, f(x.low), f(x.high), units);
  };
  switch (op) {
    case Op::kAdd:
      return SumBand(dtype, x, v[1]);
    case Op::kSub:
      return SumBand(dtype, x, Negated(v[1]));
    case Op::kMul: {
      const auto [low, high] = Product(x, v[1]);
      return Exactly(dtype, low, high, 1);
    }
    case Op::kFma: {
      const auto [low, high] = Product(x, v[1]);
      if (std::isnan(low)) return Anything(dtype);
      // Where there is no fused form, the product is rounded as well.
      return SumBand(dtype, Exactly(dtype, low, high, 1), v[2]);
    }
    case Op::kDiv: {
      if (v[1].low <= Tiny(dtype) && v[1].high >= -Tiny(dtype)) {
        return Anything(dtype);
      }
      const auto [low, high] = Product(x, Real(1 / v[1].high, 1 / v[1].low));
      return Rounded(dtype, low, high, 2);
    }
    case Op::kMax:
      return Real(std::max(x.low, v[1].low), std::max(x.high, v[1].high));
    case Op::kMin:
      return Real(std::min(x.low, v[1].low), std::min(x.high, v[1].high));
    case Op::kNeg:
      return Negated(x);
    case Op::kSqrt:
      if (x.low < 0) return Anything(dtype);
      return increasing([](double a) { return std::sqrt(a); }, 1);
    case Op::kExp2:
      return increasing([](double a) { return std::exp2(a); }, kFunctionUnits);
    case Op::kLog2:
      if (x.low <= Tiny(dtype)) return Anything(dtype);
      return increasing([](double a) { return std::log2(a); }, kFunctionUnits);
    case Op::kSin:
      return SineBand(dtype, x);
    case Op::kTanh:
      return increasing([](double a) { return std::tanh(a); }, kFunctionUnits);
    case Op::kErf:
      return increasing([](double a) { return std::erf(a); }, kFunctionUnits);
    case Op::kTrunc:
      return Real(std::trunc(x.low), std::trunc(x.high));
    default:
      return Anything(dtype);
  }
}

// The interval if it fits the dtype; else what wraps may be anything.
Band Fitted(DType dtype, __int128 least, __int128 greatest) {
  const auto [low, high] = RangeOf(dtype);
  if (least >= low && greatest <= high) return Whole(least, greatest);
  return Whole(low, high);
}

Band IntegerBand(Op op, DType dtype, const Band& x, const Band& y) {
  const auto [low, high] = RangeOf(dtype);
  switch (op) {
    case Op::kAdd:
      return Fitted(dtype, x.least + y.least, x.greatest + y.greatest);
    case Op::kSub:
      return Fitted(dtype, x.least - y.greatest, x.greatest - y.least);
    case Op::kNeg:
      return Fitted(dtype, -x.greatest, -x.least);
    case Op::kMax:
      return Whole(std::max(x.least, y.least),
                   std::max(x.greatest, y.greatest));
    case Op::kMin:
      return Whole(std::min(x.least, y.least),
                   std::min(x.greatest, y.greatest));
    default:
      return Whole(low, high);
  }
}

Band Compared(Op op, DType dtype, const Band& x, const Band& y) {
  const Band either = Whole(0, 1);
  if (x.anything || y.anything) return either;
  bool less = false;  // x < y whatever they are.
  bool not_less = false;
  bool apart = false;  // They cannot be equal.
  bool equal = false;
  if (ir::IsFloat(dtype)) {
    // What is tiny may count as zero.
    const double slack =
        std::fabs(x.low) < Tiny(dtype) || std::fabs(y.low) < Tiny(dtype)
            ? Tiny(dtype)
            : 0;
    less = x.high + slack < y.low;
    not_less = x.low >= y.high + slack;
    apart = less || y.high + slack < x.low;
    equal = x.low == x.high && y.low == y.high && x.low == y.low;
  } else {
    less = x.greatest < y.least;
    not_less = x.least >= y.greatest;
    apart = less || y.greatest < x.least;
    equal =
        x.least == x.greatest && y.least == y.greatest && x.least == y.least;
  }
  const auto known = [](bool value) { return Whole(value, value); };
  if (op == Op::kCmpLt) {
    return less ? known(true) : not_less ? known(false) : either;
  }
  if (!apart && !equal) return either;
  return known(op == Op::kCmpEq ? equal : apart);
}

__int128 Saturated(double value, DType dtype) {
  return Wide(dtype, ir::Scalar::OfFloat(dtype, value).bits);
}

Band CastBand(DType from, DType to, const Band& x) {
  if (to == DType::kBool) {
    if (x.anything && ir::IsFloat(from)) return Whole(0, 1);
    const bool zero = ir::IsFloat(from)
                          ? x.low <= Tiny(from) && x.high >= -Tiny(from)
                          : x.least <= 0 && x.greatest >= 0;
    const bool only_zero = ir::IsFloat(from) ? x.low == 0 && x.high == 0
                                             : x.least == 0 && x.greatest == 0;
    return Whole(zero ? 0 : 1, only_zero ? 0 : 1);
  }
  if (ir::IsFloat(to)) {
    if (x.anything && ir::IsFloat(from)) return Anything(to);
    if (!ir::IsFloat(from)) {
      return Exactly(to, static_cast<double>(x.least),
                     static_cast<double>(x.greatest), 1);
    }
    const bool widens =
        RelativeError(to) <= RelativeError(from) && Tiny(to) <= Tiny(from);
    return widens ? Real(x.low, x.high) : Exactly(to, x.low, x.high, 1);
  }
  if (ir::IsFloat(from)) {
    const auto [low, high] = RangeOf(to);
    if (x.anything) return Whole(low, high);
    return Whole(Saturated(x.low, to), Saturated(x.high, to));
  }
  return Fitted(to, x.least, x.greatest);
}

absl::StatusOr<Band> Elementwise(Op op, DType operand, DType result,
                                 const Band* v) {
  const int arity = ir::InfoOf(op).arity;
  if (op == Op::kWhere) {
    if (v[0].least == v[0].greatest) return v[0].least != 0 ? v[1] : v[2];
    return Union(v[1], v[2]);
  }
  bool points = true;
  for (int i = 0; i < arity; ++i) points &= IsPoint(operand, v[i]);
  // Exact operands of exact operations: the scalar meaning decides.
  const bool exact =
      !ir::IsFloat(operand) && (op != Op::kCast || !ir::IsFloat(result));
  // The sign of a zero is not known.
  const bool sign_known = !ir::IsFloat(operand) || v[0].low != 0;
  if (points && (exact || (op == Op::kBitcast && sign_known))) {
    std::vector<ir::Scalar> operands;
    for (int i = 0; i < arity; ++i) {
      operands.push_back({operand, BitsOf(operand, v[i])});
    }
    QUERN_ASSIGN_OR_RETURN(const ir::Scalar value,
                           ir::Evaluate(op, result, operands));
    return BandOf(result, value.bits);
  }
  if (op == Op::kBitcast) return Anything(result);
  if (op == Op::kCast) return CastBand(operand, result, v[0]);
  if ((ir::InfoOf(op).traits & ir::kComparison) != 0) {
    return Compared(op, operand, v[0], v[1]);
  }
  if (ir::IsFloat(result)) return FloatBand(op, result, v);
  return IntegerBand(op, result, v[0], arity > 1 ? v[1] : v[0]);
}

// Counts through the positions of a shape, the last axis fastest.
bool Advance(std::vector<int64_t>& at, const std::vector<int64_t>& dims) {
  for (size_t axis = dims.size(); axis-- > 0;) {
    if (++at[axis] < dims[axis]) return true;
    at[axis] = 0;
  }
  return false;
}

int64_t Flat(const std::vector<int64_t>& at, const std::vector<int64_t>& dims) {
  int64_t index = 0;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    index = index * dims[axis] + at[axis];
  }
  return index;
}

class Interpreter {
 public:
  explicit Interpreter(const Case& fuzz_case)
      : case_(fuzz_case), arena_(*fuzz_case.graph.arena) {}

  absl::StatusOr<std::vector<BandTensor>> Run() {
    std::vector<Id> roots;
    for (const graph::Port& port : case_.graph.outputs) {
      roots.push_back(port.node);
    }
    for (Id id : ir::TopologicalOrder(arena_, roots)) {
      QUERN_ASSIGN_OR_RETURN(values_[id], Node1(id));
    }
    std::vector<BandTensor> outputs;
    for (Id root : roots) outputs.push_back(values_.at(root));
    return outputs;
  }

 private:
  absl::StatusOr<int64_t> SizeOf(Id size) {
    std::vector<Id> order = ir::TopologicalOrder(arena_, {size});
    for (Id id : order) {
      if (sizes_.contains(id)) continue;
      const Node& node = arena_[id];
      if (node.op == Op::kConst) {
        sizes_[id] = node.attr->ints[0];
      } else if (node.op == Op::kVar) {
        sizes_[id] = case_.variables.at(node.attr->text);
      } else {
        std::vector<ir::Scalar> operands;
        for (Id src : node.srcs) {
          operands.push_back({arena_[src].dtype, sizes_.at(src)});
        }
        QUERN_ASSIGN_OR_RETURN(const ir::Scalar value,
                               ir::Evaluate(node.op, node.dtype, operands));
        sizes_[id] = value.bits;
      }
    }
    return sizes_.at(size);
  }

  static BandTensor FromTensor(const ref::Tensor& tensor) {
    BandTensor result = {tensor.dtype, tensor.dims, {}};
    for (int64_t bits : tensor.bits) {
      result.elements.push_back(BandOf(tensor.dtype, bits));
    }
    return result;
  }

  absl::StatusOr<BandTensor> Node1(Id id) {
    const Node& node = arena_[id];
    BandTensor result;
    result.dtype = node.dtype;
    int64_t count = 1;
    for (Id dim : arena_.DimsOf(id)) {
      QUERN_ASSIGN_OR_RETURN(result.dims.emplace_back(), SizeOf(dim));
      count *= result.dims.back();
    }
    result.elements.resize(count);
    switch (node.op) {
      case Op::kConst:
        result.elements[0] = BandOf(node.dtype, node.attr->ints[0]);
        // A constant is rounded where it is written down.
        if (ir::IsFloat(node.dtype) && !result.elements[0].anything) {
          const double value = result.elements[0].low;
          result.elements[0] = Exactly(node.dtype, value, value, 1);
        }
        return result;
      case Op::kVar: {
        const __int128 value = case_.variables.at(node.attr->text);
        result.elements[0] = Whole(value, value);
        return result;
      }
      case Op::kConstArray:
        for (int64_t i = 0; i < count; ++i) {
          result.elements[i] = BandOf(node.dtype, node.attr->ints[i]);
        }
        return result;
      case Op::kIota:
        for (int64_t i = 0; i < count; ++i) result.elements[i] = Whole(i, i);
        return result;
      case Op::kInput:
        return FromTensor(case_.inputs[node.attr->ints[0]]);
      case Op::kWeight: {
        const graph::Weight& weight = case_.graph.weights[node.attr->ints[0]];
        QUERN_ASSIGN_OR_RETURN(
            const ref::Tensor tensor,
            ref::TensorOf(
                weight.dtype, weight.dims,
                absl::string_view(weight.data.data(), weight.data.size())));
        return FromTensor(tensor);
      }
      case Op::kReduce:
        return Reduce(id, std::move(result));
      default:
        break;
    }
    if (ir::IsElementwise(node.op)) {
      const size_t value = node.op == Op::kWhere ? 1 : 0;
      const DType operand = arena_[node.srcs[value]].dtype;
      for (int64_t i = 0; i < count; ++i) {
        Band v[3];
        for (size_t s = 0; s < node.srcs.size(); ++s) {
          v[s] = values_.at(node.srcs[s]).elements[i];
        }
        QUERN_ASSIGN_OR_RETURN(result.elements[i],
                               Elementwise(node.op, operand, node.dtype, v));
      }
      return result;
    }
    if (count == 0) return result;
    std::vector<int64_t> at(result.dims.size(), 0);
    do {
      QUERN_ASSIGN_OR_RETURN(result.elements[Flat(at, result.dims)],
                             Moved(id, at, result));
    } while (Advance(at, result.dims));
    return result;
  }

  // The element at `at` of a node that computes nothing.
  absl::StatusOr<Band> Moved(Id id, const std::vector<int64_t>& at,
                             const BandTensor& result) {
    const Node& node = arena_[id];
    const std::vector<int64_t>& ints = node.attr->ints;
    const BandTensor& x = values_.at(node.srcs[0]);
    std::vector<int64_t> from = at;
    switch (node.op) {
      case Op::kReshape:
        return x.elements[Flat(at, result.dims)];
      case Op::kCopy:
      case Op::kStage:
        return x.elements[Flat(at, x.dims)];
      case Op::kPermute:
        for (size_t i = 0; i < ints.size(); ++i) from[ints[i]] = at[i];
        break;
      case Op::kExpand:
        for (size_t i = 0; i < from.size(); ++i) {
          if (x.dims[i] == 1) from[i] = 0;
        }
        break;
      case Op::kPad:
        for (size_t i = 0; i < from.size(); ++i) {
          QUERN_ASSIGN_OR_RETURN(const int64_t before,
                                 SizeOf(node.srcs[i + 1]));
          from[i] -= before;
          if (from[i] < 0 || from[i] >= x.dims[i]) return Band();
        }
        break;
      case Op::kShrink:
        for (size_t i = 0; i < from.size(); ++i) {
          QUERN_ASSIGN_OR_RETURN(const int64_t begin, SizeOf(node.srcs[i + 1]));
          from[i] = begin + at[i] * ints[i];
        }
        break;
      case Op::kFlip:
        for (int64_t axis : ints) from[axis] = x.dims[axis] - 1 - at[axis];
        break;
      case Op::kConcat:
        for (Id part : node.srcs) {
          const BandTensor& values = values_.at(part);
          if (from[ints[0]] < values.dims[ints[0]]) {
            return values.elements[Flat(from, values.dims)];
          }
          from[ints[0]] -= values.dims[ints[0]];
        }
        break;
      case Op::kWindow:
        from.pop_back();
        from[ints[0]] = at[ints[0]] * ints[2] + at.back() * ints[3];
        break;
      case Op::kGather:
        return Gathered(id, at);
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("no bands for ", ir::Name(node.op)));
    }
    return x.elements[Flat(from, x.dims)];
  }

  absl::StatusOr<Band> Gathered(Id id, const std::vector<int64_t>& at) {
    const Node& node = arena_[id];
    const BandTensor& data = values_.at(node.srcs[0]);
    const BandTensor& indices = values_.at(node.srcs[1]);
    const int64_t axis = node.attr->ints[0];
    const auto rank = static_cast<int64_t>(indices.dims.size());
    const std::vector<int64_t> index_at(at.begin() + axis,
                                        at.begin() + axis + rank);
    const Band& index = indices.elements[Flat(index_at, indices.dims)];
    std::vector<int64_t> from(at.begin(), at.begin() + axis);
    from.push_back(0);
    from.insert(from.end(), at.begin() + axis + rank, at.end());
    const auto clamped = [&](__int128 value) {
      return static_cast<int64_t>(
          std::clamp<__int128>(value, 0, data.dims[axis] - 1));
    };
    from[axis] = clamped(index.least);
    Band band = data.elements[Flat(from, data.dims)];
    while (from[axis]++ < clamped(index.greatest)) {
      band = Union(band, data.elements[Flat(from, data.dims)]);
    }
    return band;
  }

  absl::StatusOr<BandTensor> Reduce(Id id, BandTensor result) {
    const Node& node = arena_[id];
    const BandTensor& x = values_.at(node.srcs[0]);
    const auto op = static_cast<Op>(node.attr->ints[0]);
    const std::vector<int64_t> axes(node.attr->ints.begin() + 1,
                                    node.attr->ints.end());
    std::vector<std::vector<Band>> groups(result.elements.size());
    std::vector<int64_t> at(x.dims.size(), 0);
    if (!x.elements.empty()) {
      do {
        std::vector<int64_t> to;
        for (size_t axis = 0; axis < at.size(); ++axis) {
          if (!std::binary_search(axes.begin(), axes.end(),
                                  static_cast<int64_t>(axis))) {
            to.push_back(at[axis]);
          }
        }
        groups[Flat(to, result.dims)].push_back(x.elements[Flat(at, x.dims)]);
      } while (Advance(at, x.dims));
    }
    for (size_t i = 0; i < groups.size(); ++i) {
      QUERN_ASSIGN_OR_RETURN(result.elements[i],
                             Folded(op, node.dtype, groups[i]));
    }
    return result;
  }

  static absl::StatusOr<Band> Folded(Op op, DType dtype,
                                     const std::vector<Band>& values) {
    Band total = BandOf(dtype, ir::IdentityOf(op, dtype).bits);
    const bool sum = op == Op::kAdd && ir::IsFloat(dtype);
    double magnitude = 0;
    bool all_exact = true;
    for (const Band& value : values) {
      if (!sum) {
        const Band v[] = {total, value};
        QUERN_ASSIGN_OR_RETURN(total, Elementwise(op, dtype, dtype, v));
        continue;
      }
      if (total.anything || value.anything ||
          MayCancelInfinities(total, value)) {
        return Anything(dtype);
      }
      total.low += value.low;
      total.high += value.high;
      magnitude += std::max(std::fabs(value.low), std::fabs(value.high));
      all_exact &= IsPoint(dtype, value) && std::trunc(value.low) == value.low;
    }
    if (!sum) return total;
    // Any order of additions: each partial sum is at most `magnitude`.
    if (all_exact && magnitude * RelativeError(dtype) < 0.5 &&
        magnitude < Greatest(dtype)) {
      return total;  // Integers that are all exact.
    }
    const double error = magnitude * RelativeError(dtype) *
                         (static_cast<double>(values.size()) + 1) * 1.1;
    if (std::isnan(error)) return Anything(dtype);
    if (magnitude > Greatest(dtype) * 0.5) return Anything(dtype);
    return Rounded(dtype, total.low - error, total.high + error, 1);
  }

  const Case& case_;
  const Arena& arena_;
  absl::flat_hash_map<Id, int64_t> sizes_;
  absl::flat_hash_map<Id, BandTensor> values_;
};

std::string Text(__int128 value) {
  // Every dtype fits 65 bits.
  if (value > INT64_MAX) return absl::StrCat(static_cast<uint64_t>(value));
  return absl::StrCat(static_cast<int64_t>(value));
}

}  // namespace

absl::StatusOr<std::vector<BandTensor>> BandsOf(const Case& fuzz_case) {
  return Interpreter(fuzz_case).Run();
}

std::string Outside(const BandTensor& bands, const ref::Tensor& tensor) {
  if (tensor.dtype != bands.dtype || tensor.dims != bands.dims ||
      tensor.bits.size() != bands.elements.size()) {
    return absl::StrCat("got ", ir::Name(tensor.dtype), "[",
                        absl::StrJoin(tensor.dims, ","), "], expected ",
                        ir::Name(bands.dtype), "[",
                        absl::StrJoin(bands.dims, ","), "]");
  }
  std::string first;
  int64_t wrong = 0;
  for (size_t i = 0; i < tensor.bits.size(); ++i) {
    const Band& band = bands.elements[i];
    if (band.anything) continue;
    std::string expected;
    std::string got;
    if (ir::IsFloat(bands.dtype)) {
      const double value = std::bit_cast<double>(tensor.bits[i]);
      if (value >= band.low && value <= band.high) continue;
      expected = absl::StrCat(absl::SixDigits(band.low), " to ",
                              absl::SixDigits(band.high), ", width ",
                              band.high - band.low);
      got = absl::StrCat(value);
    } else {
      const __int128 value = Wide(bands.dtype, tensor.bits[i]);
      if (value >= band.least && value <= band.greatest) continue;
      expected = absl::StrCat(Text(band.least), " to ", Text(band.greatest));
      got = Text(value);
    }
    if (wrong++ == 0) {
      first = absl::StrCat("element ", i, " is ", got, ", expected ", expected);
    }
  }
  if (wrong == 0) return "";
  return absl::StrCat(first, " (", wrong, " of ", tensor.bits.size(),
                      " elements are wrong)");
}

double Sharpness(const BandTensor& bands) {
  int64_t sharp = 0;
  for (const Band& band : bands.elements) {
    if (band.anything) continue;
    if (ir::IsFloat(bands.dtype)) {
      const double size = std::max(std::fabs(band.low), std::fabs(band.high));
      sharp += band.high - band.low <= std::max(0.01 * size, 1e-30);
    } else {
      sharp += band.greatest - band.least <= 1;
    }
  }
  return bands.elements.empty()
             ? 1
             : static_cast<double>(sharp) /
                   static_cast<double>(bands.elements.size());
}

}  // namespace quern::fuzz
