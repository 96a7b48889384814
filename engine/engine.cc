// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <unistd.h>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "engine/base/cgroup.h"
#include "engine/base/no_throw.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/calibrate.h"
#include "engine/canary.h"
#include "engine/compile.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/run_slots.h"

namespace quern {
namespace {

using runtime::CachedBlob;
using telemetry::Metric;

double MillisecondsSince(int64_t start_ns) {
  return static_cast<double>(telemetry::Clock::NowNs() - start_ns) / 1e6;
}

// A device that is open, with what is needed to compile for it.
struct OpenDevice {
  std::string name;
  std::shared_ptr<const runtime::Backend> backend;
  std::shared_ptr<runtime::Device> device;
  Peaks peaks;  // Zeros if not measured.
  std::shared_ptr<Canary> canary;
  // Null where a run is no load for others: the interpreter runs on the thread
  // that asks.
  std::shared_ptr<runtime::RunSlots> slots;
};

// What was asked for, or four fifths of what this process may use.
int64_t BytesForModels(int64_t asked) {
  if (asked > 0) return asked;
  int64_t bytes = INT64_MAX;
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  const int64_t page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) bytes = pages * page;
  const int64_t limit = base::ReadCgroupLimits().memory_bytes;
  if (limit > 0) bytes = std::min(bytes, limit);
  return bytes / 5 * 4;
}

TensorSpec SpecOf(const PortPlan& port) {
  TensorSpec spec;
  spec.name = port.name;
  spec.dtype = port.dtype;
  spec.dim_text = port.dim_text;
  for (const runtime::SizeExpr& dim : port.dims) {
    spec.dims.push_back(dim.is_constant() ? *dim.Evaluate({}) : -1);
  }
  return spec;
}

std::string DimsText(absl::Span<const int64_t> dims) {
  return absl::StrCat("[", absl::StrJoin(dims, ","), "]");
}

// The blob of a kernel, kept for explain, and where it came from.
struct KernelOrigin {
  std::shared_ptr<const std::string> blob;
  double compile_ms = 0;
  std::string cache;
};

class LoadedModel : public Model {
 public:
  LoadedModel(CompiledGraph compiled, std::unique_ptr<runtime::Executor> run,
              std::vector<KernelOrigin> origins,
              std::vector<OpenDevice> devices, std::string device,
              CompileReport report)
      : compiled_(std::move(compiled)),
        executor_(std::move(run)),
        origins_(std::move(origins)),
        devices_(std::move(devices)),
        device_(std::move(device)),
        report_(std::move(report)) {
    for (const PortPlan& port : compiled_.inputs) {
      inputs_.push_back(SpecOf(port));
    }
    for (const PortPlan& port : compiled_.outputs) {
      outputs_.push_back(SpecOf(port));
    }
    for (const KernelPlan& kernel : compiled_.kernels) {
      kernel_names_.push_back(kernel.name);
    }
  }

  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  const std::vector<Note>& notes() const override { return compiled_.notes; }
  const CompileReport& compile_report() const override { return report_; }
  const std::string& device() const override { return device_; }
  const std::vector<std::string>& kernel_names() const override {
    return kernel_names_;
  }

  absl::StatusOr<Binding> Bind(
      absl::Span<const TensorView> inputs) const override {
    if (inputs.size() != inputs_.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the model has ", inputs_.size(), " inputs, got ", inputs.size()));
    }
    Binding binding;
    binding.vars.assign(compiled_.vars.size(), -1);
    for (size_t i = 0; i < inputs.size(); ++i) {
      QUERN_RETURN_IF_ERROR(BindInput(i, inputs[i], binding.vars));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      QUERN_RETURN_IF_ERROR(CheckInput(i, inputs[i], binding.vars));
    }
    for (const LimitPlan& limit : compiled_.limits) {
      QUERN_ASSIGN_OR_RETURN(const int64_t size,
                             limit.size.Evaluate(binding.vars));
      if (size > limit.at_most) {
        return absl::InvalidArgumentError(
            absl::StrCat(limit.reason, ": with these inputs it is ", size,
                         ", at most ", limit.at_most, " is possible"));
      }
    }
    for (const PortPlan& port : compiled_.outputs) {
      std::vector<int64_t> dims;
      int64_t bytes = ir::ByteSize(port.dtype);
      for (const runtime::SizeExpr& expr : port.dims) {
        QUERN_ASSIGN_OR_RETURN(const int64_t dim, expr.Evaluate(binding.vars));
        if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) {
          return absl::InvalidArgumentError(
              absl::StrCat("with these inputs output ", base::Quoted(port.name),
                           " has the size ", dim));
        }
        dims.push_back(dim);
      }
      binding.output_dims.push_back(std::move(dims));
      binding.output_bytes.push_back(static_cast<size_t>(bytes));
    }
    return binding;
  }

  absl::StatusOr<RunTimes> Run(const Binding& binding,
                               absl::Span<const TensorView> inputs,
                               absl::Span<void* const> outputs,
                               const RunOptions& options) const override {
    if (inputs.size() != inputs_.size() || outputs.size() != outputs_.size() ||
        binding.vars.size() != compiled_.vars.size()) {
      return absl::InvalidArgumentError("the binding is not for this model");
    }
    // Kernels read their buffers' first element even where a gate is false.
    alignas(64) static const char kNothing[64] = {};
    std::vector<const void*> addresses;
    addresses.reserve(inputs.size());
    for (const TensorView& input : inputs) {
      addresses.push_back(input.size == 0 ? kNothing : input.data);
    }
    QUERN_ASSIGN_OR_RETURN(
        const runtime::ExecutionTimes times,
        executor_->Run(
            binding.vars, addresses, outputs,
            {.deadline = options.deadline,
             .cancelled = options.cancelled ? &options.cancelled : nullptr,
             .kernel_ns = options.kernel_ns,
             .statistics = options.statistics}));
    return RunTimes{times.queue_ns, times.execute_ns};
  }

  bool busy() const override { return executor_->busy(); }

  std::vector<KernelReport> Kernels() const override {
    std::vector<KernelReport> reports;
    for (size_t i = 0; i < compiled_.kernels.size(); ++i) {
      const KernelPlan& plan = compiled_.kernels[i];
      KernelReport report;
      report.name = plan.name;
      report.device = compiled_.executable.device_names[plan.device];
      report.summary = plan.summary;
      report.launches = plan.launches;
      report.at_load = plan.at_load;
      const std::vector<int64_t> ones = LeastSizes();
      report.flops = static_cast<double>(plan.work.Evaluate(ones).value_or(0));
      report.bytes = BytesOfKernel(i, ones);
      report.roofline_seconds =
          devices_[plan.device].peaks.LeastSeconds(report.flops, report.bytes);
      report.compile_ms = origins_[i].compile_ms;
      report.cache = origins_[i].cache;
      report.identity = plan.identity;
      report.schedule = plan.schedule;
      report.choices = plan.choices;
      report.time = executor_->KernelTime(static_cast<int>(i));
      reports.push_back(std::move(report));
    }
    return reports;
  }

  void ResetStatistics() const override { executor_->ResetStatistics(); }

  absl::StatusOr<std::string> Explain(
      Stage stage, const std::string& kernel) const override {
    if (stage == Stage::kGraph) return compiled_.graph_text;
    if (stage == Stage::kSchedule) {
      return absl::StrCat(compiled_.schedule_text, KernelsText());
    }
    if (stage == Stage::kNotes) {
      std::string text;
      for (const Note& note : compiled_.notes) {
        absl::StrAppend(&text, note.kind, note.kernel.empty() ? "" : " ",
                        note.kernel, ": ", note.text, "\n");
      }
      return text;
    }
    std::string text;
    for (size_t i = 0; i < compiled_.kernels.size(); ++i) {
      const KernelPlan& plan = compiled_.kernels[i];
      if (!kernel.empty() && plan.name != kernel) continue;
      QUERN_ASSIGN_OR_RETURN(const std::string part, ExplainKernel(stage, i));
      absl::StrAppend(&text, "== ", plan.name, " on ",
                      compiled_.executable.device_names[plan.device], ": ",
                      plan.summary, " (", plan.schedule, "; ", plan.operations,
                      " instructions, ", plan.live_vectors, " live vectors)\n",
                      part);
    }
    if (text.empty() && !kernel.empty()) {
      return absl::NotFoundError(absl::StrCat("the model has no kernel called ",
                                              base::Quoted(kernel)));
    }
    return text;
  }

 private:
  std::vector<int64_t> LeastSizes() const {
    std::vector<int64_t> sizes;
    for (const VarPlan& var : compiled_.vars) sizes.push_back(var.least);
    return sizes;
  }

  // Takes the values of variables from the sizes of input `i`.
  absl::Status BindInput(size_t i, const TensorView& view,
                         std::vector<int64_t>& vars) const {
    const PortPlan& port = compiled_.inputs[i];
    if (view.dtype != port.dtype) {
      return absl::InvalidArgumentError(absl::StrCat(
          "input ", base::Quoted(port.name), " is ", ir::Name(view.dtype),
          ", expected ", ir::Name(port.dtype)));
    }
    if (view.dims.size() != port.dims.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", base::Quoted(port.name), " has the shape ",
                       DimsText(view.dims), ", expected [",
                       absl::StrJoin(port.dim_text, ","), "]"));
    }
    for (size_t d = 0; d < view.dims.size(); ++d) {
      const int var = port.var_of_dim[d];
      if (var < 0 || vars[var] >= 0) continue;
      const VarPlan& plan = compiled_.vars[var];
      if (view.dims[d] < plan.least || view.dims[d] > plan.greatest) {
        return absl::InvalidArgumentError(absl::StrCat(
            "input ", base::Quoted(port.name), " has the shape ",
            DimsText(view.dims), ", size ", base::Quoted(plan.name),
            " must be ", plan.least, " to ", plan.greatest));
      }
      vars[var] = view.dims[d];
    }
    return absl::OkStatus();
  }

  absl::Status CheckInput(size_t i, const TensorView& view,
                          const std::vector<int64_t>& vars) const {
    const PortPlan& port = compiled_.inputs[i];
    int64_t bytes = ir::ByteSize(port.dtype);
    for (size_t d = 0; d < view.dims.size(); ++d) {
      QUERN_ASSIGN_OR_RETURN(const int64_t want, port.dims[d].Evaluate(vars));
      if (view.dims[d] != want || want < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("input ", base::Quoted(port.name), " has the shape ",
                         DimsText(view.dims), ", expected [",
                         absl::StrJoin(port.dim_text, ","), "] with dimension ",
                         d, " = ", want));
      }
      if (__builtin_mul_overflow(bytes, want, &bytes)) {
        return absl::InvalidArgumentError(
            absl::StrCat("input ", base::Quoted(port.name), " has the shape ",
                         DimsText(view.dims), ", which is beyond 64 bits"));
      }
    }
    if (static_cast<int64_t>(view.size) != bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "input ", base::Quoted(port.name), " of shape ", DimsText(view.dims),
          " has ", view.size, " bytes, expected ", bytes));
    }
    return absl::OkStatus();
  }

  double BytesOfKernel(size_t kernel, const std::vector<int64_t>& vars) const {
    const runtime::Executable& executable = executor_->executable();
    for (const auto* segments :
         {&executable.segments, &executable.load_segments}) {
      for (const runtime::Segment& segment : *segments) {
        for (const runtime::Command& command : segment.commands) {
          const auto* launch = std::get_if<runtime::LaunchCommand>(&command);
          if (launch == nullptr || launch->kernel != static_cast<int>(kernel)) {
            continue;
          }
          double bytes = 0;
          for (int buffer : launch->buffers) {
            bytes += static_cast<double>(
                executable.buffers[buffer].bytes.Evaluate(vars).value_or(0));
          }
          return bytes;
        }
      }
    }
    return 0;
  }

  // What each kernel of a run does, how long that takes at least, and how near
  // to that it comes: by the estimate of its tile, and as measured so far.
  std::string KernelsText() const {
    std::string text;
    const std::vector<KernelReport> reports = Kernels();
    for (size_t i = 0; i < reports.size(); ++i) {
      const KernelReport& report = reports[i];
      const KernelPlan& plan = compiled_.kernels[i];
      if (report.at_load) continue;
      absl::StrAppendFormat(&text, "kernel %s x%d: %s; %.4g Mop, %.4g MB",
                            report.name, report.launches, plan.schedule,
                            report.flops / 1e6, report.bytes / 1e6);
      const double least = report.roofline_seconds;
      if (least > 0) {
        const double arithmetic =
            devices_[plan.device].peaks.LeastSeconds(report.flops, 0);
        absl::StrAppendFormat(&text, "; at least %.4g us, bound by %s",
                              least * 1e6,
                              arithmetic < least ? "memory" : "arithmetic");
        if (plan.share_of_peak > 0 && arithmetic >= least) {
          absl::StrAppendFormat(&text, ", by estimate %.0f %% of it",
                                plan.share_of_peak * 100);
        }
      }
      if (const double mean = report.time.mean_ns(); least > 0 && mean > 0) {
        absl::StrAppendFormat(&text, "; measured %.4g us, %.0f %% of it",
                              mean * 1e-3, least * 1e11 / mean);
      }
      text += "\n";
    }
    return text;
  }

  absl::StatusOr<std::string> ExplainKernel(Stage stage, size_t i) const {
    const KernelPlan& plan = compiled_.kernels[i];
    if (stage == Stage::kKernel) {
      return absl::StrCat(plan.kernel_text, "# linear\n", plan.linear_text);
    }
    if (stage == Stage::kSource) return plan.source.text;
    const OpenDevice& device = devices_[plan.device];
    return device.backend->codegen().Disassemble(*origins_[i].blob,
                                                 device.device->target());
  }

  const CompiledGraph compiled_;
  const std::unique_ptr<runtime::Executor> executor_;
  const std::vector<KernelOrigin> origins_;
  const std::vector<OpenDevice> devices_;
  const std::string device_;
  const CompileReport report_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::vector<std::string> kernel_names_;
};

class EngineImpl : public Engine {
 public:
  EngineImpl(const EngineOptions& options,
             std::vector<std::shared_ptr<const runtime::Backend>> backends,
             std::unique_ptr<runtime::Assembler> assembler,
             telemetry::Metrics* metrics)
      : options_(options),
        backends_(std::move(backends)),
        assembler_(std::move(assembler)),
        metrics_(metrics),
        cache_({.directory = options.cache_dir,
                .max_disk_bytes = options.cache_bytes},
               metrics),
        compiles_(assembler_.get(), &cache_),
        ledger_(std::make_shared<runtime::MemoryLedger>(
            BytesForModels(options.max_device_bytes), metrics)) {}

  absl::Status OpenDevices() {
    const std::string& folder = options_.cache_dir;
    QUERN_ASSIGN_OR_RETURN(
        tuning_, TuningTable::Open(folder.empty()
                                       ? ""
                                       : absl::StrCat(folder, "/tuning.tsv")));
    for (const std::string& spec : options_.devices) {
      OpenDevice device;
      device.name = spec;
      QUERN_RETURN_IF_ERROR(Open(spec, device));
      if (options_.calibrate && !device.device->target().interpreted) {
        QUERN_ASSIGN_OR_RETURN(device.peaks, KeptPeaks(device));
      }
      QUERN_ASSIGN_OR_RETURN(
          device.canary,
          Canary::Make(device.device.get(), device.backend->codegen(),
                       [&](const runtime::KernelSource& source) {
                         return KeptBlob(device, source);
                       }));
      if (!device.device->target().interpreted) {
        device.slots =
            std::make_shared<runtime::RunSlots>(device.device->threads());
      }
      devices_.push_back(std::move(device));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<const Model>> Load(
      std::shared_ptr<const graph::Graph> graph,
      const base::CompileOptions& options, const Progress& progress) override {
    return base::NoThrow(
        [&] { return LoadGraph(std::move(graph), options, progress); });
  }

  absl::StatusOr<std::shared_ptr<const Model>> LoadGraph(
      std::shared_ptr<const graph::Graph> graph,
      const base::CompileOptions& options, const Progress& progress) {
    const int64_t start = telemetry::Clock::NowNs();
    const auto report = [&](absl::string_view what, int done, int of) {
      if (progress != nullptr) progress(what, done, of);
    };
    if (static_cast<int64_t>(graph->arena->size()) > options_.max_graph_nodes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the graph has ", graph->arena->size(), " nodes, the limit is ",
          options_.max_graph_nodes, " (--max-graph-nodes)"));
    }
    report("compile graph", 0, 1);
    std::vector<CompileDevice> targets;
    for (const OpenDevice& device : devices_) {
      targets.push_back(
          {device.name, device.device->target(), &device.backend->codegen(),
           options.choices != nullptr && device.name == options.device
               ? options.choices
               : tuning_->ChoicesFor(KindOf(device))});
    }
    QUERN_ASSIGN_OR_RETURN(CompiledGraph compiled,
                           Compile(*graph, options, targets));
    CompileReport summary;
    summary.passes_ms = MillisecondsSince(start);
    summary.pass_ms = compiled.pass_ms;

    const int64_t assemble_start = telemetry::Clock::NowNs();
    QUERN_ASSIGN_OR_RETURN(std::vector<KernelOrigin> origins,
                           Assemble(compiled, options, start, report, summary));
    summary.assemble_ms = MillisecondsSince(assemble_start);

    report("load weights", 0, 1);
    std::vector<int64_t> least;
    for (const VarPlan& var : compiled.vars) least.push_back(var.least);
    std::vector<runtime::WeightData> weights;
    for (const graph::Weight& weight : graph->weights) {
      weights.push_back(
          {weight.data.data(), weight.data.size(), weight.data.owner()});
    }
    QUERN_ASSIGN_OR_RETURN(
        std::unique_ptr<runtime::Executor> executor,
        runtime::Executor::Create(compiled.executable, weights,
                                  {.contexts = options_.contexts_per_model,
                                   .max_arena_bytes = options_.max_arena_bytes,
                                   .least_vars = least,
                                   .ledger = ledger_,
                                   .slots = SlotsOf(options.device),
                                   .constants = &constants_},
                                  metrics_));
    summary.hoist_ms = static_cast<double>(executor->load_ns()) / 1e6;
    summary.weight_bytes = executor->resident_bytes();
    summary.arena_bytes = executor->ArenaBytes(least).value_or(0);
    summary.total_ms = MillisecondsSince(start);
    report("ready", 1, 1);
    return std::make_shared<LoadedModel>(
        std::move(compiled), std::move(executor), std::move(origins), devices_,
        options.device, std::move(summary));
  }

  std::vector<DeviceReport> Devices() const override {
    std::vector<DeviceReport> reports;
    for (const OpenDevice& device : devices_) {
      DeviceReport report;
      report.name = device.name;
      report.target = device.device->target();
      report.threads = std::max(device.device->threads(), 1);
      report.target.peak_flops = device.peaks.flops / report.threads;
      if (!device.peaks.read.empty()) {
        report.target.read_bandwidth =
            device.peaks.read.back().per_second / report.threads;
      }
      reports.push_back(std::move(report));
    }
    return reports;
  }

  absl::Status KeepChoices(const std::string& name,
                           std::vector<TunedChoice> choices) override {
    for (const OpenDevice& device : devices_) {
      if (device.name != name) continue;
      for (TunedChoice& choice : choices) choice.device = KindOf(device);
      return tuning_->Add(choices);
    }
    return NoSuchDevice(name);
  }

  TuningTable& tuning() override { return *tuning_; }

  absl::Status Probe(const std::string& name) override {
    for (const OpenDevice& device : devices_) {
      if (device.name == name) return device.canary->Run();
    }
    return NoSuchDevice(name);
  }

 private:
  static absl::Status NoSuchDevice(const std::string& name) {
    return absl::NotFoundError(
        absl::StrCat("there is no device ", base::Quoted(name)));
  }

  // Devices on which what was measured on one holds for the other.
  static std::string KindOf(const OpenDevice& device) {
    const base::Target& target = device.device->target();
    return absl::StrCat(target.backend, " ", device.device->model(), " ",
                        target.isa, " l1=", target.l1_bytes,
                        " l2=", target.l2_bytes);
  }

  // Of the device that what names none runs on.
  std::shared_ptr<runtime::RunSlots> SlotsOf(const std::string& name) const {
    for (const OpenDevice& device : devices_) {
      if (device.name == name) return device.slots;
    }
    return nullptr;
  }

  // A blob of the engine's own, assembled in this process or kept.
  absl::StatusOr<std::string> KeptBlob(const OpenDevice& device,
                                       const runtime::KernelSource& source) {
    const runtime::Codegen& codegen = device.backend->codegen();
    const base::Target& target = device.device->target();
    QUERN_ASSIGN_OR_RETURN(
        const CachedBlob kept,
        cache_.GetOrCompute({source.text, codegen.Version(), target.ToString()},
                            [&] { return codegen.Assemble(source, target); }));
    return *kept.blob;
  }

  // What this device can do, measured now or when the cache was new. What was
  // measured while others kept the device from work is found out, now or in a
  // later start, and measured again.
  absl::StatusOr<Peaks> KeptPeaks(const OpenDevice& device) {
    constexpr int kMostTimes = 4;
    const runtime::Codegen& codegen = device.backend->codegen();
    Peaks peaks;
    for (int time = 1; time <= kMostTimes; ++time) {
      const runtime::BlobKey key = {
          absl::StrCat("peaks, ", device.device->threads(), " threads, time ",
                       time),
          codegen.Version(), device.device->target().ToString()};
      QUERN_ASSIGN_OR_RETURN(
          const CachedBlob kept,
          cache_.GetOrCompute(key, [&]() -> absl::StatusOr<std::string> {
            QUERN_ASSIGN_OR_RETURN(const Peaks found,
                                   Calibrate(*device.device, codegen));
            return found.Rounded().ToText();
          }));
      QUERN_ASSIGN_OR_RETURN(peaks, Peaks::FromText(*kept.blob));
      QUERN_ASSIGN_OR_RETURN(
          const bool more,
          DoesMoreThan(peaks, *device.device, codegen,
                       [&](const runtime::KernelSource& source) {
                         return KeptBlob(device, source);
                       }));
      if (!more) break;
    }
    return peaks;
  }

  // "cpu" or "vulkan:1".
  absl::Status Open(const std::string& spec, OpenDevice& out) {
    const std::vector<std::string> parts = absl::StrSplit(spec, ':');
    int ordinal = 0;
    if (parts.size() > 2 ||
        (parts.size() == 2 && !absl::SimpleAtoi(parts[1], &ordinal))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "device ", base::Quoted(spec), " is not of the form NAME[:NUMBER]"));
    }
    std::string known;
    for (const auto& backend : backends_) {
      absl::StrAppend(&known, known.empty() ? "" : ", ", backend->name());
      if (backend->name() != parts[0]) continue;
      out.backend = backend;
      QUERN_ASSIGN_OR_RETURN(out.device,
                             backend->Open(ordinal, options_.device_options));
      if (!out.device->host_memory()) {
        return absl::UnimplementedError(absl::StrCat(
            "device ", base::Quoted(spec),
            " has memory of its own, which this version cannot use"));
      }
      return absl::OkStatus();
    }
    return absl::UnavailableError(absl::StrCat("no backend is called ",
                                               base::Quoted(parts[0]),
                                               "; this build has ", known));
  }

  // Blobs for every kernel, then loaded code in compiled.executable.
  template <typename Report>
  absl::StatusOr<std::vector<KernelOrigin>> Assemble(
      CompiledGraph& compiled, const base::CompileOptions& options,
      int64_t start_ns, const Report& report, CompileReport& summary) {
    const auto deadline =
        options.timeout_ms <= 0
            ? runtime::CompileService::Deadline::max()
            : std::chrono::steady_clock::time_point(
                  std::chrono::nanoseconds(start_ns) +
                  std::chrono::milliseconds(options.timeout_ms));
    const int count = static_cast<int>(compiled.kernels.size());
    std::vector<KernelOrigin> origins(count);
    compiled.executable.kernels.resize(count);
    int done = 0;
    for (size_t d = 0; d < devices_.size(); ++d) {
      std::vector<runtime::KernelSource> sources;
      std::vector<int> numbers;
      for (int i = 0; i < count; ++i) {
        if (compiled.kernels[i].device != static_cast<int>(d)) continue;
        numbers.push_back(i);
        sources.push_back(compiled.kernels[i].source);
      }
      compiled.executable.devices[d] = devices_[d].device;
      if (sources.empty()) continue;
      report("compile kernels", done, count);
      QUERN_ASSIGN_OR_RETURN(
          const std::vector<runtime::CompiledKernel> blobs,
          compiles_.Compile(devices_[d].backend->codegen().Version(),
                            devices_[d].device->target(), sources, deadline));
      for (size_t i = 0; i < blobs.size(); ++i) {
        const int number = numbers[i];
        QUERN_ASSIGN_OR_RETURN(
            origins[number],
            LoadKernel(blobs[i], devices_[d], static_cast<int>(d), number,
                       compiled, summary));
        report("compile kernels", ++done, count);
      }
    }
    summary.kernels = count;
    return origins;
  }

  absl::StatusOr<KernelOrigin> LoadKernel(
      const runtime::CompiledKernel& compiled_kernel, const OpenDevice& device,
      int device_number, int number, CompiledGraph& compiled,
      CompileReport& summary) {
    KernelOrigin origin;
    origin.blob = compiled_kernel.blob;
    switch (compiled_kernel.origin) {
      case CachedBlob::Origin::kMemory:
        origin.cache = "memory";
        ++summary.from_memory;
        break;
      case CachedBlob::Origin::kDisk:
        origin.cache = "disk";
        ++summary.from_disk;
        break;
      case CachedBlob::Origin::kComputed: {
        origin.cache = "compiled";
        ++summary.compiled;
        const double seconds =
            std::chrono::duration<double>(compiled_kernel.time).count();
        origin.compile_ms = seconds * 1e3;
        if (metrics_ != nullptr) {
          metrics_->Add(Metric::kKernelCompiles, {"load"});
          metrics_->Add(Metric::kKernelCompileSeconds, {}, seconds);
        }
        break;
      }
    }
    runtime::ExecKernel& kernel = compiled.executable.kernels[number];
    kernel.name = compiled.kernels[number].name;
    kernel.device = device_number;
    QUERN_ASSIGN_OR_RETURN(
        kernel.loaded, device.device->Load(kernel.name, *compiled_kernel.blob));
    return origin;
  }

  const EngineOptions options_;
  const std::vector<std::shared_ptr<const runtime::Backend>> backends_;
  const std::unique_ptr<runtime::Assembler> assembler_;
  telemetry::Metrics* const metrics_;
  runtime::CompileCache cache_;
  runtime::CompileService compiles_;
  std::shared_ptr<runtime::MemoryLedger> ledger_;
  runtime::ConstantPool constants_;
  std::unique_ptr<TuningTable> tuning_;
  std::vector<OpenDevice> devices_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(
    const EngineOptions& options,
    std::vector<std::unique_ptr<runtime::Backend>> backends,
    std::unique_ptr<runtime::Assembler> assembler,
    telemetry::Metrics* metrics) {
  std::vector<std::shared_ptr<const runtime::Backend>> shared;
  for (auto& backend : backends) shared.push_back(std::move(backend));
  auto engine = std::make_unique<EngineImpl>(options, std::move(shared),
                                             std::move(assembler), metrics);
  QUERN_RETURN_IF_ERROR(engine->OpenDevices());
  return engine;
}

}  // namespace quern
