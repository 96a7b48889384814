// SPDX-License-Identifier: Apache-2.0
//
// Movement operations as functions of indices: where an element of the result
// is found in the operand. This is how movement disappears.
#pragma once

#include <vector>

#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::schedule {

struct ViewIndex {
  std::vector<ir::Id> index;   // Into the operand.
  ir::Id valid = ir::kNoNode;  // Bool; kNoNode: everywhere. Where false the
                               // element is 0 (padding).
};

// The place in the operand of the movement node `id` (but not kConcat) of the
// element at `index` of its result.
[[nodiscard]] ViewIndex ThroughView(ir::Arena& arena, ir::Id id,
                                    absl::Span<const ir::Id> index);

// The row-major position of `index` in a tensor of dimensions `dims`.
[[nodiscard]] ir::Id LinearIndex(ir::Arena& arena,
                                 absl::Span<const ir::Id> dims,
                                 absl::Span<const ir::Id> index);

// The index in a tensor of dimensions `dims` of a row-major position.
[[nodiscard]] std::vector<ir::Id> IndexOf(ir::Arena& arena,
                                          absl::Span<const ir::Id> dims,
                                          ir::Id position);

}  // namespace quern::schedule
