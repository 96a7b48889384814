// SPDX-License-Identifier: Apache-2.0
#include "tests/support/waiting.h"

#include <chrono>
#include <thread>

namespace quern::support {

bool Becomes(const std::function<bool()>& condition) {
  for (int i = 0; i < 400; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  return condition();
}

void Gate::Wait() {
  const base::MutexLock lock(&mutex_);
  ++waiting_;
  changed_.SignalAll();
  while (!open_) changed_.Wait(&mutex_);
}

void Gate::AwaitOne() {
  const base::MutexLock lock(&mutex_);
  while (waiting_ == 0) changed_.Wait(&mutex_);
}

void Gate::Open() {
  const base::MutexLock lock(&mutex_);
  open_ = true;
  changed_.SignalAll();
}

}  // namespace quern::support
