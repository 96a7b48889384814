// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/constant_pool.h"

#include <algorithm>

#include "engine/base/status_macros.h"

namespace quern::runtime {

absl::StatusOr<std::shared_ptr<Buffer>> ConstantPool::Get(
    const std::shared_ptr<Device>& device, const std::string& bytes) {
  base::MutexLock lock(&mutex_);
  std::erase_if(buffers_,
                [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Buffer>& known = buffers_[{device, bytes}];
  if (std::shared_ptr<Buffer> buffer = known.lock()) return buffer;
  QUERN_ASSIGN_OR_RETURN(std::shared_ptr<Buffer> buffer,
                         device->Allocate(std::max<size_t>(bytes.size(), 1)));
  QUERN_RETURN_IF_ERROR(
      device->CopyFromHost(buffer->host(), bytes.data(), bytes.size()));
  known = buffer;
  return buffer;
}

size_t ConstantPool::size() const {
  base::MutexLock lock(&mutex_);
  return static_cast<size_t>(
      std::count_if(buffers_.begin(), buffers_.end(),
                    [](const auto& entry) { return !entry.second.expired(); }));
}

}  // namespace quern::runtime
