// SPDX-License-Identifier: Apache-2.0
//
// Kernel-level arithmetic written as C++ expressions: a + b makes the node.
//
// An Expression is an id with its arena, for the places where dozens of
// scalar nodes are made by hand. Operands of an operator have one dtype;
// nothing is promoted or folded. It must not outlive the arena.
#pragma once

#include <cstdint>

#include "engine/ir/eval.h"
#include "engine/ir/node.h"

namespace quern::kernel {

struct Expression {
  ir::Arena* arena = nullptr;
  ir::Id id = ir::kNoNode;

  [[nodiscard]] ir::DType dtype() const { return (*arena)[id].dtype; }

  // Constants of the dtype of this expression: for floats, and for integers,
  // of which the low bits count.
  [[nodiscard]] Expression Real(double value) const {
    return {arena, arena->FloatConst(dtype(), value)};
  }
  [[nodiscard]] Expression Whole(uint64_t value) const {
    const ir::Scalar wrapped =
        ir::Scalar::OfInt(dtype(), static_cast<int64_t>(value));
    return {arena, arena->IntConst(dtype(), wrapped.bits)};
  }
  [[nodiscard]] Expression Cast(ir::DType to) const {
    return {arena, arena->Make(ir::Op::kCast, to, {id})};
  }
  [[nodiscard]] Expression Bitcast(ir::DType to) const {
    return {arena, arena->Make(ir::Op::kBitcast, to, {id})};
  }
};

[[nodiscard]] inline Expression Binary(ir::Op op, Expression a, Expression b) {
  return {a.arena, a.arena->Make(op, a.dtype(), {a.id, b.id})};
}
[[nodiscard]] inline Expression Compare(ir::Op op, Expression a, Expression b) {
  return {a.arena, a.arena->Make(op, ir::DType::kBool, {a.id, b.id})};
}

inline Expression operator+(Expression a, Expression b) {
  return Binary(ir::Op::kAdd, a, b);
}
inline Expression operator-(Expression a, Expression b) {
  return Binary(ir::Op::kSub, a, b);
}
inline Expression operator*(Expression a, Expression b) {
  return Binary(ir::Op::kMul, a, b);
}
inline Expression operator/(Expression a, Expression b) {
  return Binary(ir::Op::kDiv, a, b);
}
inline Expression operator&(Expression a, Expression b) {
  return Binary(ir::Op::kAnd, a, b);
}
inline Expression operator|(Expression a, Expression b) {
  return Binary(ir::Op::kOr, a, b);
}
inline Expression operator^(Expression a, Expression b) {
  return Binary(ir::Op::kXor, a, b);
}
inline Expression operator<<(Expression a, Expression b) {
  return Binary(ir::Op::kShl, a, b);
}
inline Expression operator>>(Expression a, Expression b) {
  return Binary(ir::Op::kShr, a, b);
}
inline Expression operator<(Expression a, Expression b) {
  return Compare(ir::Op::kCmpLt, a, b);
}
inline Expression operator==(Expression a, Expression b) {
  return Compare(ir::Op::kCmpEq, a, b);
}
inline Expression operator!=(Expression a, Expression b) {
  return Compare(ir::Op::kCmpNe, a, b);
}
[[nodiscard]] inline Expression Where(Expression condition, Expression a,
                                      Expression b) {
  return {a.arena,
          a.arena->Make(ir::Op::kWhere, a.dtype(), {condition.id, a.id, b.id})};
}

}  // namespace quern::kernel
