// SPDX-License-Identifier: Apache-2.0
#include "engine/telemetry/metrics.h"

#include <algorithm>

#include "absl/strings/str_split.h"

#include "engine/base/check.h"

namespace quern::telemetry {
const std::vector<MetricInfo>& AllMetrics() {
  static const auto* const table = new std::vector<MetricInfo>{
#define QUERN_METRIC(name, text, type, unit, labels, help)                   \
  {Metric::name,                                                             \
   text,                                                                     \
   MetricType::type,                                                         \
   unit,                                                                     \
   std::vector<std::string>(absl::StrSplit(labels, ',', absl::SkipEmpty())), \
   help},
#include "engine/telemetry/metrics.inc"
#undef QUERN_METRIC
  };
  return *table;
}

const MetricInfo& Info(Metric metric) {
  return AllMetrics()[static_cast<size_t>(metric)];
}

std::shared_ptr<Number> Metrics::GetNumber(Metric metric, Labels labels) {
  const MetricInfo& info = Info(metric);
  QUERN_CHECK(info.type != MetricType::kHistogram);
  QUERN_CHECK(labels.size() == info.labels.size());
  base::MutexLock lock(&mutex_);
  Family& family = numbers_[metric];
  const auto it = family.find(labels);
  if (it != family.end()) return it->second;
  if (family.size() >= kMaxLabelSets) {
    std::fill(labels.begin(), labels.end(), "_other");
  }
  std::shared_ptr<Number>& number = family[std::move(labels)];
  if (number == nullptr) number = std::make_shared<Number>();
  return number;
}

void Metrics::Add(Metric metric, Labels labels, double amount) {
  GetNumber(metric, std::move(labels))->Add(amount);
}

void Metrics::Set(Metric metric, Labels labels, double value) {
  GetNumber(metric, std::move(labels))->Set(value);
}

std::vector<Metrics::Sample> Metrics::Snapshot() const {
  std::vector<Sample> result;
  base::MutexLock lock(&mutex_);
  for (const auto& [metric, family] : numbers_) {
    for (const auto& [labels, number] : family) {
      result.push_back({metric, labels, number->Get(), std::nullopt});
    }
  }
  return result;
}

}  // namespace quern::telemetry
