// SPDX-License-Identifier: Apache-2.0
#include "backends/worker/pool.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <deque>
#include <optional>
#include <thread>
#include <unistd.h>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"

#include "backends/worker/protocol.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"

namespace quern::worker {
namespace {

class WorkerPool final : public runtime::Assembler {
 public:
  explicit WorkerPool(const WorkerPoolOptions& options) : options_(options) {
    for (int i = 0; i < std::max(1, options.workers); ++i) {
      threads_.emplace_back([this] { ThreadMain(); });
    }
  }

  ~WorkerPool() override {
    {
      const base::MutexLock lock(&mutex_);
      stop_ = true;
      work_.SignalAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  absl::StatusOr<std::string> Assemble(
      const std::string& backend, const base::Target& target,
      const runtime::KernelSource& source) override {
    QUERN_ASSIGN_OR_RETURN(const std::string frame,
                           EncodeRequest({backend, target, source}));
    Job job{.frame = &frame, .blob = std::nullopt};
    const base::MutexLock lock(&mutex_);
    jobs_.push_back(&job);
    work_.Signal();
    while (!job.blob.has_value()) done_.Wait(&mutex_);
    return *std::move(job.blob);
  }

  int parallelism() const override { return static_cast<int>(threads_.size()); }

 private:
  // A job lives on the stack of the one who waits for it.
  struct Job {
    const std::string* frame;
    std::optional<absl::StatusOr<std::string>> blob;
  };

  void ThreadMain() {
    // Started before the first job, which then does not wait for it.
    std::unique_ptr<Process> process = StartProcess().value_or(nullptr);
    while (Job* job = NextJob()) {
      absl::StatusOr<std::string> blob = Run(process, *job->frame);
      const base::MutexLock lock(&mutex_);
      job->blob = std::move(blob);
      done_.SignalAll();
    }
  }

  // Null when the pool ends.
  Job* NextJob() {
    const base::MutexLock lock(&mutex_);
    while (jobs_.empty() && !stop_) work_.Wait(&mutex_);
    if (jobs_.empty()) return nullptr;
    Job* job = jobs_.front();
    jobs_.pop_front();
    return job;
  }

  absl::StatusOr<std::unique_ptr<Process>> StartProcess() {
    return Process::Start(options_.program, options_.arguments,
                          options_.limits);
  }

  absl::StatusOr<std::string> Run(std::unique_ptr<Process>& process,
                                  const std::string& frame) {
    // One that ended between jobs has done this job no wrong.
    if (process != nullptr && !process->Alive()) {
      process = nullptr;
      options_.on_replacement();
    }
    if (process == nullptr) {
      QUERN_ASSIGN_OR_RETURN(process, StartProcess());
    }
    absl::StatusOr<std::string> body = process->Exchange(frame);
    absl::StatusOr<Reply> reply =
        body.ok() ? DecodeReply(*body) : absl::StatusOr<Reply>(body.status());
    if (!reply.ok()) {
      // Whatever was wrong with it, the next job gets another.
      process = StartProcess().value_or(nullptr);
      options_.on_replacement();
      return reply.status();
    }
    return std::move(reply->blob);
  }

  const WorkerPoolOptions options_;
  base::Mutex mutex_;
  base::CondVar work_;  // Signaled when jobs_ grows or stop_ is set.
  base::CondVar done_;  // Signaled when a job has its blob.
  std::deque<Job*> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::string ProgramBesideThis() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  const std::string self(path, size > 0 ? size : 0);
  const size_t slash = self.rfind('/');
  return absl::StrCat(
      slash == std::string::npos ? "" : self.substr(0, slash + 1),
      "quern-compile");
}

absl::StatusOr<std::unique_ptr<runtime::Assembler>> MakeWorkerPool(
    const WorkerPoolOptions& options) {
  if (access(options.program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("cannot run the compile worker ",
                                            options.program, ": ",
                                            std::strerror(errno)));
  }
  return std::make_unique<WorkerPool>(options);
}

}  // namespace quern::worker
