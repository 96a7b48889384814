// SPDX-License-Identifier: Apache-2.0
//
// What a backend is: two halves. A Codegen makes text and blobs and needs no
// hardware; a Device runs blobs and needs no compiler. The engine owns these
// contracts, a folder under backends/ implements them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/base/target.h"
#include "engine/kernel/linear.h"

namespace quern::runtime {

// A kernel as text in the language of a target, ready to be assembled.
struct KernelSource {
  std::string name;  // The entry point.
  std::string text;
};

// Turns kernels into text and text into blobs. Immutable; any thread may call
// it. Render runs in the daemon, Assemble in a compile worker.
class Codegen {
 public:
  virtual ~Codegen() = default;

  // Name and version of the assembler, "llvm 19.1.7": a part of blob keys.
  [[nodiscard]] virtual std::string Version() const = 0;

  // The text of `program` for `target`.
  [[nodiscard]] virtual absl::StatusOr<std::string> Render(
      const kernel::Program& program, const base::Target& target) const = 0;

  // The blob of a text that Render made. Deterministic. May take long, use
  // much memory or die on a compiler's bug, hence the worker process.
  [[nodiscard]] virtual absl::StatusOr<std::string> Assemble(
      const KernelSource& source, const base::Target& target) const = 0;

  // The machine code of `blob` as text for people.
  [[nodiscard]] virtual absl::StatusOr<std::string> Disassemble(
      const std::string& blob, const base::Target& target) const = 0;
};

// Memory of a device. On the CPU, host memory aligned to 64 bytes.
class Buffer {
 public:
  virtual ~Buffer() = default;
  [[nodiscard]] virtual size_t size() const = 0;
  // The address for the host; null where the host cannot reach it.
  [[nodiscard]] virtual void* host() = 0;
};

// Code loaded on a device; unloads itself.
class LoadedKernel {
 public:
  virtual ~LoadedKernel() = default;
};

// One launch. `buffers` are addresses in the device's memory, in the order of
// Program::params; `vars` in the order of Program::vars. The chunks
// [0, grid) may run in any order and at the same time.
struct LaunchArgs {
  absl::Span<void* const> buffers;
  absl::Span<const int64_t> vars;
  int64_t grid = 1;
  int64_t scratch_bytes = 0;  // For each thread.
  int max_threads = 0;        // 0: as many as the device has.
};

// A thing that runs kernels. Any thread may call it.
class Device {
 public:
  virtual ~Device() = default;

  [[nodiscard]] virtual const base::Target& target() const = 0;

  // Zeroed memory of `size` bytes (at least 1); kResourceExhausted if there is
  // not that much.
  [[nodiscard]] virtual absl::StatusOr<std::unique_ptr<Buffer>> Allocate(
      size_t size) = 0;

  // Makes the entry point `name` of `blob` launchable.
  [[nodiscard]] virtual absl::StatusOr<std::unique_ptr<LoadedKernel>> Load(
      const std::string& name, const std::string& blob) = 0;

  // Runs a kernel to its end. Allocates nothing.
  [[nodiscard]] virtual absl::Status Launch(const LoadedKernel& kernel,
                                            const LaunchArgs& args) = 0;

  // Copies between device memory and host memory, to its end.
  [[nodiscard]] virtual absl::Status CopyFromHost(void* device_address,
                                                  const void* host,
                                                  size_t size) = 0;
  [[nodiscard]] virtual absl::Status CopyToHost(void* host,
                                                const void* device_address,
                                                size_t size) = 0;

  // True if the host may use device addresses as its own.
  [[nodiscard]] virtual bool host_memory() const = 0;

  // Which hardware it is, for what was measured on it: "AuthenticAMD 25 17".
  // Empty where that makes no difference.
  [[nodiscard]] virtual std::string model() const { return ""; }

  // Threads that a launch can use.
  [[nodiscard]] virtual int threads() const = 0;
};

// How a device is opened; from flags of the daemon.
struct DeviceOptions {
  int threads = 0;   // 0: by affinity mask and cgroup quota.
  int spin_us = 20;  // How long an idle thread waits awake for more work.
  // The instructions that the CPU backend may use: auto (all that there are),
  // or the greatest of its levels: avx512, avx2, sse4; of AArch64 neon.
  std::string isa = "auto";
};

// One kind of device.
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual const Codegen& codegen() const = 0;
  // Opens the device of this number; kUnavailable, with the reason, if it
  // cannot be used on this machine; kNotFound if there is no such number.
  [[nodiscard]] virtual absl::StatusOr<std::unique_ptr<Device>> Open(
      int ordinal, const DeviceOptions& options) const = 0;
};

}  // namespace quern::runtime
