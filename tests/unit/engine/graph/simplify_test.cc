// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/simplify.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/text.h"

namespace quern::graph {
namespace {

// The text of what `before` becomes.
std::string Simplified(const std::string& before) {
  ir::Arena arena;
  const auto roots = ir::Parse(arena, before);
  if (!roots.ok()) return absl::StrCat("parse: ", roots.status().message());
  const auto result = Simplify(arena, *roots);
  if (!result.ok()) return absl::StrCat(result.status().message());
  return ir::ToText(arena, *result);
}

// `text` as the writer writes it.
std::string Normal(const std::string& text) {
  ir::Arena arena;
  const auto roots = ir::Parse(arena, text);
  if (!roots.ok()) return absl::StrCat("parse: ", roots.status().message());
  return ir::ToText(arena, *roots);
}

struct Case {
  const char* name;
  const char* before;
  const char* after;
};

class SimplifyTable : public testing::TestWithParam<Case> {};

TEST_P(SimplifyTable, TurnsBeforeIntoAfter) {
  const std::string after = Normal(GetParam().after);
  ASSERT_THAT(after, testing::HasSubstr("return"));
  EXPECT_EQ(Simplified(GetParam().before), after);
}

constexpr char kX[] = "%0 = input f32[2,3] {0}\nreturn %0\n";

const Case kCases[] = {
    {"ReshapesMerge",
     "%0 = input f32[2,3] {0}\n%1 = reshape f32[6] %0\n"
     "%2 = reshape f32[3,2] %1\nreturn %2\n",
     "%0 = input f32[2,3] {0}\n%1 = reshape f32[3,2] %0\nreturn %1\n"},
    {"AReshapeBackVanishes",
     "%0 = input f32[2,3] {0}\n%1 = reshape f32[6] %0\n"
     "%2 = reshape f32[2,3] %1\nreturn %2\n",
     kX},
    {"PermutesCompose",
     "%0 = input f32[2,3,4] {0}\n%1 = permute f32[3,4,2] %0 {1,2,0}\n"
     "%2 = permute f32[4,2,3] %1 {1,2,0}\nreturn %2\n",
     "%0 = input f32[2,3,4] {0}\n%1 = permute f32[4,2,3] %0 {2,0,1}\n"
     "return %1\n"},
    {"ATransposeOfATransposeVanishes",
     "%0 = input f32[2,3] {0}\n%1 = permute f32[3,2] %0 {1,0}\n"
     "%2 = permute f32[2,3] %1 {1,0}\nreturn %2\n",
     kX},
    {"APermuteOfAxesOfOneIsAReshape",
     "%0 = input f32[2,1,3] {0}\n%1 = permute f32[1,2,3] %0 {1,0,2}\n"
     "return %1\n",
     "%0 = input f32[2,1,3] {0}\n%1 = reshape f32[1,2,3] %0\nreturn %1\n"},
    {"ExpandsMerge",
     "%0 = input f32[1,1] {0}\n%1 = expand f32[2,1] %0\n"
     "%2 = expand f32[2,3] %1\nreturn %2\n",
     "%0 = input f32[1,1] {0}\n%1 = expand f32[2,3] %0\nreturn %1\n"},
    {"FlipsCancelByAxis",
     "%0 = input f32[2,3] {0}\n%1 = flip f32[2,3] %0 {0,1}\n"
     "%2 = flip f32[2,3] %1 {0}\nreturn %2\n",
     "%0 = input f32[2,3] {0}\n%1 = flip f32[2,3] %0 {1}\nreturn %1\n"},
    {"ShrinksCompose",
     "%0 = input f32[20] {0}\n%1 = shrink f32[6] %0 [3] {2}\n"
     "%2 = shrink f32[2] %1 [1] {3}\nreturn %2\n",
     "%0 = input f32[20] {0}\n%1 = shrink f32[2] %0 [5] {6}\nreturn %1\n"},
    {"PadsAdd",
     "%0 = input f32[4] {0}\n%1 = pad f32[7] %0 [1]\n"
     "%2 = pad f32[12] %1 [2]\nreturn %2\n",
     "%0 = input f32[4] {0}\n%1 = pad f32[12] %0 [3]\nreturn %1\n"},
    {"AShrinkInsideOfAPadDoesNotSeeIt",
     "%0 = input f32[4] {0}\n%1 = pad f32[8] %0 [2]\n"
     "%2 = shrink f32[3] %1 [3] {1}\nreturn %2\n",
     "%0 = input f32[4] {0}\n%1 = shrink f32[3] %0 [1] {1}\nreturn %1\n"},
    {"AShrinkThatReachesIntoThePaddingStays",
     "%0 = input f32[4] {0}\n%1 = pad f32[8] %0 [2]\n"
     "%2 = shrink f32[3] %1 [1] {1}\nreturn %2\n",
     "%0 = input f32[4] {0}\n%1 = pad f32[8] %0 [2]\n"
     "%2 = shrink f32[3] %1 [1] {1}\nreturn %2\n"},
    {"AGatherOfEquallySpacedPositionsIsAShrink",
     "%0 = input f32[2,9] {0}\n%1 = const_array i64[3] {1,3,5}\n"
     "%2 = gather f32[2,3] %0 %1 {1}\nreturn %2\n",
     "%0 = input f32[2,9] {0}\n%1 = shrink f32[2,3] %0 [0] [1] {1,2}\n"
     "return %1\n"},
    {"TimesOneVanishes",
     "%0 = input f32[2,3] {0}\n%1 = const f32 1\n"
     "%2 = reshape f32[1,1] %1\n%3 = expand f32[2,3] %2\n"
     "%4 = mul f32[2,3] %3 %0\nreturn %4\n",
     kX},
    {"MinusZeroVanishes",
     "%0 = input f32[2,3] {0}\n%1 = const f32 0\n"
     "%2 = reshape f32[1,1] %1\n%3 = expand f32[2,3] %2\n"
     "%4 = sub f32[2,3] %0 %3\nreturn %4\n",
     kX},
    {"PlusZeroStaysSinceItTurnsMinusZeroIntoZero",
     "%0 = input f32 {0}\n%1 = const f32 0\n%2 = add f32 %0 %1\nreturn %2\n",
     "%0 = input f32 {0}\n%1 = const f32 0\n%2 = add f32 %0 %1\nreturn %2\n"},
    {"PlusZeroOfIntegersVanishes",
     "%0 = input i32 {0}\n%1 = const i32 0\n%2 = add i32 %0 %1\nreturn %2\n",
     "%0 = input i32 {0}\nreturn %0\n"},
    {"TimesZeroStaysSinceItKeepsNan",
     "%0 = input f32 {0}\n%1 = const f32 0\n%2 = mul f32 %0 %1\nreturn %2\n",
     "%0 = input f32 {0}\n%1 = const f32 0\n%2 = mul f32 %0 %1\nreturn %2\n"},
    {"ADivisionByAPowerOfTwoIsAProduct",
     "%0 = input f32 {0}\n%1 = const f32 -8\n%2 = div f32 %0 %1\nreturn %2\n",
     "%0 = input f32 {0}\n%1 = const f32 -0.125\n%2 = mul f32 %0 %1\n"
     "return %2\n"},
    {"ADivisionByThreeStays",
     "%0 = input f32 {0}\n%1 = const f32 3\n%2 = div f32 %0 %1\nreturn %2\n",
     "%0 = input f32 {0}\n%1 = const f32 3\n%2 = div f32 %0 %1\nreturn %2\n"},
    {"TwoNegationsVanish",
     "%0 = input f32[2,3] {0}\n%1 = neg f32[2,3] %0\n%2 = neg f32[2,3] %1\n"
     "return %2\n",
     kX},
    {"TheMaximumOfXAndXIsX",
     "%0 = input f32[2,3] {0}\n%1 = max f32[2,3] %0 %0\nreturn %1\n", kX},
    {"ADecidedWhereIsItsBranch",
     "%0 = input f32 {0}\n%1 = input f32 {1}\n%2 = const bool 0\n"
     "%3 = where f32 %2 %1 %0\nreturn %3\n",
     "%0 = input f32 {0}\nreturn %0\n"},
    {"AWideningCastUnderACastVanishes",
     "%0 = input f16 {0}\n%1 = cast f32 %0\n%2 = cast f16 %1\nreturn %2\n",
     "%0 = input f16 {0}\nreturn %0\n"},
    {"ANarrowingCastUnderACastStays",
     "%0 = input f32 {0}\n%1 = cast f16 %0\n%2 = cast f32 %1\nreturn %2\n",
     "%0 = input f32 {0}\n%1 = cast f16 %0\n%2 = cast f32 %1\nreturn %2\n"},
    {"ConstantsFold",
     "%0 = const f32 0.5\n%1 = const f32 3\n%2 = mul f32 %0 %1\n"
     "%3 = neg f32 %2\nreturn %3\n",
     "%0 = const f32 -1.5\nreturn %0\n"},
    {"MovingAConstantIsTheConstant",
     "%0 = const f32 2\n%1 = reshape f32[1,1] %0\n%2 = expand f32[4,6] %1\n"
     "%3 = permute f32[6,4] %2 {1,0}\n%4 = shrink f32[2,4] %3 [1] [0] {1,1}\n"
     "return %4\n",
     "%0 = const f32 2\n%1 = reshape f32[1,1] %0\n%2 = expand f32[2,4] %1\n"
     "return %2\n"},
    {"MaximaOfMaximaMerge",
     "%0 = input f32[2,3,4] {0}\n%1 = reduce f32[2,4] %0 {max,1}\n"
     "%2 = reduce f32[2] %1 {max,1}\nreturn %2\n",
     "%0 = input f32[2,3,4] {0}\n%1 = reduce f32[2] %0 {max,1,2}\n"
     "return %1\n"},
    {"SumsOfSumsStaySinceTheOrderRounds",
     "%0 = input f32[2,3] {0}\n%1 = reduce f32[2] %0 {add,1}\n"
     "%2 = reduce f32 %1 {add,0}\nreturn %2\n",
     "%0 = input f32[2,3] {0}\n%1 = reduce f32[2] %0 {add,1}\n"
     "%2 = reduce f32 %1 {add,0}\nreturn %2\n"},
};

INSTANTIATE_TEST_SUITE_P(Rules, SimplifyTable, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name;
                         });

TEST(Simplify, TracesTheRulesThatItApplied) {
  ir::Arena arena;
  const auto roots = ir::Parse(
      arena,
      "%0 = input f32 {0}\n%1 = neg f32 %0\n%2 = neg f32 %1\nreturn %2\n");
  ASSERT_TRUE(roots.ok()) << roots.status();
  std::vector<ir::RewriteStep> trace;
  ir::RewriteOptions options;
  options.trace = &trace;
  ASSERT_TRUE(Simplify(arena, *roots, options).ok());
  ASSERT_EQ(trace.size(), 1u);
  EXPECT_STREQ(trace[0].rule, "neg neg x -> x");
}

}  // namespace
}  // namespace quern::graph
