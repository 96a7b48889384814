// SPDX-License-Identifier: Apache-2.0
#include "server/loaded_model.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace quern::server {
namespace {

// The power of two above a size.
size_t SizeClass(int64_t bytes) {
  return static_cast<size_t>(
      std::bit_width(static_cast<uint64_t>(std::max<int64_t>(bytes, 0))) & 63);
}

}  // namespace

std::string CodeName(absl::StatusCode code) {
  return absl::StatusCodeToString(code);
}

const char* NameOf(Phase phase) {
  switch (phase) {
    case Phase::kQueue:
      return "queue";
    case Phase::kInput:
      return "input";
    case Phase::kExecute:
      return "execute";
    case Phase::kOutput:
      return "output";
  }
  return "";
}

void ModelStatistics::Merge(const ModelStatistics& other) {
  success.Merge(other.success);
  failure.Merge(other.failure);
  for (size_t i = 0; i < kPhases; ++i) phase[i].Merge(other.phase[i]);
  inferences += other.inferences;
  executions += other.executions;
  last_inference_ms = std::max(last_inference_ms, other.last_inference_ms);
  for (const auto& [code, count] : other.by_code) by_code[code] += count;
  for (const auto& [rows, batch] : other.by_batch) {
    Batch& mine = by_batch[rows];
    mine.count += batch.count;
    for (size_t i = 0; i < kPhases; ++i) mine.phase_ns[i] += batch.phase_ns[i];
  }
  for (const auto& [flush, count] : other.by_flush) by_flush[flush] += count;
  joined_requests += other.joined_requests;
}

ModelStatistics ModelStatistics::Since(const ModelStatistics& earlier) const {
  ModelStatistics part = *this;
  part.success = success.Since(earlier.success);
  part.failure = failure.Since(earlier.failure);
  for (size_t i = 0; i < kPhases; ++i) {
    part.phase[i] = phase[i].Since(earlier.phase[i]);
  }
  part.inferences -= earlier.inferences;
  part.executions -= earlier.executions;
  for (const auto& [code, count] : earlier.by_code) part.by_code[code] -= count;
  for (const auto& [rows, batch] : earlier.by_batch) {
    Batch& mine = part.by_batch[rows];
    mine.count -= batch.count;
    for (size_t i = 0; i < kPhases; ++i) mine.phase_ns[i] -= batch.phase_ns[i];
  }
  for (const auto& [flush, count] : earlier.by_flush) {
    part.by_flush[flush] -= count;
  }
  part.joined_requests -= earlier.joined_requests;
  return part;
}

LoadedModel::LoadedModel(std::string name, int64_t version,
                         std::shared_ptr<const graph::Graph> graph,
                         base::CompileOptions options,
                         std::shared_ptr<const Model> model,
                         inference::ModelConfig config)
    : name_(std::move(name)),
      version_(version),
      label_(version == 0 ? name_ : absl::StrCat(name_, "/", version)),
      graph_(std::move(graph)),
      options_(std::move(options)),
      model_(std::move(model)),
      config_(std::move(config)),
      batcher_(config_.has_dynamic_batching()
                   ? std::make_unique<Batcher>(model_.get(), config_)
                   : nullptr) {}

void LoadedModel::CountRequest(absl::StatusCode code, const RequestTimes& times,
                               int64_t rows) const {
  const bool good = code == absl::StatusCode::kOk;
  base::MutexLock lock(&mutex_);
  (good ? statistics_.success : statistics_.failure).Record(times.total_ns);
  ++statistics_.by_code[code];
  if (good) {
    statistics_.inferences += static_cast<uint64_t>(rows);
    statistics_.last_inference_ms = absl::ToUnixMillis(absl::Now());
    for (size_t i = 0; i < kPhases; ++i) {
      statistics_.phase[i].Record(times.phase[i]);
    }
  }
}

void LoadedModel::CountExecution(const Execution& execution) const {
  base::MutexLock lock(&mutex_);
  ++statistics_.executions;
  ModelStatistics::Batch& batch = statistics_.by_batch[execution.rows];
  ++batch.count;
  for (size_t i = 0; i < kPhases; ++i) {
    batch.phase_ns[i] += execution.times.phase[i];
  }
  ++statistics_.by_flush[execution.flush];
  if (execution.requests > 1) {
    statistics_.joined_requests += static_cast<uint64_t>(execution.requests);
  }
}

void LoadedModel::LearnTime(int64_t bytes, int64_t ns) const {
  std::atomic<int64_t>& longest = longest_ns_[SizeClass(bytes)];
  // Up at once, down slowly. That two threads may meet here loses little.
  const int64_t before = longest.load(std::memory_order_relaxed);
  longest.store(std::max({int64_t{1}, ns, before - before / 16}),
                std::memory_order_relaxed);
}

bool LoadedModel::IsShort(int64_t bytes, int64_t limit_ns) const {
  const int64_t longest =
      longest_ns_[SizeClass(bytes)].load(std::memory_order_relaxed);
  return longest > 0 && longest <= limit_ns;
}

ModelStatistics LoadedModel::Statistics() const {
  base::MutexLock lock(&mutex_);
  return statistics_;
}

}  // namespace quern::server
