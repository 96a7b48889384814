// SPDX-License-Identifier: Apache-2.0
#include "tests/support/model_generator.h"

#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::support {
namespace {

using ::testing::HasSubstr;

uint64_t HashOf(absl::string_view kind, uint64_t seed) {
  const std::string bytes = MakeModel(kind, seed)->SerializeAsString();
  return XXH3_64bits(bytes.data(), bytes.size());
}

TEST(MakeModel, MakesTheSameBytesOnEveryMachine) {
  EXPECT_EQ(HashOf("demo_cnn", 1), 7949695451029274834u);
  EXPECT_EQ(HashOf("mlp", 1), 15399949709033162276u);
}

TEST(MakeModel, TheSeedDecidesTheWeights) {
  EXPECT_NE(HashOf("mlp", 1), HashOf("mlp", 2));
}

TEST(MakeModel, NamesTheKindsItKnows) {
  EXPECT_THAT(std::string(MakeModel("nope", 1).status().message()),
              HasSubstr("demo_cnn, mlp, got nope"));
}

TEST(MakeModel, EveryValueIsDefinedOnceAndBeforeItIsRead) {
  for (const std::string& kind : ModelKinds()) {
    const ::onnx::ModelProto model = *MakeModel(kind, 1);
    std::set<std::string> defined;
    for (const auto& input : model.graph().input()) {
      EXPECT_TRUE(defined.insert(input.name()).second) << input.name();
    }
    for (const auto& tensor : model.graph().initializer()) {
      EXPECT_TRUE(defined.insert(tensor.name()).second) << tensor.name();
    }
    for (const auto& node : model.graph().node()) {
      for (const std::string& input : node.input()) {
        EXPECT_TRUE(defined.contains(input)) << input;
      }
      for (const std::string& output : node.output()) {
        EXPECT_TRUE(defined.insert(output).second) << output;
      }
    }
    EXPECT_TRUE(defined.contains(model.graph().output(0).name()));
  }
}

TEST(MakeModel, WeightsHaveTheDeviationThatHeAskedFor) {
  const ::onnx::ModelProto model = *MakeModel("demo_cnn", 1);
  int checked = 0;
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.dims_size() != 4 || tensor.dims(1) < 32) continue;
    std::vector<float> values(tensor.raw_data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.raw_data().data(),
                tensor.raw_data().size());
    double sum = 0;
    for (float value : values) sum += double{value} * double{value};
    const double fan_in =
        static_cast<double>(tensor.dims(1) * tensor.dims(2) * tensor.dims(3));
    EXPECT_NEAR(sum / static_cast<double>(values.size()) * fan_in / 2, 1, 0.1)
        << tensor.name();
    ++checked;
  }
  EXPECT_EQ(checked, 8);
}

}  // namespace
}  // namespace quern::support
