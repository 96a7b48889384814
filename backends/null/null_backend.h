// SPDX-License-Identifier: Apache-2.0
//
// The null backend: renders kernels as their own text and runs none of them.
// With it everything above the backends is tested without hardware, and a new
// backend starts as a copy of it.
//
// Its devices differ in their targets only. A launch returns at once and
// touches no memory.
#pragma once

#include <memory>

#include "engine/base/target.h"
#include "engine/runtime/backend.h"

namespace quern::null {

// The shapes of targets, by ordinal of the device.
enum class Shape {
  kAvx512,  // 64-byte vectors, masks, 32 registers.
  kAvx2,    // 32-byte vectors, no masks, 16 registers.
  kNeon,    // 16-byte vectors, no masks, 32 registers.
  kScalar,  // No vectors.
};

[[nodiscard]] base::Target MakeTarget(Shape shape);

// The backend "null": device 0 is kAvx512, and so on.
std::unique_ptr<runtime::Backend> MakeNullBackend();

}  // namespace quern::null
