// SPDX-License-Identifier: Apache-2.0
#include "server/loaded_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace quern::server {

using telemetry::Metric;

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

LoadedModel::LoadedModel(std::string name, int64_t version,
                         std::shared_ptr<const graph::Graph> graph,
                         base::CompileOptions options,
                         std::shared_ptr<const Model> model,
                         inference::ModelConfig config,
                         telemetry::Metrics* metrics)
    : name_(std::move(name)),
      version_(version),
      label_(version == 0 ? name_ : absl::StrCat(name_, "/", version)),
      graph_(std::move(graph)),
      options_(std::move(options)),
      model_(std::move(model)),
      config_(std::move(config)),
      metrics_(metrics),
      batcher_(config_.has_dynamic_batching()
                   ? std::make_unique<Batcher>(model_.get(), config_, label_,
                                               INT32_MAX, metrics)
                   : nullptr) {}

LoadedModel::~LoadedModel() { Retire(); }

void LoadedModel::Enlist() const {
  base::MutexLock lock(&mutex_);
  if (listed_) return;
  listed_ = true;
  request_time_ = metrics_->GetDistribution(Metric::kRequestDuration, {label_});
  for (size_t i = 0; i < kPhases; ++i) {
    phase_time_[i] = metrics_->GetDistribution(
        Metric::kRequestPhaseDuration, {label_, NameOf(static_cast<Phase>(i))});
  }
  for (const Note& note : model_->notes()) {
    metrics_->Add(Metric::kNotes, {label_, note.kind});
  }
}

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
  if (!listed_) return;
  request_time_->Record(times.total_ns);
  if (good) {
    for (size_t i = 0; i < kPhases; ++i) {
      phase_time_[i]->Record(times.phase[i]);
    }
  }
  std::shared_ptr<telemetry::Number>& number = code_numbers_[code];
  if (number == nullptr) {
    number = metrics_->GetNumber(Metric::kRequests, {label_, CodeName(code)});
  }
  number->Add(1);
}

void LoadedModel::CountExecution(int64_t rows,
                                 const RequestTimes& times) const {
  base::MutexLock lock(&mutex_);
  ++statistics_.executions;
  ModelStatistics::Batch& batch = statistics_.by_batch[rows];
  ++batch.count;
  for (size_t i = 0; i < kPhases; ++i) batch.phase_ns[i] += times.phase[i];
}

ModelStatistics LoadedModel::Statistics() const {
  base::MutexLock lock(&mutex_);
  return statistics_;
}

void LoadedModel::Retire() const {
  base::MutexLock lock(&mutex_);
  if (!listed_) return;
  listed_ = false;
  metrics_->Remove("model", label_);
}

}  // namespace quern::server
