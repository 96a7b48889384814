// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/tensor_ops.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace quern::graph {
namespace {

using ir::Builder;
using ir::DType;
using ir::Op;

// Runs `function` on x in at least f32 and returns to the type of x.
template <typename Function>
Id InFloat(Builder& b, Id x, Function function) {
  if (!b.ok() || x == ir::kNoNode) return ir::kNoNode;
  return b.Cast(function(Widened(b, x)), TypeOf(b, x));
}

bool IsFloat(const Builder& b, Id x) { return ir::IsFloat(TypeOf(b, x)); }

// Gives both the type to which they promote: a weak constant says nothing about
// the type of an operation.
void MakeAlike(Builder& b, Id& x, Id& y) {
  const DType dtype = ir::Promote(TypeOf(b, x), TypeOf(b, y));
  x = b.Cast(x, dtype);
  y = b.Cast(y, dtype);
}

// A boolean as 0 or 1 of the type of `like`.
Id AsNumber(Builder& b, Id condition, Id like) {
  return b.Where(condition, b.Cast(b.Int(1), TypeOf(b, like)),
                 b.Cast(b.Int(0), TypeOf(b, like)));
}

}  // namespace

DType TypeOf(const Builder& b, Id x) {
  return !b.ok() || x == ir::kNoNode ? DType::kF32 : b.DTypeOf(x);
}

Id Widened(Builder& b, Id x) {
  return b.Cast(x, ir::AccumulatorOf(TypeOf(b, x)));
}

Id Greater(Builder& b, Id x, Id y) { return b.Less(y, x); }

Id LessOrEqual(Builder& b, Id x, Id y) {
  MakeAlike(b, x, y);
  if (!IsFloat(b, x)) return b.Not(b.Less(y, x));
  return b.Binary(Op::kOr, b.Less(x, y), b.Equal(x, y));
}

Id GreaterOrEqual(Builder& b, Id x, Id y) { return LessOrEqual(b, y, x); }

Id NotEqual(Builder& b, Id x, Id y) { return b.Binary(Op::kCmpNe, x, y); }

Id IsNan(Builder& b, Id x) { return NotEqual(b, x, x); }

Id IsInf(Builder& b, Id x, bool positive, bool negative) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Id up = b.Equal(x, b.Float(infinity));
  const Id down = b.Equal(x, b.Float(-infinity));
  if (positive && negative) return b.Binary(Op::kOr, up, down);
  if (positive) return up;
  if (negative) return down;
  return b.Binary(Op::kAnd, up, down);  // Never both: false everywhere.
}

Id Abs(Builder& b, Id x) {
  if (ir::KindOf(TypeOf(b, x)) == ir::DTypeKind::kUnsigned) return x;
  return b.Max(x, b.Unary(Op::kNeg, x));
}

Id Sign(Builder& b, Id x) {
  const Id zero = b.Cast(b.Int(0), TypeOf(b, x));
  const Id one = b.Cast(b.Int(1), TypeOf(b, x));
  const Id positive = b.Less(zero, x);
  // Zeros and NaN stand for themselves.
  if (ir::KindOf(TypeOf(b, x)) == ir::DTypeKind::kUnsigned) {
    return b.Where(positive, one, x);
  }
  const Id minus = b.Cast(b.Int(-1), TypeOf(b, x));
  return b.Where(positive, one, b.Where(b.Less(x, zero), minus, x));
}

Id Floor(Builder& b, Id x) {
  if (!IsFloat(b, x)) return x;
  const Id whole = b.Unary(Op::kTrunc, x);
  return b.Sub(whole, AsNumber(b, b.Less(x, whole), x));
}

Id Ceil(Builder& b, Id x) {
  if (!IsFloat(b, x)) return x;
  const Id whole = b.Unary(Op::kTrunc, x);
  return b.Add(whole, AsNumber(b, b.Less(whole, x), x));
}

Id Round(Builder& b, Id x) {
  if (!IsFloat(b, x)) return x;
  return InFloat(b, x, [&](Id v) {
    const Id whole = b.Unary(Op::kTrunc, v);
    const Id distance = Abs(b, b.Sub(v, whole));  // Exact, below 1.
    const Id half = b.Float(0.5);
    // Odd: whole / 2 has a fraction.
    const Id halved = b.Mul(whole, half);
    const Id odd = NotEqual(b, halved, b.Unary(Op::kTrunc, halved));
    const Id away = b.Binary(Op::kOr, b.Less(half, distance),
                             b.Binary(Op::kAnd, b.Equal(distance, half), odd));
    return b.Where(away, b.Add(whole, Sign(b, v)), whole);
  });
}

Id Reciprocal(Builder& b, Id x) { return b.Div(b.Float(1), x); }

Id Square(Builder& b, Id x) { return b.Mul(x, x); }

Id Divide(Builder& b, Id x, Id y) {
  MakeAlike(b, x, y);
  return IsFloat(b, x) ? b.Div(x, y) : b.Binary(Op::kIDiv, x, y);
}

Id TruncMod(Builder& b, Id x, Id y) {
  MakeAlike(b, x, y);
  if (!IsFloat(b, x)) return b.Binary(Op::kMod, x, y);
  return InFloat(b, x, [&](Id v) {
    const Id w = Widened(b, y);
    return b.Sub(v, b.Mul(w, b.Unary(Op::kTrunc, b.Div(v, w))));
  });
}

Id FloorMod(Builder& b, Id x, Id y) {
  MakeAlike(b, x, y);
  if (ir::KindOf(TypeOf(b, x)) == ir::DTypeKind::kUnsigned) {
    return b.Binary(Op::kMod, x, y);
  }
  if (IsFloat(b, x)) {
    return InFloat(b, x, [&](Id v) {
      const Id w = Widened(b, y);
      return b.Sub(v, b.Mul(w, Floor(b, b.Div(v, w))));
    });
  }
  const Id remainder = b.Binary(Op::kMod, x, y);
  const Id zero = b.Cast(b.Int(0), TypeOf(b, x));
  const Id signs_differ = b.Less(b.Binary(Op::kXor, remainder, y), zero);
  const Id fix = b.Binary(Op::kAnd, NotEqual(b, remainder, zero), signs_differ);
  return b.Where(fix, b.Add(remainder, y), remainder);
}

Id Clip(Builder& b, Id x, Id least, Id greatest) {
  if (least != ir::kNoNode) x = b.Max(x, least);
  if (greatest != ir::kNoNode) x = b.Min(x, greatest);
  return x;
}

Id Exp(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    return b.Unary(Op::kExp2, b.Mul(v, b.Float(std::numbers::log2e)));
  });
}

Id Log(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    return b.Mul(b.Unary(Op::kLog2, v), b.Float(std::numbers::ln2));
  });
}

namespace {

// x to a whole power that is known, by squaring.
Id PowWhole(Builder& b, Id x, int exponent) {
  Id result = ir::kNoNode;
  for (Id square = x; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) {
      result = result == ir::kNoNode ? square : b.Mul(result, square);
    }
    if (exponent > 1) square = b.Mul(square, square);
  }
  return result;
}

// |x|^y by logarithms, with the sign and the special cases of pow.
Id PowGeneral(Builder& b, Id x, Id y) {
  const Id zero = b.Float(0);
  const Id one = b.Float(1);
  const Id size = b.Unary(Op::kExp2, b.Mul(y, b.Unary(Op::kLog2, Abs(b, x))));
  // A negative base wants a whole exponent; an odd one keeps the sign.
  const Id whole = b.Equal(b.Unary(Op::kTrunc, y), y);
  const Id halved = b.Mul(y, b.Float(0.5));
  const Id odd = b.Binary(Op::kAnd, whole,
                          NotEqual(b, b.Unary(Op::kTrunc, halved), halved));
  const Id nan = b.Float(std::numeric_limits<double>::quiet_NaN());
  const Id negative =
      b.Where(whole, b.Where(odd, b.Unary(Op::kNeg, size), size), nan);
  const Id power = b.Where(b.Less(x, zero), negative, size);
  const Id trivial = b.Binary(Op::kOr, b.Equal(y, zero), b.Equal(x, one));
  return b.Where(trivial, one, power);
}

// The value of `x` if it is one constant under movement operations that keep
// every element; NaN otherwise.
double UniformValue(Builder& b, Id x) {
  const ir::Arena& arena = b.arena();
  while (arena[x].op == Op::kExpand || arena[x].op == Op::kReshape) {
    x = arena[x].srcs[0];
  }
  return arena.IsConst(x) ? arena.FloatValue(x)
                          : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

Id Pow(Builder& b, Id x, Id y) {
  if (!b.ok() || x == ir::kNoNode || y == ir::kNoNode) return ir::kNoNode;
  if (ir::IsWeak(TypeOf(b, x))) {
    x = b.Cast(x, ir::Promote(TypeOf(b, x), TypeOf(b, y)));
  }
  const DType dtype = TypeOf(b, x);
  if (!ir::IsFloat(dtype)) {
    // Through f64, which holds every 32-bit result, rounded to be whole.
    const Id power = Pow(b, b.Cast(x, DType::kF64), b.Cast(y, DType::kF64));
    return b.Cast(Round(b, power), dtype);
  }
  return InFloat(b, x, [&](Id v) {
    const double exponent = UniformValue(b, y);
    const bool scalar = b.Rank(y) <= b.Rank(x);
    if (scalar && exponent == 0.5) return b.Unary(Op::kSqrt, v);
    if (scalar && exponent == -1) return Reciprocal(b, v);
    if (scalar && exponent == -0.5) {
      return Reciprocal(b, b.Unary(Op::kSqrt, v));
    }
    if (scalar && exponent >= 1 && exponent <= 8 &&
        exponent == std::trunc(exponent)) {
      return PowWhole(b, v, static_cast<int>(exponent));
    }
    return PowGeneral(b, v, b.Cast(y, TypeOf(b, v)));
  });
}

Id Cos(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    return b.Unary(Op::kSin, b.Add(v, b.Float(std::numbers::pi / 2)));
  });
}

Id Tan(Builder& b, Id x) {
  return InFloat(b, x,
                 [&](Id v) { return b.Div(b.Unary(Op::kSin, v), Cos(b, v)); });
}

Id Atan(Builder& b, Id x) {
  // atan(v) = pi/2 - atan(1/v) brings |v| to [0, 1], and atan(v) = pi/6 +
  // atan((v * sqrt(3) - 1) / (v + sqrt(3))) to [-0.27, 0.27], where the series
  // converges fast: 10 terms give 1e-13.
  return InFloat(b, x, [&](Id v) {
    const Id size = Abs(b, v);
    const Id one = b.Float(1);
    const Id inverted = b.Less(one, size);
    const Id u = b.Where(inverted, b.Div(one, size), size);
    const Id root3 = b.Float(std::numbers::sqrt3);
    const Id turned = b.Less(b.Float(std::tan(std::numbers::pi / 12)), u);
    const Id t =
        b.Where(turned, b.Div(b.Sub(b.Mul(u, root3), one), b.Add(u, root3)), u);
    const Id t2 = b.Mul(t, t);
    Id series = b.Float(1.0 / 21);
    for (int n = 19; n >= 1; n -= 2) {
      series = b.Sub(b.Float(1.0 / n), b.Mul(t2, series));
    }
    Id angle = b.Mul(t, series);
    angle = b.Where(turned, b.Add(angle, b.Float(std::numbers::pi / 6)), angle);
    angle =
        b.Where(inverted, b.Sub(b.Float(std::numbers::pi / 2), angle), angle);
    return b.Where(b.Less(v, b.Float(0)), b.Unary(Op::kNeg, angle), angle);
  });
}

Id Asin(Builder& b, Id x) {
  // asin(v) = atan(v / sqrt((1 - v)(1 + v))).
  return InFloat(b, x, [&](Id v) {
    const Id one = b.Float(1);
    const Id rest = b.Mul(b.Sub(one, v), b.Add(one, v));
    return Atan(b, b.Div(v, b.Unary(Op::kSqrt, rest)));
  });
}

Id Acos(Builder& b, Id x) {
  // acos(v) = 2 atan(sqrt((1 - v) / (1 + v))), exact near 1.
  return InFloat(b, x, [&](Id v) {
    const Id one = b.Float(1);
    const Id half = b.Unary(Op::kSqrt, b.Div(b.Sub(one, v), b.Add(one, v)));
    return b.Mul(b.Float(2), Atan(b, half));
  });
}

namespace {

// log(1 + v), exact for small v: log(w) * v / (w - 1) for w = 1 + v rounded
// (W. Kahan).
Id Log1p(Builder& b, Id v) {
  const Id one = b.Float(1);
  const Id w = b.Add(one, v);
  const Id rest = b.Sub(w, one);
  const Id zero = b.Float(0);
  const Id infinity = b.Float(std::numeric_limits<double>::infinity());
  const Id scaled = b.Div(b.Mul(Log(b, w), v), rest);
  return b.Where(b.Equal(rest, zero), v,
                 b.Where(b.Equal(v, infinity), v, scaled));
}

// exp(v) - 1, exact for small v: by its series below 1/4.
Id Expm1(Builder& b, Id v) {
  Id series = b.Float(1);
  for (int n = 9; n >= 2; --n) {
    series = b.Add(b.Float(1), b.Mul(b.Mul(v, b.Float(1.0 / n)), series));
  }
  const Id small = b.Less(Abs(b, v), b.Float(0.25));
  return b.Where(small, b.Mul(v, series), b.Sub(Exp(b, v), b.Float(1)));
}

}  // namespace

Id Sinh(Builder& b, Id x) {
  // With e = exp(|v|) - 1: sinh = (e + e / (e + 1)) / 2.
  return InFloat(b, x, [&](Id v) {
    const Id e = Expm1(b, Abs(b, v));
    const Id one = b.Float(1);
    const Id inverse = b.Sub(one, b.Div(one, b.Add(e, one)));
    const Id small = b.Less(e, one);
    const Id second = b.Where(small, b.Div(e, b.Add(e, one)), inverse);
    const Id half = b.Mul(b.Float(0.5), b.Add(e, second));
    return b.Where(b.Less(v, b.Float(0)), b.Unary(Op::kNeg, half), half);
  });
}

Id Cosh(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    return b.Mul(b.Float(0.5), b.Add(Exp(b, v), Exp(b, b.Unary(Op::kNeg, v))));
  });
}

Id Asinh(Builder& b, Id x) {
  // log(u + sqrt(u^2 + 1)) = log1p(u + u^2 / (1 + sqrt(u^2 + 1))).
  return InFloat(b, x, [&](Id v) {
    const Id u = Abs(b, v);
    const Id one = b.Float(1);
    const Id u2 = b.Mul(u, u);
    const Id root = b.Unary(Op::kSqrt, b.Add(u2, one));
    // Beyond 2^40 the square could overflow: log(2u).
    const Id far = b.Less(b.Float(0x1p40), u);
    const Id near = Log1p(b, b.Add(u, b.Div(u2, b.Add(one, root))));
    const Id beyond = b.Add(Log(b, u), b.Float(std::numbers::ln2));
    const Id size = b.Where(far, beyond, near);
    return b.Where(b.Less(v, b.Float(0)), b.Unary(Op::kNeg, size), size);
  });
}

Id Acosh(Builder& b, Id x) {
  // With t = v - 1: log1p(t + sqrt(t * (t + 2))).
  return InFloat(b, x, [&](Id v) {
    const Id t = b.Sub(v, b.Float(1));
    const Id root = b.Unary(Op::kSqrt, b.Mul(t, b.Add(t, b.Float(2))));
    return Log1p(b, b.Add(t, root));
  });
}

Id Atanh(Builder& b, Id x) {
  // log1p(2v / (1 - v)) / 2.
  return InFloat(b, x, [&](Id v) {
    const Id ratio = b.Div(b.Mul(b.Float(2), v), b.Sub(b.Float(1), v));
    return b.Mul(b.Float(0.5), Log1p(b, ratio));
  });
}

Id Relu(Builder& b, Id x) { return b.Max(x, b.Cast(b.Int(0), TypeOf(b, x))); }

Id LeakyRelu(Builder& b, Id x, Id slope) {
  const Id zero = b.Cast(b.Int(0), TypeOf(b, x));
  return b.Where(b.Less(x, zero), b.Mul(x, slope), x);
}

Id Elu(Builder& b, Id x, double alpha) {
  return InFloat(b, x, [&](Id v) {
    return b.Where(b.Less(v, b.Float(0)), b.Mul(b.Float(alpha), Expm1(b, v)),
                   v);
  });
}

Id Celu(Builder& b, Id x, double alpha) {
  return InFloat(b, x, [&](Id v) {
    const Id scaled = Expm1(b, b.Mul(v, b.Float(1 / alpha)));
    return b.Where(b.Less(v, b.Float(0)), b.Mul(b.Float(alpha), scaled), v);
  });
}

Id Selu(Builder& b, Id x, double alpha, double gamma) {
  return InFloat(b, x,
                 [&](Id v) { return b.Mul(b.Float(gamma), Elu(b, v, alpha)); });
}

Id Sigmoid(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    return Reciprocal(b, b.Add(b.Float(1), Exp(b, b.Unary(Op::kNeg, v))));
  });
}

Id HardSigmoid(Builder& b, Id x, double alpha, double beta) {
  return InFloat(b, x, [&](Id v) {
    return Clip(b, b.Add(b.Mul(b.Float(alpha), v), b.Float(beta)), b.Float(0),
                b.Float(1));
  });
}

Id HardSwish(Builder& b, Id x) {
  return InFloat(
      b, x, [&](Id v) { return b.Mul(v, HardSigmoid(b, v, 1.0 / 6, 0.5)); });
}

Id Swish(Builder& b, Id x, double alpha) {
  return InFloat(b, x, [&](Id v) {
    const Id inner = alpha == 1 ? v : b.Mul(b.Float(alpha), v);
    return b.Mul(v, Sigmoid(b, inner));
  });
}

Id Softplus(Builder& b, Id x) {
  // max(v, 0) + log1p(exp(-|v|)) neither overflows nor cancels.
  return InFloat(b, x, [&](Id v) {
    const Id decay = Exp(b, b.Unary(Op::kNeg, Abs(b, v)));
    return b.Add(Relu(b, v), Log1p(b, decay));
  });
}

Id Softsign(Builder& b, Id x) {
  return InFloat(b, x,
                 [&](Id v) { return b.Div(v, b.Add(b.Float(1), Abs(b, v))); });
}

Id Mish(Builder& b, Id x) {
  return InFloat(
      b, x, [&](Id v) { return b.Mul(v, b.Unary(Op::kTanh, Softplus(b, v))); });
}

Id Gelu(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    const Id erf =
        b.Unary(Op::kErf, b.Mul(v, b.Float(1 / std::numbers::sqrt2)));
    return b.Mul(b.Mul(b.Float(0.5), v), b.Add(b.Float(1), erf));
  });
}

Id GeluTanh(Builder& b, Id x) {
  return InFloat(b, x, [&](Id v) {
    const Id cube = b.Mul(b.Mul(v, v), v);
    const Id inner = b.Mul(b.Float(std::sqrt(2 / std::numbers::pi)),
                           b.Add(v, b.Mul(b.Float(0.044715), cube)));
    return b.Mul(b.Mul(b.Float(0.5), v),
                 b.Add(b.Float(1), b.Unary(Op::kTanh, inner)));
  });
}

}  // namespace quern::graph
