// SPDX-License-Identifier: Apache-2.0
#include "engine/base/mutex.h"

#include <chrono>
#include <deque>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace quern::base {
namespace {

bool CanLock(Mutex& mutex) {
  if (!mutex.TryLock()) return false;
  mutex.Unlock();
  return true;
}

TEST(Mutex, LosesNoIncrement) {
  Mutex mutex;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        MutexLock lock(&mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 40000);
}

TEST(Mutex, TryLockFailsWhileAnotherThreadHoldsIt) {
  Mutex mutex;
  bool locked = true;
  {
    MutexLock lock(&mutex);
    std::thread([&] { locked = CanLock(mutex); }).join();
  }
  EXPECT_FALSE(locked);
  EXPECT_TRUE(CanLock(mutex));
}

TEST(CondVar, HandsItemsFromOneThreadToAnother) {
  Mutex mutex;
  CondVar filled;
  std::deque<int> queue;
  int sum = 0;
  std::thread consumer([&] {
    for (int received = 0; received < 100; ++received) {
      MutexLock lock(&mutex);
      while (queue.empty()) filled.Wait(&mutex);
      sum += queue.front();
      queue.pop_front();
    }
  });
  for (int i = 1; i <= 100; ++i) {
    MutexLock lock(&mutex);
    queue.push_back(i);
    filled.Signal();
  }
  consumer.join();
  EXPECT_EQ(sum, 5050);
}

TEST(CondVar, WaitUntilEndsAtItsDeadlineAndHoldsTheLockAgain) {
  Mutex mutex;
  CondVar never;
  MutexLock lock(&mutex);
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
  while (never.WaitUntil(&mutex, deadline)) {
  }
  EXPECT_GE(std::chrono::steady_clock::now(), deadline);
  bool locked = true;
  std::thread([&] { locked = CanLock(mutex); }).join();
  EXPECT_FALSE(locked);
}

}  // namespace
}  // namespace quern::base
