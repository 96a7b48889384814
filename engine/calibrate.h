// SPDX-License-Identifier: Apache-2.0
//
// Measures what a device can do at most, with kernels of the engine's own:
// the yardstick for "percent of roofline".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/runtime/backend.h"

namespace quern {

// Bytes per second of reading again and again a set of `bytes`.
struct Bandwidth {
  double bytes = 0;
  double per_second = 0;
};

// With all threads of the device at work.
struct Peaks {
  double flops = 0;  // f32 multiply-adds, two operations each, per second.
  std::vector<Bandwidth> read;  // By size of the set, ascending.

  // The least seconds in which `flops` operations on `bytes` bytes can be
  // done: the roofline of Williams, Waterman and Patterson, "Roofline: an
  // insightful visual performance model", 2009, with the bandwidth of the
  // smallest measured set that holds the bytes. 0 if nothing was measured.
  [[nodiscard]] double LeastSeconds(double operations, double bytes) const;

  [[nodiscard]] std::string ToText() const;
  [[nodiscard]] static absl::StatusOr<Peaks> FromText(const std::string& text);
};

// Measures `device`; takes about a tenth of a second. Each figure is the best
// of several runs, rounded to 5 %.
[[nodiscard]] absl::StatusOr<Peaks> Calibrate(runtime::Device& device,
                                              const runtime::Codegen& codegen);

}  // namespace quern
