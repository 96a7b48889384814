// SPDX-License-Identifier: Apache-2.0
#include "server/admission.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::server {

using telemetry::Metric;

Admission::Admission(const AdmissionLimits& limits, telemetry::Metrics* metrics)
    : limits_(limits),
      metrics_(*metrics),
      bytes_metric_(metrics->GetNumber(Metric::kRequestBytesInFlight)) {}

void Admission::Bytes::Release() {
  admission_.bytes_in_flight_ -= taken_;
  admission_.bytes_metric_->Add(-static_cast<double>(taken_));
  taken_ = 0;
}

absl::Status Admission::Bytes::Take(int64_t bytes) {
  const int64_t before = admission_.bytes_in_flight_.fetch_add(bytes);
  const int64_t limit = admission_.limits_.bytes_in_flight;
  if (before > taken_ && before + bytes > limit) {
    admission_.bytes_in_flight_ -= bytes;
    return admission_.Refuse(absl::StrCat(
        "requests of ", before - taken_, " bytes are under way, and this one ",
        "has ", taken_ + bytes, "; the limit of --max-bytes-in-flight is ",
        limit));
  }
  taken_ += bytes;
  int64_t most = admission_.most_bytes_;
  while (most < before + bytes &&
         !admission_.most_bytes_.compare_exchange_weak(most, before + bytes)) {
  }
  admission_.bytes_metric_->Add(static_cast<double>(bytes));
  return absl::OkStatus();
}

Admission::Ticket::Ticket(Admission* admission,
                          std::shared_ptr<const LoadedModel> model)
    : bytes(admission), admission_(*admission), model_(std::move(model)) {
  ++admission_.entered_;
}

Admission::Ticket::~Ticket() {
  model_->AddPending(-1);
  --admission_.entered_;
}

absl::Status Admission::Refuse(const std::string& message) {
  metrics_.Add(Metric::kRejectedRequests, {"limit"});
  return absl::ResourceExhaustedError(
      absl::StrCat(message, "; try again later"));
}

absl::StatusOr<std::shared_ptr<Admission::Ticket>> Admission::Enter(
    std::shared_ptr<const LoadedModel> model, int64_t bytes) {
  if (closed_) {
    metrics_.Add(Metric::kRejectedRequests, {"draining"});
    return absl::UnavailableError(
        "the server is about to end; ask another one");
  }
  if (model->AddPending(1) > limits_.pending_per_model) {
    model->AddPending(-1);
    return Refuse(
        absl::StrCat(limits_.pending_per_model, " requests of ", model->label(),
                     " are under way, the limit of --max-pending-per-model"));
  }
  auto ticket = std::make_shared<Ticket>(this, std::move(model));
  QUERN_RETURN_IF_ERROR(ticket->bytes.Take(bytes));
  return ticket;
}

}  // namespace quern::server
