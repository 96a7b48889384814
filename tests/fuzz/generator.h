// SPDX-License-Identifier: Apache-2.0
//
// Random graphs at tensor level for the fuzzer and for round-trip tests.
//
// A case is text: the graph in its text form under a line of comment with the
// seed of its data and the values of its variables. So a generated case, a
// shrunk one and a file to replay are one and the same thing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "backends/ref/oracle.h"
#include "engine/graph/graph.h"

namespace quern::fuzz {

struct GeneratorOptions {
  int max_nodes = 40;
  int64_t max_elements = 4096;  // Of each tensor.
};

// The text of a random case; the same for the same seed, on any machine.
[[nodiscard]] std::string GenerateCase(uint64_t seed,
                                       const GeneratorOptions& options = {});

// A graph with content for its weights and inputs.
struct Case {
  uint64_t seed = 0;  // Of the content.
  std::map<std::string, int64_t> variables;
  graph::Graph graph;
  std::vector<ref::Tensor> inputs;
};

// The case that a text describes; kInvalidArgument if it describes none.
[[nodiscard]] absl::StatusOr<Case> ParseCase(absl::string_view text);

// The text of a case, or of its graph with other outputs.
[[nodiscard]] std::string CaseText(const Case& fuzz_case,
                                   absl::Span<const ir::Id> outputs);

}  // namespace quern::fuzz
