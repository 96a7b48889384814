// SPDX-License-Identifier: Apache-2.0
//
// quern bench: how long a model takes, in the engine and as a request, and
// where the time goes.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "clients/cli/commands.h"
#include "clients/cli/subject.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<v1::BenchmarkReport> Measure(
    Connection& connection, const Options& options, const Subject& subject,
    const std::vector<v1::NamedTensor>& inputs, ProgressLine& progress) {
  v1::BenchmarkRequest request;
  *request.mutable_subject() = subject.proto;
  for (const v1::NamedTensor& input : inputs) *request.add_inputs() = input;
  request.set_warmup(options.warmup);
  request.set_runs(options.runs);
  grpc::ClientContext context;
  const auto reader = connection.graphs().Benchmark(&context, request);
  v1::BenchmarkReport report;
  const absl::Status status =
      ReadStream(*reader, progress, [&](v1::BenchmarkResponse message) {
        report = std::move(*message.mutable_report());
      });
  if (!status.ok()) return status;
  if (report.runs() == 0) {
    return absl::InternalError("the server sent no report");
  }
  return report;
}

// The same runs as requests, timed here, one after the other.
absl::StatusOr<v1::Latency> MeasureRequests(
    Connection& connection, const Options& options, const Subject& subject,
    const std::vector<v1::NamedTensor>& inputs, ProgressLine& progress) {
  std::vector<double> milliseconds;
  // The first request may load the graph, so one at least comes before.
  const int warmup = std::max(1, options.warmup);
  for (int i = 0; i < warmup + options.runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto result = Execute(connection, subject.proto, inputs, progress);
    if (!result.ok()) return result.status();
    const std::chrono::duration<double, std::milli> time =
        std::chrono::steady_clock::now() - begin;
    if (i >= warmup) milliseconds.push_back(time.count());
    if (i % 50 == 0) {
      progress.Show(absl::StrCat("request ", i, "/", warmup + options.runs));
    }
  }
  return LatencyOf(std::move(milliseconds));
}

ordered_json ToJson(const v1::Latency& latency) {
  return {{"median", latency.median()}, {"mean", latency.mean()},
          {"stdev", latency.stdev()},   {"cv", latency.cv()},
          {"min", latency.min()},       {"p90", latency.p90()},
          {"p99", latency.p99()}};
}

std::string NoteText(const v1::Note& note) {
  return absl::StrCat(note.kind(), note.kernel().empty() ? "" : " ",
                      note.kernel(), ": ", note.text());
}

void PrintJson(const Options& options, const v1::BenchmarkReport& report,
               const v1::Latency& request_ms) {
  ordered_json out;
  out["model"] = options.model;
  out["device"] = report.device();
  out["threads"] = report.threads();
  out["runs"] = report.runs();
  out["engine_ms"] = ToJson(report.engine_ms());
  out["request_ms"] = ToJson(request_ms);
  out["compile_ms"] = {{"cold", nullptr},
                       {"cached", report.cached_load().total_ms()}};
  if (report.has_cold_load()) {
    out["compile_ms"]["cold"] = report.cold_load().total_ms();
  }
  out["kernels"] = ordered_json::array();
  for (const v1::KernelStatistics& kernel : report.kernels()) {
    if (kernel.at_load()) continue;
    out["kernels"].push_back({{"name", kernel.name()},
                              {"launches", kernel.launches_per_run()},
                              {"median_us", kernel.time_us().median()},
                              {"mean_us", kernel.time_us().mean()},
                              {"stdev_us", kernel.time_us().stdev()},
                              {"cv", kernel.time_us().cv()},
                              {"share", kernel.share()},
                              {"roofline", kernel.roofline()}});
  }
  out["notes"] = ordered_json::array();
  for (const v1::Note& note : report.notes()) {
    out["notes"].push_back(NoteText(note));
  }
  std::printf(
      "%s\n",
      out.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

void PrintRow(const char* name, const v1::Latency& t) {
  std::printf("%-12s %10.3f %10.3f %10.3f %7.1f%% %10.3f %10.3f %10.3f\n", name,
              t.median(), t.mean(), t.stdev(), t.cv() * 100, t.min(), t.p90(),
              t.p99());
}

void PrintText(const Options& options, const ChosenInputs& inputs,
               const v1::BenchmarkReport& report,
               const v1::Latency& request_ms) {
  std::printf(
      "model    %s\ninputs   %s\ndevice   %s, %d threads\nruns     %d\n\n",
      options.model.c_str(), inputs.source.c_str(), report.device().c_str(),
      report.threads(), report.runs());
  std::printf("%-12s %10s %10s %10s %8s %10s %10s %10s\n", "ms", "median",
              "mean", "stdev", "cv", "min", "p90", "p99");
  PrintRow("engine", report.engine_ms());
  PrintRow("request", request_ms);
  const std::string cold =
      report.has_cold_load()
          ? absl::StrCat(static_cast<int64_t>(report.cold_load().total_ms()),
                         " ms cold (", report.cold_load().compiled(), " of ",
                         report.cold_load().kernels(), " kernels compiled), ")
          : "";
  std::printf("\ncompile  %s%.0f ms cached\n\n", cold.c_str(),
              report.cached_load().total_ms());
  std::printf("%-44s %8s %11s %11s %11s %8s %7s %9s\n", "kernel", "launches",
              "median us", "mean us", "stdev us", "cv", "share", "roofline");
  for (const v1::KernelStatistics& kernel : report.kernels()) {
    if (kernel.at_load()) continue;
    const v1::Latency& t = kernel.time_us();
    std::printf("%-44s %8d %11.2f %11.2f %11.2f %7.1f%% %6.1f%% %8.1f%%\n",
                kernel.name().c_str(), kernel.launches_per_run(), t.median(),
                t.mean(), t.stdev(), t.cv() * 100, kernel.share() * 100,
                kernel.roofline() * 100);
  }
  if (report.notes_size() > 0) std::printf("\n");
  for (const v1::Note& note : report.notes()) {
    std::printf("note     %s\n", NoteText(note).c_str());
  }
}

}  // namespace

absl::Status Bench(const Options& options) {
  ProgressLine progress(options);
  const auto connection = OpenConnection(options, true);
  if (!connection.ok()) return connection.status();
  const auto subject = OpenSubject(**connection, options.model, options.device);
  if (!subject.ok()) return subject.status();
  const auto inputs =
      ChooseInputs(*subject, options.inputs, options.sizes, options.seed);
  if (!inputs.ok()) return inputs.status();
  const auto report =
      Measure(**connection, options, *subject, inputs->tensors, progress);
  if (!report.ok()) return report.status();
  if (!options.server.empty() && options.threads > 0 &&
      options.threads != report->threads()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the server's device has ", report->threads(),
                     " threads; --threads is for a server of this command"));
  }
  const auto request_ms = MeasureRequests(**connection, options, *subject,
                                          inputs->tensors, progress);
  if (!request_ms.ok()) return request_ms.status();
  progress.Clear();
  if (options.json) {
    PrintJson(options, *report, *request_ms);
  } else {
    PrintText(options, *inputs, *report, *request_ms);
  }
  return absl::OkStatus();
}

}  // namespace quern::cli
