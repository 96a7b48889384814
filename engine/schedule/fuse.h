// SPDX-License-Identifier: Apache-2.0
//
// Decides at which level each tensor of a graph is kept: nowhere (it is
// computed where it is used), in a tile of the kernel that uses it, or in
// global memory. Fusion is the default; a buffer has to be argued for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::schedule {

struct Placement {
  enum class Kind : uint8_t {
    kInline,  // Computed at each use.
    kTile,    // Computed once per point of the outer ranges, kept in a tile.
    kGlobal,  // A buffer, written by a launch of its own.
  };
  std::vector<Kind> kind;           // By node.
  std::vector<uint32_t> tile_axes;  // By node: the axes that a tile spans.
  // By node: the axis along which a buffer is contiguous; -1 is the last one.
  std::vector<int> inner_axis;
  std::vector<std::string> notes;
};

struct FuseOptions {
  int64_t max_tile_bytes = 256 << 10;  // Of one tile, where its size is known.
  int64_t max_kernel_cost = 800;       // Elementwise operations in one kernel.
  int max_kernel_loops = 16;           // Reductions and tiles in one kernel.
  std::vector<ir::Id> raised = {};     // Get buffers, whatever is said of them.
};

// Places every node that `outputs` reach. Costs are compared in operations and
// bytes; unknown sizes count as 64.
//
// Buffers between kernels are laid out for the contractions that read and
// write them: contiguous along the axis in whose direction the weights of a
// contraction differ (channels of images), so that its register tile loads and
// stores whole vectors. Weights, inputs and outputs keep their row-major order.
//
// In:    tensor level. Out: the same graph with a level for each node.
// Order: before rangeify, which turns the decision into kernels.
[[nodiscard]] absl::StatusOr<Placement> Fuse(ir::Arena& arena,
                                             absl::Span<const ir::Id> outputs,
                                             const FuseOptions& options);

// True if `id` multiplies and adds with reuse of both factors (matrix
// products, convolutions): worth a register tile of its own.
[[nodiscard]] bool IsContraction(const ir::Arena& arena, ir::Id id);

// What an elementwise operation costs, in additions; for costs only.
[[nodiscard]] double OperationCost(ir::Op op);

// The size with 64 for each variable; for costs only.
[[nodiscard]] double EstimateSize(const ir::Arena& arena, ir::Id size);

}  // namespace quern::schedule
