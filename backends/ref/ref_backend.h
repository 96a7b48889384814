// SPDX-License-Identifier: Apache-2.0
//
// The reference device: runs kernels by interpretation, in float64 and exact
// integers. It is chosen by name, for checking; nothing falls back to it.
//
// Results are rounded to their dtype where a kernel casts or stores.
#pragma once

#include <memory>

#include "engine/runtime/backend.h"

namespace quern::ref {

// The backend "ref"; it has one device.
std::unique_ptr<runtime::Backend> MakeRefBackend();

}  // namespace quern::ref
