// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/shrink.h"

#include <algorithm>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/ir/builder.h"
#include "engine/ir/node.h"
#include "engine/ir/symbolic.h"
#include "tests/fuzz/generator.h"

namespace quern::fuzz {
namespace {

using ir::Id;

// Texts that are each a step smaller than `fuzz_case`, the boldest first.
std::vector<std::string> Smaller(Case& fuzz_case) {
  ir::Arena& arena = *fuzz_case.graph.arena;
  ir::Builder b(&arena);
  std::vector<Id> outputs;
  for (const graph::Port& port : fuzz_case.graph.outputs) {
    outputs.push_back(port.node);
  }
  std::vector<std::string> texts;
  const auto offer = [&](const std::vector<Id>& roots) {
    texts.push_back(CaseText(fuzz_case, roots));
  };
  // One output alone.
  if (outputs.size() > 1) {
    for (Id output : outputs) offer({output});
  }
  // An operand instead of an output.
  for (size_t i = 0; i < outputs.size(); ++i) {
    const absl::Span<const Id> srcs = arena[outputs[i]].srcs;
    for (Id src : std::vector<Id>(srcs.begin(), srcs.end())) {
      std::vector<Id> roots = outputs;
      roots[i] = b.Cast(src, ir::Strong(arena[src].dtype));
      if (b.ok()) offer(roots);
    }
  }
  // Nodes left out: an operand or a constant stands for them.
  std::vector<Id> order = ir::TopologicalOrder(arena, outputs);
  std::reverse(order.begin(), order.end());
  for (Id id : order) {
    const ir::Node node = arena[id];
    if (node.srcs.empty()) continue;
    std::vector<Id> candidates;
    for (Id src : node.srcs) {
      if (arena[src].shape == node.shape && arena[src].dtype == node.dtype) {
        candidates.push_back(src);
      }
    }
    const std::vector<Id> dims = b.Dims(id);
    const Id one = arena.FloatConst(node.dtype, 1);
    if (!arena.IsConst(id)) candidates.push_back(b.Expand(one, dims));
    for (Id candidate : candidates) {
      if (candidate == ir::kNoNode || candidate == id) continue;
      offer(ir::Substitute(arena, outputs, {{id, candidate}}));
    }
  }
  return texts;
}

}  // namespace

std::string Shrink(absl::string_view text,
                   const std::function<bool(const std::string& text)>& fails,
                   int max_tries) {
  std::string best(text);
  int tries = 0;
  bool found = true;
  while (found) {
    found = false;
    absl::StatusOr<Case> fuzz_case = ParseCase(best);
    if (!fuzz_case.ok()) break;
    for (const std::string& smaller : Smaller(*fuzz_case)) {
      if (smaller.size() >= best.size() || !ParseCase(smaller).ok()) continue;
      if (tries++ >= max_tries) return best;
      if (!fails(smaller)) continue;
      best = smaller;
      found = true;
      break;
    }
  }
  return best;
}

}  // namespace quern::fuzz
