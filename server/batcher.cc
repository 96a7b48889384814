// SPDX-License-Identifier: Apache-2.0
#include "server/batcher.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

#include "engine/base/status_macros.h"
#include "server/inference.h"

namespace quern::server {
namespace {

using telemetry::Clock;
using telemetry::Metric;

int64_t EnoughRows(const inference::ModelConfig& config) {
  const auto& preferred = config.dynamic_batching().preferred_batch_size();
  if (preferred.empty()) return config.max_batch_size();
  return *std::max_element(preferred.begin(), preferred.end());
}

// All sizes but the rows, as a key.
std::string ShapeOf(const std::vector<TensorView>& views) {
  std::string shape;
  for (const TensorView& view : views) {
    absl::StrAppend(&shape,
                    absl::StrJoin(view.dims.begin() + 1, view.dims.end(), ","),
                    ";");
  }
  return shape;
}

}  // namespace

Batcher::Batcher(const Model* model, const inference::ModelConfig& config,
                 std::string label, int64_t max_message_bytes,
                 telemetry::Metrics* metrics)
    : model_(*model),
      max_rows_(config.max_batch_size()),
      enough_rows_(EnoughRows(config)),
      delay_ns_(static_cast<int64_t>(std::min<uint64_t>(
                    config.dynamic_batching().max_queue_delay_microseconds(),
                    10'000'000)) *
                1000),
      label_(std::move(label)),
      max_message_bytes_(max_message_bytes),
      metrics_(*metrics) {}

void Batcher::Join(BatchItem item) {
  Waiting waiting;
  waiting.since_ns = Clock::NowNs();
  BatchResult nothing;
  for (const TensorView& view : item.inputs.views) {
    const int64_t rows = view.dims.empty() ? -1 : view.dims[0];
    if (&view == &item.inputs.views[0]) waiting.rows = rows;
    if (rows < 0 || rows != waiting.rows) {
      item.done(absl::InvalidArgumentError(
                    "the inputs must begin with the same number of rows, the "
                    "batch"),
                nothing, false);
      return;
    }
  }
  if (waiting.rows > max_rows_) {
    item.done(absl::InvalidArgumentError(
                  absl::StrCat("the request has ", waiting.rows,
                               " rows, max_batch_size is ", max_rows_)),
              nothing, false);
    return;
  }
  const std::string shape = ShapeOf(item.inputs.views);
  waiting.item = std::move(item);
  Group* led = nullptr;
  {
    base::MutexLock lock(&mutex_);
    std::unique_ptr<Group>& group = groups_[shape];
    const bool lead = group == nullptr;
    if (lead) group = std::make_unique<Group>();
    group->rows += waiting.rows;
    group->waiting.push_back(std::move(waiting));
    if (!lead) {
      group->changed.Signal();
      return;
    }
    led = group.get();
  }
  Lead(*led, shape);
}

void Batcher::Lead(Group& group, const std::string& shape) {
  while (true) {
    std::vector<Waiting> items;
    bool full = false;
    {
      base::MutexLock lock(&mutex_);
      if (group.waiting.empty()) {
        groups_.erase(shape);
        return;
      }
      while (group.rows < enough_rows_) {
        const int64_t left_ns =
            group.waiting.front().since_ns + delay_ns_ - Clock::NowNs();
        if (left_ns <= 0) break;
        static_cast<void>(group.changed.WaitUntil(
            &mutex_, std::chrono::system_clock::now() +
                         std::chrono::nanoseconds(left_ns)));
      }
      full = group.rows >= enough_rows_;
      int64_t rows = 0;
      while (
          !group.waiting.empty() &&
          (items.empty() || rows + group.waiting.front().rows <= max_rows_)) {
        rows += group.waiting.front().rows;
        items.push_back(std::move(group.waiting.front()));
        group.waiting.pop_front();
      }
      group.rows -= rows;
    }
    metrics_.Add(Metric::kBatchFlushes, {label_, full ? "full" : "delay"});
    RunTogether(std::move(items));
  }
}

void Batcher::RunTogether(std::vector<Waiting> items) {
  // Who does not wait any more is not computed for.
  std::erase_if(items, [](Waiting& waiting) {
    BatchResult nothing;
    if (waiting.item.cancelled()) {
      waiting.item.done(absl::CancelledError("the client has gone"), nothing,
                        false);
      return true;
    }
    if (absl::Now() >= waiting.item.deadline) {
      waiting.item.done(
          absl::DeadlineExceededError(
              "the deadline passed while the request waited for a batch"),
          nothing, false);
      return true;
    }
    return false;
  });
  if (items.size() > 1 && RunJoined(items).ok()) return;
  // Alone, or not runnable together: each gets what it would get alone.
  for (Waiting& waiting : items) {
    const absl::Status status = RunAlone(waiting);
    if (status.ok()) continue;
    BatchResult nothing;
    waiting.item.done(status, nothing, false);
  }
}

absl::Status Batcher::RunAlone(Waiting& waiting) {
  BatchResult result;
  result.start_ns = Clock::NowNs();
  result.joined_rows = waiting.rows;
  const std::vector<TensorView>& views = waiting.item.inputs.views;
  QUERN_ASSIGN_OR_RETURN(
      const PreparedRun run,
      Prepare(model_, views, waiting.item.selected, max_message_bytes_));
  result.outputs.resize(run.selected.size());
  std::vector<std::string*> targets;
  for (std::string& output : result.outputs) targets.push_back(&output);
  RunOptions options;
  options.deadline = waiting.item.deadline;
  options.cancelled = waiting.item.cancelled;
  QUERN_ASSIGN_OR_RETURN(result.ran,
                         RunInto(model_, run, views, targets, options));
  for (int index : run.selected) {
    result.dims.push_back(run.binding.output_dims[index]);
  }
  waiting.item.done(absl::OkStatus(), result, true);
  return absl::OkStatus();
}

absl::Status Batcher::RunJoined(std::vector<Waiting>& items) {
  const int64_t start_ns = Clock::NowNs();
  int64_t rows = 0;
  absl::Time deadline = absl::InfinitePast();
  for (const Waiting& waiting : items) {
    rows += waiting.rows;
    deadline = std::max(deadline, waiting.item.deadline);
  }
  std::vector<TensorView> views = items[0].item.inputs.views;
  std::vector<std::string> joined(views.size());
  for (size_t i = 0; i < views.size(); ++i) {
    for (const Waiting& waiting : items) {
      const TensorView& part = waiting.item.inputs.views[i];
      joined[i].append(static_cast<const char*>(part.data), part.size);
    }
    views[i].dims[0] = rows;
    views[i].data = joined[i].data();
    views[i].size = joined[i].size();
  }
  std::vector<int> all(model_.outputs().size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  QUERN_ASSIGN_OR_RETURN(
      const PreparedRun run,
      Prepare(model_, views, all,
              max_message_bytes_ * static_cast<int64_t>(items.size())));
  std::vector<std::string> outputs(all.size());
  std::vector<std::string*> targets;
  for (std::string& output : outputs) targets.push_back(&output);
  RunOptions options;
  options.deadline = deadline;
  const int64_t ready_ns = Clock::NowNs();
  QUERN_ASSIGN_OR_RETURN(const RunTimes ran,
                         RunInto(model_, run, views, targets, options));
  const int64_t end_ns = Clock::NowNs();

  std::vector<BatchResult> results(items.size());
  int64_t row = 0;
  for (size_t k = 0; k < items.size(); ++k) {
    for (int index : items[k].item.selected) {
      const std::string& whole = outputs[index];
      const size_t row_bytes = whole.size() / static_cast<size_t>(rows);
      results[k].outputs.push_back(
          whole.substr(static_cast<size_t>(row) * row_bytes,
                       static_cast<size_t>(items[k].rows) * row_bytes));
      std::vector<int64_t> dims = run.binding.output_dims[index];
      dims[0] = items[k].rows;
      results[k].dims.push_back(std::move(dims));
    }
    row += items[k].rows;
    results[k].joined_rows = rows;
    results[k].start_ns = start_ns;
    results[k].input_ns = ready_ns - start_ns;
    results[k].ran = ran;
  }
  const int64_t parted_ns = Clock::NowNs();
  metrics_.Add(Metric::kBatchedRequests, {label_},
               static_cast<double>(items.size()));
  for (size_t k = 0; k < items.size(); ++k) {
    results[k].output_ns = parted_ns - end_ns;
    items[k].item.done(absl::OkStatus(), results[k], k == 0);
  }
  return absl::OkStatus();
}

}  // namespace quern::server
