// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/run_slots.h"

#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include <gtest/gtest.h>

namespace quern::runtime {
namespace {

constexpr absl::Duration kSoon = absl::Milliseconds(20);

TEST(RunSlots, ThereAreAsManyAsThreads) {
  const int owner = 0;
  RunSlots slots(2);
  EXPECT_TRUE(slots.Acquire(&owner, absl::InfiniteFuture()));
  EXPECT_FALSE(slots.full());
  EXPECT_FALSE(slots.crowded());
  EXPECT_TRUE(slots.Acquire(&owner, absl::InfiniteFuture()));
  EXPECT_TRUE(slots.full());
  EXPECT_TRUE(slots.crowded());
  EXPECT_FALSE(slots.Acquire(&owner, absl::Now() + kSoon));
  slots.Release(&owner);
  EXPECT_TRUE(slots.Acquire(&owner, absl::InfinitePast()));
}

TEST(RunSlots, WhoHoldsFewerGoesFirst) {
  const int busy = 0, quiet = 0;
  RunSlots slots(2);
  ASSERT_TRUE(slots.Acquire(&busy, absl::InfiniteFuture()));
  ASSERT_TRUE(slots.Acquire(&busy, absl::InfiniteFuture()));
  base::Mutex mutex;
  std::string order;
  const auto run = [&](const int& owner, char letter) {
    ASSERT_TRUE(slots.Acquire(&owner, absl::InfiniteFuture()));
    {
      const base::MutexLock lock(&mutex);
      order += letter;
    }
    slots.Release(&owner);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(run, std::cref(busy), 'b');
  absl::SleepFor(kSoon);  // They wait by now.
  threads.emplace_back(run, std::cref(quiet), 'q');
  absl::SleepFor(kSoon);
  slots.Release(&busy);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, "qbbb");
}

TEST(RunSlots, WhoComesDoesNotOvertakeAnOwnerThatHoldsFewer) {
  const int busy = 0, quiet = 0;
  RunSlots slots(2);
  ASSERT_TRUE(slots.Acquire(&busy, absl::InfiniteFuture()));
  ASSERT_TRUE(slots.Acquire(&busy, absl::InfiniteFuture()));
  std::thread waiter([&] {
    ASSERT_TRUE(slots.Acquire(&quiet, absl::InfiniteFuture()));
    slots.Release(&quiet);
  });
  absl::SleepFor(kSoon);
  slots.Release(&busy);
  // It holds one: the other's turn comes before it, whichever thread is faster.
  EXPECT_TRUE(slots.Acquire(&busy, absl::InfiniteFuture()));
  waiter.join();
  slots.Release(&busy);
  slots.Release(&busy);
  EXPECT_FALSE(slots.full());
}

TEST(RunSlots, AWaiterThatGivesUpPassesItsTurnOn) {
  const int first = 0, second = 0;
  RunSlots slots(1);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(slots.Acquire(&first, absl::InfiniteFuture()));
    std::thread gives_up([&] {
      if (slots.Acquire(&second, absl::Now() + absl::Milliseconds(1))) {
        slots.Release(&second);
      }
    });
    std::thread stays([&] {
      ASSERT_TRUE(slots.Acquire(&first, absl::InfiniteFuture()));
      slots.Release(&first);
    });
    absl::SleepFor(absl::Milliseconds(1));
    slots.Release(&first);
    gives_up.join();
    stays.join();
  }
}

}  // namespace
}  // namespace quern::runtime
