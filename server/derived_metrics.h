// SPDX-License-Identifier: Apache-2.0
//
// The metrics that are computed when somebody asks: from the statistics of
// loaded models and their kernels, and from what the machine says of itself.
// What is unloaded is not among them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "engine/base/mutex.h"
#include "engine/telemetry/metrics.h"
#include "server/loaded_model.h"

namespace quern::server {

// Samples of the kernels and requests of `models`; those of one label are
// merged. With `triton`, Triton's names too.
[[nodiscard]] std::vector<telemetry::Metrics::Sample> DerivedSamples(
    const std::vector<std::shared_ptr<const LoadedModel>>& models, bool triton);

// Measures the use of the machine between two calls. Any thread may call it.
class MachineMeter {
 public:
  [[nodiscard]] std::vector<telemetry::Metrics::Sample> Read();

 private:
  base::Mutex mutex_;
  int64_t busy_ ABSL_GUARDED_BY(mutex_) = 0;  // In ticks, at the last call.
  int64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quern::server
