// SPDX-License-Identifier: Apache-2.0
#include "server/loaded_model.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace quern::server {

using telemetry::Metric;

std::string CodeName(absl::StatusCode code) {
  return absl::StatusCodeToString(code);
}

LoadedModel::LoadedModel(std::string label,
                         std::shared_ptr<const graph::Graph> graph,
                         base::CompileOptions options,
                         std::shared_ptr<const Model> model,
                         telemetry::Metrics* metrics)
    : label_(std::move(label)),
      graph_(std::move(graph)),
      options_(std::move(options)),
      model_(std::move(model)),
      metrics_(metrics) {}

LoadedModel::~LoadedModel() { Retire(); }

void LoadedModel::Enlist() const {
  base::MutexLock lock(&mutex_);
  if (listed_) return;
  listed_ = true;
  request_time_ = metrics_->GetDistribution(Metric::kRequestDuration, {label_});
  queue_time_ = metrics_->GetDistribution(Metric::kQueueDuration, {label_});
  for (const Note& note : model_->notes()) {
    metrics_->Add(Metric::kNotes, {label_, note.kind});
  }
}

void LoadedModel::CountRequest(absl::StatusCode code, int64_t total_ns,
                               int64_t queue_ns) const {
  const size_t index = static_cast<size_t>(code);
  base::MutexLock lock(&mutex_);
  if (!listed_ || index >= kCodes) return;
  request_time_->Record(total_ns);
  if (code == absl::StatusCode::kOk) queue_time_->Record(queue_ns);
  if (by_code_[index] == nullptr) {
    by_code_[index] =
        metrics_->GetNumber(Metric::kRequests, {label_, CodeName(code)});
  }
  by_code_[index]->Add(1);
}

void LoadedModel::Retire() const {
  base::MutexLock lock(&mutex_);
  if (!listed_) return;
  listed_ = false;
  metrics_->Remove("model", label_);
}

}  // namespace quern::server
