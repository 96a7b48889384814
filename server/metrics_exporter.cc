// SPDX-License-Identifier: Apache-2.0
#include "server/metrics_exporter.h"

#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "server/derived_metrics.h"

namespace quern::server {
namespace {

using telemetry::Distribution;
using telemetry::Metric;
using telemetry::MetricType;

constexpr double kSecondsPerNs = 1e-9;

prometheus::MetricType TypeOf(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
    case MetricType::kGauge:
      break;
  }
  return prometheus::MetricType::Gauge;
}

prometheus::ClientMetric LabelledMetric(
    const telemetry::MetricInfo& info, const std::vector<std::string>& labels) {
  prometheus::ClientMetric metric;
  for (size_t i = 0; i < labels.size(); ++i) {
    metric.label.push_back({info.labels[i], labels[i]});
  }
  return metric;
}

void SetHistogram(prometheus::ClientMetric& metric,
                  const Distribution& distribution) {
  metric.histogram.sample_count = distribution.count();
  metric.histogram.sample_sum = distribution.sum_ns() * kSecondsPerNs;
  for (const Distribution::Bucket& bucket : distribution.CumulativeOctaves()) {
    metric.histogram.bucket.push_back(
        {bucket.count, static_cast<double>(bucket.upper_ns) * kSecondsPerNs});
  }
  metric.histogram.bucket.push_back(
      {distribution.count(), std::numeric_limits<double>::infinity()});
}

void AddSample(const telemetry::Metrics::Sample& sample,
               std::map<Metric, prometheus::MetricFamily>& families) {
  const telemetry::MetricInfo& info = telemetry::Info(sample.metric);
  prometheus::MetricFamily& family = families[info.metric];
  family.name = info.name;
  family.help = info.help;
  family.type = TypeOf(info.type);
  prometheus::ClientMetric metric = LabelledMetric(info, sample.labels);
  if (sample.distribution.has_value()) {
    SetHistogram(metric, *sample.distribution);
  } else {
    metric.counter.value = sample.value;
    metric.gauge.value = sample.value;
  }
  family.metric.push_back(std::move(metric));
}

std::vector<prometheus::MetricFamily> Families(
    const telemetry::Metrics& metrics, const ListLoaded& list_loaded,
    MachineMeter* machine) {
  std::map<Metric, prometheus::MetricFamily> families;
  for (const auto& sample : metrics.Snapshot()) AddSample(sample, families);
  for (const auto& sample : DerivedSamples(list_loaded(), machine != nullptr)) {
    AddSample(sample, families);
  }
  if (machine != nullptr) {
    for (const auto& sample : machine->Read()) AddSample(sample, families);
  }
  std::vector<prometheus::MetricFamily> all;
  for (auto& [metric, family] : families) all.push_back(std::move(family));
  return all;
}

class Collector final : public prometheus::Collectable {
 public:
  Collector(const telemetry::Metrics* metrics, ListLoaded list_loaded,
            bool triton)
      : metrics_(*metrics),
        list_loaded_(std::move(list_loaded)),
        machine_(triton ? std::make_unique<MachineMeter>() : nullptr) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    return Families(metrics_, list_loaded_, machine_.get());
  }

 private:
  const telemetry::Metrics& metrics_;
  const ListLoaded list_loaded_;
  const std::unique_ptr<MachineMeter> machine_;  // Null without nv_ names.
};

class HttpExporter final : public MetricsExporter {
 public:
  HttpExporter(const std::string& address, std::shared_ptr<Collector> collector)
      : collector_(std::move(collector)), exposer_(address) {
    exposer_.RegisterCollectable(collector_);
    const std::vector<int> ports = exposer_.GetListeningPorts();
    address_ = absl::StrCat(address.substr(0, address.rfind(':')), ":",
                            ports.empty() ? 0 : ports[0]);
  }

  std::string address() const override { return address_; }

 private:
  std::shared_ptr<Collector> collector_;
  prometheus::Exposer exposer_;
  std::string address_;
};

}  // namespace

std::string MetricsText(const telemetry::Metrics& metrics,
                        const ListLoaded& list_loaded) {
  std::ostringstream out;
  MachineMeter machine;
  prometheus::TextSerializer().Serialize(
      out, Families(metrics, list_loaded, &machine));
  return out.str();
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const std::string& address, const telemetry::Metrics* metrics,
    ListLoaded list_loaded, bool triton) {
  // The library reports what goes wrong by exceptions; they end here.
  try {
    return std::make_unique<HttpExporter>(
        address,
        std::make_shared<Collector>(metrics, std::move(list_loaded), triton));
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics at ", address, ": ", error.what()));
  }
}

}  // namespace quern::server
