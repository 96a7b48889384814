// SPDX-License-Identifier: Apache-2.0
#include "engine/canary.h"

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "engine/kernel/linear.h"

namespace quern {
namespace {

using ir::DType;
using ir::Op;

constexpr int kChunks = 64;

// out[i] = in[i] * 2 + 1 in chunk i.
kernel::Program CanaryProgram() {
  kernel::Program program;
  program.name = "canary";
  program.params = {{DType::kF32, true}, {DType::kF32, false}};
  const auto put = [&](Op op, DType dtype, std::vector<int32_t> srcs,
                       int64_t imm = 0) {
    kernel::Instruction at;
    at.op = op;
    at.dtype = dtype;
    at.lanes = 1;
    at.imm = imm;
    at.srcs = std::move(srcs);
    program.code.push_back(std::move(at));
    return static_cast<int32_t>(program.code.size()) - 1;
  };
  const auto number = [&](double value) {
    return put(Op::kConst, DType::kF32, {}, std::bit_cast<int64_t>(value));
  };
  const int32_t out = put(Op::kParam, DType::kF32, {}, 0);
  const int32_t in = put(Op::kParam, DType::kF32, {}, 1);
  const int32_t chunk = put(Op::kGrid, DType::kI64, {});
  const int32_t x = put(Op::kLoad, DType::kF32, {in, chunk});
  const int32_t twice = put(Op::kMul, DType::kF32, {x, number(2)});
  const int32_t sum = put(Op::kAdd, DType::kF32, {twice, number(1)});
  put(Op::kStore, DType::kF32, {out, chunk, sum});
  return program;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Canary>> Canary::Make(
    runtime::Device* device, const runtime::Codegen& codegen,
    const std::function<absl::StatusOr<std::string>(
        const runtime::KernelSource& source)>& assemble) {
  const kernel::Program program = CanaryProgram();
  QUERN_RETURN_IF_ERROR(kernel::Verify(program));
  QUERN_ASSIGN_OR_RETURN(std::string text,
                         codegen.Render(program, device->target()));
  QUERN_ASSIGN_OR_RETURN(const std::string blob,
                         assemble({program.name, std::move(text)}));
  std::unique_ptr<Canary> canary(new Canary(device));
  QUERN_ASSIGN_OR_RETURN(canary->kernel_, device->Load(program.name, blob));
  base::MutexLock lock(&canary->mutex_);
  canary->numbers_.resize(kChunks);
  QUERN_ASSIGN_OR_RETURN(canary->in_,
                         device->Allocate(kChunks * sizeof(float)));
  QUERN_ASSIGN_OR_RETURN(canary->out_,
                         device->Allocate(kChunks * sizeof(float)));
  return canary;
}

absl::Status Canary::Run() {
  base::MutexLock lock(&mutex_);
  const float base = static_cast<float>(++turn_ % 1000);
  const size_t bytes = numbers_.size() * sizeof(float);
  for (int i = 0; i < kChunks; ++i) numbers_[i] = base + static_cast<float>(i);
  QUERN_RETURN_IF_ERROR(
      device_.CopyFromHost(in_->host(), numbers_.data(), bytes));
  void* const buffers[] = {out_->host(), in_->host()};
  runtime::LaunchArgs args;
  args.buffers = buffers;
  args.grid = kChunks;
  QUERN_RETURN_IF_ERROR(device_.Launch(*kernel_, args));
  QUERN_RETURN_IF_ERROR(
      device_.CopyToHost(numbers_.data(), out_->host(), bytes));
  for (int i = 0; i < kChunks; ++i) {
    const float want = (base + static_cast<float>(i)) * 2 + 1;
    if (numbers_[i] != want) {
      return absl::InternalError(absl::StrCat(
          "element ", i, " is ", numbers_[i], ", expected ", want));
    }
  }
  return absl::OkStatus();
}

}  // namespace quern
