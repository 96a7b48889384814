// SPDX-License-Identifier: Apache-2.0
//
// Re-indexing as compositions of the movement operations: slices, splits,
// padding modes, gathers by element and by coordinate, masks of positions.
//
// Axes may be counted from the end. Sizes are weak integers and may contain
// variables wherever a parameter is an Id. The builder's first error sticks.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

#include "engine/ir/builder.h"

namespace quern::graph {

using ir::Id;

// Shapes.
Id Squeeze(ir::Builder& b, Id x, absl::Span<const int64_t> axes);
Id Unsqueeze(ir::Builder& b, Id x, absl::Span<const int64_t> axes);
Id Transpose(ir::Builder& b, Id x);  // The last two axes.
// `x` seen with axes [0, axis) and [axis, rank) merged; a negative `axis`
// counts from the end.
Id Flatten(ir::Builder& b, Id x, int64_t axis);
// NumPy's broadcast of `x` to `dims`, which may lack axes or have ones.
Id BroadcastTo(ir::Builder& b, Id x, absl::Span<const Id> dims);
Id Tile(ir::Builder& b, Id x, absl::Span<const Id> repeats);

// One axis of a slice: elements begin, begin + step, ... before (step > 0) or
// after (step < 0) end. Negative begins and ends count from the axis' end, and
// are clamped, as in NumPy.
struct SliceAxis {
  int64_t axis = 0;
  Id begin = ir::kNoNode;
  Id end = ir::kNoNode;
  int64_t step = 1;
};
Id Slice(ir::Builder& b, Id x, absl::Span<const SliceAxis> axes);
// Elements of `axis` from begin to before end, which lie in it although that
// cannot be proved; what does not is clamped.
Id SliceWithin(ir::Builder& b, Id x, int64_t axis, Id begin, Id end);
// The part of `axis` from `begin`, `size` elements.
Id Narrow(ir::Builder& b, Id x, int64_t axis, Id begin, Id size);

// Padding. Negative sizes cut off.
enum class PadMode { kConstant, kEdge, kReflect, kWrap };
Id PadWith(ir::Builder& b, Id x, absl::Span<const Id> before,
           absl::Span<const Id> after, PadMode mode, Id value);

// The position along `axis` in a tensor of `rank` axes: [1,..,size,..,1].
Id Positions(ir::Builder& b, Id size, int64_t axis, int rank, ir::DType dtype);

// Indices; negative ones count from the end.
Id Take(ir::Builder& b, Id x, Id indices, int64_t axis);
// result[i] = x[i with indices[i] in place of the coordinate of `axis`].
Id GatherElements(ir::Builder& b, Id x, Id indices, int64_t axis);
// The last axis of `indices` holds coordinates of the axes of `x` after the
// first `batch` ones, which both share.
Id GatherNd(ir::Builder& b, Id x, Id indices, int64_t batch);
// `x` with updates[i] combined into the element that GatherElements with
// `indices` would read. combine: kConst replaces (the last one wins), kAdd,
// kMul, kMax, kMin combine. Costs elements of `axis` times indices.
Id ScatterElements(ir::Builder& b, Id x, Id indices, Id updates, int64_t axis,
                   ir::Op combine);
// `x` with whole slices `updates` at the coordinates in the last axis of
// `indices`; `combine` as above.
Id ScatterNd(ir::Builder& b, Id x, Id indices, Id updates, ir::Op combine);

// [.., depth, ..]: `on` where the position on the new `axis` is the index.
Id OneHot(ir::Builder& b, Id indices, Id depth, int64_t axis, Id off, Id on);
// The upper or lower triangle, from the k-th diagonal on; zeros elsewhere.
Id Triangle(ir::Builder& b, Id x, Id k, bool upper);

// Blocks of depth to space and back, of [batch, channels, height, width].
Id DepthToSpace(ir::Builder& b, Id x, int64_t block, bool column_row_depth);
Id SpaceToDepth(ir::Builder& b, Id x, int64_t block);

}  // namespace quern::graph
