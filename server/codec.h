// SPDX-License-Identifier: Apache-2.0
//
// The one place that turns messages into the engine's types and back: names of
// data types, inputs of requests into views of their bytes, outputs into
// messages, reports into messages.
//
// Pure functions; any thread may call them. Views point into the request,
// which must outlive them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "google/protobuf/repeated_ptr_field.h"

#include "engine/engine.h"
#include "engine/graph/graph.h"
#include "proto/inference/grpc_service.pb.h"
#include "proto/quern/v1/graph_service.pb.h"
#include "proto/quern/v1/tensor.pb.h"

namespace quern::server {

// The V2 protocol's name of a type: "FP32".
[[nodiscard]] const char* V2Name(ir::DType dtype);
// The type with that name; kInvalidArgument if there is none.
[[nodiscard]] absl::StatusOr<ir::DType> DTypeFromV2(const std::string& name);

[[nodiscard]] v1::DataType ToProto(ir::DType dtype);
[[nodiscard]] absl::StatusOr<ir::DType> FromProto(v1::DataType type);

// The bytes of a tensor; kInvalidArgument if a dimension is negative or the
// product leaves int64.
[[nodiscard]] absl::StatusOr<int64_t> TensorBytes(
    ir::DType dtype, absl::Span<const int64_t> dims);

// The inputs of a request in the model's order. `owned` holds what had to be
// converted, all else is in the request.
struct Inputs {
  std::vector<TensorView> views;
  std::vector<std::unique_ptr<std::string>> owned;
};
[[nodiscard]] absl::StatusOr<Inputs> DecodeInputs(
    const inference::ModelInferRequest& request,
    const std::vector<TensorSpec>& specs);
[[nodiscard]] absl::StatusOr<Inputs> DecodeInputs(
    const google::protobuf::RepeatedPtrField<v1::NamedTensor>& tensors,
    const std::vector<TensorSpec>& specs);

// The indices of the outputs called `names`, or of all outputs if there are no
// names.
[[nodiscard]] absl::StatusOr<std::vector<int>> SelectOutputs(
    const std::vector<std::string>& names,
    const std::vector<TensorSpec>& specs);

// kUnimplemented if the request asks by a parameter for what would change its
// meaning and is not supported (sequences, shared memory, classification).
[[nodiscard]] absl::Status CheckParameters(
    const inference::ModelInferRequest& request);

// The inputs and outputs of a graph that is not compiled.
[[nodiscard]] std::vector<TensorSpec> SpecsOf(
    const graph::Graph& graph, const std::vector<graph::Port>& ports);

// kInvalidArgument if a name in the graph that may reach a message is no UTF-8:
// clients would choke on it.
[[nodiscard]] absl::Status CheckNames(const graph::Graph& graph);

// What a graph is made of.
struct GraphSize {
  int64_t nodes = 0;
  int64_t weights = 0;
  int64_t weight_bytes = 0;
};
[[nodiscard]] GraphSize SizeOf(const graph::Graph& graph);

}  // namespace quern::server
