// SPDX-License-Identifier: Apache-2.0
//
// Every operator test of the ONNX test data that is installed (Debian's
// package libonnx-testdata), against the oracle: none may be wrong.
#include "tests/unit/server/import/onnx/corpus.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string>

#include "gtest/gtest.h"

namespace quern::onnx_import {
namespace {

constexpr char kRoot[] = "/usr/share/libonnx-testdata/data/";

// Tests whose data contradicts their model: inputs of a wrong type, and
// bfloat16 results that were cut off instead of rounded.
constexpr std::array<const char*, 5> kWrongData = {
    "test_cast_FLOAT_to_BFLOAT16",
    "test_castlike_BFLOAT16_to_FLOAT",
    "test_castlike_BFLOAT16_to_FLOAT_expanded",
    "test_castlike_FLOAT_to_BFLOAT16",
    "test_castlike_FLOAT_to_BFLOAT16_expanded",
};

class Corpus : public testing::TestWithParam<const char*> {};

TEST_P(Corpus, AgreesWithTheOracleOrSaysWhatIsNotSupported) {
  const std::vector<std::string> cases =
      CasesBelow(kRoot + std::string(GetParam()));
  if (cases.empty()) {
    GTEST_SKIP() << "libonnx-testdata is not installed";
  }
  int passed = 0;
  for (const std::string& folder : cases) {
    const std::string name = std::filesystem::path(folder).filename();
    if (std::find(kWrongData.begin(), kWrongData.end(), name) !=
        kWrongData.end()) {
      continue;
    }
    const absl::Status status = CheckCase(folder);
    passed += status.ok() ? 1 : 0;
    EXPECT_TRUE(status.ok() ||
                status.code() == absl::StatusCode::kUnimplemented)
        << name << ": " << status;
  }
  // Most of them are supported; a table that lost its rows shows here.
  EXPECT_GE(10 * passed, 3 * static_cast<int>(cases.size()));
  RecordProperty("passed", passed);
  RecordProperty("cases", static_cast<int>(cases.size()));
}

INSTANTIATE_TEST_SUITE_P(Suites, Corpus,
                         testing::Values("node", "pytorch-converted",
                                         "pytorch-operator", "simple"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace quern::onnx_import
