// SPDX-License-Identifier: Apache-2.0
//
// Cuts a graph into kernels with the passes of the compiler and runs these on
// the interpreter, under whatever schedule a test gives to their bodies.
//
// Buffers end at a page that cannot be touched, so a kernel that reads or
// writes behind one dies on the spot; what it writes before one is noticed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "backends/ref/oracle.h"
#include "engine/base/target.h"
#include "engine/graph/graph.h"
#include "engine/ir/node.h"
#include "engine/schedule/fuse.h"
#include "engine/schedule/schedule.h"

namespace quern::support {

// A graph cut into kernels, with the arena that it lives in.
struct CutGraph {
  std::unique_ptr<ir::Arena> arena;
  std::vector<ir::Id> input_dims;  // Of all inputs, one after the other.
  schedule::Schedule schedule;
};

// `graph` after simplify, fuse and rangeify, each of them verified.
[[nodiscard]] absl::StatusOr<CutGraph> Cut(
    const graph::Graph& graph, const schedule::FuseOptions& options = {});

// The scheduled form of a body: another body, or several that write parts.
struct Scheduled {
  Scheduled(ir::Id body) : bodies{body} {}  // NOLINT: schedulers return ids.
  Scheduled(std::vector<ir::Id> parts) : bodies(std::move(parts)) {}  // NOLINT

  std::vector<ir::Id> bodies;
};
using BodyScheduler = std::function<Scheduled(ir::Arena& arena, ir::Id body)>;

// The outputs of `graph`, which `cut` was cut from, for `inputs`, as flat
// tensors: every kernel with the schedule of `scheduler`, bound, linearized
// for `target` and interpreted, each level verified.
[[nodiscard]] absl::StatusOr<std::vector<ref::Tensor>> RunCut(
    CutGraph& cut, const graph::Graph& graph,
    absl::Span<const ref::Tensor> inputs, const base::Target& target,
    const BodyScheduler& scheduler);

}  // namespace quern::support
