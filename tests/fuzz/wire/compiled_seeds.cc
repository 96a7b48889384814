// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/wire/compiled_seeds.h"

#include "backends/null/null_backend.h"
#include "tests/fuzz/generator.h"

namespace quern::fuzz {

std::vector<CompiledGraph> CompiledSeeds() {
  constexpr uint64_t kGraphs = 24;
  const std::unique_ptr<runtime::Backend> backend = null::MakeNullBackend();
  std::vector<CompiledGraph> all;
  for (uint64_t seed = 1; seed <= kGraphs; ++seed) {
    const absl::StatusOr<Case> random =
        ParseCase(GenerateCase(seed, {.max_nodes = 12, .max_elements = 256}));
    if (!random.ok()) continue;
    const CompileDevice device = {
        "cpu",
        null::MakeTarget(seed % 2 == 0 ? null::Shape::kAvx2
                                       : null::Shape::kScalar),
        &backend->codegen()};
    base::CompileOptions options;
    options.keep_stages = true;
    auto compiled = Compile(random->graph, options, {&device, 1});
    if (compiled.ok()) all.push_back(*std::move(compiled));
  }
  return all;
}

}  // namespace quern::fuzz
