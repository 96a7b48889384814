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
#include <utility>

#include "absl/status/status.h"
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

  // The bytes of one request, counted until it is destroyed. For one thread at
  // a time; the admission outlives it.
  class Bytes {
   public:
    explicit Bytes(Admission* admission) : admission_(*admission) {}
    ~Bytes() { Release(); }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;

    // Counts `bytes` more. kResourceExhausted over the limit, with its flag. A
    // request that is alone is never over it: that of a message bounds it.
    [[nodiscard]] absl::Status Take(int64_t bytes);
    // Counts none any more.
    void Release();
    [[nodiscard]] int64_t taken() const { return taken_; }

   private:
    Admission& admission_;
    int64_t taken_ = 0;
  };

  // Holds a request's place until it is destroyed.
  class Ticket {
   public:
    Ticket(Admission* admission, std::shared_ptr<const LoadedModel> model);
    ~Ticket();
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

    Bytes bytes;

   private:
    Admission& admission_;
    const std::shared_ptr<const LoadedModel> model_;
  };

  // A place for a request of `bytes`. kResourceExhausted over a limit, with its
  // flag; kUnavailable once closed.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<Ticket>> Enter(
      std::shared_ptr<const LoadedModel> model, int64_t bytes);

  // Lets nobody in any more.
  void Close() { closed_ = true; }
  // How many are in.
  [[nodiscard]] int64_t entered() const { return entered_; }
  // The most bytes that were in flight since this was last asked.
  [[nodiscard]] int64_t TakeMostBytes() {
    return most_bytes_.exchange(bytes_in_flight_);
  }

 private:
  absl::Status Refuse(const std::string& message);

  const AdmissionLimits limits_;
  telemetry::Metrics& metrics_;
  const std::shared_ptr<telemetry::Number> bytes_metric_;
  std::atomic<bool> closed_ = false;
  std::atomic<int64_t> entered_ = 0;
  std::atomic<int64_t> bytes_in_flight_ = 0;
  std::atomic<int64_t> most_bytes_ = 0;
};

}  // namespace quern::server
