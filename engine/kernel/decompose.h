// SPDX-License-Identifier: Apache-2.0
//
// Replaces the operations that targets lack by ones that all have: the
// elementary functions (transcendental.h), a fused multiply-add where the
// hardware has none, and conversions to 16-bit floats that would round twice
// on the way through f32.
//
// An interpreter has every operation: for it nothing is replaced.
#pragma once

#include "absl/status/statusor.h"

#include "engine/base/target.h"
#include "engine/ir/node.h"

namespace quern::kernel {

// The body `sink` without those operations.
//
// In:    kernel level, strong dtypes. Out: the same; kFma only where the target
//        has it, no casts to f16 or bf16 but from f32 and small integers.
// Order: after bind, which decides the dtypes; before linearize, so that what
//        a function needs once is hoisted as all else is.
// Errors: kUnimplemented if f64 values are to be multiplied and added at once
//        on a target that cannot; kInternal if a dtype is not bound.
[[nodiscard]] absl::StatusOr<ir::Id> Decompose(ir::Arena& arena, ir::Id sink,
                                               const base::Target& target);

}  // namespace quern::kernel
