// SPDX-License-Identifier: Apache-2.0
#include "server/work_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include <sys/resource.h>

namespace quern::server {

WorkQueue::WorkQueue(std::string what, int threads, int threads_per_owner,
                     size_t limit, int niceness)
    : what_(std::move(what)),
      threads_per_owner_(threads_per_owner),
      limit_(limit),
      niceness_(niceness) {
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
  const size_t mine = is_new ? 0 : lane->waiting.size();
  const auto waiting = static_cast<size_t>(
      std::count_if(lanes_.begin(), lanes_.end(),
                    [](const Lane& l) { return !l.waiting.empty(); }));
  const size_t owners = waiting + (mine == 0 ? 1 : 0);
  if (waiting_ >= limit_ + idle_ && mine * owners >= limit_) {
    return absl::ResourceExhaustedError(
        absl::StrCat(limit_, " ", what_, " wait already, try again later"));
  }
  if (is_new) lane = lanes_.insert(lanes_.end(), Lane{owner});
  lane->waiting.push_back(std::move(work));
  ++waiting_;
  changed_.Signal();
  return absl::OkStatus();
}

std::list<WorkQueue::Lane>::iterator WorkQueue::Next() {
  return std::find_if(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
    return !lane.waiting.empty() && lane.running < threads_per_owner_;
  });
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
  // Of the thread alone, in Linux. That it may fail does no harm.
  if (niceness_ > 0) setpriority(PRIO_PROCESS, 0, niceness_);
  base::MutexLock lock(&mutex_);
  while (true) {
    auto lane = Next();
    while (lane == lanes_.end()) {
      // A thread that is at work takes what its owner has waiting.
      if (stopped_) return;
      changed_.Wait(&mutex_);
      lane = Next();
    }
    std::function<void()> work = std::move(lane->waiting.front());
    lane->waiting.pop_front();
    ++lane->running;
    --waiting_;
    --idle_;
    lanes_.splice(lanes_.end(), lanes_, lane);
    // An owner whose part was taken may have got room by what this one ended.
    if (Next() != lanes_.end()) changed_.Signal();
    mutex_.Unlock();
    work();
    work = nullptr;  // What it holds is released before the thread is free.
    mutex_.Lock();
    ++idle_;
    --lane->running;
    if (lane->waiting.empty() && lane->running == 0) lanes_.erase(lane);
  }
}

}  // namespace quern::server
