// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "engine/compile.h"

namespace quern::fuzz {

// Random graphs with the texts of all their stages, for vectors and without.
// The same ones each time.
[[nodiscard]] std::vector<CompiledGraph> CompiledSeeds();

}  // namespace quern::fuzz
