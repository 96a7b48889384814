// SPDX-License-Identifier: Apache-2.0
//
// How tests wait for other threads.
#pragma once

#include <functional>

#include "absl/base/thread_annotations.h"

#include "engine/base/mutex.h"

namespace quern::support {

// Waits until something is so, for ten seconds at most; whether it is.
[[nodiscard]] bool Becomes(const std::function<bool()>& condition);

// Something that others wait for until it is opened.
class Gate {
 public:
  void Wait();
  // Until someone waits.
  void AwaitOne();
  void Open();

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quern::support
