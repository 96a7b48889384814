// SPDX-License-Identifier: Apache-2.0
#include "engine/base/check.h"

#include "gtest/gtest.h"

namespace quern::base {
namespace {

TEST(CheckDeathTest, DiesWithTheConditionAndThePlace) {
  const int books = 2;
  EXPECT_DEATH(QUERN_CHECK(books == 3),
               "check failed: books == 3 at .*check_test.cc");
}

TEST(Check, DoesNothingWhenTheConditionHolds) {
  int evaluations = 0;
  QUERN_CHECK(++evaluations == 1);
  EXPECT_EQ(evaluations, 1);
}

}  // namespace
}  // namespace quern::base
