// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/size_expr.h"

#include <algorithm>
#include <array>
#include <functional>

#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"

namespace quern::runtime {

absl::StatusOr<SizeExpr> SizeExpr::Of(const ir::Arena& arena, ir::Id id,
                                      absl::Span<const ir::Id> vars) {
  SizeExpr out;
  out.steps_.clear();
  absl::Status status;
  int depth = 0;
  int deepest = 0;
  int nesting = 0;
  const std::function<void(ir::Id)> visit = [&](ir::Id at) {
    // A size is a tree here, though its nodes may be shared: it must not grow
    // with the number of paths.
    if (!status.ok()) return;
    if (nesting > kMaxSteps || out.steps_.size() > kMaxSteps) {
      status = absl::ResourceExhaustedError("a size is too complicated");
      return;
    }
    const ir::Node& node = arena[at];
    const auto push = [&](Kind kind, int64_t value) {
      out.steps_.push_back({kind, value});
      deepest = std::max(deepest, ++depth);
    };
    if (node.op == ir::Op::kConst) {
      push(Kind::kConst, arena.IntValue(at));
      return;
    }
    if (node.op == ir::Op::kVar) {
      const auto it = std::find(vars.begin(), vars.end(), at);
      if (it == vars.end()) {
        status = absl::InternalError(absl::StrCat(
            "size uses unknown variable ", base::Quoted(node.attr->text)));
      }
      push(Kind::kVar, it - vars.begin());
      return;
    }
    Kind kind = Kind::kAdd;
    switch (node.op) {
      case ir::Op::kAdd:
        break;
      case ir::Op::kMul:
        kind = Kind::kMul;
        break;
      case ir::Op::kIDiv:
        kind = Kind::kDiv;
        break;
      case ir::Op::kMod:
        kind = Kind::kMod;
        break;
      case ir::Op::kMin:
        kind = Kind::kMin;
        break;
      case ir::Op::kMax:
        kind = Kind::kMax;
        break;
      default:
        status = absl::InternalError(
            absl::StrCat("'", ir::Name(node.op), "' in a size"));
        push(Kind::kConst, 0);
        return;
    }
    ++nesting;
    visit(node.srcs[0]);
    visit(node.srcs[1]);
    --nesting;
    out.steps_.push_back({kind, 0});
    --depth;
  };
  visit(id);
  if (!status.ok()) return status;
  if (deepest > kMaxDepth) {
    return absl::ResourceExhaustedError("a size is too complicated");
  }
  return out;
}

absl::StatusOr<int64_t> SizeExpr::Evaluate(
    absl::Span<const int64_t> vars) const {
  std::array<int64_t, kMaxDepth + 1> stack;
  int top = 0;
  for (const Step& step : steps_) {
    if (step.kind == Kind::kConst) {
      stack[top++] = step.value;
      continue;
    }
    if (step.kind == Kind::kVar) {
      stack[top++] = vars[step.value];
      continue;
    }
    const int64_t b = stack[--top];
    int64_t& a = stack[top - 1];
    bool overflow = false;
    switch (step.kind) {
      case Kind::kAdd:
        overflow = __builtin_add_overflow(a, b, &a);
        break;
      case Kind::kMul:
        overflow = __builtin_mul_overflow(a, b, &a);
        break;
      case Kind::kDiv:
        if (b == -1) {
          overflow = __builtin_sub_overflow(int64_t{0}, a, &a);
        } else {
          a = b == 0 ? 0 : a / b;
        }
        break;
      case Kind::kMod:
        a = b == 0 || b == -1 ? 0 : a % b;
        break;
      case Kind::kMin:
        a = std::min(a, b);
        break;
      default:
        a = std::max(a, b);
        break;
    }
    if (overflow) {
      return absl::InvalidArgumentError("a size is beyond 64 bits");
    }
  }
  return stack[0];
}

}  // namespace quern::runtime
