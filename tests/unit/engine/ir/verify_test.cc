// SPDX-License-Identifier: Apache-2.0
//
// Broken nodes as text, with what the verifier says about them.
#include "engine/ir/verify.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/text.h"
#include "tests/fuzz/generator.h"

namespace quern::ir {
namespace {

using ::testing::HasSubstr;

struct Row {
  const char* text;
  const char* message;  // Empty: it is good.
};

std::string TensorLevel(const std::string& text) {
  Arena arena;
  const auto roots = Parse(arena, text);
  if (!roots.ok()) return std::string(roots.status().message());
  return std::string(VerifyTensorLevel(arena, *roots).message());
}

std::string KernelLevel(const std::string& text) {
  Arena arena;
  const auto roots = Parse(arena, text);
  if (!roots.ok()) return std::string(roots.status().message());
  return std::string(VerifyKernelLevel(arena, (*roots)[0]).message());
}

constexpr char kTensors[] =
    "n = var {1,64}\n"
    "%0 = input f32[2,3] {0}\n"
    "%1 = input i32[4] {1}\n"
    "%2 = input bool[2,3] {2}\n"
    "%3 = input f32[2,n] {3}\n";

TEST(VerifyTensorLevel, SaysWhichRuleIsBroken) {
  const Row kRows[] = {
      {"%9 = add f32[2,3] %0 %0", ""},
      {"%9 = add f32[2,3] %0 %3", "(add): operand 1 has another shape"},
      {"%9 = add i32[2,3] %0 %0", "(add): operand 0 is f32, expected i32"},
      {"%9 = add bool[2,3] %2 %2", "(add): of bool has no meaning"},
      {"%9 = sqrt i32[4] %1", "(sqrt): of i32 has no meaning"},
      {"%9 = and f32[2,3] %0 %0", "(and): of f32 has no meaning"},
      {"%9 = cmplt f32[2,3] %0 %0", "(cmplt): is f32, expected bool"},
      {"%9 = where f32[2,3] %0 %0 %0",
       "(where): operand 0 is f32, expected "
       "bool"},
      {"%9 = bitcast i64[2,3] %0", "(bitcast): from f32 to i64"},
      {"%9 = sin f32[2,3] %0 {1}", "(sin): 1 attributes, expected 0"},
      {"%9 = reshape f32[n,2] %3", ""},
      {"%9 = reshape f32[5] %0", "(reshape): the number of elements changes"},
      {"%9 = reshape i32[6] %0", "(reshape): operand 0 is f32, expected i32"},
      {"%9 = permute f32[3,2] %0 {1,0}", ""},
      {"%9 = permute f32[2,3] %0 {1,0}",
       "(permute): axis 0 has size 2, "
       "expected 3"},
      {"%9 = permute f32[2,2] %0 {0,0}",
       "(permute): the axes are no "
       "permutation"},
      {"%9 = expand f32[2,4] %0", "(expand): axis 1 has size 4, expected 3"},
      {"%9 = expand f32[1,2,3] %0", "(expand): rank 3 from rank 2"},
      {"%9 = pad f32[2,n+3] %3 [0] [1]", ""},
      {"%9 = pad f32[2,3] %0 [0]", "(pad): 2 operands, expected 3"},
      {"%9 = pad f32[2,3] %0 [0] [1]",
       "(pad): axis 1 is smaller than what it "
       "holds"},
      {"%9 = pad f32[2,3] %0 [0] [-1]", "(pad): operand 2 is negative"},
      {"%9 = shrink f32[2,2] %0 [0] [0] {1,2}", ""},
      {"%9 = shrink f32[2,3] %0 [0] [1] {1,1}",
       "(shrink): axis 1 is read past "
       "its end"},
      {"%9 = shrink f32[2,3] %0 [0] [0] {1,0}",
       "(shrink): the step of axis 1 "
       "is 0"},
      {"%9 = shrink f32[2,3] %0 [0] [0] {1}",
       "(shrink): 1 attributes, "
       "expected 2"},
      {"%9 = flip f32[2,3] %0 {1,0}",
       "(flip): axis 0 is out of range or "
       "order"},
      {"%9 = flip f32[2,3] %0", "(flip): there are no axes"},
      {"%9 = concat f32[2,n+3] %0 %3 {1}", ""},
      {"%9 = concat f32[2,7] %0 %0 {1}",
       "(concat): axis 1 is not as long as "
       "the operands together"},
      {"%9 = concat f32[4,3] %0 %3 {0}",
       "(concat): axis 1 has size 3, "
       "expected n"},
      {"%9 = concat f32[2,3] %0 {5}", "(concat): axis 5 is out of range"},
      {"%9 = window f32[2,2,2] %0 {1,2,1,1}", ""},
      {"%9 = window f32[2,3,2] %0 {1,2,1,1}",
       "(window): axis 1 does not have "
       "the size of its windows"},
      {"%9 = window f32[2,2,3] %0 {1,2,1,1}",
       "(window): there is no last axis "
       "of taps"},
      {"%9 = window f32[2,2,2] %0 {1,2,0,1}", "(window): attribute 2 is 0"},
      {"%9 = gather f32[2,4] %0 %1 {1}", ""},
      {"%9 = gather f32[2,3,3] %0 %0 {1}", "(gather): positions are f32"},
      {"%9 = gather f32[4] %0 %1 {1}", "(gather): rank 1, expected 2"},
      {"%9 = reduce f32[2] %0 {add,1}", ""},
      {"%9 = reduce f32[3] %0 {add,1}",
       "(reduce): axis 0 has size 3, expected "
       "2"},
      {"%9 = reduce f32[2] %0 {sub,1}", "(reduce): the operation is none of"},
      {"%9 = reduce f32[2] %0 {add,2}", "(reduce): axis 2 is out of range"},
      {"%9 = reduce bool[2] %2 {add,1}", "(reduce): sums and products of bool"},
      {"%9 = const_array i8[3] {1,2}", "(const_array): 2 elements do not fill"},
      {"%9 = const f32[2] 1", "(const): a constant is a scalar"},
      {"%9 = var wint {4,2} @q", "(var): the bounds are 4..2"},
      {"%9 = iota f32[4]", "(iota): expected one axis of wint"},
      {"%9 = weight wint[4] {0}", "(weight): the dtype is weak"},
      {"%9 = input f32[4] {-1}", "(input): the slot is negative"},
      {"%9 = input f32[-4] {1}", "(input): a dimension is negative"},
      {"%9 = input f32[1000000,1000000,10] {1}",
       "(input): more than "
       "1099511627776 elements"},
      {"%9 = copy f32[2,3] %0", "(copy): the device has no name"},
      {"%9 = stage f32[2,3] %0 {7,0}", "(stage): there is no level 7"},
      {"%9 = load f32 %0 [0]", "(load): is no operation of the tensor level"},
      {"%9 = param f32 {0}", "(param): is no operation of the tensor level"},
      {"%9 = grid i64", "(grid): is no operation of the tensor level"},
  };
  for (const Row& row : kRows) {
    const std::string got =
        TensorLevel(std::string(kTensors) + row.text + "\nreturn %9\n");
    if (row.message[0] == '\0') {
      EXPECT_EQ(got, "") << row.text;
    } else {
      EXPECT_THAT(got, HasSubstr(row.message)) << row.text;
    }
  }
}

TEST(VerifyTensorLevel, AcceptsWhatTheBuilderMakes) {
  for (uint64_t seed = 1000; seed < 1300; ++seed) {
    const std::string text = fuzz::GenerateCase(seed);
    ASSERT_EQ(TensorLevel(text), "") << text;
  }
}

TEST(VerifyTensorLevel, ChecksTheNodesBelowSizes) {
  EXPECT_THAT(TensorLevel("%0 = input f32[4] {0}\n"
                          "%1 = sqrt wint [4]\n"
                          "%2 = input f32[%1] {1}\n"
                          "return %2"),
              HasSubstr("(sqrt): of wint has no meaning"));
}

constexpr char kKernel[] =
    "n = var {1,64}\n"
    "r0 = range [n] {grid}\n"
    "r1 = range [32] {serial}\n"
    "%0 = param f32 {0}\n"
    "%1 = param f32 {1}\n"
    "%2 = const f32 1\n"
    "%3 = const_array f32 {1,2,3}\n";

TEST(VerifyKernelLevel, SaysWhichRuleIsBroken) {
  const Row kRows[] = {
      // A good kernel of each kind.
      {"%4 = load f32 %0 [r0*32+r1]\n%5 = reduce f32 %4 [r1] {add}\n"
       "%6 = store f32 %1 [r0] %5\n%9 = sink f32 %6 [r0] {1}",
       ""},
      {"%4 = load f32 %0 [r0+r1] [r0+r1<n]\n%5 = store f32 %1 [r0*32+r1] %4\n"
       "%9 = sink f32 %5 [r0] [r1] {1}",
       ""},
      {"%4 = stage f32 %2 [r1] [32] [r1] {tile,0}\n%5 = load f32 %4 [r0]\n"
       "%6 = store f32 %1 [r0] %5\n%9 = sink f32 %6 [r0] {1}",
       ""},
      // Ranges.
      {"%4 = store f32 %1 [r0*32+r1] %2\n%9 = sink f32 %4 [r0] {1}",
       "(sink): range r1 is used but nothing runs it"},
      {"%4 = load f32 %0 [r1]\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(sink): range r1 is used but nothing runs it"},
      {"%4 = range wint [8] {0,grid}\n%5 = store f32 %1 [%4+r0] %2\n"
       "%9 = sink f32 %5 [r0] [%4] {1}",
       "is range 0 as well"},
      {"%4 = store f32 %1 [r0] %2\n%9 = sink f32 %4 [r0] [r0] {1}",
       "(sink): a range is there twice"},
      {"%4 = store f32 %1 [r0] %2\n%9 = sink f32 %4 [n] {1}",
       "(sink): operand 1 is var, expected a range"},
      {"%4 = load f32 %0 [r0]\n%5 = reduce f32 %4 [n] {add}\n"
       "%6 = store f32 %1 [r0] %5\n%9 = sink f32 %6 [r0] {1}",
       "(reduce): operand 1 is var, expected a range"},
      {"%4 = range wint [r1+1] {7,serial}\n%5 = store f32 %1 [%4*32+r1] %2\n"
       "%9 = sink f32 %5 [r1] [%4] {1}",
       ""},
      {"%4 = range wint [r1+1] {7,serial}\n%5 = store f32 %1 [%4*32+r1] %2\n"
       "%9 = sink f32 %5 [%4] [r1] {1}",
       "(sink): the extent of range r7 depends on range r1 inside it"},
      // Loads and stores.
      {"%4 = load f32 %2 [r0]\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(load): operand 0 is const, not a base"},
      {"%4 = load f16 %0 [r0]\n%5 = store f32 %1 [r0] %2\n"
       "%6 = store f32 %1 [r0] %4\n%9 = sink f32 %5 %6 [r0] {2}",
       "(load): operand 0 is f32, expected f16"},
      {"%4 = load f32 %0 %2\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(load): operand 1 is f32, expected a scalar of wint"},
      {"%4 = load f32 %0 [r0] [r0]\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(load): operand 2 is wint, expected a scalar of bool"},
      {"%4 = store f32 %3 [r0] %2\n%9 = sink f32 %4 [r0] {1}",
       "(store): writes to a constant array"},
      {"%4 = cast f16 %2\n%5 = store f16 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(store): operand 2 is f16, expected f32"},
      {"%4 = store f32 %1 [r0]\n%9 = sink f32 %4 [r0] {1}",
       "(store): 2 operands, expected 3 to 4"},
      // Tensors and the linear level.
      {"%4 = input f32 {0}\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(input): is no operation of the kernel level"},
      {"%4 = reshape f32 %2\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(reshape): is no operation of the kernel level"},
      {"%4 = sin f32[2] %2\n%5 = store f32 %1 [r0] %4\n"
       "%9 = sink f32 %5 [r0] {1}",
       "(sin): has a shape"},
      // The sink.
      {"%9 = sin f32 %2", "(sin): is no sink"},
      {"%9 = sink f32 %2 [r0] {1}",
       "(sink): operand 0 is const, expected a "
       "store"},
      {"%4 = store f32 %1 [r0] %2\n%9 = sink f32 %4 [r0] {3}",
       "(sink): 3 stores of 2 operands"},
  };
  for (const Row& row : kRows) {
    const std::string got =
        KernelLevel(std::string(kKernel) + row.text + "\nreturn %9\n");
    if (row.message[0] == '\0') {
      EXPECT_EQ(got, "") << row.text;
    } else {
      EXPECT_THAT(got, HasSubstr(row.message)) << row.text;
    }
  }
}

TEST(VerifyKernelLevel, IsAnInternalErrorNamingTheNode) {
  Arena arena;
  const Id id = arena.FloatConst(DType::kF32, 1);
  const absl::Status status = VerifyKernelLevel(arena, id);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "node 0 (const): is no sink");
}

}  // namespace
}  // namespace quern::ir
