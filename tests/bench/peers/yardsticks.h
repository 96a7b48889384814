// SPDX-License-Identifier: Apache-2.0
//
// Fixed work, to compare an engine's with: a loop whose times differ only
// because of the machine, and loops that only the machine's arithmetic or
// memory bounds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "tests/bench/peers/work.h"

namespace quern::bench {

// A chain of multiplications of about a millisecond on each of `threads`
// (0: as many as this process may use), each on a core of its own, between two
// meetings of them: as much as an engine's launch has to do with the system.
// The introduction tells the peaks that the engine measures here and now.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Work>> MakeCalibration(
    int threads);

// "flops": f32 multiply-adds on registers. "read": reads a set of `bytes`.
// "copy": copies an array of `bytes` to another. "add": adds two of them into a
// third. The introduction tells, as "work", the operations or the bytes (read
// and written) of a run.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Work>> MakeYardstick(
    const std::string& kind, int64_t bytes, int threads);

}  // namespace quern::bench
