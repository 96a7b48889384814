// SPDX-License-Identifier: Apache-2.0
//
// Runs cases on the engine's devices, compilers in process. Use it from one
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "backends/ref/oracle.h"
#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "tests/fuzz/generator.h"

namespace quern::fuzz {

class EngineRunner {
 public:
  // For the named devices, opened so; kUnavailable if one of them cannot be
  // used, or not with these instructions.
  static absl::StatusOr<std::unique_ptr<EngineRunner>> Create(
      const std::vector<std::string>& devices,
      const runtime::DeviceOptions& options = {});

  struct Result {
    std::vector<ref::Tensor> outputs;
    int kernels = 0;  // Those that run for each request.
  };

  // Loads the graph of `fuzz_case` on `device` and runs it twice; kInternal if
  // the results differ. Errors of loading start with "load: ".
  [[nodiscard]] absl::StatusOr<Result> Run(const Case& fuzz_case,
                                           const std::string& device);

 private:
  EngineRunner() = default;

  telemetry::Metrics metrics_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace quern::fuzz
