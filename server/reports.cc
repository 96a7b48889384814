// SPDX-License-Identifier: Apache-2.0
#include "server/reports.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/codec.h"

namespace quern::server {
namespace {

constexpr double kNsPerUs = 1e3;

double Share(double part, double whole) { return whole > 0 ? part / whole : 0; }

// The speed of a kernel's median launch as a part of the device's best.
double Roofline(const KernelReport& kernel) {
  const double seconds = kernel.time.QuantileNs(0.5) * 1e-9;
  return seconds > 0 ? kernel.roofline_seconds / seconds : 0;
}

v1::MeasuredTime ToProto(const MeasuredTime& time) {
  v1::MeasuredTime proto;
  proto.set_count(time.count);
  proto.set_median_us(time.median / kNsPerUs);
  proto.set_mean_us(time.mean / kNsPerUs);
  proto.set_stdev_us(time.stdev / kNsPerUs);
  return proto;
}

}  // namespace

v1::TensorSpec ToProto(const TensorSpec& spec) {
  v1::TensorSpec proto;
  proto.set_name(spec.name);
  proto.set_data_type(ToProto(spec.dtype));
  for (int64_t dim : spec.dims) proto.add_dims(dim);
  for (const std::string& text : spec.dim_text) proto.add_dim_text(text);
  return proto;
}

v1::LoadReport ToProto(const CompileReport& report) {
  v1::LoadReport proto;
  proto.set_total_ms(report.total_ms);
  proto.set_passes_ms(report.passes_ms);
  proto.set_assemble_ms(report.assemble_ms);
  proto.set_hoist_ms(report.hoist_ms);
  proto.set_kernels(report.kernels);
  proto.set_compiled(report.compiled);
  proto.set_from_memory(report.from_memory);
  proto.set_from_disk(report.from_disk);
  proto.set_arena_bytes(report.arena_bytes);
  proto.set_weight_bytes(report.weight_bytes);
  for (const auto& [name, milliseconds] : report.pass_ms) {
    v1::LoadReport::Pass* pass = proto.add_passes();
    pass->set_name(name);
    pass->set_milliseconds(milliseconds);
  }
  return proto;
}

v1::Note ToProto(const Note& note) {
  v1::Note proto;
  proto.set_kind(note.kind);
  proto.set_kernel(note.kernel);
  proto.set_text(note.text);
  return proto;
}

v1::Device ToProto(const DeviceReport& report) {
  v1::Device proto;
  proto.set_name(report.name);
  proto.set_available(report.status.ok());
  proto.set_reason(std::string(report.status.message()));
  proto.set_threads(report.threads);
  proto.set_backend(report.target.backend);
  proto.set_isa(report.target.isa);
  proto.set_vector_bytes(report.target.vector_bytes);
  proto.set_peak_flops(report.target.peak_flops);
  proto.set_read_bandwidth(report.target.read_bandwidth);
  return proto;
}

std::vector<v1::KernelStatistics> ToProto(
    const std::vector<KernelReport>& kernels, const std::vector<Note>& notes) {
  // What runs once, at load, is no part of a run's time.
  const auto run_ns = [](const KernelReport& kernel) {
    return kernel.at_load ? 0 : kernel.time.mean_ns() * kernel.launches;
  };
  double total_ns = 0;
  for (const KernelReport& kernel : kernels) total_ns += run_ns(kernel);
  std::vector<v1::KernelStatistics> all;
  for (const KernelReport& kernel : kernels) {
    v1::KernelStatistics proto;
    proto.set_name(kernel.name);
    proto.set_device(kernel.device);
    proto.set_summary(kernel.summary);
    proto.set_launches_per_run(kernel.launches);
    proto.set_at_load(kernel.at_load);
    proto.set_launches(kernel.time.count());
    *proto.mutable_time_us() = LatencyOf(kernel.time, kNsPerUs);
    proto.set_share(Share(run_ns(kernel), total_ns));
    proto.set_roofline(Roofline(kernel));
    proto.set_flops(kernel.flops);
    proto.set_bytes(kernel.bytes);
    proto.set_compile_ms(kernel.compile_ms);
    proto.set_cache(kernel.cache);
    for (const Note& note : notes) {
      if (note.kernel == kernel.name) proto.add_notes(note.text);
    }
    all.push_back(std::move(proto));
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.share() > b.share();
  });
  return all;
}

v1::TuneReport ToProto(const TuneReport& report) {
  v1::TuneReport proto;
  for (const TunedKernel& kernel : report.kernels) {
    v1::TunedKernel* out = proto.add_kernels();
    out->set_name(kernel.name);
    out->set_summary(kernel.summary);
    out->set_launches_per_run(kernel.launches);
    out->set_measured(kernel.measured);
    out->set_estimated_as(kernel.estimated_as);
    out->set_chosen_as(kernel.chosen_as);
    *out->mutable_estimated() = ToProto(kernel.estimated);
    *out->mutable_chosen() = ToProto(kernel.chosen);
  }
  proto.set_skipped(report.skipped);
  *proto.mutable_run_estimated() = ToProto(report.run_estimated);
  *proto.mutable_run_chosen() = ToProto(report.run_chosen);
  proto.set_kept(report.kept);
  proto.set_seconds(report.seconds);
  proto.set_compiled(report.compiled);
  proto.set_interrupted(report.interrupted);
  proto.set_failed(report.failed);
  proto.set_failure(report.failure);
  return proto;
}

v1::Latency LatencyOf(const telemetry::Distribution& time, double unit_ns) {
  v1::Latency latency;
  latency.set_median(time.QuantileNs(0.5) / unit_ns);
  latency.set_mean(time.mean_ns() / unit_ns);
  latency.set_stdev(time.stdev_ns() / unit_ns);
  latency.set_cv(time.cv());
  latency.set_min(static_cast<double>(time.min_ns()) / unit_ns);
  latency.set_p90(time.QuantileNs(0.9) / unit_ns);
  latency.set_p99(time.QuantileNs(0.99) / unit_ns);
  latency.set_p999(time.QuantileNs(0.999) / unit_ns);
  latency.set_max(static_cast<double>(time.max_ns()) / unit_ns);
  latency.set_variance(time.variance_ns2() / (unit_ns * unit_ns));
  return latency;
}

v1::Latency LatencyOf(std::vector<double> values) {
  v1::Latency latency;
  if (values.empty()) return latency;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  double sum = 0;
  for (double value : values) sum += value;
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  const double stdev =
      n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0;
  // The least value that a share q of all does not exceed.
  const auto quantile = [&](double q) {
    const double rank = std::ceil(q * static_cast<double>(n));
    return values[std::min(n, static_cast<size_t>(std::max(rank, 1.0))) - 1];
  };
  latency.set_median(n % 2 == 1 ? values[n / 2]
                                : (values[n / 2 - 1] + values[n / 2]) / 2);
  latency.set_mean(mean);
  latency.set_stdev(stdev);
  latency.set_cv(mean > 0 ? stdev / mean : 0);
  latency.set_min(values[0]);
  latency.set_p90(quantile(0.9));
  latency.set_p99(quantile(0.99));
  latency.set_p999(quantile(0.999));
  latency.set_max(values.back());
  latency.set_variance(stdev * stdev);
  return latency;
}

google::protobuf::Duration DurationOf(int64_t ns) {
  constexpr int64_t kNsPerSecond = 1'000'000'000;
  google::protobuf::Duration duration;
  duration.set_seconds(ns / kNsPerSecond);
  duration.set_nanos(static_cast<int32_t>(ns % kNsPerSecond));
  return duration;
}

}  // namespace quern::server
