// SPDX-License-Identifier: Apache-2.0
//
// Host memory for large data: weights, buffers of devices that share it.
#pragma once

#include <cstddef>
#include <memory>

namespace quern::base {

// Where host memory begins: at a multiple of a cache line, so that no vector
// of a contiguous array crosses one.
inline constexpr size_t kHostAlignment = 64;

class HostMemoryDeleter {
 public:
  explicit HostMemoryDeleter(size_t mapped = 0) : mapped_(mapped) {}
  void operator()(char* data) const;

 private:
  size_t mapped_;  // Bytes of a mapping; 0: from the heap.
};
using HostMemory = std::unique_ptr<char[], HostMemoryDeleter>;

// `size` zeroed bytes, aligned to kHostAlignment, with a cache line to spare
// behind them. Large ones are mapped, in huge pages where the system has them,
// cost nothing until they are touched, and go back to the system when freed.
// Null if there is not that much.
[[nodiscard]] HostMemory AllocateHostMemory(size_t size);

}  // namespace quern::base
