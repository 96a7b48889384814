// SPDX-License-Identifier: Apache-2.0
//
// Checks the graph of a model and builds it node by node.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "proto/onnx/onnx.pb.h"
#include "server/import/onnx/context.h"
#include "server/import/onnx/importer.h"

namespace quern::onnx_import {

// What must hold before anything is built: every value is defined once and
// every name that is read exists, nodes depend on each other without a cycle
// (their order in the file does not matter), limits are kept, and every
// operator that the outputs need is supported. Operators that are not are
// reported together.
[[nodiscard]] absl::Status CheckGraph(const onnx::GraphProto& graph,
                                      int64_t opset,
                                      const ImportOptions& options);

// Fills context.graph from context.file, which was checked.
[[nodiscard]] absl::Status BuildGraph(Context& context, int64_t opset);

}  // namespace quern::onnx_import
