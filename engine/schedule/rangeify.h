// SPDX-License-Identifier: Apache-2.0
//
// Turns a placed graph into kernels: tensors become scalars at ranges,
// movement becomes index arithmetic, buffers become loads and stores.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"
#include "engine/schedule/fuse.h"
#include "engine/schedule/schedule.h"

namespace quern::schedule {

struct RangeifyOptions {
  std::string device = "cpu";  // For what names no device.
};

// The kernels, buffers and steps of a graph. `outputs` become the output
// buffers in their order; `vars` are the variables of its sizes.
//
// What depends on weights and constants only is marked `at_load`: it runs once
// when the model is loaded (hoisting comes after the cut into kernels, so
// whatever became a kernel can be hoisted).
//
// In:    tensor level, with a Placement. Out: kernel level.
// Order: after fuse. From here on there are no tensors, only buffers.
// Errors: kInvalidArgument if one operation has operands on two devices.
[[nodiscard]] absl::StatusOr<Schedule> Rangeify(
    ir::Arena& arena, absl::Span<const ir::Id> outputs,
    absl::Span<const ir::Id> vars, const Placement& placement,
    const RangeifyOptions& options);

}  // namespace quern::schedule
