// SPDX-License-Identifier: Apache-2.0
//
// For tests of the CPU backend: kernels from text, buffers from vectors, and
// the instruction set levels to try.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "backends/cpu/codegen.h"
#include "backends/cpu/cpu_target.h"
#include "backends/cpu/device.h"

namespace quern::cpu {

// Writes the text of a kernel, counting its instructions.
class KernelText {
 public:
  KernelText(const std::string& params, int vars, bool contract = true)
      : text_(absl::StrCat("kernel k contract=", contract ? 1 : 0,
                           " vars=", vars, "\n", params)) {}

  // Adds "head #... %a %b" and returns the position of the instruction.
  template <typename... Srcs>
  int Add(const std::string& head, Srcs... srcs) {
    absl::StrAppend(&text_, "%", count_, " = ", head);
    (absl::StrAppend(&text_, " %", srcs), ...);
    text_ += "\n";
    return count_++;
  }
  int Const(int64_t value) { return Add(absl::StrCat("const #", value)); }

  const std::string& text() const { return text_; }

 private:
  std::string text_;
  int count_ = 0;
};

inline std::string LevelName(IsaLevel level) {
  return level == IsaLevel::kAvx512 ? "avx512"
         : level == IsaLevel::kAvx2 ? "avx2"
                                    : "sse4";
}

// Renders, assembles, loads and launches kernels for one target.
class KernelRunner {
 public:
  explicit KernelRunner(base::Target target)
      : target_(std::move(target)),
        codegen_(MakeCpuCodegen()),
        device_(MakeCpuDevice(target_, {.threads = 1, .spin_us = 0})) {}

  const base::Target& target() const { return target_; }
  const runtime::Codegen& codegen() const { return *codegen_; }
  runtime::Device& device() { return *device_; }

  absl::StatusOr<std::string> Blob(const std::string& program_text) {
    absl::StatusOr<kernel::Program> program =
        kernel::ParseProgram(program_text);
    if (!program.ok()) return program.status();
    absl::StatusOr<std::string> text = codegen_->Render(*program, target_);
    if (!text.ok()) return text.status();
    return codegen_->Assemble({program->name, *text}, target_);
  }

  // Runs the kernel "k" of `program_text`.
  absl::Status Run(const std::string& program_text,
                   const std::vector<void*>& buffers,
                   const std::vector<int64_t>& vars = {}, int64_t grid = 1,
                   int64_t scratch_bytes = 0) {
    absl::StatusOr<std::string> blob = Blob(program_text);
    if (!blob.ok()) return blob.status();
    absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> kernel =
        device_->Load("k", *blob);
    if (!kernel.ok()) return kernel.status();
    return device_->Launch(**kernel, {.buffers = buffers,
                                      .vars = vars,
                                      .grid = grid,
                                      .scratch_bytes = scratch_bytes});
  }

 private:
  const base::Target target_;
  const std::unique_ptr<runtime::Codegen> codegen_;
  const std::unique_ptr<runtime::Device> device_;
};

// A test that runs at each level that this machine has.
class AtEachLevel : public ::testing::TestWithParam<IsaLevel> {
 protected:
  void SetUp() override {
    absl::StatusOr<base::Target> target = DetectTarget(GetParam());
    if (!target.ok()) GTEST_SKIP() << target.status().message();
    runner_ = std::make_unique<KernelRunner>(*std::move(target));
  }
  KernelRunner& runner() { return *runner_; }

 private:
  std::unique_ptr<KernelRunner> runner_;
};

#define QUERN_AT_EACH_LEVEL(suite)                                            \
  INSTANTIATE_TEST_SUITE_P(                                                   \
      Isa, suite,                                                             \
      ::testing::Values(IsaLevel::kAvx512, IsaLevel::kAvx2, IsaLevel::kSse4), \
      [](const auto& info) { return LevelName(info.param); })

}  // namespace quern::cpu
