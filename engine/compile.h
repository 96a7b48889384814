// SPDX-License-Identifier: Apache-2.0
//
// The compiler: from a graph to the texts of its kernels and the commands that
// run them. A pure function of its arguments; it touches no device, file,
// clock or global except that it looks at the clock for deadlines and timings.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/base/compile_options.h"
#include "engine/base/target.h"
#include "engine/engine.h"
#include "engine/graph/graph.h"
#include "engine/runtime/backend.h"
#include "engine/runtime/executable.h"

namespace quern {

// A device as the compiler sees it.
struct CompileDevice {
  std::string name;
  base::Target target;
  const runtime::Codegen* codegen = nullptr;
  // Measured on it before; what is not there is estimated. May be null.
  std::shared_ptr<const base::Choices> choices = nullptr;
};

// One kernel for one device.
struct KernelPlan {
  std::string name;
  std::string summary;
  std::string schedule;      // The tile, in words.
  double share_of_peak = 0;  // Of arithmetic, by estimate; 0: not estimated.
  // Tells it apart from others before it is scheduled; the same in every
  // process. A key of base::Choices.
  std::string identity;
  std::vector<std::string> choices;  // As TileResult has them.
  std::string choice;
  int device = 0;
  bool at_load = false;
  int launches = 0;  // In one run (or one load).
  runtime::KernelSource source;
  runtime::SizeExpr grid;
  runtime::SizeExpr scratch_bytes;
  runtime::SizeExpr work;      // Operations of a launch.
  std::vector<int> constants;  // The last of its buffers, by number.
  int64_t operations = 0;      // Instructions, for the budget.
  int64_t live_vectors = 0;
  std::string kernel_text;  // K-IR as cut, then as scheduled.
  std::string linear_text;  // L-IR.
};

// A port with its sizes as functions of the variables.
struct PortPlan {
  std::string name;
  ir::DType dtype = ir::DType::kF32;
  std::vector<runtime::SizeExpr> dims;
  std::vector<std::string> dim_text;
  std::vector<int> var_of_dim;  // The variable that a dimension is, or -1.
};

struct VarPlan {
  std::string name;
  int64_t least = 1;
  int64_t greatest = 1;
};

// A size that a request may not exceed, see graph::SizeLimit.
struct LimitPlan {
  runtime::SizeExpr size;
  int64_t at_most = 0;
  std::string reason;
};

// Everything about a compiled graph except blobs and memory.
struct CompiledGraph {
  std::vector<VarPlan> vars;
  std::vector<LimitPlan> limits;
  std::vector<PortPlan> inputs;
  std::vector<PortPlan> outputs;
  std::vector<KernelPlan> kernels;
  // Complete but for the loaded kernels and the devices; kernels by number.
  runtime::Executable executable;
  std::vector<Note> notes;
  std::string graph_text;
  std::string schedule_text;
  std::vector<std::pair<std::string, double>> pass_ms;
};

// Compiles `graph` for `devices`; what names no device goes to the one called
// options.device. kInvalidArgument for what the client can mend,
// kDeadlineExceeded over options.timeout_ms, kInternal, naming the pass, if a
// pass broke the rules of its level.
[[nodiscard]] absl::StatusOr<CompiledGraph> Compile(
    const graph::Graph& graph, const base::CompileOptions& options,
    absl::Span<const CompileDevice> devices);

}  // namespace quern
