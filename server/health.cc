// SPDX-License-Identifier: Apache-2.0
#include "server/health.h"

#include <utility>

#include <spdlog/spdlog.h>

#include "engine/telemetry/distribution.h"

namespace quern::server {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);

}  // namespace

HealthMonitor::HealthMonitor(Engine* engine, telemetry::Metrics* metrics,
                             absl::Duration timeout,
                             std::function<void(bool healthy)> report)
    : engine_(*engine),
      metrics_(*metrics),
      timeout_(timeout),
      report_(std::move(report)) {
  for (const DeviceReport& device : engine_.Devices()) {
    auto watched = std::make_unique<Watched>();
    watched->device = device.name;
    RunCanary(*watched);
    devices_.push_back(std::move(watched));
  }
  Judge();
  for (const auto& watched : devices_) {
    watched->canary = std::make_unique<Periodic>(
        kInterval, [this, w = watched.get()] { RunCanary(*w); });
  }
  judge_ = std::make_unique<Periodic>(kInterval, [this] { Judge(); });
}

void HealthMonitor::RunCanary(Watched& watched) {
  const absl::Status status = engine_.Probe(watched.device);
  if (status.ok()) {
    watched.last_ok_ns = telemetry::Clock::NowNs();
    return;
  }
  metrics_.Add(telemetry::Metric::kCanaryFailures, {watched.device});
  spdlog::error("the canary kernel of device {} failed: {}", watched.device,
                std::string(status.message()));
}

void HealthMonitor::Judge() {
  bool healthy = true;
  for (const auto& watched : devices_) {
    const int64_t last = watched->last_ok_ns;
    const absl::Duration age =
        absl::Nanoseconds(telemetry::Clock::NowNs() - last);
    metrics_.Set(telemetry::Metric::kCanaryAge, {watched->device},
                 last < 0 ? -1 : absl::ToDoubleSeconds(age));
    healthy = healthy && last >= 0 && age <= timeout_;
  }
  if (reported_ && healthy == healthy_) return;
  if (reported_) {
    spdlog::log(healthy ? spdlog::level::info : spdlog::level::err,
                "the devices are {}: the server is {}",
                healthy ? "well again" : "not well",
                healthy ? "ready" : "not ready");
  }
  healthy_ = healthy;
  reported_ = true;
  report_(healthy);
}

}  // namespace quern::server
