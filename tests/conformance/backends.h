// SPDX-License-Identifier: Apache-2.0
//
// The devices that the conformance tests run on, and what each cannot do.
#pragma once

#include <string>
#include <vector>

#include "engine/ir/dtype.h"

namespace quern::conformance {

struct BackendRow {
  std::string device;        // As in EngineOptions::devices.
  std::string isa = "auto";  // As in runtime::DeviceOptions.
  struct Gap {
    ir::DType dtype;
    std::string reason;
  };
  // Never to be: the load must answer kUnimplemented.
  std::vector<Gap> unsupported;
};

// A new backend is a new row.
[[nodiscard]] const std::vector<BackendRow>& Backends();

}  // namespace quern::conformance
