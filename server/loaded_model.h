// SPDX-License-Identifier: Apache-2.0
//
// A LoadedModel is an engine's model with what the server knows about it: its
// label in the metrics and the counters of its requests.
//
// Shared by whoever uses it, immutable but for the counters; any thread may
// use it. Its label is in the metrics from Enlist until Retire or until the
// last holder lets go of it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "engine/base/compile_options.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/telemetry/metrics.h"

namespace quern::server {

// "OK", "INVALID_ARGUMENT" and so on.
[[nodiscard]] std::string CodeName(absl::StatusCode code);

class LoadedModel {
 public:
  LoadedModel(std::string label, std::shared_ptr<const graph::Graph> graph,
              base::CompileOptions options, std::shared_ptr<const Model> model,
              telemetry::Metrics* metrics);
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  [[nodiscard]] const std::string& label() const { return label_; }
  [[nodiscard]] const Model& model() const { return *model_; }
  [[nodiscard]] const std::shared_ptr<const graph::Graph>& graph() const {
    return graph_;
  }
  [[nodiscard]] const base::CompileOptions& options() const { return options_; }

  // Counts one request that came `total_ns` ago and ended with `code`.
  void CountRequest(absl::StatusCode code, int64_t total_ns,
                    int64_t queue_ns) const;

  // Puts the label into the metrics. A model that had it is to be retired
  // before.
  void Enlist() const;

  // Takes the label out of the metrics, though requests may still run.
  void Retire() const;

 private:
  static constexpr size_t kCodes = 17;

  const std::string label_;
  const std::shared_ptr<const graph::Graph> graph_;
  const base::CompileOptions options_;
  const std::shared_ptr<const Model> model_;
  telemetry::Metrics* const metrics_;
  mutable base::Mutex mutex_;
  mutable bool listed_ ABSL_GUARDED_BY(mutex_) = false;
  mutable std::shared_ptr<telemetry::SharedDistribution> request_time_
      ABSL_GUARDED_BY(mutex_);
  mutable std::shared_ptr<telemetry::SharedDistribution> queue_time_
      ABSL_GUARDED_BY(mutex_);
  mutable std::array<std::shared_ptr<telemetry::Number>, kCodes> by_code_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
