// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/peers/yardsticks.h"

#include <algorithm>
#include <barrier>
#include <functional>
#include <memory>
#include <sched.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "backends/register_all.h"
#include "engine/base/host_memory.h"
#include "engine/base/status_macros.h"
#include "engine/calibrate.h"

namespace quern::bench {
namespace {

using nlohmann::json;

// A dependent chain of multiplications: about a millisecond, and no memory.
constexpr int kSteps = 1'000'000;

// The cores that this process may use; none if there are too many to ask for.
std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// Keeps the calling thread, the `index`-th, on one of the cores.
void StayOnOne(const std::vector<int>& cores, int index) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cores[index % cores.size()], &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Threads, the caller among them, that do the same at once, between two
// meetings. Each has its core, or times would also show where the scheduler
// puts threads that wake each other.
class Team {
 public:
  // `task` is given the number of its thread.
  Team(int threads, std::function<void(int)> task)
      : task_(std::move(task)), meeting_(threads) {
    const std::vector<int> cores = AllowedCores();
    StayOnOne(cores, 0);
    for (int i = 1; i < threads; ++i) {
      others_.emplace_back([this, cores, i] {
        StayOnOne(cores, i);
        while (true) {
          meeting_.arrive_and_wait();
          if (ends_) return;
          task_(i);
          meeting_.arrive_and_wait();
        }
      });
    }
  }

  ~Team() {
    ends_ = true;
    meeting_.arrive_and_wait();
    for (std::thread& other : others_) other.join();
  }

  void Run() {
    meeting_.arrive_and_wait();
    task_(0);
    meeting_.arrive_and_wait();
  }

 private:
  const std::function<void(int)> task_;
  std::barrier<> meeting_;
  bool ends_ = false;  // Written before a meeting and read after it.
  std::vector<std::thread> others_;
};

// Work without results.
class Loop : public Work {
 public:
  [[nodiscard]] absl::StatusOr<json> Save(const std::string&) const override {
    return absl::UnimplementedError("a loop has no results");
  }
};

// The device "cpu" and the compiler of its kernels.
struct Cpu {
  std::unique_ptr<runtime::Backend> backend;
  std::unique_ptr<runtime::Device> device;
};

absl::StatusOr<Cpu> OpenCpu(int threads) {
  for (std::unique_ptr<runtime::Backend>& backend : MakeAllBackends()) {
    if (backend->name() != "cpu") continue;
    Cpu cpu;
    QUERN_ASSIGN_OR_RETURN(cpu.device, backend->Open(0, {.threads = threads}));
    cpu.backend = std::move(backend);
    return cpu;
  }
  return absl::UnavailableError("this build has no backend \"cpu\"");
}

void Multiply() {
  uint64_t value = 1;
  for (int i = 0; i < kSteps; ++i) value = value * 0x5851F42D4C957F2D + 1;
  // Read by nobody, and yet it has to be computed.
  volatile uint64_t sink = value;
  static_cast<void>(sink);
}

class Calibration : public Loop {
 public:
  Calibration(int threads, std::string isa, const Peaks& peaks)
      : introduction_({{"engine", "calibration"},
                       {"threads", threads},
                       {"isa", std::move(isa)},
                       {"peak_gflops_a_thread", peaks.flops / threads * 1e-9},
                       {"read_gb_per_s_a_thread",
                        peaks.read.back().per_second / threads * 1e-9}}),
        team_(threads, [](int) { Multiply(); }) {}

  [[nodiscard]] json Introduction() const override { return introduction_; }

  [[nodiscard]] absl::Status Run() override {
    team_.Run();
    return absl::OkStatus();
  }

 private:
  const json introduction_;
  Team team_;
};

// A kernel of the engine's own, launched on its device.
class KernelYardstick : public Loop {
 public:
  KernelYardstick(Cpu cpu, std::unique_ptr<Yardstick> yardstick)
      : cpu_(std::move(cpu)), yardstick_(std::move(yardstick)) {}

  [[nodiscard]] json Introduction() const override {
    return {{"engine", "yardstick"},
            {"threads", cpu_.device->threads()},
            {"work", yardstick_->work()}};
  }

  [[nodiscard]] absl::Status Run() override { return yardstick_->Launch(); }

 private:
  const Cpu cpu_;
  const std::unique_ptr<Yardstick> yardstick_;
};

// Arrays as long as each other in memory that has been written.
class Arrays {
 public:
  static absl::StatusOr<Arrays> Create(int64_t bytes, int count) {
    Arrays arrays;
    arrays.size_ = bytes / static_cast<int64_t>(sizeof(float));
    for (int i = 0; i < count; ++i) {
      arrays.memory_.push_back(base::AllocateHostMemory(bytes));
      if (arrays.memory_.back() == nullptr) {
        return absl::ResourceExhaustedError(
            absl::StrCat("no memory for an array of ", bytes, " bytes"));
      }
      std::fill_n(arrays[i], arrays.size_, 1.0f);
    }
    return arrays;
  }

  [[nodiscard]] float* operator[](int i) const {
    return reinterpret_cast<float*>(memory_[i].get());
  }
  [[nodiscard]] int count() const { return static_cast<int>(memory_.size()); }
  [[nodiscard]] int64_t size() const { return size_; }

 private:
  std::vector<base::HostMemory> memory_;
  int64_t size_ = 0;
};

// Adds up all arrays but the last into the last, from one element to another.
// What is stored is not read first where the processor can do without.
void AddUp(const Arrays& arrays, int64_t from, int64_t to) {
  const float* const a = arrays[0];
  const float* const b = arrays.count() > 2 ? arrays[1] : nullptr;
  float* const sum = arrays[arrays.count() - 1];
#ifdef __SSE2__
  // A line at a time, as it leaves the processor.
  constexpr int64_t kLine = 16;
  for (int64_t i = from; i < to; i += kLine) {
    __m128 line[kLine / 4];
    for (int64_t j = 0; j < kLine; j += 4) {
      const __m128 value = _mm_load_ps(a + i + j);
      line[j / 4] =
          b == nullptr ? value : _mm_add_ps(value, _mm_load_ps(b + i + j));
    }
    for (int64_t j = 0; j < kLine; j += 4) {
      _mm_stream_ps(sum + i + j, line[j / 4]);
    }
  }
  _mm_sfence();
#else
  for (int64_t i = from; i < to; ++i) {
    sum[i] = b == nullptr ? a[i] : a[i] + b[i];
  }
#endif
}

class StreamYardstick : public Loop {
 public:
  StreamYardstick(Arrays arrays, int threads)
      : arrays_(std::move(arrays)),
        threads_(threads),
        team_(threads, [this](int thread) {
          AddUp(arrays_, PartOf(thread), PartOf(thread + 1));
        }) {}

  [[nodiscard]] json Introduction() const override {
    return {{"engine", "yardstick"},
            {"threads", threads_},
            {"work", arrays_.size() * sizeof(float) * arrays_.count()}};
  }

  [[nodiscard]] absl::Status Run() override {
    team_.Run();
    return absl::OkStatus();
  }

 private:
  // Where the part of a thread begins: at a cache line.
  [[nodiscard]] int64_t PartOf(int thread) const {
    return arrays_.size() / 16 * thread / threads_ * 16;
  }

  const Arrays arrays_;
  const int threads_;
  Team team_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Work>> MakeCalibration(int threads) {
  QUERN_ASSIGN_OR_RETURN(const Cpu cpu, OpenCpu(threads));
  QUERN_ASSIGN_OR_RETURN(const Peaks peaks,
                         Calibrate(*cpu.device, cpu.backend->codegen()));
  return std::make_unique<Calibration>(cpu.device->threads(),
                                       cpu.device->target().isa, peaks);
}

absl::StatusOr<std::unique_ptr<Work>> MakeYardstick(const std::string& kind,
                                                    int64_t bytes,
                                                    int threads) {
  QUERN_ASSIGN_OR_RETURN(Cpu cpu, OpenCpu(threads));
  if (kind == "copy" || kind == "add") {
    QUERN_ASSIGN_OR_RETURN(Arrays arrays,
                           Arrays::Create(bytes, kind == "copy" ? 2 : 3));
    return std::make_unique<StreamYardstick>(std::move(arrays),
                                             cpu.device->threads());
  }
  if (kind != "flops" && kind != "read") {
    return absl::InvalidArgumentError(
        absl::StrCat("expected flops, read, copy or add, got \"", kind, "\""));
  }
  const runtime::Codegen& codegen = cpu.backend->codegen();
  QUERN_ASSIGN_OR_RETURN(auto yardstick,
                         kind == "flops"
                             ? Yardstick::Flops(*cpu.device, codegen)
                             : Yardstick::Read(*cpu.device, codegen, bytes));
  return std::make_unique<KernelYardstick>(std::move(cpu),
                                           std::move(yardstick));
}

}  // namespace quern::bench
