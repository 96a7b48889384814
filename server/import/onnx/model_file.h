// SPDX-License-Identifier: Apache-2.0
//
// Takes a model file apart: into the message that the parser reads, and the
// data of large initializers, which the parser never sees.
//
// Weights are nearly all of a file. Read apart they are touched once, from
// where the file lies into memory that a device can use as it is (aligned, in
// huge pages), and the parser's limit of 2 GiB does not count them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/graph/graph.h"
#include "proto/onnx/onnx.pb.h"

namespace quern::onnx_import {

// Where the bytes of a file come from. Any thread may call it.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  // Copies `size` bytes from `offset` on, which are all inside.
  [[nodiscard]] virtual absl::Status Read(int64_t offset, int64_t size,
                                          char* to) const = 0;
};

// kNotFound if there is no such file that can be read.
[[nodiscard]] absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(
    const std::string& path);

// `bytes` outlive the source.
[[nodiscard]] std::unique_ptr<ByteSource> FromMemory(absl::string_view bytes);

struct ModelFile {
  // On its own, so that a small weight inside it keeps no large ones alive.
  std::shared_ptr<onnx::ModelProto> proto =
      std::make_shared<onnx::ModelProto>();
  // What was read apart: the `raw_data` of these tensors is empty in `proto`.
  absl::flat_hash_map<const onnx::TensorProto*, graph::Bytes> data;
};

// kInvalidArgument if the bytes are no ONNX model, kResourceExhausted if there
// is no memory for it or the message alone is beyond the parser's limit.
[[nodiscard]] absl::StatusOr<std::shared_ptr<const ModelFile>> ReadModelFile(
    const ByteSource& source);

}  // namespace quern::onnx_import
