// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/estimate.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_set.h"

#include "engine/ir/symbolic.h"
#include "engine/kernel/opts.h"

namespace quern::kernel {

using ir::Id;
using ir::Op;

ProgramCost Measure(const Program& program) {
  ProgramCost cost;
  std::vector<bool> live(program.code.size(), false);
  int64_t now = 0;
  for (size_t i = program.code.size(); i-- > 0;) {
    const Instruction& at = program.code[i];
    if (at.op != Op::kConst && at.op != Op::kParam && at.op != Op::kVar &&
        at.op != Op::kGet && at.op != Op::kSet) {
      ++cost.operations;
    }
    if (live[i]) {
      live[i] = false;
      now -= at.lanes > 1 ? 1 : 0;
    }
    for (int32_t src : at.srcs) {
      const Instruction& used = program.code[src];
      // Constants live in memory; a Get is its register.
      if (live[src] || used.op == Op::kConst || used.op == Op::kGet) continue;
      live[src] = true;
      now += used.lanes > 1 ? 1 : 0;
    }
    cost.live_vectors = std::max(cost.live_vectors, now);
  }
  return cost;
}

Id Operations(ir::Arena& arena, Id body) {
  // Nodes that only compute positions are not counted.
  absl::flat_hash_set<Id> values;
  std::vector<Id> work;
  const auto visit = [&](Id id) {
    if (values.insert(id).second) work.push_back(id);
  };
  const ir::Node sink = arena[body];
  for (int64_t i = 0; i < sink.attr->ints[0]; ++i) {
    visit(arena[sink.srcs[i]].srcs[2]);
  }
  while (!work.empty()) {
    const Id id = work.back();
    work.pop_back();
    const ir::Node node = arena[id];
    if (node.op == Op::kLoad) {
      if (arena[node.srcs[0]].op == Op::kStage) visit(node.srcs[0]);
    } else if (node.op == Op::kReduce || node.op == Op::kStage) {
      visit(node.srcs[0]);
    } else if (ir::IsElementwise(node.op) &&
               node.dtype != ir::DType::kWeakInt) {
      for (Id src : node.srcs) visit(src);
    }
  }
  std::vector<Id> order(values.begin(), values.end());
  std::sort(order.begin(), order.end());
  Id total = arena.Int(0);
  for (Id id : order) {
    const ir::Node node = arena[id];
    const bool counts = (ir::IsElementwise(node.op) && node.op != Op::kCast) ||
                        node.op == Op::kReduce;
    if (!counts || ir::IsSymbolic(arena, id)) continue;
    Id points = arena.Int(1);
    for (Id range :
         FreeRanges(arena, node.op == Op::kReduce ? node.srcs[0] : id)) {
      points = ir::Mul(arena, points, arena[range].srcs[0]);
    }
    total = ir::Add(arena, total, points);
  }
  return total;
}

}  // namespace quern::kernel
