// SPDX-License-Identifier: Apache-2.0
//
// One run of a model with its outputs written where they are sent from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

#include "engine/engine.h"

namespace quern::server {

// A run that was made ready: what the inputs' shapes mean for the model.
struct PreparedRun {
  Binding binding;
  std::vector<int> selected;  // Outputs that are wanted, in order.
};

// kResourceExhausted if the wanted outputs have more than `max_bytes`; errors
// of the model's Bind.
[[nodiscard]] absl::StatusOr<PreparedRun> Prepare(
    const Model& model, absl::Span<const TensorView> inputs,
    std::vector<int> selected, int64_t max_bytes);

// Runs and writes output `selected[i]` into `*targets[i]`, resized to fit.
[[nodiscard]] absl::StatusOr<RunTimes> RunInto(
    const Model& model, const PreparedRun& run,
    absl::Span<const TensorView> inputs, absl::Span<std::string* const> targets,
    const RunOptions& options);

}  // namespace quern::server
