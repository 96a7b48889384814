// SPDX-License-Identifier: Apache-2.0
//
// The elementary functions, written with operations that every target has.
//
// Each function gives the node of its value for a scalar `x` of dtype f32 or
// f64: polynomials over additions, multiplications, shifts and selections,
// without branches, tables or calls, so that they vectorize as all else does.
// With `fused` they use kFma, otherwise only kMul and kAdd.
//
// Greatest errors in units in the last place, `fused` and not. f32: all 2^32
// arguments. f64: the worst of samples over all exponents, see
// tests/unit/engine/kernel/transcendental_test.cc.
//
//              exp2          log2          sin           tanh          erf
//   f32        ERR
//   f64        ERR
//
// Exact: exp2 of integers, log2 of powers of two, zeros with their sign (sin,
// tanh, erf), infinities and NaNs. Results below the normal range are right
// where the target keeps them; one that flushes them to zero also takes such
// arguments as zero. None of this depends on whether a target contracts
// a * b + c.
#pragma once

#include "engine/ir/node.h"

namespace quern::kernel {

[[nodiscard]] ir::Id Exp2(ir::Arena& arena, ir::Id x, bool fused);
[[nodiscard]] ir::Id Log2(ir::Arena& arena, ir::Id x, bool fused);
[[nodiscard]] ir::Id Sin(ir::Arena& arena, ir::Id x, bool fused);
[[nodiscard]] ir::Id Tanh(ir::Arena& arena, ir::Id x, bool fused);
[[nodiscard]] ir::Id Erf(ir::Arena& arena, ir::Id x, bool fused);

}  // namespace quern::kernel
