// SPDX-License-Identifier: Apache-2.0
//
// A WorkQueue runs functions on threads of its own, in order, and refuses more
// than it can hold. It keeps long work off the threads that serve the wire.
//
// Any thread may call it. Functions that were accepted run even while the
// queue is being shut down, so that whoever waits for them gets an answer.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "engine/base/mutex.h"

namespace quern::server {

class WorkQueue {
 public:
  // `what` is for messages: "requests". At most `limit` functions wait while
  // `threads` run.
  WorkQueue(std::string what, int threads, size_t limit);
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // Runs `work` soon. kResourceExhausted if too many wait, kUnavailable after
  // Shutdown; `work` is not called then.
  [[nodiscard]] absl::Status Add(std::function<void()> work);

  // Takes no more work and waits for what was accepted.
  void Shutdown();

 private:
  void Loop();

  const std::string what_;
  const size_t limit_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;  // Threads without work.
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quern::server
