// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/backends.h"

namespace quern::conformance {

const std::vector<BackendRow>& Backends() {
  static const auto& rows = *new std::vector<BackendRow>{
      {.device = "ref", .unsupported = {}},
      {.device = "cpu", .isa = "avx512", .unsupported = {}},
      {.device = "cpu", .isa = "avx2", .unsupported = {}},
      {.device = "cpu", .isa = "sse4", .unsupported = {}},
  };
  return rows;
}

}  // namespace quern::conformance
