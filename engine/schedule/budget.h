// SPDX-License-Identifier: Apache-2.0
//
// What to do about a kernel that is more than its device takes: one of the
// values in it gets a buffer, so that it becomes two kernels.
#pragma once

#include <cstdint>

#include "engine/ir/node.h"
#include "engine/schedule/fuse.h"

namespace quern::schedule {

// What a kernel has too much of.
enum class Excess : uint8_t {
  kBuffers,     // It reads more than it can be given.
  kOperations,  // Its code would be too long.
};

// The value to raise to global memory in a kernel that computes `root`: the
// smallest one among those that take a quarter to three quarters of what there
// is too much of with them, or the one that comes nearest to half. kNoNode if
// there is none.
//
// In:    the tensor level that `placement` was made of.
// Order: after rangeify; the graph is fused again with the value in
//        FuseOptions::raised.
[[nodiscard]] ir::Id ValueToRaise(const ir::Arena& arena,
                                  const Placement& placement, ir::Id root,
                                  Excess excess);

}  // namespace quern::schedule
