// SPDX-License-Identifier: Apache-2.0
#include "server/periodic.h"

#include <utility>

#include "absl/time/clock.h"

namespace quern::server {

Periodic::Periodic(absl::Duration interval, std::function<void()> work)
    : interval_(interval),
      work_(std::move(work)),
      thread_([this] { Loop(); }) {}

Periodic::~Periodic() {
  {
    base::MutexLock lock(&mutex_);
    stop_ = true;
    stopped_.SignalAll();
  }
  thread_.join();
}

void Periodic::Loop() {
  while (true) {
    const auto next = absl::ToChronoTime(absl::Now() + interval_);
    {
      base::MutexLock lock(&mutex_);
      while (!stop_ && stopped_.WaitUntil(&mutex_, next)) {
      }
      if (stop_) return;
    }
    work_();
  }
}

}  // namespace quern::server
