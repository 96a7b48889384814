// SPDX-License-Identifier: Apache-2.0
//
// The CompileCache keeps what compilers made: a blob for each kernel text,
// compiler version and target, in memory and on disk, so that no kernel is
// compiled twice, neither at the same time nor after a restart.
//
// Any thread may call it; several processes may share a directory. The disk is
// a convenience: when it is full, read-only, damaged or somebody else's, the
// cache goes on without it, counts that, and says so in disk_status().
//
// A file is named by the hash of its key, and holds the key, the blob and a
// checksum of both. It is written under another name and renamed, so a reader
// meets a whole file or none. One that is damaged is deleted and counted. The
// name is hexadecimal: nothing of a client becomes part of a path.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/base/mutex.h"
#include "engine/telemetry/metrics.h"

namespace quern::runtime {

// All that decides what a blob means.
struct BlobKey {
  std::string text;      // The kernel in the language of its target.
  std::string compiler;  // Codegen::Version().
  std::string target;    // Target::ToString().
};

// What a lookup found and where.
struct CachedBlob {
  enum class Origin { kMemory, kDisk, kComputed };
  std::shared_ptr<const std::string> blob;  // Not null.
  Origin origin = Origin::kMemory;
};

class CompileCache {
 public:
  struct Options {
    // Made, with mode 0700, if it is not there; empty for no disk at all. One
    // that others own or may write to is not used: what lies there is run.
    std::string directory;
    // Beyond it, the files used least recently are deleted.
    int64_t max_disk_bytes = int64_t{1} << 30;
    // Beyond it, the entries used least recently are dropped.
    int64_t max_memory_bytes = int64_t{256} << 20;
  };
  using Compute = std::function<absl::StatusOr<std::string>()>;

  // Opens the directory and clears what crashed writers left in it. `metrics`
  // gets the counters and must outlive the cache.
  CompileCache(Options options, telemetry::Metrics* metrics);
  ~CompileCache();
  CompileCache(const CompileCache&) = delete;
  CompileCache& operator=(const CompileCache&) = delete;

  // The blob of `key`: from memory, from disk, or else what `compute` makes,
  // which is then kept. Callers who ask for the same key meanwhile wait for
  // that one computation and get its result; an error goes to all of them and
  // is not kept. `compute` runs in this thread, without a lock, and must not
  // ask for the same key.
  [[nodiscard]] absl::StatusOr<CachedBlob> GetOrCompute(const BlobKey& key,
                                                        const Compute& compute);

  // The blob of `key` if it is kept; kNotFound otherwise. Waits for no
  // computation.
  [[nodiscard]] absl::StatusOr<CachedBlob> Find(const BlobKey& key);

  // OK, or what went wrong with the disk last.
  [[nodiscard]] absl::Status disk_status() const;

 private:
  class Disk;
  struct Flight;
  struct Entry {
    std::shared_ptr<const std::string> blob;
    std::list<const std::string*>::iterator place;  // In recent_.
  };

  // From memory, marking it as used; null if it is not there.
  std::shared_ptr<const std::string> Remembered(const std::string& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remember(const std::string& key, std::shared_ptr<const std::string> blob)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<CachedBlob> ReadOrCompute(const std::string& key,
                                           const Compute& compute);

  const Options options_;
  telemetry::Metrics* const metrics_;
  const std::unique_ptr<Disk> disk_;

  mutable base::Mutex mutex_;
  std::unordered_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // Keys of entries_, used most recently first.
  std::list<const std::string*> recent_ ABSL_GUARDED_BY(mutex_);
  int64_t memory_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::shared_ptr<Flight>> flights_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::runtime
