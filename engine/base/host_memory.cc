// SPDX-License-Identifier: Apache-2.0
#include "engine/base/host_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <sys/mman.h>

namespace quern::base {
namespace {

constexpr size_t kHugePage = 2 << 20;

size_t RoundedUp(size_t size, size_t unit) {
  return (size + unit - 1) / unit * unit;
}

}  // namespace

void HostMemoryDeleter::operator()(char* data) const {
  if (mapped_ > 0) {
    munmap(data, mapped_);
  } else {
    std::free(data);
  }
}

HostMemory AllocateHostMemory(size_t size) {
  if (size > PTRDIFF_MAX - 2 * kHugePage) return nullptr;
  const size_t padded = size + kHostAlignment;
  if (padded < kHugePage) {
    const size_t rounded = RoundedUp(padded, kHostAlignment);
    void* const data = std::aligned_alloc(kHostAlignment, rounded);
    if (data == nullptr) return nullptr;
    std::memset(data, 0, rounded);
    return HostMemory(static_cast<char*>(data));
  }
  const size_t rounded = RoundedUp(padded, kHugePage);
  void* const data = mmap(nullptr, rounded, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  // Only advice: small pages work as well, slower.
  madvise(data, rounded, MADV_HUGEPAGE);
  return HostMemory(static_cast<char*>(data), HostMemoryDeleter(rounded));
}

}  // namespace quern::base
