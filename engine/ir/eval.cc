// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/eval.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::ir {
namespace {

// The C++ type in which values of a dtype are computed.
template <DType D>
struct HeldType {
  using Type = double;
};
#define QUERN_HELD(dtype, type) \
  template <>                   \
  struct HeldType<dtype> {      \
    using Type = type;          \
  }
QUERN_HELD(DType::kBool, bool);
QUERN_HELD(DType::kI8, int8_t);
QUERN_HELD(DType::kI16, int16_t);
QUERN_HELD(DType::kI32, int32_t);
QUERN_HELD(DType::kI64, int64_t);
QUERN_HELD(DType::kU8, uint8_t);
QUERN_HELD(DType::kU16, uint16_t);
QUERN_HELD(DType::kU32, uint32_t);
QUERN_HELD(DType::kU64, uint64_t);
QUERN_HELD(DType::kWeakInt, int64_t);
#undef QUERN_HELD

template <typename T>
T Take(int64_t bits) {
  if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<double>(bits);
  } else {
    return static_cast<T>(bits);
  }
}

template <typename T>
int64_t Hold(T value) {
  if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<int64_t>(value);
  } else {
    return static_cast<int64_t>(value);
  }
}

// Calls visit.operator()<D>() for the D that `dtype` is.
template <typename Visitor>
auto Visit(DType dtype, Visitor visit) {
  switch (dtype) {
#define QUERN_DTYPE(name, text, bytes, kind) \
  case DType::name:                          \
    return visit.template operator()<DType::name>();
#include "engine/ir/dtypes.inc"
#undef QUERN_DTYPE
  }
  return visit.template operator()<DType::kWeakInt>();
}

// A function of one, two or three values applied to each element.
template <typename R, typename T, typename F>
BlockFunction Each1(F) {
  return [](const int64_t* x, const int64_t*, const int64_t*, int64_t* result,
            int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      result[i] = Hold<R>(F{}(Take<T>(x[i])));
    }
  };
}
template <typename R, typename T, typename F>
BlockFunction Each2(F) {
  return [](const int64_t* x, const int64_t* y, const int64_t*, int64_t* result,
            int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      result[i] = Hold<R>(F{}(Take<T>(x[i]), Take<T>(y[i])));
    }
  };
}
template <typename R, typename T, typename F>
BlockFunction Each3(F) {
  return [](const int64_t* x, const int64_t* y, const int64_t* z,
            int64_t* result, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      result[i] = Hold<R>(F{}(Take<T>(x[i]), Take<T>(y[i]), Take<T>(z[i])));
    }
  };
}

// --------------------------------------------------------- Floating formats.

// A binary format narrower than a double: an exponent field and `fraction`
// bits below it.
struct Format {
  int fraction;
  int exponent;
  [[nodiscard]] int bias() const { return (1 << (exponent - 1)) - 1; }
  [[nodiscard]] uint32_t infinity() const {
    return ((1u << exponent) - 1) << fraction;
  }
};
constexpr Format kHalf = {10, 5};
constexpr Format kBrain = {7, 8};

uint32_t Encode(Format format, double value) {
  const uint32_t sign =
      std::signbit(value) ? 1u << (format.exponent + format.fraction) : 0;
  if (std::isnan(value)) {
    return sign | format.infinity() | 1u << (format.fraction - 1);
  }
  const double magnitude = std::fabs(value);
  if (std::isinf(value)) return sign | format.infinity();
  if (magnitude == 0) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = [0.5, 1) * 2^exponent.
  const int least = 1 - format.bias();
  // The distance of neighbours at this magnitude is 2^quantum.
  const int quantum = std::max(exponent - 1, least) - format.fraction;
  // Scaling by a power of two is exact; nearbyint rounds ties to even.
  const double units = std::nearbyint(std::ldexp(magnitude, -quantum));
  // The hidden bit of `units` counts the exponent field up by one, and so does
  // a carry out of the fraction: one sum serves subnormal and normal numbers.
  const int64_t field = quantum - (least - format.fraction);
  const int64_t bits = (field << format.fraction) + static_cast<int64_t>(units);
  return sign |
         static_cast<uint32_t>(std::min<int64_t>(bits, format.infinity()));
}

double Decode(Format format, uint32_t bits) {
  const uint32_t fraction = bits & ((1u << format.fraction) - 1);
  const int field =
      static_cast<int>(bits >> format.fraction) & ((1 << format.exponent) - 1);
  double magnitude = 0;
  if (field == (1 << format.exponent) - 1) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else {
    const uint32_t hidden = field == 0 ? 0 : 1u << format.fraction;
    magnitude =
        std::ldexp(fraction + hidden,
                   std::max(field, 1) - format.bias() - format.fraction);
  }
  return (bits >> (format.exponent + format.fraction) & 1) != 0 ? -magnitude
                                                                : magnitude;
}

// An integer as a double from which any narrower format rounds correctly: what
// a double cannot hold is kept in its last bit ("round to odd").
template <typename T>
double OddDouble(T value) {
  const bool negative = value < 0;
  uint64_t magnitude = static_cast<uint64_t>(value);
  if (negative) magnitude = ~magnitude + 1;
  int shift = 0;
  bool sticky = false;
  while (magnitude >> 53 != 0) {
    sticky |= (magnitude & 1) != 0;
    magnitude >>= 1;
    ++shift;
  }
  if (sticky) magnitude |= 1;
  const double result = std::ldexp(static_cast<double>(magnitude), shift);
  return negative ? -result : result;
}

BlockFunction RounderOf(DType dtype) {
  const auto each = [](auto f) { return Each1<double, double>(f); };
  switch (dtype) {
    case DType::kF16:
      return each([](double v) { return RoundTo(DType::kF16, v); });
    case DType::kBF16:
      return each([](double v) { return RoundTo(DType::kBF16, v); });
    case DType::kF32:
      return each([](double v) { return RoundTo(DType::kF32, v); });
    default:
      return nullptr;
  }
}

// ------------------------------------------------------- Operations by type.

double Greater(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return a + b;
  if (a == b) return std::signbit(a) ? b : a;  // +0 above -0.
  return a > b ? a : b;
}
double Lesser(double a, double b) { return -Greater(-a, -b); }

// Operations that floats and integers share.
template <typename T>
BlockFunction Compared(Op op) {
  switch (op) {
    case Op::kCmpLt:
      return Each2<bool, T>([](T a, T b) { return a < b; });
    case Op::kCmpEq:
      return Each2<bool, T>([](T a, T b) { return a == b; });
    case Op::kCmpNe:
      return Each2<bool, T>([](T a, T b) { return a != b; });
    default:
      return nullptr;
  }
}

BlockFunction FloatFunction(Op op) {
  using T = double;
  const auto one = [](auto f) { return Each1<T, T>(f); };
  const auto two = [](auto f) { return Each2<T, T>(f); };
  switch (op) {
    case Op::kAdd:
      return two([](T a, T b) { return a + b; });
    case Op::kSub:
      return two([](T a, T b) { return a - b; });
    case Op::kMul:
      return two([](T a, T b) { return a * b; });
    case Op::kDiv:
      return two([](T a, T b) { return a / b; });
    case Op::kMax:
      return two([](T a, T b) { return Greater(a, b); });
    case Op::kMin:
      return two([](T a, T b) { return Lesser(a, b); });
    case Op::kNeg:
      return one([](T a) { return -a; });
    case Op::kSqrt:
      return one([](T a) { return std::sqrt(a); });
    case Op::kExp2:
      return one([](T a) { return std::exp2(a); });
    case Op::kLog2:
      return one([](T a) { return std::log2(a); });
    case Op::kSin:
      return one([](T a) { return std::sin(a); });
    case Op::kTanh:
      return one([](T a) { return std::tanh(a); });
    case Op::kErf:
      return one([](T a) { return std::erf(a); });
    case Op::kTrunc:
      return one([](T a) { return std::trunc(a); });
    case Op::kFma:
      return Each3<T, T>([](T a, T b, T c) { return std::fma(a, b, c); });
    default:
      return Compared<T>(op);
  }
}

BlockFunction BoolFunction(Op op) {
  using T = bool;
  const auto two = [](auto f) { return Each2<T, T>(f); };
  switch (op) {
    case Op::kMax:
    case Op::kOr:
      return two([](T a, T b) { return a || b; });
    case Op::kMin:
    case Op::kAnd:
      return two([](T a, T b) { return a && b; });
    case Op::kXor:
      return two([](T a, T b) { return a != b; });
    default:
      return Compared<T>(op);
  }
}

// Wraps: computes as unsigned 64 bits and keeps the low ones.
template <typename T>
BlockFunction IntegerFunction(Op op) {
  using U = uint64_t;
  constexpr int kWidth =
      std::numeric_limits<T>::digits + std::numeric_limits<T>::is_signed;
  const auto two = [](auto f) { return Each2<T, T>(f); };
  switch (op) {
    case Op::kAdd:
      return two([](T a, T b) { return static_cast<T>(U(a) + U(b)); });
    case Op::kSub:
      return two([](T a, T b) { return static_cast<T>(U(a) - U(b)); });
    case Op::kMul:
      return two([](T a, T b) { return static_cast<T>(U(a) * U(b)); });
    case Op::kIDiv:
      return two([](T a, T b) -> T {
        if (b == 0) return 0;
        // The least value over -1 leaves the type; negation wraps.
        if (std::is_signed_v<T> && b == static_cast<T>(-1)) {
          return static_cast<T>(-U(a));
        }
        return static_cast<T>(a / b);
      });
    case Op::kMod:
      return two([](T a, T b) -> T {
        if (b == 0) return 0;
        if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
        return static_cast<T>(a % b);
      });
    case Op::kMax:
      return two([](T a, T b) { return a > b ? a : b; });
    case Op::kMin:
      return two([](T a, T b) { return a < b ? a : b; });
    case Op::kAnd:
      return two([](T a, T b) { return static_cast<T>(a & b); });
    case Op::kOr:
      return two([](T a, T b) { return static_cast<T>(a | b); });
    case Op::kXor:
      return two([](T a, T b) { return static_cast<T>(a ^ b); });
    case Op::kShl:
      return two([](T a, T b) -> T {
        if (b < 0 || U(b) >= U(kWidth)) return 0;
        return static_cast<T>(U(a) << b);
      });
    case Op::kShr:
      return two([](T a, T b) -> T {
        if (b < 0 || U(b) >= U(kWidth)) return a < 0 ? static_cast<T>(-1) : 0;
        return static_cast<T>(a >> b);
      });
    case Op::kNeg:
      return Each1<T, T>([](T a) { return static_cast<T>(-U(a)); });
    default:
      return Compared<T>(op);
  }
}

template <typename To, typename From>
To Converted(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_same_v<From, double> &&
                       !std::is_same_v<To, double>) {
    // Saturates. The limit above the greatest value is a power of two, hence
    // exact; NaN fails all comparisons.
    const double above = std::ldexp(1, std::numeric_limits<To>::digits);
    const double least = std::is_signed_v<To> ? -above : 0;
    if (value >= above) return std::numeric_limits<To>::max();
    if (value <= least) return std::numeric_limits<To>::min();
    return value > least ? static_cast<To>(value) : To{0};
  } else {
    return static_cast<To>(value);
  }
}

BlockFunction CastFunction(DType from, DType to) {
  return Visit(from, [&]<DType F>() {
    return Visit(to, []<DType T>() -> BlockFunction {
      using From = typename HeldType<F>::Type;
      using To = typename HeldType<T>::Type;
      constexpr bool kNarrow =
          T == DType::kF16 || T == DType::kBF16 || T == DType::kF32;
      if constexpr (kNarrow && std::is_integral_v<From> && sizeof(From) == 8) {
        return Each1<To, From>([](From v) { return OddDouble(v); });
      } else {
        return Each1<To, From>([](From v) { return Converted<To>(v); });
      }
    });
  });
}

BlockFunction BitcastFunction(DType from, DType to) {
  return Visit(from, [&]<DType F>() {
    return Visit(to, []<DType T>() -> BlockFunction {
      return [](const int64_t* x, const int64_t*, const int64_t*,
                int64_t* result, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          char element[8];
          WriteElement(F, x[i], element);
          result[i] = ReadElement(T, element);
        }
      };
    });
  });
}

BlockFunction SelectFunction() {
  return [](const int64_t* condition, const int64_t* x, const int64_t* y,
            int64_t* result, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      result[i] = condition[i] != 0 ? x[i] : y[i];
    }
  };
}

BlockFunction FunctionOf(Op op, DType operand, DType result) {
  const bool converts = op == Op::kCast || op == Op::kBitcast;
  const bool compares = (InfoOf(op).traits & kComparison) != 0;
  if (compares ? result != DType::kBool : !converts && operand != result) {
    return nullptr;
  }
  if (op == Op::kWhere) return SelectFunction();
  if (op == Op::kCast) return CastFunction(operand, result);
  if (op == Op::kBitcast) {
    if (IsWeak(operand) || IsWeak(result) ||
        ByteSize(operand) != ByteSize(result)) {
      return nullptr;
    }
    return BitcastFunction(operand, result);
  }
  return Visit(operand, [&]<DType D>() {
    using T = typename HeldType<D>::Type;
    if constexpr (std::is_same_v<T, double>) return FloatFunction(op);
    if constexpr (std::is_same_v<T, bool>) return BoolFunction(op);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      return IntegerFunction<T>(op);
    }
  });
}

template <typename T, typename F>
FoldFunction Folder(F) {
  return [](int64_t accumulator, const int64_t* values, int64_t count) {
    T total = Take<T>(accumulator);
    for (int64_t i = 0; i < count; ++i) {
      total = F{}(total, Take<T>(values[i]));
    }
    return Hold<T>(total);
  };
}

}  // namespace

Scalar Scalar::OfInt(DType dtype, int64_t value) {
  const Scalar wide = {DType::kI64, value};
  Scalar result = {dtype, 0};
  CastFunction(wide.dtype, dtype)(&wide.bits, nullptr, nullptr, &result.bits,
                                  1);
  return result;
}

Scalar Scalar::OfFloat(DType dtype, double value) {
  const Scalar wide = {DType::kF64, std::bit_cast<int64_t>(value)};
  Scalar result = {dtype, 0};
  CastFunction(wide.dtype, dtype)(&wide.bits, nullptr, nullptr, &result.bits,
                                  1);
  return result;
}

double Scalar::AsDouble() const {
  if (IsFloat(dtype)) return std::bit_cast<double>(bits);
  if (dtype == DType::kU64) {
    return static_cast<double>(static_cast<uint64_t>(bits));
  }
  return static_cast<double>(bits);
}

absl::StatusOr<Evaluator> EvaluatorOf(Op op, DType operand, DType result,
                                      Rounding rounding) {
  Evaluator evaluator;
  if (IsElementwise(op)) evaluator.apply = FunctionOf(op, operand, result);
  if (evaluator.apply == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Name(op), "' of ", Name(operand), " giving ",
                     Name(result), " has no meaning"));
  }
  if (rounding == Rounding::kAll ||
      (rounding == Rounding::kCasts && op == Op::kCast)) {
    evaluator.round = RounderOf(result);
  }
  return evaluator;
}

absl::StatusOr<Scalar> Evaluate(Op op, DType result,
                                absl::Span<const Scalar> operands,
                                Rounding rounding) {
  const size_t arity = IsElementwise(op) ? InfoOf(op).arity : 0;
  if (operands.size() != arity || arity == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", Name(op), "' of ", operands.size(),
                     " values has no meaning, it takes ", arity));
  }
  const size_t first = op == Op::kWhere ? 1 : 0;
  for (size_t i = first; i < arity; ++i) {
    if (operands[i].dtype != operands[first].dtype) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", Name(op), "' of ", Name(operands[first].dtype),
                       " and ", Name(operands[i].dtype), " has no meaning"));
    }
  }
  QUERN_ASSIGN_OR_RETURN(
      const Evaluator evaluator,
      EvaluatorOf(op, operands[first].dtype, result, rounding));
  const auto at = [&](size_t i) {
    return i < arity ? &operands[i].bits : nullptr;
  };
  Scalar value = {result, 0};
  evaluator.Run(at(0), at(1), at(2), &value.bits, 1);
  return value;
}

Scalar IdentityOf(Op op, DType dtype) {
  if (op == Op::kAdd || op == Op::kMul) {
    return Scalar::OfInt(dtype, op == Op::kMul ? 1 : 0);
  }
  // The least value for a maximum and the greatest for a minimum: casts
  // saturate. A bool does not, so it is given its own.
  const double infinity = std::numeric_limits<double>::infinity();
  if (dtype == DType::kBool) return {dtype, op == Op::kMin ? 1 : 0};
  return Scalar::OfFloat(dtype, op == Op::kMin ? infinity : -infinity);
}

absl::StatusOr<FoldFunction> FoldOf(Op op, DType dtype) {
  const FoldFunction fold = Visit(dtype, [&]<DType D>() -> FoldFunction {
    using T = typename HeldType<D>::Type;
    constexpr bool kReal = std::is_same_v<T, double>;
    constexpr bool kLogical = std::is_same_v<T, bool>;
    if (op == Op::kMax) {
      if constexpr (kReal) {
        return Folder<T>([](T a, T b) { return Greater(a, b); });
      } else {
        return Folder<T>([](T a, T b) { return a > b ? a : b; });
      }
    }
    if (op == Op::kMin) {
      if constexpr (kReal) {
        return Folder<T>([](T a, T b) { return Lesser(a, b); });
      } else {
        return Folder<T>([](T a, T b) { return a < b ? a : b; });
      }
    }
    if constexpr (kReal) {
      if (op == Op::kAdd) return Folder<T>([](T a, T b) { return a + b; });
      if (op == Op::kMul) return Folder<T>([](T a, T b) { return a * b; });
    } else if constexpr (!kLogical) {
      using U = uint64_t;
      if (op == Op::kAdd) {
        return Folder<T>([](T a, T b) { return static_cast<T>(U(a) + U(b)); });
      }
      if (op == Op::kMul) {
        return Folder<T>([](T a, T b) { return static_cast<T>(U(a) * U(b)); });
      }
    }
    return nullptr;
  });
  if (fold == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a reduction by '", Name(op), "' of ", Name(dtype), " has no meaning"));
  }
  return fold;
}

double RoundTo(DType dtype, double value) {
  switch (dtype) {
    case DType::kF16:
      return Decode(kHalf, Encode(kHalf, value));
    case DType::kBF16:
      return Decode(kBrain, Encode(kBrain, value));
    case DType::kF32:
      return static_cast<float>(value);
    default:
      return value;
  }
}

int64_t ReadElement(DType dtype, const void* element) {
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16: {
      uint16_t bits = 0;
      std::memcpy(&bits, element, sizeof(bits));
      return Hold(Decode(dtype == DType::kF16 ? kHalf : kBrain, bits));
    }
    case DType::kF32: {
      float value = 0;
      std::memcpy(&value, element, sizeof(value));
      return Hold(static_cast<double>(value));
    }
    default:
      return Visit(dtype, [&]<DType D>() {
        using T = typename HeldType<D>::Type;
        if constexpr (D == DType::kBool) {
          return int64_t{*static_cast<const unsigned char*>(element) != 0};
        } else {
          T value{};
          std::memcpy(&value, element, sizeof(value));
          return Hold(value);
        }
      });
  }
}

void WriteElement(DType dtype, int64_t bits, void* element) {
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16: {
      const auto encoded = static_cast<uint16_t>(Encode(
          dtype == DType::kF16 ? kHalf : kBrain, std::bit_cast<double>(bits)));
      std::memcpy(element, &encoded, sizeof(encoded));
      return;
    }
    case DType::kF32: {
      const auto value = static_cast<float>(std::bit_cast<double>(bits));
      std::memcpy(element, &value, sizeof(value));
      return;
    }
    default:
      Visit(dtype, [&]<DType D>() {
        const auto value = Take<typename HeldType<D>::Type>(bits);
        std::memcpy(element, &value, sizeof(value));
      });
  }
}

void ReadElements(DType dtype, const void* elements, int64_t* bits,
                  int64_t count) {
  const auto* bytes = static_cast<const char*>(elements);
  const int64_t size = ByteSize(dtype);
  for (int64_t i = 0; i < count; ++i) {
    bits[i] = ReadElement(dtype, bytes + i * size);
  }
}

void WriteElements(DType dtype, const int64_t* bits, void* elements,
                   int64_t count) {
  auto* bytes = static_cast<char*>(elements);
  const int64_t size = ByteSize(dtype);
  for (int64_t i = 0; i < count; ++i) {
    WriteElement(dtype, bits[i], bytes + i * size);
  }
}

}  // namespace quern::ir
