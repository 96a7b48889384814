// SPDX-License-Identifier: Apache-2.0
#include "engine/calibrate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "engine/base/status_macros.h"
#include "engine/kernel/linear.h"
#include "engine/telemetry/distribution.h"

namespace quern {
namespace {

using ir::DType;
using ir::Op;
using kernel::Instruction;
using kernel::Program;

// Independent sums: enough to hide the latency of a multiply-add on any CPU
// with two units of latency four, and few enough to stay in registers.
constexpr int kSums = 12;
constexpr int64_t kSureAfterNs = 40'000'000;
constexpr int64_t kLongestNs = 400'000'000;
constexpr int kLaunchesOfCheck = 8;
constexpr double kMoreThanNoise = 1.08;

// Appends an instruction; its position.
int Put(Program& program, Op op, DType dtype, int lanes,
        std::vector<int32_t> srcs, int64_t imm = 0) {
  Instruction at;
  at.op = op;
  at.dtype = dtype;
  at.lanes = static_cast<uint16_t>(lanes);
  at.imm = imm;
  at.srcs = std::move(srcs);
  program.code.push_back(std::move(at));
  return static_cast<int>(program.code.size()) - 1;
}

int Float(Program& program, int lanes, double value) {
  return Put(program, Op::kConst, DType::kF32, lanes, {},
             std::bit_cast<int64_t>(value));
}

// Registers kSums vectors, runs `step` on each in a loop of `count` turns, and
// stores their sum at the chunk's place in param 0.
template <typename Step>
void SumsInLoop(Program& program, int lanes, int first, int limit, int by,
                Step step) {
  const int zero = Float(program, lanes, 0);
  std::vector<int> sums;
  for (int i = 0; i < kSums; ++i) {
    sums.push_back(Put(program, Op::kRegister, DType::kF32, lanes, {zero}));
  }
  const int loop = Put(program, Op::kLoop, DType::kI64, 1, {first, limit}, by);
  for (int i = 0; i < kSums; ++i) {
    const int old = Put(program, Op::kGet, DType::kF32, lanes, {sums[i]});
    Put(program, Op::kSet, DType::kF32, lanes, {sums[i], step(i, loop, old)});
  }
  Put(program, Op::kEndLoop, DType::kI64, 1, {loop});
  int total = -1;
  for (int sum : sums) {
    const int value = Put(program, Op::kGet, DType::kF32, lanes, {sum});
    total = total < 0
                ? value
                : Put(program, Op::kAdd, DType::kF32, lanes, {total, value});
  }
  if (lanes > 1) {
    total = Put(program, Op::kReduceLanes, DType::kF32, 1, {total},
                static_cast<int64_t>(Op::kAdd));
  }
  const int out = Put(program, Op::kParam, DType::kF32, 1, {}, 0);
  const int chunk = Put(program, Op::kGrid, DType::kI64, 1, {});
  Put(program, Op::kStore, DType::kF32, 1, {out, chunk, total});
}

int LanesOf(const base::Target& target) {
  return std::max(target.vector_bytes / 4, 1);
}

// Multiply-adds on registers: kSums * lanes in each of vars[0] turns.
Program FlopsProgram(const base::Target& target) {
  Program program;
  program.name = "calibrate_flops";
  program.params = {{DType::kF32, true}};
  program.num_vars = 1;
  const int lanes = LanesOf(target);
  const int factor = Float(program, lanes, 0.5);
  const int addend = Float(program, lanes, 1.0);
  const int first = Put(program, Op::kConst, DType::kI64, 1, {}, 0);
  const int turns = Put(program, Op::kVar, DType::kI64, 1, {}, 0);
  SumsInLoop(program, lanes, first, turns, 1, [&](int, int, int old) {
    if (target.fused_multiply_add) {
      return Put(program, Op::kFma, DType::kF32, lanes, {old, factor, addend});
    }
    const int product =
        Put(program, Op::kMul, DType::kF32, lanes, {old, factor});
    return Put(program, Op::kAdd, DType::kF32, lanes, {product, addend});
  });
  return program;
}

// Each chunk adds up kSums parts of param 1, of vars[0] elements each, vars[1]
// times over. The sums read a part each, in ascending order: LLVM turns a row
// of loads from neighbouring lines around, and then no prefetcher of a
// processor follows.
Program ReadProgram(const base::Target& target) {
  Program program;
  program.name = "calibrate_read";
  program.params = {{DType::kF32, true}, {DType::kF32, false}};
  program.num_vars = 2;
  const int lanes = LanesOf(target);
  const int chunk = Put(program, Op::kGrid, DType::kI64, 1, {});
  const int count = Put(program, Op::kVar, DType::kI64, 1, {}, 0);
  const int turns = Put(program, Op::kVar, DType::kI64, 1, {}, 1);
  const int data = Put(program, Op::kParam, DType::kF32, 1, {}, 1);
  const int zero = Put(program, Op::kConst, DType::kI64, 1, {}, 0);
  const int parts = Put(program, Op::kConst, DType::kI64, 1, {}, kSums);
  int part = Put(program, Op::kMul, DType::kI64, 1, {chunk, parts});
  part = Put(program, Op::kMul, DType::kI64, 1, {part, count});
  std::vector<int> firsts;
  for (int i = 0; i < kSums; ++i) {
    firsts.push_back(part);
    part = Put(program, Op::kAdd, DType::kI64, 1, {part, count});
  }
  const int again = Put(program, Op::kLoop, DType::kI64, 1, {zero, turns}, 1);
  SumsInLoop(program, lanes, zero, count, lanes, [&](int i, int loop, int old) {
    const int at = Put(program, Op::kAdd, DType::kI64, 1, {loop, firsts[i]});
    const int value = Put(program, Op::kLoad, DType::kF32, lanes, {data, at});
    return Put(program, Op::kAdd, DType::kF32, lanes, {old, value});
  });
  Put(program, Op::kEndLoop, DType::kI64, 1, {again});
  return program;
}

absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> Build(
    runtime::Device& device, const runtime::Codegen& codegen,
    const Program& program, const Assembling& assemble = nullptr) {
  QUERN_RETURN_IF_ERROR(kernel::Verify(program));
  QUERN_ASSIGN_OR_RETURN(std::string text,
                         codegen.Render(program, device.target()));
  const runtime::KernelSource source = {program.name, std::move(text)};
  QUERN_ASSIGN_OR_RETURN(const std::string blob,
                         assemble != nullptr
                             ? assemble(source)
                             : codegen.Assemble(source, device.target()));
  return device.Load(program.name, blob);
}

// Several for each thread, so that all of them have work to the end.
int64_t ChunksOf(const runtime::Device& device) {
  return int64_t{4} * std::max(device.threads(), 1);
}

// Work in a second of the fastest launch, when for a while none was faster:
// threads wake, clocks rise, and what else the machine does comes to an end.
absl::StatusOr<double> Best(Yardstick& yardstick) {
  int64_t best = INT64_MAX;
  const int64_t begin = telemetry::Clock::NowNs();
  int64_t found = begin;
  for (int64_t now = begin;
       now - found < kSureAfterNs && now - begin < kLongestNs;) {
    QUERN_RETURN_IF_ERROR(yardstick.Launch());
    const int64_t end = telemetry::Clock::NowNs();
    if (end - now < best - best / 100) found = end;
    best = std::min(best, end - now);
    now = end;
  }
  return yardstick.work() / static_cast<double>(std::max<int64_t>(best, 1)) *
         1e9;
}

double InSteps(double value) {
  return value <= 0
             ? 0
             : std::pow(1.05, std::round(std::log(value) / std::log(1.05)));
}

}  // namespace

double Peaks::LeastSeconds(double operations, double bytes) const {
  double seconds = flops > 0 ? operations / flops : 0;
  for (const Bandwidth& level : read) {
    if (bytes > level.bytes && &level != &read.back()) continue;
    seconds = std::max(seconds, bytes / level.per_second);
    break;
  }
  return seconds;
}

Peaks Peaks::Rounded() const {
  Peaks rounded = *this;
  rounded.flops = InSteps(flops);
  for (Bandwidth& level : rounded.read) {
    level.per_second = InSteps(level.per_second);
  }
  return rounded;
}

std::string Peaks::ToText() const {
  std::string text = absl::StrCat(flops);
  for (const Bandwidth& level : read) {
    absl::StrAppend(&text, " ", level.bytes, " ", level.per_second);
  }
  return text;
}

absl::StatusOr<Peaks> Peaks::FromText(const std::string& text) {
  std::vector<double> numbers;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    double number = 0;
    if (!absl::SimpleAtod(word, &number) || !(number > 0)) {
      return absl::DataLossError("a kept calibration is damaged");
    }
    numbers.push_back(number);
  }
  if (numbers.size() % 2 != 1) {
    return absl::DataLossError("a kept calibration is damaged");
  }
  Peaks peaks;
  peaks.flops = numbers[0];
  for (size_t i = 1; i < numbers.size(); i += 2) {
    peaks.read.push_back({numbers[i], numbers[i + 1]});
  }
  return peaks;
}

absl::StatusOr<std::unique_ptr<Yardstick>> Yardstick::Flops(
    runtime::Device& device, const runtime::Codegen& codegen,
    const Assembling& assemble) {
  auto made = std::unique_ptr<Yardstick>(new Yardstick(device));
  made->chunks_ = ChunksOf(device);
  made->vars_ = {50'000};
  made->work_ = 2.0 * kSums * LanesOf(device.target()) *
                static_cast<double>(made->vars_[0] * made->chunks_);
  QUERN_ASSIGN_OR_RETURN(
      made->kernel_,
      Build(device, codegen, FlopsProgram(device.target()), assemble));
  QUERN_ASSIGN_OR_RETURN(made->sums_, device.Allocate(made->chunks_ * 4));
  return made;
}

absl::StatusOr<std::unique_ptr<Yardstick>> Yardstick::Read(
    runtime::Device& device, const runtime::Codegen& codegen, int64_t bytes) {
  auto made = std::unique_ptr<Yardstick>(new Yardstick(device));
  made->chunks_ = ChunksOf(device);
  const int64_t lanes = LanesOf(device.target());
  const int64_t parts = kSums * made->chunks_;
  const int64_t each = std::max<int64_t>(bytes / 4 / parts / lanes, 1) * lanes;
  const int64_t size = each * parts * 4;
  const int64_t again = std::max<int64_t>(1, (int64_t{32} << 20) / size);
  made->vars_ = {each, again};
  made->work_ = static_cast<double>(size * again);
  QUERN_ASSIGN_OR_RETURN(made->kernel_,
                         Build(device, codegen, ReadProgram(device.target())));
  QUERN_ASSIGN_OR_RETURN(made->sums_, device.Allocate(made->chunks_ * 4));
  QUERN_ASSIGN_OR_RETURN(made->data_, device.Allocate(size));
  // Pages that nobody has written are all the same page of zeros, which stays
  // in the caches.
  const std::vector<float> ones(each, 1.0f);
  char* const to = static_cast<char*>(made->data_->host());
  for (int64_t part = 0; part < parts; ++part) {
    QUERN_RETURN_IF_ERROR(device.CopyFromHost(to + part * each * 4, ones.data(),
                                              ones.size() * 4));
  }
  return made;
}

absl::Status Yardstick::Launch() {
  std::vector<void*> buffers = {sums_->host()};
  if (data_ != nullptr) buffers.push_back(data_->host());
  runtime::LaunchArgs args;
  args.buffers = buffers;
  args.vars = vars_;
  args.grid = chunks_;
  return device_.Launch(*kernel_, args);
}

absl::StatusOr<bool> DoesMoreThan(const Peaks& peaks, runtime::Device& device,
                                  const runtime::Codegen& codegen,
                                  const Assembling& assemble) {
  QUERN_ASSIGN_OR_RETURN(const auto flops,
                         Yardstick::Flops(device, codegen, assemble));
  int64_t best = INT64_MAX;
  for (int i = 0; i < kLaunchesOfCheck; ++i) {
    const int64_t begin = telemetry::Clock::NowNs();
    QUERN_RETURN_IF_ERROR(flops->Launch());
    best = std::min(best, telemetry::Clock::NowNs() - begin);
  }
  return flops->work() * 1e9 >
         peaks.flops * kMoreThanNoise * static_cast<double>(best);
}

absl::StatusOr<Peaks> Calibrate(runtime::Device& device,
                                const runtime::Codegen& codegen) {
  Peaks peaks;
  QUERN_ASSIGN_OR_RETURN(const auto flops, Yardstick::Flops(device, codegen));
  QUERN_ASSIGN_OR_RETURN(peaks.flops, Best(*flops));
  const int64_t sets[] = {
      device.target().l2_bytes / 2 * std::max(device.threads(), 1),
      int64_t{8} << 20, int64_t{64} << 20};
  for (const int64_t bytes : sets) {
    if (!peaks.read.empty() && bytes <= peaks.read.back().bytes) continue;
    QUERN_ASSIGN_OR_RETURN(const auto read,
                           Yardstick::Read(device, codegen, bytes));
    QUERN_ASSIGN_OR_RETURN(const double best, Best(*read));
    peaks.read.push_back({static_cast<double>(bytes), best});
  }
  return peaks;
}

}  // namespace quern
