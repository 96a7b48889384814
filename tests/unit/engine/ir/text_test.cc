// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/text.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "engine/ir/symbolic.h"
#include "tests/fuzz/generator.h"

namespace quern::ir {
namespace {

using ::testing::HasSubstr;

std::string Again(const std::string& text) {
  Arena arena;
  const auto roots = Parse(arena, text);
  if (!roots.ok()) return std::string(roots.status().message());
  return ToText(arena, *roots);
}

std::string ErrorOf(const std::string& text) {
  Arena arena;
  return std::string(Parse(arena, text).status().message());
}

TEST(Text, ReadsWhatItPrints) {
  const std::string text =
      R"(n = var {1,64}
%0 = input f32[2,n] {0} @cpu
%1 = const f32 0.5
%2 = reshape f32[1,1] %1
%3 = expand f32[2,n] %2
%4 = add f32[2,n] %0 %3
%5 = reduce f32[2] %4 {add,1}
%6 = shrink f32[1] %5 [1] {1}
%7 = stage f32[1] %6 {tile,3}
%8 = cast f32 [n*2]
%9 = const_array i8[3] {1,-2,127}
return %7 %8 %9 [n+1]
)";
  EXPECT_EQ(Again(text), text);
}

TEST(Text, ReadsAKernel) {
  const std::string text =
      R"(%0 = param f32 {1}
n = var {1,64}
r0 = range [n] {grid}
%1 = param f32 {0}
r1 = range [32] {serial}
%2 = load f32 %1 [r0*32+r1] [r0*32+r1<n*31&r1<7]
%3 = reduce f32 %2 [r1] {add}
%4 = store f32 %0 [r0] %3
%5 = sink f32 %4 [r0] {1}
return %5
)";
  EXPECT_EQ(Again(text), text);
}

TEST(Text, PrintsExpressionsAsPeopleWriteThem) {
  const std::string head = "n = var {1,64}\nr0 = range [n] {serial}\n";
  for (const std::string expression :
       {"n-r0", "n-r0*4-1", "(n-1)*r0", "n+r0/(n*2)%3", "min(n,r0-2)+1",
        "n<r0+1|n==7&true", "r0*-1", "n-(r0-1)*2"}) {
    const std::string text = head + "return [" + expression + "]\n";
    EXPECT_EQ(Again(text), text);
  }
}

TEST(Text, PrintsTheSameWhateverTheOrderOfCreation) {
  const auto build = [](bool reverse) {
    Arena arena;
    Builder b(&arena);
    Id x = kNoNode;
    Id y = kNoNode;
    for (int i = 0; i < 2; ++i) {
      if ((i == 0) != reverse) {
        x = b.Input(0, DType::kF32, {b.Int(4)});
      } else {
        y = b.Weight(0, DType::kF32, {b.Int(4)});
      }
    }
    return ToText(arena, {b.Add(x, y)});
  };
  EXPECT_EQ(build(false), build(true));
}

TEST(Text, KeepsTheIdsWhenReadIntoTheSameArena) {
  Arena arena;
  Builder b(&arena);
  const Id n = b.Var("n", 1, 9);
  const Id x = b.Input(0, DType::kF32, {n, b.Int(3)});
  const Id root =
      b.Reduce(Op::kMax, b.Pad(x, {n, b.Int(0)}, {b.Int(1), n}), {0});
  EXPECT_EQ(Parse(arena, ToText(arena, {root})).value()[0], root);
}

TEST(Text, KeepsEveryConstant) {
  Arena arena;
  std::vector<Id> roots;
  for (uint64_t bits :
       {0x0000000000000000ull, 0x8000000000000000ull, 0x3fb999999999999aull,
        0x7ff0000000000000ull, 0xfff0000000000000ull, 0x7ff8000000000000ull,
        0xfff8000000000001ull, 0x0000000000000001ull, 0x7fefffffffffffffull}) {
    roots.push_back(arena.Make(Op::kConst, DType::kF64, {},
                               Attr{{static_cast<int64_t>(bits)}, {}}));
  }
  for (int64_t value : {INT64_MIN, INT64_MAX, int64_t{-1}}) {
    roots.push_back(arena.IntConst(DType::kI64, value));
    roots.push_back(arena.IntConst(DType::kU64, value));
    roots.push_back(arena.Int(value));
  }
  roots.push_back(arena.IntConst(DType::kBool, 1));
  const std::string text = ToText(arena, roots);
  EXPECT_EQ(Parse(arena, text).value(), roots) << text;
}

TEST(Text, QuotesNamesThatAreNoWords) {
  Arena arena;
  std::vector<Id> roots;
  for (const char* name :
       {"batch size", "r0", "min", "1x", "a\"b\n", "", "n"}) {
    const Id var =
        arena.Make(Op::kVar, DType::kWeakInt, {}, Attr{{1, 8}, name});
    roots.push_back(Add(arena, var, arena.Int(1)));
  }
  const std::string text = ToText(arena, roots);
  EXPECT_THAT(text, HasSubstr("\"batch size\" = var {1,8}\n"));
  EXPECT_EQ(Parse(arena, text).value(), roots) << text;
}

TEST(Text, TellsVariablesOfOneNameApart) {
  Arena arena;
  const auto var = [&](int64_t greatest) {
    return arena.Make(Op::kVar, DType::kWeakInt, {}, Attr{{1, greatest}, "n"});
  };
  const std::vector<Id> roots = {var(8), var(9)};
  EXPECT_EQ(Parse(arena, ToText(arena, roots)).value(), roots);
}

// Random trees of size arithmetic, not simplified, with every operation that
// stands inside a line.
TEST(Text, KeepsRandomExpressions) {
  std::mt19937_64 random(7);
  const auto pick = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  for (int round = 0; round < 3000; ++round) {
    Arena arena;
    std::vector<Id> ints = {
        arena.Make(Op::kVar, DType::kWeakInt, {}, Attr{{1, 9}, "n"}),
        arena.Make(Op::kRange, DType::kWeakInt, {arena.Int(4)},
                   Attr{{0, 0}, {}})};
    std::vector<Id> bools = {arena.IntConst(DType::kBool, 1)};
    const int64_t steps = 1 + pick(25);
    for (int64_t step = 0; step < steps; ++step) {
      static constexpr Op kOps[] = {Op::kAdd, Op::kAdd,  Op::kAdd,   Op::kMul,
                                    Op::kMul, Op::kIDiv, Op::kMod,   Op::kMin,
                                    Op::kMax, Op::kSub,  Op::kCmpLt, Op::kCmpEq,
                                    Op::kAnd, Op::kOr};
      const Op op = kOps[pick(14)];
      if (pick(4) == 0) ints.push_back(arena.Int(pick(7) - 3));
      const bool logical = op == Op::kAnd || op == Op::kOr;
      const bool compares = op == Op::kCmpLt || op == Op::kCmpEq;
      const std::vector<Id>& from = logical ? bools : ints;
      const auto operand = [&] {
        return from[pick(static_cast<int64_t>(from.size()))];
      };
      const Id a = operand();
      const Id b = operand();
      (logical || compares ? bools : ints)
          .push_back(arena.Make(
              op, logical || compares ? DType::kBool : DType::kWeakInt,
              {a, b}));
    }
    const std::vector<Id> roots = {ints.back(), bools.back()};
    const std::string text = ToText(arena, roots);
    const auto back = Parse(arena, text);
    ASSERT_TRUE(back.ok()) << back.status() << "\n" << text;
    ASSERT_EQ(*back, roots) << text << ToText(arena, *back);
  }
}

TEST(Text, KeepsRandomGraphs) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    // The first line is a comment for the fuzzer.
    std::string text = fuzz::GenerateCase(seed);
    text = text.substr(text.find('\n') + 1);
    ASSERT_EQ(Again(text), text);
  }
}

TEST(Text, GivesALargeExpressionALineOfItsOwn) {
  Arena arena;
  Id id = arena.Make(Op::kVar, DType::kWeakInt, {}, Attr{{1, 9}, "n"});
  for (int i = 0; i < 64; ++i) {
    id = arena.Make(Op::kMul, DType::kWeakInt, {id, id});
  }
  const std::string text = ToText(arena, {id});
  EXPECT_LT(text.size(), 4000u);
  EXPECT_EQ(Parse(arena, text).value()[0], id);
}

TEST(Text, SaysWhereItCannotRead) {
  struct Row {
    const char* text;
    const char* expected;
  };
  const Row kRows[] = {
      {"", "line 1, column 1: expected 'return', got the end"},
      {"return %0", "line 1, column 8: %0 is not there yet"},
      {"return [n]", "line 1, column 9: 'n' is not there yet"},
      {"%0 = ad f32", "line 1, column 6: unknown op 'ad'"},
      {"\n%0 = add f33",
       "line 2, column 10: unknown dtype 'f33', expected one "
       "of: bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 "
       "f64 wint wfloat"},
      {"%0 = sin f32", "line 1, column 13: sin has 0 operands, expected 1"},
      {"%0 = const f32 1x",
       "line 1, column 16: expected a value of f32, got "
       "'1x'"},
      {"%0 = const u8 256",
       "line 1, column 15: expected a value of u8, got "
       "'256'"},
      {"%0 = input f32",
       "line 1, column 15: input has 0 attributes, expected "
       "1"},
      {"%0 = input f32[2,] {0}",
       "line 1, column 18: expected an expression, "
       "got '] {0}'"},
      {"%0 = input f32[true] {0}",
       "line 1, column 20: expected a scalar of "
       "wint before this place, got bool"},
      {"%0 = const f32 1\n%0 = const f32 2",
       "line 2, column 3: %0 is there "
       "already"},
      {"n = range [4] {serial}",
       "line 1, column 10: 'n' names a var, not a "
       "range"},
      {"return\nreturn",
       "line 2, column 1: expected nothing after 'return', "
       "got 'return'"},
      {"return [99999999999999999999]",
       "line 1, column 9: expected an integer "
       "of 64 bits, got "
       "'99999999999999999999'"},
      {"return [(1]", "line 1, column 11: expected ')', got ']'"},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(ErrorOf(row.text), row.expected) << row.text;
  }
}

TEST(Text, RefusesToFollowEndlessParentheses) {
  EXPECT_THAT(ErrorOf("return [" + std::string(100'000, '(')),
              HasSubstr("parentheses are nested too deeply"));
}

TEST(Text, ReadsAnExtentBelowAllOthers) {
  const std::string text =
      "r0 = range [-9223372036854775808] {serial}\n"
      "return [r0]\n";
  EXPECT_EQ(Again(text), text);
}

// Nothing that stands in a file may end the process.
TEST(Text, SurvivesDamage) {
  std::mt19937_64 random(11);
  const std::string alphabet = "%[]{}(),=@\"\\*+-/<&|0129rn \n";
  int read = 0;
  for (uint64_t round = 0; round < 3000; ++round) {
    std::string text = fuzz::GenerateCase(round % 20, {.max_nodes = 12});
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < changes; ++i) {
      const size_t at = random() % text.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 3) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text.erase(at, 1);
      }
    }
    Arena arena;
    const auto roots = Parse(arena, text);
    if (!roots.ok()) continue;
    ++read;
    EXPECT_EQ(Again(ToText(arena, *roots)), ToText(arena, *roots)) << text;
  }
  EXPECT_GT(read, 100);
}

}  // namespace
}  // namespace quern::ir
