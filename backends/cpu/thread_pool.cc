// SPDX-License-Identifier: Apache-2.0
//
// How a loop runs.
//
// The caller waits for its turn, writes loop_, and publishes it by storing
// claims_ with the number of chunks. Whoever lowers the count of unclaimed
// chunks by one owns that chunk. loop_ is read only after such a claim, and
// cannot change before that chunk is finished, because the caller returns only
// when unfinished_ is 0. A thread that slept through a loop finds either no
// unclaimed chunk or one of a later loop, which it is welcome to; the loop's
// number in the word makes a claim based on an old word fail.
//
// Waiting is spinning for a few microseconds (the next kernel of a plan
// follows soon) and then a futex. A thread going to sleep counts itself in
// sleepers_ before it looks for work for the last time, and a publisher looks
// at sleepers_ after it has published: one of the two sees the other.
#include "backends/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "engine/base/cgroup.h"
#include "engine/base/status_macros.h"

namespace quern::cpu {
namespace {

// Exceptions masked, round to nearest, flush to zero, denormals are zero.
constexpr unsigned int kKernelMxcsr = 0x1f80 | 0x8000 | 0x0040;

constexpr size_t kHugePage = 2 << 20;

// Chunks for each thread of a loop: enough to even out threads that lose
// their CPU for a while, few enough that claiming costs nothing.
constexpr int64_t kChunksPerThread = 4;

// True on a thread while it runs chunks.
thread_local bool inside_loop = false;

void FutexWait(std::atomic<uint32_t>& word, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t));
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE,
          value, nullptr, nullptr, 0);
}

void FutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE,
          count, nullptr, nullptr, 0);
}

// Calls `done` until it is true, for at most `spin_us`.
template <typename Done>
bool Spin(int spin_us, Done done) {
  if (done()) return true;
  if (spin_us <= 0) return false;
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::microseconds(spin_us);
  do {
    // Reading the clock costs about as much as these pauses.
    for (int pause = 0; pause < 16; ++pause) {
      _mm_pause();
      if (done()) return true;
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
  _mm_setcsr(kKernelMxcsr);
}
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }

Scratch::~Scratch() {
  if (data_ != nullptr) munmap(data_, size_);
}

absl::Status Scratch::Reserve(size_t size) {
  if (size <= size_) return absl::OkStatus();
  if (size > PTRDIFF_MAX - kHugePage) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", size, " bytes of scratch"));
  }
  const size_t page = size >= kHugePage ? kHugePage : 4096;
  const size_t rounded = (size + page - 1) / page * page;
  void* data = mmap(nullptr, rounded, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", size, " bytes of scratch"));
  }
  // Only advice: without huge pages it works as well, slower.
  if (page == kHugePage) madvise(data, rounded, MADV_HUGEPAGE);
  if (data_ != nullptr) munmap(data_, size_);
  data_ = data;
  size_ = rounded;
  return absl::OkStatus();
}

int UsableThreads(int wanted) {
  constexpr int kMost = 1024;
  int cpus = std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // Fails only where there are more CPUs than the mask has bits.
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    cpus = std::max(1, CPU_COUNT(&mask));
  }
  const double quota = base::ReadCgroupLimits().cpus;
  if (quota > 0 && quota < cpus) cpus = std::max(1, static_cast<int>(quota));
  if (wanted > 0) cpus = std::min(cpus, wanted);
  return std::min(cpus, kMost);
}

ThreadPool::ThreadPool(int threads, int spin_us)
    : threads_(std::clamp(threads, 1, (1 << Claims::kThreadBits) - 1)),
      spin_us_(spin_us) {
  for (int i = 0; i < threads_; ++i) {
    workers_.push_back(std::make_unique<Worker>());
  }
  // Signals are for the threads of the program that the pool serves.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 1; i < threads_; ++i) {
    try {
      workers_[i]->thread = std::thread([this, i] { WorkerMain(i); });
    } catch (const std::system_error&) {
      threads_ = i;  // No worker reads it.
      break;
    }
    pthread_setname_np(workers_[i]->thread.native_handle(), "quern-kernels");
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  FutexWake(wake_, INT_MAX);
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

absl::Status ThreadPool::ParallelFor(int64_t grid, int max_threads,
                                     int64_t scratch_bytes, Body body) {
  if (grid <= 0) return absl::OkStatus();
  const FlushDenormals mode;
  int threads = max_threads > 0 ? std::min(max_threads, threads_) : threads_;
  if (grid < threads) threads = static_cast<int>(grid);
  if (threads == 1 || inside_loop) return RunAlone(grid, scratch_bytes, body);

  TakeTurn();
  if (absl::Status status = ReserveAll(scratch_bytes); !status.ok()) {
    EndTurn();
    return status;
  }
  KeepOffThisCpu();
  const int64_t chunks = std::min(grid, threads * kChunksPerThread);
  loop_ = {.body = &body, .grid = grid, .chunks = chunks};
  unfinished_.store(static_cast<uint32_t>(chunks), std::memory_order_relaxed);
  // The lowest `threads` of the pool may take part.
  claims_.store(
      Claims::Make(++loop_number_, threads, static_cast<uint32_t>(chunks)));
  if (const uint32_t sleepers = sleepers_.load(); sleepers > 0) {
    wake_.fetch_add(1);
    // If only some may take part, the one that is woken may be another.
    FutexWake(wake_, threads == threads_ ? threads - 1 : INT_MAX);
  }
  ClaimAndRun(0);
  const auto finished = [this] {
    return unfinished_.load(std::memory_order_acquire) == 0;
  };
  if (!Spin(spin_us_, finished)) {
    caller_sleeps_.store(true);
    while (const uint32_t left = unfinished_.load()) {
      FutexWait(unfinished_, left);
    }
    caller_sleeps_.store(false);
  }
  EndTurn();
  return absl::OkStatus();
}

absl::Status ThreadPool::RunAlone(int64_t grid, int64_t scratch_bytes,
                                  Body body) {
  if (scratch_bytes <= 0) {
    body(0, grid, nullptr);
    return absl::OkStatus();
  }
  Scratch scratch;
  {
    const base::MutexLock lock(&alone_mutex_);
    if (!alone_.empty()) {
      scratch = std::move(alone_.back());
      alone_.pop_back();
    }
  }
  QUERN_RETURN_IF_ERROR(scratch.Reserve(scratch_bytes));
  body(0, grid, scratch.data());
  const base::MutexLock lock(&alone_mutex_);
  alone_.push_back(std::move(scratch));
  return absl::OkStatus();
}

// The memory is only reserved here; each thread touches its own first, so that
// its pages are near it.
absl::Status ThreadPool::ReserveAll(int64_t scratch_bytes) {
  if (scratch_bytes <= reserved_scratch_) return absl::OkStatus();
  for (const std::unique_ptr<Worker>& worker : workers_) {
    QUERN_RETURN_IF_ERROR(worker->scratch.Reserve(scratch_bytes));
  }
  reserved_scratch_ = scratch_bytes;
  return absl::OkStatus();
}

// A worker that is woken where the caller runs would wait until the caller
// does: schedulers put threads that wake each other side by side, some of them
// for as long as both are busy for short times only.
void ThreadPool::KeepOffThisCpu() {
  const int cpu = sched_getcpu();
  if (cpu == caller_cpu_ || cpu < 0 || cpu >= CPU_SETSIZE) return;
  caller_cpu_ = cpu;
  // As the process may use them now.
  cpu_set_t others;
  if (sched_getaffinity(0, sizeof(others), &others) != 0 ||
      threads_ > CPU_COUNT(&others)) {
    return;
  }
  CPU_CLR(cpu, &others);
  for (int i = 1; i < threads_; ++i) {
    // If it is refused, they are where the system puts them.
    pthread_setaffinity_np(workers_[i]->thread.native_handle(), sizeof(others),
                           &others);
  }
}

void ThreadPool::TakeTurn() {
  const uint32_t ticket = next_ticket_.fetch_add(1);
  const auto mine = [&] {
    return turn_.load(std::memory_order_acquire) == ticket;
  };
  if (Spin(spin_us_, mine)) return;
  turn_sleepers_.fetch_add(1);
  for (uint32_t turn = turn_.load(); turn != ticket; turn = turn_.load()) {
    FutexWait(turn_, turn);
  }
  turn_sleepers_.fetch_sub(1);
}

void ThreadPool::EndTurn() {
  turn_.fetch_add(1);
  // All wake, one goes on: there are as many as requests run at a time.
  if (turn_sleepers_.load() > 0) FutexWake(turn_, INT_MAX);
}

void ThreadPool::WorkerMain(int index) {
  const FlushDenormals mode;
  while (WaitForWork(index)) {
    ClaimAndRun(index);
  }
}

bool ThreadPool::HasWork(int index) const {
  const uint64_t claims = claims_.load();
  return Claims::Unclaimed(claims) > 0 && index < Claims::Threads(claims);
}

// False when the pool ends.
bool ThreadPool::WaitForWork(int index) {
  const auto ready = [&] { return HasWork(index) || stop_.load(); };
  if (!Spin(spin_us_, ready)) {
    sleepers_.fetch_add(1);
    while (true) {
      const uint32_t wake = wake_.load();
      if (ready()) break;
      FutexWait(wake_, wake);
    }
    sleepers_.fetch_sub(1);
  }
  return !stop_.load();
}

void ThreadPool::ClaimAndRun(int index) {
  inside_loop = true;
  uint64_t claims = claims_.load(std::memory_order_acquire);
  while (Claims::Unclaimed(claims) > 0 && index < Claims::Threads(claims)) {
    if (!claims_.compare_exchange_weak(claims, claims - 1,
                                       std::memory_order_acq_rel)) {
      continue;
    }
    // From here to the fetch_sub below loop_ and the scratch keep still.
    const Loop loop = loop_;
    const int64_t chunk = loop.chunks - Claims::Unclaimed(claims);
    // The first `longer` chunks have one more than the others.
    const int64_t size = loop.grid / loop.chunks;
    const int64_t longer = loop.grid % loop.chunks;
    const int64_t begin = chunk * size + std::min(chunk, longer);
    const int64_t end = begin + size + (chunk < longer ? 1 : 0);
    (*loop.body)(begin, end, workers_[index]->scratch.data());
    if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
      FutexWake(unfinished_, 1);
    }
    claims = claims_.load(std::memory_order_acquire);
  }
  inside_loop = false;
}

}  // namespace quern::cpu
