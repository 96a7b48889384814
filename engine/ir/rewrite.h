// SPDX-License-Identifier: Apache-2.0
//
// Rewrites graphs by tables of rules.
//
// A rule looks at one node, whose operands are already final, and gives the
// node that replaces it, or kNoNode when it does not match. Rules are tried in
// the order of the table; what one makes is looked at again, until no rule
// matches. So a pass is its table, and the order of nodes does not matter.
//
// Dimensions of shapes are not rewritten. Not thread-safe, as the arena.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::ir {

struct Rule {
  const char* name;  // The algebra, for traces: "x*1 -> x".
  Op op;             // The nodes that it looks at.
  Id (*apply)(Arena& arena, Id id);
};

// One application of a rule.
struct RewriteStep {
  const char* rule = nullptr;
  Id before = kNoNode;
  Id after = kNoNode;
};

struct RewriteOptions {
  // Applications of rules to one node and to what they made of it.
  int fuel = 64;
  // Where to append each step, in order; null: nowhere.
  std::vector<RewriteStep>* trace = nullptr;
};

// What `roots` become. kInternal, with the names of the rules that were
// applied last, when rules run in a circle or out of fuel.
[[nodiscard]] absl::StatusOr<std::vector<Id>> Rewrite(
    Arena& arena, absl::Span<const Id> roots, absl::Span<const Rule> rules,
    const RewriteOptions& options = {});

}  // namespace quern::ir
