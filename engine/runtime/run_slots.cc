// SPDX-License-Identifier: Apache-2.0
//
// A slot that is free is not handed to a waiter: the thread that just ended a
// run may take it for its next one, which saves the time that a waiter takes to
// wake. It may not overtake a waiter whose owner holds fewer.
#include "engine/runtime/run_slots.h"

#include <algorithm>

namespace quern::runtime {

RunSlots::RunSlots(int threads) : threads_(std::max(threads, 1)) {}

bool RunSlots::Acquire(const void* owner, absl::Time deadline) {
  base::MutexLock lock(&mutex_);
  if (MayTake(owner)) {
    Take(owner);
    return true;
  }
  waiters_.emplace_back();
  const auto self = std::prev(waiters_.end());
  self->owner = owner;
  bool in_time = true;
  while (!MayTake(owner) && in_time) {
    if (deadline == absl::InfiniteFuture()) {
      self->turn.Wait(&mutex_);
    } else {
      in_time = self->turn.WaitUntil(&mutex_, absl::ToChronoTime(deadline));
    }
    // Another one's turn has come before this one noticed its own.
    if (!MayTake(owner)) WakeNext();
  }
  const bool taken = MayTake(owner);
  waiters_.erase(self);
  if (taken) Take(owner);
  // There may be another free slot, or one that this waiter was woken for.
  WakeNext();
  return taken;
}

void RunSlots::Release(const void* owner) {
  base::MutexLock lock(&mutex_);
  --held_;
  if (--held_by_[owner] == 0) held_by_.erase(owner);
  WakeNext();
}

int RunSlots::HeldBy(const void* owner) const {
  const auto it = held_by_.find(owner);
  return it == held_by_.end() ? 0 : it->second;
}

bool RunSlots::MayTake(const void* owner) const {
  if (held_ >= threads_) return false;
  const int mine = HeldBy(owner);
  for (const Waiter& waiter : waiters_) {
    if (HeldBy(waiter.owner) < mine) return false;
  }
  return true;
}

void RunSlots::Take(const void* owner) {
  ++held_;
  ++held_by_[owner];
}

void RunSlots::WakeNext() {
  if (held_ >= threads_) return;
  Waiter* next = nullptr;
  for (Waiter& waiter : waiters_) {
    if (next == nullptr || HeldBy(waiter.owner) < HeldBy(next->owner)) {
      next = &waiter;
    }
  }
  if (next != nullptr) next->turn.Signal();
}

}  // namespace quern::runtime
