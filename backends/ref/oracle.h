// SPDX-License-Identifier: Apache-2.0
//
// The oracle: what a graph means, computed from the tensor level alone, in
// float64 and exact integers. Every device is compared with it, so it shares
// nothing with them but the scalar meaning of operations (engine/ir/eval.h).
//
// Meant for tests: it is correct first, yet fast enough for small networks,
// since it never stores a product that only a reduction reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/graph/graph.h"
#include "engine/ir/dtype.h"
#include "engine/ir/eval.h"

namespace quern::ref {

// A tensor of held values (see engine/ir/eval.h), row-major.
struct Tensor {
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> dims;
  std::vector<int64_t> bits;
  friend bool operator==(const Tensor&, const Tensor&) = default;
};

// A tensor of elements as they lie in memory, and back; floats are rounded to
// their dtype. `bytes` must have the elements of `dims`, whose product must
// fit int64: kInvalidArgument if not.
[[nodiscard]] absl::StatusOr<Tensor> TensorOf(ir::DType dtype,
                                              absl::Span<const int64_t> dims,
                                              absl::string_view bytes);
[[nodiscard]] std::string BytesOf(const Tensor& tensor);

struct OracleOptions {
  // kCasts: a float result is a double until a cast rounds it. kAll: every
  // operation rounds to its dtype; reductions round once, at their end.
  ir::Rounding rounding = ir::Rounding::kCasts;
  int64_t max_elements = int64_t{1} << 28;  // Held at once, 8 bytes each.
  int64_t max_work = int64_t{1} << 40;      // Operations on elements.
};

// The outputs of `graph` for `inputs`, one for each of its ports. Variables
// get their values from the dimensions of the inputs.
//
// kInvalidArgument if the inputs do not fit the ports; kResourceExhausted,
// naming the node, over a limit of the options.
[[nodiscard]] absl::StatusOr<std::vector<Tensor>> EvaluateGraph(
    const graph::Graph& graph, absl::Span<const Tensor> inputs,
    const OracleOptions& options = {});

}  // namespace quern::ref
