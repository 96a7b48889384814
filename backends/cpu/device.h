// SPDX-License-Identifier: Apache-2.0
//
// The CPU's half that runs code: host memory, blobs linked into the process,
// launches on its pool of threads. A device owns its pool, so a process opens
// one.
//
// A launch runs with denormals as zero; the caller's mode is restored.
#pragma once

#include <memory>

#include "engine/base/target.h"
#include "engine/runtime/backend.h"

namespace quern::cpu {

[[nodiscard]] std::unique_ptr<runtime::Device> MakeCpuDevice(
    const base::Target& target, const runtime::DeviceOptions& options);

}  // namespace quern::cpu
