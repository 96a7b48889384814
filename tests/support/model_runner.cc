// SPDX-License-Identifier: Apache-2.0
#include "tests/support/model_runner.h"

#include <string>

#include "engine/base/status_macros.h"

namespace quern::support {

absl::StatusOr<std::vector<ref::Tensor>> RunModel(
    const Model& model, const std::vector<ref::Tensor>& inputs,
    const RunOptions& options) {
  std::vector<std::string> contents;
  for (const ref::Tensor& input : inputs) {
    contents.push_back(ref::BytesOf(input));
  }
  std::vector<TensorView> views;
  for (size_t i = 0; i < inputs.size(); ++i) {
    views.push_back({inputs[i].dtype, inputs[i].dims, contents[i].data(),
                     contents[i].size()});
  }
  QUERN_ASSIGN_OR_RETURN(const Binding binding, model.Bind(views));
  std::vector<std::string> results;
  for (size_t bytes : binding.output_bytes) results.emplace_back(bytes, '\x5a');
  std::vector<void*> addresses;
  for (std::string& result : results) addresses.push_back(result.data());
  QUERN_RETURN_IF_ERROR(model.Run(binding, views, addresses, options).status());
  std::vector<ref::Tensor> outputs;
  for (size_t i = 0; i < results.size(); ++i) {
    QUERN_ASSIGN_OR_RETURN(outputs.emplace_back(),
                           ref::TensorOf(model.outputs()[i].dtype,
                                         binding.output_dims[i], results[i]));
  }
  return outputs;
}

}  // namespace quern::support
