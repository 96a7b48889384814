// SPDX-License-Identifier: Apache-2.0
#include "tests/support/schedule_runner.h"

#include <algorithm>
#include <cstring>
#include <unistd.h>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include <sys/mman.h>

#include "backends/ref/interpreter.h"
#include "engine/base/status_macros.h"
#include "engine/graph/simplify.h"
#include "engine/ir/clone.h"
#include "engine/ir/text.h"
#include "engine/ir/verify.h"
#include "engine/kernel/bind.h"
#include "engine/kernel/linearize.h"
#include "engine/runtime/size_expr.h"
#include "engine/schedule/rangeify.h"

namespace quern::support {
namespace {

using ir::Id;

constexpr char kPattern = 0x5a;

// Memory that ends at a page without access.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t size) : size_(size) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    usable_ = (size + page - 1) / page * page + page;
    void* const memory = mmap(nullptr, usable_ + page, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    begin_ = static_cast<char*>(memory);
    length_ = usable_ + page;
    mprotect(begin_ + usable_, page, PROT_NONE);
    std::memset(begin_, kPattern, usable_);
  }
  ~GuardedBuffer() {
    if (begin_ != nullptr) munmap(begin_, length_);
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  [[nodiscard]] bool ok() const { return begin_ != nullptr; }
  char* data() { return begin_ + usable_ - size_; }
  [[nodiscard]] size_t size() const { return size_; }

  // False if something was written before the buffer.
  [[nodiscard]] bool intact() const {
    return std::all_of(begin_, begin_ + usable_ - size_,
                       [](char byte) { return byte == kPattern; });
  }

 private:
  size_t size_ = 0;
  size_t usable_ = 0;
  size_t length_ = 0;
  char* begin_ = nullptr;
};

class Runner {
 public:
  Runner(CutGraph& cut, const graph::Graph& graph,
         absl::Span<const ref::Tensor> inputs, const base::Target& target,
         const BodyScheduler& scheduler)
      : cut_(cut),
        graph_(graph),
        inputs_(inputs),
        target_(target),
        scheduler_(scheduler) {
    // The interpreter computes in double, so it has to be given the elementary
    // functions themselves and not polynomials that count on f32.
    target_.interpreted = true;
  }

  absl::StatusOr<std::vector<ref::Tensor>> Run() {
    QUERN_RETURN_IF_ERROR(BindVariables());
    for (const schedule::BufferDecl& decl : cut_.schedule.buffers) {
      QUERN_RETURN_IF_ERROR(MakeBuffer(decl));
    }
    for (const schedule::Step& step : cut_.schedule.steps) {
      if (const auto* launch = std::get_if<schedule::Launch>(&step)) {
        QUERN_RETURN_IF_ERROR(RunLaunch(*launch));
      } else {
        const auto& copy = std::get<schedule::CopyStep>(step);
        std::memcpy(buffers_[copy.to]->data(), buffers_[copy.from]->data(),
                    buffers_[copy.to]->size());
      }
    }
    return Outputs();
  }

 private:
  absl::Status BindVariables() {
    values_.assign(cut_.schedule.vars.size(), 0);
    size_t next = 0;
    for (const ref::Tensor& input : inputs_) {
      for (int64_t dim : input.dims) {
        const Id size = cut_.input_dims[next++];
        for (size_t i = 0; i < values_.size(); ++i) {
          if (cut_.schedule.vars[i] == size) values_[i] = dim;
        }
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> SizeOf(Id size) {
    QUERN_ASSIGN_OR_RETURN(
        const runtime::SizeExpr expr,
        runtime::SizeExpr::Of(*cut_.arena, size, cut_.schedule.vars));
    return expr.Evaluate(values_);
  }

  absl::Status MakeBuffer(const schedule::BufferDecl& decl) {
    QUERN_ASSIGN_OR_RETURN(const int64_t elements, SizeOf(decl.elements));
    const auto bytes = static_cast<size_t>(elements * ir::ByteSize(decl.dtype));
    buffers_.push_back(std::make_unique<GuardedBuffer>(bytes));
    QUERN_RET_CHECK(buffers_.back()->ok(), "no memory");
    using Kind = schedule::BufferDecl::Kind;
    std::string content;
    if (decl.kind == Kind::kInput) content = ref::BytesOf(inputs_[decl.slot]);
    if (decl.kind == Kind::kWeight) {
      const graph::Bytes& data = graph_.weights[decl.slot].data;
      content.assign(data.data(), data.size());
    }
    if (content.empty()) return absl::OkStatus();
    QUERN_RET_CHECK(content.size() == bytes, "buffer of ", bytes,
                    " bytes, content of ", content.size());
    std::memcpy(buffers_.back()->data(), content.data(), bytes);
    return absl::OkStatus();
  }

  absl::Status RunLaunch(const schedule::Launch& launch) {
    const schedule::Kernel& kernel = cut_.schedule.kernels[launch.kernel];
    ir::Arena& arena = *cut_.arena;
    std::vector<Id> bodies;
    for (Id cut : kernel.bodies) {
      for (Id part : scheduler_(arena, cut).bodies) bodies.push_back(part);
    }
    for (Id& body : bodies) {
      const absl::Status verified = ir::VerifyKernelLevel(arena, body);
      if (!verified.ok()) {
        return absl::InternalError(
            absl::StrCat("after the schedule: ", verified.message(), "\n",
                         ir::ToText(arena, {body})));
      }
      QUERN_ASSIGN_OR_RETURN(body, kernel::Bind(arena, body, target_));
      QUERN_RETURN_IF_ERROR(ir::VerifyKernelLevel(arena, body));
    }
    std::vector<kernel::Param> params;
    for (const schedule::KernelParam& param : kernel.params) {
      params.push_back({param.dtype, param.written});
    }
    QUERN_ASSIGN_OR_RETURN(
        kernel::Linearized linear,
        kernel::Linearize(arena, kernel.name, std::move(params), bodies,
                          cut_.schedule.vars, target_, /*contract=*/true));
    QUERN_RETURN_IF_ERROR(kernel::Verify(linear.program));
    QUERN_ASSIGN_OR_RETURN(const int64_t grid, SizeOf(linear.grid));
    QUERN_ASSIGN_OR_RETURN(const int64_t scratch, SizeOf(linear.scratch_bytes));
    const std::string text = kernel::ToText(linear.program);
    QUERN_ASSIGN_OR_RETURN(const ref::Interpreter interpreter,
                           ref::Interpreter::For(std::move(linear.program)));
    std::vector<void*> addresses;
    for (int buffer : launch.buffers) {
      addresses.push_back(buffers_[buffer]->data());
    }
    const absl::Status status = interpreter.Run({.buffers = addresses,
                                                 .vars = values_,
                                                 .begin = 0,
                                                 .end = grid,
                                                 .scratch_bytes = scratch});
    if (!status.ok()) {
      return absl::InternalError(absl::StrCat(status.message(), "\n", text));
    }
    for (int buffer : launch.buffers) {
      if (!buffers_[buffer]->intact()) {
        return absl::InternalError(
            absl::StrCat("a write before a buffer\n", text));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<ref::Tensor>> Outputs() {
    std::vector<ref::Tensor> outputs(graph_.outputs.size());
    for (size_t i = 0; i < buffers_.size(); ++i) {
      const schedule::BufferDecl& decl = cut_.schedule.buffers[i];
      if (decl.kind != schedule::BufferDecl::Kind::kOutput) continue;
      const int64_t dims[] = {static_cast<int64_t>(buffers_[i]->size()) /
                              ir::ByteSize(decl.dtype)};
      const absl::string_view bytes(buffers_[i]->data(), buffers_[i]->size());
      QUERN_ASSIGN_OR_RETURN(outputs[decl.slot],
                             ref::TensorOf(decl.dtype, dims, bytes));
    }
    return outputs;
  }

  CutGraph& cut_;
  const graph::Graph& graph_;
  const absl::Span<const ref::Tensor> inputs_;
  base::Target target_;
  const BodyScheduler& scheduler_;
  std::vector<int64_t> values_;
  std::vector<std::unique_ptr<GuardedBuffer>> buffers_;
};

}  // namespace

absl::StatusOr<CutGraph> Cut(const graph::Graph& graph,
                             const schedule::FuseOptions& options) {
  CutGraph cut;
  cut.arena = std::make_unique<ir::Arena>();
  std::vector<Id> roots;
  for (const graph::Port& port : graph.outputs) roots.push_back(port.node);
  for (const graph::Port& port : graph.inputs) {
    roots.insert(roots.end(), port.dims.begin(), port.dims.end());
  }
  std::vector<Id> copies = ir::Clone(*cut.arena, *graph.arena, roots);
  const auto outputs_end =
      copies.begin() + static_cast<int64_t>(graph.outputs.size());
  cut.input_dims.assign(outputs_end, copies.end());
  std::vector<Id> outputs(copies.begin(), outputs_end);
  std::vector<Id> vars;
  for (Id dim : cut.input_dims) {
    if ((*cut.arena)[dim].op == ir::Op::kVar &&
        std::find(vars.begin(), vars.end(), dim) == vars.end()) {
      vars.push_back(dim);
    }
  }
  QUERN_ASSIGN_OR_RETURN(outputs, graph::Simplify(*cut.arena, outputs));
  QUERN_RETURN_IF_ERROR(ir::VerifyTensorLevel(*cut.arena, outputs));
  QUERN_ASSIGN_OR_RETURN(const schedule::Placement placement,
                         schedule::Fuse(*cut.arena, outputs, options));
  QUERN_ASSIGN_OR_RETURN(cut.schedule, schedule::Rangeify(*cut.arena, outputs,
                                                          vars, placement, {}));
  for (const schedule::Kernel& kernel : cut.schedule.kernels) {
    for (Id body : kernel.bodies) {
      QUERN_RETURN_IF_ERROR(ir::VerifyKernelLevel(*cut.arena, body));
    }
  }
  return cut;
}

absl::StatusOr<std::vector<ref::Tensor>> RunCut(
    CutGraph& cut, const graph::Graph& graph,
    absl::Span<const ref::Tensor> inputs, const base::Target& target,
    const BodyScheduler& scheduler) {
  return Runner(cut, graph, inputs, target, scheduler).Run();
}

}  // namespace quern::support
