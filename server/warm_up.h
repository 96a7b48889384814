// SPDX-License-Identifier: Apache-2.0
//
// Runs a model before it is ready, so that the first request finds memory
// touched, caches warm and clocks up.
#pragma once

#include <vector>

#include "absl/status/status.h"

#include "engine/engine.h"
#include "server/model_settings.h"

namespace quern::server {

// One run for each of `warm_ups`, with zeros as inputs and free sizes as given,
// or 1 where they are not. kInvalidArgument if the model has no such size.
[[nodiscard]] absl::Status RunWarmUps(const Model& model,
                                      const std::vector<WarmUp>& warm_ups);

}  // namespace quern::server
