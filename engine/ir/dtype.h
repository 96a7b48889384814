// SPDX-License-Identifier: Apache-2.0
//
// Element types and how they promote.
//
// Promotion is the lattice of JAX's type promotion ("JEP 9263"): bool, then
// the weak integer, the integers, the weak float, the floats. A weak operand
// takes the type of the strong one when that is of its kind or above.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quern::ir {

enum class DType : uint8_t {
#define QUERN_DTYPE(name, text, bytes, kind) name,
#include "engine/ir/dtypes.inc"
#undef QUERN_DTYPE
};

enum class DTypeKind : uint8_t { kBoolean, kSigned, kUnsigned, kFloat };

inline constexpr int kNumDTypes = static_cast<int>(DType::kWeakFloat) + 1;

[[nodiscard]] DTypeKind KindOf(DType dtype);

// The size of one element in memory; 0 for the weak types, which have none.
[[nodiscard]] int64_t ByteSize(DType dtype);

// The name in the text forms: "f32", "wint".
[[nodiscard]] const char* Name(DType dtype);

// The type called `name`; kInvalidArgument, naming the known ones, if none is.
[[nodiscard]] absl::StatusOr<DType> ParseDType(absl::string_view name);

[[nodiscard]] bool IsWeak(DType dtype);
[[nodiscard]] bool IsFloat(DType dtype);
[[nodiscard]] bool IsInteger(DType dtype);  // Signed or unsigned, not bool.

// The type in which an operation on `a` and `b` is done.
[[nodiscard]] DType Promote(DType a, DType b);

// The strong type that a value gets when nothing binds it: i64 for the weak
// integer, f32 for the weak float, itself otherwise.
[[nodiscard]] DType Strong(DType dtype);

// The type in which sums and products of `dtype` are accumulated: f32 for the
// 16-bit floats, the type itself otherwise.
[[nodiscard]] DType AccumulatorOf(DType dtype);

}  // namespace quern::ir
