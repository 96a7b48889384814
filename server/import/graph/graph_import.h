// SPDX-License-Identifier: Apache-2.0
//
// Builds the engine's graph from a submitted quern.v1.Graph: names become
// nodes, operations and functions come from the vocabulary, sizes become
// expressions, devices become copies.
//
// Everything a client says is checked here or by the builder; errors name the
// node. Pure; any thread may call it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/graph/graph.h"
#include "proto/quern/v1/graph.pb.h"

namespace quern::graph_import {

struct ImportOptions {
  int64_t max_nodes = 1'000'000;  // Of the client's and of the arena.
  // The bytes of a weight that the graph knows by its SHA-256 (32 bytes);
  // kNotFound if there are none.
  std::function<absl::StatusOr<graph::Bytes>(absl::string_view sha256)> content;
};

// `proto` is kept alive by the weights of the result, which point into it.
[[nodiscard]] absl::StatusOr<graph::Graph> ImportGraph(
    std::shared_ptr<const v1::Graph> proto, const ImportOptions& options);

}  // namespace quern::graph_import
