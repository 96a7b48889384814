// SPDX-License-Identifier: Apache-2.0
//
// The commands that manage a server's models: load, unload, stats.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "clients/cli/commands.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

// The config of a load: the settings as parameters, by the keys of a
// config.pbtxt.
std::string ConfigOf(const Options& options) {
  ordered_json config = ordered_json::object();
  for (const auto& [key, value] : options.settings) {
    config["parameters"][key]["string_value"] = value;
  }
  if (!options.device.empty()) {
    config["parameters"]["device"]["string_value"] = options.device;
  }
  return config.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
}

ordered_json DurationJson(const inference::StatisticDuration& duration) {
  const double mean = duration.count() == 0
                          ? 0
                          : static_cast<double>(duration.ns()) /
                                static_cast<double>(duration.count()) / 1e3;
  return {{"count", duration.count()}, {"mean_us", mean}};
}

}  // namespace

absl::Status Load(const Options& options) {
  if (auto status = NeedServer(options); !status.ok()) return status;
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  inference::RepositoryModelLoadRequest request;
  request.set_model_name(options.model);
  auto& parameters = *request.mutable_parameters();
  if (!options.file.empty()) {
    absl::StatusOr<std::string> bytes = ReadFile(options.file);
    if (!bytes.ok()) return bytes.status();
    parameters[absl::StrCat("file:", options.version, "/model.onnx")]
        .set_bytes_param(*std::move(bytes));
  }
  if (!options.file.empty() || !options.settings.empty() ||
      !options.device.empty()) {
    parameters["config"].set_string_param(ConfigOf(options));
  }
  inference::RepositoryModelLoadResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      (*connection)->v2().RepositoryModelLoad(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  std::printf("%s\n", options.json
                          ? ordered_json({{"model", response.model_name()},
                                          {"loaded", response.is_loaded()}})
                                .dump()
                                .c_str()
                          : absl::StrCat(options.model, " is loaded").c_str());
  return absl::OkStatus();
}

absl::Status Unload(const Options& options) {
  if (auto status = NeedServer(options); !status.ok()) return status;
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  inference::RepositoryModelUnloadRequest request;
  request.set_model_name(options.model);
  inference::RepositoryModelUnloadResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      (*connection)->v2().RepositoryModelUnload(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  std::printf("%s\n",
              options.json
                  ? ordered_json({{"model", response.model_name()},
                                  {"unloaded", response.is_unloaded()}})
                        .dump()
                        .c_str()
                  : absl::StrCat(options.model, " is unloaded").c_str());
  return absl::OkStatus();
}

absl::Status Stats(const Options& options) {
  if (auto status = NeedServer(options); !status.ok()) return status;
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  inference::ModelStatisticsRequest request;
  request.set_name(options.model);
  inference::ModelStatisticsResponse response;
  grpc::ClientContext context;
  const grpc::Status status =
      (*connection)->v2().ModelStatistics(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  ordered_json out = ordered_json::array();
  for (const inference::ModelStatistics& model : response.model_stats()) {
    const inference::InferStatistics& times = model.inference_stats();
    const ordered_json phases = {
        {"success", DurationJson(times.success())},
        {"fail", DurationJson(times.fail())},
        {"queue", DurationJson(times.queue())},
        {"input", DurationJson(times.compute_input())},
        {"execute", DurationJson(times.compute_infer())},
        {"output", DurationJson(times.compute_output())}};
    out.push_back({{"model", model.name()},
                   {"version", model.version()},
                   {"inferences", model.inference_count()},
                   {"executions", model.execution_count()},
                   {"times", phases}});
    if (options.json) continue;
    std::printf("%s version %s: %llu inferences in %llu executions\n",
                model.name().c_str(), model.version().c_str(),
                static_cast<unsigned long long>(model.inference_count()),
                static_cast<unsigned long long>(model.execution_count()));
    std::printf("  %-10s %10s %12s\n", "", "count", "mean us");
    for (const auto& [phase, time] : phases.items()) {
      std::printf("  %-10s %10llu %12.1f\n", phase.c_str(),
                  static_cast<unsigned long long>(time["count"]),
                  static_cast<double>(time["mean_us"]));
    }
  }
  if (options.json) std::printf("%s\n", out.dump().c_str());
  return absl::OkStatus();
}

}  // namespace quern::cli
