// SPDX-License-Identifier: Apache-2.0
#include "backends/ref/interpreter.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::ref {
namespace {

using ir::DType;
using ir::Op;
using kernel::Instruction;

}  // namespace

// The state of one run.
class Interpreter::Machine {
 public:
  Machine(const Interpreter& owner, const Launch& launch)
      : program_(owner.program_),
        steps_(owner.steps_),
        launch_(launch),
        file_(owner.file_size_),
        scratch_(launch.scratch_bytes) {}

  absl::Status Chunk(int64_t chunk) {
    const auto count = static_cast<int64_t>(steps_.size());
    for (int64_t pc = 0; pc < count;) {
      QUERN_ASSIGN_OR_RETURN(pc, Execute(pc, chunk));
    }
    return absl::OkStatus();
  }

 private:
  int64_t* Column(int64_t at) { return file_.data() + at; }

  // Runs the step at `pc`; returns the position of the next one.
  absl::StatusOr<int64_t> Execute(int64_t pc, int64_t chunk) {
    const Step& step = steps_[pc];
    const Instruction& code = step.code;
    int64_t* const result = Column(step.at);
    const auto src = [&](int i) { return Column(step.src[i]); };
    switch (code.op) {
      case Op::kConst:
        std::fill_n(result, code.lanes, code.imm);
        break;
      case Op::kVar:
        *result = launch_.vars[code.imm];
        break;
      case Op::kGrid:
        *result = chunk;
        break;
      case Op::kScratch:
        *result = *src(0);
        break;
      case Op::kParam:
      case Op::kConstArray:
      case Op::kPrefetch:
        break;
      case Op::kLoop:
        result[0] = *src(0);
        result[1] = *src(1);
        return result[0] < result[1] ? pc + 1 : step.other_end + 1;
      case Op::kEndLoop: {
        int64_t* const loop = Column(steps_[step.other_end].at);
        const int64_t by = steps_[step.other_end].code.imm;
        const bool more =
            !__builtin_add_overflow(loop[0], by, &loop[0]) && loop[0] < loop[1];
        return more ? step.other_end + 1 : pc + 1;
      }
      case Op::kIf:
        return *src(0) != 0 ? pc + 1 : step.other_end + 1;
      case Op::kEndIf:
        break;
      case Op::kLoad:
        QUERN_RETURN_IF_ERROR(Access(pc, result));
        break;
      case Op::kStore:
        QUERN_RETURN_IF_ERROR(Access(pc, src(2)));
        break;
      case Op::kRegister:
      case Op::kGet:
        std::copy_n(src(0), code.lanes, result);
        break;
      case Op::kSet:
        std::copy_n(src(1), steps_[code.srcs[0]].code.lanes, src(0));
        break;
      case Op::kSplat:
        std::fill_n(result, code.lanes, *src(0));
        break;
      case Op::kLanes:
        for (int64_t lane = 0; lane < code.lanes; ++lane) result[lane] = lane;
        break;
      case Op::kReduceLanes:
        ReduceLanes(step);
        break;
      default:
        step.evaluator.Run(src(0), src(1), src(2), result, code.lanes);
    }
    return pc + 1;
  }

  void ReduceLanes(const Step& step) {
    int64_t lanes = steps_[step.code.srcs[0]].code.lanes;
    std::vector<int64_t> values(Column(step.src[0]),
                                Column(step.src[0]) + lanes);
    for (lanes /= 2; lanes > 0; lanes /= 2) {
      step.evaluator.Run(values.data(), values.data() + lanes, nullptr,
                         values.data(), lanes);
    }
    *Column(step.at) = values[0];
  }

  // A load into or a store of `values`.
  absl::Status Access(int64_t pc, int64_t* values) {
    const Step& step = steps_[pc];
    const bool store = step.code.op == Op::kStore;
    const Instruction& base = steps_[step.code.srcs[0]].code;
    const size_t mask_at = store ? 3 : 2;
    const int64_t* const mask =
        step.code.srcs.size() > mask_at ? Column(step.src[mask_at]) : nullptr;
    const int64_t* const index = Column(step.src[1]);
    const bool gather = steps_[step.code.srcs[1]].code.lanes > 1;
    const int64_t bytes = ir::ByteSize(step.code.dtype);
    const int64_t step_size = step.code.imm == 0 ? 1 : step.code.imm;
    for (int64_t lane = 0; lane < step.code.lanes; ++lane) {
      if (mask != nullptr && mask[lane] == 0) {
        if (!store) values[lane] = 0;
        continue;
      }
      const int64_t at = gather ? index[lane] : *index + lane * step_size;
      if (base.op == Op::kConstArray) {
        const std::vector<int64_t>& bits = program_.tables[base.imm].bits;
        if (at < 0 || at >= static_cast<int64_t>(bits.size())) {
          return Outside(pc, at, "a table", bits.size());
        }
        values[lane] = bits[at];
        continue;
      }
      char* memory = nullptr;
      if (base.op == Op::kParam) {
        memory = static_cast<char*>(launch_.buffers[base.imm]);
      } else {
        const int64_t offset = *Column(step.src[0]);
        const auto size = static_cast<int64_t>(scratch_.size());
        if (offset < 0 || offset > size || at < 0 ||
            at >= (size - offset) / bytes) {
          return Outside(pc, at, "the scratch memory", size);
        }
        memory = scratch_.data() + offset;
      }
      if (store) {
        ir::WriteElement(step.code.dtype, values[lane], memory + at * bytes);
      } else {
        values[lane] = ir::ReadElement(step.code.dtype, memory + at * bytes);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Outside(int64_t pc, int64_t at, absl::string_view what,
                       size_t size) const {
    return absl::InternalError(absl::StrCat("kernel ", program_.name, ": %", pc,
                                            " accesses element ", at, " of ",
                                            what, " of size ", size));
  }

  const kernel::Program& program_;
  const std::vector<Step>& steps_;
  const Launch& launch_;
  std::vector<int64_t> file_;
  std::vector<char> scratch_;
};

absl::StatusOr<Interpreter> Interpreter::For(kernel::Program program) {
  Interpreter interpreter;
  interpreter.program_ = std::move(program);
  QUERN_RETURN_IF_ERROR(interpreter.Prepare());
  return interpreter;
}

absl::Status Interpreter::Prepare() {
  for (const Instruction& code : program_.code) {
    const auto position = static_cast<int32_t>(steps_.size());
    Step step;
    step.code = code;
    step.at = file_size_;
    // A loop keeps its limit behind its index.
    file_size_ += code.op == Op::kLoop ? 2 : code.lanes;
    QUERN_RET_CHECK(code.srcs.size() <= std::size(step.src));
    for (size_t i = 0; i < code.srcs.size(); ++i) {
      step.src[i] = steps_[code.srcs[i]].at;
    }
    if (code.op == Op::kEndLoop || code.op == Op::kEndIf) {
      step.other_end = code.srcs[0];
      steps_[code.srcs[0]].other_end = position;
    }
    if (ir::IsElementwise(code.op)) {
      const int value = code.op == Op::kWhere ? 1 : 0;
      QUERN_ASSIGN_OR_RETURN(
          step.evaluator,
          ir::EvaluatorOf(code.op, steps_[code.srcs[value]].code.dtype,
                          code.dtype, ir::Rounding::kCasts));
    } else if (code.op == Op::kReduceLanes) {
      QUERN_ASSIGN_OR_RETURN(
          step.evaluator, ir::EvaluatorOf(static_cast<Op>(code.imm), code.dtype,
                                          code.dtype, ir::Rounding::kCasts));
    }
    steps_.push_back(std::move(step));
  }
  return absl::OkStatus();
}

absl::Status Interpreter::Run(const Launch& launch) const {
  if (launch.buffers.size() != program_.params.size() ||
      launch.vars.size() != static_cast<size_t>(program_.num_vars) ||
      launch.scratch_bytes < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "kernel ", program_.name, " takes ", program_.params.size(),
        " buffers and ", program_.num_vars, " variables, got ",
        launch.buffers.size(), " and ", launch.vars.size()));
  }
  Machine machine(*this, launch);
  for (int64_t chunk = launch.begin; chunk < launch.end; ++chunk) {
    QUERN_RETURN_IF_ERROR(machine.Chunk(chunk));
  }
  return absl::OkStatus();
}

}  // namespace quern::ref
