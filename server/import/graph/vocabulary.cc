// SPDX-License-Identifier: Apache-2.0
#include "server/import/graph/vocabulary.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace quern::graph_import {
namespace {

std::string OperandsText(const Entry& entry) {
  if (entry.greatest_operands < 0) {
    return absl::StrCat(entry.least_operands, " or more");
  }
  if (entry.least_operands == entry.greatest_operands) {
    return absl::StrCat(entry.least_operands);
  }
  return absl::StrCat(entry.least_operands, " to ", entry.greatest_operands);
}

std::string ParametersText(const Entry& entry) {
  std::string out;
  for (const Parameter& parameter : entry.parameters) {
    absl::StrAppend(&out, out.empty() ? "" : ", ", "`", parameter.name, "` (",
                    Name(parameter.type),
                    parameter.optional ? ", may be left out)" : ")");
  }
  return out;
}

}  // namespace

const std::vector<Entry>& Vocabulary() {
  static const std::vector<Entry>* const all = [] {
    auto* entries = new std::vector<Entry>(OperationEntries());
    for (Entry& entry : FunctionEntries()) entries->push_back(std::move(entry));
    for (Entry& entry : *entries) {
      std::sort(entry.parameters.begin(), entry.parameters.end(),
                [](const Parameter& a, const Parameter& b) {
                  return absl::string_view(a.name) < absl::string_view(b.name);
                });
    }
    return entries;
  }();
  return *all;
}

const Entry* FindEntry(absl::string_view op) {
  static const std::map<std::string, const Entry*>* const index = [] {
    auto* map = new std::map<std::string, const Entry*>;
    for (const Entry& entry : Vocabulary()) (*map)[entry.op] = &entry;
    return map;
  }();
  const auto it = index->find(std::string(op));
  return it == index->end() ? nullptr : it->second;
}

std::string VocabularyPage() {
  std::string page =
      "# What the nodes of a graph may be\n\n"
      "Written from the server's own tables; a test compares the two.\n"
      "`Node.op` is an operation's name, or a function's name and version. "
      "The\n"
      "type of a parameter is the field of `Attribute` that holds it. "
      "Operands\n"
      "of elementwise operations broadcast as in NumPy and promote to a "
      "common\n"
      "type. Inputs and weights are not nodes: see `Graph`.\n\n"
      "| op | operands | parameters | meaning |\n"
      "|---|---|---|---|\n";
  for (const Entry& entry : Vocabulary()) {
    absl::StrAppend(&page, "| `", entry.op, "` | ", OperandsText(entry), " | ",
                    ParametersText(entry), " | ", entry.meaning,
                    entry.one_result ? "" : " (several results)", " |\n");
  }
  return page;
}

}  // namespace quern::graph_import
