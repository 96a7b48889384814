// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/dtype.h"

#include <algorithm>
#include <array>
#include <string>

#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"

namespace quern::ir {
namespace {

struct Row {
  const char* text;
  int64_t bytes;
  DTypeKind kind;
};

constexpr std::array<Row, kNumDTypes> kRows = {{
#define QUERN_DTYPE(name, text, bytes, kind) {text, bytes, DTypeKind::kind},
#include "engine/ir/dtypes.inc"
#undef QUERN_DTYPE
}};

const Row& RowOf(DType dtype) { return kRows[static_cast<int>(dtype)]; }

// The place of a kind in the lattice; weak types stand below their kind.
int Rank(DType dtype) {
  if (dtype == DType::kBool) return 0;
  if (dtype == DType::kWeakInt) return 1;
  if (dtype == DType::kWeakFloat) return 3;
  return IsFloat(dtype) ? 4 : 2;
}

}  // namespace

DTypeKind KindOf(DType dtype) { return RowOf(dtype).kind; }
int64_t ByteSize(DType dtype) { return RowOf(dtype).bytes; }
const char* Name(DType dtype) { return RowOf(dtype).text; }

absl::StatusOr<DType> ParseDType(absl::string_view name) {
  std::string known;
  for (int i = 0; i < kNumDTypes; ++i) {
    if (name == kRows[i].text) return static_cast<DType>(i);
    absl::StrAppend(&known, i == 0 ? "" : " ", kRows[i].text);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown dtype ", base::Quoted(name), ", expected one of: ", known));
}

bool IsWeak(DType dtype) {
  return dtype == DType::kWeakInt || dtype == DType::kWeakFloat;
}
bool IsFloat(DType dtype) { return KindOf(dtype) == DTypeKind::kFloat; }
bool IsInteger(DType dtype) {
  return KindOf(dtype) == DTypeKind::kSigned ||
         KindOf(dtype) == DTypeKind::kUnsigned;
}

DType Promote(DType a, DType b) {
  if (a == b) return a;
  if (Rank(a) != Rank(b)) return Rank(a) > Rank(b) ? a : b;
  if (IsFloat(a)) {
    // Neither 16-bit format holds the other.
    const bool halves = ByteSize(a) == 2 && ByteSize(b) == 2;
    if (halves) return DType::kF32;
    return ByteSize(a) > ByteSize(b) ? a : b;
  }
  if (KindOf(a) == KindOf(b)) return ByteSize(a) > ByteSize(b) ? a : b;
  const DType s = KindOf(a) == DTypeKind::kSigned ? a : b;
  const DType u = KindOf(a) == DTypeKind::kSigned ? b : a;
  if (ByteSize(s) > ByteSize(u)) return s;
  switch (ByteSize(u)) {
    case 1:
      return DType::kI16;
    case 2:
      return DType::kI32;
    case 4:
      return DType::kI64;
    default:
      return DType::kF32;  // u64 with a signed type, as in JAX.
  }
}

DType Strong(DType dtype) {
  if (dtype == DType::kWeakInt) return DType::kI64;
  if (dtype == DType::kWeakFloat) return DType::kF32;
  return dtype;
}

DType AccumulatorOf(DType dtype) {
  return IsFloat(dtype) && ByteSize(dtype) == 2 ? DType::kF32 : dtype;
}

}  // namespace quern::ir
