// SPDX-License-Identifier: Apache-2.0
//
// Metrics holds the product's numbers, each under a Metric of the table
// metrics.inc and the values of its labels. What belongs to a model or a kernel
// is not here: that is counted where it happens, and samples are made of it
// when somebody asks, so that it goes when the model goes. Nothing is rendered
// here; the server does that.
//
// Any thread may call it. GetNumber takes a lock; what it returns is updated
// without one and stays valid as long as it is held. The number of label sets
// of a metric is bounded: those beyond share one whose values are "_other".
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "engine/base/mutex.h"
#include "engine/telemetry/distribution.h"

namespace quern::telemetry {

enum class Metric : uint8_t {
#define QUERN_METRIC(name, text, type, unit, labels, help) name,
#include "engine/telemetry/metrics.inc"
#undef QUERN_METRIC
};

enum class MetricType : uint8_t { kCounter, kGauge, kHistogram };

// One row of the table.
struct MetricInfo {
  Metric metric;
  const char* name;  // As Prometheus shows it.
  MetricType type;
  const char* unit;
  std::vector<std::string> labels;
  const char* help;
};

// The table, in the order of the enumeration.
[[nodiscard]] const std::vector<MetricInfo>& AllMetrics();

[[nodiscard]] const MetricInfo& Info(Metric metric);

// A counter or a gauge.
class Number {
 public:
  void Add(double amount) {
    value_.fetch_add(amount, std::memory_order_relaxed);
  }
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] double Get() const {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<double> value_ = 0;
};

class Metrics {
 public:
  using Labels = std::vector<std::string>;  // Values, in the table's order.

  // The state of one label set at one moment; `value` of numbers,
  // `distribution` of histograms.
  struct Sample {
    Metric metric;
    Labels labels;
    double value = 0;
    std::optional<Distribution> distribution;
  };

  // Label sets kept for one metric.
  static constexpr size_t kMaxLabelSets = 4096;

  // The number of a counter or gauge, 0 when it is new. The metric's type and
  // its number of labels must fit; that they do is the caller's promise.
  [[nodiscard]] std::shared_ptr<Number> GetNumber(Metric metric,
                                                  Labels labels = {});

  // For places that are not hot: GetNumber, then Add or Set.
  void Add(Metric metric, Labels labels, double amount = 1);
  void Set(Metric metric, Labels labels, double value);

  // All numbers, sorted by metric and labels.
  [[nodiscard]] std::vector<Sample> Snapshot() const;

 private:
  using Family = std::map<Labels, std::shared_ptr<Number>>;

  mutable base::Mutex mutex_;
  std::map<Metric, Family> numbers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::telemetry
