// SPDX-License-Identifier: Apache-2.0
//
// What the end-to-end tests have in common: models made on the spot, requests,
// and calls whose streams are read to their ends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "proto/inference/grpc_service.pb.h"
#include "proto/quern/v1/graph.pb.h"
#include "proto/quern/v1/graph_service.pb.h"
#include "tests/e2e/daemon.h"

namespace quern::e2e {

// The file of a generated perceptron: "features" f32 [batch, 64] ->
// "probabilities" f32 [batch, 10].
[[nodiscard]] std::string PerceptronFile();

// A file with one product of x f32 [n, rows] by a weight [rows, columns] whose
// element [i, j] is WeightAt(i, j).
[[nodiscard]] float WeightAt(int64_t i, int64_t j);
[[nodiscard]] std::string MatMulFile(int64_t rows, int64_t columns);

// A graph from its text form.
[[nodiscard]] v1::Graph GraphFromText(const std::string& text);

[[nodiscard]] std::string Sha256(const std::string& bytes);
[[nodiscard]] std::string RawFloats(const std::vector<float>& values);
[[nodiscard]] std::vector<float> FloatsOf(const std::string& raw);

// A request to the perceptron for `batch` rows of reproducible features.
[[nodiscard]] inference::ModelInferRequest PerceptronRequest(int64_t batch);

// Calls of a daemon.
struct Called {
  grpc::Status status;
  inference::ModelInferResponse response;
};
[[nodiscard]] Called Infer(Daemon& daemon,
                           const inference::ModelInferRequest& request);

struct Submitted {
  grpc::Status status;
  v1::SubmitResponse response;
};
// Sends a header and, if `content` is not empty, its bytes.
[[nodiscard]] Submitted SendContent(Daemon& daemon,
                                    const v1::SubmitHeader& header,
                                    const std::string& content);
// Submits content that the server may have already.
[[nodiscard]] Submitted Submit(Daemon& daemon, v1::ContentFormat format,
                               const std::string& content);

struct Executed {
  grpc::Status status;
  v1::ExecuteResult result;
};
[[nodiscard]] Executed Execute(Daemon& daemon,
                               const v1::ExecuteRequest& request);

void AddFloats(v1::ExecuteRequest& request, const std::string& name,
               const std::vector<int64_t>& dims,
               const std::vector<float>& values);

}  // namespace quern::e2e
