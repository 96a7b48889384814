// SPDX-License-Identifier: Apache-2.0
//
// The text form of nodes of all levels. Parse gives back what ToText printed:
// dumps, goldens, bug reports and fuzz seeds are one format.
//
//   n = var {1,64}
//   %0 = input f32[2,n] {0}
//   %1 = const f32 0.5
//   %2 = expand f32[2,n] %1
//   %3 = add f32[2,n] %0 %2
//   %4 = reduce f32[2] %3 {add,1}
//   %5 = shrink f32[1] %4 [0] {1}
//   return %5
//
// One node a line: op, dtype, shape if it is no scalar, operands, attributes
// (Attr::ints in braces, Attr::text after '@'). Scalar integer arithmetic and
// its conditions stand inside their users, as in "load f32 %0 [r0*32+r1]",
// with ranges called by number and variables by name; what is larger than a
// line bears has a line of its own. An expression is read as it is written,
// not simplified. "//" starts a comment.
//
// The same structure gives the same text, in whatever order it was made.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::ir {

[[nodiscard]] std::string ToText(const Arena& arena,
                                 absl::Span<const Id> roots);

// The roots of `text`, whose nodes are made in `arena`. kInvalidArgument, with
// line and column, if it is no text of this form. What the nodes mean is not
// checked, see verify.h.
[[nodiscard]] absl::StatusOr<std::vector<Id>> Parse(Arena& arena,
                                                    absl::string_view text);

}  // namespace quern::ir
