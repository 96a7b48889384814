// SPDX-License-Identifier: Apache-2.0
//
// Serves the metrics to Prometheus over HTTP at /metrics: the registry's, and
// for each loaded model a histogram, mean, variance and so on of its kernels.
//
// Scrapes run on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/telemetry/metrics.h"
#include "server/loaded_model.h"

namespace quern::server {

// The models that are loaded at the moment.
using ListLoaded =
    std::function<std::vector<std::shared_ptr<const LoadedModel>>()>;

// The metrics as Prometheus reads them.
[[nodiscard]] std::string MetricsText(const telemetry::Metrics& metrics,
                                      const ListLoaded& list_loaded);

class MetricsExporter {
 public:
  // Listens at `address`, "HOST:PORT". `metrics` outlives the exporter. With
  // `triton`, what is served has Triton's names too.
  // kUnavailable if the address cannot be had.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(
      const std::string& address, telemetry::Metrics* metrics,
      ListLoaded list_loaded, bool triton);
  virtual ~MetricsExporter() = default;

  // Where it listens, with the port that was picked.
  [[nodiscard]] virtual std::string address() const = 0;
};

}  // namespace quern::server
