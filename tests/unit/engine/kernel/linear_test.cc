// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/linear.h"

#include <bit>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Op;
using ::testing::HasSubstr;

constexpr char kScale[] =
    "kernel scale contract=1 vars=1\n"
    "param f32\n"
    "param f32 written\n"
    "table i64 3 -4\n"
    "%0 = param\n"
    "%1 = param #1\n"
    "%2 = const #0\n"
    "%3 = var\n"
    "%4 = const.f32 #0.5\n"
    "%5 = splat.f32x8 %4\n"
    "%6 = loop #8 %2 %3\n"
    "  %7 = load.f32x8 %0 %6\n"
    "  %8 = mul.f32x8 %7 %5\n"
    "  %9 = reduce_lanes.f32 #max %8\n"
    "  %10 = store.f32x8 %1 %6 %8\n"
    "%11 = end_loop %6\n";

TEST(LinearText, ParsesBackToTheSameText) {
  const absl::StatusOr<Program> program = ParseProgram(kScale);
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(ToText(*program), kScale);
}

TEST(LinearText, OfAParsedTextIsAVerifiedProgram) {
  const absl::StatusOr<Program> program = ParseProgram(kScale);
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_TRUE(Verify(*program).ok()) << Verify(*program);
}

TEST(LinearText, KeepsEveryBitOfAConstant) {
  for (const uint64_t bits :
       {uint64_t{0}, uint64_t{0x8000000000000000}, uint64_t{1},
        std::bit_cast<uint64_t>(0.1),
        std::bit_cast<uint64_t>(-std::numeric_limits<double>::infinity()),
        uint64_t{0x7ff8000000000000}, uint64_t{0xfff0000000000001}}) {
    Program program;
    program.name = "k";
    program.tables = {{DType::kF64, {static_cast<int64_t>(bits)}}};
    program.code = {{.op = Op::kConst,
                     .dtype = DType::kF64,
                     .imm = static_cast<int64_t>(bits),
                     .srcs = {}}};
    const absl::StatusOr<Program> parsed = ParseProgram(ToText(program));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, program) << ToText(program);
  }
}

TEST(LinearText, KeepsTheContractionMode) {
  const absl::StatusOr<Program> program =
      ParseProgram("kernel k contract=0 vars=0\n");
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_FALSE(program->contract);
  EXPECT_EQ(*ParseProgram(ToText(*program)), *program);
}

struct BadText {
  const char* text;
  const char* message;
};

TEST(LinearText, ThatIsWrongIsAnErrorThatNamesTheLine) {
  for (const BadText& bad : {
           BadText{"", "is empty"},
           BadText{"param f32\n", "line 1: expected 'kernel NAME'"},
           BadText{"kernel k\n", "line 1: expected 'kernel NAME contract"},
           BadText{"kernel k contract=1 vars=-1\n", "out of range: -1"},
           BadText{"kernel k contract=1 vars=0\nparam f99\n",
                   "line 2: unknown dtype 'f99'"},
           BadText{"kernel k contract=1 vars=0\n%1 = grid\n",
                   "expected '%0 = '"},
           BadText{"kernel k contract=1 vars=0\n%0 = jump\n",
                   "unknown op 'jump'"},
           BadText{"kernel k contract=1 vars=0\n%0 = const.f32 #abc\n",
                   "expected a value of f32, got 'abc'"},
           BadText{"kernel k contract=1 vars=0\n%0 = const.i64x99999 #1\n",
                   "expected a number of lanes"},
           BadText{"kernel k contract=1 vars=0\n%0 = neg 1\n",
                   "expected an operand, got '1'"},
       }) {
    EXPECT_THAT(ParseProgram(bad.text).status().message(),
                HasSubstr(bad.message))
        << bad.text;
  }
}

// The message of the verifier for a kernel with a read and a written param, a
// var and a table, and these instructions after "%4 = const.f32 #1" (%0 and %1
// are the params, %2 the constant 0, %3 the var).
std::string Complaint(const std::string& instructions) {
  const absl::StatusOr<Program> program = ParseProgram(absl::StrCat(
      "kernel k contract=1 vars=1\nparam f32\nparam f32 written\n"
      "table i64 1\n%0 = param\n%1 = param #1\n%2 = const #0\n%3 = var\n"
      "%4 = const.f32 #1\n",
      instructions));
  EXPECT_TRUE(program.ok()) << program.status();
  return std::string(Verify(*program).message());
}

TEST(LinearVerify, AcceptsTheFrameOfTheCasesBelow) {
  EXPECT_EQ(Complaint(""), "");
}

TEST(LinearVerify, RejectsWhatBreaksARule) {
  for (const BadText& bad : {
           BadText{"%5 = add %5 %2\n", "operand %5 does not come earlier"},
           BadText{"%5 = add %2 %4\n", "operand 1 is f32, expected i64"},
           BadText{"%5 = add %2\n", "has 1 operands, expected 2"},
           BadText{"%5 = and.f32 %4 %4\n", "expected an integer dtype"},
           BadText{"%5 = div %2 %2\n", "expected a float dtype"},
           BadText{"%5 = cmplt %2 %2\n", "is i64, expected bool"},
           BadText{"%5 = var #1\n", "there is no var 1 of 1"},
           BadText{"%5 = param #2\n", "there is no param 2 of 2"},
           BadText{"%5 = const_array #-1\n", "there is no table -1 of 1"},
           BadText{"%5 = load.f32 %1 %2\n", "loads from a param that is"},
           BadText{"%5 = store.f32 %0 %2 %4\n", "stores to a param that is"},
           BadText{"%5 = load.i32 %0 %2\n", "has i32 elements, the base has f"},
           BadText{"%5 = load.f32 %2 %2\n", "operand 0 is const, not a base"},
           BadText{"%5 = store.f32x4 %1 %2 %4\n", "expected f32x4"},
           BadText{"%5 = splat.f32x4 %4\n%6 = load.f32x4 %0 %5\n",
                   "the index is f32x4"},
           BadText{"%5 = loop %2 %3\n", "the step is 0"},
           BadText{"%5 = loop #1 %2 %3\n", "%5 opens is not closed"},
           BadText{"%5 = loop #1 %2 %3\n%6 = end_if %5\n",
                   "operand 0 is loop, expected if"},
           BadText{"%5 = loop #1 %2 %3\n%6 = loop #1 %2 %3\n%7 = end_loop %5\n",
                   "which is not the innermost block"},
           BadText{"%5 = loop #1 %2 %3\n%6 = add %5 %2\n%7 = end_loop %5\n"
                   "%8 = add %6 %2\n",
                   "operand %6 is in a closed block"},
           BadText{"%5 = loop #1 %2 %3\n%6 = end_loop %5\n%7 = neg %5\n",
                   "operand %5 is in a closed block"},
           BadText{"%5 = register.f32 %4\n%6 = get %5\n",
                   "is i64, the variable is f32"},
           BadText{"%5 = register.f32 %4\n%6 = set %5 %2\n",
                   "operand 1 is i64, expected f32"},
           BadText{"%5 = get.f32 %4\n",
                   "operand 0 is const, expected register"},
           BadText{"%5 = splat.f32x3 %4\n%6 = reduce_lanes.f32 #add %5\n",
                   "expected a power of two"},
           BadText{"%5 = splat.f32x4 %4\n%6 = reduce_lanes.f32 #sub %5\n",
                   "expected add, mul, max or min"},
           BadText{"%5 = bitcast.f32 %2\n", "changes the size: i64 to f32"},
           BadText{"%5 = range %2\n", "not an operation of the linear level"},
           BadText{"%5 = const.wfloat #1\n", "the dtype is weak"},
           BadText{"%5 = const.i8x1000 #1\n", "has 1000 lanes"},
           BadText{"%5 = lanes.f32x4\n", "expected an integer dtype"},
           BadText{"%5 = const.bool #1\n%6 = add.bool %5 %5\n",
                   "is not defined on bool"},
       }) {
    EXPECT_THAT(Complaint(bad.text), HasSubstr(bad.message)) << bad.text;
  }
}

TEST(LinearVerify, RejectsANameThatIsNotOfTheEngine) {
  Program program;
  for (const char* name : {"", "A", "a b", "a\"", "a@b", "a\n"}) {
    program.name = name;
    EXPECT_THAT(Verify(program).message(), HasSubstr("[a-z0-9_]")) << name;
  }
}

TEST(LinearVerify, IsAnInternalErrorThatNamesTheInstruction) {
  Program program;
  program.name = "k";
  program.code = {{.op = Op::kAdd, .srcs = {0, 0}}};
  const absl::Status status = Verify(program);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("kernel k: %0 = add"));
}

}  // namespace
}  // namespace quern::kernel
