// SPDX-License-Identifier: Apache-2.0
//
// The only list of backends. The daemon opens their devices, the compile
// worker uses their codegens.
#pragma once

#include <memory>
#include <vector>

#include "engine/runtime/backend.h"

namespace quern {

// One of each, in the order in which devices are preferred by default.
[[nodiscard]] std::vector<std::unique_ptr<runtime::Backend>> MakeAllBackends();

}  // namespace quern
