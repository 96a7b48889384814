// SPDX-License-Identifier: Apache-2.0
//
// The conversions rest on rounding to odd: a value cut to fewer bits, whose
// last bit is set if anything was cut off, can be rounded to still fewer bits
// (two less at least) as if it had been whole (Boldo and Melquiond, "When
// double rounding is odd", 2005).
#include "engine/kernel/decompose.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

#include "engine/base/status_macros.h"
#include "engine/ir/rewrite.h"
#include "engine/kernel/expression.h"
#include "engine/kernel/transcendental.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Op;

using Function = Id (*)(ir::Arena&, Id, bool);

template <Function kFunction, bool kFused>
Id Elementary(ir::Arena& arena, Id id) {
  return kFunction(arena, arena[id].srcs[0], kFused);
}

// `v` without its last `count` bits, rounded to odd.
Expression RoundedToOdd(Expression v, int count) {
  const uint64_t low = (uint64_t{1} << count) - 1;
  // Any low bit carries into the one above.
  const Expression sticky =
      ((v & v.Whole(low)) + v.Whole(low)) & v.Whole(low + 1);
  return (v | sticky) & v.Whole(~low);
}

// x * y + z in f64, where the product of two f32 is exact. The sum is rounded
// to odd, then to f32; its error is what two additions lost (Knuth's TwoSum).
Id FmaOfF32(ir::Arena& arena, Id id) {
  if (arena[id].dtype != DType::kF32) return kNoNode;
  const auto wide = [&](int i) {
    return Expression{&arena, arena[id].srcs[i]}.Cast(DType::kF64);
  };
  const Expression product = wide(0) * wide(1);
  const Expression addend = wide(2);
  const Expression sum = product + addend;
  const Expression second = sum - product;
  const Expression lost = (product - (sum - second)) + (addend - second);

  // If the nearest sum is even and not exact, the other neighbour of the exact
  // sum is odd. It is greater in magnitude if what was lost has the sign of
  // the sum. Where the loss is no number the sum is none, or infinite.
  const Expression bits = sum.Bitcast(DType::kI64);
  const Expression one = bits.Whole(1);
  const Expression zero = sum.Real(0);
  const Expression toward_zero = (zero < lost) ^ (zero < sum);
  const Expression inexact = (zero < lost) | (lost < zero);
  const Expression even = (bits & one) == bits.Whole(0);
  const Expression odd = Where(
      inexact & even, bits + Where(toward_zero, bits.Whole(~0ULL), one), bits);
  return odd.Bitcast(DType::kF64).Cast(DType::kF32).id;
}

// f64 to f16 and bf16 by way of f32, to which it is rounded to odd. That needs
// the precision of f32, which normal numbers have. f16 has none below them,
// bf16 has: those are rounded to a multiple of the least of them, 2^-133, by
// the addition of a number whose last place it is.
Id CastOfF64(ir::Arena& arena, Id id) {
  const Expression x = {&arena, arena[id].srcs[0]};
  const DType to = arena[id].dtype;
  const Expression bits = x.Bitcast(DType::kU64);
  Expression odd = RoundedToOdd(bits, 29).Bitcast(DType::kF64);
  if (to == DType::kBF16) {
    const Expression sign = bits & bits.Whole(uint64_t{1} << 63);
    const Expression magnitude = (bits ^ sign).Bitcast(DType::kF64);
    const Expression shifter = x.Real(0x1.8p-81);
    const Expression tiny = (magnitude + shifter) - shifter;
    odd = Where(magnitude < x.Real(0x1p-126),
                (tiny.Bitcast(DType::kU64) | sign).Bitcast(DType::kF64), odd);
  }
  return odd.Cast(DType::kF32).Cast(to).id;
}

// Integers of 32 and 64 bits to bf16: what f32 (or f64, from 64 bits) does not
// hold exactly is rounded to odd. There is no such need for f16, which ends
// long before f32 becomes inexact.
Id CastOfIntegerToBF16(Expression x) {
  const bool is_long = ir::ByteSize(x.dtype()) == 8;
  const uint64_t limit = uint64_t{1} << (is_long ? 53 : 24);
  Expression exact = x < x.Whole(limit);
  if (ir::KindOf(x.dtype()) == ir::DTypeKind::kSigned) {
    exact = exact & (x.Whole(~limit + 1) < x);
  }
  const Expression odd = Where(exact, x, RoundedToOdd(x, is_long ? 11 : 8));
  return odd.Cast(is_long ? DType::kF64 : DType::kF32).Cast(DType::kBF16).id;
}

Id CastTo16Bits(ir::Arena& arena, Id id) {
  const DType to = arena[id].dtype;
  if (to != DType::kF16 && to != DType::kBF16) return kNoNode;
  const Expression x = {&arena, arena[id].srcs[0]};
  if (x.dtype() == DType::kF64) return CastOfF64(arena, id);
  if (!ir::IsInteger(x.dtype()) || ir::ByteSize(x.dtype()) < 4) return kNoNode;
  return to == DType::kF16 ? x.Cast(DType::kF32).Cast(to).id
                           : CastOfIntegerToBF16(x);
}

constexpr ir::Rule kFusedRules[] = {
    {"exp2 -> polynomial", Op::kExp2, Elementary<Exp2, true>},
    {"log2 -> polynomial", Op::kLog2, Elementary<Log2, true>},
    {"sin -> polynomials", Op::kSin, Elementary<Sin, true>},
    {"tanh -> quotient of polynomials", Op::kTanh, Elementary<Tanh, true>},
    {"erf -> polynomials", Op::kErf, Elementary<Erf, true>},
    {"cast to 16 bits -> rounding once", Op::kCast, CastTo16Bits},
};

constexpr ir::Rule kPlainRules[] = {
    {"exp2 -> polynomial", Op::kExp2, Elementary<Exp2, false>},
    {"log2 -> polynomial", Op::kLog2, Elementary<Log2, false>},
    {"sin -> polynomials", Op::kSin, Elementary<Sin, false>},
    {"tanh -> quotient of polynomials", Op::kTanh, Elementary<Tanh, false>},
    {"erf -> polynomials", Op::kErf, Elementary<Erf, false>},
    {"cast to 16 bits -> rounding once", Op::kCast, CastTo16Bits},
    {"fma f32 -> sum in f64", Op::kFma, FmaOfF32},
};

bool IsElementary(Op op) {
  return op == Op::kExp2 || op == Op::kLog2 || op == Op::kSin ||
         op == Op::kTanh || op == Op::kErf;
}

}  // namespace

absl::StatusOr<Id> Decompose(ir::Arena& arena, Id sink,
                             const base::Target& target) {
  if (target.interpreted) return sink;
  const bool fused = target.fused_multiply_add;
  for (Id id : ir::TopologicalOrder(arena, {sink})) {
    const ir::Node& node = arena[id];
    QUERN_RET_CHECK(!IsElementary(node.op) || node.dtype == DType::kF32 ||
                        node.dtype == DType::kF64,
                    ir::Name(node.op), " of ", ir::Name(node.dtype));
  }
  const absl::Span<const ir::Rule> rules =
      fused ? absl::Span<const ir::Rule>(kFusedRules)
            : absl::Span<const ir::Rule>(kPlainRules);
  QUERN_ASSIGN_OR_RETURN(const std::vector<Id> roots,
                         ir::Rewrite(arena, {sink}, rules));
  return roots[0];
}

}  // namespace quern::kernel
