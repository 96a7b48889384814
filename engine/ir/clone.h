// SPDX-License-Identifier: Apache-2.0
//
// Copies nodes from one arena into another.
#pragma once

#include <vector>

#include "absl/types/span.h"

#include "engine/ir/node.h"
#include "engine/ir/symbolic.h"

namespace quern::ir {

// The nodes of `into` that equal the `roots` of `from`, with the variables of
// `from` that are keys of `sizes` replaced by constants of `into`'s making.
[[nodiscard]] std::vector<Id> Clone(
    Arena& into, const Arena& from, absl::Span<const Id> roots,
    const absl::flat_hash_map<Id, int64_t>& sizes = {});

}  // namespace quern::ir
