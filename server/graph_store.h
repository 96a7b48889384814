// SPDX-License-Identifier: Apache-2.0
//
// The GraphStore keeps what clients submitted, known by the SHA-256 of its
// bytes, and the models made of it. Both are bounded: what was used least
// recently goes first, and clients can submit it again.
//
// Any thread may call it. What was handed out stays usable while it is held.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/base/compile_options.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "server/loaded_model.h"

namespace quern::server {

// Submitted content: a graph, or the bytes of a weight.
struct Content {
  std::shared_ptr<const graph::Graph> graph;  // Null: a weight.
  graph::Bytes bytes;                         // Of a weight.
  int64_t size_bytes = 0;
};

class GraphStore {
 public:
  // `engine` outlives the store.
  GraphStore(int64_t max_bytes, int max_loaded, Engine* engine);

  // Takes `size` bytes out of what may be stored, before they arrive.
  // kResourceExhausted if that much cannot be had even without what is stored.
  [[nodiscard]] absl::Status Reserve(int64_t size);
  // Gives reserved bytes back.
  void Release(int64_t size);

  // Keeps `content`, whose bytes were reserved, as `digest`.
  void Add(const std::string& digest, std::shared_ptr<const Content> content);
  // kNotFound if there is none (any more).
  [[nodiscard]] absl::StatusOr<std::shared_ptr<const Content>> Find(
      const std::string& digest);

  // The graph `digest` compiled with `options`, from before or now.
  // `loaded_now` tells which. Calls for the same one wait for each other.
  struct Load {
    std::shared_ptr<const LoadedModel> model;
    bool loaded_now = false;
  };
  [[nodiscard]] absl::StatusOr<Load> FindOrLoad(
      const std::string& digest, const base::CompileOptions& options,
      const Progress& progress);
  // The same if it is loaded already, else null.
  [[nodiscard]] std::shared_ptr<const LoadedModel> FindLoaded(
      const std::string& digest, const base::CompileOptions& options);

  // The models of submitted graphs that are loaded.
  [[nodiscard]] std::vector<std::shared_ptr<const LoadedModel>> Loaded() const;

 private:
  struct Stored {
    std::shared_ptr<const Content> content;
    uint64_t used = 0;
  };
  struct Slot {
    std::shared_ptr<const LoadedModel> model;  // Null while it is loading.
    uint64_t used = 0;
  };
  void EvictContent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EvictModels(std::vector<std::shared_ptr<const LoadedModel>>& evicted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t max_bytes_;
  const size_t max_loaded_;
  Engine* const engine_;
  mutable base::Mutex mutex_;
  base::CondVar loaded_changed_;
  uint64_t clock_ ABSL_GUARDED_BY(mutex_) = 0;  // Counts uses.
  int64_t stored_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t reserved_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Stored> contents_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Slot> models_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
