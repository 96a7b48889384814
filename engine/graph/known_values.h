// SPDX-License-Identifier: Apache-2.0
//
// KnownValues works out the elements of small tensors before anything runs:
// constants, and integers that are expressions of free sizes. Model formats
// compute with shapes as if they were data ("gather axis 0 of the shape, times
// 2, concat, reshape"); this turns such data back into sizes.
//
// Lives beside one arena and remembers what it worked out. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::graph {

// Tensors of more elements are not looked at.
inline constexpr int64_t kMaxKnownElements = 2048;
// After so many elements nothing more is worked out.
inline constexpr int64_t kMaxKnownWork = int64_t{1} << 24;

class KnownValues {
 public:
  // The held bits (as of kConstArray) of a weight slot, or nothing.
  using WeightReader =
      std::function<std::optional<std::vector<int64_t>>(int64_t slot)>;

  // `arena` must outlive this. Without a reader weights are not known.
  explicit KnownValues(ir::Arena* arena, WeightReader read_weight = nullptr)
      : arena_(*arena), read_weight_(std::move(read_weight)) {}

  // The elements of `id` in row-major order, if its sizes are known and few.
  // Integers are weak-integer nodes, bools and floats scalar nodes of their
  // dtype; kNoNode stands for an element that is not known.
  const std::optional<std::vector<ir::Id>>& ElementsOf(ir::Id id);

  // The elements as integers, if every one of them is a known constant.
  std::optional<std::vector<int64_t>> Integers(ir::Id id);
  std::optional<std::vector<double>> Doubles(ir::Id id);
  // The elements as sizes, if every one of them is a known integer.
  std::optional<std::vector<ir::Id>> Sizes(ir::Id id);

 private:
  using Elements = std::optional<std::vector<ir::Id>>;

  Elements Compute(ir::Id id);
  Elements Move(ir::Id id, absl::Span<const int64_t> dims);
  Elements Gathered(ir::Id id, absl::Span<const int64_t> dims);
  Elements Reduced(ir::Id id);
  ir::Id Scalar(ir::Id id, absl::Span<const ir::Id> operands);
  ir::Id Symbolic(ir::Id id, absl::Span<const ir::Id> operands);
  ir::Id Converted(ir::Id id, ir::Id operand);
  ir::Id FromBits(ir::DType dtype, int64_t bits);
  bool Known(ir::Id src) const;

  ir::Arena& arena_;
  WeightReader read_weight_;
  absl::flat_hash_map<ir::Id, Elements> known_;
  int64_t work_ = 0;  // Elements so far.
};

}  // namespace quern::graph
