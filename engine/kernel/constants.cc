// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/constants.h"

#include <algorithm>
#include <vector>

#include "engine/kernel/opts.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::Node;
using ir::Op;
using ir::RangeKind;

bool Has(const std::vector<Id>& list, Id id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

// The extent if it is short enough to be unrolled, else 0.
int64_t ShortExtent(const Arena& arena, Id range) {
  const Id extent = arena[range].srcs[0];
  if (KindOf(arena, range) != RangeKind::kSerial || !arena.IsConst(extent)) {
    return 0;
  }
  const int64_t value = arena.IntValue(extent);
  return value <= kMaxConstantAxis ? value : 0;
}

// The ranges that loads of constant arrays want unrolled, array by array.
std::vector<Id> Wanted(const Arena& arena, Id body) {
  const std::vector<Id> nodes =
      ir::TopologicalOrder(arena, absl::MakeConstSpan(&body, 1));
  // A tile is filled once for all copies, so it must not depend on them.
  std::vector<Id> under_tiles;
  for (Id id : nodes) {
    if (arena[id].op != Op::kStage) continue;
    const std::vector<Id> free = FreeRanges(arena, id);
    under_tiles.insert(under_tiles.end(), free.begin(), free.end());
  }
  std::vector<Id> wanted;
  int64_t copies = 1;
  for (Id id : nodes) {
    const Node& node = arena[id];
    if (node.op != Op::kLoad || arena[node.srcs[0]].op != Op::kConstArray) {
      continue;
    }
    std::vector<Id> more;
    int64_t product = copies;
    bool possible = true;
    for (Id range : FreeRanges(arena, node.srcs[1])) {
      if (Has(wanted, range)) continue;
      const int64_t extent = ShortExtent(arena, range);
      possible &= extent > 0 && !Has(under_tiles, range);
      product *= std::max<int64_t>(extent, 1);
      if (product > kMaxConstantCopies) possible = false;
      if (!possible) break;
      more.push_back(range);
    }
    if (!possible) continue;
    copies = product;
    wanted.insert(wanted.end(), more.begin(), more.end());
  }
  return wanted;
}

}  // namespace

Id UnrollConstantAxes(Arena& arena, Id body) {
  std::vector<Id> wanted = Wanted(arena, body);
  for (Id range : wanted) {
    body = Relabel(arena, body, range, RangeKind::kUnroll).body;
  }
  if (wanted.empty()) return body;
  std::vector<Id> ranges = StoreRanges(arena, body);
  std::stable_partition(ranges.begin(), ranges.end(), [&](Id range) {
    return KindOf(arena, range) == RangeKind::kSerial;
  });
  return Reorder(arena, body, ranges);
}

}  // namespace quern::kernel
