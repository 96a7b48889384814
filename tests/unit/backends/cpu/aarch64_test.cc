// SPDX-License-Identifier: Apache-2.0
//
// Every example graph compiled for AArch64 by the compiler that serves this
// machine.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/codegen.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/cpu_target.h"
#include "engine/base/status_macros.h"
#include "engine/compile.h"
#include "tests/support/example_graphs.h"

namespace quern::cpu {
namespace {

using ::testing::HasSubstr;

// A kernel's name and its machine code.
using Code = std::pair<std::string, std::string>;

absl::StatusOr<std::vector<Code>> CodeOf(const std::string& example) {
  QUERN_ASSIGN_OR_RETURN(const graph::Graph graph,
                         support::ExampleGraph(example));
  const base::Target target = TargetOfLevel(IsaLevel::kNeon);
  const auto backend = MakeCpuBackend();
  const CompileDevice devices[] = {{"cpu", target, &backend->codegen()}};
  QUERN_ASSIGN_OR_RETURN(const CompiledGraph compiled,
                         Compile(graph, {}, devices));
  std::vector<Code> code;
  for (const KernelPlan& kernel : compiled.kernels) {
    QUERN_ASSIGN_OR_RETURN(const std::string blob,
                           backend->codegen().Assemble(kernel.source, target));
    QUERN_ASSIGN_OR_RETURN(std::string text,
                           backend->codegen().Disassemble(blob, target));
    code.emplace_back(kernel.name, std::move(text));
  }
  return code;
}

int Count(const std::string& code, absl::string_view what) {
  int count = 0;
  for (absl::string_view line : absl::StrSplit(code, '\n')) {
    if (absl::StrContains(line, what)) ++count;
  }
  return count;
}

TEST(Aarch64, TakesEveryExample) {
  for (const std::string& example : support::ExampleNames()) {
    const auto code = CodeOf(example);
    ASSERT_TRUE(code.ok()) << example << ": " << code.status();
    for (const auto& [name, text] : *code) {
      EXPECT_THAT(text, HasSubstr("ret")) << example << " " << name;
      EXPECT_EQ(Count(text, "(bad)"), 0) << example << " " << name;
    }
  }
}

TEST(Aarch64, MultipliesAndAddsVectorsAtOnce) {
  for (const char* example : {"matmul_bias_gelu", "conv_bias_relu"}) {
    const auto code = CodeOf(example);
    ASSERT_TRUE(code.ok()) << code.status();
    int steps = 0;
    for (const auto& [name, text] : *code) steps += Count(text, "fmla\tv");
    EXPECT_GE(steps, 16) << example;
  }
}

}  // namespace
}  // namespace quern::cpu
