// SPDX-License-Identifier: Apache-2.0
//
// Reads ONNX tensors: checks type, sizes and length, and hands out the bytes
// without copying them where they lie as they are needed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"
#include "engine/ir/dtype.h"
#include "proto/onnx/onnx.pb.h"

namespace quern::onnx_import {

// The dtype of an ONNX element type; kUnimplemented, naming it, for those that
// the engine lacks (strings, complex numbers, floats of 8 bits and fewer).
[[nodiscard]] absl::StatusOr<ir::DType> DTypeOfElement(int32_t element_type);

// The elements of `tensor`, little-endian and row-major. Bytes in raw_data are
// shared with `owner`, which holds the tensor; others are converted. `apart`,
// if not null, is raw data that the tensor lacks.
// kInvalidArgument if the length is not that of the shape, kUnimplemented for
// data outside of the file.
[[nodiscard]] absl::StatusOr<graph::Weight> ReadTensor(
    const onnx::TensorProto& tensor, const std::shared_ptr<const void>& owner,
    const graph::Bytes* apart = nullptr);

// The elements as held bits, see Attr of kConstArray.
[[nodiscard]] std::vector<int64_t> HeldBits(const graph::Weight& weight);

// The number of elements of a weight whose shape was checked.
[[nodiscard]] int64_t ElementCount(const graph::Weight& weight);

// True if all elements of `weight` have the same bytes (and there are some).
[[nodiscard]] bool IsUniform(const graph::Weight& weight);

}  // namespace quern::onnx_import
