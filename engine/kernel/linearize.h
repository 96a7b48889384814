// SPDX-License-Identifier: Apache-2.0
//
// Turns a scheduled kernel into the list of its instructions: places every
// value in the outermost loop where it is known, makes the copies of unrolled
// ranges and the lanes of vector ranges, gives reductions their accumulators
// and tiles their scratch.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/base/target.h"
#include "engine/ir/node.h"
#include "engine/kernel/linear.h"

namespace quern::kernel {

struct Linearized {
  Program program;
  ir::Id grid = ir::kNoNode;           // Chunks of a launch: a size.
  ir::Id scratch_bytes = ir::kNoNode;  // Of each thread: a size.
  // Constant arrays that are too large for the code: they are parameters,
  // behind those that were given.
  std::vector<Table> arrays;
};

// The instructions of `bodies`. `vars` are the variables in the order in which
// a launch gives them.
//
// In:    kernel level, strong dtypes, ranges with kinds. Out: linear level.
// Order: after decompose; before the exact budget and the renderer.
// Errors: kInternal if the body breaks a rule of its level.
[[nodiscard]] absl::StatusOr<Linearized> Linearize(
    ir::Arena& arena, const std::string& name, std::vector<Param> params,
    absl::Span<const ir::Id> bodies, absl::Span<const ir::Id> vars,
    const base::Target& target, bool contract);

}  // namespace quern::kernel
