// SPDX-License-Identifier: Apache-2.0
//
// RunSlots bounds how many runs are at work on a device at once. More runs than
// the device has threads would take turns at every kernel and lose time by it;
// those beyond wait until one has ended.
//
// Any thread may call it.
#pragma once

#include <atomic>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "engine/base/mutex.h"

namespace quern::runtime {

class RunSlots {
 public:
  // `threads` of the device, at least 1.
  explicit RunSlots(int threads);
  RunSlots(const RunSlots&) = delete;
  RunSlots& operator=(const RunSlots&) = delete;

  // Waits for a slot; false if there is none by the deadline.
  [[nodiscard]] bool Acquire(absl::Time deadline);
  void Release();

  // True if a run would wait now.
  [[nodiscard]] bool full() const { return held_ >= threads_; }

  // True if there are so many runs that each had better use one thread.
  [[nodiscard]] bool crowded() const {
    return 2 * held_ > threads_ && held_ > 1;
  }

 private:
  const int threads_;
  base::Mutex mutex_;
  base::CondVar released_;
  std::atomic<int> held_ = 0;  // Changed under the mutex.
};

}  // namespace quern::runtime
