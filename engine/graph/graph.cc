// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/graph.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"

namespace quern::graph {
namespace {

// Adds the variables below `roots`, dimensions included, to `vars`.
void CollectVars(const ir::Arena& arena, absl::Span<const ir::Id> roots,
                 absl::flat_hash_set<ir::Id>& vars) {
  std::vector<ir::Id> work(roots.begin(), roots.end());
  absl::flat_hash_set<ir::Id> seen(roots.begin(), roots.end());
  while (!work.empty()) {
    const ir::Id id = work.back();
    work.pop_back();
    const ir::Node& node = arena[id];
    if (node.op == ir::Op::kVar) vars.insert(id);
    for (ir::Id src : node.srcs) {
      if (seen.insert(src).second) work.push_back(src);
    }
    for (ir::Id dim : arena.Dims(node.shape)) {
      if (seen.insert(dim).second) work.push_back(dim);
    }
  }
}

absl::Status CheckWeight(const Weight& weight) {
  int64_t bytes = ir::ByteSize(weight.dtype);
  for (int64_t dim : weight.dims) {
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weight ", base::Quoted(weight.name), " has an impossible shape"));
    }
  }
  if (bytes != static_cast<int64_t>(weight.data.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("weight ", base::Quoted(weight.name), " has ",
                     weight.data.size(), " bytes, its shape needs ", bytes));
  }
  return absl::OkStatus();
}

}  // namespace

Bytes::Bytes(std::string data) {
  auto owner = std::make_shared<const std::string>(std::move(data));
  data_ = owner->data();
  size_ = owner->size();
  owner_ = std::move(owner);
}

absl::Status Validate(const Graph& graph) {
  const ir::Arena& arena = *graph.arena;
  std::vector<ir::Id> roots;
  for (const Port& port : graph.outputs) {
    if (port.node == ir::kNoNode || port.node >= arena.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("output ", base::Quoted(port.name), " has no value"));
    }
    if (ir::IsWeak(arena[port.node].dtype)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "output ", base::Quoted(port.name), " has the weak dtype ",
          ir::Name(arena[port.node].dtype), ", cast it to a strong one"));
    }
    roots.push_back(port.node);
  }
  if (roots.empty()) {
    return absl::InvalidArgumentError("the graph has no outputs");
  }
  for (const Weight& weight : graph.weights) {
    QUERN_RETURN_IF_ERROR(CheckWeight(weight));
  }
  for (ir::Id id : ir::TopologicalOrder(arena, roots)) {
    const ir::Node& node = arena[id];
    if (node.op != ir::Op::kInput && node.op != ir::Op::kWeight) continue;
    const size_t limit =
        node.op == ir::Op::kInput ? graph.inputs.size() : graph.weights.size();
    if (static_cast<size_t>(node.attr->ints[0]) >= limit) {
      return absl::InvalidArgumentError(absl::StrCat(
          ir::Name(node.op), " slot ", node.attr->ints[0], " of ", limit));
    }
  }
  absl::flat_hash_set<ir::Id> used;
  absl::flat_hash_set<ir::Id> given;
  CollectVars(arena, roots, used);
  for (const Port& port : graph.inputs) {
    for (ir::Id dim : port.dims) {
      if (arena[dim].op == ir::Op::kVar) given.insert(dim);
    }
  }
  for (ir::Id var : used) {
    if (!given.contains(var)) {
      return absl::InvalidArgumentError(
          absl::StrCat("variable ", base::Quoted(arena[var].attr->text),
                       " is no dimension of any input"));
    }
  }
  return absl::OkStatus();
}

}  // namespace quern::graph
