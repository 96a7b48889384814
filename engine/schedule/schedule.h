// SPDX-License-Identifier: Apache-2.0
//
// A Schedule is a graph cut into kernels: the kernels at kernel level (K-IR),
// the buffers between them, and the steps that run them in order.
//
// Kernels are numbered canonically (parameters and ranges by first use), so
// that equal layers are one kernel with several launches. Still IR: a Schedule
// must not outlive the arena it was built in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/ir/dtype.h"
#include "engine/ir/node.h"

namespace quern::schedule {

// Memory that a step reads or writes.
struct BufferDecl {
  enum class Kind : uint8_t { kInput, kWeight, kOutput, kTemporary };
  Kind kind = Kind::kTemporary;
  int slot = 0;  // Of the input, weight or output.
  ir::DType dtype = ir::DType::kF32;
  ir::Id elements = ir::kNoNode;  // A size.
  // For people: "1x64x56x56 by 1" has its second axis contiguous; "+16" after
  // it are elements between rows.
  std::string layout;
  // Where it lives; inputs and weights have none until a step uses them.
  std::optional<std::string> device;
  bool at_load = false;  // Written once, when the model is loaded.
};

struct KernelParam {
  ir::DType dtype = ir::DType::kF32;
  bool written = false;
  friend bool operator==(const KernelParam&, const KernelParam&) = default;
};

// One kernel. Each body is a kSink: stores with the ranges around them, from
// the outside in. Several bodies write disjoint parts of the outputs.
struct Kernel {
  std::string name;     // Made of its shape: "r_64_768_768".
  std::string summary;  // For people: the graph nodes it came from.
  std::vector<KernelParam> params;
  std::vector<ir::Id> bodies;
  std::vector<ir::Id> values;  // The tensors that its launches compute.
};

struct Launch {
  int kernel = 0;
  std::vector<int> buffers;  // By kernel parameter.
  std::string device;
  bool at_load = false;
};

// Moves a whole buffer to another device.
struct CopyStep {
  int from = 0;
  int to = 0;
  bool at_load = false;
};

using Step = std::variant<Launch, CopyStep>;

struct Schedule {
  std::vector<ir::Id> vars;  // The graph's variables; kernels get all of them.
  std::vector<BufferDecl> buffers;
  std::vector<Kernel> kernels;
  std::vector<Step> steps;         // A step reads only what earlier ones wrote.
  std::vector<std::string> notes;  // Decisions, one sentence each.
};

}  // namespace quern::schedule
