// SPDX-License-Identifier: Apache-2.0
//
// Admission decides, before any work, whether a request may come in: how many
// of a model may be under way, and how many bytes of requests in all. What is
// refused is refused at once, so that clients can go elsewhere.
//
// Any thread may use it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "engine/telemetry/metrics.h"
#include "server/loaded_model.h"

namespace quern::server {

struct AdmissionLimits {
  int64_t pending_per_model = 0;  // Requests accepted and not yet answered.
  int64_t bytes_in_flight = 0;    // Of all requests accepted.
};

class Admission {
 public:
  // `metrics` outlives it.
  Admission(const AdmissionLimits& limits, telemetry::Metrics* metrics);

  // Holds a request's place until it is destroyed.
  class Ticket {
   public:
    Ticket(std::atomic<int64_t>* bytes_in_flight, int64_t bytes,
           std::shared_ptr<const LoadedModel> model,
           std::shared_ptr<telemetry::Number> bytes_metric);
    ~Ticket();
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

   private:
    std::atomic<int64_t>& bytes_in_flight_;
    const int64_t bytes_;
    const std::shared_ptr<const LoadedModel> model_;
    const std::shared_ptr<telemetry::Number> bytes_metric_;
  };

  // kResourceExhausted over a limit, with its flag. A request that is alone is
  // never over the limit of bytes: that of a message bounds it.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<Ticket>> Enter(
      std::shared_ptr<const LoadedModel> model, int64_t bytes);

 private:
  const AdmissionLimits limits_;
  telemetry::Metrics& metrics_;
  const std::shared_ptr<telemetry::Number> bytes_metric_;
  std::atomic<int64_t> bytes_in_flight_ = 0;
};

}  // namespace quern::server
