// SPDX-License-Identifier: Apache-2.0
#include "server/metrics_exporter.h"

#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace quern::server {
namespace {

using telemetry::Distribution;
using telemetry::Metric;
using telemetry::MetricType;

constexpr double kSecondsPerNs = 1e-9;

prometheus::MetricType TypeOf(MetricType type, const std::string& name) {
  switch (type) {
    case MetricType::kCounter:
      return prometheus::MetricType::Counter;
    case MetricType::kHistogram:
      return prometheus::MetricType::Histogram;
    case MetricType::kDerived:
      // Counts of launches only grow; means and the like go up and down.
      return name.ends_with("_total") ? prometheus::MetricType::Counter
                                      : prometheus::MetricType::Gauge;
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

// The value of a metric that is computed from the times of a kernel; nothing
// if `metric` is none of those.
std::optional<double> Derive(Metric metric, const Distribution& time) {
  switch (metric) {
    case Metric::kKernelDurationCv:
      return time.cv();
    case Metric::kKernelDurationMean:
      return time.mean_ns() * kSecondsPerNs;
    case Metric::kKernelDurationVariance:
      return time.variance_ns2() * kSecondsPerNs * kSecondsPerNs;
    case Metric::kKernelLaunches:
      return static_cast<double>(time.count());
    default:
      return std::nullopt;
  }
}

// The times of the kernels by labels {model, device, kernel}.
using KernelTimes = std::map<std::vector<std::string>, Distribution>;

KernelTimes TimesOf(const ListLoaded& list_loaded) {
  KernelTimes times;
  for (const std::shared_ptr<const LoadedModel>& loaded : list_loaded()) {
    for (const KernelReport& kernel : loaded->model().Kernels()) {
      times[{loaded->label(), kernel.device, kernel.name}].Merge(kernel.time);
    }
  }
  return times;
}

void AddKernel(prometheus::MetricFamily& family,
               const telemetry::MetricInfo& info,
               const std::vector<std::string>& labels,
               const Distribution& time) {
  prometheus::ClientMetric metric = LabelledMetric(info, labels);
  if (info.metric == Metric::kKernelDuration) {
    SetHistogram(metric, time);
    family.metric.push_back(std::move(metric));
  } else if (const auto value = Derive(info.metric, time)) {
    metric.gauge.value = *value;
    metric.counter.value = *value;
    family.metric.push_back(std::move(metric));
  }
}

std::vector<prometheus::MetricFamily> Families(
    const telemetry::Metrics& metrics, const ListLoaded& list_loaded) {
  std::map<Metric, prometheus::MetricFamily> families;
  const auto family_of =
      [&](const telemetry::MetricInfo& info) -> prometheus::MetricFamily& {
    prometheus::MetricFamily& family = families[info.metric];
    family.name = info.name;
    family.help = info.help;
    family.type = TypeOf(info.type, info.name);
    return family;
  };
  for (const telemetry::Metrics::Sample& sample : metrics.Snapshot()) {
    const telemetry::MetricInfo& info = telemetry::Info(sample.metric);
    prometheus::ClientMetric metric = LabelledMetric(info, sample.labels);
    if (sample.distribution.has_value()) {
      SetHistogram(metric, *sample.distribution);
    } else {
      metric.counter.value = sample.value;
      metric.gauge.value = sample.value;
    }
    family_of(info).metric.push_back(std::move(metric));
  }
  const KernelTimes times = TimesOf(list_loaded);
  for (const telemetry::MetricInfo& info : telemetry::AllMetrics()) {
    if (info.metric != Metric::kKernelDuration &&
        info.type != MetricType::kDerived) {
      continue;
    }
    for (const auto& [labels, time] : times) {
      AddKernel(family_of(info), info, labels, time);
    }
  }
  std::vector<prometheus::MetricFamily> all;
  for (auto& [metric, family] : families) all.push_back(std::move(family));
  return all;
}

class Collector final : public prometheus::Collectable {
 public:
  Collector(const telemetry::Metrics* metrics, ListLoaded list_loaded)
      : metrics_(*metrics), list_loaded_(std::move(list_loaded)) {}

  std::vector<prometheus::MetricFamily> Collect() const override {
    return Families(metrics_, list_loaded_);
  }

 private:
  const telemetry::Metrics& metrics_;
  const ListLoaded list_loaded_;
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
  prometheus::TextSerializer().Serialize(out, Families(metrics, list_loaded));
  return out.str();
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const std::string& address, const telemetry::Metrics* metrics,
    ListLoaded list_loaded) {
  // The library reports what goes wrong by exceptions; they end here.
  try {
    return std::make_unique<HttpExporter>(
        address, std::make_shared<Collector>(metrics, std::move(list_loaded)));
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics at ", address, ": ", error.what()));
  }
}

}  // namespace quern::server
