// SPDX-License-Identifier: Apache-2.0
//
// What each elementwise operation means for one element: the only place that
// says it. Constant folding, the interpreters and the oracle all ask here.
//
// Values are held wide: a float of any dtype as a double, everything else as
// an int64. A held value is 64 bits, as in Attr of kConst: the bits of the
// double, or the integer (unsigned ones zero-extended, bool 0 or 1). Floats
// are computed in double and rounded to their dtype only when asked; integers
// are exact and wrap to the width of their dtype.
//
// Everything here is a pure function; any thread may call it.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/dtype.h"
#include "engine/ir/op.h"

namespace quern::ir {

// One held value with its dtype.
struct Scalar {
  DType dtype = DType::kWeakInt;
  int64_t bits = 0;

  // The value converted to `dtype`: integers wrap, floats are not rounded.
  static Scalar OfInt(DType dtype, int64_t value);
  static Scalar OfFloat(DType dtype, double value);
  [[nodiscard]] double AsDouble() const;
  friend bool operator==(const Scalar&, const Scalar&) = default;
};

// Which float results are rounded to their dtype.
enum class Rounding : uint8_t {
  kNone,
  kCasts,  // Those of kCast.
  kAll,    // Those of every operation.
};

// One operation over `count` held values each. `result` may be an operand.
// Operands that the operation lacks are not read.
using BlockFunction = void (*)(const int64_t* x, const int64_t* y,
                               const int64_t* z, int64_t* result,
                               int64_t count);

// An operation made ready to run many times.
struct Evaluator {
  BlockFunction apply = nullptr;
  BlockFunction round = nullptr;  // Null: the result stays as it is.

  void Run(const int64_t* x, const int64_t* y, const int64_t* z,
           int64_t* result, int64_t count) const {
    apply(x, y, z, result, count);
    if (round != nullptr) round(result, nullptr, nullptr, result, count);
  }
};

// The elementwise `op` on operands of `operand` giving `result`. `operand` is
// the dtype of the values compared for comparisons, of the source for kCast
// and kBitcast, and equal to `result` for all others (kWhere included).
// kInvalidArgument if the operation is not defined for them.
[[nodiscard]] absl::StatusOr<Evaluator> EvaluatorOf(Op op, DType operand,
                                                    DType result,
                                                    Rounding rounding);

// One value. The operands' dtypes are checked as above.
[[nodiscard]] absl::StatusOr<Scalar> Evaluate(
    Op op, DType result, absl::Span<const Scalar> operands,
    Rounding rounding = Rounding::kNone);

// Reductions by kAdd, kMul, kMax and kMin: the value of an empty one, and a
// held value combined with `count` more, from the first to the last.
[[nodiscard]] Scalar IdentityOf(Op op, DType dtype);
using FoldFunction = int64_t (*)(int64_t accumulator, const int64_t* values,
                                 int64_t count);
[[nodiscard]] absl::StatusOr<FoldFunction> FoldOf(Op op, DType dtype);

// The nearest value that `dtype` has, ties to even; what is too great becomes
// infinite, a NaN stays one. Weak floats and doubles are not rounded. For
// float dtypes.
[[nodiscard]] double RoundTo(DType dtype, double value);

// Held values as elements in memory and back. For strong dtypes; floats are
// rounded when written. No alignment is needed.
[[nodiscard]] int64_t ReadElement(DType dtype, const void* element);
void WriteElement(DType dtype, int64_t bits, void* element);

// `count` elements that lie side by side.
void ReadElements(DType dtype, const void* elements, int64_t* bits,
                  int64_t count);
void WriteElements(DType dtype, const int64_t* bits, void* elements,
                   int64_t count);

}  // namespace quern::ir
