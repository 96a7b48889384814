// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/cpu_backend.h"

#include <string>

#include "absl/strings/str_cat.h"

#include "backends/cpu/codegen.h"
#include "backends/cpu/cpu_target.h"
#include "backends/cpu/device.h"
#include "engine/base/status_macros.h"

namespace quern::cpu {
namespace {

class CpuBackend final : public runtime::Backend {
 public:
  CpuBackend() : codegen_(MakeCpuCodegen()) {}

  std::string name() const override { return "cpu"; }
  const runtime::Codegen& codegen() const override { return *codegen_; }

  absl::StatusOr<std::unique_ptr<runtime::Device>> Open(
      int ordinal, const runtime::DeviceOptions& options) const override {
    if (ordinal != 0) {
      return absl::NotFoundError(
          absl::StrCat("there is no device cpu:", ordinal, ", only cpu:0"));
    }
    QUERN_ASSIGN_OR_RETURN(const IsaLevel level, ParseIsaLevel(options.isa));
    QUERN_ASSIGN_OR_RETURN(const base::Target target, DetectTarget(level));
    return MakeCpuDevice(target, options);
  }

 private:
  const std::unique_ptr<runtime::Codegen> codegen_;
};

}  // namespace

std::unique_ptr<runtime::Backend> MakeCpuBackend() {
  return std::make_unique<CpuBackend>();
}

}  // namespace quern::cpu
