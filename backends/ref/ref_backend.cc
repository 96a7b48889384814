// SPDX-License-Identifier: Apache-2.0
#include "backends/ref/ref_backend.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "backends/ref/interpreter.h"
#include "engine/base/status_macros.h"

namespace quern::ref {
namespace {

constexpr size_t kAlignment = 64;

absl::StatusOr<kernel::Program> Checked(const std::string& text) {
  QUERN_ASSIGN_OR_RETURN(kernel::Program program, kernel::ParseProgram(text));
  QUERN_RETURN_IF_ERROR(kernel::Verify(program));
  return program;
}

// Text is all there is: a blob is the text of the program.
class RefCodegen : public runtime::Codegen {
 public:
  std::string Version() const override { return "ref 1"; }

  absl::StatusOr<std::string> Render(const kernel::Program& program,
                                     const base::Target&) const override {
    return kernel::ToText(program);
  }

  absl::StatusOr<std::string> Assemble(const runtime::KernelSource& source,
                                       const base::Target&) const override {
    QUERN_ASSIGN_OR_RETURN(const kernel::Program program, Checked(source.text));
    if (program.name != source.name) {
      return absl::InvalidArgumentError(
          absl::StrCat("the text of kernel '", source.name,
                       "' holds the kernel '", program.name, "'"));
    }
    return source.text;
  }

  absl::StatusOr<std::string> Disassemble(const std::string& blob,
                                          const base::Target&) const override {
    return blob;
  }
};

class HostBuffer : public runtime::Buffer {
 public:
  HostBuffer(void* memory, size_t size) : memory_(memory), size_(size) {}
  ~HostBuffer() override { std::free(memory_); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  size_t size() const override { return size_; }
  void* host() override { return memory_; }

 private:
  void* const memory_;
  const size_t size_;
};

class RefKernel : public runtime::LoadedKernel {
 public:
  explicit RefKernel(Interpreter interpreter)
      : interpreter_(std::move(interpreter)) {}
  [[nodiscard]] const Interpreter& interpreter() const { return interpreter_; }

 private:
  const Interpreter interpreter_;
};

class RefDevice : public runtime::Device {
 public:
  RefDevice() {
    target_.backend = "ref";
    target_.interpreted = true;
    target_.vector_bytes = 0;
    target_.max_arguments = INT_MAX;
  }

  const base::Target& target() const override { return target_; }

  absl::StatusOr<std::unique_ptr<runtime::Buffer>> Allocate(
      size_t size) override {
    void* memory = nullptr;
    if (size > SIZE_MAX - kAlignment ||
        posix_memalign(&memory, kAlignment, size + 1) != 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a buffer of ", size, " bytes"));
    }
    std::memset(memory, 0, size + 1);
    return std::make_unique<HostBuffer>(memory, size);
  }

  absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> Load(
      const std::string& name, const std::string& blob) override {
    QUERN_ASSIGN_OR_RETURN(kernel::Program program, Checked(blob));
    if (program.name != name) {
      return absl::NotFoundError(absl::StrCat("there is no kernel '", name,
                                              "' in the blob of '",
                                              program.name, "'"));
    }
    QUERN_ASSIGN_OR_RETURN(Interpreter interpreter,
                           Interpreter::For(std::move(program)));
    return std::make_unique<RefKernel>(std::move(interpreter));
  }

  absl::Status Launch(const runtime::LoadedKernel& kernel,
                      const runtime::LaunchArgs& args) override {
    return static_cast<const RefKernel&>(kernel).interpreter().Run(
        {.buffers = args.buffers,
         .vars = args.vars,
         .begin = 0,
         .end = args.grid,
         .scratch_bytes = args.scratch_bytes});
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
  base::Target target_;
};

class RefBackend : public runtime::Backend {
 public:
  std::string name() const override { return "ref"; }
  const runtime::Codegen& codegen() const override { return codegen_; }
  absl::StatusOr<std::unique_ptr<runtime::Device>> Open(
      int ordinal, const runtime::DeviceOptions&) const override {
    if (ordinal != 0) {
      return absl::NotFoundError(
          absl::StrCat("there is no device ref:", ordinal, ", only ref:0"));
    }
    return std::make_unique<RefDevice>();
  }

 private:
  const RefCodegen codegen_;
};

}  // namespace

std::unique_ptr<runtime::Backend> MakeRefBackend() {
  return std::make_unique<RefBackend>();
}

}  // namespace quern::ref
