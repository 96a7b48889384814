// SPDX-License-Identifier: Apache-2.0
//
// The Vocabulary is what the nodes of a submitted graph may be: the engine's
// tensor-level operations, by name, and its compositions, by name and version.
// A function's meaning never changes under its version; another meaning is
// another version.
//
// Immutable; any thread may read it.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "engine/ir/builder.h"
#include "server/import/graph/attributes.h"

namespace quern::graph_import {

// Builds a node's results; errors stick to the builder.
using BuildFunction = std::vector<ir::Id> (*)(ir::Builder& b,
                                              absl::Span<const ir::Id> operands,
                                              const Attributes& attributes);

struct Entry {
  std::string op;  // "add" or "quern.matmul@1".
  std::string meaning;
  int least_operands = 0;
  int greatest_operands = 0;  // -1: no limit.
  bool one_result = true;     // Otherwise a parameter decides.
  std::vector<Parameter> parameters;
  BuildFunction build = nullptr;
};

// All entries: operations in the engine's order, then functions by name.
[[nodiscard]] const std::vector<Entry>& Vocabulary();

// The entry of `op`, or null.
[[nodiscard]] const Entry* FindEntry(absl::string_view op);

// The vocabulary as a page for people, in Markdown.
[[nodiscard]] std::string VocabularyPage();

// The rows that vocabulary.cc joins.
[[nodiscard]] std::vector<Entry> OperationEntries();
[[nodiscard]] std::vector<Entry> FunctionEntries();

}  // namespace quern::graph_import
