// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/bind.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/target.h"
#include "engine/ir/node.h"
#include "engine/ir/text.h"
#include "engine/ir/verify.h"

namespace quern::kernel {
namespace {

using ::testing::HasSubstr;

// The text of the bound body, or the error.
std::string Bound(const std::string& text, bool interpreted = false) {
  ir::Arena arena;
  const auto sink = ir::Parse(arena, text);
  if (!sink.ok()) return sink.status().ToString();
  base::Target target;
  target.interpreted = interpreted;
  const auto bound = Bind(arena, sink->at(0), target);
  if (!bound.ok()) return bound.status().ToString();
  const absl::Status verified = ir::VerifyKernelLevel(arena, *bound);
  EXPECT_TRUE(verified.ok()) << verified;
  return ir::ToText(arena, {*bound});
}

TEST(Bind, ComputesOnF16InF32AndRoundsOnlyWhatIsStored) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param f16 {1}
%1 = param f16 {0}
%2 = load f16 %1 [r0]
%3 = const f16 0.1
%4 = mul f16 %2 %3
%5 = add f16 %4 %2
%6 = store f16 %0 [r0] %5
%7 = sink wint %6 [r0] {1}
return %7
)"),
            R"(%0 = param f16 {1}
r0 = range [8] {serial}
%1 = param f16 {0}
%2 = load f16 %1 [r0]
%3 = cast f32 %2
%4 = const f32 0.0999755859375
%5 = mul f32 %3 %4
%6 = add f32 %5 %3
%7 = cast f16 %6
%8 = store f16 %0 [r0] %7
%9 = sink wint %8 [r0] {1}
return %9
)");
}

TEST(Bind, KeepsTheRoundingOfACastToF16) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param f32 {1}
%1 = param f32 {0}
%2 = load f32 %1 [r0]
%3 = cast f16 %2
%4 = sqrt f16 %3
%5 = cast f32 %4
%6 = store f32 %0 [r0] %5
%7 = sink wint %6 [r0] {1}
return %7
)"),
            R"(%0 = param f32 {1}
r0 = range [8] {serial}
%1 = param f32 {0}
%2 = load f32 %1 [r0]
%3 = cast f16 %2
%4 = cast f32 %3
%5 = sqrt f32 %4
%6 = store f32 %0 [r0] %5
%7 = sink wint %6 [r0] {1}
return %7
)");
}

TEST(Bind, CopiesF16WithoutConversions) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param f16 {1}
%1 = param f16 {0}
%2 = load f16 %1 [r0]
%3 = store f16 %0 [r0] %2
%4 = sink wint %3 [r0] {1}
return %4
)"),
            R"(%0 = param f16 {1}
r0 = range [8] {serial}
%1 = param f16 {0}
%2 = load f16 %1 [r0]
%3 = store f16 %0 [r0] %2
%4 = sink wint %3 [r0] {1}
return %4
)");
}

TEST(Bind, ReducesBf16InF32) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
r1 = range [4] {serial}
%0 = param bf16 {1}
%1 = param bf16 {0}
%2 = load bf16 %1 [r0*4+r1]
%3 = reduce bf16 %2 [r1] {max}
%4 = store bf16 %0 [r0] %3
%5 = sink wint %4 [r0] {1}
return %5
)"),
            R"(%0 = param bf16 {1}
r0 = range [8] {serial}
%1 = param bf16 {0}
r1 = range [4] {serial}
%2 = load bf16 %1 [r0*4+r1]
%3 = cast f32 %2
%4 = reduce f32 %3 [r1] {max}
%5 = cast bf16 %4
%6 = store bf16 %0 [r0] %5
%7 = sink wint %6 [r0] {1}
return %7
)");
}

TEST(Bind, KeepsTheDTypeOfATile) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
r1 = range [8] {serial}
%0 = param f16 {1}
%1 = param f16 {0}
%2 = load f16 %1 [r0]
%3 = neg f16 %2
%4 = stage f16 %3 [r0] [8] [r0] {tile,0}
%5 = load f16 %4 [7-r1]
%6 = store f16 %0 [r1] %5
%7 = sink wint %6 [r1] {1}
return %7
)"),
            R"(%0 = param f16 {1}
r1 = range [8] {serial}
%1 = param f16 {0}
r0 = range [8] {serial}
%2 = load f16 %1 [r0]
%3 = cast f32 %2
%4 = neg f32 %3
%5 = cast f16 %4
%6 = stage f16 %5 [r0] [8] [r0] {tile,0}
%7 = load f16 %6 [7-r1]
%8 = store f16 %0 [r1] %7
%9 = sink wint %8 [r1] {1}
return %9
)");
}

TEST(Bind, RoundsBeforeItLooksAtTheBitsOfAnF16) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param u16 {1}
%1 = param u16 {0}
%2 = load u16 %1 [r0]
%3 = bitcast f16 %2
%4 = neg f16 %3
%5 = bitcast u16 %4
%6 = store u16 %0 [r0] %5
%7 = sink wint %6 [r0] {1}
return %7
)"),
            R"(%0 = param u16 {1}
r0 = range [8] {serial}
%1 = param u16 {0}
%2 = load u16 %1 [r0]
%3 = bitcast f16 %2
%4 = cast f32 %3
%5 = neg f32 %4
%6 = cast f16 %5
%7 = bitcast u16 %6
%8 = store u16 %0 [r0] %7
%9 = sink wint %8 [r0] {1}
return %9
)");
}

TEST(Bind, ComputesWeakFloatsInTheTypeOfTheirConsumer) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param f64 {1}
%1 = param f32 {0}
%2 = cast wfloat [r0+1]
%3 = const wfloat 0.1
%4 = mul wfloat %2 %3
%5 = cast f64 %4
%6 = store f64 %0 [r0] %5
%7 = cast f32 %4
%8 = store f32 %1 [r0] %7
%9 = sink wint %6 %8 [r0] {2}
return %9
)"),
            R"(%0 = param f64 {1}
r0 = range [8] {serial}
%1 = cast i64 [r0+1]
%2 = cast f64 %1
%3 = const f64 0.1
%4 = mul f64 %2 %3
%5 = store f64 %0 [r0] %4
%6 = param f32 {0}
%7 = cast f32 %1
%8 = const f32 0.10000000149011612
%9 = mul f32 %7 %8
%10 = store f32 %6 [r0] %9
%11 = sink wint %5 %10 [r0] {2}
return %11
)");
}

TEST(Bind, LeavesIndicesAloneAndGivesTheirValuesAsI64) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param f32 {2}
%1 = param f32 {1}
%2 = param i64 {0}
%3 = load i64 %2 [r0]
%4 = cast wint %3
%5 = load f32 %1 [min(max(%4,0),7)*2]
%6 = cast f32 [r0*3+1]
%7 = add f32 %6 %5
%8 = store f32 %0 [r0] %7
%9 = sink wint %8 [r0] {1}
return %9
)"),
            R"(%0 = param f32 {2}
r0 = range [8] {serial}
%1 = cast i64 [r0*3+1]
%2 = cast f32 %1
%3 = param f32 {1}
%4 = param i64 {0}
%5 = load i64 %4 [r0]
%6 = cast wint %5
%7 = load f32 %3 [min(max(%6,0),7)*2]
%8 = add f32 %2 %7
%9 = store f32 %0 [r0] %8
%10 = sink wint %9 [r0] {1}
return %10
)");
}

TEST(Bind, ComputesWeakIntegersThatAreNoIndexInI64) {
  EXPECT_EQ(Bound(R"(
r0 = range [8] {serial}
%0 = param i32 {1}
%1 = param i32 {0}
%2 = load i32 %1 [r0]
%3 = const i32 7
%4 = cmplt bool %2 %3
%5 = const wint 5
%6 = const wint -1
%7 = where wint %4 %5 %6
%8 = cast i32 %7
%9 = store i32 %0 [r0] %8
%10 = sink wint %9 [r0] {1}
return %10
)"),
            R"(%0 = param i32 {1}
r0 = range [8] {serial}
%1 = param i32 {0}
%2 = load i32 %1 [r0]
%3 = const i32 7
%4 = cmplt bool %2 %3
%5 = const i64 5
%6 = const i64 -1
%7 = where i64 %4 %5 %6
%8 = cast i32 %7
%9 = store i32 %0 [r0] %8
%10 = sink wint %9 [r0] {1}
return %10
)");
}

TEST(Bind, LeavesGatesAndConditionsOfRangesAlone) {
  const std::string text = R"(%0 = param f32 {1}
r0 = range [8] {serial}
%1 = param f32 {0}
%2 = load f32 %1 [r0] [r0<5]
%3 = const f32 0
%4 = where f32 [r0<4] %2 %3
%5 = store f32 %0 [r0] %4
%6 = sink wint %5 [r0] {1}
return %6
)";
  EXPECT_EQ(Bound(text), text);
}

TEST(Bind, GivesAConstantArrayTheTypeInWhichItIsRead) {
  EXPECT_EQ(Bound(R"(
r0 = range [3] {serial}
%0 = const_array wfloat {0.1,0.25,1}
%1 = param f32 {0}
%2 = load wfloat %0 [r0]
%3 = cast f32 %2
%4 = store f32 %1 [r0] %3
%5 = sink wint %4 [r0] {1}
return %5
)"),
            R"(%0 = param f32 {0}
r0 = range [3] {serial}
%1 = const_array f32 {0.10000000149011612,0.25,1}
%2 = load f32 %1 [r0]
%3 = store f32 %0 [r0] %2
%4 = sink wint %3 [r0] {1}
return %4
)");
}

TEST(Bind, LeavesF16ToAnInterpreter) {
  const std::string text = R"(%0 = param f16 {1}
r0 = range [8] {serial}
%1 = param f16 {0}
%2 = load f16 %1 [r0]
%3 = add f16 %2 %2
%4 = store f16 %0 [r0] %3
%5 = sink wint %4 [r0] {1}
return %5
)";
  EXPECT_EQ(Bound(text, true), text);
  EXPECT_THAT(Bound(text, false), HasSubstr("add f32"));
}

TEST(Bind, BindsWeakTypesForAnInterpreterToo) {
  EXPECT_THAT(Bound(R"(
r0 = range [8] {serial}
%0 = param f16 {0}
%1 = const wfloat 0.1
%2 = cast f16 %1
%3 = store f16 %0 [r0] %2
%4 = sink wint %3 [r0] {1}
return %4
)",
                    true),
              HasSubstr("const f16 0.0999755859375"));
}

TEST(Bind, RefusesWhatIsOfAnotherLevel) {
  ir::Arena arena;
  const std::vector<ir::Id> dims = {arena.Int(4)};
  const ir::Id iota = arena.Make(ir::Op::kIota, ir::DType::kWeakInt, {}, {},
                                 arena.MakeShape(dims));
  const ir::Id param =
      arena.Make(ir::Op::kParam, ir::DType::kI64, {}, {{0}, {}});
  const ir::Id store =
      arena.Make(ir::Op::kStore, ir::DType::kI64, {param, arena.Int(0), iota});
  const ir::Id sink =
      arena.Make(ir::Op::kSink, ir::DType::kWeakInt, {store}, {{1}, {}});
  const auto bound = Bind(arena, sink, base::Target());
  EXPECT_EQ(bound.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(bound.status().message(), HasSubstr("iota is no operation"));
}

}  // namespace
}  // namespace quern::kernel
