// SPDX-License-Identifier: Apache-2.0
//
// A size as a function of the free sizes of a model, in a form that outlives
// the arena of the compile: a few instructions for a stack.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::runtime {

class SizeExpr {
 public:
  // 0.
  SizeExpr() : SizeExpr(0) {}
  explicit SizeExpr(int64_t value) : steps_({{Kind::kConst, value}}) {}

  // The size `id` over `vars`. kInternal if it has other leaves,
  // kResourceExhausted if it has too many parts.
  [[nodiscard]] static absl::StatusOr<SizeExpr> Of(
      const ir::Arena& arena, ir::Id id, absl::Span<const ir::Id> vars);

  // Its value; kInvalidArgument if it leaves int64 on the way. Allocates
  // nothing.
  [[nodiscard]] absl::StatusOr<int64_t> Evaluate(
      absl::Span<const int64_t> vars) const;

  [[nodiscard]] bool is_constant() const {
    return steps_.size() == 1 && steps_[0].kind == Kind::kConst;
  }

 private:
  enum class Kind : uint8_t {
    kConst,
    kVar,
    kAdd,
    kMul,
    kDiv,
    kMod,
    kMin,
    kMax
  };
  struct Step {
    Kind kind = Kind::kConst;
    int64_t value = 0;  // Of a constant, or the number of a variable.
  };
  static constexpr int kMaxDepth = 32;
  static constexpr int kMaxSteps = 1000;

  std::vector<Step> steps_;  // Postfix.
};

}  // namespace quern::runtime
