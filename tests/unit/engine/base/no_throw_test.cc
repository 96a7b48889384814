// SPDX-License-Identifier: Apache-2.0
#include "engine/base/no_throw.h"

#include <new>
#include <stdexcept>

#include "absl/status/statusor.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::base {
namespace {

using ::testing::HasSubstr;

TEST(NoThrow, PassesOnWhatIsReturned) {
  EXPECT_EQ(NoThrow([] { return absl::AbortedError("no"); }),
            absl::AbortedError("no"));
  EXPECT_EQ(*NoThrow([]() -> absl::StatusOr<int> { return 7; }), 7);
}

TEST(NoThrow, MakesAStatusOfAnException) {
  const auto memory =
      NoThrow([]() -> absl::StatusOr<int> { throw std::bad_alloc(); });
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted);
  const absl::Status other =
      NoThrow([]() -> absl::Status { throw std::out_of_range("at 3"); });
  EXPECT_EQ(other.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(other.message()), HasSubstr("at 3"));
}

}  // namespace
}  // namespace quern::base
