// SPDX-License-Identifier: Apache-2.0
//
// The operations of all levels, as an enum with its table of properties. Both
// come from ops.inc; a new row there is a new operation everywhere.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quern::ir {

enum class Op : uint8_t {
#define QUERN_OP(name, text, arity, op_class, traits, meaning) name,
#include "engine/ir/ops.inc"
#undef QUERN_OP
};

inline constexpr int kNumOps = static_cast<int>(Op::kReduceLanes) + 1;

enum class OpClass : uint8_t {
  kSource,
  kMovement,
  kElementwise,
  kReduction,
  kIndexed,
  kPlace,
  kLoopStructure,
  kLinear,
};

// Bits of OpInfo::traits.
enum OpTrait : uint8_t {
  kNone = 0,
  kCommutative = 1,
  kAssociative = 2,
  kComparison = 4,
  kFloatOnly = 8,
  kIntegerOnly = 16,
};

struct OpInfo {
  const char* text;     // The name in the text forms: "add".
  int arity;            // Number of operands; -1 is variable.
  OpClass op_class;     // Decides the rule for shape and dtype.
  uint8_t traits;       // OpTrait bits.
  const char* meaning;  // One line for the documentation.
};

[[nodiscard]] const OpInfo& InfoOf(Op op);
[[nodiscard]] const char* Name(Op op);
[[nodiscard]] bool IsElementwise(Op op);
[[nodiscard]] bool IsMovement(Op op);

// The operation called `name`; kInvalidArgument if there is none.
[[nodiscard]] absl::StatusOr<Op> ParseOp(absl::string_view name);

}  // namespace quern::ir
