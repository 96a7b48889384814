// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/replay.h"

#include <variant>

#include "engine/base/status_macros.h"

namespace quern::runtime {
namespace {

// Launches with less work than this run on the calling thread alone.
constexpr int64_t kSerialWork = 100'000;

}  // namespace

absl::StatusOr<Replay> Replay::Record(const Executable& executable,
                                      const std::vector<Segment>& segments,
                                      absl::Span<void* const> addresses,
                                      absl::Span<const int64_t> vars) {
  Replay out;
  out.vars_.assign(vars.begin(), vars.end());
  std::vector<size_t> first;  // Argument of each step.
  const auto append = [&](int number) {
    const ExecBuffer& buffer = executable.buffers[number];
    const TensorArgument argument{out.arguments_.size(), buffer.slot};
    if (buffer.kind == ExecBuffer::Kind::kInput) {
      out.inputs_.push_back(argument);
    } else if (buffer.kind == ExecBuffer::Kind::kOutput) {
      out.outputs_.push_back(argument);
    }
    out.arguments_.push_back(addresses[number]);
  };
  for (const Segment& segment : segments) {
    for (const Command& command : segment.commands) {
      Step step;
      const size_t begin = out.arguments_.size();
      if (const auto* launch = std::get_if<LaunchCommand>(&command)) {
        QUERN_ASSIGN_OR_RETURN(step.args.grid, launch->grid.Evaluate(vars));
        if (step.args.grid <= 0) continue;
        QUERN_ASSIGN_OR_RETURN(step.args.scratch_bytes,
                               launch->scratch_bytes.Evaluate(vars));
        QUERN_ASSIGN_OR_RETURN(const int64_t work, launch->work.Evaluate(vars));
        const ExecKernel& kernel = executable.kernels[launch->kernel];
        step.loaded = kernel.loaded.get();
        step.device = executable.devices[kernel.device].get();
        step.kernel = launch->kernel;
        step.serial = work < kSerialWork;
        for (int buffer : launch->buffers) append(buffer);
      } else {
        const auto& copy = std::get<CopyCommand>(command);
        QUERN_ASSIGN_OR_RETURN(
            const int64_t bytes,
            executable.buffers[copy.to].bytes.Evaluate(vars));
        step.copied_bytes = static_cast<size_t>(bytes);
        append(copy.to);
        append(copy.from);
      }
      first.push_back(begin);
      out.steps_.push_back(step);
    }
  }
  // The arguments stay where they are from here on.
  first.push_back(out.arguments_.size());
  for (size_t i = 0; i < out.steps_.size(); ++i) {
    out.steps_[i].args.buffers =
        absl::MakeConstSpan(out.arguments_)
            .subspan(first[i], first[i + 1] - first[i]);
    out.steps_[i].args.vars = out.vars_;
  }
  return out;
}

void Replay::Patch(absl::Span<const void* const> inputs,
                   absl::Span<void* const> outputs) {
  for (const TensorArgument& input : inputs_) {
    // Kernels only read it.
    arguments_[input.argument] = const_cast<void*>(inputs[input.slot]);
  }
  for (const TensorArgument& output : outputs_) {
    arguments_[output.argument] = outputs[output.slot];
  }
}

}  // namespace quern::runtime
