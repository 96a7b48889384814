// SPDX-License-Identifier: Apache-2.0
#include "server/batcher.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/telemetry/distribution.h"

namespace quern::server {
namespace {

using telemetry::Clock;

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

int64_t RowsOf(const BatchItem& item) {
  int64_t rows = -1;
  for (const TensorView& view : item.inputs.views) {
    if (view.dims.empty()) return -1;
    if (&view == &item.inputs.views[0]) rows = view.dims[0];
    if (view.dims[0] != rows) return -1;
  }
  return rows;
}

absl::StatusOr<BatchReport> RunAlone(const Model& model,
                                     const BatchItem& item) {
  BatchReport report;
  report.start_ns = Clock::NowNs();
  report.requests = 1;
  report.leads = true;
  const auto ran = base::NoThrow([&] {
    return RunInto(model, item.run, item.inputs.views, item.targets,
                   {.deadline = item.deadline,
                    .cancelled = item.cancelled,
                    .kernel_ns = item.kernel_ns});
  });
  QUERN_RETURN_IF_ERROR(ran.status());
  report.ran = *ran;
  report.output_ns =
      Clock::NowNs() - report.start_ns - ran->queue_ns - ran->execute_ns;
  return report;
}

Batcher::Batcher(const Model* model, const inference::ModelConfig& config)
    : model_(*model),
      max_rows_(config.max_batch_size()),
      enough_rows_(EnoughRows(config)),
      delay_ns_(static_cast<int64_t>(std::min<uint64_t>(
                    config.dynamic_batching().max_queue_delay_microseconds(),
                    10'000'000)) *
                1000) {}

absl::Status Batcher::Join(BatchItem item) {
  Waiting waiting;
  waiting.since_ns = Clock::NowNs();
  waiting.rows = RowsOf(item);
  if (waiting.rows < 0) {
    return absl::InvalidArgumentError(
        "the inputs must begin with the same number of rows, the batch");
  }
  if (waiting.rows > max_rows_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request has ", waiting.rows,
                     " rows, max_batch_size is ", max_rows_));
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
      return absl::OkStatus();
    }
    led = group.get();
  }
  Lead(*led, shape);
  return absl::OkStatus();
}

void Batcher::Lead(Group& group, const std::string& shape) {
  while (true) {
    std::vector<Waiting> items;
    Flush flush = Flush::kDelay;
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
      if (group.rows >= enough_rows_) flush = Flush::kFull;
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
    RunTogether(std::move(items), flush);
  }
}

void Batcher::RunTogether(std::vector<Waiting> items, Flush flush) {
  // Who does not wait any more is not computed for.
  std::erase_if(items, [](Waiting& waiting) {
    if (waiting.item.cancelled()) {
      waiting.item.done(absl::CancelledError("the client has gone"), {});
      return true;
    }
    if (absl::Now() >= waiting.item.deadline) {
      waiting.item.done(
          absl::DeadlineExceededError(
              "the deadline passed while the request waited for a batch"),
          {});
      return true;
    }
    return false;
  });
  BatchReport report;
  report.flush = flush;
  if (items.size() > 1 &&
      base::NoThrow([&] { return RunJoined(items, report); }).ok()) {
    for (const Waiting& waiting : items) {
      report.leads = &waiting == &items[0];
      waiting.item.done(absl::OkStatus(), report);
    }
    return;
  }
  // Alone, or not runnable together: each gets what it would get alone.
  for (const Waiting& waiting : items) {
    absl::StatusOr<BatchReport> alone = RunAlone(model_, waiting.item);
    if (alone.ok()) {
      alone->rows = waiting.rows;
      alone->flush = flush;
    }
    waiting.item.done(alone.status(), alone.value_or(BatchReport{}));
  }
}

absl::Status Batcher::RunJoined(const std::vector<Waiting>& items,
                                BatchReport& report) {
  report.start_ns = Clock::NowNs();
  report.rows = 0;
  report.requests = static_cast<int64_t>(items.size());
  absl::Time deadline = absl::InfinitePast();
  for (const Waiting& waiting : items) {
    report.rows += waiting.rows;
    deadline = std::max(deadline, waiting.item.deadline);
  }
  std::vector<TensorView> views = items[0].item.inputs.views;
  std::vector<std::string> joined(views.size());
  for (size_t i = 0; i < views.size(); ++i) {
    for (const Waiting& waiting : items) {
      const TensorView& part = waiting.item.inputs.views[i];
      joined[i].append(static_cast<const char*>(part.data), part.size);
    }
    views[i].dims[0] = report.rows;
    views[i].data = joined[i].data();
    views[i].size = joined[i].size();
  }
  std::set<int> selected;
  for (const Waiting& waiting : items) {
    selected.insert(waiting.item.run.selected.begin(),
                    waiting.item.run.selected.end());
  }
  // Each request has passed the limits by itself; there are none on them all.
  QUERN_ASSIGN_OR_RETURN(
      const PreparedRun run,
      Prepare(model_, views, {selected.begin(), selected.end()},
              std::numeric_limits<int64_t>::max()));
  std::vector<std::string> outputs(model_.outputs().size());
  std::vector<std::string*> targets;
  for (int index : run.selected) targets.push_back(&outputs[index]);
  std::vector<int64_t> kernel_ns;
  const int64_t ready_ns = Clock::NowNs();
  report.input_ns = ready_ns - report.start_ns;
  QUERN_ASSIGN_OR_RETURN(
      report.ran, RunInto(model_, run, views, targets,
                          {.deadline = deadline, .kernel_ns = &kernel_ns}));
  const int64_t end_ns = Clock::NowNs();
  QUERN_RETURN_IF_ERROR(Part(outputs, run.selected, items));
  for (const Waiting& waiting : items) {
    if (waiting.item.kernel_ns != nullptr) *waiting.item.kernel_ns = kernel_ns;
  }
  report.output_ns = Clock::NowNs() - end_ns;
  return absl::OkStatus();
}

// Gives each request its rows of the outputs `computed`.
absl::Status Batcher::Part(const std::vector<std::string>& outputs,
                           const std::vector<int>& computed,
                           const std::vector<Waiting>& items) {
  for (int index : computed) {
    size_t bytes = 0;
    for (const Waiting& waiting : items) {
      bytes += waiting.item.run.binding.output_bytes[index];
    }
    QUERN_RET_CHECK(bytes == outputs[index].size(),
                    "an output does not grow with the rows");
  }
  std::vector<size_t> taken(outputs.size(), 0);  // Bytes, of each output.
  for (const Waiting& waiting : items) {
    const BatchItem& item = waiting.item;
    const std::vector<size_t>& bytes = item.run.binding.output_bytes;
    for (size_t i = 0; i < item.targets.size(); ++i) {
      const int index = item.run.selected[i];
      item.targets[i]->assign(outputs[index], taken[index], bytes[index]);
    }
    for (size_t i = 0; i < bytes.size(); ++i) taken[i] += bytes[i];
  }
  return absl::OkStatus();
}

}  // namespace quern::server
