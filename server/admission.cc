// SPDX-License-Identifier: Apache-2.0
#include "server/admission.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace quern::server {

using telemetry::Metric;

Admission::Admission(const AdmissionLimits& limits, telemetry::Metrics* metrics)
    : limits_(limits),
      metrics_(*metrics),
      bytes_metric_(metrics->GetNumber(Metric::kRequestBytesInFlight)) {}

Admission::Ticket::Ticket(std::atomic<int64_t>* bytes_in_flight, int64_t bytes,
                          std::shared_ptr<const LoadedModel> model,
                          std::shared_ptr<telemetry::Number> bytes_metric)
    : bytes_in_flight_(*bytes_in_flight),
      bytes_(bytes),
      model_(std::move(model)),
      bytes_metric_(std::move(bytes_metric)) {
  bytes_metric_->Add(static_cast<double>(bytes_));
}

Admission::Ticket::~Ticket() {
  bytes_in_flight_ -= bytes_;
  bytes_metric_->Add(-static_cast<double>(bytes_));
  model_->AddPending(-1);
}

absl::StatusOr<std::shared_ptr<Admission::Ticket>> Admission::Enter(
    std::shared_ptr<const LoadedModel> model, int64_t bytes) {
  const auto refuse = [&](const std::string& message) {
    metrics_.Add(Metric::kRejectedRequests, {"limit"});
    return absl::ResourceExhaustedError(
        absl::StrCat(message, "; try again later"));
  };
  if (model->AddPending(1) > limits_.pending_per_model) {
    model->AddPending(-1);
    return refuse(
        absl::StrCat(limits_.pending_per_model, " requests of ", model->label(),
                     " are under way, the limit of --max-pending-per-model"));
  }
  const int64_t before = bytes_in_flight_.fetch_add(bytes);
  if (before > 0 && before + bytes > limits_.bytes_in_flight) {
    bytes_in_flight_ -= bytes;
    model->AddPending(-1);
    return refuse(absl::StrCat("requests of ", before,
                               " bytes are under way, and this one has ", bytes,
                               "; the limit of --max-bytes-in-flight is ",
                               limits_.bytes_in_flight));
  }
  return std::make_shared<Ticket>(&bytes_in_flight_, bytes, std::move(model),
                                  bytes_metric_);
}

}  // namespace quern::server
