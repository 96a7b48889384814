// SPDX-License-Identifier: Apache-2.0
//
// The CPU as a backend: kernels become machine code by LLVM and run on one
// pool of threads. Device 0 is the only one.
#pragma once

#include <memory>

#include "engine/runtime/backend.h"

namespace quern::cpu {

[[nodiscard]] std::unique_ptr<runtime::Backend> MakeCpuBackend();

}  // namespace quern::cpu
