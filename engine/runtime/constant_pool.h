// SPDX-License-Identifier: Apache-2.0
//
// The ConstantPool keeps one buffer on a device for all arrays of constants
// there that have the same content, for as long as somebody uses it.
//
// Constants have no device. An array that is too large for the code of kernels
// comes here when what reads it is placed on a device.
//
// Any thread may call it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "engine/base/mutex.h"
#include "engine/runtime/backend.h"

namespace quern::runtime {

class ConstantPool {
 public:
  // A buffer of `device` that holds `bytes`; users only read it. Errors of the
  // device.
  [[nodiscard]] absl::StatusOr<std::shared_ptr<Buffer>> Get(
      const std::shared_ptr<Device>& device, const std::string& bytes);

  // Buffers that are in use.
  [[nodiscard]] size_t size() const;

 private:
  // By device and content.
  using Key = std::pair<std::shared_ptr<Device>, std::string>;
  mutable base::Mutex mutex_;
  // Those that are no longer used go at the next Get.
  std::map<Key, std::weak_ptr<Buffer>> buffers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::runtime
