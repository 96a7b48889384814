// SPDX-License-Identifier: Apache-2.0
//
// Finds what calls of the GraphService and the KernelService are about.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/base/compile_options.h"
#include "engine/engine.h"
#include "proto/quern/v1/subject.pb.h"
#include "server/graph_store.h"
#include "server/model_store.h"

namespace quern::server {

// A submitted graph by its digest, or a served model.
struct Found {
  std::string digest;  // Empty for a model.
  std::shared_ptr<const graph::Graph> graph;
  std::shared_ptr<const LoadedModel> model;  // Null if it is not loaded.
  base::CompileOptions options;
};

// The bytes that a graph's id stands for; kInvalidArgument if it is none.
[[nodiscard]] absl::StatusOr<std::string> DigestOf(const std::string& graph_id);
[[nodiscard]] std::string GraphId(const std::string& digest);

// The device of those who name none: the engine's first.
[[nodiscard]] std::string DefaultDevice(const Engine& engine);

// Options as a client sets them; `default_device` is used where it names none.
[[nodiscard]] absl::StatusOr<base::CompileOptions> OptionsOf(
    const v1::CompileSettings& settings, const std::string& default_device);

// The subject's graph and, if it is loaded, its model. kInvalidArgument if it
// names nothing or sets how to compile a model, kNotFound if there is no such
// thing.
[[nodiscard]] absl::StatusOr<Found> FindSubject(
    const v1::Subject& subject, const std::string& default_device,
    const ModelStore& models, GraphStore& graphs);

// All models and graphs that are loaded.
[[nodiscard]] std::vector<std::shared_ptr<const LoadedModel>> AllLoaded(
    const ModelStore& models, const GraphStore& graphs);

}  // namespace quern::server
