// SPDX-License-Identifier: Apache-2.0
//
// A Call is what a handler knows of a request beside its message, whatever
// carried it: gRPC and HTTP make one each, handlers know neither.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quern::server {

struct Call {
  absl::Time deadline = absl::InfiniteFuture();  // When the client gives up.
  int64_t arrival_ns = 0;                        // By telemetry::Clock.
  std::function<bool()> cancelled;  // True if the client has gone; not null.
};

// Ends a call; to be called once, from any thread. Request and response live
// until then.
using Done = std::function<void(const absl::Status&)>;

}  // namespace quern::server
