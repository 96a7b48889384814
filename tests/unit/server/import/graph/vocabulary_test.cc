// SPDX-License-Identifier: Apache-2.0
//
// The page proto/quern/v1/VOCABULARY.md must say what the tables say. Run with
// --update to write it anew.
#include "server/import/graph/vocabulary.h"

#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/ir/op.h"

namespace quern::graph_import {
namespace {

std::string PagePath() { return QUERN_VOCABULARY_PAGE; }

TEST(Vocabulary, ThePageSaysWhatTheTablesSay) {
  std::ifstream file(PagePath());
  std::stringstream page;
  page << file.rdbuf();
  EXPECT_EQ(page.str(), VocabularyPage())
      << "write it anew with graph_vocabulary_test --update";
}

TEST(Vocabulary, HasEveryTensorLevelOperationThatANodeCanBe) {
  // Declared in a graph otherwise than by nodes, or the compiler's own.
  const std::set<std::string> others = {"weight", "input", "var", "stage"};
  for (int i = 0; i < ir::kNumOps; ++i) {
    const ir::OpInfo& info = ir::InfoOf(static_cast<ir::Op>(i));
    const bool below_tensors = info.op_class == ir::OpClass::kLoopStructure ||
                               info.op_class == ir::OpClass::kLinear ||
                               std::string(info.text) == "param";
    if (below_tensors || others.contains(info.text)) {
      EXPECT_EQ(FindEntry(info.text), nullptr) << info.text;
    } else {
      EXPECT_NE(FindEntry(info.text), nullptr) << info.text;
    }
  }
}

TEST(Vocabulary, FunctionsHaveVersionsAndUniqueNames) {
  std::set<std::string> names;
  for (const Entry& entry : Vocabulary()) {
    EXPECT_TRUE(names.insert(entry.op).second) << entry.op;
    EXPECT_NE(entry.build, nullptr) << entry.op;
    EXPECT_FALSE(entry.meaning.empty()) << entry.op;
    if (entry.op.starts_with("quern.")) {
      EXPECT_THAT(entry.op,
                  ::testing::MatchesRegex("quern\\.[a-z0-9_]+@[0-9]"));
    }
  }
}

}  // namespace

int UpdatePage() {
  std::ofstream file(PagePath());
  file << VocabularyPage();
  return file.flush() ? 0 : 1;
}

}  // namespace quern::graph_import

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--update") {
    return quern::graph_import::UpdatePage();
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
