// SPDX-License-Identifier: Apache-2.0
//
// Chooses the schedule of a kernel for a target with vector registers and
// threads: which ranges become chunks, lanes and unrolled copies.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "engine/base/target.h"
#include "engine/ir/node.h"
#include "engine/kernel/pack.h"

namespace quern::kernel {

struct TileResult {
  std::vector<ir::Id> bodies;  // Several write disjoint parts.
  std::string description;     // For explain.
  std::vector<Pack> packs;     // Copies that it reads instead of parameters.
  double share_of_peak = 0;    // Of arithmetic, by estimate; 0: not estimated.
  // What it could be as well, the best by estimate first; `choice` is one of
  // them. Empty where there is nothing to choose.
  std::vector<std::string> choices;
  std::string choice;
};

// The scheduled form of `body`. `shrink` halves the register tile that many
// times, for kernels that came out over the budget. `at_load`: by parameter,
// what is there when the model is loaded; its packed copies cost nothing. If it
// is empty, nothing is packed. `wanted`: one of the choices; what is none of
// them counts as nothing.
//
// In:    kernel level, ranges all serial. Out: ranges with kinds.
// Order: after split into kernels; before bind.
[[nodiscard]] TileResult TileForCpu(ir::Arena& arena, ir::Id body,
                                    const base::Target& target, int shrink,
                                    const std::vector<bool>& at_load,
                                    absl::string_view wanted = {});

}  // namespace quern::kernel
