// SPDX-License-Identifier: Apache-2.0
//
// Asking for memory before it is needed (the operation kPrefetch), where
// otherwise it would be idle while values are computed, and these would wait
// for it afterwards. Each word returns the new body, or `body` where there is
// nothing to ask for.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/target.h"
#include "engine/ir/node.h"
#include "engine/kernel/pack.h"

namespace quern::kernel {

// While `data`, the ranges of the tiles that meet a panel, runs over one, each
// tile asks for its part of the next panel: otherwise the first tile would wait
// for all of it to come from memory. `load` reads the packed copy.
[[nodiscard]] ir::Id AskForNextPanel(ir::Arena& arena, ir::Id body, ir::Id load,
                                     const Panels& panels,
                                     const std::vector<ir::Id>& data);

// The same where the chunks copy panels themselves: `source` is what they copy.
// Read while it is copied, one short piece of a row after the other, it would
// come from memory piece by piece. `tile` is the number of a tile of `tiles`.
[[nodiscard]] ir::Id AskForNextCopy(ir::Arena& arena, ir::Id body,
                                    ir::Id source, const Panels& panels,
                                    ir::Id tile, int64_t tiles);

// What is read by several loops at each point of `row`, a range of the stores,
// comes from far away to the first of them, and from a cache to the others: the
// second one asks for the next row, if `target` has no cache for all rows.
[[nodiscard]] ir::Id AskForNextRow(ir::Arena& arena, ir::Id body, ir::Id row,
                                   const base::Target& target);

}  // namespace quern::kernel
