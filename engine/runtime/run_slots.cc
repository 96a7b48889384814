// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/run_slots.h"

#include <algorithm>

namespace quern::runtime {

RunSlots::RunSlots(int threads) : threads_(std::max(threads, 1)) {}

bool RunSlots::Acquire(absl::Time deadline) {
  base::MutexLock lock(&mutex_);
  while (held_ >= threads_) {
    if (deadline == absl::InfiniteFuture()) {
      released_.Wait(&mutex_);
    } else if (!released_.WaitUntil(&mutex_, absl::ToChronoTime(deadline)) &&
               held_ >= threads_) {
      return false;
    }
  }
  ++held_;
  return true;
}

void RunSlots::Release() {
  {
    base::MutexLock lock(&mutex_);
    --held_;
  }
  released_.Signal();
}

}  // namespace quern::runtime
