// SPDX-License-Identifier: Apache-2.0
//
// Which tile of sums a contraction keeps in registers: along which range its
// lanes run, along which its rows, how large it is, and which factor is read
// from a packed copy. Every range that can have the lanes is tried with every
// size; the first choice is the one with the least estimated cycles, the others
// are for a tuner to measure.
#pragma once

#include <string>
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
  // Of a chunk that copies the panels it needs, to meet them with so many rows;
  // 0: there is one copy for all, or none.
  int64_t rows_in_chunk = 0;
  double cycles = 0;         // Of the whole contraction on one thread.
  double share_of_peak = 0;  // Cycles that multiply-adds alone would take.
};

// All that are possible, the best by estimate first; none if no range can have
// the lanes. `at_load`: by parameter, what is there when the model is loaded;
// its packed copies cost nothing. If it is empty, nothing is packed.
[[nodiscard]] std::vector<TileChoice> RankTiles(
    const ir::Arena& arena, ir::Id body, const Contraction& contraction,
    const base::Target& target, int lanes, const std::vector<bool>& at_load);

// The choice in words without the ids of an arena, to be known again by in
// another compile of the same kernel: "6x4, lanes of range 1, rows of range 0,
// packed 2 by chunks".
[[nodiscard]] std::string Words(const ir::Arena& arena,
                                const Contraction& contraction,
                                const TileChoice& choice);

}  // namespace quern::kernel
