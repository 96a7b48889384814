// SPDX-License-Identifier: Apache-2.0
//
// Does something again and again on a thread of its own, until it is destroyed,
// which waits for the turn at hand.
#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

#include "engine/base/mutex.h"

namespace quern::server {

class Periodic {
 public:
  // The first turn is after `interval`.
  Periodic(absl::Duration interval, std::function<void()> work);
  ~Periodic();
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;

 private:
  void Loop();

  const absl::Duration interval_;
  const std::function<void()> work_;
  base::Mutex mutex_;
  base::CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace quern::server
