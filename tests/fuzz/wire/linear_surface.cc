// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"

#include "engine/kernel/linear.h"
#include "tests/fuzz/wire/compiled_seeds.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

// What was read is printed, and that is read as the same.
void Read(absl::string_view bytes) {
  const absl::StatusOr<kernel::Program> program = kernel::ParseProgram(bytes);
  ExpectNoFault(program.status());
  if (!program.ok()) return;
  const bool sound = kernel::Verify(*program).ok();
  const std::string text = kernel::ToText(*program);
  const absl::StatusOr<kernel::Program> again = kernel::ParseProgram(text);
  Expect(again.ok() || !sound,
         absl::StrCat("that the text parses back: ", again.status().ToString(),
                      "\n", text));
  Expect(!again.ok() || !sound || *again == *program,
         absl::StrCat("the same program again:\n", text, "got\n",
                      kernel::ToText(*again)));
}

std::vector<Seed> Seeds() {
  std::vector<Seed> seeds;
  for (const CompiledGraph& compiled : CompiledSeeds()) {
    for (const KernelPlan& kernel : compiled.kernels) {
      seeds.push_back({kernel.name, kernel.linear_text});
    }
  }
  return seeds;
}

}  // namespace

Surface LinearSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedBytes};
}

}  // namespace quern::fuzz
