// SPDX-License-Identifier: Apache-2.0
//
// A WorkQueue runs functions on threads of its own and refuses more than it can
// hold. It keeps long work off the threads that serve the wire.
//
// Work for the same owner begins in order; owners take turns, and none has more
// than its part of the threads, so that nobody waits for all that a busy one
// has asked for.
//
// Any thread may call it. Functions that were accepted run even while the
// queue is being shut down, so that whoever waits for them gets an answer.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "engine/base/mutex.h"

namespace quern::server {

class WorkQueue {
 public:
  // `what` is for messages: "requests". About `limit` functions wait at most
  // while `threads` run: where many owners share it, each may have its part of
  // `limit` wait even if others have filled it.
  // `threads_per_owner` bounds how much runs for one of them at once. Threads
  // of a `niceness` above 0 leave the processor to others where they can.
  WorkQueue(std::string what, int threads, int threads_per_owner, size_t limit,
            int niceness = 0);
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // Runs `work` soon. kResourceExhausted if too many wait, kUnavailable after
  // Shutdown; `work` is not called then. `owner` is only compared.
  [[nodiscard]] absl::Status Add(const void* owner, std::function<void()> work);

  // Takes no more work and waits for what was accepted.
  void Shutdown();

 private:
  // What waits and runs for one owner; one of the two is never empty.
  struct Lane {
    const void* owner = nullptr;
    std::deque<std::function<void()>> waiting = {};
    int running = 0;
  };

  void Loop();
  // The lane whose turn it is; the end if nothing may be run now.
  std::list<Lane>::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string what_;
  const int threads_per_owner_;
  const size_t limit_;
  const int niceness_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::list<Lane> lanes_ ABSL_GUARDED_BY(mutex_);  // The next one first.
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;     // In all lanes.
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;        // Threads without work.
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern::server
