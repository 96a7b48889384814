// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of schedules: every optimization of a kernel is a sequence of
// these steps on a body (a kSink). Each returns the new body; none changes
// what is computed.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::kernel {

// A range after a split: range = outer * factor + inner.
struct Split {
  ir::Id body = ir::kNoNode;
  ir::Id outer = ir::kNoNode;  // kNoNode if one outer point is left.
  ir::Id inner = ir::kNoNode;
};

// What happens where `factor` does not divide the extent.
enum class Tail : uint8_t {
  kMask,    // Inner points past the end read nothing, write nothing and add
            // nothing to reductions.
  kRepeat,  // The last inner range starts earlier, so that it ends at the
            // end; a range shorter than `factor` repeats its last point. For
            // ranges of stores only: they store the same values again.
  kShort,   // The last inner range is shorter. For serial inner ranges only.
};

// Splits `range`; the inner range has `factor` points and the given kind.
[[nodiscard]] Split SplitRange(ir::Arena& arena, ir::Id body, ir::Id range,
                               int64_t factor, ir::RangeKind inner_kind,
                               Tail tail);

// Splits ranges of the stores where some index holds a quotient or a remainder
// of them, as where phases or blocks are put side by side: what was divided is
// affine in the two parts. Points before the first and past the last read
// nothing and write nothing.
[[nodiscard]] ir::Id SplitQuotients(ir::Arena& arena, ir::Id body);

// Two bodies: one for the points of `range`, a range of the stores, before
// `at`, one for the points from there on.
struct Partition {
  ir::Id first = ir::kNoNode;
  ir::Id first_range = ir::kNoNode;
  ir::Id rest = ir::kNoNode;
  ir::Id rest_range = ir::kNoNode;
};
[[nodiscard]] Partition PartitionRange(ir::Arena& arena, ir::Id body,
                                       ir::Id range, ir::Id at);

// Gives `range` another kind; `result` receives nothing, the new range is
// returned as Split::inner.
[[nodiscard]] Split Relabel(ir::Arena& arena, ir::Id body, ir::Id range,
                            ir::RangeKind kind);

// The same stores with their ranges in the order `ranges` (a permutation).
[[nodiscard]] ir::Id Reorder(ir::Arena& arena, ir::Id body,
                             absl::Span<const ir::Id> ranges);

// The reduction `reduce` with its ranges in the order `ranges` (a
// permutation), from the outside in.
[[nodiscard]] ir::Id ReorderReduction(ir::Arena& arena, ir::Id body,
                                      ir::Id reduce,
                                      absl::Span<const ir::Id> ranges);

// Lets `range` of a sum of products run only where no factor is 0 because its
// gate is false: the padding of a window is skipped rather than added. Gates
// that depend on unrolled copies, on lanes, or on ranges of the reduction
// inside `range` stay. The body is kNoNode if there is nothing to skip;
// otherwise Split::inner is the range that is left.
[[nodiscard]] Split ClipReduction(ir::Arena& arena, ir::Id body, ir::Id reduce,
                                  ir::Id range);

// Computes `value` at all points of `ranges`, of the stores or of a reduction,
// before any of them is used: what used it reads it from a tile.
[[nodiscard]] ir::Id StageBeforeStore(ir::Arena& arena, ir::Id body,
                                      ir::Id value,
                                      absl::Span<const ir::Id> ranges);

// Joins neighbouring ranges of stores, reductions and stages wherever no
// index needs the two apart, and numbers the ranges from 0 in order of use.
[[nodiscard]] ir::Id MergeRanges(ir::Arena& arena, ir::Id body);

// The ranges around the stores, from the outside in.
[[nodiscard]] std::vector<ir::Id> StoreRanges(const ir::Arena& arena,
                                              ir::Id body);
// The ranges of a kReduce or kStage.
[[nodiscard]] std::vector<ir::Id> InnerRanges(const ir::Arena& arena,
                                              ir::Id node);

// The ranges on which the value of `id` depends: those below it that it does
// not close itself. Sorted by id.
[[nodiscard]] std::vector<ir::Id> FreeRanges(const ir::Arena& arena, ir::Id id);

[[nodiscard]] ir::RangeKind KindOf(const ir::Arena& arena, ir::Id range);

}  // namespace quern::kernel
