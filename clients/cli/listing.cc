// SPDX-License-Identifier: Apache-2.0
//
// The commands that ask and print: explain, models, devices, kernels.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/subject.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<v1::ExplainStage> StageNamed(const std::string& name) {
  if (name == "graph") return v1::EXPLAIN_STAGE_GRAPH;
  if (name == "schedule") return v1::EXPLAIN_STAGE_SCHEDULE;
  if (name == "kernel") return v1::EXPLAIN_STAGE_KERNEL;
  if (name == "source") return v1::EXPLAIN_STAGE_SOURCE;
  if (name == "asm") return v1::EXPLAIN_STAGE_ASM;
  if (name == "notes") return v1::EXPLAIN_STAGE_NOTES;
  return absl::InvalidArgumentError(absl::StrCat(
      "a stage is graph, schedule, kernel, source, asm or notes, got ", name));
}

void PrintKernels(const v1::Activity& loaded) {
  std::printf("%s\n%-44s %9s %11s %11s %12s %8s %7s %9s  %s\n",
              loaded.label().c_str(), "  kernel", "launches", "median us",
              "mean us", "variance us2", "cv", "share", "roofline", "what");
  for (const v1::KernelStatistics& kernel : loaded.kernels()) {
    const v1::Latency& t = kernel.time_us();
    std::printf(
        "  %-42s %9llu %11.2f %11.2f %12.3f %7.1f%% %6.1f%% %8.1f%%  %s%s\n",
        kernel.name().c_str(),
        static_cast<unsigned long long>(kernel.launches()), t.median(),
        t.mean(), kernel.time_us().variance(), t.cv() * 100,
        kernel.share() * 100, kernel.roofline() * 100,
        kernel.at_load() ? "(at load) " : "", kernel.summary().c_str());
  }
}

}  // namespace

absl::Status Explain(const Options& options) {
  const auto stage = StageNamed(options.stage);
  if (!stage.ok()) return stage.status();
  ProgressLine progress(options);
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  const auto subject = OpenSubject(**connection, options.model, options.device);
  if (!subject.ok()) return subject.status();
  v1::ExplainRequest request;
  *request.mutable_subject() = subject->proto;
  request.set_stage(*stage);
  request.set_kernel(options.kernel);
  grpc::ClientContext context;
  const auto reader = (*connection)->graphs().Explain(&context, request);
  std::string text;
  const absl::Status status =
      ReadStream(*reader, progress, [&](v1::ExplainResponse message) {
        text = std::move(*message.mutable_text());
      });
  progress.Clear();
  if (!status.ok()) return status;
  if (options.json) {
    PrintJson({{"model", options.model},
               {"stage", options.stage},
               {"kernel", options.kernel},
               {"text", text}});
    return absl::OkStatus();
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (!text.empty() && text.back() != '\n') std::printf("\n");
  return absl::OkStatus();
}

absl::Status ListModels(const Options& options) {
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  grpc::ClientContext context;
  inference::RepositoryIndexResponse response;
  const grpc::Status status =
      (*connection)->v2().RepositoryIndex(&context, {}, &response);
  if (!status.ok()) return FromGrpc(status);
  ordered_json out = ordered_json::array();
  for (const auto& model : response.models()) {
    out.push_back({{"name", model.name()},
                   {"version", model.version()},
                   {"state", model.state()},
                   {"reason", model.reason()}});
    if (!options.json) {
      std::printf("%-32s %6s %-12s %s\n", model.name().c_str(),
                  model.version().c_str(), model.state().c_str(),
                  model.reason().c_str());
    }
  }
  if (options.json) PrintJson(out);
  return absl::OkStatus();
}

absl::Status ListDevices(const Options& options) {
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  grpc::ClientContext context;
  v1::ListDevicesResponse response;
  const grpc::Status status =
      (*connection)->graphs().ListDevices(&context, {}, &response);
  if (!status.ok()) return FromGrpc(status);
  ordered_json out = ordered_json::array();
  for (const v1::Device& device : response.devices()) {
    out.push_back({{"name", device.name()},
                   {"available", device.available()},
                   {"reason", device.reason()},
                   {"threads", device.threads()},
                   {"isa", device.isa()},
                   {"vector_bytes", device.vector_bytes()},
                   {"peak_flops", device.peak_flops()},
                   {"read_bandwidth", device.read_bandwidth()}});
    if (options.json) continue;
    std::printf("%-10s %s\n", device.name().c_str(),
                device.available() ? "available" : device.reason().c_str());
    if (!device.available()) continue;
    std::printf(
        "           %d threads, vectors of %d bytes, %.1f GF/s and %.1f GB/s "
        "a thread\n           %s\n",
        device.threads(), device.vector_bytes(), device.peak_flops() * 1e-9,
        device.read_bandwidth() * 1e-9, device.isa().c_str());
  }
  if (options.json) PrintJson(out);
  return absl::OkStatus();
}

absl::Status ListKernels(const Options& options) {
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  v1::ListKernelsRequest request;
  if (!options.model.empty()) {
    const auto subject =
        OpenSubject(**connection, options.model, options.device);
    if (!subject.ok()) return subject.status();
    *request.mutable_subject() = subject->proto;
    if (!subject->file.empty()) {
      // A file's kernels have no statistics before it has run.
      ProgressLine progress(options);
      const auto inputs =
          ChooseInputs(*subject, options.inputs, options.sizes, options.seed);
      if (!inputs.ok()) return inputs.status();
      const auto result =
          Execute(**connection, subject->proto, inputs->tensors, progress);
      if (!result.ok()) return result.status();
    }
  }
  grpc::ClientContext context;
  v1::ListKernelsResponse response;
  const grpc::Status status =
      (*connection)->kernels().ListKernels(&context, request, &response);
  if (!status.ok()) return FromGrpc(status);
  ordered_json out = ordered_json::array();
  for (const v1::Activity& loaded : response.loaded()) {
    ordered_json kernels = ordered_json::array();
    for (const v1::KernelStatistics& kernel : loaded.kernels()) {
      kernels.push_back(KernelJson(kernel));
    }
    out.push_back({{"model", loaded.label()}, {"kernels", kernels}});
    if (!options.json) PrintKernels(loaded);
  }
  if (options.json) PrintJson(out);
  return absl::OkStatus();
}

}  // namespace quern::cli
