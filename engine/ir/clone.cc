// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/clone.h"

namespace quern::ir {

std::vector<Id> Clone(Arena& into, const Arena& from,
                      absl::Span<const Id> roots,
                      const absl::flat_hash_map<Id, int64_t>& sizes) {
  // Dimensions are made before the tensors that have them, so one walk down
  // the ids finds everything and one walk up copies it.
  std::vector<bool> wanted(from.size(), false);
  for (Id root : roots) wanted[root] = true;
  for (Id id = static_cast<Id>(from.size()); id-- > 0;) {
    if (!wanted[id]) continue;
    for (Id src : from[id].srcs) wanted[src] = true;
    for (Id dim : from.Dims(from[id].shape)) wanted[dim] = true;
  }
  std::vector<Id> copy(from.size(), kNoNode);
  std::vector<Id> srcs;
  std::vector<Id> dims;
  for (Id id = 0; id < from.size(); ++id) {
    if (!wanted[id]) continue;
    const Node& node = from[id];
    const auto size = sizes.find(id);
    if (size != sizes.end()) {
      copy[id] = into.Int(size->second);
      continue;
    }
    srcs.clear();
    dims.clear();
    for (Id src : node.srcs) srcs.push_back(copy[src]);
    for (Id dim : from.Dims(node.shape)) dims.push_back(copy[dim]);
    copy[id] = IsSymbolic(from, id)
                   ? Simplified(into, node.op, srcs)
                   : into.Make(node.op, node.dtype, srcs, *node.attr,
                               into.MakeShape(dims));
  }
  std::vector<Id> out;
  out.reserve(roots.size());
  for (Id root : roots) out.push_back(copy[root]);
  return out;
}

}  // namespace quern::ir
