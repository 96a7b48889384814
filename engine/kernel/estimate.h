// SPDX-License-Identifier: Apache-2.0
//
// What a kernel costs: counted exactly on its instructions for the budget, and
// estimated from its body for reports and for the choice of threads.
#pragma once

#include <cstdint>

#include "engine/ir/node.h"
#include "engine/kernel/linear.h"

namespace quern::kernel {

struct ProgramCost {
  int64_t operations = 0;    // Instructions, unrolled copies included.
  int64_t live_vectors = 0;  // Vector values alive at the worst moment.
};

// Counts `program`. One backward walk.
[[nodiscard]] ProgramCost Measure(const Program& program);

// Arithmetic operations of one launch of `body`, as a size: elementwise
// operations on values (not on indices) at each point of their ranges, a
// reduction as one operation a point.
[[nodiscard]] ir::Id Operations(ir::Arena& arena, ir::Id body);

}  // namespace quern::kernel
