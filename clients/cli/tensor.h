// SPDX-License-Identifier: Apache-2.0
//
// Tensors on the client's side: reading them from files, making random ones,
// comparing and printing them. All of them are wire tensors (proto/quern/v1),
// whose bytes are the elements in order.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "proto/quern/v1/graph_service.pb.h"
#include "proto/quern/v1/tensor.pb.h"

namespace quern::cli {

// "f32", and so on.
[[nodiscard]] std::string TypeName(v1::DataType type);
[[nodiscard]] int64_t ElementBytes(v1::DataType type);
[[nodiscard]] bool IsFloat(v1::DataType type);

// The number of elements; 0 if a dimension is not positive.
[[nodiscard]] int64_t Elements(const v1::Tensor& tensor);

// "f32[1,3,224,224]".
[[nodiscard]] std::string ShapeText(const v1::Tensor& tensor);

// Element `i` as a double (floats) or as an integer (all else).
[[nodiscard]] double FloatAt(const v1::Tensor& tensor, int64_t i);
[[nodiscard]] __int128 IntegerAt(const v1::Tensor& tensor, int64_t i);

// Element `i` as text.
[[nodiscard]] std::string TextAt(const v1::Tensor& tensor, int64_t i);

// A tensor from a file with a serialized onnx.TensorProto, named as in the
// file. kUnimplemented for types that no model takes (strings, complex numbers,
// sub-byte types), kInvalidArgument for a damaged file.
[[nodiscard]] absl::StatusOr<v1::NamedTensor> ReadTensorFile(
    const std::string& path);

// Writes a tensor as such a file.
[[nodiscard]] absl::Status WriteTensorFile(const std::string& path,
                                           const v1::NamedTensor& tensor);

// A tensor for `spec`: floats in [-1, 1), integers from 0 to 7, bools; free
// sizes are those in `sizes` or 1. The same seed gives the same tensor.
[[nodiscard]] absl::StatusOr<v1::NamedTensor> RandomTensor(
    const v1::TensorSpec& spec, const std::map<std::string, int64_t>& sizes,
    uint64_t seed);

// The first difference beyond |a - b| <= atol + rtol |b|, as a sentence; empty
// if there is none. NaN equals NaN; integers and bools are compared exactly.
struct Tolerance {
  double rtol = 1e-3;
  double atol = 1e-4;
};
[[nodiscard]] std::string Difference(const v1::Tensor& got,
                                     const v1::Tensor& expected,
                                     const Tolerance& tolerance);

// The content of a file.
[[nodiscard]] absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace quern::cli
