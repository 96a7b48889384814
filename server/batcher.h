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
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "proto/inference/model_config.pb.h"
#include "server/codec.h"
#include "server/inference.h"

namespace quern::server {

// What ended the wait for a batch; kNone where requests are not joined.
enum class Flush { kNone, kFull, kDelay };

// How one request was run.
struct BatchReport {
  int64_t start_ns = 0;   // When the run was begun, by telemetry::Clock.
  int64_t input_ns = 0;   // Joining the inputs.
  int64_t output_ns = 0;  // Parting the outputs.
  RunTimes ran;
  int64_t rows = 1;      // Of the whole run; 1 if it is not joined.
  int64_t requests = 0;  // That shared it.
  Flush flush = Flush::kNone;
  bool leads = false;  // This request stands for the run in statistics.
};

// A request that was made ready to run alone.
struct BatchItem {
  Inputs inputs;
  PreparedRun run;
  std::vector<std::string*> targets;  // Where output run.selected[i] goes.
  absl::Time deadline = absl::InfiniteFuture();
  std::function<bool()> cancelled;  // Not null.
  // If not null: as in RunOptions, of the whole run.
  std::vector<int64_t>* kernel_ns = nullptr;
  // Called once, by a thread that leads, when the targets are filled.
  std::function<void(const absl::Status&, const BatchReport&)> done;
};

// The rows of a request that begins with the batch; -1 if its inputs do not
// agree on them.
[[nodiscard]] int64_t RowsOf(const BatchItem& item);

// Runs one request by itself; its `done` is not called. Throws nothing.
[[nodiscard]] absl::StatusOr<BatchReport> RunAlone(const Model& model,
                                                   const BatchItem& item);

class Batcher {
 public:
  // `config` has been completed: max_batch_size is above 0 and all inputs and
  // outputs begin with the batch. `model` outlives the batcher.
  Batcher(const Model* model, const inference::ModelConfig& config);

  // Takes an item; its `done` is called before or after this returns. An error
  // says that it was not taken: kInvalidArgument for more rows than
  // max_batch_size.
  [[nodiscard]] absl::Status Join(BatchItem item);

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
  void RunTogether(std::vector<Waiting> items, Flush flush);
  absl::Status RunJoined(const std::vector<Waiting>& items,
                         BatchReport& report);
  static absl::Status Part(const std::vector<std::string>& outputs,
                           const std::vector<int>& computed,
                           const std::vector<Waiting>& items);

  const Model& model_;
  const int64_t max_rows_;
  const int64_t enough_rows_;  // With so many there is no waiting.
  const int64_t delay_ns_;
  base::Mutex mutex_;
  // By shape; a group is there as long as somebody leads it.
  std::map<std::string, std::unique_ptr<Group>> groups_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
