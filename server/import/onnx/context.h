// SPDX-License-Identifier: Apache-2.0
//
// What one import works on: the model, the graph that grows out of it, and
// what is known of small tensors. Lives for one import; not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/known_values.h"
#include "engine/ir/builder.h"
#include "server/import/onnx/importer.h"
#include "server/import/onnx/model_file.h"

namespace quern::onnx_import {

class Context {
 public:
  Context(std::shared_ptr<const ModelFile> file, const ImportOptions& options);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // A tensor whose content is known now. One element, or many equal ones,
  // become a constant, short integer lists (shapes, indices) an array of the
  // graph's own, and everything else a weight slot.
  ir::Id Constant(const graph::Weight& weight);

  const std::shared_ptr<const ModelFile> file;
  const ImportOptions& options;
  graph::Graph graph;
  ir::Builder b;
  graph::KnownValues known;
  // Slices between expressions of free sizes stay within their axis, and the
  // graph says so in its limits; else they are cut at its end.
  bool trust_slices = false;
  // Set with an error that fixing the values of these inputs would avoid.
  std::vector<std::string> deciding_inputs;
};

}  // namespace quern::onnx_import
