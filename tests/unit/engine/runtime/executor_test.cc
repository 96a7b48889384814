// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/executor.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/symbolic.h"
#include "engine/runtime/memory_ledger.h"

namespace quern::runtime {
namespace {

using ir::DType;
using ir::Id;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using Kind = ExecBuffer::Kind;
using Function = std::function<absl::Status(const LaunchArgs&)>;

class FakeBuffer : public Buffer {
 public:
  explicit FakeBuffer(size_t size) : memory_(size) {}
  size_t size() const override { return memory_.size(); }
  void* host() override { return memory_.data(); }

 private:
  std::vector<char> memory_;
};

class FakeKernel : public LoadedKernel {
 public:
  explicit FakeKernel(Function function) : function(std::move(function)) {}
  const Function function;
};

// Host memory and functions as kernels.
class FakeDevice : public Device {
 public:
  const base::Target& target() const override { return target_; }
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(size_t size) override {
    ++allocations;
    return std::make_unique<FakeBuffer>(size);
  }
  absl::StatusOr<std::unique_ptr<LoadedKernel>> Load(
      const std::string&, const std::string&) override {
    return absl::UnimplementedError("kernels are functions here");
  }
  absl::Status Launch(const LoadedKernel& kernel,
                      const LaunchArgs& args) override {
    const int now = ++running_;
    int most = most_running.load();
    while (most < now && !most_running.compare_exchange_weak(most, now)) {
    }
    const absl::Status status =
        static_cast<const FakeKernel&>(kernel).function(args);
    --running_;
    return status;
  }
  absl::Status CopyFromHost(void* to, const void* from, size_t size) override {
    std::copy_n(static_cast<const char*>(from), size, static_cast<char*>(to));
    return absl::OkStatus();
  }
  absl::Status CopyToHost(void* to, const void* from, size_t size) override {
    return CopyFromHost(to, from, size);
  }
  bool host_memory() const override { return true; }
  int threads() const override { return 1; }

  std::atomic<int> allocations{0};
  std::atomic<int> most_running{0};

 private:
  base::Target target_;
  std::atomic<int> running_{0};
};

// Builds executables over i64 buffers of `n` elements, n the only variable.
class ExecutableMaker {
 public:
  ExecutableMaker() {
    n_ = arena_.Make(ir::Op::kVar, DType::kWeakInt, {},
                     ir::Attr{{0, int64_t{1} << 40}, "n"});
    executable_.num_vars = 1;
    executable_.devices = {device_};
    executable_.device_names = {"fake"};
    executable_.segments = {{0, {}}};
  }

  std::shared_ptr<FakeDevice> device() { return device_; }

  int Buffer(Kind kind, int slot = 0) {
    return Buffer(kind, slot, ir::Mul(arena_, n_, arena_.Int(8)));
  }
  int FixedBuffer(Kind kind, int slot, int64_t bytes) {
    return Buffer(kind, slot, arena_.Int(bytes));
  }

  void Launch(Function function, std::vector<int> buffers, bool at_load = false,
              int64_t work = 0) {
    LaunchCommand launch;
    launch.kernel = static_cast<int>(executable_.kernels.size());
    launch.buffers = std::move(buffers);
    launch.work = SizeExpr(work);
    launch.grid = at_load ? SizeExpr(1) : Size(n_);
    launch.scratch_bytes = at_load ? SizeExpr(0) : Size(n_);
    executable_.kernels.push_back(
        {"k", 0, std::make_shared<FakeKernel>(std::move(function))});
    if (at_load) executable_.load_segments = {{0, {launch}}};
    if (!at_load) executable_.segments[0].commands.push_back(launch);
  }

  void Copy(int from, int to) {
    executable_.segments[0].commands.push_back(CopyCommand{from, to});
  }

  absl::StatusOr<std::unique_ptr<Executor>> Finish(
      const ExecutorOptions& options = {},
      absl::Span<const WeightData> weights = {}) {
    PlanMemory(executable_,
               std::vector<double>(executable_.buffers.size(), 64));
    return Executor::Create(std::move(executable_), weights, options, nullptr);
  }

 private:
  SizeExpr Size(Id id) { return *SizeExpr::Of(arena_, id, {n_}); }
  int Buffer(Kind kind, int slot, Id bytes) {
    ExecBuffer buffer;
    buffer.kind = kind;
    buffer.slot = slot;
    buffer.dtype = DType::kI64;
    buffer.bytes = Size(bytes);
    executable_.buffers.push_back(std::move(buffer));
    return static_cast<int>(executable_.buffers.size()) - 1;
  }

  ir::Arena arena_;
  Id n_ = ir::kNoNode;
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  Executable executable_;
};

// buffers[0][i] = buffers[1][i] + amount.
Function Adds(int64_t amount, milliseconds delay = milliseconds(0)) {
  return [amount, delay](const LaunchArgs& args) {
    auto* const out = static_cast<int64_t*>(args.buffers[0]);
    const auto* const in = static_cast<const int64_t*>(args.buffers[1]);
    for (int64_t i = 0; i < args.vars[0]; ++i) {
      if (i == args.vars[0] / 2) std::this_thread::sleep_for(delay);
      out[i] = in[i] + amount;
    }
    return absl::OkStatus();
  };
}

absl::StatusOr<std::vector<int64_t>> RunOn(
    const Executor& executor, const std::vector<int64_t>& input,
    absl::Time deadline = absl::InfiniteFuture()) {
  std::vector<int64_t> output(input.size(), -1);
  const int64_t vars[] = {static_cast<int64_t>(input.size())};
  const void* const inputs[] = {input.data()};
  void* const outputs[] = {output.data()};
  const absl::StatusOr<ExecutionTimes> times =
      executor.Run(vars, inputs, outputs, {.deadline = deadline});
  if (!times.ok()) return times.status();
  return output;
}

// Input, two temporaries, output; adds 1, 10 and 100.
std::unique_ptr<Executor> ThreeSteps(ExecutableMaker& maker,
                                     const ExecutorOptions& options = {},
                                     milliseconds delay = milliseconds(0)) {
  const int in = maker.Buffer(Kind::kInput);
  const int a = maker.Buffer(Kind::kTemporary);
  const int b = maker.Buffer(Kind::kTemporary);
  const int out = maker.Buffer(Kind::kOutput);
  maker.Launch(Adds(1), {a, in});
  maker.Launch(Adds(10, delay), {b, a});
  maker.Launch(Adds(100), {out, b});
  return *maker.Finish(options);
}

TEST(Executor, RunsCommandsInOrder) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker);
  EXPECT_THAT(*RunOn(*executor, {1, 2, 3}), ElementsAre(112, 113, 114));
}

TEST(Executor, RunsNoMoreAtOnceThanTheDeviceHasSlots) {
  const auto slots = std::make_shared<RunSlots>(2);
  ExecutableMaker makers[2];
  std::vector<std::unique_ptr<Executor>> executors;
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> alone{0};    // Launches that may use all threads.
  std::atomic<int> crowded{0};  // Launches that may not.
  for (ExecutableMaker& maker : makers) {
    const int in = maker.Buffer(Kind::kInput);
    const int out = maker.Buffer(Kind::kOutput);
    // Enough work for several threads.
    maker.Launch(
        [&](const LaunchArgs& args) {
          const int now = ++running;
          int seen = most.load();
          while (seen < now && !most.compare_exchange_weak(seen, now)) {
          }
          ++(args.max_threads == 1 ? crowded : alone);
          std::this_thread::sleep_for(milliseconds(5));
          --running;
          return absl::OkStatus();
        },
        {out, in}, /*at_load=*/false, /*work=*/1'000'000'000);
    executors.push_back(*maker.Finish({.contexts = 4, .slots = slots}));
  }
  ASSERT_TRUE(RunOn(*executors[0], {1}).ok());
  EXPECT_EQ(alone, 1);
  EXPECT_FALSE(executors[0]->busy());
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 4; ++k) {
        EXPECT_TRUE(RunOn(*executors[i % 2], {1}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 2);
  EXPECT_GT(crowded, 16);
}

TEST(Executor, ADeadlineEndsTheWaitForTheDevice) {
  const auto slots = std::make_shared<RunSlots>(1);
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker, {.contexts = 1, .slots = slots});
  ASSERT_TRUE(slots->Acquire(slots.get(), absl::InfiniteFuture()));
  EXPECT_TRUE(executor->busy());
  const auto late = RunOn(*executor, {1}, absl::Now() + absl::Milliseconds(20));
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late.status().message(),
            "the deadline passed while the request waited for the device");
  slots->Release(slots.get());
  // It gave its context back.
  EXPECT_THAT(*RunOn(*executor, {1}), ElementsAre(112));
}

TEST(Executor, GivesEightThreadsTheirOwnResultsFromTwoContexts) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker, {.contexts = 2}, milliseconds(1));
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 10; ++round) {
        // Sizes differ too, so arenas grow while others run.
        const std::vector<int64_t> input(1 + (t * 10 + round) % 7, t * 1000);
        const auto output = RunOn(*executor, input);
        const std::vector<int64_t> want(input.size(), t * 1000 + 111);
        if (!output.ok() || *output != want) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(maker.device()->most_running, 2);
}

TEST(Executor, AllocatesNothingOnceAContextHasMetItsLargestSize) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker, {.contexts = 1});
  ASSERT_TRUE(RunOn(*executor, std::vector<int64_t>(1000, 1)).ok());
  const int before = maker.device()->allocations;
  for (const int size : {1, 1000, 500}) {
    ASSERT_TRUE(RunOn(*executor, std::vector<int64_t>(size, 1)).ok());
  }
  EXPECT_EQ(maker.device()->allocations, before);
}

TEST(Executor, RefusesARequestWhoseDeadlinePassesInTheQueue) {
  ExecutableMaker maker;
  std::atomic<bool> started{false};
  std::atomic<bool> release{false};
  const int in = maker.Buffer(Kind::kInput);
  const int out = maker.Buffer(Kind::kOutput);
  maker.Launch(
      [&](const LaunchArgs&) {
        started = true;
        while (!release) std::this_thread::sleep_for(milliseconds(1));
        return absl::OkStatus();
      },
      {out, in});
  const auto executor = *maker.Finish({.contexts = 1});
  std::thread first([&] { EXPECT_TRUE(RunOn(*executor, {1}).ok()); });
  while (!started) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(
      RunOn(*executor, {1}, absl::Now() + absl::Milliseconds(20)).status(),
      absl::DeadlineExceededError(
          "the deadline passed while the request waited for a context"));
  release = true;
  first.join();
  EXPECT_TRUE(RunOn(*executor, {1}).ok());
}

TEST(Executor, StopsBetweenKernelsWhenTheDeadlineHasPassed) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker, {.contexts = 1}, milliseconds(60));
  EXPECT_EQ(
      RunOn(*executor, {1}, absl::Now() + absl::Milliseconds(30)).status(),
      absl::DeadlineExceededError("the deadline passed between two kernels"));
  EXPECT_THAT(*RunOn(*executor, {1}), ElementsAre(112));
}

TEST(Executor, RefusesARequestOverTheLimitOfItsArena) {
  ExecutableMaker maker;
  const auto executor =
      ThreeSteps(maker, {.contexts = 1, .max_arena_bytes = 1024});
  EXPECT_EQ(RunOn(*executor, std::vector<int64_t>(65, 1)).status(),
            absl::ResourceExhaustedError(
                "the temporaries of this request need 1152 bytes, the limit of "
                "--max-arena-bytes is 1024; send smaller inputs"));
  EXPECT_TRUE(RunOn(*executor, std::vector<int64_t>(64, 1)).ok());
}

TEST(Executor, RefusesSizesBeyond64Bits) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker);
  const int64_t vars[] = {int64_t{1} << 61};
  const void* const inputs[] = {nullptr};
  void* const outputs[] = {nullptr};
  EXPECT_EQ(executor->Run(vars, inputs, outputs, {}).status(),
            absl::InvalidArgumentError("a size is beyond 64 bits"));
  EXPECT_TRUE(RunOn(*executor, {1}).ok());
}

TEST(Executor, LaunchesNothingForEmptyInputs) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker);
  EXPECT_THAT(*RunOn(*executor, {}), ElementsAre());
  EXPECT_EQ(maker.device()->most_running, 0);
}

TEST(Executor, GivesLaunchesTheirGridAndScratch) {
  ExecutableMaker maker;
  int64_t grid = 0;
  int64_t scratch = 0;
  maker.Launch(
      [&](const LaunchArgs& args) {
        grid = args.grid;
        scratch = args.scratch_bytes;
        return absl::OkStatus();
      },
      {maker.Buffer(Kind::kOutput), maker.Buffer(Kind::kInput)});
  const auto executor = *maker.Finish();
  ASSERT_TRUE(RunOn(*executor, {1, 2, 3, 4, 5}).ok());
  EXPECT_EQ(grid, 5);
  EXPECT_EQ(scratch, 5);
}

TEST(Executor, ComputesFromWeightsOnceAtLoad) {
  ExecutableMaker maker;
  const int in = maker.Buffer(Kind::kInput);
  const int out = maker.Buffer(Kind::kOutput);
  const int weight = maker.FixedBuffer(Kind::kWeight, 0, 8);
  const int made = maker.FixedBuffer(Kind::kResident, 0, 8);
  int loads = 0;
  maker.Launch(
      [&](const LaunchArgs& args) {
        ++loads;
        *static_cast<int64_t*>(args.buffers[0]) =
            *static_cast<const int64_t*>(args.buffers[1]) * 2;
        return absl::OkStatus();
      },
      {made, weight}, /*at_load=*/true);
  maker.Launch(
      [](const LaunchArgs& args) {
        for (int64_t i = 0; i < args.vars[0]; ++i) {
          static_cast<int64_t*>(args.buffers[0])[i] =
              static_cast<const int64_t*>(args.buffers[1])[i] +
              *static_cast<const int64_t*>(args.buffers[2]);
        }
        return absl::OkStatus();
      },
      {out, in, made});
  const int64_t content = 21;
  const WeightData weights[] = {
      {reinterpret_cast<const char*>(&content), 8, nullptr}};
  const auto executor = *maker.Finish({}, weights);
  EXPECT_THAT(*RunOn(*executor, {1}), ElementsAre(43));
  EXPECT_THAT(*RunOn(*executor, {2}), ElementsAre(44));
  EXPECT_EQ(loads, 1);
  // The weight itself is not needed after that.
  EXPECT_EQ(executor->resident_bytes(), 8);
}

TEST(Executor, GivesBackTheMemoryThatOnlyLoadingNeeded) {
  const auto ledger = std::make_shared<MemoryLedger>(100, nullptr);
  ExecutorOptions options;
  options.ledger = ledger;
  ExecutableMaker maker;
  const int out = maker.Buffer(Kind::kOutput);
  const int weight = maker.FixedBuffer(Kind::kWeight, 0, 40);
  const int made = maker.FixedBuffer(Kind::kResident, 0, 16);
  const auto nothing = [](const LaunchArgs&) { return absl::OkStatus(); };
  maker.Launch(nothing, {made, weight}, /*at_load=*/true);
  maker.Launch(nothing, {out, made});
  alignas(64) static char content[40] = {};
  const auto owner = std::make_shared<int>(0);
  const WeightData weights[] = {{content, sizeof(content), owner}};
  auto executor = *maker.Finish(options, weights);
  EXPECT_EQ(executor->resident_bytes(), 16);
  EXPECT_EQ(owner.use_count(), 2) << "the executor still holds the weight";
  EXPECT_FALSE(ledger->Take("fake", 85, "the rest and a byte").ok());
  EXPECT_TRUE(ledger->Take("fake", 84, "the rest").ok());
  // Not a second time at the end.
  executor.reset();
  EXPECT_FALSE(ledger->Take("fake", 17, "what is left and a byte").ok());
  EXPECT_TRUE(ledger->Take("fake", 16, "what is left").ok());
}

TEST(Executor, RefusesAWeightOfTheWrongSize) {
  ExecutableMaker maker;
  maker.FixedBuffer(Kind::kWeight, 0, 8);
  const WeightData weights[] = {{"1234", 4, nullptr}};
  EXPECT_EQ(maker.Finish({}, weights).status().code(),
            absl::StatusCode::kInternal);
}

TEST(Executor, UsesAnAlignedWeightWhereItIs) {
  alignas(64) static char memory[128] = {};
  for (const int offset : {0, 8}) {
    ExecutableMaker maker;
    const int out = maker.Buffer(Kind::kOutput);
    const int weight = maker.FixedBuffer(Kind::kWeight, 0, 8);
    const void* seen = nullptr;
    maker.Launch(
        [&](const LaunchArgs& args) {
          seen = args.buffers[1];
          return absl::OkStatus();
        },
        {out, weight});
    auto owner = std::make_shared<int>(0);
    const WeightData weights[] = {{memory + offset, 8, owner}};
    const auto executor = *maker.Finish({}, weights);
    ASSERT_TRUE(RunOn(*executor, {1}).ok());
    EXPECT_EQ(seen == memory + offset, offset == 0);
    // The executor and the list above hold it, or the list alone.
    EXPECT_EQ(owner.use_count(), offset == 0 ? 3 : 2);
  }
}

TEST(Executor, CopiesWholeBuffers) {
  ExecutableMaker maker;
  const int in = maker.Buffer(Kind::kInput);
  const int middle = maker.Buffer(Kind::kTemporary);
  const int out = maker.Buffer(Kind::kOutput);
  maker.Copy(in, middle);
  maker.Launch(Adds(1), {out, middle});
  const auto executor = *maker.Finish();
  EXPECT_THAT(*RunOn(*executor, {1, 2}), ElementsAre(2, 3));
}

TEST(Executor, UsesAContextAgainAfterAFailedLaunch) {
  ExecutableMaker maker;
  bool fail = true;
  maker.Launch(
      [&](const LaunchArgs&) {
        return fail ? absl::InternalError("broken") : absl::OkStatus();
      },
      {maker.Buffer(Kind::kOutput), maker.Buffer(Kind::kInput)});
  const auto executor = *maker.Finish({.contexts = 1});
  EXPECT_EQ(RunOn(*executor, {1}).status(), absl::InternalError("broken"));
  fail = false;
  EXPECT_TRUE(RunOn(*executor, {1}).ok());
}

TEST(Executor, RecordsOneTimeALaunch) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(RunOn(*executor, {1}).ok());
  for (int kernel = 0; kernel < 3; ++kernel) {
    EXPECT_EQ(executor->KernelTime(kernel).count(), 5);
  }
  executor->ResetStatistics();
  EXPECT_EQ(executor->KernelTime(0).count(), 0);
}

TEST(Executor, TellsTheBytesOfAnArenaWithoutMakingIt) {
  ExecutableMaker maker;
  const auto executor = ThreeSteps(maker);
  const int before = maker.device()->allocations;
  // Two places of 8 bytes an element, rounded up to 64.
  EXPECT_EQ(*executor->ArenaBytes({1}), 2 * 64);
  EXPECT_EQ(*executor->ArenaBytes({100}), 2 * 832);
  EXPECT_EQ(maker.device()->allocations, before);
}

}  // namespace
}  // namespace quern::runtime
