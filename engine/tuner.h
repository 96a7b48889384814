// SPDX-License-Identifier: Apache-2.0
//
// The tuner measures what the compiler estimates. It stands outside of the
// compile, which stays a function of its arguments: it compiles a model several
// times with another choice for each of its kernels at once, runs these models
// by turns with the one that has the estimated choices, and compares kernel by
// kernel. What wins must win once more, beside all other winners, before it is
// kept. So kernels are measured where they will run, between the others, with
// the caches as these leave them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/engine.h"
#include "engine/tuning_table.h"

namespace quern {

struct TuneOptions {
  int runs = 20;        // Of each model in each comparison.
  int candidates = 10;  // Choices to measure beside the estimated one.
  std::function<bool()> cancelled = nullptr;  // May be null.
};

// A kernel that has a choice and takes a part of a run that is worth it.
struct TunedKernel {
  std::string name;
  std::string summary;
  int launches = 0;
  int measured = 0;          // Choices beside the estimated one.
  std::string estimated_as;  // Its schedule by estimate.
  std::string chosen_as;     // The same text where the estimate was right.
  MeasuredTime estimated;    // Of all its launches in a run.
  MeasuredTime chosen;
};

struct TuneReport {
  std::vector<TunedKernel> kernels;  // Those that take the most time first.
  int skipped = 0;  // Kernels without a choice, or with too small a part.
  MeasuredTime run_estimated;  // Of a run with every choice as estimated,
  MeasuredTime run_chosen;     // and with those that won.
  int compiled = 0;            // Kernels compiled on the way.
  int interrupted = 0;  // Turns not counted: others came between most there.
  int failed = 0;       // Rounds whose choices could not be loaded.
  std::string failure;  // Why, of the last of them.
  double seconds = 0;   // All of it.
  int kept = 0;         // Choices that the engine keeps from now on.
};

// Measures `graph` with these inputs and has the engine keep what is better
// than it would choose by itself. Takes as long as compiling the model
// `candidates` times and running it twice as often as `runs` says for each.
// kCancelled if it was; else errors of loading and running. A round of choices
// that cannot be compiled or loaded is not measured, and the report says so.
[[nodiscard]] absl::StatusOr<TuneReport> Tune(
    Engine& engine, const std::shared_ptr<const graph::Graph>& graph,
    const base::CompileOptions& options, absl::Span<const TensorView> inputs,
    const TuneOptions& tune, const Progress& progress);

}  // namespace quern
