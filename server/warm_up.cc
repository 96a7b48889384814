// SPDX-License-Identifier: Apache-2.0
#include "server/warm_up.h"

#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/host_memory.h"
#include "engine/base/status_macros.h"
#include "server/codec.h"

namespace quern::server {
namespace {

// Inputs of one run, and the memory that they and the outputs lie in.
struct Run {
  std::vector<TensorView> inputs;
  std::vector<base::HostMemory> memory;
};

absl::StatusOr<void*> Allocate(Run& run, size_t size) {
  run.memory.push_back(base::AllocateHostMemory(size));
  if (run.memory.back() == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a tensor of ", size, " bytes"));
  }
  return static_cast<void*>(run.memory.back().get());
}

absl::Status RunOnce(const Model& model, const WarmUp& sizes) {
  Run run;
  std::set<std::string> free;
  for (const TensorSpec& spec : model.inputs()) {
    TensorView view;
    view.dtype = spec.dtype;
    for (size_t i = 0; i < spec.dims.size(); ++i) {
      int64_t dim = spec.dims[i];
      if (dim < 0) {
        free.insert(spec.dim_text[i]);
        const auto said = sizes.find(spec.dim_text[i]);
        dim = said == sizes.end() ? 1 : said->second;
      }
      view.dims.push_back(dim);
    }
    QUERN_ASSIGN_OR_RETURN(const int64_t bytes,
                           TensorBytes(view.dtype, view.dims));
    view.size = static_cast<size_t>(bytes);
    QUERN_ASSIGN_OR_RETURN(view.data, Allocate(run, view.size));
    run.inputs.push_back(std::move(view));
  }
  for (const auto& [name, size] : sizes) {
    if (free.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the warm-up names the size '", name,
                     "', the free sizes of the model are ",
                     free.empty() ? "none" : absl::StrJoin(free, ", ")));
  }
  QUERN_ASSIGN_OR_RETURN(const Binding binding, model.Bind(run.inputs));
  std::vector<void*> outputs;
  for (size_t bytes : binding.output_bytes) {
    QUERN_ASSIGN_OR_RETURN(void* const output, Allocate(run, bytes));
    outputs.push_back(output);
  }
  return model.Run(binding, run.inputs, outputs, {}).status();
}

}  // namespace

absl::Status RunWarmUps(const Model& model,
                        const std::vector<WarmUp>& warm_ups) {
  for (const WarmUp& sizes : warm_ups) {
    const absl::Status status = RunOnce(model, sizes);
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat("warm-up: ", status.message()));
    }
  }
  // The times of users only.
  if (!warm_ups.empty()) model.ResetStatistics();
  return absl::OkStatus();
}

}  // namespace quern::server
