// SPDX-License-Identifier: Apache-2.0
//
// The algebra of sizes against plain arithmetic: random expressions are built
// through the algebra and evaluated by brute force beside it.
#include "engine/ir/symbolic.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "engine/ir/eval.h"

namespace quern::ir {
namespace {

using ::testing::ElementsAre;

// Values of ranges and variables, by node.
using Point = absl::flat_hash_map<Id, int64_t>;

int64_t ValueAt(const Arena& arena, Id root, const Point& point) {
  absl::flat_hash_map<Id, int64_t> values = point;
  for (Id id : TopologicalOrder(arena, {root})) {
    if (values.contains(id)) continue;
    const Node& node = arena[id];
    if (arena.IsConst(id)) {
      values[id] = arena.IntValue(id);
      continue;
    }
    std::vector<Scalar> operands;
    for (Id src : node.srcs) {
      operands.push_back({arena[src].dtype, values.at(src)});
    }
    values[id] = Evaluate(node.op, node.dtype, operands).value().bits;
  }
  return values.at(root);
}

// Variables n and m, ranges r0 and r1 with small extents and r2 below n.
class Space {
 public:
  explicit Space(std::mt19937_64* random) : random_(*random) {
    // Half of the spaces have no negative numbers, where more is simplified.
    negative_ = Pick(0, 1) == 0;
    for (const char* name : {"n", "m"}) {
      const int64_t least = Pick(1, 3);
      const int64_t greatest = least + Pick(1, 9);
      atoms_.push_back({arena_.Make(Op::kVar, DType::kWeakInt, {},
                                    Attr{{least, greatest}, name}),
                        least, greatest});
    }
    for (int64_t i = 0; i < 3; ++i) {
      const int64_t size = Pick(1, 17);
      const Id extent = i == 2 ? atoms_[0].id : arena_.Int(size);
      atoms_.push_back(
          {arena_.Make(Op::kRange, DType::kWeakInt, {extent}, Attr{{i, 0}, {}}),
           0, size - 1});
    }
  }

  int64_t Pick(int64_t least, int64_t greatest) {
    return std::uniform_int_distribution<int64_t>(least, greatest)(random_);
  }
  Arena& arena() { return arena_; }

  Point RandomPoint() {
    Point point;
    atoms_.back().greatest = 0;
    for (Atom& atom : atoms_) {
      if (&atom == &atoms_.back()) atom.greatest = point[atoms_[0].id] - 1;
      // The ends are where bounds go wrong.
      const int64_t kind = Pick(0, 3);
      point[atom.id] = kind == 0   ? atom.least
                       : kind == 1 ? atom.greatest
                                   : Pick(atom.least, atom.greatest);
    }
    return point;
  }

  Id RandomAtom() { return atoms_[Pick(0, atoms_.size() - 1)].id; }

  // An expression through the algebra; `plain` is the same without it.
  struct Pair {
    Id id;
    Id plain;
  };
  Pair Random(int depth) {
    if (depth == 0 || Pick(0, 7) == 0) {
      const Id leaf = Pick(0, 2) == 0 ? arena_.Int(Pick(negative_ ? -6 : 0, 20))
                                      : RandomAtom();
      return {leaf, leaf};
    }
    static constexpr Op kOps[] = {Op::kAdd, Op::kMul, Op::kIDiv,
                                  Op::kMod, Op::kAdd, Op::kMul,
                                  Op::kSub, Op::kMin, Op::kMax};
    const Op op = kOps[Pick(0, negative_ ? 8 : 5)];
    const Pair a = Random(depth - 1);
    Pair b = Random(depth - 1);
    const bool divides = op == Op::kIDiv || op == Op::kMod;
    if (divides && Pick(0, 3) != 0) {
      b.id = b.plain = arena_.Int(Pick(1, 12));
    }
    return {Simplified(arena_, op, {a.id, b.id}),
            arena_.Make(op, DType::kWeakInt, {a.plain, b.plain})};
  }

 private:
  struct Atom {
    Id id;
    int64_t least;
    int64_t greatest;
  };

  std::mt19937_64& random_;
  bool negative_ = false;
  Arena arena_;
  std::vector<Atom> atoms_;
};

TEST(Symbolic, KeepsTheValueOfRandomExpressions) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 4000; ++round) {
    Space space(&random);
    const Space::Pair e = space.Random(4);
    for (int i = 0; i < 20; ++i) {
      const Point point = space.RandomPoint();
      ASSERT_EQ(ValueAt(space.arena(), e.id, point),
                ValueAt(space.arena(), e.plain, point))
          << "round " << round << ": " << SizeText(space.arena(), e.plain)
          << " became " << SizeText(space.arena(), e.id);
    }
  }
}

TEST(Symbolic, BoundsHoldEveryValue) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 4000; ++round) {
    Space space(&random);
    const Id id = space.Random(4).id;
    for (int i = 0; i < 20; ++i) {
      const int64_t value = ValueAt(space.arena(), id, space.RandomPoint());
      ASSERT_LE(space.arena()[id].least, value)
          << "round " << round << ": " << SizeText(space.arena(), id);
      ASSERT_GE(space.arena()[id].greatest, value)
          << "round " << round << ": " << SizeText(space.arena(), id);
    }
  }
}

TEST(Symbolic, ComparisonsHoldEverywhereWhenProven) {
  std::mt19937_64 random(3);
  int proven = 0;
  for (int round = 0; round < 4000; ++round) {
    Space space(&random);
    Arena& arena = space.arena();
    const Id a = space.Random(3).id;
    const Id b = space.Random(3).id;
    const bool less = ProvablyLess(arena, a, b);
    const bool equal = ProvablyEqual(arena, a, b);
    const Id less_node = Less(arena, a, b);
    const Id equal_node = Equal(arena, a, b);
    proven += less || equal;
    for (int i = 0; i < 20; ++i) {
      const Point point = space.RandomPoint();
      const int64_t x = ValueAt(arena, a, point);
      const int64_t y = ValueAt(arena, b, point);
      const std::string text =
          SizeText(arena, a) + " and " + SizeText(arena, b);
      ASSERT_TRUE(!less || x < y) << "round " << round << ": " << text;
      ASSERT_TRUE(!equal || x == y) << "round " << round << ": " << text;
      ASSERT_EQ(ValueAt(arena, less_node, point), x < y ? 1 : 0) << text;
      ASSERT_EQ(ValueAt(arena, equal_node, point), x == y ? 1 : 0) << text;
    }
  }
  EXPECT_GT(proven, 100);
}

TEST(Symbolic, SubstitutionAndEvaluationCommute) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 2000; ++round) {
    Space space(&random);
    Arena& arena = space.arena();
    const Id id = space.Random(4).id;
    const Point point = space.RandomPoint();
    Substitution numbers;
    for (const auto& [atom, value] : point) numbers[atom] = arena.Int(value);
    const Id replaced = Substitute(arena, id, numbers);
    EXPECT_EQ(ValueAt(arena, replaced, {}), ValueAt(arena, id, point))
        << "round " << round << ": " << SizeText(arena, id);
  }
}

TEST(Symbolic, SplitsAffineExpressions) {
  std::mt19937_64 random(5);
  int split = 0;
  for (int round = 0; round < 3000; ++round) {
    Space space(&random);
    Arena& arena = space.arena();
    const Id id = space.Random(3).id;
    const Id atom = space.RandomAtom();
    const Affine affine = AffineIn(arena, id, atom);
    if (affine.coefficient == kNoNode) continue;
    ++split;
    EXPECT_FALSE(Contains(arena, affine.coefficient, atom));
    EXPECT_FALSE(Contains(arena, affine.rest, atom));
    for (int i = 0; i < 10; ++i) {
      const Point point = space.RandomPoint();
      EXPECT_EQ(ValueAt(arena, id, point),
                ValueAt(arena, affine.coefficient, point) * point.at(atom) +
                    ValueAt(arena, affine.rest, point))
          << SizeText(arena, id);
    }
  }
  EXPECT_GT(split, 1000);
}

// Ranges r0 < 8 and r1 < 4, variables 1 <= n <= 64 and 1 <= m <= 64.
class SymbolicRule : public ::testing::Test {
 protected:
  Id Range(int64_t number, Id extent) {
    return arena_.Make(Op::kRange, DType::kWeakInt, {extent},
                       Attr{{number, 0}, {}});
  }
  Id Var(const char* name) {
    return arena_.Make(Op::kVar, DType::kWeakInt, {}, Attr{{1, 64}, name});
  }
  Id Int(int64_t value) { return arena_.Int(value); }
  std::string Text(Id id) { return SizeText(arena_, id); }

  Arena arena_;
  Id n_ = Var("n");
  Id m_ = Var("m");
  Id r0_ = Range(0, Int(8));
  Id r1_ = Range(1, Int(4));
  Id rn_ = Range(2, n_);
};

TEST_F(SymbolicRule, EqualSumsAreEqualNodes) {
  const Id a = Add(arena_, Mul(arena_, n_, Int(2)), Add(arena_, m_, Int(3)));
  const Id b = Add(arena_, Add(arena_, Int(3), n_), Add(arena_, n_, m_));
  EXPECT_EQ(a, b);
  EXPECT_EQ(Sub(arena_, a, b), Int(0));
}

TEST_F(SymbolicRule, UndoesWhatAReshapeDoes) {
  // r0 * 4 + r1 split by 4 is r0 and r1 again.
  const Id flat = Add(arena_, Mul(arena_, r0_, Int(4)), r1_);
  EXPECT_EQ(IDiv(arena_, flat, Int(4)), r0_);
  EXPECT_EQ(Mod(arena_, flat, Int(4)), r1_);
}

TEST_F(SymbolicRule, UndoesAReshapeByAVariable) {
  const Id flat = Add(arena_, Mul(arena_, r0_, n_), rn_);
  EXPECT_EQ(IDiv(arena_, flat, n_), r0_);
  EXPECT_EQ(Mod(arena_, flat, n_), rn_);
}

TEST_F(SymbolicRule, DividesInSteps) {
  const Id once = IDiv(arena_, rn_, Int(6));
  EXPECT_EQ(IDiv(arena_, IDiv(arena_, rn_, Int(2)), Int(3)), once);
}

TEST_F(SymbolicRule, ProvesThatARangeIsBelowItsExtent) {
  EXPECT_TRUE(ProvablyLess(arena_, rn_, n_));
  EXPECT_TRUE(ProvablyLess(arena_, Add(arena_, Mul(arena_, r0_, n_), rn_),
                           Mul(arena_, n_, Int(8))));
  EXPECT_FALSE(ProvablyLess(arena_, n_, rn_));
  EXPECT_FALSE(ProvablyLess(arena_, n_, m_));
}

TEST_F(SymbolicRule, DoesNotRepeatACondition) {
  const Id a = Less(arena_, r0_, n_);
  const Id b = Less(arena_, r1_, n_);
  EXPECT_EQ(And(arena_, And(arena_, a, b), a), And(arena_, a, b));
  EXPECT_EQ(And(arena_, a, arena_.IntConst(DType::kBool, 1)), a);
  EXPECT_EQ(Or(arena_, a, a), a);
}

TEST_F(SymbolicRule, GivesTheTermsOfASum) {
  const Id sum = Add(arena_, Add(arena_, r0_, n_), Int(3));
  EXPECT_THAT(TermsOf(arena_, sum), ElementsAre(r0_, n_, Int(3)));
  EXPECT_THAT(TermsOf(arena_, n_), ElementsAre(n_));
}

TEST_F(SymbolicRule, RoundsUp) {
  EXPECT_EQ(Text(CeilDiv(arena_, n_, Int(8))), "(n+7)/(8)");
  EXPECT_EQ(CeilDiv(arena_, Int(17), Int(8)), Int(3));
}

TEST(Symbolic, DividesTheLeastNumberByMinusOne) {
  Arena arena;
  const Id least = arena.Int(INT64_MIN);
  EXPECT_TRUE(arena.IsInt(IDiv(arena, least, arena.Int(-1)), INT64_MAX));
  EXPECT_TRUE(arena.IsInt(Mod(arena, least, arena.Int(-1)), 0));
}

TEST(Symbolic, SquaringWithoutEndEnds) {
  Arena arena;
  const Id n = arena.Make(Op::kVar, DType::kWeakInt, {}, Attr{{1, 64}, "n"});
  Id power = n;
  Id sum = n;
  for (int i = 0; i < 200; ++i) {
    power = Mul(arena, power, power);
    sum = Add(arena, power, Max(arena, sum, IDiv(arena, sum, arena.Int(2))));
  }
  EXPECT_LT(arena.size(), 100'000);
}

}  // namespace
}  // namespace quern::ir
