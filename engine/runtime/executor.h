// SPDX-License-Identifier: Apache-2.0
//
// The Executor runs an Executable: it holds the weights, runs the load
// segments once, and then requests, several at a time, each in an execution
// context of its own from a bounded pool.
//
// Any thread may call Run. A run allocates nothing once its context has met
// its largest sizes, and takes no lock that a compile can hold.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

#include "engine/base/mutex.h"
#include "engine/runtime/constant_pool.h"
#include "engine/runtime/executable.h"
#include "engine/runtime/memory_ledger.h"
#include "engine/runtime/replay.h"
#include "engine/runtime/run_slots.h"
#include "engine/telemetry/distribution.h"
#include "engine/telemetry/metrics.h"

namespace quern::runtime {

// The bytes of a weight slot.
struct WeightData {
  const char* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;  // Keeps them as they are.
};

struct ExecutorOptions {
  int contexts = 4;
  int64_t max_arena_bytes = int64_t{8} << 30;  // Of one context.
  // The least free sizes: what every context needs is taken for them.
  std::vector<int64_t> least_vars = {};
  // Null: memory is not accounted for.
  std::shared_ptr<MemoryLedger> ledger = nullptr;
  // Of the device that most of it runs on; null: runs are not counted.
  std::shared_ptr<RunSlots> slots = nullptr;
  // Null: the constants are this executor's alone. Outlives its creation.
  ConstantPool* constants = nullptr;
};

// What a run is asked beside its tensors.
struct ExecutionOptions {
  absl::Time deadline = absl::InfiniteFuture();  // Checked between commands.
  const std::function<bool()>* cancelled = nullptr;  // Likewise, if not null.
  // If not null: gets the nanoseconds spent in each kernel, by its index.
  std::vector<int64_t>* kernel_ns = nullptr;
  bool statistics = true;  // False: no launch is timed.
};

// Where the time of a run went, in nanoseconds.
struct ExecutionTimes {
  int64_t queue_ns = 0;
  int64_t execute_ns = 0;
};

class Executor {
 public:
  // `weights` by slot. Takes all memory from the ledger, brings them to where
  // they are used, which for devices in the host's memory is where they are if
  // they are aligned, and runs the load segments.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Executor>> Create(
      Executable executable, absl::Span<const WeightData> weights,
      const ExecutorOptions& options, telemetry::Metrics* metrics);
  ~Executor();

  // One request. `inputs` and `outputs` are host addresses by slot. Waits for
  // a context and a slot of the device; kDeadlineExceeded if the deadline
  // passes before a command starts, kCancelled likewise, kResourceExhausted if
  // the temporaries are over the limit.
  [[nodiscard]] absl::StatusOr<ExecutionTimes> Run(
      absl::Span<const int64_t> vars, absl::Span<const void* const> inputs,
      absl::Span<void* const> outputs, const ExecutionOptions& options) const;

  // True if a run would wait now.
  [[nodiscard]] bool busy() const;

  [[nodiscard]] const Executable& executable() const { return executable_; }
  // Launch times by kernel.
  [[nodiscard]] telemetry::Distribution KernelTime(int kernel) const;
  void ResetStatistics() const;

  // Bytes of weights, constants and what the load segments wrote.
  [[nodiscard]] int64_t resident_bytes() const { return resident_bytes_; }
  // Bytes of the temporaries of one context for these sizes.
  [[nodiscard]] absl::StatusOr<int64_t> ArenaBytes(
      absl::Span<const int64_t> vars) const;
  // Time of the load segments.
  [[nodiscard]] int64_t load_ns() const { return load_ns_; }

 private:
  struct Context;

  Executor(Executable executable, const ExecutorOptions& options,
           telemetry::Metrics* metrics);
  // Takes the memory of the weights, and of the contexts at their least.
  absl::Status TakeMemory();
  absl::Status PlaceResident(absl::Span<const WeightData> weights);
  // The memory of a buffer that is there as long as the executor is.
  absl::StatusOr<std::shared_ptr<Buffer>> Resident(
      const ExecBuffer& buffer, int64_t bytes,
      absl::Span<const WeightData> weights) const;
  absl::Status RunLoadSegments();
  // Weights of which there are packed copies now, and intermediate values.
  absl::Status ReleaseWhatOnlyLoadingNeeds();
  // The offset of each place of a device's arena for these sizes, and last the
  // size of the arena.
  absl::StatusOr<std::vector<int64_t>> Places(
      size_t device, absl::Span<const int64_t> vars) const;
  // A context that no other run has; null if there is none by the deadline.
  std::unique_ptr<Context> TakeContext(absl::Time deadline) const;
  void GiveBack(std::unique_ptr<Context> context) const;
  // Makes the context ready for these sizes.
  absl::Status Prepare(Context& context, absl::Span<const int64_t> vars) const;
  // Runs the steps one after the other.
  absl::Status Walk(const Replay& replay,
                    const ExecutionOptions& options) const;
  absl::Status Launch(const Replay::Step& step,
                      const ExecutionOptions& options) const;

  const Executable executable_;
  const ExecutorOptions options_;
  telemetry::Metrics* const metrics_;
  std::vector<std::shared_ptr<Buffer>> resident_;  // By buffer; null if not.
  int64_t resident_bytes_ = 0;
  int64_t load_ns_ = 0;
  std::vector<int64_t> least_arena_;                 // By device.
  mutable std::vector<std::atomic<int64_t>> taken_;  // By device.

  // By kernel.
  std::vector<std::unique_ptr<telemetry::SharedDistribution>> times_;

  mutable base::Mutex mutex_;
  mutable base::CondVar context_free_;
  mutable std::vector<std::unique_ptr<Context>> idle_ ABSL_GUARDED_BY(mutex_);
  mutable int made_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quern::runtime
