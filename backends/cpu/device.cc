// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/device.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "backends/cpu/codegen.h"
#include "backends/cpu/cpu_target.h"
#include "backends/cpu/jit.h"
#include "backends/cpu/thread_pool.h"
#include "engine/base/host_memory.h"
#include "engine/base/status_macros.h"

namespace quern::cpu {
namespace {

using KernelFunction = void (*)(void* const* buffers, const int64_t* vars,
                                void* scratch, int64_t begin, int64_t end);

QUERN_CALLS_LINKED_CODE void RunChunks(KernelFunction function,
                                       const runtime::LaunchArgs& args,
                                       void* scratch, int64_t begin,
                                       int64_t end) {
  function(args.buffers.data(), args.vars.data(), scratch, begin, end);
}

class HostBuffer final : public runtime::Buffer {
 public:
  HostBuffer(base::HostMemory data, size_t size)
      : data_(std::move(data)), size_(size) {}
  size_t size() const override { return size_; }
  void* host() override { return data_.get(); }

 private:
  const base::HostMemory data_;
  const size_t size_;
};

class CpuKernel final : public runtime::LoadedKernel {
 public:
  explicit CpuKernel(std::unique_ptr<LinkedObject> object)
      : object_(std::move(object)),
        function_(reinterpret_cast<KernelFunction>(object_->entry())) {}
  KernelFunction function() const { return function_; }

 private:
  const std::unique_ptr<LinkedObject> object_;
  const KernelFunction function_;
};

class CpuDevice final : public runtime::Device {
 public:
  CpuDevice(const base::Target& target, const runtime::DeviceOptions& options)
      : target_(target),
        pool_(UsableThreads(options.threads), options.spin_us) {}

  const base::Target& target() const override { return target_; }

  absl::StatusOr<std::unique_ptr<runtime::Buffer>> Allocate(
      size_t size) override {
    if (size == 0) return absl::InvalidArgumentError("a buffer of 0 bytes");
    base::HostMemory data = base::AllocateHostMemory(size);
    if (data == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a buffer of ", size, " bytes"));
    }
    return std::make_unique<HostBuffer>(std::move(data), size);
  }

  absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> Load(
      const std::string& name, const std::string& blob) override {
    QUERN_ASSIGN_OR_RETURN(const BlobParts parts, SplitBlob(blob));
    QUERN_RETURN_IF_ERROR(CheckHostHas(parts.isa));
    QUERN_ASSIGN_OR_RETURN(std::unique_ptr<LinkedObject> object,
                           LinkObject(parts.object, name));
    return std::make_unique<CpuKernel>(std::move(object));
  }

  absl::Status Launch(const runtime::LoadedKernel& kernel,
                      const runtime::LaunchArgs& args) override {
    const auto* loaded = dynamic_cast<const CpuKernel*>(&kernel);
    if (loaded == nullptr) {
      return absl::InvalidArgumentError("the kernel is not of the cpu backend");
    }
    if (args.scratch_bytes > target_.max_scratch_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the kernel wants ", args.scratch_bytes,
          " bytes of scratch, the device has ", target_.max_scratch_bytes));
    }
    const KernelFunction function = loaded->function();
    return pool_.ParallelFor(args.grid, args.max_threads, args.scratch_bytes,
                             [&](int64_t begin, int64_t end, void* scratch) {
                               RunChunks(function, args, scratch, begin, end);
                             });
  }

  absl::Status CopyFromHost(void* device_address, const void* host,
                            size_t size) override {
    if (size > 0) std::memcpy(device_address, host, size);
    return absl::OkStatus();
  }
  absl::Status CopyToHost(void* host, const void* device_address,
                          size_t size) override {
    if (size > 0) std::memcpy(host, device_address, size);
    return absl::OkStatus();
  }

  bool host_memory() const override { return true; }
  std::string model() const override { return model_; }
  int threads() const override { return pool_.threads(); }

 private:
  const base::Target target_;
  const std::string model_ = HostModel();
  ThreadPool pool_;
};

}  // namespace

std::unique_ptr<runtime::Device> MakeCpuDevice(
    const base::Target& target, const runtime::DeviceOptions& options) {
  return std::make_unique<CpuDevice>(target, options);
}

}  // namespace quern::cpu
