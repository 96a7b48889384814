// SPDX-License-Identifier: Apache-2.0
//
// quern tune: has the server measure what the kernels of a model could be, and
// brings what it found from one server to another.
#include <cstdio>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "clients/cli/commands.h"
#include "clients/cli/subject.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<v1::TuneReport> TuneOn(Connection& connection,
                                      const Options& options,
                                      const Subject& subject,
                                      const ChosenInputs& inputs,
                                      ProgressLine& progress) {
  v1::TuneRequest request;
  *request.mutable_subject() = subject.proto;
  for (const v1::NamedTensor& input : inputs.tensors) {
    *request.add_inputs() = input;
  }
  request.set_runs(options.tune_runs);
  request.set_candidates(options.candidates);
  grpc::ClientContext context;
  const auto reader = connection.graphs().Tune(&context, request);
  v1::TuneReport report;
  const absl::Status status =
      ReadStream(*reader, progress, [&](v1::TuneResponse message) {
        report = std::move(*message.mutable_report());
      });
  if (!status.ok()) return status;
  if (report.device().empty()) {
    return absl::InternalError("the server sent no report");
  }
  return report;
}

// How much less time it is, in percent.
double Gain(const v1::MeasuredTime& before, const v1::MeasuredTime& after) {
  if (before.median_us() <= 0) return 0;
  return 100 * (1 - after.median_us() / before.median_us());
}

ordered_json ToJson(const v1::MeasuredTime& time) {
  return {{"count", time.count()},
          {"median_us", time.median_us()},
          {"mean_us", time.mean_us()},
          {"stdev_us", time.stdev_us()}};
}

void PrintJson(const Options& options, const v1::TuneReport& report) {
  ordered_json out;
  out["model"] = options.model;
  out["device"] = report.device();
  out["threads"] = report.threads();
  out["run"] = {{"estimated", ToJson(report.run_estimated())},
                {"chosen", ToJson(report.run_chosen())}};
  out["kept"] = report.kept();
  out["seconds"] = report.seconds();
  out["compiled"] = report.compiled();
  out["interrupted"] = report.interrupted();
  out["failed"] = report.failed();
  out["failure"] = report.failure();
  out["skipped"] = report.skipped();
  out["kernels"] = ordered_json::array();
  for (const v1::TunedKernel& kernel : report.kernels()) {
    out["kernels"].push_back({{"name", kernel.name()},
                              {"launches", kernel.launches_per_run()},
                              {"measured", kernel.measured()},
                              {"estimated_as", kernel.estimated_as()},
                              {"chosen_as", kernel.chosen_as()},
                              {"estimated", ToJson(kernel.estimated())},
                              {"chosen", ToJson(kernel.chosen())}});
  }
  std::printf(
      "%s\n",
      out.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

void PrintText(const Options& options, const ChosenInputs& inputs,
               const v1::TuneReport& report) {
  std::printf("model    %s\ninputs   %s\ndevice   %s, %d threads\n\n",
              options.model.c_str(), inputs.source.c_str(),
              report.device().c_str(), report.threads());
  std::printf("%-44s %8s %12s %12s %8s %8s  %s\n", "kernel", "choices",
              "before us", "after us", "stdev", "gain", "schedule");
  for (const v1::TunedKernel& kernel : report.kernels()) {
    const bool other = kernel.chosen_as() != kernel.estimated_as();
    std::printf("%-44s %8d %12.2f %12.2f %8.2f %7.1f%%  %s%s%s\n",
                kernel.name().c_str(), kernel.measured(),
                kernel.estimated().median_us(), kernel.chosen().median_us(),
                kernel.chosen().stdev_us(),
                Gain(kernel.estimated(), kernel.chosen()),
                kernel.estimated_as().c_str(), other ? " -> " : "",
                other ? kernel.chosen_as().c_str() : "");
  }
  const v1::MeasuredTime& before = report.run_estimated();
  const v1::MeasuredTime& after = report.run_chosen();
  std::printf(
      "\nrun      %.3f ms -> %.3f ms, gain %.1f%% (medians of %lld; stdev %.3f "
      "and %.3f)\n",
      before.median_us() * 1e-3, after.median_us() * 1e-3, Gain(before, after),
      static_cast<long long>(after.count()), before.stdev_us() * 1e-3,
      after.stdev_us() * 1e-3);
  std::printf(
      "cost     %.1f s, %d kernels compiled; %d turns not counted, which "
      "others interrupted most\nkept     %d choices; %d kernels have no "
      "choice or take too little time\n",
      report.seconds(), report.compiled(), report.interrupted(), report.kept(),
      report.skipped());
  if (report.failed() > 0) {
    std::printf("failed   %d rounds could not be measured, the last one: %s\n",
                report.failed(), report.failure().c_str());
  }
}

absl::Status Export(Connection& connection, const std::string& path) {
  grpc::ClientContext context;
  v1::ExportTuningResponse response;
  const grpc::Status status =
      connection.graphs().ExportTuning(&context, {}, &response);
  if (!status.ok()) return FromGrpc(status);
  std::ofstream file(path, std::ios::binary);
  file << response.text();
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path));
}

absl::Status Import(Connection& connection, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  v1::ImportTuningRequest request;
  request.set_text(text.str());
  grpc::ClientContext context;
  v1::ImportTuningResponse response;
  const grpc::Status status =
      connection.graphs().ImportTuning(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  std::printf("%d choices taken\n", response.choices());
  return absl::OkStatus();
}

}  // namespace

absl::Status Tune(const Options& options) {
  const int asked = (options.model.empty() ? 0 : 1) +
                    (options.export_file.empty() ? 0 : 1) +
                    (options.import_file.empty() ? 0 : 1);
  if (asked != 1) {
    return absl::InvalidArgumentError(
        "expected one of MODEL, --export and --import");
  }
  ProgressLine progress(options);
  // What is found is to be there the next time.
  const auto connection = OpenConnection(options, /*fresh_cache=*/false);
  if (!connection.ok()) return connection.status();
  if (!options.export_file.empty()) {
    return Export(**connection, options.export_file);
  }
  if (!options.import_file.empty()) {
    return Import(**connection, options.import_file);
  }
  const auto subject = OpenSubject(**connection, options.model, options.device);
  if (!subject.ok()) return subject.status();
  const auto inputs =
      ChooseInputs(*subject, options.inputs, options.sizes, options.seed);
  if (!inputs.ok()) return inputs.status();
  const auto report =
      TuneOn(**connection, options, *subject, *inputs, progress);
  if (!report.ok()) return report.status();
  progress.Clear();
  if (options.json) {
    PrintJson(options, *report);
    return absl::OkStatus();
  }
  PrintText(options, *inputs, *report);
  if (subject->file.empty() && report->kept() > 0) {
    std::printf(
        "         the model uses them when it is loaded again: "
        "quern load %s\n",
        options.model.c_str());
  }
  return absl::OkStatus();
}

}  // namespace quern::cli
