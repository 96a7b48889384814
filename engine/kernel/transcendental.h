// SPDX-License-Identifier: Apache-2.0
//
// The elementary functions, written with operations that every target has.
//
// Each function gives the node of its value for a scalar `x` of dtype f32 or
// f64: polynomials over additions, multiplications, shifts and selections,
// without branches, tables or calls, so that they vectorize as all else does.
// With `fused` they use kFma, otherwise only kMul and kAdd.
//
// Greatest errors measured, in units in the last place. f32, fused: all 2^32
// arguments; f32, not fused: samples of 50 million and more; f64: samples of 20
// million (tests/unit/engine/kernel/transcendental_test.cc).
//
//                    exp2   log2   sin    tanh   erf
//   f32 fused        0.88   0.95   1.54   1.71   1.29
//   f32 not fused    1.08   1.91   1.71   1.99   1.47
//   f64 fused        0.85   0.95   1.49   1.65   1.19
//   f64 not fused    1.07   1.91   2.15   1.95   1.38
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
