// SPDX-License-Identifier: Apache-2.0
//
// Gives every value of a kernel a dtype in which the target computes.
//
// Weak floats take the dtype of their consumer, f32 if it is not a float;
// constants are rounded to it once. Weak integers that are data become i64;
// those that are addresses, extents and their comparisons stay as they are,
// in the normal form of engine/ir/symbolic.h.
//
// Arithmetic of the 16-bit floats is done in f32. Values are widened where
// they are loaded and rounded where they are stored, staged, bit-cast or cast
// to a 16-bit type by the graph itself; between two operations nothing is
// rounded, so a fused kernel rounds less often than its operations one by one
// would. What loads and stores keeps its dtype.
//
// An interpreter has every dtype: for it only the weak types are bound.
#pragma once

#include "absl/status/statusor.h"

#include "engine/base/target.h"
#include "engine/ir/node.h"

namespace quern::kernel {

// The body `sink` with its dtypes bound.
//
// In:    kernel level, any dtypes. Out: kernel level, strong dtypes.
// Order: after the schedule, which moves weak indices about; before decompose,
//        which needs to know the type of each elementary function.
// Errors: kInternal if the body is not of the kernel level.
[[nodiscard]] absl::StatusOr<ir::Id> Bind(ir::Arena& arena, ir::Id sink,
                                          const base::Target& target);

}  // namespace quern::kernel
