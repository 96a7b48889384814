// SPDX-License-Identifier: Apache-2.0
//
// Reads a model repository: NAME/VERSION/model.onnx, as Triton lays it out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "server/model_store.h"

namespace quern::server {

// A model's file in a repository.
struct RepositoryModel {
  std::string name;
  int64_t version = 0;
  std::string path;
};

// What a repository holds, by name and version, and what in it is no model.
struct RepositoryListing {
  std::vector<RepositoryModel> models;
  std::vector<std::string> ignored;  // A path and the reason, each.
};

// kNotFound if `folder` is none.
[[nodiscard]] absl::StatusOr<RepositoryListing> ListRepository(
    const std::string& folder);

struct RepositoryOptions {
  std::string device;  // The default one.
  int64_t max_graph_bytes = 0;
  int64_t max_graph_nodes = 0;
};

// Loads every model of `listing` into `models`, one after the other. One that
// fails is recorded there with its reason, and the others go on.
void LoadRepository(const RepositoryListing& listing,
                    const RepositoryOptions& options, Engine& engine,
                    ModelStore& models, telemetry::Metrics& metrics);

}  // namespace quern::server
