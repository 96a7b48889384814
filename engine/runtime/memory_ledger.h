// SPDX-License-Identifier: Apache-2.0
//
// The MemoryLedger knows how much memory of each device is promised to models,
// and refuses more than there is, before anything is allocated.
//
// Any thread may call it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "engine/base/mutex.h"
#include "engine/telemetry/metrics.h"

namespace quern::runtime {

class MemoryLedger {
 public:
  // `limit` bytes for each device. `metrics` may be null, or outlives it.
  MemoryLedger(int64_t limit, telemetry::Metrics* metrics)
      : limit_(limit), metrics_(metrics) {}

  // Takes `bytes` of `device` for `what`; kResourceExhausted, with the numbers,
  // if they are not there.
  [[nodiscard]] absl::Status Take(const std::string& device, int64_t bytes,
                                  absl::string_view what);
  void GiveBack(const std::string& device, int64_t bytes);

 private:
  const int64_t limit_;
  telemetry::Metrics* const metrics_;
  base::Mutex mutex_;
  std::map<std::string, int64_t> taken_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::runtime
