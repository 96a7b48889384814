// SPDX-License-Identifier: Apache-2.0
//
// Runs a loaded model on tensors of the oracle.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

#include "backends/ref/oracle.h"
#include "engine/engine.h"

namespace quern::support {

// The outputs of `model` for `inputs`.
[[nodiscard]] absl::StatusOr<std::vector<ref::Tensor>> RunModel(
    const Model& model, const std::vector<ref::Tensor>& inputs,
    const RunOptions& options = {});

}  // namespace quern::support
