// SPDX-License-Identifier: Apache-2.0
#include "engine/base/target.h"

#include <functional>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace quern::base {
namespace {

TEST(Target, EqualTargetsHaveEqualTexts) {
  EXPECT_EQ(Target().ToString(), Target().ToString());
}

// A field that the text leaves out would let two targets share a blob.
TEST(Target, EveryFieldIsInItsText) {
  const std::function<void(Target&)> changes[] = {
      [](Target& t) { t.backend = "x"; },
      [](Target& t) { t.isa = "x"; },
      [](Target& t) { t.interpreted = true; },
      [](Target& t) { t.vector_bytes = 64; },
      [](Target& t) { t.vector_registers = 32; },
      [](Target& t) { t.masked_vectors = true; },
      [](Target& t) { t.fused_multiply_add = true; },
      [](Target& t) { t.f16_conversion = true; },
      [](Target& t) { t.l1_bytes = 1; },
      [](Target& t) { t.l2_bytes = 1; },
      [](Target& t) { t.l3_bytes = 1; },
      [](Target& t) { t.max_arguments = 1; },
      [](Target& t) { t.max_table_bytes = 1; },
      [](Target& t) { t.max_scratch_bytes = 1; },
      [](Target& t) { t.max_operations = 1; },
      [](Target& t) { t.max_live_vectors = 1; },
      [](Target& t) { t.peak_flops = 1; },
      [](Target& t) { t.read_bandwidth = 1; },
  };
  std::set<std::string> texts = {Target().ToString()};
  for (const auto& change : changes) {
    Target target;
    change(target);
    EXPECT_TRUE(texts.insert(target.ToString()).second) << target.ToString();
  }
}

TEST(Target, MeasurementsThatDifferByFivePercentHaveDifferentTexts) {
  Target a;
  Target b;
  a.peak_flops = 117.2e9;
  b.peak_flops = 117.2e9 * 1.05;
  EXPECT_NE(a.ToString(), b.ToString());
}

}  // namespace
}  // namespace quern::base
