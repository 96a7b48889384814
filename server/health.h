// SPDX-License-Identifier: Apache-2.0
//
// The HealthMonitor runs a small kernel, a canary, on each device every second
// and tells whether all of them gave the right result lately: a server whose
// device hangs must not say that it is ready.
//
// Each device has a thread of its own, so that one that hangs hides no other.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "server/periodic.h"

namespace quern::server {

class HealthMonitor {
 public:
  // Runs each canary once, then calls `report` with the outcome, and again
  // whenever that changes. A device is well if a canary was right within
  // `timeout`. `engine` and `metrics` outlive the monitor.
  HealthMonitor(Engine* engine, telemetry::Metrics* metrics,
                absl::Duration timeout,
                std::function<void(bool healthy)> report);

 private:
  struct Watched {
    std::string device;
    std::atomic<int64_t> last_ok_ns = -1;  // -1: never.
    std::unique_ptr<Periodic> canary;
  };

  void RunCanary(Watched& watched);
  void Judge();

  Engine& engine_;
  telemetry::Metrics& metrics_;
  const absl::Duration timeout_;
  const std::function<void(bool healthy)> report_;
  std::vector<std::unique_ptr<Watched>> devices_;
  bool healthy_ = false;   // As reported last.
  bool reported_ = false;  // By the constructor, then by judge_ alone.
  std::unique_ptr<Periodic> judge_;
};

}  // namespace quern::server
