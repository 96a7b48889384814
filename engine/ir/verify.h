// SPDX-License-Identifier: Apache-2.0
//
// The levels of the IR as predicates over its nodes. A pass that keeps its
// promise leaves nodes that its output level admits, and everything after it
// may rely on that without asking again.
//
// Inequalities of symbolic sizes are wrong only if they are wrong whatever the
// variables are; equalities must be provable, as in builder.h.
#pragma once

#include "absl/status/status.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::ir {

// Tensors, no loops: operands and shapes of each node that `roots` reach fit
// its operation. kInternal, naming the node and the rule, if one does not.
[[nodiscard]] absl::Status VerifyTensorLevel(const Arena& arena,
                                             absl::Span<const Id> roots);

// Scalars at ranges: no tensor operations, loads and stores go through
// parameters, constant arrays and stages, ranges have numbers of their own,
// none is used outside the sink, reduction or stage that runs it, and no extent
// depends on a range inside its own. `sink` is one body. kInternal, as above.
[[nodiscard]] absl::Status VerifyKernelLevel(const Arena& arena, Id sink);

}  // namespace quern::ir
