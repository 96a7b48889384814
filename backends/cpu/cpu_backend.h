// SPDX-License-Identifier: Apache-2.0
//
// The CPU as a backend: kernels become machine code by LLVM and run on one
// pool of threads. Device 0 is the only one.
#pragma once

#include <memory>

#include "backends/cpu/cpu_target.h"
#include "engine/runtime/backend.h"

namespace quern::cpu {

// `level` bounds the instruction set that its device reports and uses.
[[nodiscard]] std::unique_ptr<runtime::Backend> MakeCpuBackend(
    IsaLevel level = IsaLevel::kAuto);

}  // namespace quern::cpu
