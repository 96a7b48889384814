// SPDX-License-Identifier: Apache-2.0
//
// The engine as its users see it: a graph goes in, a Model comes out, a Model
// runs requests. It knows no wire and no vendor; backends are handed to it.
//
// An Engine and its Models may be used from any thread. An Engine outlives its
// Models' loading, not their running: a Model keeps what it needs alive.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

#include "engine/base/compile_options.h"
#include "engine/base/target.h"
#include "engine/graph/graph.h"
#include "engine/ir/dtype.h"
#include "engine/runtime/backend.h"
#include "engine/runtime/compile_service.h"
#include "engine/telemetry/distribution.h"
#include "engine/telemetry/metrics.h"
#include "engine/tuning_table.h"

namespace quern {

// What the compiler decided that an operator may care about.
struct Note {
  std::string
      kind;  // A word for labels: "split", "budget", "tuned", "degraded".
  std::string kernel;  // The kernel it is about; empty if the whole model.
  std::string text;    // One sentence.
};

struct EngineOptions {
  std::vector<std::string> devices = {"cpu"};  // "NAME" or "NAME:NUMBER".
  runtime::DeviceOptions device_options;
  std::string cache_dir;  // Blobs and tuned choices on disk; empty: none.
  int64_t cache_bytes = int64_t{2} << 30;
  int contexts_per_model = 4;  // Requests of a model at the same time.
  int64_t max_graph_nodes = 1'000'000;
  int64_t max_arena_bytes = int64_t{8} << 30;  // Of one execution context.
  // Of all models on one device; 0: 80 % of the machine's memory.
  int64_t max_device_bytes = 0;
  // Measures the peaks of the devices when the engine is made (a tenth of a
  // second, once for each cache directory), for rooflines.
  bool calibrate = false;
};

// An input or output of a model as the outside sees it.
struct TensorSpec {
  std::string name;
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> dims;          // -1 where free.
  std::vector<std::string> dim_text;  // "8", "batch", "2*n+1".
};

// A tensor in the caller's memory: row-major, little-endian, any alignment.
struct TensorView {
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> dims;
  const void* data = nullptr;
  size_t size = 0;  // Bytes.
};

// What one set of input shapes means for a model.
struct Binding {
  std::vector<int64_t> vars;                      // The free sizes.
  std::vector<std::vector<int64_t>> output_dims;  // By output.
  std::vector<size_t> output_bytes;
};

struct RunOptions {
  absl::Time deadline = absl::InfiniteFuture();  // Checked between kernels.
  std::function<bool()> cancelled = nullptr;     // Likewise; may be null.
  // If not null: gets the nanoseconds of this run in each kernel, in the order
  // of Kernels().
  std::vector<int64_t>* kernel_ns = nullptr;
  // False: launches are not timed at all; for measuring what that costs.
  bool statistics = true;
};

// Where the time of one run went, in nanoseconds.
struct RunTimes {
  int64_t queue_ns = 0;    // Waiting for an execution context.
  int64_t execute_ns = 0;  // From the first launch to the end of the last.
};

// One kernel of a loaded model.
struct KernelReport {
  std::string name;
  std::string device;
  std::string summary;          // "conv 3x3 64->64, + bias, relu" or the like.
  int launches = 0;             // In one run.
  bool at_load = false;         // Runs once, when the model is loaded.
  double flops = 0;             // Estimated, one launch, with free sizes as 1.
  double bytes = 0;             // Read and written, likewise.
  double roofline_seconds = 0;  // The least time of a launch; 0 if unknown.
  double compile_ms = 0;        // 0 if it came from a cache.
  std::string cache;            // "compiled", "memory" or "disk".
  std::string identity;         // The same in every load of the same kernel.
  std::string schedule;         // What it became, in words.
  // What it could be, the best by estimate first; see base::CompileOptions.
  std::vector<std::string> choices;
  telemetry::Distribution time;  // One sample a launch.
};

struct CompileReport {
  double total_ms = 0;     // Everything from graph to ready.
  double passes_ms = 0;    // Graph and kernel passes, without compilers.
  double assemble_ms = 0;  // Compilers and caches, wall time.
  double hoist_ms = 0;     // Launches run once at load.
  int kernels = 0;         // Distinct ones.
  int compiled = 0;
  int from_memory = 0;
  int from_disk = 0;
  int64_t arena_bytes = 0;   // Of one context; at the least free sizes.
  int64_t weight_bytes = 0;  // Resident, hoisted results included.
  std::vector<std::pair<std::string, double>> pass_ms;  // In order.
};

enum class Stage { kGraph, kSchedule, kKernel, kSource, kAsm, kNotes };

class Model {
 public:
  virtual ~Model() = default;

  [[nodiscard]] virtual const std::vector<TensorSpec>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<TensorSpec>& outputs() const = 0;
  [[nodiscard]] virtual const std::vector<Note>& notes() const = 0;
  [[nodiscard]] virtual const CompileReport& compile_report() const = 0;
  [[nodiscard]] virtual const std::string& device() const = 0;

  // What inputs of these shapes mean. kInvalidArgument, naming the input, for
  // a wrong number, dtype, rank, size or byte count.
  [[nodiscard]] virtual absl::StatusOr<Binding> Bind(
      absl::Span<const TensorView> inputs) const = 0;

  // Runs one request to its end. `outputs[i]` has room for
  // binding.output_bytes[i]. Waits for an execution context; kDeadlineExceeded
  // when the deadline passes in the queue or between kernels, kCancelled
  // likewise. No compiler runs
  // and, once a context has met its largest sizes, no memory is allocated.
  [[nodiscard]] virtual absl::StatusOr<RunTimes> Run(
      const Binding& binding, absl::Span<const TensorView> inputs,
      absl::Span<void* const> outputs, const RunOptions& options) const = 0;

  // True if a run would wait now, for a context or for the device.
  [[nodiscard]] virtual bool busy() const = 0;

  // The kernels' names, in the order of Kernels().
  [[nodiscard]] virtual const std::vector<std::string>& kernel_names()
      const = 0;

  // Every kernel with its statistics so far. Launches of the same kernel in
  // one run share a row.
  [[nodiscard]] virtual std::vector<KernelReport> Kernels() const = 0;
  virtual void ResetStatistics() const = 0;

  // What the compiler made at `stage`, for all kernels or the one called
  // `kernel`. kNotFound if there is no such kernel.
  [[nodiscard]] virtual absl::StatusOr<std::string> Explain(
      Stage stage, const std::string& kernel) const = 0;
};

// Progress of a load, for people: "compile 12/31".
using Progress = std::function<void(absl::string_view what, int done, int of)>;

struct DeviceReport {
  std::string name;
  absl::Status status;  // Not OK: unavailable, and why.
  base::Target target;
  int threads = 0;
};

class Engine {
 public:
  // Opens the devices of `options`. kUnavailable if one that was asked for
  // cannot be used. `assembler` runs compilers; `metrics` counts; both outlive
  // the engine.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Engine>> Create(
      const EngineOptions& options,
      std::vector<std::unique_ptr<runtime::Backend>> backends,
      std::unique_ptr<runtime::Assembler> assembler,
      telemetry::Metrics* metrics);
  virtual ~Engine() = default;

  // Compiles `graph`, loads its weights and kernels, runs what needs to run
  // once. Slow; never called for a request. kResourceExhausted, before anything
  // is allocated, if a device has not the memory for it.
  [[nodiscard]] virtual absl::StatusOr<std::shared_ptr<const Model>> Load(
      std::shared_ptr<const graph::Graph> graph,
      const base::CompileOptions& options, const Progress& progress) = 0;

  [[nodiscard]] virtual std::vector<DeviceReport> Devices() const = 0;

  // Has kernels on `device` be chosen so from the next load on, on every device
  // of its kind, and by engines to come if there is a cache directory.
  [[nodiscard]] virtual absl::Status KeepChoices(
      const std::string& device, std::vector<TunedChoice> choices) = 0;
  // What is kept, and what was exported elsewhere.
  [[nodiscard]] virtual TuningTable& tuning() = 0;

  // Runs a small kernel on a device and checks its result; errors of the
  // device, kInternal if the result is wrong, kNotFound if there is no such
  // device.
  [[nodiscard]] virtual absl::Status Probe(const std::string& device) = 0;
};

}  // namespace quern
