// SPDX-License-Identifier: Apache-2.0
#include "server/derived_metrics.h"

#include <fstream>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quern::server {
namespace {

using telemetry::Distribution;
using telemetry::Metric;
using Labels = telemetry::Metrics::Labels;
using Sample = telemetry::Metrics::Sample;

constexpr double kSecondsPerNs = 1e-9;
constexpr double kUsPerNs = 1e-3;

void AddMoments(Metric mean, Metric variance, Metric cv, const Labels& labels,
                const Distribution& time, std::vector<Sample>& out) {
  out.push_back({mean, labels, time.mean_ns() * kSecondsPerNs, {}});
  out.push_back({variance,
                 labels,
                 time.variance_ns2() * kSecondsPerNs * kSecondsPerNs,
                 {}});
  out.push_back({cv, labels, time.cv(), {}});
}

// Triton's word for why a request failed.
const char* TritonReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return "REJECTED";
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return "CANCELED";
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnknown:
      return "BACKEND";
    default:
      return "OTHER";
  }
}

// What the models of one label have counted: launches of the same kernel in
// several of them are one.
struct Counted {
  const LoadedModel* model = nullptr;  // One of them.
  ModelStatistics requests;
  int64_t pending = 0;
  std::map<std::string, double> notes;  // By kind.
  // By device and name.
  std::map<std::pair<std::string, std::string>, Distribution> kernels;
};

std::map<std::string, Counted> CountedByLabel(
    const std::vector<std::shared_ptr<const LoadedModel>>& models) {
  std::map<std::string, Counted> all;
  for (const std::shared_ptr<const LoadedModel>& loaded : models) {
    Counted& counted = all[loaded->label()];
    counted.model = loaded.get();
    counted.requests.Merge(loaded->Statistics());
    counted.pending += loaded->pending();
    for (const Note& note : loaded->model().notes()) ++counted.notes[note.kind];
    for (const KernelReport& kernel : loaded->model().Kernels()) {
      counted.kernels[{kernel.device, kernel.name}].Merge(kernel.time);
    }
  }
  return all;
}

void AddRequests(const std::string& label, const Counted& counted,
                 std::vector<Sample>& out) {
  const ModelStatistics& requests = counted.requests;
  Distribution all = requests.success;
  all.Merge(requests.failure);
  out.push_back({Metric::kRequestDuration, {label}, 0, all});
  for (const auto& [code, count] : requests.by_code) {
    out.push_back({Metric::kRequests,
                   {label, CodeName(code)},
                   static_cast<double>(count),
                   {}});
  }
  for (size_t i = 0; i < kPhases; ++i) {
    const Labels labels = {label, NameOf(static_cast<Phase>(i))};
    out.push_back(
        {Metric::kRequestPhaseDuration, labels, 0, requests.phase[i]});
    AddMoments(Metric::kRequestPhaseMean, Metric::kRequestPhaseVariance,
               Metric::kRequestPhaseCv, labels, requests.phase[i], out);
  }
  AddMoments(Metric::kRequestPhaseMean, Metric::kRequestPhaseVariance,
             Metric::kRequestPhaseCv, {label, "total"}, requests.success, out);
}

void AddBatches(const std::string& label, const ModelStatistics& requests,
                std::vector<Sample>& out) {
  const auto flushes = [&](Flush flush) {
    const auto it = requests.by_flush.find(flush);
    return it == requests.by_flush.end() ? 0. : static_cast<double>(it->second);
  };
  out.push_back(
      {Metric::kBatchFlushes, {label, "full"}, flushes(Flush::kFull), {}});
  out.push_back(
      {Metric::kBatchFlushes, {label, "delay"}, flushes(Flush::kDelay), {}});
  out.push_back({Metric::kBatchedRequests,
                 {label},
                 static_cast<double>(requests.joined_requests),
                 {}});
}

void AddKernels(const std::string& label, const Counted& counted,
                std::vector<Sample>& out) {
  for (const auto& [key, time] : counted.kernels) {
    const Labels labels = {label, key.first, key.second};
    out.push_back({Metric::kKernelDuration, labels, 0, time});
    out.push_back({Metric::kKernelLaunches,
                   labels,
                   static_cast<double>(time.count()),
                   {}});
    AddMoments(Metric::kKernelDurationMean, Metric::kKernelDurationVariance,
               Metric::kKernelDurationCv, labels, time, out);
  }
}

void AddTriton(const Counted& counted, std::vector<Sample>& out) {
  const ModelStatistics& requests = counted.requests;
  const Labels labels = {counted.model->name(),
                         absl::StrCat(counted.model->version())};
  const auto add = [&](Metric metric, double value) {
    out.push_back({metric, labels, value, {}});
  };
  const auto phase_us = [&](Phase phase) {
    return requests.phase[static_cast<size_t>(phase)].sum_ns() * kUsPerNs;
  };
  add(Metric::kNvRequestSuccess, static_cast<double>(requests.success.count()));
  add(Metric::kNvCount, static_cast<double>(requests.inferences));
  add(Metric::kNvExecCount, static_cast<double>(requests.executions));
  add(Metric::kNvRequestDuration, requests.success.sum_ns() * kUsPerNs);
  add(Metric::kNvQueueDuration, phase_us(Phase::kQueue));
  add(Metric::kNvComputeInput, phase_us(Phase::kInput));
  add(Metric::kNvComputeInfer, phase_us(Phase::kExecute));
  add(Metric::kNvComputeOutput, phase_us(Phase::kOutput));
  add(Metric::kNvPending, static_cast<double>(counted.pending));
  add(Metric::kNvLoadDuration,
      counted.model->model().compile_report().total_ms * 1e-3);
  std::map<std::string, double> failures = {
      {"REJECTED", 0}, {"CANCELED", 0}, {"BACKEND", 0}, {"OTHER", 0}};
  for (const auto& [code, count] : requests.by_code) {
    if (code == absl::StatusCode::kOk) continue;
    failures[TritonReason(code)] += static_cast<double>(count);
  }
  for (const auto& [reason, count] : failures) {
    Labels with_reason = labels;
    with_reason.push_back(reason);
    out.push_back({Metric::kNvRequestFailure, with_reason, count, {}});
  }
}

}  // namespace

std::vector<Sample> DerivedSamples(
    const std::vector<std::shared_ptr<const LoadedModel>>& models,
    bool triton) {
  std::vector<Sample> out;
  for (const auto& [label, counted] : CountedByLabel(models)) {
    AddRequests(label, counted, out);
    AddKernels(label, counted, out);
    for (const auto& [kind, count] : counted.notes) {
      out.push_back({Metric::kNotes, {label, kind}, count, {}});
    }
    if (counted.model->batcher() != nullptr) {
      AddBatches(label, counted.requests, out);
    }
    if (triton && counted.model->version() > 0) AddTriton(counted, out);
  }
  return out;
}

std::vector<Sample> MachineMeter::Read() {
  std::vector<Sample> out;
  std::ifstream memory("/proc/meminfo");
  std::map<std::string, double> kib;
  std::string line;
  while (std::getline(memory, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    kib[line.substr(0, colon)] = std::atof(line.c_str() + colon + 1);
  }
  if (kib.contains("MemTotal") && kib.contains("MemAvailable")) {
    const double total = kib["MemTotal"] * 1024;
    out.push_back({Metric::kNvCpuMemoryTotal, {}, total, {}});
    out.push_back(
        {Metric::kNvCpuMemoryUsed, {}, total - kib["MemAvailable"] * 1024, {}});
  }
  // user nice system idle iowait irq softirq steal
  std::ifstream stat("/proc/stat");
  std::string cpu;
  stat >> cpu;
  int64_t ticks = 0;
  int64_t total = 0;
  int64_t idle = 0;
  for (int i = 0; i < 8 && stat >> ticks; ++i) {
    total += ticks;
    if (i == 3 || i == 4) idle += ticks;
  }
  base::MutexLock lock(&mutex_);
  const int64_t span = total - total_;
  if (total_ > 0 && span > 0) {
    out.push_back(
        {Metric::kNvCpuUtilization,
         {},
         static_cast<double>(total - idle - busy_) / static_cast<double>(span),
         {}});
  }
  busy_ = total - idle;
  total_ = total;
  return out;
}

}  // namespace quern::server
