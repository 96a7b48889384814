// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/budget.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace quern::schedule {
namespace {

using ir::Arena;
using ir::Id;
using ir::Op;

double Bytes(const Arena& arena, Id id) {
  double bytes = static_cast<double>(
      std::max<int64_t>(ir::ByteSize(ir::Strong(arena[id].dtype)), 1));
  for (Id dim : arena.DimsOf(id)) bytes *= EstimateSize(arena, dim);
  return bytes;
}

bool IsRead(const Arena& arena, const Placement& placement, Id id) {
  return arena[id].op == Op::kInput || arena[id].op == Op::kWeight ||
         (id < placement.kind.size() &&
          placement.kind[id] == Placement::Kind::kGlobal);
}

// What computes a value as a graph: its nodes, each after those it is computed
// from, and the buffers it reads, by number.
struct Inside {
  std::vector<Id> nodes;
  absl::flat_hash_map<Id, size_t> buffers;
};

Inside InsideOf(const Arena& arena, const Placement& placement, Id root) {
  Inside inside;
  absl::flat_hash_map<Id, bool> seen;
  // A node with the number of its operands that were looked at.
  std::vector<std::pair<Id, size_t>> open = {{root, 0}};
  seen[root] = true;
  while (!open.empty()) {
    auto& [id, next] = open.back();
    const absl::Span<const Id> srcs = arena[id].srcs;
    if (next == srcs.size()) {
      inside.nodes.push_back(id);
      open.pop_back();
      continue;
    }
    const Id src = srcs[next++];
    if (!seen.try_emplace(src, true).second) continue;
    if (IsRead(arena, placement, src)) {
      inside.buffers.emplace(src, inside.buffers.size());
    } else {
      open.emplace_back(src, 0);
    }
  }
  return inside;
}

bool Costs(const Arena& arena, Id id) {
  return ir::IsElementwise(arena[id].op) || arena[id].op == Op::kReduce ||
         arena[id].op == Op::kGather;
}

}  // namespace

Id ValueToRaise(const Arena& arena, const Placement& placement, Id root,
                Excess excess) {
  const Inside inside = InsideOf(arena, placement, root);
  const auto number_of = [&](Id id) { return inside.buffers.find(id); };
  // For each node, what is read or computed for it: a bit for each buffer, or
  // for each node.
  const size_t bits =
      excess == Excess::kBuffers ? inside.buffers.size() : inside.nodes.size();
  absl::flat_hash_map<Id, std::vector<bool>> with;
  Id best = ir::kNoNode;
  double best_distance = 2;
  double best_bytes = 0;
  for (size_t i = 0; i < inside.nodes.size(); ++i) {
    const Id id = inside.nodes[i];
    std::vector<bool>& mine = with[id];
    mine.assign(bits, false);
    if (excess == Excess::kOperations) mine[i] = Costs(arena, id);
    for (Id src : arena[id].srcs) {
      if (const auto buffer = number_of(src); buffer != inside.buffers.end()) {
        if (excess == Excess::kBuffers) mine[buffer->second] = true;
      } else if (const auto below = with.find(src); below != with.end()) {
        for (size_t bit = 0; bit < bits; ++bit) {
          if (below->second[bit]) mine[bit] = true;
        }
      }
    }
    // Only what is computed is worth a buffer.
    if (id == root || !Costs(arena, id)) continue;
    const double count =
        static_cast<double>(std::count(mine.begin(), mine.end(), true));
    if (count < 2) continue;
    const double half = static_cast<double>(bits) / 2;
    // Within the quarters all are equally good.
    const double distance =
        std::max(0.5, std::abs(count - half) / std::max(half, 1.));
    const double bytes = Bytes(arena, id);
    if (distance < best_distance ||
        (distance == best_distance && bytes < best_bytes)) {
      best = id;
      best_distance = distance;
      best_bytes = bytes;
    }
  }
  return best;
}

}  // namespace quern::schedule
