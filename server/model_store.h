// SPDX-License-Identifier: Apache-2.0
//
// The ModelStore knows the versions of the models that clients may name, and
// what became of each: loading, ready, or failed with a reason.
//
// Any thread may call it. A model that was found stays usable while it is held,
// whatever happens to its entry.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/base/mutex.h"
#include "server/loaded_model.h"

namespace quern::server {

// OK if a model may be called so: 1 to 128 letters, digits, '.', '_' or '-',
// not beginning with a dot and without "..".
[[nodiscard]] absl::Status CheckModelName(const std::string& name);

// The number in a version's text: 1 to 2^62, written without leading zeros.
[[nodiscard]] absl::StatusOr<int64_t> ParseVersion(const std::string& text);

struct ModelVersion {
  std::string name;
  int64_t version = 0;
  std::shared_ptr<const LoadedModel> loaded;  // Null if it is not ready.
  std::string state;   // "READY", "LOADING" or "UNAVAILABLE".
  std::string reason;  // Why it is unavailable, or a later load failed.
};

class ModelStore {
 public:
  // `metrics` outlives the store.
  ModelStore(int max_models, telemetry::Metrics* metrics)
      : max_models_(max_models), metrics_(metrics) {}

  // The model called `name` of `version`, or of the greatest version that is
  // ready if `version` is empty. kNotFound, with the versions that there are or
  // the reason of a failed load.
  [[nodiscard]] absl::StatusOr<ModelVersion> Find(
      const std::string& name, const std::string& version) const;

  // Makes a place for a version, or for the next version if it is 0, whose
  // number is returned. A version that serves goes on serving. kAborted if the
  // version is loading already, kResourceExhausted if there are too many.
  [[nodiscard]] absl::StatusOr<int64_t> BeginLoad(const std::string& name,
                                                  int64_t version);
  // Ends what BeginLoad began. A failure keeps a version that serves.
  void EndLoad(const std::string& name, int64_t version,
               absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded);

  // Forgets a version; requests that hold it run on.
  [[nodiscard]] absl::Status Remove(const std::string& name, int64_t version);

  // Everything, by name and version.
  [[nodiscard]] std::vector<ModelVersion> List() const;

 private:
  struct Entry {
    std::shared_ptr<const LoadedModel> loaded;
    bool loading = false;
    std::string reason;
  };
  static ModelVersion Describe(const std::string& name, int64_t version,
                               const Entry& entry);
  void CountReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int max_models_;
  telemetry::Metrics* const metrics_;
  mutable base::Mutex mutex_;
  std::map<std::string, std::map<int64_t, Entry>> models_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
