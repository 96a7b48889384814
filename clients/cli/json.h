// SPDX-License-Identifier: Apache-2.0
//
// What commands print for programs.
#pragma once

#include <nlohmann/json.hpp>

#include "proto/quern/v1/kernel_service.pb.h"

namespace quern::cli {

// Prints a value on one line. Bytes that are no UTF-8 are replaced.
void PrintJson(const nlohmann::ordered_json& out);

[[nodiscard]] nlohmann::ordered_json KernelJson(
    const v1::KernelStatistics& kernel);

// What happened in a window, by graph or model.
[[nodiscard]] nlohmann::ordered_json WindowJson(
    const v1::WatchKernelsResponse& window);

}  // namespace quern::cli
