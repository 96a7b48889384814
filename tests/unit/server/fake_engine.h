// SPDX-License-Identifier: Apache-2.0
//
// An engine that compiles nothing: its models give their inputs back as their
// outputs. For tests of what stands around the engine.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "engine/engine.h"

namespace quern::server {

// Output i is input i, renamed "out" + the input's name.
class EchoModel final : public Model {
 public:
  explicit EchoModel(std::vector<TensorSpec> inputs, std::string device = "cpu")
      : inputs_(std::move(inputs)), device_(std::move(device)) {
    for (TensorSpec spec : inputs_) {
      spec.name = absl::StrCat("out_", spec.name);
      outputs_.push_back(std::move(spec));
    }
    report_.kernels = 1;
    report_.compiled = 1;
    report_.total_ms = 5;
    kernel_.name = "echo";
    kernel_.device = device_;
    kernel_.launches = 1;
  }

  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  const std::vector<Note>& notes() const override { return notes_; }
  const CompileReport& compile_report() const override { return report_; }
  const std::string& device() const override { return device_; }

  absl::StatusOr<Binding> Bind(
      absl::Span<const TensorView> inputs) const override {
    Binding binding;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].dims.size() != inputs_[i].dims.size()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "input '", inputs_[i].name, "' has rank ", inputs[i].dims.size(),
            ", expected ", inputs_[i].dims.size()));
      }
      binding.output_dims.push_back(inputs[i].dims);
      binding.output_bytes.push_back(inputs[i].size);
    }
    return binding;
  }

  absl::StatusOr<RunTimes> Run(const Binding&,
                               absl::Span<const TensorView> inputs,
                               absl::Span<void* const> outputs,
                               const RunOptions&) const override {
    if (on_run) on_run();
    for (size_t i = 0; i < inputs.size(); ++i) {
      std::memcpy(outputs[i], inputs[i].data, inputs[i].size);
    }
    times_.Record(1'000'000);
    return RunTimes{.queue_ns = 1000, .execute_ns = 2000};
  }

  bool busy() const override { return false; }
  const std::vector<std::string>& kernel_names() const override {
    return kernel_names_;
  }
  std::vector<KernelReport> Kernels() const override {
    KernelReport kernel = kernel_;
    kernel.time = times_.Snapshot();
    return {kernel};
  }
  void ResetStatistics() const override {}
  absl::StatusOr<std::string> Explain(
      Stage, const std::string& kernel) const override {
    if (kernel.empty() || kernel == "echo") return "echo";
    return absl::NotFoundError(absl::StrCat("no kernel '", kernel, "'"));
  }

  std::function<void()> on_run;  // Called in every run.

 private:
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::vector<Note> notes_;
  CompileReport report_;
  KernelReport kernel_;
  const std::vector<std::string> kernel_names_ = {"echo"};
  std::string device_;
  mutable telemetry::SharedDistribution times_;
};

// Loads an EchoModel with the inputs of the graph.
class FakeEngine final : public Engine {
 public:
  absl::StatusOr<std::shared_ptr<const Model>> Load(
      std::shared_ptr<const graph::Graph> graph,
      const base::CompileOptions& options, const Progress& progress) override {
    ++loads;
    if (on_load) on_load();
    progress("compile", 1, 1);
    if (options.device == "broken") {
      return absl::InternalError("the device is broken");
    }
    std::vector<TensorSpec> specs;
    for (const graph::Port& port : graph->inputs) {
      specs.push_back(
          {.name = port.name,
           .dtype = port.dtype,
           .dims = std::vector<int64_t>(port.dims.size(), -1),
           .dim_text = std::vector<std::string>(port.dims.size(), "n")});
    }
    auto model = std::make_shared<EchoModel>(std::move(specs), options.device);
    model->on_run = on_run;
    return model;
  }

  absl::Status Probe(const std::string&) override {
    return well ? absl::OkStatus()
                : absl::InternalError("the device is broken");
  }

  absl::Status KeepChoices(const std::string& device,
                           std::vector<TunedChoice> choices) override {
    for (TunedChoice& choice : choices) choice.device = device;
    return tuning_->Add(choices);
  }
  TuningTable& tuning() override { return *tuning_; }

  std::vector<DeviceReport> Devices() const override {
    DeviceReport device;
    device.name = "cpu";
    device.threads = 2;
    return {device};
  }

  std::atomic<int> loads = 0;
  std::atomic<bool> well = true;  // Whether canaries come back right.
  std::function<void()> on_load;  // Called in every load.
  std::function<void()> on_run;   // Given to the models.

 private:
  const std::unique_ptr<TuningTable> tuning_ = *TuningTable::Open("");
};

}  // namespace quern::server
