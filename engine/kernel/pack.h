// SPDX-License-Identifier: Apache-2.0
//
// Packing: a contraction reads one factor in the order in which its loops need
// it. The factor is copied, weights once when the model is loaded, into panels:
// for each group of columns, all steps of the reduction, one after the other,
// with the columns of a tile side by side. Data is copied in each run, by a
// launch of its own or by the chunks that use it.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ir/dtype.h"
#include "engine/ir/node.h"

namespace quern::kernel {

// A kernel that fills a packed copy of one parameter: its parameter 0 is the
// copy, its parameter 1 the original.
struct Pack {
  int param = 0;  // Of the kernel that reads the copy instead.
  ir::Id body = ir::kNoNode;
  ir::DType dtype = ir::DType::kF32;
  int64_t elements = 0;  // Of the copy.
};

// Where the columns stand after they were split: column = panel * width +
// inside, of `count` columns. `panel` is kNoNode if there is one panel only.
struct Panels {
  ir::Id panel = ir::kNoNode;
  ir::Id inside = ir::kNoNode;  // An index in [0, width).
  int64_t width = 0;
  int64_t count = 0;
};

// The only load of parameter `param` in `body`; kNoNode if there are several
// or none.
[[nodiscard]] ir::Id OnlyLoadOf(const ir::Arena& arena, ir::Id body, int param);

// Makes `load`, which reads a parameter at `outer` ranges, columns and
// `steps` (ranges of the reduction from the outside in), read a packed copy.
// Returns the new body and fills `pack`; kNoNode if some extent is not known.
// Columns past the end read zeros.
[[nodiscard]] ir::Id ReadPacked(ir::Arena& arena, ir::Id body, ir::Id load,
                                const std::vector<ir::Id>& outer,
                                const Panels& panels,
                                const std::vector<ir::Id>& steps, Pack* pack);

// The same for data, in a tile of its own that each chunk fills at the panel,
// and at whatever else chooses among the columns, before its loops begin.
[[nodiscard]] ir::Id PackByChunks(ir::Arena& arena, ir::Id body, ir::Id load,
                                  const Panels& panels,
                                  std::vector<ir::Id> steps);

}  // namespace quern::kernel
