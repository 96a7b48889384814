// SPDX-License-Identifier: Apache-2.0
//
// Shapes, dtypes and messages of the builder, as tables.
#include "engine/ir/builder.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::ir {
namespace {

// Inputs that the tables use: x f32[2,3], v f32[3], s f32[2,n], i i32[4],
// t bool[2,3], n a size from 1 to 64.
struct Scene {
  Arena arena;
  Builder b{&arena};
  Id n = b.Var("n", 1, 64);
  Id x = b.Input(0, DType::kF32, {b.Int(2), b.Int(3)});
  Id v = b.Input(1, DType::kF32, {b.Int(3)});
  Id s = b.Input(2, DType::kF32, {b.Int(2), n});
  Id i = b.Input(3, DType::kI32, {b.Int(4)});
  Id t = b.Input(4, DType::kBool, {b.Int(2), b.Int(3)});

  std::vector<Id> Sizes(std::vector<int64_t> sizes) {
    std::vector<Id> ids;
    for (int64_t size : sizes) ids.push_back(b.Int(size));
    return ids;
  }
};

using Build = std::function<Id(Scene&)>;

TEST(Builder, InfersShapesAndDtypes) {
  struct Row {
    Build build;
    const char* expected;
  };
  const Row kRows[] = {
      {[](Scene& s) { return s.b.Add(s.x, s.v); }, "f32[2,3]"},
      {[](Scene& s) { return s.b.Add(s.x, s.b.Int(1)); }, "f32[2,3]"},
      {[](Scene& s) { return s.b.Mul(s.i, s.b.Float(0.5)); }, "wfloat[4]"},
      {[](Scene& s) { return s.b.Less(s.x, s.v); }, "bool[2,3]"},
      {[](Scene& s) { return s.b.Where(s.t, s.x, s.b.Int(0)); }, "f32[2,3]"},
      {[](Scene& s) {
         return s.b.Reshape(s.x, s.Sizes({3, 2}));
       },
       "f32[3,2]"},
      {[](Scene& s) {
         return s.b.Reshape(s.s, {s.n, s.b.Int(2)});
       },
       "f32[n,2]"},
      {[](Scene& s) {
         return s.b.Permute(s.x, {1, 0});
       },
       "f32[3,2]"},
      {[](Scene& s) {
         return s.b.Expand(s.v, {s.n, s.b.Int(3)});
       },
       "f32[n,3]"},
      {[](Scene& s) {
         return s.b.Pad(s.s, s.Sizes({0, 1}), {s.b.Int(0), s.n});
       },
       "f32[2,n*2+1]"},
      {[](Scene& s) {
         return s.b.Shrink(s.x, s.Sizes({0, 1}), s.Sizes({2, 1}), {1, 2});
       },
       "f32[2,1]"},
      {[](Scene& s) { return s.b.Flip(s.x, {-1}); }, "f32[2,3]"},
      {[](Scene& s) {
         return s.b.Concat({s.x, s.s}, 1);
       },
       "f32[2,n+3]"},
      {[](Scene& s) { return s.b.Window(s.x, 1, 2, 1, 1); }, "f32[2,2,2]"},
      {[](Scene& s) { return s.b.Gather(s.x, s.i, 1); }, "f32[2,4]"},
      {[](Scene& s) { return s.b.Reduce(Op::kMax, s.x, {-1}); }, "f32[2]"},
      {[](Scene& s) {
         return s.b.Reduce(Op::kAdd, s.b.Cast(s.x, DType::kF16), {0, 1});
       },
       "f16"},
      {[](Scene& s) { return s.b.Unary(Op::kExp2, s.x); }, "f32[2,3]"},
      {[](Scene& s) { return s.b.Bitcast(s.x, DType::kU32); }, "u32[2,3]"},
      {[](Scene& s) { return s.b.Not(s.t); }, "bool[2,3]"},
      {[](Scene& s) { return s.b.Iota(s.n); }, "wint[n]"},
      {[](Scene& s) { return s.b.Copy(s.x, "gpu"); }, "f32[2,3]"},
  };
  for (const Row& row : kRows) {
    Scene scene;
    const Id id = row.build(scene);
    ASSERT_TRUE(scene.b.ok()) << scene.b.status() << " for " << row.expected;
    const std::string dims = scene.b.Rank(id) == 0 ? "" : scene.b.ShapeText(id);
    EXPECT_EQ(absl::StrCat(Name(scene.b.DTypeOf(id)), dims), row.expected);
  }
}

TEST(Builder, SaysWhatIsWrong) {
  struct Row {
    Build build;
    const char* message;
  };
  const Row kRows[] = {
      {[](Scene& s) { return s.b.Add(s.x, s.i); },
       "add: shapes [2,3] and [4] do not broadcast"},
      {[](Scene& s) { return s.b.Add(s.x, s.s); },
       "add: shapes [2,3] and [2,n] do not broadcast"},
      {[](Scene& s) { return s.b.Binary(Op::kAnd, s.x, s.x); },
       "and of f32 and f32"},
      {[](Scene& s) { return s.b.Add(s.t, s.t); }, "add of bool and bool"},
      {[](Scene& s) { return s.b.Div(s.i, s.i); }, "div of i32 and i32"},
      {[](Scene& s) { return s.b.Unary(Op::kSqrt, s.i); }, "sqrt of i32"},
      {[](Scene& s) { return s.b.Unary(Op::kAdd, s.x); },
       "'add' is no unary operation"},
      {[](Scene& s) { return s.b.Where(s.x, s.x, s.x); },
       "where: the condition is f32, expected bool"},
      {[](Scene& s) { return s.b.Fma(s.i, s.i, s.i); }, "fma of i32"},
      {[](Scene& s) { return s.b.Bitcast(s.x, DType::kF64); },
       "bitcast from f32 to f64"},
      {[](Scene& s) { return s.b.Not(s.x); }, "not of f32"},
      {[](Scene& s) {
         return s.b.Reshape(s.x, s.Sizes({4, 2}));
       },
       "cannot reshape [2,3] to [4,2]: 6 elements against 8"},
      {[](Scene& s) { return s.b.Reshape(s.s, s.Sizes({4})); },
       "cannot reshape [2,n] to [4]: n*2 elements against 4"},
      {[](Scene& s) {
         return s.b.Permute(s.x, {0, 0});
       },
       "axes of a permutation of a tensor of rank 2 are not a permutation"},
      {[](Scene& s) {
         return s.b.Expand(s.x, s.Sizes({3, 3}));
       },
       "cannot expand [2,3] to [3,3]"},
      {[](Scene& s) { return s.b.Expand(s.x, s.Sizes({3})); },
       "cannot expand [2,3] to [3]"},
      {[](Scene& s) { return s.b.Pad(s.v, s.Sizes({-1}), s.Sizes({0})); },
       "negative padding -1,0 of axis 0"},
      {[](Scene& s) { return s.b.Pad(s.x, s.Sizes({1}), s.Sizes({0})); },
       "padding has 1 and 1 sizes for rank 2"},
      {[](Scene& s) { return s.b.Shrink(s.v, s.Sizes({2}), s.Sizes({2})); },
       "slice of axis 0 from 2, 2 elements with step 1, does not fit [3]"},
      {[](Scene& s) { return s.b.Flip(s.x, {2}); },
       "axis 2 is outside a tensor of rank 2"},
      {[](Scene& s) {
         return s.b.Concat({s.x, s.v}, 0);
       },
       "concat along axis 0 of [2,3] and [3]"},
      {[](Scene& s) { return s.b.Concat({}, 0); }, "concat of no tensors"},
      {[](Scene& s) { return s.b.Window(s.v, 0, 4, 1, 1); },
       "window of 4 taps with dilation 1 does not fit axis 0 of [3]"},
      {[](Scene& s) { return s.b.Window(s.v, 0, 1, 0, 1); },
       "window of 1 taps with stride 0 and dilation 1"},
      {[](Scene& s) { return s.b.Gather(s.x, s.v, 0); },
       "gather indices are f32, expected an integer type"},
      {[](Scene& s) { return s.b.Reduce(Op::kSub, s.x, {0}); },
       "'sub' is no reduction"},
      {[](Scene& s) { return s.b.Reduce(Op::kAdd, s.t, {0}); },
       "reduce add of bool"},
      {[](Scene& s) {
         return s.b.Reduce(Op::kAdd, s.x, {0, 0});
       },
       "an axis is reduced twice"},
      {[](Scene& s) {
         return s.b.ConstArray(DType::kI8, {1, 2}, s.Sizes({3}));
       },
       "constant array of shape [3] has 2 elements"},
      {[](Scene& s) { return s.b.Var("m", 3, 2); },
       "variable 'm' has the bounds 3..2"},
      {[](Scene& s) { return s.b.Copy(s.x, ""); },
       "copy to a device without a name"},
      {[](Scene& s) {
         return s.b.Input(9, DType::kF32, s.Sizes({1 << 30, 1 << 30}));
       },
       "shape [1073741824,1073741824] has more than 1099511627776 elements"},
      {[](Scene& s) { return s.b.Input(9, DType::kF32, s.Sizes({-1})); },
       "negative dimension in shape [-1]"},
      {[](Scene& s) {
         return s.b.Input(9, DType::kF32, s.Sizes(std::vector<int64_t>(17, 1)));
       },
       "rank 17 is over the limit of 16"},
  };
  for (const Row& row : kRows) {
    Scene scene;
    EXPECT_EQ(row.build(scene), kNoNode) << row.message;
    EXPECT_EQ(scene.b.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(scene.b.status().message(), row.message);
  }
}

TEST(Builder, KeepsTheFirstErrorAndDoesNothingAfterIt) {
  Scene scene;
  scene.b.SetContext("node 'a' (Add)");
  scene.b.Add(scene.x, scene.i);
  const size_t size = scene.arena.size();
  EXPECT_EQ(scene.b.Mul(scene.x, scene.x), kNoNode);
  EXPECT_EQ(scene.b.Invalid("another"), kNoNode);
  EXPECT_EQ(scene.arena.size(), size);
  EXPECT_EQ(scene.b.status().message(),
            "node 'a' (Add): add: shapes [2,3] and [4] do not broadcast");
}

TEST(Builder, PromotesAsInTheLattice) {
  struct Row {
    DType a;
    DType b;
    DType expected;
  };
  const Row kRows[] = {
      {DType::kI8, DType::kU8, DType::kI16},
      {DType::kI32, DType::kU32, DType::kI64},
      {DType::kI64, DType::kU64, DType::kF32},
      {DType::kF16, DType::kBF16, DType::kF32},
      {DType::kF16, DType::kI64, DType::kF16},
      {DType::kBool, DType::kU8, DType::kU8},
      {DType::kI8, DType::kWeakInt, DType::kI8},
      {DType::kI8, DType::kWeakFloat, DType::kWeakFloat},
      {DType::kBF16, DType::kWeakFloat, DType::kBF16},
      {DType::kBool, DType::kWeakInt, DType::kWeakInt},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(Promote(row.a, row.b), row.expected)
        << Name(row.a) << " " << Name(row.b);
    EXPECT_EQ(Promote(row.b, row.a), row.expected);
  }
}

TEST(Builder, GivesAWeakConstantTheTypeOfItsPartner) {
  Scene scene;
  const Id sum = scene.b.Add(scene.x, scene.b.Int(1));
  const Node& node = scene.arena[sum];
  const Id expanded = node.srcs[1];
  EXPECT_EQ(scene.arena[expanded].dtype, DType::kF32);
  EXPECT_EQ(scene.b.Scalar(DType::kU8, 300), scene.b.Scalar(DType::kU8, 255));
  EXPECT_EQ(scene.arena.IntConst(DType::kU8, -1),
            scene.arena.IntConst(DType::kU8, 255));
}

TEST(Builder, DoesNothingWhereNothingChanges) {
  Scene scene;
  Builder& b = scene.b;
  EXPECT_EQ(b.Reshape(scene.x, b.Dims(scene.x)), scene.x);
  EXPECT_EQ(b.Permute(scene.x, {0, 1}), scene.x);
  EXPECT_EQ(b.Expand(scene.x, b.Dims(scene.x)), scene.x);
  EXPECT_EQ(b.Pad(scene.v, scene.Sizes({0}), scene.Sizes({0})), scene.v);
  EXPECT_EQ(b.Shrink(scene.v, scene.Sizes({0}), scene.Sizes({3})), scene.v);
  EXPECT_EQ(b.Reduce(Op::kAdd, scene.x, {}), scene.x);
  EXPECT_EQ(b.Cast(scene.x, DType::kF32), scene.x);
  EXPECT_EQ(b.Concat({scene.x}, 0), scene.x);
  EXPECT_EQ(b.Where(scene.t, scene.x, scene.x), scene.x);
}

TEST(Builder, RefusesWhatIsPaddedBeyondAllSizes) {
  Arena arena;
  Builder b(&arena);
  const Id x = b.Input(0, DType::kF32, std::vector<Id>{b.Var("n", 1, 64)});
  b.Pad(x, std::vector<Id>{b.Int(0)}, std::vector<Id>{b.Int(INT64_MAX)});
  EXPECT_THAT(b.status().message(),
              ::testing::HasSubstr("the limit is 1099511627776"));
}

TEST(Builder, ASizeOfAnAxisThatThereIsNotIsAnError) {
  Arena arena;
  Builder b(&arena);
  const Id x = b.Input(0, DType::kF32, std::vector<Id>{b.Int(7)});
  EXPECT_TRUE(arena.IsInt(b.Dim(x, -1), 7));
  EXPECT_TRUE(b.ok());
  EXPECT_TRUE(arena.IsInt(b.Dim(x, 1), 1));
  EXPECT_THAT(b.status().message(), ::testing::HasSubstr("axis 1 is outside"));
}

}  // namespace
}  // namespace quern::ir
