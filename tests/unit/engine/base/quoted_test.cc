// SPDX-License-Identifier: Apache-2.0
#include "engine/base/quoted.h"

#include <gtest/gtest.h>

namespace quern::base {
namespace {

TEST(Quoted, ShowsWhatATerminalBears) {
  EXPECT_EQ(Quoted("seq len"), "'seq len'");
  EXPECT_EQ(Quoted("a\n\x1b[2J"), "'a\\n\\x1b[2J'");
}

TEST(Quoted, IsShortWhateverComes) {
  const std::string quoted = Quoted(std::string(5000, 'x'));
  EXPECT_LT(quoted.size(), 200);
  EXPECT_EQ(quoted.substr(quoted.size() - 5), "x...'");
}

}  // namespace
}  // namespace quern::base
