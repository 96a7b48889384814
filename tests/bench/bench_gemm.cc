// SPDX-License-Identifier: Apache-2.0
//
// Times square f32 matrix products of the engine, as whole runs of a model
// with one kernel, and prints a JSON line for each size: the median and the
// spread, the rate, and the rate as a share of the multiply-adds that the
// engine measures on the same machine in the same run.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "backends/register_all.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "engine/graph/contraction.h"
#include "engine/ir/builder.h"

namespace quern {
namespace {

constexpr int kRuns = 30;

// A graph with one product of two inputs of shape [size, size].
std::shared_ptr<const graph::Graph> Product(int64_t size) {
  auto graph = std::make_shared<graph::Graph>();
  ir::Builder b(graph->arena.get());
  const std::vector<ir::Id> dims = {b.Int(size), b.Int(size)};
  std::vector<ir::Id> inputs;
  for (int slot = 0; slot < 2; ++slot) {
    inputs.push_back(b.Input(slot, ir::DType::kF32, dims));
    graph->inputs.push_back(
        {absl::StrCat("input", slot), ir::DType::kF32, dims, inputs.back()});
  }
  const ir::Id product = graph::MatMul(b, inputs[0], inputs[1]);
  graph->outputs.push_back({"output", ir::DType::kF32, dims, product});
  return graph;
}

absl::StatusOr<std::string> Measure(Engine& engine, int64_t size) {
  QUERN_ASSIGN_OR_RETURN(const auto model,
                         engine.Load(Product(size), {}, nullptr));
  std::vector<float> a(size * size);
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<float>(i));
  std::vector<float> c(size * size);
  TensorView view;
  view.dims = {size, size};
  view.data = a.data();
  view.size = a.size() * sizeof(float);
  const std::vector<TensorView> inputs = {view, view};
  QUERN_ASSIGN_OR_RETURN(const Binding binding, model->Bind(inputs));
  void* const outputs[] = {c.data()};
  std::vector<double> ms;
  for (int i = 0; i < kRuns + 1; ++i) {
    QUERN_ASSIGN_OR_RETURN(const RunTimes times,
                           model->Run(binding, inputs, outputs, {}));
    if (i > 0) ms.push_back(static_cast<double>(times.execute_ns) * 1e-6);
  }
  std::sort(ms.begin(), ms.end());
  const double median = ms[ms.size() / 2];
  const double flops = 2.0 * static_cast<double>(size * size * size);
  const DeviceReport device = engine.Devices()[0];
  const double peak = device.target.peak_flops * device.threads;
  return nlohmann::json({{"bench", "gemm_f32"},
                         {"size", size},
                         {"threads", device.threads},
                         {"runs", kRuns},
                         {"median_ms", median},
                         {"min_ms", ms.front()},
                         {"p90_ms", ms[ms.size() * 9 / 10]},
                         {"gflops", flops / median * 1e-6},
                         {"share_of_peak", flops / median * 1e3 / peak},
                         {"isa", device.target.isa}})
      .dump();
}

absl::Status Run() {
  telemetry::Metrics metrics;
  std::vector<std::unique_ptr<runtime::Backend>> backends = MakeAllBackends();
  std::vector<const runtime::Backend*> views;
  for (const auto& backend : backends) views.push_back(backend.get());
  // The assembler refers to the backends, which the engine comes to own.
  auto assembler = runtime::MakeInProcessAssembler(views, 1);
  EngineOptions options;
  options.calibrate = true;
  QUERN_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                         Engine::Create(options, std::move(backends),
                                        std::move(assembler), &metrics));
  for (const int64_t size : {256, 512, 1024}) {
    QUERN_ASSIGN_OR_RETURN(const std::string line, Measure(*engine, size));
    std::printf("%s\n", line.c_str());
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace quern

int main() {
  const absl::Status status = quern::Run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench-gemm: %s\n", status.ToString().c_str());
  return 1;
}
