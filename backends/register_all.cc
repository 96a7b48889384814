// SPDX-License-Identifier: Apache-2.0
#include "backends/register_all.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/null/null_backend.h"
#include "backends/ref/ref_backend.h"

namespace quern {

std::vector<std::unique_ptr<runtime::Backend>> MakeAllBackends() {
  std::vector<std::unique_ptr<runtime::Backend>> backends;
  backends.push_back(cpu::MakeCpuBackend());
  backends.push_back(ref::MakeRefBackend());
  backends.push_back(null::MakeNullBackend());
  return backends;
}

}  // namespace quern
