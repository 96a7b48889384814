// SPDX-License-Identifier: Apache-2.0
//
// Turns an ONNX file into a Graph.
//
// Every operator becomes a composition of the tensor-level operations; the
// table in op_table.h says which function makes it. Free dimensions become
// variables, named as in the file, or by input and axis where it has no name.
// What a model computes from shapes is worked out here, as expressions of
// those variables.
//
// A file is hostile until proved otherwise: every name, size and attribute is
// checked, and messages say which node or tensor is to blame. Pure functions;
// any thread may call them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/graph/graph.h"

namespace quern::onnx_import {

// The bounds of a free dimension, both included.
struct DimBounds {
  int64_t least = 1;
  int64_t greatest = INT32_MAX;
};

struct ImportOptions {
  // By name of the variable; others have the bounds above. Equal bounds make
  // the dimension a constant.
  std::map<std::string, DimBounds> dims;
  // Inputs whose content is fixed when the model is loaded, because shapes
  // depend on it: they are constants, and no inputs of the graph any more.
  std::map<std::string, graph::Weight> input_values;

  int64_t max_bytes = INT64_MAX;  // Of the file.
  int64_t max_nodes = 1'000'000;  // Of the file, subgraphs included.
  int64_t max_attribute_elements = int64_t{1} << 20;  // Of a list.
  int max_subgraph_depth = 8;
};

// A kUnimplemented error that ends when the values of some inputs are fixed
// (ImportOptions::input_values) has this payload: their names, one a line.
inline constexpr char kNeedsInputValues[] = "quern/needs_input_values";

// The graph of the ONNX model in `bytes`, which are not needed afterwards.
//
// kInvalidArgument if the file is damaged or breaks a rule of the format, with
// the node or tensor named; kUnimplemented if it is sound and asks for what is
// not supported, with all such operators; kResourceExhausted over a limit.
[[nodiscard]] absl::StatusOr<graph::Graph> ImportOnnx(
    absl::string_view bytes, const ImportOptions& options = {});

// The same for a file, whose weights are read right to where they stay.
// kNotFound if it cannot be read.
[[nodiscard]] absl::StatusOr<graph::Graph> ImportOnnxFile(
    const std::string& path, const ImportOptions& options = {});

}  // namespace quern::onnx_import
