// SPDX-License-Identifier: Apache-2.0
#include "server/metrics_exporter.h"

#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "engine/base/status_macros.h"
#include "server/derived_metrics.h"
#include "server/http/http_server.h"

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

std::string Serialize(const std::vector<prometheus::MetricFamily>& families) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

HttpResponse WrongPath(const HttpRequest& head) {
  if (head.path != "/metrics") {
    return HttpError(404, "metrics are at /metrics");
  }
  HttpResponse response = HttpError(405, "metrics are read by GET");
  response.headers.emplace_back("Allow", "GET, HEAD");
  return response;
}

class HttpExporter final : public MetricsExporter {
 public:
  HttpExporter(const telemetry::Metrics* metrics, ListLoaded list_loaded,
               bool triton)
      : metrics_(*metrics),
        list_loaded_(std::move(list_loaded)),
        machine_(triton ? std::make_unique<MachineMeter>() : nullptr) {}

  absl::Status Listen(const std::string& address, telemetry::Metrics* metrics) {
    HttpServerOptions options;
    options.address = address;
    options.listener = "metrics";
    options.flag = "--metrics-address";
    options.threads = 1;
    options.max_connections = 64;
    const auto route =
        [this](
            const HttpRequest& head) -> std::variant<HttpRoute, HttpResponse> {
      if (head.path != "/metrics" ||
          (head.method != "GET" && head.method != "HEAD")) {
        return WrongPath(head);
      }
      HttpRoute found;
      found.handle = [this](const HttpRequest&, const HttpReply& reply) {
        reply(Scrape());
      };
      return found;
    };
    QUERN_ASSIGN_OR_RETURN(server_, StartHttpServer(options, route, metrics));
    return absl::OkStatus();
  }

  std::string address() const override { return server_->address(); }

 private:
  // On the server's one thread.
  HttpResponse Scrape() const {
    HttpResponse response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = Serialize(Families(metrics_, list_loaded_, machine_.get()));
    return response;
  }

  const telemetry::Metrics& metrics_;
  const ListLoaded list_loaded_;
  const std::unique_ptr<MachineMeter> machine_;  // Null without nv_ names.
  std::unique_ptr<Listener> server_;             // Ends before what it shows.
};

}  // namespace

std::string MetricsText(const telemetry::Metrics& metrics,
                        const ListLoaded& list_loaded) {
  MachineMeter machine;
  return Serialize(Families(metrics, list_loaded, &machine));
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const std::string& address, telemetry::Metrics* metrics,
    ListLoaded list_loaded, bool triton) {
  auto exporter =
      std::make_unique<HttpExporter>(metrics, std::move(list_loaded), triton);
  QUERN_RETURN_IF_ERROR(exporter->Listen(address, metrics));
  return exporter;
}

}  // namespace quern::server
