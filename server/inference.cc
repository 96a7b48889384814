// SPDX-License-Identifier: Apache-2.0
#include "server/inference.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::server {

absl::StatusOr<PreparedRun> Prepare(const Model& model,
                                    absl::Span<const TensorView> inputs,
                                    std::vector<int> selected,
                                    int64_t max_bytes) {
  PreparedRun run;
  QUERN_ASSIGN_OR_RETURN(run.binding, model.Bind(inputs));
  int64_t total = 0;
  for (int index : selected) {
    const size_t bytes = run.binding.output_bytes[index];
    if (bytes > static_cast<size_t>(max_bytes) ||
        __builtin_add_overflow(total, static_cast<int64_t>(bytes), &total) ||
        total > max_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the outputs have more than ", max_bytes,
          " bytes, the limit of --max-message-bytes; ask for fewer of them"));
    }
  }
  run.selected = std::move(selected);
  return run;
}

absl::StatusOr<RunTimes> RunInto(const Model& model, const PreparedRun& run,
                                 absl::Span<const TensorView> inputs,
                                 absl::Span<std::string* const> targets,
                                 const RunOptions& options) {
  const std::vector<size_t>& bytes = run.binding.output_bytes;
  std::vector<void*> outputs(bytes.size(), nullptr);
  for (size_t i = 0; i < run.selected.size(); ++i) {
    const int index = run.selected[i];
    targets[i]->resize(bytes[index]);
    outputs[index] = targets[i]->data();
  }
  // The engine computes every output; those that nobody asked for go nowhere.
  std::vector<std::string> unwanted;
  unwanted.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (outputs[i] != nullptr) continue;
    unwanted.emplace_back(bytes[i], '\0');
    outputs[i] = unwanted.back().data();
  }
  return model.Run(run.binding, inputs, outputs, options);
}

}  // namespace quern::server
