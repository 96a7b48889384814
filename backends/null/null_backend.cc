// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_backend.h"

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::null {
namespace {

constexpr int kShapes = static_cast<int>(Shape::kScalar) + 1;

class NullCodegen : public runtime::Codegen {
 public:
  std::string Version() const override { return "null 1"; }
  absl::StatusOr<std::string> Render(const kernel::Program& program,
                                     const base::Target&) const override {
    return kernel::ToText(program);
  }
  absl::StatusOr<std::string> Assemble(const runtime::KernelSource& source,
                                       const base::Target&) const override {
    QUERN_RETURN_IF_ERROR(kernel::ParseProgram(source.text).status());
    return source.text;
  }
  absl::StatusOr<std::string> Disassemble(const std::string& blob,
                                          const base::Target&) const override {
    return blob;
  }
};

// Memory without use: it takes copies, so that a device looks like any other.
class NullBuffer : public runtime::Buffer {
 public:
  NullBuffer(std::unique_ptr<char[]> memory, size_t size)
      : memory_(std::move(memory)), size_(size) {}
  size_t size() const override { return size_; }
  void* host() override { return memory_.get(); }

 private:
  const std::unique_ptr<char[]> memory_;
  const size_t size_;
};

class NullKernel : public runtime::LoadedKernel {};

class NullDevice : public runtime::Device {
 public:
  explicit NullDevice(base::Target target) : target_(std::move(target)) {}

  const base::Target& target() const override { return target_; }
  absl::StatusOr<std::unique_ptr<runtime::Buffer>> Allocate(
      size_t size) override {
    std::unique_ptr<char[]> memory(
        size < PTRDIFF_MAX ? new (std::nothrow) char[size + 1]() : nullptr);
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a buffer of ", size, " bytes"));
    }
    return std::make_unique<NullBuffer>(std::move(memory), size);
  }
  absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> Load(
      const std::string&, const std::string&) override {
    return std::make_unique<NullKernel>();
  }
  absl::Status Launch(const runtime::LoadedKernel&,
                      const runtime::LaunchArgs&) override {
    return absl::OkStatus();
  }
  absl::Status CopyFromHost(void* device_address, const void* host,
                            size_t size) override {
    if (size > 0) std::memmove(device_address, host, size);
    return absl::OkStatus();
  }
  absl::Status CopyToHost(void* host, const void* device_address,
                          size_t size) override {
    if (size > 0) std::memmove(host, device_address, size);
    return absl::OkStatus();
  }
  bool host_memory() const override { return true; }
  int threads() const override { return 1; }

 private:
  const base::Target target_;
};

class NullBackend : public runtime::Backend {
 public:
  std::string name() const override { return "null"; }
  const runtime::Codegen& codegen() const override { return codegen_; }
  absl::StatusOr<std::unique_ptr<runtime::Device>> Open(
      int ordinal, const runtime::DeviceOptions&) const override {
    if (ordinal < 0 || ordinal >= kShapes) {
      return absl::NotFoundError(absl::StrCat(
          "there is no device null:", ordinal, ", only 0 to ", kShapes - 1));
    }
    return std::make_unique<NullDevice>(
        MakeTarget(static_cast<Shape>(ordinal)));
  }

 private:
  const NullCodegen codegen_;
};

}  // namespace

base::Target MakeTarget(Shape shape) {
  base::Target target;
  target.backend = "null";
  switch (shape) {
    case Shape::kAvx512:
      target.isa = "avx512";
      target.vector_bytes = 64;
      target.vector_registers = 32;
      target.masked_vectors = true;
      target.fused_multiply_add = true;
      target.f16_conversion = true;
      target.l2_bytes = 1 << 20;
      break;
    case Shape::kAvx2:
      target.isa = "avx2";
      target.vector_bytes = 32;
      target.vector_registers = 16;
      target.fused_multiply_add = true;
      target.f16_conversion = true;
      target.max_operations = 2500;
      target.max_live_vectors = 20;
      break;
    case Shape::kNeon:
      target.isa = "neon";
      target.vector_bytes = 16;
      target.vector_registers = 32;
      target.fused_multiply_add = true;
      target.f16_conversion = true;
      break;
    case Shape::kScalar:
      target.isa = "scalar";
      target.vector_bytes = 0;
      break;
  }
  return target;
}

std::unique_ptr<runtime::Backend> MakeNullBackend() {
  return std::make_unique<NullBackend>();
}

}  // namespace quern::null
