// SPDX-License-Identifier: Apache-2.0
//
// What a command works on: MODEL on the command line is an ONNX file, a file
// with a graph, or the name of a model that the server serves.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "clients/cli/connection.h"
#include "clients/cli/tensor.h"
#include "proto/quern/v1/graph_service.pb.h"

namespace quern::cli {

struct Subject {
  std::string text;  // As on the command line.
  std::string file;  // The file; empty for a served model.
  v1::Subject proto;
  std::vector<v1::TensorSpec> inputs;
  std::vector<v1::TensorSpec> outputs;
};

// Submits content that the server may have already.
[[nodiscard]] absl::StatusOr<v1::SubmitResponse> SubmitContent(
    Connection& connection, const std::string& bytes, v1::ContentFormat format,
    const std::vector<v1::NamedTensor>& fixed_inputs);

// Submits an ONNX file. Where shapes depend on what an input holds, the
// contents in `inputs` are fixed.
struct SubmittedModel {
  v1::SubmitResponse response;
  std::vector<std::string> fixed;       // The names of fixed inputs.
  std::vector<v1::NamedTensor> inputs;  // The others, named for a run.
};
[[nodiscard]] absl::StatusOr<SubmittedModel> SubmitOnnx(
    Connection& connection, const std::string& bytes,
    const std::vector<v1::NamedTensor>& inputs);

// Hands MODEL to the server, or finds it there. `text` is "NAME" or
// "NAME/VERSION" for a served model; what is a file, is taken as one.
[[nodiscard]] absl::StatusOr<Subject> OpenSubject(Connection& connection,
                                                  const std::string& text,
                                                  const std::string& device);

// The tensors of a folder's files PREFIX_0.pb, PREFIX_1.pb, ..., in order.
[[nodiscard]] absl::StatusOr<std::vector<v1::NamedTensor>> ReadTensors(
    const std::string& folder, const std::string& prefix);

// Gives each tensor the name of the spec it is meant for: the one it names
// itself, or else the one at its place.
void NameTensors(const std::vector<v1::TensorSpec>& specs,
                 std::vector<v1::NamedTensor>& tensors);

// The inputs to run `subject` with. `choice` is "random", a folder, or empty:
// test_data_set_0 beside the model's file if there is one, else random.
// `source` says, for people, where they are from.
struct ChosenInputs {
  std::vector<v1::NamedTensor> tensors;
  std::string source;
};
[[nodiscard]] absl::StatusOr<ChosenInputs> ChooseInputs(
    const Subject& subject, const std::string& choice,
    const std::map<std::string, int64_t>& sizes, uint64_t seed);

}  // namespace quern::cli
