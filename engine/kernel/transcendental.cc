// SPDX-License-Identifier: Apache-2.0
//
// Each function reduces its argument to a small interval by exact arithmetic,
// evaluates a polynomial there, and puts the result together by operations on
// the bits. The polynomials are minimax fits of relative error (of erf itself
// in the case of its large part), rounded to the type one coefficient after
// the other; tests/support/fit_polynomials.py prints them all.
//
// Two devices recur. Adding 1.5 * 2^fraction to a small x rounds it to an
// integer, which then stands in the low bits of the sum; with the exponent
// bias added too, these bits shifted up are the float 2^x. And a selection
// `Where(a < b, ...)` has its sides so that a NaN comes out as a NaN.
#include "engine/kernel/transcendental.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/types/span.h"

#include "engine/kernel/expression.h"

namespace quern::kernel {
namespace {

using ir::DType;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// f32: Q of 2^x = 1 + x Q(x), degree 5, |x| <= 1/2, error 2^-28.3.
constexpr double kExp2F32[] = {0x1.62e43p-1,  0x1.ebfbdcp-3, 0x1.c6af7ap-5,
                               0x1.3b2dd4p-7, 0x1.5f096p-10, 0x1.4178dep-13};
// f32: Q of log2(1 + x) = x log2(e) + x^2 Q(x), degree 8, 1 + x in [sqrt(1/2),
// sqrt(2)], error 2^-27.7.
constexpr double kLog2F32[] = {-0x1.71547p-1,  0x1.ec7092p-2,  -0x1.715aeep-2,
                               0x1.277fep-2,   -0x1.eaa98ap-3, 0x1.a2b674p-3,
                               -0x1.8790fep-3, 0x1.7f6be2p-3,  -0x1.c67c9p-4};
// f32: Q of sin(x) = x + x^3 Q(x^2), degree 2, |x| <= pi/4, error 2^-27.9.
constexpr double kSinF32[] = {-0x1.555546p-3, 0x1.110778p-7, -0x1.9953f8p-13};
// f32: Q of cos(x) = 1 + x^2 Q(x^2), degree 3, |x| <= pi/4, error 2^-33.0.
constexpr double kCosF32[] = {-0.5, 0x1.55554ap-5, -0x1.6c0c2ap-10,
                              0x1.99e90ep-16};
// f32: Q of (e^2x - 1) / 2 = x + x^2 Q(x), degree 5, 2 x / log(2) in [-0.01,
// 0.99], error 2^-31.5.
constexpr double kTanhF32[] = {0x1.fffffep-1, 0x1.5555c6p-1, 0x1.5544f8p-2,
                               0x1.122668p-3, 0x1.59c44cp-5, 0x1.1a1878p-6};
// f32: Q of erf(x) = x + x Q(x^2), degree 5, |x| <= 0.875, error 2^-26.1.
constexpr double kErfSmallF32[] = {0x1.06eba6p-3, -0x1.8126f2p-2,
                                   0x1.ce1d8ep-4, -0x1.b6c4b8p-6,
                                   0x1.48c79ep-8, -0x1.414174p-11};
// f32: Q of erf(x) = 1 - 2^Q(x), degree 6, x in [0.875, 4], error 2^-29.0.
constexpr double kErfLargeF32[] = {
    -0x1.939884p-13, -0x1.a094b4p+0, -0x1.d654c4p-1, -0x1.344128p-3,
    0x1.08fbe6p-5,   -0x1.246472p-8, 0x1.3019bp-12};
// f64: Q of 2^x = 1 + x Q(x), degree 10, |x| <= 1/2, error 2^-57.8.
constexpr double kExp2F64[] = {
    0x1.62e42fefa39efp-1,  0x1.ebfbdff82c59cp-3,  0x1.c6b08d704a0d3p-5,
    0x1.3b2ab6fba11f1p-7,  0x1.5d87fe78b3f6cp-10, 0x1.4309130c025dap-13,
    0x1.ffcbfbf7907dfp-17, 0x1.62bfcddaa797bp-20, 0x1.b52610298148dp-24,
    0x1.e611a7cd2eea1p-28, 0x1.e80b2797dbdb8p-32};
// f64: Q of log2(1 + x) = x log2(e) + x^2 Q(x), degree 19, 1 + x in
// [sqrt(1/2), sqrt(2)], error 2^-56.8.
constexpr double kLog2F64[] = {
    -0x1.71547652b8303p-1, 0x1.ec709dc3a03aep-2,  -0x1.71547652b699bp-2,
    0x1.2776c50eff286p-2,  -0x1.ec709dc5f23cap-3, 0x1.a61762a4a6fd7p-3,
    -0x1.7154758ee2d57p-3, 0x1.484b13d247fe2p-3,  -0x1.2776e7c52878cp-3,
    0x1.0c9aa80d563b7p-3,  -0x1.ec698538384dp-4,  0x1.c6821f4c0448fp-4,
    -0x1.a6827af65e989p-4, 0x1.8b1701323ffbcp-4,  -0x1.6e0abbde2bc15p-4,
    0x1.4e688272337b4p-4,  -0x1.4f8ab63207672p-4, 0x1.81d770a40a817p-4,
    -0x1.62e4ef48f9f37p-4, 0x1.354ef393c86e7p-5};
// f64: Q of sin(x) = x + x^3 Q(x^2), degree 5, |x| <= pi/4, error 2^-57.9.
constexpr double kSinF64[] = {-0x1.5555555555548p-3,  0x1.111111110f756p-7,
                              -0x1.a01a019bf0f55p-13, 0x1.71de355ddc83cp-19,
                              -0x1.ae5e5377f2cdap-26, 0x1.5d8de8ed21471p-33};
// f64: Q of cos(x) = 1 + x^2 Q(x^2), degree 6, |x| <= pi/4, error 2^-63.9.
constexpr double kCosF64[] = {-0.5,
                              0x1.555555555554bp-5,
                              -0x1.6c16c16c15014p-10,
                              0x1.a01a019c8ef55p-16,
                              -0x1.27e4f7f15fe4dp-22,
                              0x1.1ee9dba47ee81p-29,
                              -0x1.8fa66a6648338p-37};
// f64: Q of (e^2x - 1) / 2 = x + x^2 Q(x), degree 10, 2 x / log(2) in [-0.01,
// 0.99], error 2^-61.4.
constexpr double kTanhF64[] = {0x1p+0,
                               0x1.555555555550dp-1,
                               0x1.5555555558a54p-2,
                               0x1.111111101e377p-3,
                               0x1.6c16c1b604708p-5,
                               0x1.a019f41869c7dp-7,
                               0x1.a01b95cac42dep-9,
                               0x1.71bf7552a51a8p-11,
                               0x1.2969dfe6358e4p-13,
                               0x1.9685053223769p-16,
                               0x1.8720627aab088p-18};
// f64: Q of erf(x) = x + x Q(x^2), degree 11, |x| <= 1, error 2^-56.0.
constexpr double kErfSmallF64[] = {
    0x1.06eba8214db68p-3,   -0x1.812746b0379a1p-2,  0x1.ce2f21a03fdbap-4,
    -0x1.b82ce311c4b1ep-6,  0x1.565bccf30096ep-8,   -0x1.c02daf68074c8p-11,
    0x1.f9a2a866c4d62p-14,  -0x1.f4c94ac9df132p-17, 0x1.b976914c585d7p-20,
    -0x1.5bd22532cb75cp-23, 0x1.d5c27850dfcedp-27,  -0x1.a7e311dfbb1f4p-31};
// f64: Q of erf(x) = 1 - 2^Q(x), degree 17, x in [1, 6], error 2^-57.0.
constexpr double kErfLargeF64[] = {
    -0x1.856596c798077p-21, -0x1.a0be08f86093cp+0,  -0x1.d64359e6df6cbp-1,
    -0x1.2f73a091231bp-3,   0x1.c0dfa34514d02p-6,   0x1.369204cfeba0fp-11,
    -0x1.6a4af91f372bap-9,  0x1.23715134337edp-10,  -0x1.988d4c1bf0f8p-13,
    -0x1.eabd89b13d39dp-16, 0x1.143dc738efcfap-15,  -0x1.a39d611bf8a7bp-17,
    0x1.9d9677e0fdff5p-19,  -0x1.212bc98046716p-21, 0x1.1faf9331c8797p-24,
    -0x1.8618f3d9aa7a3p-28, 0x1.446de0d3cae67p-32,  -0x1.f46e9b4476d48p-38};

// The bits of 1/pi below 2^22 and 2^51, see HugeArgument.
constexpr uint64_t kInversePiF32[] = {0x000000a2f9836e4e, 0x441529fc2757d1f5,
                                      0x34ddc0db6295993c, 0x439041fe5163abde};
constexpr uint64_t kInversePiF64[] = {
    0x0000000000000517, 0xcc1b727220a94fe1, 0x3abe8fa9a6ee06db,
    0x14acc9e21c820ff2, 0x8b1d5ef5de2b0db9, 0x2371d2126e970032,
    0x4977504e8c90e7f0, 0xef58e5894d39f744, 0x11afa975da24274c,
    0xe38135a2fbf209cc, 0x8eb1cc1a99cfa4e4, 0x22fc5defc941d8ff,
    0xc4bffef02cc07f79, 0x788c5ad05368fb69, 0xb3f6793e584dba7a,
    0x31fb34f2ff516ba9, 0x3dd63f5f2f8bd9e8, 0x39cfbc529497535f,
    0xdafd88fc6ae842b0};

// What the functions need to know of a float type. A value in several parts is
// their sum, the greatest first.
struct Format {
  DType real;
  DType whole;  // The signed and the unsigned integer of the same size.
  DType bits;
  int fraction_bits;
  int bias;
  uint64_t root_half;  // The bits of sqrt(1/2).
  absl::Span<const double> exp2, log2, sin, cos, tanh, erf_small, erf_large;
  double log2_e[2];
  double half_log_2[2];  // A multiple of the first by < 2^6 is exact.
  double two_over_pi;
  double half_pi[3];
  // Multiples of the first three by numbers of short_bits + 1 bits are exact.
  double half_pi_short[4];
  int short_bits;
  double half_pi_short_tail;  // All but the first.
  double fast_sine_limit;     // Less than such a multiple.
  absl::Span<const uint64_t> inverse_pi;
  double least_exp2, tanh_limit, erf_split, erf_limit;
};

constexpr Format kF32 = {
    .real = DType::kF32,
    .whole = DType::kI32,
    .bits = DType::kU32,
    .fraction_bits = 23,
    .bias = 127,
    .root_half = 0x3f3504f3,
    .exp2 = kExp2F32,
    .log2 = kLog2F32,
    .sin = kSinF32,
    .cos = kCosF32,
    .tanh = kTanhF32,
    .erf_small = kErfSmallF32,
    .erf_large = kErfLargeF32,
    .log2_e = {0x1.715476p+0, 0x1.4ae0cp-26},
    .half_log_2 = {0x1.62e4p-2, 0x1.7f7d1cp-21},
    .two_over_pi = 0x1.45f306p-1,
    .half_pi = {0x1.921fb6p+0, -0x1.777a5cp-25, -0x1.ee59dap-50},
    .half_pi_short = {0x1.922p+0, -0x1.2aep-18, -0x1.deap-31, 0x1.184698p-44},
    .short_bits = 11,
    .half_pi_short_tail = -0x1.2aeef4p-18,
    .fast_sine_limit = 0x1p12,
    .inverse_pi = kInversePiF32,
    .least_exp2 = -151,
    .tanh_limit = 10,
    .erf_split = 0.875,
    .erf_limit = 4,
};

constexpr Format kF64 = {
    .real = DType::kF64,
    .whole = DType::kI64,
    .bits = DType::kU64,
    .fraction_bits = 52,
    .bias = 1023,
    .root_half = 0x3fe6a09e667f3bcd,
    .exp2 = kExp2F64,
    .log2 = kLog2F64,
    .sin = kSinF64,
    .cos = kCosF64,
    .tanh = kTanhF64,
    .erf_small = kErfSmallF64,
    .erf_large = kErfLargeF64,
    .log2_e = {0x1.71547652b82fep+0, 0x1.777d0ffda0d24p-56},
    .half_log_2 = {0x1.62e42fefa3ap-2, -0x1.0ca86c3898dp-50},
    .two_over_pi = 0x1.45f306dc9c883p-1,
    .half_pi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54,
                -0x1.f1976b7ed8fbcp-110},
    .half_pi_short = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69,
                      0x1.b839a252049c1p-104},
    .short_bits = 19,
    .half_pi_short_tail = 0x1.0b4611a626331p-34,
    .fast_sine_limit = 0x1p20,
    .inverse_pi = kInversePiF64,
    .least_exp2 = -1076,
    .tanh_limit = 22,
    .erf_split = 1,
    .erf_limit = 6,
};

// One function under construction.
class Formula {
 public:
  Formula(ir::Arena& arena, ir::Id x, bool fused)
      : x_{&arena, x},
        format_(arena[x].dtype == DType::kF64 ? kF64 : kF32),
        fused_(fused) {}

  Expression Exp2() const;
  Expression Log2() const;
  Expression Sin() const;
  Expression Tanh() const;
  Expression Erf() const;

 private:
  // An argument less the nearest multiple of pi/2, and this multiple, of which
  // the low two bits count.
  struct Reduced {
    Expression rest;
    Expression quadrant;
  };

  Expression Real(double value) const { return x_.Real(value); }
  Expression Whole(uint64_t value) const { return Bits(x_).Whole(value); }
  Expression Signed(Expression v) const { return v.Bitcast(format_.whole); }
  Expression Bits(Expression v) const { return v.Bitcast(format_.bits); }
  Expression AsReal(Expression v) const { return v.Bitcast(format_.real); }

  Expression Fma(Expression a, Expression b, Expression c) const {
    if (!fused_) return a * b + c;
    return {a.arena,
            a.arena->Make(ir::Op::kFma, a.dtype(), {a.id, b.id, c.id})};
  }
  static Expression Negative(Expression v) {
    return {v.arena, v.arena->Make(ir::Op::kNeg, v.dtype(), {v.id})};
  }
  Expression Polynomial(absl::Span<const double> coefficients, Expression x,
                        double scale = 1) const {
    Expression y = Real(scale * coefficients.back());
    for (size_t i = coefficients.size() - 1; i-- > 0;) {
      y = Fma(y, x, Real(scale * coefficients[i]));
    }
    return y;
  }

  // Rounds by addition, and is there for its low bits; see the top.
  Expression Rounder(int added) const {
    return Real(std::ldexp(1.5, format_.fraction_bits) + added);
  }
  uint64_t BitsOfRounder() const {
    const int f = format_.fraction_bits;
    return (static_cast<uint64_t>(format_.bias + f) << f) |
           (uint64_t{1} << (f - 1));
  }
  // Low bits as the exponent of a float.
  Expression ToExponent(Expression v) const {
    return v << v.Whole(format_.fraction_bits);
  }
  uint64_t BitsOfOne() const {
    return static_cast<uint64_t>(format_.bias) << format_.fraction_bits;
  }
  uint64_t SignMask() const {
    return format_.real == DType::kF64 ? uint64_t{1} << 63 : 0x80000000;
  }
  Expression SignOf(Expression v) const { return Bits(v) & Whole(SignMask()); }
  Expression Magnitude(Expression v) const {
    return AsReal(Bits(v) & Whole(SignMask() - 1));
  }
  Expression WithSign(Expression v, Expression sign) const {
    return AsReal(Bits(v) | sign);
  }

  Reduced FastArgument(Expression a) const;
  Reduced HugeArgument(Expression a) const;
  std::vector<Expression> InversePiFrom(Expression place, size_t count) const;

  const Expression x_;
  const Format& format_;
  const bool fused_;
};

// 2^x = 2^n 2^r with n the nearest integer. The factor 2^n is split in two so
// that a result below the normal range is rounded once, by the last product,
// and half of it is kept with 2^r so that n may be as great as the bias + 1.
Expression Formula::Exp2() const {
  const double greatest = format_.bias + 1;
  Expression x =
      Where(x_ < Real(format_.least_exp2), Real(format_.least_exp2), x_);
  x = Where(Real(greatest) < x, Real(greatest), x);

  const Expression rounder = Rounder(format_.bias - 1);
  const Expression t = x + rounder;
  const Expression r = x - (t - rounder);
  const Expression twice = Fma(r, Polynomial(format_.exp2, r, 2), Real(2));

  const Expression scale = ToExponent(Signed(t));  // Bits of 2^(n-1), if any.
  const Expression least = scale.Whole(uint64_t{1} << format_.fraction_bits);
  const Expression normal = Binary(ir::Op::kMax, scale, least);
  const Expression rest = scale - normal + scale.Whole(BitsOfOne());
  return twice * AsReal(normal) * AsReal(rest);
}

// log2(x) = e + log2(1 + f) with 1 + f = x 2^-e between sqrt(1/2) and sqrt(2).
// The factor of f is kept in two parts, since f alone decides near x = 1.
Expression Formula::Log2() const {
  const int lift = format_.fraction_bits + 1;
  const Expression least = Real(std::ldexp(1, 1 - format_.bias));
  const Expression below_normal = x_ < least;
  const Expression lifted =
      Where(below_normal, x_ * Real(std::ldexp(1, lift)), x_);

  const Expression bits = Signed(lifted);
  const Expression places = bits.Whole(format_.fraction_bits);
  const Expression exponent = (bits - bits.Whole(format_.root_half)) >> places;
  const Expression f = AsReal(bits - (exponent << places)) - Real(1);
  const Expression e = AsReal(exponent + exponent.Whole(BitsOfRounder())) -
                       Where(below_normal, Rounder(lift), Rounder(0));

  const Expression low =
      Fma(f, Polynomial(format_.log2, f), Real(format_.log2_e[1]));
  const Expression y = Fma(f, Real(format_.log2_e[0]), f * low) + e;

  const Expression finite = Where(x_ < Real(kInfinity), y, x_);
  return Where(Real(0) < x_, finite,
               Where(x_ == Real(0), Real(-kInfinity), Real(kNaN)));
}

// a - n pi/2 for a below fast_sine_limit, where n pi/2 is subtracted in parts.
// The products are exact (by fused operations, or since the parts are short),
// and so are the differences that cancel: the rest has its full precision even
// where it is tiny.
Formula::Reduced Formula::FastArgument(Expression a) const {
  const Expression rounder = Rounder(0);
  const Expression t = Fma(a, Real(format_.two_over_pi), rounder);
  const Expression n = t - rounder;
  if (fused_) {
    Expression rest = a;
    for (double part : format_.half_pi) rest = Fma(n, Real(-part), rest);
    return {rest, Bits(t)};
  }
  const auto times_n = [&](int i) {
    return n * Real(format_.half_pi_short[i]);
  };
  const Expression exact = a - times_n(0);
  const Expression second = exact - times_n(1);
  const Expression lost = (exact - second) - times_n(1);
  const Expression third = second - times_n(2);
  const Expression more = (second - third) - times_n(2);
  return {third + ((lost + more) - times_n(3)), Bits(t)};
}

// `count` words of 1/pi from bit `place` (u64) of the table on, shifted so that
// this bit is the first. The words are chosen as a barrel shifter does.
std::vector<Expression> Formula::InversePiFrom(Expression place,
                                               size_t count) const {
  std::vector<Expression> words;
  for (uint64_t word : format_.inverse_pi) words.push_back(place.Whole(word));
  for (int step = 16; step > 0; step /= 2) {
    const size_t needed = count + step;  // With one for the shift at the end.
    if (words.size() < needed + 1) continue;
    const Expression skip = (place & place.Whole(64 * step)) != place.Whole(0);
    for (size_t i = 0; i + step < words.size(); ++i) {
      words[i] = Where(skip, words[i + step], words[i]);
    }
    words.resize(std::min(words.size() - step, needed));
  }
  const Expression left = place & place.Whole(63);
  const Expression right = place.Whole(64) - left;
  std::vector<Expression> out;
  for (size_t i = 0; i < count; ++i) {
    out.push_back((words[i] << left) | (words[i + 1] >> right));
  }
  return out;
}

// a - n pi/2 for a >= 2 of any size (Payne and Hanek, "Radian reduction for
// trigonometric functions", 1983). With a = m 2^k and integer m, the bits of
// 1/pi above 2^-k only add multiples of 2 to a / pi and are left out. What
// remains is a product of integers: its top two bits are the quadrant, the
// others the fraction of one, to 62 bits in f32 and 126 in f64. The least
// fraction of all arguments is above 2^-31 and 2^-62.
Formula::Reduced Formula::HugeArgument(Expression a) const {
  const bool is_f64 = format_.real == DType::kF64;
  const Expression bits = Bits(a).Cast(DType::kU64);
  const auto u64 = [&](uint64_t value) { return bits.Whole(value); };
  const Expression mantissa =
      (bits & u64((uint64_t{1} << format_.fraction_bits) - 1)) |
      u64(uint64_t{1} << format_.fraction_bits);
  // The exponent without its top bit, which is set.
  const Expression place =
      (bits >> u64(format_.fraction_bits)) & u64(format_.bias);
  const Expression low_half = u64(0xffffffff);
  const auto low = [&](Expression v) { return v & low_half; };
  const auto high = [&](Expression v) { return v >> u64(32); };

  // The product, as `first` (from the top bit on) and what follows it.
  Expression first;
  Expression second = u64(0);
  if (is_f64) {
    std::vector<Expression> f;
    for (Expression word : InversePiFrom(place, 3)) {
      f.push_back(high(word));
      f.push_back(low(word));
    }
    const Expression m0 = low(mantissa);
    const Expression m1 = high(mantissa);
    // Columns of 32 bits, from the last that matters to the first.
    const auto column = [&](int i, Expression carry) {
      Expression sum = low(f[i] * m0) + low(f[i + 1] * m1) + carry;
      sum = sum + high(f[i + 1] * m0);
      return sum + high(f[i + 2] * m1);
    };
    const Expression c3 = column(3, u64(0));
    const Expression c2 = column(2, high(c3));
    const Expression c1 = column(1, high(c2));
    const Expression c0 = column(0, high(c1));
    first = (c0 << u64(32)) | low(c1);
    second = (c2 << u64(32)) | low(c3);
  } else {
    const std::vector<Expression> f = InversePiFrom(place, 2);
    first = ((high(f[0]) * mantissa) << u64(32)) + low(f[0]) * mantissa +
            high(high(f[1]) * mantissa);
  }

  // A fraction of 1/2 and above goes to the next quadrant.
  const Expression quadrant = (first + u64(uint64_t{1} << 61)) >> u64(62);
  const Expression one = u64(1).Bitcast(DType::kI64);
  const Expression fraction = ((first << u64(2)).Bitcast(DType::kI64) >> one) |
                              (second >> u64(63)).Bitcast(DType::kI64);
  // As two floats. The first takes as many bits as it has, or as many as make
  // its product with the first part of pi/2 exact. It is rounded to nearest,
  // so that the second never cancels it.
  const double pi_head = fused_ ? format_.half_pi[0] : format_.half_pi_short[0];
  const double pi_tail =
      fused_ ? format_.half_pi[1] : format_.half_pi_short_tail;
  const int head_bits = fused_ ? format_.fraction_bits : format_.short_bits;
  const uint64_t unit = uint64_t{1} << (61 - head_bits);
  const Expression rounded =
      (fraction + fraction.Whole(unit / 2)) & fraction.Whole(~(unit - 1));
  const auto to_real = [&](Expression v, double scale) {
    return v.Cast(format_.real) * Real(scale);
  };
  const Expression head = to_real(rounded, 0x1p-63);
  Expression tail = to_real(fraction - rounded, 0x1p-63);
  if (is_f64) {
    const Expression more = second & u64((uint64_t{1} << 63) - 1);
    tail = tail + to_real(more.Bitcast(DType::kI64), 0x1p-126);
  }
  const Expression rest =
      Fma(head, Real(pi_head),
          Fma(head + tail, Real(pi_tail), tail * Real(pi_head)));
  return {rest, quadrant.Cast(format_.bits)};
}

// The sine of |x| is that of r = |x| - n pi/2, or its cosine, or the negative
// of one of them.
Expression Formula::Sin() const {
  const Expression a = Magnitude(x_);
  const Reduced fast = FastArgument(a);
  const Reduced huge = HugeArgument(a);
  const Expression is_fast = a < Real(format_.fast_sine_limit);
  const Expression r = Where(is_fast, fast.rest, huge.rest);
  const Expression quadrant = Where(is_fast, fast.quadrant, huge.quadrant);

  const Expression square = r * r;
  const Expression sine = Fma(square * Polynomial(format_.sin, square), r, r);
  const Expression cosine =
      Fma(square, Polynomial(format_.cos, square), Real(1));
  const Expression odd = (quadrant & quadrant.Whole(1)) != quadrant.Whole(0);
  const Expression y = Where(odd, cosine, sine);

  const int sign_place = format_.real == DType::kF64 ? 63 : 31;
  const Expression negative = (quadrant >> quadrant.Whole(1))
                              << quadrant.Whole(sign_place);
  const Expression with_sign = AsReal(Bits(y) ^ (negative ^ SignOf(x_)));
  return Where(a < Real(kInfinity), with_sign, Real(kNaN));
}

// tanh(x) = h / (h + 1) with h = (e^2x - 1) / 2, which is computed without
// cancellation: 2x = n log(2) + 2r, and h = 2^n (e^2r - 1) / 2 + (2^n - 1) / 2.
// As n is rounded down (nearly: for the least x it must be 0, not -1), both
// terms are positive.
// The quotient has three roundings, which are too many where it is small;
// there it is only a correction: h / (h + 1) = h - h (h / (h + 1)).
Expression Formula::Tanh() const {
  const Expression limit = Real(format_.tanh_limit);
  const Expression magnitude = Magnitude(x_);
  const Expression a = Where(limit < magnitude, limit, magnitude);

  const Expression rounder = Rounder(format_.bias);
  const Expression turns =
      Fma(a, Real(2 * format_.log2_e[0]), Real(-0.490234375));
  const Expression t = turns + rounder;
  const Expression n = t - rounder;
  Expression r = Fma(n, Real(-format_.half_log_2[0]), a);
  r = Fma(n, Real(-format_.half_log_2[1]), r);
  const Expression half = Fma(r * r, Polynomial(format_.tanh, r), r);

  const Expression scale = AsReal(ToExponent(Bits(t)));
  const Expression h = Fma(scale, half, Fma(scale, Real(0.5), Real(-0.5)));
  const Expression quotient = h / (h + Real(1));
  const Expression y =
      Where(h < Real(0.5), Fma(Negative(quotient), h, h), quotient);
  return WithSign(y, SignOf(x_));
}

// erf(x) is x + x Q(x^2) near 0 and 1 - 2^Q(x) elsewhere. As Q(0) is not small,
// the product must not be lost below the normal range when the sum is not: if
// it is a value of its own, it is lifted out of there.
Expression Formula::Erf() const {
  const double lift = fused_ ? 1 : 0x1p24;
  const Expression lifted = fused_ ? x_ : x_ * Real(lift);
  const Expression sum =
      Fma(lifted, Polynomial(format_.erf_small, x_ * x_), lifted);
  const Expression small = fused_ ? sum : sum * Real(1 / lift);

  const Expression magnitude = Magnitude(x_);
  const Expression limit = Real(format_.erf_limit);
  const Expression a = Where(limit < magnitude, limit, magnitude);
  const Expression q = Polynomial(format_.erf_large, a);
  const Expression rounder = Rounder(format_.bias);
  const Expression t = q + rounder;
  const Expression r = q - (t - rounder);
  const Expression power =  // -2^r
      Fma(r, Polynomial(format_.exp2, r, -1), Real(-1));
  const Expression large = Fma(power, AsReal(ToExponent(Bits(t))), Real(1));

  return Where(magnitude < Real(format_.erf_split), small,
               WithSign(large, SignOf(x_)));
}

}  // namespace

ir::Id Exp2(ir::Arena& arena, ir::Id x, bool fused) {
  return Formula(arena, x, fused).Exp2().id;
}
ir::Id Log2(ir::Arena& arena, ir::Id x, bool fused) {
  return Formula(arena, x, fused).Log2().id;
}
ir::Id Sin(ir::Arena& arena, ir::Id x, bool fused) {
  return Formula(arena, x, fused).Sin().id;
}
ir::Id Tanh(ir::Arena& arena, ir::Id x, bool fused) {
  return Formula(arena, x, fused).Tanh().id;
}
ir::Id Erf(ir::Arena& arena, ir::Id x, bool fused) {
  return Formula(arena, x, fused).Erf().id;
}

}  // namespace quern::kernel
