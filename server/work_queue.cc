// SPDX-License-Identifier: Apache-2.0
#include "server/work_queue.h"

#include <algorithm>
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

absl::Status WorkQueue::Add(const void* owner, std::function<void()> work) {
  base::MutexLock lock(&mutex_);
  if (stopped_) {
    return absl::UnavailableError("the server is shutting down");
  }
  auto lane = std::find_if(lanes_.begin(), lanes_.end(),
                           [&](const Lane& l) { return l.owner == owner; });
  const bool is_new = lane == lanes_.end();
  const size_t owners = lanes_.size() + (is_new ? 1 : 0);
  const size_t mine = is_new ? 0 : lane->waiting.size();
  if (waiting_ >= limit_ + idle_ && mine * owners >= limit_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(limit_, " ", what_, " wait already, try again later"));
  }
  if (is_new) lane = lanes_.insert(lanes_.end(), Lane{owner, {}});
  lane->waiting.push_back(std::move(work));
  ++waiting_;
  changed_.Signal();
  return absl::OkStatus();
}

std::function<void()> WorkQueue::TakeNext() {
  Lane& lane = lanes_.front();
  std::function<void()> work = std::move(lane.waiting.front());
  lane.waiting.pop_front();
  --waiting_;
  if (lane.waiting.empty()) {
    lanes_.pop_front();
  } else {
    lanes_.splice(lanes_.end(), lanes_, lanes_.begin());
  }
  return work;
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
      while (waiting_ == 0 && !stopped_) changed_.Wait(&mutex_);
      if (waiting_ == 0) return;
      work = TakeNext();
      --idle_;
    }
    work();
    work = nullptr;  // What it holds is released before the thread is free.
    base::MutexLock lock(&mutex_);
    ++idle_;
  }
}

}  // namespace quern::server
