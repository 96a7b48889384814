// SPDX-License-Identifier: Apache-2.0
//
// Which tile of sums a contraction keeps in registers: along which range its
// lanes run, along which its rows, how large it is, and which factor is read
// from a packed copy. Every range that can have the lanes is tried with every
// size; the choice is the one with the least estimated cycles.
#pragma once

#include <optional>
#include <vector>

#include "engine/base/target.h"
#include "engine/ir/node.h"
#include "engine/kernel/contraction.h"

namespace quern::kernel {

struct TileChoice {
  ir::Id columns = ir::kNoNode;  // The range of the lanes.
  ir::Id rows = ir::kNoNode;     // kNoNode: one row.
  int num_rows = 1;
  int num_vectors = 1;
  ir::Id packed = ir::kNoNode;  // The factor with a packed copy, if any.
  double cycles = 0;            // Of the whole contraction on one thread.
  double share_of_peak = 0;     // Cycles that multiply-adds alone would take.
};

// `at_load`: by parameter, what is there when the model is loaded; its packed
// copies cost nothing. If it is empty, nothing is packed. nullopt: no range can
// have the lanes.
[[nodiscard]] std::optional<TileChoice> ChooseTile(
    const ir::Arena& arena, ir::Id body, const Contraction& contraction,
    const base::Target& target, int lanes, const std::vector<bool>& at_load);

}  // namespace quern::kernel
