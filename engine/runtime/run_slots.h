// SPDX-License-Identifier: Apache-2.0
//
// RunSlots bounds how many runs are at work on a device at once. More runs than
// the device has threads would take turns at every kernel and lose time by it;
// those beyond wait until one has ended.
//
// Whoever holds fewer slots goes first, so a model that is asked once does not
// wait for all that another one was asked.
//
// Any thread may call it.
#pragma once

#include <atomic>
#include <list>
#include <map>

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

  // Waits for a slot; false if there is none by the deadline. `owner` is only
  // compared.
  [[nodiscard]] bool Acquire(const void* owner, absl::Time deadline);
  void Release(const void* owner);

  // True if a run would wait now.
  [[nodiscard]] bool full() const { return held_ >= threads_; }

  // True if there are so many runs that each had better use one thread.
  [[nodiscard]] bool crowded() const {
    return 2 * held_ > threads_ && held_ > 1;
  }

 private:
  struct Waiter {
    const void* owner;
    base::CondVar turn;
  };

  int HeldBy(const void* owner) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayTake(const void* owner) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(const void* owner) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int threads_;
  base::Mutex mutex_;
  std::atomic<int> held_ = 0;  // Changed under the mutex.
  // None is 0.
  std::map<const void*, int> held_by_ ABSL_GUARDED_BY(mutex_);
  // In the order in which they came.
  std::list<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::runtime
