// SPDX-License-Identifier: Apache-2.0
//
// A Replay is what the requests of given sizes do, flat: one step after the
// other with their grids and addresses worked out. A request patches in where
// its tensors are and walks over it.
//
// Belongs to one execution context; it is used by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/runtime/backend.h"
#include "engine/runtime/executable.h"

namespace quern::runtime {

class Replay {
 public:
  // Of a launch or, where there is no kernel, of a copy.
  struct Step {
    const LoadedKernel* loaded = nullptr;
    Device* device = nullptr;
    int kernel = 0;       // Position in Executable::kernels.
    bool serial = false;  // Too little work for more than one thread.
    LaunchArgs args;      // A copy's buffers are {to, from}.
    size_t copied_bytes = 0;
  };

  Replay() = default;

  // The commands of `segments` for the free sizes `vars`. `addresses`: by
  // buffer, null for those of the request. Launches of an empty grid are left
  // out. The executable outlives what is made.
  [[nodiscard]] static absl::StatusOr<Replay> Record(
      const Executable& executable, const std::vector<Segment>& segments,
      absl::Span<void* const> addresses, absl::Span<const int64_t> vars);

  // From here on the steps use these tensors; host addresses by slot.
  void Patch(absl::Span<const void* const> inputs,
             absl::Span<void* const> outputs);

  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }

 private:
  // An argument that is a tensor of the request.
  struct TensorArgument {
    size_t argument = 0;
    int slot = 0;
  };

  std::vector<Step> steps_;
  std::vector<int64_t> vars_;
  std::vector<void*> arguments_;  // Of all steps.
  std::vector<TensorArgument> inputs_;
  std::vector<TensorArgument> outputs_;
};

}  // namespace quern::runtime
