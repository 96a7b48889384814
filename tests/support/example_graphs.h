// SPDX-License-Identifier: Apache-2.0
//
// Small graphs with names: what the structure tests count kernels of and what
// the goldens print. Their weights have fixed content.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "backends/ref/oracle.h"
#include "engine/graph/graph.h"
#include "engine/ir/builder.h"

namespace quern::support {

// Puts a graph together: ports and weights get their slots in the order of the
// calls, everything else is the builder's.
class GraphMaker {
 public:
  ir::Builder& b() { return builder_; }

  ir::Id Input(absl::string_view name, absl::Span<const int64_t> dims,
               ir::DType dtype = ir::DType::kF32,
               absl::string_view device = "");
  // With sizes that may be free.
  ir::Id SizedInput(absl::string_view name, absl::Span<const ir::Id> dims,
                    ir::DType dtype = ir::DType::kF32,
                    absl::string_view device = "");
  // Small multiples of 1/8 that depend on the slot.
  ir::Id Weight(absl::Span<const int64_t> dims);
  void Output(absl::string_view name, ir::Id value);

  // The graph; the builder's error if it has one.
  absl::StatusOr<graph::Graph> Finish();

 private:
  std::vector<ir::Id> Sizes(absl::Span<const int64_t> dims);

  graph::Graph graph_;
  ir::Builder builder_{graph_.arena.get()};
};

// The graph called `name`; kNotFound if there is none.
[[nodiscard]] absl::StatusOr<graph::Graph> ExampleGraph(absl::string_view name);
[[nodiscard]] std::vector<std::string> ExampleNames();

// A tensor of small numbers; of floats multiples of 1/8 in [-4, 4], so that
// short sums of products are exact.
[[nodiscard]] ref::Tensor SmallNumbers(ir::DType dtype,
                                       absl::Span<const int64_t> dims,
                                       uint64_t seed);

// Inputs for `graph` with `size` for each of its free sizes.
[[nodiscard]] std::vector<ref::Tensor> InputsFor(const graph::Graph& graph,
                                                 int64_t size, uint64_t seed);

// Empty if both are of one shape and equal up to `tolerance` times the greater
// of 1 and the value; else what differs first.
[[nodiscard]] std::string Difference(const ref::Tensor& expected,
                                     const ref::Tensor& got, double tolerance);

}  // namespace quern::support
