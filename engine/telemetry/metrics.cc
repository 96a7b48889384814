// SPDX-License-Identifier: Apache-2.0
#include "engine/telemetry/metrics.h"

#include <algorithm>

#include "absl/strings/str_split.h"

#include "engine/base/check.h"

namespace quern::telemetry {
namespace {

// The cell of `labels`, or of "_other" when the family is full.
template <typename T>
std::shared_ptr<T> Find(std::map<Metrics::Labels, std::shared_ptr<T>>& family,
                        Metrics::Labels labels) {
  auto it = family.find(labels);
  if (it != family.end()) return it->second;
  if (family.size() >= Metrics::kMaxLabelSets) {
    std::fill(labels.begin(), labels.end(), "_other");
  }
  std::shared_ptr<T>& cell = family[std::move(labels)];
  if (cell == nullptr) cell = std::make_shared<T>();
  return cell;
}

// The place of `label` among the labels of `metric`, or -1.
int LabelIndex(Metric metric, absl::string_view label) {
  const std::vector<std::string>& labels = Info(metric).labels;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == label) return static_cast<int>(i);
  }
  return -1;
}

template <typename T>
void RemoveFrom(
    std::map<Metric, std::map<Metrics::Labels, std::shared_ptr<T>>>& families,
    absl::string_view label, absl::string_view value) {
  for (auto& [metric, family] : families) {
    const int index = LabelIndex(metric, label);
    if (index < 0) continue;
    std::erase_if(family,
                  [&](const auto& cell) { return cell.first[index] == value; });
  }
}

}  // namespace

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
  QUERN_CHECK(info.type == MetricType::kCounter ||
              info.type == MetricType::kGauge);
  QUERN_CHECK(labels.size() == info.labels.size());
  base::MutexLock lock(&mutex_);
  return Find(numbers_[metric], std::move(labels));
}

std::shared_ptr<SharedDistribution> Metrics::GetDistribution(Metric metric,
                                                             Labels labels) {
  const MetricInfo& info = Info(metric);
  QUERN_CHECK(info.type == MetricType::kHistogram);
  QUERN_CHECK(labels.size() == info.labels.size());
  base::MutexLock lock(&mutex_);
  return Find(distributions_[metric], std::move(labels));
}

void Metrics::Add(Metric metric, Labels labels, double amount) {
  GetNumber(metric, std::move(labels))->Add(amount);
}

void Metrics::Set(Metric metric, Labels labels, double value) {
  GetNumber(metric, std::move(labels))->Set(value);
}

void Metrics::Remove(absl::string_view label, absl::string_view value) {
  base::MutexLock lock(&mutex_);
  RemoveFrom(numbers_, label, value);
  RemoveFrom(distributions_, label, value);
}

std::vector<Metrics::Sample> Metrics::Snapshot() const {
  std::vector<Sample> result;
  base::MutexLock lock(&mutex_);
  for (const MetricInfo& info : AllMetrics()) {
    if (const auto it = numbers_.find(info.metric); it != numbers_.end()) {
      for (const auto& [labels, cell] : it->second) {
        result.push_back({info.metric, labels, cell->Get(), std::nullopt});
      }
    }
    const auto it = distributions_.find(info.metric);
    if (it == distributions_.end()) continue;
    for (const auto& [labels, cell] : it->second) {
      result.push_back({info.metric, labels, 0, cell->Snapshot()});
    }
  }
  return result;
}

}  // namespace quern::telemetry
