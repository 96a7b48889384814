// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/host_memory.h"
#include "engine/base/status_macros.h"

namespace quern::runtime {
namespace {

constexpr int64_t kPlaceAlignment = 64;

// Rounded up to the alignment of places.
absl::StatusOr<int64_t> Aligned(int64_t bytes) {
  int64_t out = 0;
  if (bytes < 0 || __builtin_add_overflow(bytes, kPlaceAlignment - 1, &out)) {
    return absl::InvalidArgumentError("a size is beyond 64 bits");
  }
  return std::max(out / kPlaceAlignment * kPlaceAlignment, kPlaceAlignment);
}

bool IsAligned(const char* data) {
  return data != nullptr &&
         reinterpret_cast<uintptr_t>(data) % base::kHostAlignment == 0;
}

bool IsResident(const ExecBuffer& buffer) {
  return buffer.kind == ExecBuffer::Kind::kWeight ||
         buffer.kind == ExecBuffer::Kind::kConstant ||
         buffer.kind == ExecBuffer::Kind::kResident;
}

// A weight used where it is.
class SharedBuffer final : public Buffer {
 public:
  explicit SharedBuffer(WeightData weight) : weight_(std::move(weight)) {}
  size_t size() const override { return weight_.size; }
  // Kernels only read weights.
  void* host() override { return const_cast<char*>(weight_.data); }

 private:
  const WeightData weight_;
};

}  // namespace

struct Executor::Context {
  std::vector<std::unique_ptr<Buffer>> arenas;  // By device.
  std::vector<int64_t> extra;  // Taken beyond the least, by device.
  std::vector<int64_t> vars;
  bool prepared = false;
  Replay replay;  // For these vars, if prepared.
};

Executor::Executor(Executable executable, const ExecutorOptions& options,
                   telemetry::Metrics* metrics)
    : executable_(std::move(executable)), options_(options), metrics_(metrics) {
  for (size_t i = 0; i < executable_.kernels.size(); ++i) {
    times_.push_back(std::make_unique<telemetry::SharedDistribution>());
  }
}

Executor::~Executor() {
  if (options_.ledger != nullptr) {
    for (size_t d = 0; d < taken_.size(); ++d) {
      if (taken_[d] > 0) {
        options_.ledger->GiveBack(executable_.device_names[d], taken_[d]);
      }
    }
  }
  if (metrics_ == nullptr) return;
  base::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Context>& context : idle_) {
    for (size_t d = 0; d < context->arenas.size(); ++d) {
      if (context->arenas[d] == nullptr) continue;
      metrics_->Add(telemetry::Metric::kArenaBytes,
                    {executable_.device_names[d]},
                    -static_cast<double>(context->arenas[d]->size()));
    }
  }
}

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(
    Executable executable, absl::Span<const WeightData> weights,
    const ExecutorOptions& options, telemetry::Metrics* metrics) {
  std::unique_ptr<Executor> executor(
      new Executor(std::move(executable), options, metrics));
  QUERN_RETURN_IF_ERROR(executor->TakeMemory());
  QUERN_RETURN_IF_ERROR(executor->PlaceResident(weights));
  QUERN_RETURN_IF_ERROR(executor->RunLoadSegments());
  QUERN_RETURN_IF_ERROR(executor->ReleaseWhatOnlyLoadingNeeds());
  return executor;
}

absl::Status Executor::ReleaseWhatOnlyLoadingNeeds() {
  std::vector<bool> used(executable_.buffers.size(), false);
  for (const Segment& segment : executable_.segments) {
    for (const Command& command : segment.commands) {
      if (const auto* launch = std::get_if<LaunchCommand>(&command)) {
        for (int buffer : launch->buffers) used[buffer] = true;
      } else {
        const auto& copy = std::get<CopyCommand>(command);
        used[copy.from] = used[copy.to] = true;
      }
    }
  }
  for (size_t i = 0; i < resident_.size(); ++i) {
    if (resident_[i] == nullptr || used[i]) continue;
    QUERN_ASSIGN_OR_RETURN(const int64_t bytes,
                           executable_.buffers[i].bytes.Evaluate({}));
    resident_[i] = nullptr;
    resident_bytes_ -= bytes;
    const int device = executable_.buffers[i].device;
    if (options_.ledger == nullptr) continue;
    options_.ledger->GiveBack(executable_.device_names[device], bytes);
    taken_[device] -= bytes;
  }
  return absl::OkStatus();
}

absl::Status Executor::PlaceResident(absl::Span<const WeightData> weights) {
  resident_.resize(executable_.buffers.size());
  for (size_t i = 0; i < executable_.buffers.size(); ++i) {
    const ExecBuffer& buffer = executable_.buffers[i];
    if (!IsResident(buffer)) continue;
    QUERN_ASSIGN_OR_RETURN(const int64_t bytes, buffer.bytes.Evaluate({}));
    resident_bytes_ += bytes;
    QUERN_ASSIGN_OR_RETURN(resident_[i], Resident(buffer, bytes, weights));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Buffer>> Executor::Resident(
    const ExecBuffer& buffer, int64_t bytes,
    absl::Span<const WeightData> weights) const {
  const std::shared_ptr<Device>& device = executable_.devices[buffer.device];
  if (buffer.kind == ExecBuffer::Kind::kConstant) {
    const std::string& constant = executable_.constants[buffer.slot];
    if (options_.constants == nullptr) {
      return ConstantPool().Get(device, constant);
    }
    return options_.constants->Get(device, constant);
  }
  if (buffer.kind == ExecBuffer::Kind::kResident) {
    return device->Allocate(std::max<int64_t>(bytes, 1));
  }
  const WeightData& weight = weights[buffer.slot];
  QUERN_RET_CHECK(static_cast<int64_t>(weight.size) == bytes, "weight ",
                  buffer.slot);
  if (device->host_memory() && IsAligned(weight.data)) {
    return std::make_shared<SharedBuffer>(weight);
  }
  QUERN_ASSIGN_OR_RETURN(std::shared_ptr<Buffer> copy,
                         device->Allocate(std::max<int64_t>(bytes, 1)));
  QUERN_RETURN_IF_ERROR(
      device->CopyFromHost(copy->host(), weight.data, weight.size));
  return copy;
}

absl::Status Executor::RunLoadSegments() {
  const int64_t start = telemetry::Clock::NowNs();
  std::vector<void*> addresses(executable_.buffers.size(), nullptr);
  for (size_t i = 0; i < resident_.size(); ++i) {
    if (resident_[i] != nullptr) addresses[i] = resident_[i]->host();
  }
  // The variables have no value yet, and nothing here depends on them.
  const std::vector<int64_t> vars(executable_.num_vars, 0);
  QUERN_ASSIGN_OR_RETURN(
      const Replay replay,
      Replay::Record(executable_, executable_.load_segments, addresses, vars));
  QUERN_RETURN_IF_ERROR(Walk(replay, {}));
  load_ns_ = telemetry::Clock::NowNs() - start;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> Executor::Places(
    size_t device, absl::Span<const int64_t> vars) const {
  std::vector<int64_t> places(executable_.arenas[device].places, 0);
  for (const ExecBuffer& buffer : executable_.buffers) {
    if (buffer.kind != ExecBuffer::Kind::kTemporary ||
        buffer.device != static_cast<int>(device)) {
      continue;
    }
    QUERN_ASSIGN_OR_RETURN(int64_t bytes, buffer.bytes.Evaluate(vars));
    QUERN_ASSIGN_OR_RETURN(bytes, Aligned(bytes));
    places[buffer.slot] = std::max(places[buffer.slot], bytes);
  }
  // From sizes to offsets.
  int64_t total = 0;
  for (int64_t& place : places) {
    const int64_t bytes = place;
    place = total;
    if (__builtin_add_overflow(total, bytes, &total)) {
      return absl::InvalidArgumentError("a size is beyond 64 bits");
    }
  }
  places.push_back(total);
  return places;
}

absl::StatusOr<int64_t> Executor::ArenaBytes(
    absl::Span<const int64_t> vars) const {
  int64_t total = 0;
  for (size_t d = 0; d < executable_.arenas.size(); ++d) {
    QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> places, Places(d, vars));
    if (__builtin_add_overflow(total, places.back(), &total)) {
      return absl::InvalidArgumentError("a size is beyond 64 bits");
    }
  }
  return total;
}

absl::Status Executor::TakeMemory() {
  least_arena_.assign(executable_.arenas.size(), 0);
  taken_ = std::vector<std::atomic<int64_t>>(executable_.devices.size());
  if (options_.ledger == nullptr) return absl::OkStatus();
  for (size_t d = 0; d < executable_.devices.size(); ++d) {
    int64_t weights = 0;
    for (const ExecBuffer& buffer : executable_.buffers) {
      if (buffer.device != static_cast<int>(d) || !IsResident(buffer)) continue;
      QUERN_ASSIGN_OR_RETURN(const int64_t bytes, buffer.bytes.Evaluate({}));
      if (__builtin_add_overflow(weights, bytes, &weights)) {
        return absl::InvalidArgumentError("a size is beyond 64 bits");
      }
    }
    int64_t arenas = 0;
    if (d < executable_.arenas.size()) {
      QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> places,
                             Places(d, options_.least_vars));
      least_arena_[d] = places.back();
      if (__builtin_mul_overflow(places.back(), options_.contexts, &arenas)) {
        return absl::InvalidArgumentError("a size is beyond 64 bits");
      }
    }
    int64_t bytes = 0;
    if (__builtin_add_overflow(weights, arenas, &bytes)) {
      return absl::InvalidArgumentError("a size is beyond 64 bits");
    }
    if (bytes == 0) continue;
    QUERN_RETURN_IF_ERROR(options_.ledger->Take(
        executable_.device_names[d], bytes,
        absl::StrCat("weights and their packed copies of ", weights,
                     " bytes and ", options_.contexts, " contexts of ",
                     arenas / options_.contexts)));
    taken_[d] = bytes;
  }
  return absl::OkStatus();
}

absl::Status Executor::Prepare(Context& context,
                               absl::Span<const int64_t> vars) const {
  if (context.prepared && absl::MakeConstSpan(context.vars) == vars) {
    return absl::OkStatus();
  }
  context.prepared = false;
  const size_t devices = executable_.arenas.size();
  context.arenas.resize(devices);
  context.extra.resize(devices, 0);
  std::vector<std::vector<int64_t>> places(devices);
  for (size_t d = 0; d < devices; ++d) {
    QUERN_ASSIGN_OR_RETURN(places[d], Places(d, vars));
    const int64_t total = places[d].back();
    if (total > options_.max_arena_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the temporaries of this request need ", total,
                       " bytes, the limit of --max-arena-bytes is ",
                       options_.max_arena_bytes, "; send smaller inputs"));
    }
    const int64_t have = context.arenas[d] == nullptr
                             ? 0
                             : static_cast<int64_t>(context.arenas[d]->size());
    if (total > have) {
      // The least is taken since the load.
      const int64_t more = total - least_arena_[d] - context.extra[d];
      if (options_.ledger != nullptr && more > 0) {
        QUERN_RETURN_IF_ERROR(
            options_.ledger->Take(executable_.device_names[d], more,
                                  "the temporaries of this request"));
        taken_[d] += more;
        context.extra[d] += more;
      }
      context.arenas[d] = nullptr;  // Before the larger one is made.
      QUERN_ASSIGN_OR_RETURN(context.arenas[d],
                             executable_.devices[d]->Allocate(total));
      if (metrics_ != nullptr) {
        metrics_->Add(telemetry::Metric::kArenaBytes,
                      {executable_.device_names[d]},
                      static_cast<double>(context.arenas[d]->size()) - have);
      }
    }
  }
  std::vector<void*> addresses(executable_.buffers.size(), nullptr);
  for (size_t i = 0; i < executable_.buffers.size(); ++i) {
    const ExecBuffer& buffer = executable_.buffers[i];
    if (resident_[i] != nullptr) {
      addresses[i] = resident_[i]->host();
    } else if (buffer.kind == ExecBuffer::Kind::kTemporary &&
               context.arenas[buffer.device] != nullptr) {
      addresses[i] = static_cast<char*>(context.arenas[buffer.device]->host()) +
                     places[buffer.device][buffer.slot];
    }
  }
  QUERN_ASSIGN_OR_RETURN(
      context.replay,
      Replay::Record(executable_, executable_.segments, addresses, vars));
  context.vars.assign(vars.begin(), vars.end());
  context.prepared = true;
  return absl::OkStatus();
}

std::unique_ptr<Executor::Context> Executor::TakeContext(
    absl::Time deadline) const {
  base::MutexLock lock(&mutex_);
  while (idle_.empty() && made_ >= options_.contexts) {
    if (deadline == absl::InfiniteFuture()) {
      context_free_.Wait(&mutex_);
    } else if (!context_free_.WaitUntil(&mutex_,
                                        absl::ToChronoTime(deadline)) &&
               idle_.empty()) {
      return nullptr;
    }
  }
  if (idle_.empty()) {
    ++made_;
    return std::make_unique<Context>();
  }
  std::unique_ptr<Context> context = std::move(idle_.back());
  idle_.pop_back();
  return context;
}

void Executor::GiveBack(std::unique_ptr<Context> context) const {
  {
    base::MutexLock lock(&mutex_);
    idle_.push_back(std::move(context));
  }
  context_free_.Signal();
}

bool Executor::busy() const {
  if (options_.slots != nullptr && options_.slots->full()) return true;
  base::MutexLock lock(&mutex_);
  return idle_.empty() && made_ >= options_.contexts;
}

absl::StatusOr<ExecutionTimes> Executor::Run(
    absl::Span<const int64_t> vars, absl::Span<const void* const> inputs,
    absl::Span<void* const> outputs, const ExecutionOptions& options) const {
  ExecutionTimes times;
  const int64_t queued = telemetry::Clock::NowNs();
  std::unique_ptr<Context> context = TakeContext(options.deadline);
  if (context == nullptr) {
    return absl::DeadlineExceededError(
        "the deadline passed while the request waited for a context");
  }
  if (options_.slots != nullptr &&
      !options_.slots->Acquire(this, options.deadline)) {
    GiveBack(std::move(context));
    return absl::DeadlineExceededError(
        "the deadline passed while the request waited for the device");
  }
  const int64_t started = telemetry::Clock::NowNs();
  times.queue_ns = started - queued;
  if (options.kernel_ns != nullptr) {
    options.kernel_ns->assign(executable_.kernels.size(), 0);
  }

  absl::Status status = Prepare(*context, vars);
  if (status.ok()) {
    context->replay.Patch(inputs, outputs);
    status = Walk(context->replay, options);
  }
  times.execute_ns = telemetry::Clock::NowNs() - started;
  if (options_.slots != nullptr) options_.slots->Release(this);
  GiveBack(std::move(context));
  if (!status.ok()) return status;
  return times;
}

absl::Status Executor::Walk(const Replay& replay,
                            const ExecutionOptions& options) const {
  for (const Replay::Step& step : replay.steps()) {
    if (options.deadline != absl::InfiniteFuture() &&
        absl::Now() > options.deadline) {
      return absl::DeadlineExceededError(
          "the deadline passed between two kernels");
    }
    if (options.cancelled != nullptr && (*options.cancelled)()) {
      return absl::CancelledError("cancelled between two kernels");
    }
    if (step.loaded == nullptr) {
      // Both devices share the host's memory; an engine that opens another kind
      // refuses the graph at load.
      std::memcpy(step.args.buffers[0], step.args.buffers[1],
                  step.copied_bytes);
    } else {
      QUERN_RETURN_IF_ERROR(Launch(step, options));
    }
  }
  return absl::OkStatus();
}

absl::Status Executor::Launch(const Replay::Step& step,
                              const ExecutionOptions& options) const {
  LaunchArgs args = step.args;
  const bool crowded = options_.slots != nullptr && options_.slots->crowded();
  args.max_threads = step.serial || crowded ? 1 : 0;
  if (!options.statistics) return step.device->Launch(*step.loaded, args);
  const int64_t start = telemetry::Clock::NowNs();
  QUERN_RETURN_IF_ERROR(step.device->Launch(*step.loaded, args));
  const int64_t duration = telemetry::Clock::NowNs() - start;
  times_[step.kernel]->Record(duration);
  if (options.kernel_ns != nullptr) {
    (*options.kernel_ns)[step.kernel] += duration;
  }
  return absl::OkStatus();
}

telemetry::Distribution Executor::KernelTime(int kernel) const {
  return times_[kernel]->Snapshot();
}

void Executor::ResetStatistics() const {
  for (const auto& time : times_) time->Reset();
}

}  // namespace quern::runtime
