// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/engine_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "backends/register_all.h"
#include "engine/base/status_macros.h"
#include "engine/runtime/compile_service.h"

namespace quern::fuzz {
namespace {

absl::Status Prefixed(absl::string_view what, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(what, status.message()));
}

// A graph of its own for the engine, which keeps it.
absl::StatusOr<std::shared_ptr<const graph::Graph>> CopyOf(
    const Case& fuzz_case) {
  std::vector<ir::Id> outputs;
  for (const graph::Port& port : fuzz_case.graph.outputs) {
    outputs.push_back(port.node);
  }
  QUERN_ASSIGN_OR_RETURN(Case copy, ParseCase(CaseText(fuzz_case, outputs)));
  return std::make_shared<const graph::Graph>(std::move(copy.graph));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EngineRunner>> EngineRunner::Create(
    const std::vector<std::string>& devices,
    const runtime::DeviceOptions& device_options) {
  std::unique_ptr<EngineRunner> runner(new EngineRunner());
  std::vector<std::unique_ptr<runtime::Backend>> backends = MakeAllBackends();
  std::vector<const runtime::Backend*> compilers;
  for (const auto& backend : backends) compilers.push_back(backend.get());
  EngineOptions options;
  options.devices = devices;
  options.device_options = device_options;
  auto assembler =
      runtime::MakeInProcessAssembler(std::move(compilers), /*parallelism=*/1);
  QUERN_ASSIGN_OR_RETURN(
      runner->engine_, Engine::Create(options, std::move(backends),
                                      std::move(assembler), &runner->metrics_));
  return runner;
}

absl::StatusOr<EngineRunner::Result> EngineRunner::Run(
    const Case& fuzz_case, const std::string& device) {
  base::CompileOptions options;
  options.device = device;
  QUERN_ASSIGN_OR_RETURN(std::shared_ptr<const graph::Graph> graph,
                         CopyOf(fuzz_case));
  const auto model = engine_->Load(std::move(graph), options,
                                   [](absl::string_view, int, int) {});
  if (!model.ok()) return Prefixed("load: ", model.status());

  std::vector<std::string> contents;
  for (const ref::Tensor& input : fuzz_case.inputs) {
    contents.push_back(ref::BytesOf(input));
  }
  std::vector<TensorView> views;
  for (size_t i = 0; i < contents.size(); ++i) {
    views.push_back({fuzz_case.inputs[i].dtype, fuzz_case.inputs[i].dims,
                     contents[i].data(), contents[i].size()});
  }
  const absl::StatusOr<Binding> binding = (*model)->Bind(views);
  if (!binding.ok()) return Prefixed("bind: ", binding.status());

  std::vector<std::string> first;
  for (int time = 0; time < 2; ++time) {
    // What a kernel does not write keeps this pattern.
    std::vector<std::string> outputs;
    std::vector<void*> addresses;
    for (size_t bytes : binding->output_bytes) {
      outputs.emplace_back(bytes, '\x5a');
    }
    for (std::string& output : outputs) addresses.push_back(output.data());
    const auto times = (*model)->Run(*binding, views, addresses, RunOptions());
    if (!times.ok()) return Prefixed("run: ", times.status());
    if (time == 1 && outputs != first) {
      return absl::InternalError("differs: two runs gave two results");
    }
    first = std::move(outputs);
  }
  Result result;
  for (size_t i = 0; i < first.size(); ++i) {
    QUERN_ASSIGN_OR_RETURN(result.outputs.emplace_back(),
                           ref::TensorOf(fuzz_case.graph.outputs[i].dtype,
                                         binding->output_dims[i], first[i]));
  }
  for (const KernelReport& kernel : (*model)->Kernels()) {
    if (!kernel.at_load) result.kernels += kernel.launches;
  }
  return result;
}

}  // namespace quern::fuzz
