// SPDX-License-Identifier: Apache-2.0
//
// The algebra of sizes and indices: weak-integer nodes kept in a normal form,
// with bounds.
//
// The normal form is a polynomial: a sum of products with integer
// coefficients, in a fixed order (ranges by number, variables by name, the
// rest by structure), the constant last. What is no polynomial (a quotient, a
// remainder, a minimum, a loaded index) is an atom of it. So equal sums are
// equal nodes, and most questions about indices become subtractions.
//
// Values are taken as exact; graphs are refused at import when a size could
// leave int64.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::ir {

struct Bounds {
  int64_t least = INT64_MIN;
  int64_t greatest = INT64_MAX;
};

// Sums, products and so on in normal form. Division and remainder round toward
// zero, as the operations do; they are simplified where the operands are known
// not to be negative.
Id Add(Arena& arena, Id a, Id b);
Id Sub(Arena& arena, Id a, Id b);
Id Mul(Arena& arena, Id a, Id b);
Id IDiv(Arena& arena, Id a, Id b);
Id Mod(Arena& arena, Id a, Id b);
Id Min(Arena& arena, Id a, Id b);
Id Max(Arena& arena, Id a, Id b);
Id Less(Arena& arena, Id a, Id b);   // Bool: a < b.
Id Equal(Arena& arena, Id a, Id b);  // Bool: a == b.
Id And(Arena& arena, Id a, Id b);    // Of bools.
Id Or(Arena& arena, Id a, Id b);     // Of bools.
Id CeilDiv(Arena& arena, Id a, Id b);

// The product of sizes; 1 for none.
Id Product(Arena& arena, absl::Span<const Id> sizes);

// True if a < b, or a == b, whatever the variables and ranges are.
[[nodiscard]] bool ProvablyLess(Arena& arena, Id a, Id b);
[[nodiscard]] bool ProvablyEqual(Arena& arena, Id a, Id b);

// True if the node is scalar integer arithmetic that this algebra keeps in
// normal form (or a comparison of it).
[[nodiscard]] bool IsSymbolic(const Arena& arena, Id id);

// The node `op` over `srcs` in normal form; `op` as in IsSymbolic.
Id Simplified(Arena& arena, Op op, absl::Span<const Id> srcs);

// Bounds of a node that is being made, from its operands.
[[nodiscard]] Bounds BoundsFor(const Arena& arena, const Node& node);

// `index` written as coefficient * variable + rest, where neither part
// contains `variable`. Coefficient kNoNode if `index` is not of that form.
struct Affine {
  Id coefficient = kNoNode;
  Id rest = kNoNode;
};
[[nodiscard]] Affine AffineIn(Arena& arena, Id index, Id variable);

// The terms of a sum in normal form; {id} itself if it is no sum.
[[nodiscard]] std::vector<Id> TermsOf(const Arena& arena, Id id);

// Replaces nodes (keys) by others (values) below `root`, rebuilding users.
using Substitution = absl::flat_hash_map<Id, Id>;
Id Substitute(Arena& arena, Id root, const Substitution& substitution);
// As above for several roots at once, sharing the work.
std::vector<Id> Substitute(Arena& arena, absl::Span<const Id> roots,
                           const Substitution& substitution);

// True if `id` reaches `what`.
[[nodiscard]] bool Contains(const Arena& arena, Id id, Id what);

}  // namespace quern::ir
