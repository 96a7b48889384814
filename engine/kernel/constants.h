// SPDX-License-Identifier: Apache-2.0
//
// Makes immediates of small constant arrays: the ranges that index them are
// unrolled, so that each copy reads an element known by its position, and
// linearize writes that element into the code. The array then exists nowhere.
#pragma once

#include <cstdint>

#include "engine/ir/node.h"

namespace quern::kernel {

// The longest axis of a constant array that is unrolled, and the most copies
// that all unrolled axes of one body may make together.
inline constexpr int64_t kMaxConstantAxis = 16;
inline constexpr int64_t kMaxConstantCopies = 64;

// `body` with the ranges of its constant arrays unrolled wherever all ranges
// of an array's index can be; unrolled ranges of the stores stand behind the
// serial ones.
//
// In:    kernel level, ranges all serial. Out: some of them unrolled.
// Order: after ranges are merged, which would join an axis of an array with
//        its neighbours; before the others are given to lanes and threads.
[[nodiscard]] ir::Id UnrollConstantAxes(ir::Arena& arena, ir::Id body);

}  // namespace quern::kernel
