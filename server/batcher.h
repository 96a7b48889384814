// SPDX-License-Identifier: Apache-2.0
//
// The Batcher of a model joins requests whose shapes agree in all but their
// first dimension, the rows, into one run: dynamic batching as Triton has it.
//
// There is no thread of its own. The thread whose request is the first of its
// shape leads: it waits until there are rows enough, or the oldest request has
// waited as long as the config allows, runs them together, and goes on while
// more have come. The threads of the other requests are free meanwhile.
//
// Any thread may call it. It lives as long as the model, which every item's
// callback holds.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "proto/inference/model_config.pb.h"
#include "server/codec.h"

namespace quern::server {

// What one request got out of a run.
struct BatchResult {
  std::vector<std::string> outputs;        // Of the selected ones, in order.
  std::vector<std::vector<int64_t>> dims;  // Likewise.
  int64_t joined_rows = 0;                 // Of the whole run.
  int64_t start_ns = 0;   // When the run was begun, by telemetry::Clock.
  int64_t input_ns = 0;   // Joining the inputs.
  int64_t output_ns = 0;  // Parting the outputs.
  RunTimes ran;
};

struct BatchItem {
  Inputs inputs;
  std::vector<int> selected;  // Outputs that are wanted, in order.
  absl::Time deadline = absl::InfiniteFuture();
  std::function<bool()> cancelled;  // Not null.
  // Called once, by a thread that leads. `leader`: this item stands for the
  // run in statistics of runs.
  std::function<void(const absl::Status&, BatchResult&, bool leader)> done;
};

class Batcher {
 public:
  // `config` has been completed: max_batch_size is above 0 and all inputs and
  // outputs begin with the batch. `model` and `metrics` outlive the batcher.
  Batcher(const Model* model, const inference::ModelConfig& config,
          std::string label, int64_t max_message_bytes,
          telemetry::Metrics* metrics);

  // Takes an item; its `done` is called before or after this returns. More rows
  // than max_batch_size are an error.
  void Join(BatchItem item);

 private:
  struct Waiting {
    BatchItem item;
    int64_t rows = 0;
    int64_t since_ns = 0;
  };
  // Requests of one shape.
  struct Group {
    std::deque<Waiting> waiting;
    int64_t rows = 0;
    base::CondVar changed;
  };

  void Lead(Group& group, const std::string& shape);
  void RunTogether(std::vector<Waiting> items);
  absl::Status RunJoined(std::vector<Waiting>& items);
  absl::Status RunAlone(Waiting& waiting);

  const Model& model_;
  const int64_t max_rows_;
  const int64_t enough_rows_;  // With so many there is no waiting.
  const int64_t delay_ns_;
  const std::string label_;
  const int64_t max_message_bytes_;
  telemetry::Metrics& metrics_;
  base::Mutex mutex_;
  // By shape; a group is there as long as somebody leads it.
  std::map<std::string, std::unique_ptr<Group>> groups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
