// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/op.h"

#include <array>

#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"

namespace quern::ir {
namespace {

constexpr std::array<OpInfo, kNumOps> kInfos = {{
#define QUERN_OP(name, text, arity, op_class, traits, meaning) \
  {text, arity, OpClass::op_class, traits, meaning},
#include "engine/ir/ops.inc"
#undef QUERN_OP
}};

}  // namespace

const OpInfo& InfoOf(Op op) { return kInfos[static_cast<int>(op)]; }
const char* Name(Op op) { return InfoOf(op).text; }
bool IsElementwise(Op op) {
  return InfoOf(op).op_class == OpClass::kElementwise;
}
bool IsMovement(Op op) { return InfoOf(op).op_class == OpClass::kMovement; }

absl::StatusOr<Op> ParseOp(absl::string_view name) {
  for (int i = 0; i < kNumOps; ++i) {
    if (name == kInfos[i].text) return static_cast<Op>(i);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown op ", base::Quoted(name)));
}

}  // namespace quern::ir
