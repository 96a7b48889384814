// SPDX-License-Identifier: Apache-2.0
//
// The Repository is a folder of models as Triton lays it out,
//
//   NAME/config.pbtxt        optional
//   NAME/VERSION/model.onnx
//
// and whoever brings them into the ModelStore and out of it: all at the start,
// by name when a client asks, or by itself when files change. What a load
// replaces serves until the new one is ready; a load that fails changes nothing
// but the reason that the index tells.
//
// Any thread may call it; loads of one model follow each other.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "server/model_settings.h"
#include "server/model_store.h"

namespace quern::server {

struct RepositoryOptions {
  std::string folder;  // Empty: there is none, models come by requests only.
  std::string device;  // The default one.
  int64_t max_graph_bytes = 0;
  int64_t max_graph_nodes = 0;
  int threads = 1;  // Models that LoadAll loads at the same time.
};

// What a client sends with a load instead of what is in the folder.
struct LoadOverride {
  std::string config_json;
  // model.onnx by version, in the request's memory; may be none.
  std::map<int64_t, absl::string_view> files;
};

class Repository {
 public:
  // kNotFound if there is no such folder. All pointers outlive it.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Repository>> Open(
      const RepositoryOptions& options, Engine* engine, ModelStore* models);

  // Loads `names`, or every model of the folder. One that fails is recorded
  // with its reason and does not stop the others.
  void LoadAll(const std::vector<std::string>& names = {});

  // Loads the selected versions of a model as they are now, and drops those
  // that are not selected any more. The first error of a version, after all
  // were tried; kNotFound if there is no such model.
  [[nodiscard]] absl::Status Load(const std::string& name,
                                  const std::optional<LoadOverride>& override);

  // Drops what was loaded of a model; kNotFound if nothing was.
  [[nodiscard]] absl::Status Unload(const std::string& name);

  // Looks at the folder once: loads what is new or has changed, drops what has
  // gone. What a client loaded with files of its own stays.
  void Poll();

  // True if the folder has a model of that name.
  [[nodiscard]] bool Has(const std::string& name) const;

  // The models of the folder, in order.
  [[nodiscard]] std::vector<std::string> Names() const;

 private:
  // A file as it was when it was looked at.
  struct Stamp {
    int64_t size = -1;  // -1: there is none.
    int64_t mtime_ns = 0;
    uint64_t inode = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  // What is in the folder for one model.
  struct Found {
    Stamp config;
    std::map<int64_t, Stamp> versions;
    std::vector<std::string> ignored;  // A path and the reason, each.
    friend bool operator==(const Found& a, const Found& b) {
      return a.config == b.config && a.versions == b.versions;
    }
  };
  // What of a model is in the store because of us.
  struct Mine {
    Found found;
    bool overridden = false;  // By a client: Poll leaves it alone.
    std::set<int64_t> versions = {};
  };
  class Turn;  // Keeps other operations on a model out.

  Repository(const RepositoryOptions& options, Engine* engine,
             ModelStore* models);

  [[nodiscard]] std::string PathOf(const std::string& name) const;
  [[nodiscard]] Found Look(const std::string& name) const;
  absl::StatusOr<ParsedSettings> ReadSettings(
      const std::string& name, const Found& found,
      const std::optional<LoadOverride>& override) const;
  absl::Status LoadInTurn(const std::string& name,
                          const std::optional<LoadOverride>& override);
  // One version, from its file or these bytes, into the store.
  absl::Status LoadVersion(const std::string& name, int64_t version,
                           const Stamp& stamp, const absl::string_view* bytes,
                           const ParsedSettings& settings);
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Compile(
      const std::string& name, int64_t version, const Stamp& stamp,
      const absl::string_view* bytes, const ParsedSettings& settings);
  void Drop(const std::string& name, const std::set<int64_t>& versions);

  const RepositoryOptions options_;
  Engine& engine_;
  ModelStore& models_;
  mutable base::Mutex mutex_;
  base::CondVar turn_;
  std::set<std::string> busy_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Mine> mine_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
