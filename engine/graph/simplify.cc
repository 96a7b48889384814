// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/simplify.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Arena;
using ir::Attr;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;

// The operand that is the tensor; the others are sizes.
Id Src(const Arena& arena, Id id) { return arena[id].srcs[0]; }

// The constant that every element of `id` is, or kNoNode.
Id UniformOf(const Arena& arena, Id id) {
  while (arena[id].op == Op::kExpand || arena[id].op == Op::kReshape) {
    id = Src(arena, id);
  }
  return arena.IsConst(id) ? id : kNoNode;
}

// The constant as a tensor of the shape of `like`, in the one form that these
// rules leave: const, reshaped to ones, expanded.
Id Spread(Arena& arena, Id constant, Id like) {
  const ir::ShapeId shape = arena[like].shape;
  const size_t rank = arena.Dims(shape).size();
  const DType dtype = arena[constant].dtype;
  if (rank == 0) return constant;
  const std::vector<int64_t> ones(rank, 1);
  const ir::ShapeId unit = arena.MakeShape(ones);
  const Id column = arena.Make(Op::kReshape, dtype, {constant}, {}, unit);
  if (unit == shape) return column;
  return arena.Make(Op::kExpand, dtype, {column}, {}, shape);
}

bool IsValue(const Arena& arena, Id id, double value, bool negative_zero) {
  const Id constant = UniformOf(arena, id);
  if (constant == kNoNode) return false;
  const double v = arena.FloatValue(constant);
  return v == value && (v != 0 || std::signbit(v) == negative_zero ||
                        !ir::IsFloat(arena[constant].dtype));
}
bool IsOne(const Arena& a, Id id) { return IsValue(a, id, 1, false); }
bool IsMinusOne(const Arena& a, Id id) { return IsValue(a, id, -1, false); }
bool IsPlusZero(const Arena& a, Id id) { return IsValue(a, id, 0, false); }
// What may be added without a trace: of floats only -0, of integers 0.
bool IsNeutralAddend(const Arena& a, Id id) { return IsValue(a, id, 0, true); }

// The sizes that follow the tensor as operands of kPad and kShrink.
absl::Span<const Id> Offsets(const Arena& arena, Id id) {
  return arena[id].srcs.subspan(1);
}

// --- Movement.

Id ReshapeToItself(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  return arena[x].shape == arena[id].shape ? x : kNoNode;
}

Id ReshapeOfReshape(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kReshape) return kNoNode;
  return arena.Make(Op::kReshape, arena[id].dtype, {Src(arena, x)}, {},
                    arena[id].shape);
}

Id ExpandToItself(Arena& arena, Id id) { return ReshapeToItself(arena, id); }

Id ExpandOfExpand(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kExpand) return kNoNode;
  return arena.Make(Op::kExpand, arena[id].dtype, {Src(arena, x)}, {},
                    arena[id].shape);
}

Id PermuteOfPermute(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kPermute) return kNoNode;
  std::vector<int64_t> order;
  for (int64_t axis : arena[id].attr->ints) {
    order.push_back(arena[x].attr->ints[axis]);
  }
  const Id inner = Src(arena, x);
  if (std::is_sorted(order.begin(), order.end())) return inner;
  return arena.Make(Op::kPermute, arena[id].dtype, {inner}, Attr{order, {}},
                    arena[id].shape);
}

// Axes of size 1 may stand anywhere.
Id PermuteOfOnes(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  const absl::Span<const Id> dims = arena.DimsOf(x);
  int64_t last = -1;
  for (int64_t axis : arena[id].attr->ints) {
    if (arena.IsInt(dims[axis], 1)) continue;
    if (axis < last) return kNoNode;
    last = axis;
  }
  return arena.Make(Op::kReshape, arena[id].dtype, {x}, {}, arena[id].shape);
}

Id FlipOfFlip(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kFlip) return kNoNode;
  const std::vector<int64_t>& a = arena[id].attr->ints;
  const std::vector<int64_t>& b = arena[x].attr->ints;
  std::vector<int64_t> axes;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(),
                                std::back_inserter(axes));
  const Id inner = Src(arena, x);
  if (axes.empty()) return inner;
  return arena.Make(Op::kFlip, arena[id].dtype, {inner}, Attr{axes, {}},
                    arena[id].shape);
}

Id FlipOfOnes(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  std::vector<int64_t> axes;
  for (int64_t axis : arena[id].attr->ints) {
    if (!arena.IsInt(arena.DimsOf(x)[axis], 1)) axes.push_back(axis);
  }
  if (axes.empty()) return x;
  if (axes.size() == arena[id].attr->ints.size()) return kNoNode;
  return arena.Make(Op::kFlip, arena[id].dtype, {x}, Attr{axes, {}},
                    arena[id].shape);
}

Id ShrinkOfShrink(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kShrink) return kNoNode;
  std::vector<int64_t> steps = arena[id].attr->ints;
  std::vector<Id> srcs = {Src(arena, x)};
  for (size_t i = 0; i < steps.size(); ++i) {
    const int64_t inner = arena[x].attr->ints[i];
    const Id scaled = ir::Mul(arena, Offsets(arena, id)[i], arena.Int(inner));
    srcs.push_back(ir::Add(arena, Offsets(arena, x)[i], scaled));
    if (__builtin_mul_overflow(steps[i], inner, &steps[i])) return kNoNode;
  }
  return arena.Make(Op::kShrink, arena[id].dtype, srcs, Attr{steps, {}},
                    arena[id].shape);
}

Id PadOfPad(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kPad) return kNoNode;
  std::vector<Id> srcs = {Src(arena, x)};
  for (size_t i = 0; i < Offsets(arena, id).size(); ++i) {
    srcs.push_back(ir::Add(arena, Offsets(arena, id)[i], Offsets(arena, x)[i]));
  }
  return arena.Make(Op::kPad, arena[id].dtype, srcs, {}, arena[id].shape);
}

// A box that lies inside of what was padded does not see the padding.
Id ShrinkOfPad(Arena& arena, Id id) {
  const Id x = Src(arena, id);
  if (arena[x].op != Op::kPad) return kNoNode;
  const Id inner = Src(arena, x);
  const std::vector<int64_t> steps = arena[id].attr->ints;
  std::vector<Id> srcs = {inner};
  for (size_t i = 0; i < steps.size(); ++i) {
    const Id begin =
        ir::Sub(arena, Offsets(arena, id)[i], Offsets(arena, x)[i]);
    const Id more = ir::Sub(arena, arena.DimsOf(id)[i], arena.Int(1));
    const Id last =
        ir::Add(arena, begin, ir::Mul(arena, more, arena.Int(steps[i])));
    if (arena[begin].least < 0 ||
        !ir::ProvablyLess(arena, last, arena.DimsOf(inner)[i])) {
      return kNoNode;
    }
    srcs.push_back(begin);
  }
  if (arena[inner].shape == arena[id].shape) return inner;
  return arena.Make(Op::kShrink, arena[id].dtype, srcs, Attr{steps, {}},
                    arena[id].shape);
}

// Positions begin, begin + step, ... inside of the axis are a slice.
Id GatherOfSlice(Arena& arena, Id id) {
  const Id x = arena[id].srcs[0];
  const Id indices = arena[id].srcs[1];
  const std::vector<int64_t>& at = arena[indices].attr->ints;
  if (arena[indices].op != Op::kConstArray || arena.Rank(indices) != 1 ||
      at.size() < 2) {
    return kNoNode;
  }
  const int64_t axis = arena[id].attr->ints[0];
  const Id size = arena.DimsOf(x)[axis];
  const int64_t step = at[1] - at[0];
  if (step <= 0 || at[0] < 0 || arena[size].least <= at.back()) return kNoNode;
  for (size_t i = 1; i < at.size(); ++i) {
    if (at[i] - at[i - 1] != step) return kNoNode;
  }
  std::vector<int64_t> steps(static_cast<size_t>(arena.Rank(x)), 1);
  std::vector<Id> srcs(steps.size() + 1, arena.Int(0));
  srcs[0] = x;
  srcs[static_cast<size_t>(axis) + 1] = arena.Int(at[0]);
  steps[axis] = step;
  if (arena[x].shape == arena[id].shape) return x;
  return arena.Make(Op::kShrink, arena[id].dtype, srcs, Attr{steps, {}},
                    arena[id].shape);
}

// Moving equal elements changes nothing but the shape.
Id MovedConstant(Arena& arena, Id id) {
  const Id constant = UniformOf(arena, Src(arena, id));
  return constant == kNoNode ? kNoNode : Spread(arena, constant, id);
}

Id PaddedZero(Arena& arena, Id id) {
  return IsPlusZero(arena, Src(arena, id)) ? MovedConstant(arena, id) : kNoNode;
}

Id ConcatOfConstant(Arena& arena, Id id) {
  const Id constant = UniformOf(arena, Src(arena, id));
  for (Id part : arena[id].srcs) {
    if (UniformOf(arena, part) != constant) return kNoNode;
  }
  return constant == kNoNode ? kNoNode : Spread(arena, constant, id);
}

// A constant in its one form: nothing between it and the last expansion but a
// reshape to ones.
Id NormalConstant(Arena& arena, Id id) {
  const Id constant = UniformOf(arena, id);
  if (constant == kNoNode) return kNoNode;
  const Id spread = Spread(arena, constant, id);
  return spread == id ? kNoNode : spread;
}

// --- Arithmetic.

Id Left(const Arena& arena, Id id) { return arena[id].srcs[0]; }
Id Right(const Arena& arena, Id id) { return arena[id].srcs[1]; }

// Constants stand on the right of what commutes.
Id ConstantRight(Arena& arena, Id id) {
  if (UniformOf(arena, Left(arena, id)) == kNoNode ||
      UniformOf(arena, Right(arena, id)) != kNoNode ||
      ir::IsSymbolic(arena, id)) {
    return kNoNode;
  }
  return arena.Make(arena[id].op, arena[id].dtype,
                    {Right(arena, id), Left(arena, id)}, {}, arena[id].shape);
}

Id TimesOne(Arena& arena, Id id) {
  return IsOne(arena, Right(arena, id)) ? Left(arena, id) : kNoNode;
}

Id TimesMinusOne(Arena& arena, Id id) {
  if (!IsMinusOne(arena, Right(arena, id)) || ir::IsSymbolic(arena, id)) {
    return kNoNode;
  }
  return arena.Make(Op::kNeg, arena[id].dtype, {Left(arena, id)}, {},
                    arena[id].shape);
}

Id TimesZeroOfIntegers(Arena& arena, Id id) {
  const bool zero =
      !ir::IsFloat(arena[id].dtype) && IsPlusZero(arena, Right(arena, id));
  return zero ? Right(arena, id) : kNoNode;
}

Id PlusNothing(Arena& arena, Id id) {
  return IsNeutralAddend(arena, Right(arena, id)) ? Left(arena, id) : kNoNode;
}

Id MinusZero(Arena& arena, Id id) {
  return IsPlusZero(arena, Right(arena, id)) ? Left(arena, id) : kNoNode;
}

Id OverOne(Arena& arena, Id id) { return TimesOne(arena, id); }

// Both are the same real number rounded once, since 2^-k has no error.
Id OverPowerOfTwo(Arena& arena, Id id) {
  const Id constant = UniformOf(arena, Right(arena, id));
  if (constant == kNoNode) return kNoNode;
  int exponent = 0;
  const double fraction =
      std::frexp(std::fabs(arena.FloatValue(constant)), &exponent);
  // Within the exponents of every float type.
  if (fraction != 0.5 || exponent < -13 || exponent > 14) return kNoNode;
  const Id inverse =
      arena.FloatConst(arena[constant].dtype, 1 / arena.FloatValue(constant));
  return arena.Make(Op::kMul, arena[id].dtype,
                    {Left(arena, id), Spread(arena, inverse, id)}, {},
                    arena[id].shape);
}

Id NegOfNeg(Arena& arena, Id id) {
  const Id x = Left(arena, id);
  return arena[x].op == Op::kNeg ? Left(arena, x) : kNoNode;
}

Id WithItself(Arena& arena, Id id) {
  return Left(arena, id) == Right(arena, id) ? Left(arena, id) : kNoNode;
}

// not not x, of bools and of integers.
Id XorTwice(Arena& arena, Id id) {
  const Id x = Left(arena, id);
  if (arena[x].op != Op::kXor || Right(arena, x) != Right(arena, id)) {
    return kNoNode;
  }
  return Left(arena, x);
}

Id AndWithBool(Arena& arena, Id id) {
  const Id constant = UniformOf(arena, Right(arena, id));
  if (constant == kNoNode || arena[id].dtype != DType::kBool) return kNoNode;
  return arena.IntValue(constant) != 0 ? Left(arena, id) : Right(arena, id);
}

Id OrWithBool(Arena& arena, Id id) {
  const Id constant = UniformOf(arena, Right(arena, id));
  if (constant == kNoNode || arena[id].dtype != DType::kBool) return kNoNode;
  return arena.IntValue(constant) != 0 ? Right(arena, id) : Left(arena, id);
}

Id WhereDecided(Arena& arena, Id id) {
  const Node& node = arena[id];
  if (node.srcs[1] == node.srcs[2]) return node.srcs[1];
  const Id condition = UniformOf(arena, node.srcs[0]);
  if (condition == kNoNode) return kNoNode;
  return node.srcs[arena.IntValue(condition) != 0 ? 1 : 2];
}

// where(c, where(c, x, y), z) -> where(c, x, z), and the like on the right.
Id WhereOfWhere(Arena& arena, Id id) {
  const Node node = arena[id];
  Id x = node.srcs[1];
  Id z = node.srcs[2];
  if (arena[x].op == Op::kWhere && arena[x].srcs[0] == node.srcs[0]) {
    x = arena[x].srcs[1];
  }
  if (arena[z].op == Op::kWhere && arena[z].srcs[0] == node.srcs[0]) {
    z = arena[z].srcs[2];
  }
  if (x == node.srcs[1] && z == node.srcs[2]) return kNoNode;
  return arena.Make(Op::kWhere, node.dtype, {node.srcs[0], x, z}, {},
                    node.shape);
}

// True if `to` holds every value of `from`.
bool Holds(DType to, DType from) {
  if (from == DType::kBool || to == from) return true;
  if (ir::IsWeak(to) || ir::IsWeak(from) || to == DType::kBool) return false;
  const int64_t room = ir::ByteSize(to);
  const int64_t need = ir::ByteSize(from);
  if (ir::IsFloat(from)) {
    const bool halves = room == 2 && need == 2;
    return ir::IsFloat(to) && room >= need && !halves;
  }
  if (ir::IsFloat(to)) return false;
  if (ir::KindOf(from) == ir::KindOf(to)) return room >= need;
  return ir::KindOf(from) == ir::DTypeKind::kUnsigned && room > need;
}

Id CastOfCast(Arena& arena, Id id) {
  const Id x = Left(arena, id);
  if (arena[x].op != Op::kCast) return kNoNode;
  const Id inner = Left(arena, x);
  if (!Holds(arena[x].dtype, arena[inner].dtype)) return kNoNode;
  if (arena[inner].dtype == arena[id].dtype) return inner;
  return arena.Make(Op::kCast, arena[id].dtype, {inner}, {}, arena[id].shape);
}

Id CastToItself(Arena& arena, Id id) {
  const Id x = Left(arena, id);
  return arena[x].dtype == arena[id].dtype ? x : kNoNode;
}

// Every operand the same constant everywhere: so is the result.
Id Folded(Arena& arena, Id id) {
  const Node node = arena[id];
  if (ir::IsSymbolic(arena, id)) return kNoNode;
  std::vector<ir::Scalar> operands;
  for (Id src : node.srcs) {
    const Id constant = UniformOf(arena, src);
    if (constant == kNoNode) return kNoNode;
    operands.push_back({arena[constant].dtype, arena[constant].attr->ints[0]});
  }
  const auto value =
      ir::Evaluate(node.op, node.dtype, operands, ir::Rounding::kAll);
  if (!value.ok()) return kNoNode;
  const Id constant =
      arena.Make(Op::kConst, node.dtype, {}, Attr{{value->bits}, {}});
  return Spread(arena, constant, id);
}

// A maximum of maxima, a minimum of minima: exact in any order.
Id ReduceOfReduce(Arena& arena, Id id) {
  const Id x = Left(arena, id);
  const std::vector<int64_t>& outer = arena[id].attr->ints;
  const auto op = static_cast<Op>(outer[0]);
  if (arena[x].op != Op::kReduce || (op != Op::kMax && op != Op::kMin) ||
      arena[x].attr->ints[0] != outer[0]) {
    return kNoNode;
  }
  const Id inner = Left(arena, x);
  std::vector<int64_t> axes(arena[x].attr->ints.begin() + 1,
                            arena[x].attr->ints.end());
  std::vector<int64_t> left;  // The axes of `inner` that `x` has.
  for (int64_t i = 0; i < arena.Rank(inner); ++i) {
    if (!std::binary_search(axes.begin(), axes.end(), i)) left.push_back(i);
  }
  for (size_t i = 1; i < outer.size(); ++i) axes.push_back(left[outer[i]]);
  std::sort(axes.begin(), axes.end());
  axes.insert(axes.begin(), outer[0]);
  return arena.Make(Op::kReduce, arena[id].dtype, {inner}, Attr{axes, {}},
                    arena[id].shape);
}

// clang-format off
constexpr ir::Rule kRules[] = {
    // Movement.
    {"reshape x to its shape -> x",           Op::kReshape, ReshapeToItself},
    {"const in its one form",                 Op::kReshape, NormalConstant},
    {"reshape reshape x -> reshape x",        Op::kReshape, ReshapeOfReshape},
    {"expand x to its shape -> x",            Op::kExpand,  ExpandToItself},
    {"const in its one form",                 Op::kExpand,  NormalConstant},
    {"expand expand x -> expand x",           Op::kExpand,  ExpandOfExpand},
    {"permute const -> const",                Op::kPermute, MovedConstant},
    {"permute permute x -> permute x",        Op::kPermute, PermuteOfPermute},
    {"permute of axes of 1 -> reshape",       Op::kPermute, PermuteOfOnes},
    {"flip const -> const",                   Op::kFlip,    MovedConstant},
    {"flip flip x -> flip x",                 Op::kFlip,    FlipOfFlip},
    {"flip of axes of 1 -> x",                Op::kFlip,    FlipOfOnes},
    {"shrink const -> const",                 Op::kShrink,  MovedConstant},
    {"shrink shrink x -> shrink x",           Op::kShrink,  ShrinkOfShrink},
    {"shrink pad x -> shrink x inside",       Op::kShrink,  ShrinkOfPad},
    {"pad 0 -> 0",                            Op::kPad,     PaddedZero},
    {"pad pad x -> pad x",                    Op::kPad,     PadOfPad},
    {"window const -> const",                 Op::kWindow,  MovedConstant},
    {"concat of equal consts -> const",       Op::kConcat,  ConcatOfConstant},
    {"gather const -> const",                 Op::kGather,  MovedConstant},
    {"gather x at a, a+s, .. -> shrink x",    Op::kGather,  GatherOfSlice},
    {"reduce reduce x, max or min",           Op::kReduce,  ReduceOfReduce},
    // Constants.
    {"c + c",        Op::kAdd,   Folded},
    {"c - c",        Op::kSub,   Folded},
    {"c * c",        Op::kMul,   Folded},
    {"c / c",        Op::kDiv,   Folded},
    {"c idiv c",     Op::kIDiv,  Folded},
    {"c mod c",      Op::kMod,   Folded},
    {"max c c",      Op::kMax,   Folded},
    {"min c c",      Op::kMin,   Folded},
    {"c < c",        Op::kCmpLt, Folded},
    {"c == c",       Op::kCmpEq, Folded},
    {"c != c",       Op::kCmpNe, Folded},
    {"c & c",        Op::kAnd,   Folded},
    {"c | c",        Op::kOr,    Folded},
    {"c ^ c",        Op::kXor,   Folded},
    {"c << c",       Op::kShl,   Folded},
    {"c >> c",       Op::kShr,   Folded},
    {"neg c",        Op::kNeg,   Folded},
    {"sqrt c",       Op::kSqrt,  Folded},
    {"exp2 c",       Op::kExp2,  Folded},
    {"log2 c",       Op::kLog2,  Folded},
    {"sin c",        Op::kSin,   Folded},
    {"tanh c",       Op::kTanh,  Folded},
    {"erf c",        Op::kErf,   Folded},
    {"trunc c",      Op::kTrunc, Folded},
    {"fma c c c",    Op::kFma,   Folded},
    {"cast c",       Op::kCast,  Folded},
    {"bitcast c",    Op::kBitcast, Folded},
    // Arithmetic.
    {"c + x -> x + c",              Op::kAdd,   ConstantRight},
    {"x + -0 -> x",                 Op::kAdd,   PlusNothing},
    {"x - 0 -> x",                  Op::kSub,   MinusZero},
    {"c * x -> x * c",              Op::kMul,   ConstantRight},
    {"x * 1 -> x",                  Op::kMul,   TimesOne},
    {"x * -1 -> neg x",             Op::kMul,   TimesMinusOne},
    {"x * 0 -> 0 of integers",      Op::kMul,   TimesZeroOfIntegers},
    {"x / 1 -> x",                  Op::kDiv,   OverOne},
    {"x / 2^k -> x * 2^-k",         Op::kDiv,   OverPowerOfTwo},
    {"x idiv 1 -> x",               Op::kIDiv,  OverOne},
    {"neg neg x -> x",              Op::kNeg,   NegOfNeg},
    {"max c x -> max x c",          Op::kMax,   ConstantRight},
    {"max x x -> x",                Op::kMax,   WithItself},
    {"min c x -> min x c",          Op::kMin,   ConstantRight},
    {"min x x -> x",                Op::kMin,   WithItself},
    {"c & x -> x & c",              Op::kAnd,   ConstantRight},
    {"x & x -> x",                  Op::kAnd,   WithItself},
    {"x & true -> x, x & false",    Op::kAnd,   AndWithBool},
    {"c | x -> x | c",              Op::kOr,    ConstantRight},
    {"x | x -> x",                  Op::kOr,    WithItself},
    {"x | false -> x, x | true",    Op::kOr,    OrWithBool},
    {"c ^ x -> x ^ c",              Op::kXor,   ConstantRight},
    {"x ^ c ^ c -> x",              Op::kXor,   XorTwice},
    {"where of a const, or x x",    Op::kWhere, WhereDecided},
    {"where c (where c x _) y",     Op::kWhere, WhereOfWhere},
    {"cast x to its dtype -> x",    Op::kCast,  CastToItself},
    {"cast cast x -> cast x",       Op::kCast,  CastOfCast},
};
// clang-format on

}  // namespace

absl::Span<const ir::Rule> SimplifyRules() { return kRules; }

absl::StatusOr<std::vector<Id>> Simplify(Arena& arena,
                                         absl::Span<const Id> roots,
                                         const ir::RewriteOptions& options) {
  return ir::Rewrite(arena, roots, kRules, options);
}

}  // namespace quern::graph
