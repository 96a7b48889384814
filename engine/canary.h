// SPDX-License-Identifier: Apache-2.0
//
// A Canary is a small kernel with a known result, run to see whether a device
// still computes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/base/mutex.h"
#include "engine/runtime/backend.h"

namespace quern {

class Canary {
 public:
  // Makes it for `device`, which outlives it. `assemble` gives the blob of what
  // `codegen` renders.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Canary>> Make(
      runtime::Device* device, const runtime::Codegen& codegen,
      const std::function<absl::StatusOr<std::string>(
          const runtime::KernelSource& source)>& assemble);

  // Runs it with other numbers than before; kInternal if a result is wrong,
  // errors of the device. Any thread may call it; calls follow each other.
  [[nodiscard]] absl::Status Run();

 private:
  explicit Canary(runtime::Device* device) : device_(*device) {}

  runtime::Device& device_;
  std::unique_ptr<runtime::LoadedKernel> kernel_;
  base::Mutex mutex_;
  std::unique_ptr<runtime::Buffer> in_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<runtime::Buffer> out_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> numbers_ ABSL_GUARDED_BY(mutex_);
  int turn_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quern
