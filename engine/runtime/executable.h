// SPDX-License-Identifier: Apache-2.0
//
// An Executable is a compiled graph as plain data: segments of commands, one
// segment for each stretch on one device, over buffers whose sizes are
// functions of the free sizes. It holds no IR and outlives the compile.
//
// Immutable once made; any thread may read it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "engine/ir/dtype.h"
#include "engine/runtime/backend.h"
#include "engine/runtime/size_expr.h"

namespace quern::runtime {

// Memory that commands name by its position in Executable::buffers.
struct ExecBuffer {
  enum class Kind : uint8_t {
    kInput,      // The request's memory.
    kOutput,     // The request's memory.
    kWeight,     // Resident; filled from the graph's weights.
    kConstant,   // Resident; an array of constants.
    kResident,   // Resident; written by the load segments.
    kTemporary,  // In the arena of the execution context.
  };
  Kind kind = Kind::kTemporary;
  int slot = 0;  // Of the input, output, weight or constant; of the arena's
                 // places.
  ir::DType dtype = ir::DType::kF32;
  SizeExpr bytes;
  int device = 0;  // Position in Executable::devices.
};

struct ExecKernel {
  std::string name;
  int device = 0;
  std::shared_ptr<LoadedKernel> loaded;
};

struct LaunchCommand {
  int kernel = 0;
  std::vector<int> buffers;  // In the order of the kernel's parameters.
  SizeExpr grid;
  SizeExpr scratch_bytes;
  SizeExpr work;  // Estimated operations; small launches stay on one thread.
};

// Moves a whole buffer between devices.
struct CopyCommand {
  int from = 0;
  int to = 0;
};

using Command = std::variant<LaunchCommand, CopyCommand>;

struct Segment {
  int device = 0;
  std::vector<Command> commands;
};

// Places in an arena: temporaries whose lives do not overlap share one. A
// place is as large as the largest of its buffers.
struct ArenaPlan {
  int places = 0;
};

struct Executable {
  int num_vars = 0;
  std::vector<std::shared_ptr<Device>> devices;
  std::vector<std::string> device_names;
  std::vector<ExecBuffer> buffers;
  std::vector<std::string> constants;  // The bytes, by slot.
  std::vector<ExecKernel> kernels;
  std::vector<Segment> load_segments;  // Run once, when the model is loaded.
  std::vector<Segment> segments;       // Run for each request.
  std::vector<ArenaPlan> arenas;       // By device.
};

// Gives each temporary a place in the arena of its device: the place that was
// free longest among those of a fitting size. `estimate` are sizes in bytes to
// choose by; any choice is correct.
//
// Order: after all commands are known. O(buffers * places).
void PlanMemory(Executable& executable, const std::vector<double>& estimate);

}  // namespace quern::runtime
