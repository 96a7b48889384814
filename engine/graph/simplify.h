// SPDX-License-Identifier: Apache-2.0
//
// Tidies a graph before it is scheduled: movement operations that undo or
// contain each other, arithmetic that changes nothing, constants that can be
// computed now.
//
// Only what is exact for every value is done, NaN, infinities and negative
// zero included: x*0 stays, and nothing is reassociated. Constants are folded
// in double or int64, constant with constant only, and rounded once.
//
// In:    any tensor-level graph.  Out: an equal one, of the same shapes.
// Order: before rangeify, which it spares indices that cancel; again after any
//        pass that makes tensor-level nodes.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"
#include "engine/ir/rewrite.h"

namespace quern::graph {

// What `roots` become. kInternal if the rules run in a circle.
[[nodiscard]] absl::StatusOr<std::vector<ir::Id>> Simplify(
    ir::Arena& arena, absl::Span<const ir::Id> roots,
    const ir::RewriteOptions& options = {});

// The table: a rule a line, its algebra the name.
[[nodiscard]] absl::Span<const ir::Rule> SimplifyRules();

}  // namespace quern::graph
