// SPDX-License-Identifier: Apache-2.0
#include "server/work_queue.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace quern::server {

WorkQueue::WorkQueue(std::string what, int threads, size_t limit)
    : what_(std::move(what)), limit_(limit) {
  {
    // All count as idle from the start, so that a limit of 0 means "as many as
    // there are threads" before they have come up.
    base::MutexLock lock(&mutex_);
    idle_ = static_cast<size_t>(threads);
  }
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

WorkQueue::~WorkQueue() { Shutdown(); }

absl::Status WorkQueue::Add(std::function<void()> work) {
  base::MutexLock lock(&mutex_);
  if (stopped_) {
    return absl::UnavailableError("the server is shutting down");
  }
  if (waiting_.size() >= limit_ + idle_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(limit_, " ", what_, " wait already, try again later"));
  }
  waiting_.push_back(std::move(work));
  changed_.Signal();
  return absl::OkStatus();
}

void WorkQueue::Shutdown() {
  {
    base::MutexLock lock(&mutex_);
    stopped_ = true;
    changed_.SignalAll();
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkQueue::Loop() {
  while (true) {
    std::function<void()> work;
    {
      base::MutexLock lock(&mutex_);
      while (waiting_.empty() && !stopped_) changed_.Wait(&mutex_);
      if (waiting_.empty()) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
      --idle_;
    }
    work();
    work = nullptr;  // What it holds is released before the thread is free.
    base::MutexLock lock(&mutex_);
    ++idle_;
  }
}

}  // namespace quern::server
