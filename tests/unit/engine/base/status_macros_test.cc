// SPDX-License-Identifier: Apache-2.0
#include "engine/base/status_macros.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::base {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<int> Half(int x) {
  if (x % 2 != 0) return absl::InvalidArgumentError("odd");
  return x / 2;
}

absl::StatusOr<int> Quarter(int x) {
  QUERN_ASSIGN_OR_RETURN(const int half, Half(x));
  QUERN_ASSIGN_OR_RETURN(int quarter, Half(half));
  return quarter;
}

absl::Status CheckedTwice(int x, int* reached) {
  QUERN_RETURN_IF_ERROR(Half(x).status());
  ++*reached;
  QUERN_RETURN_IF_ERROR(Quarter(x).status());
  ++*reached;
  return absl::OkStatus();
}

absl::Status MustBePositive(int x) {
  QUERN_RET_CHECK(x > 0, "got ", x);
  return absl::OkStatus();
}

TEST(AssignOrReturn, AssignsTheValue) { EXPECT_EQ(*Quarter(12), 3); }

TEST(AssignOrReturn, ReturnsTheFirstError) {
  EXPECT_EQ(Quarter(7).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
}

TEST(AssignOrReturn, MovesWhatCannotBeCopied) {
  const auto length = []() -> absl::StatusOr<size_t> {
    absl::StatusOr<std::unique_ptr<std::string>> made =
        std::make_unique<std::string>("four");
    QUERN_ASSIGN_OR_RETURN(std::unique_ptr<std::string> text, std::move(made));
    return text->size();
  };
  EXPECT_EQ(*length(), 4u);
}

TEST(ReturnIfError, GoesOnOnlyWithoutAnError) {
  int reached = 0;
  EXPECT_TRUE(CheckedTwice(8, &reached).ok());
  EXPECT_EQ(reached, 2);
  EXPECT_FALSE(CheckedTwice(6, &reached).ok());
  EXPECT_EQ(reached, 3);
}

TEST(RetCheck, FailsWithTheConditionAndTheMessage) {
  EXPECT_TRUE(MustBePositive(1).ok());
  const absl::Status status = MustBePositive(-4);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("x > 0 does not hold"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("got -4"));
}

}  // namespace
}  // namespace quern::base
