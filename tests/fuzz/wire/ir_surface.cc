// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"

#include "engine/ir/text.h"
#include "engine/ir/verify.h"
#include "tests/fuzz/wire/compiled_seeds.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

// What was read is printed, and that is read as the same.
void Read(absl::string_view bytes) {
  ir::Arena arena;
  const auto roots = ir::Parse(arena, bytes);
  ExpectNoFault(roots.status());
  if (!roots.ok()) return;
  const std::string text = ir::ToText(arena, *roots);
  ir::Arena other;
  const auto again = ir::Parse(other, text);
  Expect(again.ok(), absl::StrCat("that the text parses back: ",
                                  again.status().ToString(), "\n", text));
  Expect(ir::ToText(other, *again) == text,
         absl::StrCat("the same text again:\n", text, "got\n",
                      ir::ToText(other, *again)));
  // The verifiers meet whatever the parser lets through.
  static_cast<void>(ir::VerifyTensorLevel(arena, *roots));
  for (const ir::Id root : *roots) {
    static_cast<void>(ir::VerifyKernelLevel(arena, root));
  }
}

std::vector<Seed> Seeds() {
  std::vector<Seed> seeds;
  for (const CompiledGraph& compiled : CompiledSeeds()) {
    const std::string name = absl::StrCat(seeds.size());
    seeds.push_back({absl::StrCat(name, "-graph"), compiled.graph_text});
    for (const KernelPlan& kernel : compiled.kernels) {
      seeds.push_back(
          {absl::StrCat(name, "-", kernel.name), kernel.kernel_text});
    }
  }
  return seeds;
}

}  // namespace

Surface IrSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedBytes};
}

}  // namespace quern::fuzz
