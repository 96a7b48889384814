// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/compile_service.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::runtime {
namespace {

class InProcessAssembler final : public Assembler {
 public:
  InProcessAssembler(std::vector<const Backend*> backends, int parallelism)
      : backends_(std::move(backends)), parallelism_(parallelism) {}

  absl::StatusOr<std::string> Assemble(const std::string& backend,
                                       const base::Target& target,
                                       const KernelSource& source) override {
    for (const Backend* candidate : backends_) {
      if (candidate->name() == backend) {
        return candidate->codegen().Assemble(source, target);
      }
    }
    return absl::NotFoundError(
        absl::StrCat("there is no backend '", backend, "' to assemble for"));
  }

  int parallelism() const override { return parallelism_; }

 private:
  const std::vector<const Backend*> backends_;
  const int parallelism_;
};

}  // namespace

std::unique_ptr<Assembler> MakeInProcessAssembler(
    std::vector<const Backend*> backends, int parallelism) {
  return std::make_unique<InProcessAssembler>(std::move(backends),
                                              std::max(1, parallelism));
}

// One call of Compile. It outlives the call if the deadline passes first.
struct CompileService::Batch {
  Batch(std::string compiler, const base::Target& target,
        absl::Span<const KernelSource> sources)
      : compiler(std::move(compiler)),
        target(target),
        target_text(target.ToString()),
        sources(sources.begin(), sources.end()),
        results(sources.size()) {}

  const std::string compiler;
  const base::Target target;
  const std::string target_text;
  const std::vector<KernelSource> sources;

  base::Mutex mutex;
  base::CondVar done;  // Signaled when unfinished is 0.
  std::vector<std::optional<absl::StatusOr<CompiledKernel>>> results
      ABSL_GUARDED_BY(mutex);
  size_t unfinished ABSL_GUARDED_BY(mutex) = 0;
  // Kernels from here on are not worth compiling: one before has failed, or
  // nobody waits.
  size_t limit ABSL_GUARDED_BY(mutex) = SIZE_MAX;
};

CompileService::CompileService(Assembler* assembler, CompileCache* cache)
    : assembler_(assembler), cache_(cache) {
  for (int i = 0; i < std::max(1, assembler->parallelism()); ++i) {
    threads_.emplace_back([this] { ThreadMain(); });
  }
}

CompileService::~CompileService() {
  {
    const base::MutexLock lock(&mutex_);
    stop_ = true;
    work_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::StatusOr<std::vector<CompiledKernel>> CompileService::Compile(
    const std::string& compiler, const base::Target& target,
    absl::Span<const KernelSource> sources, Deadline deadline) {
  const auto late = [&](size_t unfinished) {
    return absl::DeadlineExceededError(
        absl::StrCat("compiled ", sources.size() - unfinished, " of ",
                     sources.size(), " kernels before the deadline"));
  };
  // Nothing is begun when the time is up.
  if (!sources.empty() && std::chrono::steady_clock::now() >= deadline) {
    return late(sources.size());
  }
  const auto batch = std::make_shared<Batch>(compiler, target, sources);
  const base::MutexLock batch_lock(&batch->mutex);
  batch->unfinished = sources.size();
  {
    const base::MutexLock lock(&mutex_);
    for (size_t i = 0; i < sources.size(); ++i) jobs_.push_back({batch, i});
    work_.SignalAll();
  }
  while (batch->unfinished > 0) {
    if (deadline == Deadline::max()) {
      batch->done.Wait(&batch->mutex);
    } else if (!batch->done.WaitUntil(&batch->mutex, deadline) &&
               batch->unfinished > 0) {
      batch->limit = 0;
      return late(batch->unfinished);
    }
  }
  std::vector<CompiledKernel> kernels;
  for (std::optional<absl::StatusOr<CompiledKernel>>& result : batch->results) {
    QUERN_RET_CHECK(result.has_value(), "a kernel was skipped");
    QUERN_ASSIGN_OR_RETURN(CompiledKernel kernel, *std::move(result));
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

void CompileService::ThreadMain() {
  while (true) {
    Job job;
    {
      const base::MutexLock lock(&mutex_);
      while (jobs_.empty() && !stop_) work_.Wait(&mutex_);
      if (stop_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    Run(job);
  }
}

void CompileService::Run(const Job& job) {
  Batch& batch = *job.batch;
  bool wanted = false;
  {
    const base::MutexLock lock(&batch.mutex);
    wanted = job.index < batch.limit;
  }
  std::optional<absl::StatusOr<CompiledKernel>> result;
  if (wanted) result = CompileOne(batch, job.index);

  const base::MutexLock lock(&batch.mutex);
  if (result.has_value() && !result->ok()) {
    batch.limit = std::min(batch.limit, job.index);
  }
  batch.results[job.index] = std::move(result);
  if (--batch.unfinished == 0) batch.done.SignalAll();
}

absl::StatusOr<CompiledKernel> CompileService::CompileOne(const Batch& batch,
                                                          size_t index) {
  const KernelSource& source = batch.sources[index];
  const auto start = std::chrono::steady_clock::now();
  absl::StatusOr<CachedBlob> cached = cache_->GetOrCompute(
      {.text = source.text,
       .compiler = batch.compiler,
       .target = batch.target_text},
      [&] {
        return assembler_->Assemble(batch.target.backend, batch.target, source);
      });
  if (!cached.ok()) {
    return absl::Status(
        cached.status().code(),
        absl::StrCat("kernel ", source.name, ": ", cached.status().message()));
  }
  return CompiledKernel{
      .blob = std::move(cached->blob),
      .origin = cached->origin,
      .time = std::chrono::steady_clock::now() - start,
  };
}

}  // namespace quern::runtime
