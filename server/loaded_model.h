// SPDX-License-Identifier: Apache-2.0
//
// A LoadedModel is an engine's model with what the server knows about it: its
// label in the metrics, its settings, and the statistics of its requests.
//
// Shared by whoever uses it, immutable but for the statistics; any thread may
// use it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "engine/base/compile_options.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/telemetry/distribution.h"
#include "proto/inference/model_config.pb.h"
#include "server/batcher.h"

namespace quern::server {

// "OK", "INVALID_ARGUMENT" and so on.
[[nodiscard]] std::string CodeName(absl::StatusCode code);

// The parts of a request's time, in order.
enum class Phase { kQueue, kInput, kExecute, kOutput };
inline constexpr size_t kPhases = 4;
// "queue", "input", "execute", "output".
[[nodiscard]] const char* NameOf(Phase phase);

// Where the time of one request went, in nanoseconds.
struct RequestTimes {
  std::array<int64_t, kPhases> phase = {};
  int64_t total_ns = 0;  // From its arrival.

  int64_t& operator[](Phase p) { return phase[static_cast<size_t>(p)]; }
  int64_t operator[](Phase p) const { return phase[static_cast<size_t>(p)]; }
};

// One run of the engine as statistics count it.
struct Execution {
  int64_t rows = 1;      // Of the batch; 1 where requests are not joined.
  int64_t requests = 1;  // That shared it.
  Flush flush = Flush::kNone;
  RequestTimes times = {};
};

// What became of the requests of a model since it was loaded.
struct ModelStatistics {
  telemetry::Distribution success;  // Times of the requests that were answered.
  telemetry::Distribution failure;
  std::array<telemetry::Distribution, kPhases> phase;  // Of successes.
  uint64_t inferences = 0;  // Rows of batches, or requests where none are.
  uint64_t executions = 0;  // Runs of the engine.
  int64_t last_inference_ms = 0;  // Since 1970; 0: there was none.
  std::map<absl::StatusCode, uint64_t> by_code;
  // Runs by their number of rows.
  struct Batch {
    uint64_t count = 0;
    std::array<int64_t, kPhases> phase_ns = {};
  };
  std::map<int64_t, Batch> by_batch;
  std::map<Flush, uint64_t> by_flush;
  uint64_t joined_requests = 0;  // Requests that shared a run with another.

  // Takes all that `other` has counted.
  void Merge(const ModelStatistics& other);
  // What was counted since this was `earlier`.
  [[nodiscard]] ModelStatistics Since(const ModelStatistics& earlier) const;
};

class LoadedModel {
 public:
  // `config` describes the model to clients, completed; with dynamic batching,
  // requests of the model are to go through its batcher.
  LoadedModel(std::string name, int64_t version,
              std::shared_ptr<const graph::Graph> graph,
              base::CompileOptions options, std::shared_ptr<const Model> model,
              inference::ModelConfig config);
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  // "NAME/VERSION", or NAME for a graph, which has the version 0.
  [[nodiscard]] const std::string& label() const { return label_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int64_t version() const { return version_; }
  [[nodiscard]] const Model& model() const { return *model_; }
  [[nodiscard]] const std::shared_ptr<const graph::Graph>& graph() const {
    return graph_;
  }
  [[nodiscard]] const base::CompileOptions& options() const { return options_; }
  [[nodiscard]] const inference::ModelConfig& config() const { return config_; }

  // Null if requests are not joined.
  [[nodiscard]] Batcher* batcher() const { return batcher_.get(); }

  // Counts one request that ended with `code` and was `rows` inferences.
  void CountRequest(absl::StatusCode code, const RequestTimes& times,
                    int64_t rows = 1) const;
  void CountExecution(const Execution& execution) const;
  [[nodiscard]] ModelStatistics Statistics() const;

  // Learns that the work on a request of so many bytes took so long.
  void LearnTime(int64_t bytes, int64_t ns) const;
  // True if there were requests of about so many bytes, and the work on them
  // took no longer than `limit_ns` lately.
  [[nodiscard]] bool IsShort(int64_t bytes, int64_t limit_ns) const;

  // Changes the number of requests that are under way; the new number.
  int64_t AddPending(int64_t by) const { return pending_ += by; }
  [[nodiscard]] int64_t pending() const { return pending_; }

 private:
  const std::string name_;
  const int64_t version_;
  const std::string label_;
  const std::shared_ptr<const graph::Graph> graph_;
  const base::CompileOptions options_;
  const std::shared_ptr<const Model> model_;
  const inference::ModelConfig config_;
  const std::unique_ptr<Batcher> batcher_;
  mutable std::atomic<int64_t> pending_ = 0;
  // By the power of two of a request's size: about the longest time of work
  // lately, in nanoseconds; 0: there was none.
  mutable std::array<std::atomic<int64_t>, 64> longest_ns_ = {};
  mutable base::Mutex mutex_;
  mutable ModelStatistics statistics_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
