// SPDX-License-Identifier: Apache-2.0
//
// The CompileService turns the texts of kernels into blobs: from the cache, or
// by an Assembler, as many at a time as the assembler can do.
//
// It owns the threads that wait for assemblers; no lock is held meanwhile. Any
// thread may call it.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/base/mutex.h"
#include "engine/base/target.h"
#include "engine/runtime/backend.h"
#include "engine/runtime/compile_cache.h"

namespace quern::runtime {

// Who assembles: this process, or worker processes of which the engine knows
// nothing. Any thread may call it.
class Assembler {
 public:
  virtual ~Assembler() = default;

  // The blob of a text that the codegen of backend `backend` rendered.
  // kResourceExhausted if it took too long or too much memory, kInternal with
  // its last words if the compiler died.
  [[nodiscard]] virtual absl::StatusOr<std::string> Assemble(
      const std::string& backend, const base::Target& target,
      const KernelSource& source) = 0;

  // Calls of Assemble that proceed at the same time.
  [[nodiscard]] virtual int parallelism() const = 0;
};

// Assembles in this process by the codegens of `backends`, which must outlive
// it: for tests, and where no worker process may be started.
[[nodiscard]] std::unique_ptr<Assembler> MakeInProcessAssembler(
    std::vector<const Backend*> backends, int parallelism);

// One blob, and what it took.
struct CompiledKernel {
  std::shared_ptr<const std::string> blob;  // Not null.
  CachedBlob::Origin origin = CachedBlob::Origin::kMemory;
  std::chrono::nanoseconds time{0};  // Until it was there, waiting included.
};

class CompileService {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // Both must outlive the service.
  CompileService(Assembler* assembler, CompileCache* cache);
  // Waits for the kernels that are being compiled.
  ~CompileService();
  CompileService(const CompileService&) = delete;
  CompileService& operator=(const CompileService&) = delete;

  // The blobs of `sources`, in their order. `compiler` is the version of the
  // codegen of target.backend that rendered them.
  //
  // The error of the first kernel in that order that has one, and then the
  // ones after it may not have been compiled. kDeadlineExceeded if `deadline`
  // passes; what is being compiled then goes on and ends in the cache.
  [[nodiscard]] absl::StatusOr<std::vector<CompiledKernel>> Compile(
      const std::string& compiler, const base::Target& target,
      absl::Span<const KernelSource> sources,
      Deadline deadline = Deadline::max());

 private:
  struct Batch;
  struct Job {
    std::shared_ptr<Batch> batch;
    size_t index;
  };

  void ThreadMain();
  void Run(const Job& job);
  absl::StatusOr<CompiledKernel> CompileOne(const Batch& batch, size_t index);

  Assembler* const assembler_;
  CompileCache* const cache_;

  base::Mutex mutex_;
  base::CondVar work_;  // Signaled when jobs_ grows or stop_ is set.
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern::runtime
