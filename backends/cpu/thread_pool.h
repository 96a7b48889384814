// SPDX-License-Identifier: Apache-2.0
//
// The threads on which kernels run, one pool for the process, and what each
// of them owns: its floating-point mode and its scratch memory.
//
// A parallel loop is cut into chunks that threads claim from one counter. The
// caller takes part, so a loop ends even if no other thread wakes up in time.
// One loop runs at a time; callers take turns in the order in which they came.
// A loop started inside a loop runs on its thread alone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "engine/base/mutex.h"

namespace quern::cpu {

// Sets this thread's floating-point mode to round to nearest, denormals as
// zero, no traps, and the former mode back at the end of the scope. Threads
// that call into the pool belong to others, who may need another mode.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  const unsigned int saved_;
};

// Private memory of one thread, aligned to 64 bytes at least.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(Scratch&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  // Makes room for `size` bytes; what was there is lost. Asks the kernel for
  // huge pages if it is big. kResourceExhausted if there is no memory.
  [[nodiscard]] absl::Status Reserve(size_t size);

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// The number of threads to use: `wanted`, if positive, but no more than the
// CPUs of the affinity mask and, rounded down, the CPU quota of the cgroup.
[[nodiscard]] int UsableThreads(int wanted);

class ThreadPool {
 public:
  // `threads` counts the caller of a loop too: threads - 1 are started, or
  // fewer if the system has no more. Idle ones stay awake for `spin_us`
  // microseconds after a loop.
  ThreadPool(int threads, int spin_us);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const { return threads_; }

  // A part [begin, end) of a loop, with the scratch of the thread it is on.
  using Body =
      absl::FunctionRef<void(int64_t begin, int64_t end, void* scratch)>;

  // Runs `body` over [0, grid) on at most `max_threads` threads (0: all), each
  // with `scratch_bytes` of scratch, and returns at the end. A loop of one
  // chunk or one thread stays on the caller and waits for nobody.
  //
  // Allocates nothing, except the first time that so much scratch is asked
  // for; kResourceExhausted if that fails, and then nothing has run.
  [[nodiscard]] absl::Status ParallelFor(int64_t grid, int max_threads,
                                         int64_t scratch_bytes, Body body);

 private:
  // The word that threads claim from: which loop it is, how many threads may
  // take part, how many chunks nobody has claimed.
  struct Claims {
    static constexpr int kThreadBits = 12;
    static constexpr int kLoopBits = 20;
    static uint64_t Make(uint64_t loop, uint64_t threads, uint32_t unclaimed) {
      return (loop << (64 - kLoopBits)) | (threads << 32) | unclaimed;
    }
    static uint32_t Unclaimed(uint64_t word) {
      return static_cast<uint32_t>(word);
    }
    static int Threads(uint64_t word) {
      return static_cast<int>((word >> 32) & ((1u << kThreadBits) - 1));
    }
  };

  struct Loop {
    const Body* body = nullptr;
    int64_t grid = 0;
    int64_t chunks = 0;
  };

  struct alignas(64) Worker {
    Scratch scratch;
    std::thread thread;
  };

  absl::Status RunAlone(int64_t grid, int64_t scratch_bytes, Body body);
  absl::Status ReserveAll(int64_t scratch_bytes);
  void TakeTurn();
  void EndTurn();
  void KeepOffThisCpu();
  void WorkerMain(int index);
  bool WaitForWork(int index);
  void ClaimAndRun(int index);
  bool HasWork(int index) const;

  int threads_;
  const int spin_us_;

  // Written by the one whose turn it is while no chunk is left; read by those
  // who have claimed a chunk.
  Loop loop_;
  uint64_t loop_number_ = 0;
  int64_t reserved_scratch_ = 0;
  int caller_cpu_ = -1;  // Where no worker may run; -1: they may anywhere.

  alignas(64) std::atomic<uint64_t> claims_{0};
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // A futex.
  std::atomic<bool> caller_sleeps_{false};
  alignas(64) std::atomic<uint32_t> wake_{0};  // A futex.
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint32_t> next_ticket_{0};
  std::atomic<uint32_t> turn_{0};  // A futex.
  std::atomic<uint32_t> turn_sleepers_{0};

  std::vector<std::unique_ptr<Worker>> workers_;  // [0] is the caller's.

  // Scratch of callers that run alone, at the same time as others.
  base::Mutex alone_mutex_;
  std::vector<Scratch> alone_ ABSL_GUARDED_BY(alone_mutex_);
};

}  // namespace quern::cpu
