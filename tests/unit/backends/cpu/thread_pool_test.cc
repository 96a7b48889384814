// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sched.h>
#include <set>
#include <thread>
#include <vector>
#include <xmmintrin.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::cpu {
namespace {

using ::testing::Each;

TEST(ThreadPool, RunsEveryIndexOnce) {
  ThreadPool pool(4, 20);
  for (const int64_t grid : {1, 2, 3, 4, 5, 15, 16, 17, 100, 4097}) {
    std::vector<std::atomic<int>> runs(grid);
    ASSERT_TRUE(pool.ParallelFor(grid, 0, 0,
                                 [&](int64_t begin, int64_t end, void*) {
                                   for (int64_t i = begin; i < end; ++i) {
                                     runs[i].fetch_add(1);
                                   }
                                 })
                    .ok());
    for (int64_t i = 0; i < grid; ++i) ASSERT_EQ(runs[i].load(), 1) << grid;
  }
}

TEST(ThreadPool, EndsManyShortLoopsWithSleepingThreads) {
  for (const int spin_us : {0, 5}) {
    ThreadPool pool(3, spin_us);
    std::atomic<int64_t> sum{0};
    for (int loop = 0; loop < 3000; ++loop) {
      ASSERT_TRUE(pool.ParallelFor(6, 0, 0,
                                   [&](int64_t begin, int64_t end, void*) {
                                     sum.fetch_add(end - begin);
                                   })
                      .ok());
    }
    EXPECT_EQ(sum.load(), 18000);
  }
}

TEST(ThreadPool, ServesSeveralCallersAtOnce) {
  ThreadPool pool(3, 5);
  std::vector<std::thread> callers;
  std::vector<int64_t> sums(4, 0);
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      for (int loop = 0; loop < 500; ++loop) {
        std::atomic<int64_t> sum{0};
        const absl::Status status = pool.ParallelFor(
            10 + c, 0, 256, [&](int64_t begin, int64_t end, void* scratch) {
              std::memset(scratch, c, 256);
              for (int64_t i = begin; i < end; ++i) sum.fetch_add(i);
              // Nobody else writes to this thread's scratch.
              if (static_cast<char*>(scratch)[255] != c) sum.fetch_add(1000);
            });
        if (status.ok()) sums[c] += sum.load();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (int c = 0; c < 4; ++c) {
    EXPECT_EQ(sums[c], 500 * (10 + c) * (9 + c) / 2);
  }
}

TEST(ThreadPool, KeepsLoopsOnTheCallerIfOneThreadIsAllowed) {
  ThreadPool pool(4, 0);
  std::set<std::thread::id> threads;
  ASSERT_TRUE(pool.ParallelFor(100, 1, 0,
                               [&](int64_t, int64_t, void*) {
                                 threads.insert(std::this_thread::get_id());
                               })
                  .ok());
  EXPECT_THAT(threads, ::testing::ElementsAre(std::this_thread::get_id()));
}

TEST(ThreadPool, UsesNoMoreThreadsThanAllowed) {
  ThreadPool pool(4, 100);
  for (int loop = 0; loop < 200; ++loop) {
    base::Mutex mutex;
    std::set<std::thread::id> threads;
    ASSERT_TRUE(pool.ParallelFor(64, 2, 0,
                                 [&](int64_t, int64_t, void*) {
                                   const base::MutexLock lock(&mutex);
                                   threads.insert(std::this_thread::get_id());
                                 })
                    .ok());
    ASSERT_LE(threads.size(), 2U);
  }
}

TEST(ThreadPool, RunsALoopInsideALoopOnItsThread) {
  ThreadPool pool(3, 10);
  std::atomic<int64_t> sum{0};
  ASSERT_TRUE(pool.ParallelFor(8, 0, 0,
                               [&](int64_t begin, int64_t end, void*) {
                                 for (int64_t i = begin; i < end; ++i) {
                                   const absl::Status inner = pool.ParallelFor(
                                       5, 0, 0,
                                       [&](int64_t b, int64_t e, void*) {
                                         sum.fetch_add(e - b);
                                       });
                                   if (!inner.ok()) sum.fetch_add(1000);
                                 }
                               })
                  .ok());
  EXPECT_EQ(sum.load(), 40);
}

TEST(ThreadPool, GivesAlignedScratchOfItsOwnToEachThread) {
  ThreadPool pool(3, 100);
  base::Mutex mutex;
  std::set<void*> seen;
  for (const int64_t size : {64, 1000, 3 << 20}) {
    ASSERT_TRUE(pool.ParallelFor(30, 0, size,
                                 [&](int64_t, int64_t, void* scratch) {
                                   std::memset(scratch, 1, size);
                                   const base::MutexLock lock(&mutex);
                                   seen.insert(scratch);
                                 })
                    .ok());
  }
  for (void* scratch : seen) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(scratch) % 64, 0U);
  }
}

TEST(ThreadPool, SaysThatThereIsNotSoMuchScratch) {
  ThreadPool pool(2, 0);
  bool ran = false;
  for (const int64_t grid : {1, 8}) {
    const absl::Status status =
        pool.ParallelFor(grid, 0, std::numeric_limits<int64_t>::max(),
                         [&](int64_t, int64_t, void*) { ran = true; });
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_FALSE(ran);
  // The turn has been given back.
  EXPECT_TRUE(pool.ParallelFor(8, 0, 0, [](int64_t, int64_t, void*) {}).ok());
}

TEST(ThreadPool, FlushesDenormalsInsideOfLoopsOnly) {
  ThreadPool pool(2, 10);
  const unsigned int before = _mm_getcsr();
  std::atomic<int> kept{0};
  ASSERT_TRUE(pool.ParallelFor(16, 0, 0,
                               [&](int64_t, int64_t, void*) {
                                 volatile float tiny = 1e-38F;
                                 volatile float half = tiny * 0.5F;
                                 if (half != 0.0F) kept.fetch_add(1);
                               })
                  .ok());
  EXPECT_EQ(kept.load(), 0);
  EXPECT_EQ(_mm_getcsr() & 0xffc0, before & 0xffc0);
  volatile float tiny = 1e-38F;
  volatile float half = tiny * 0.5F;
  EXPECT_NE(half, 0.0F);
}

TEST(ThreadPool, HasAtLeastTheCaller) {
  EXPECT_EQ(ThreadPool(0, 0).threads(), 1);
  EXPECT_EQ(ThreadPool(3, 0).threads(), 3);
}

TEST(ThreadPool, KeepsItsThreadsOffTheCpuOfTheCaller) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "this process has one CPU";
  ThreadPool pool(2, 0);
  // Until a thread of the pool has got a chunk.
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<int> usable{0};
  while (usable == 0) {
    ASSERT_TRUE(
        pool.ParallelFor(2, 0, 0,
                         [&](int64_t, int64_t, void*) {
                           const auto until = std::chrono::steady_clock::now() +
                                              std::chrono::milliseconds(5);
                           if (std::this_thread::get_id() != caller) {
                             cpu_set_t mine;
                             sched_getaffinity(0, sizeof(mine), &mine);
                             usable = CPU_COUNT(&mine);
                           }
                           while (std::chrono::steady_clock::now() < until) {
                           }
                         })
            .ok());
  }
  EXPECT_EQ(usable, CPU_COUNT(&all) - 1);
  // The caller's own are as they were.
  cpu_set_t own;
  ASSERT_EQ(sched_getaffinity(0, sizeof(own), &own), 0);
  EXPECT_TRUE(CPU_EQUAL(&own, &all));
}

TEST(UsableThreads, AreNoMoreThanWanted) {
  EXPECT_EQ(UsableThreads(1), 1);
  EXPECT_GE(UsableThreads(0), 1);
  EXPECT_EQ(UsableThreads(1 << 30), UsableThreads(0));
}

}  // namespace
}  // namespace quern::cpu
