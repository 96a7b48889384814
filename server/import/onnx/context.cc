// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/context.h"

#include <optional>
#include <utility>
#include <vector>

#include "engine/ir/eval.h"
#include "server/import/onnx/tensor.h"

namespace quern::onnx_import {
namespace {

// Longer integer tensors are data, such as tables of tokens, not shapes.
constexpr int64_t kMaxArrayElements = 1024;

}  // namespace

Context::Context(std::shared_ptr<const ModelFile> the_file,
                 const ImportOptions& the_options)
    : file(std::move(the_file)),
      options(the_options),
      b(graph.arena.get()),
      known(graph.arena.get(),
            [this](int64_t slot) -> std::optional<std::vector<int64_t>> {
              return HeldBits(graph.weights[static_cast<size_t>(slot)]);
            }) {}

ir::Id Context::Constant(const graph::Weight& weight) {
  std::vector<ir::Id> dims;
  for (int64_t dim : weight.dims) dims.push_back(b.Int(dim));
  const int64_t count = ElementCount(weight);
  if (count == 0) {
    return b.Expand(b.Cast(b.Int(0), weight.dtype), dims);
  }
  if (IsUniform(weight)) {
    const int64_t bits = ir::ReadElement(weight.dtype, weight.data.data());
    const ir::Id value =
        b.arena().Make(ir::Op::kConst, weight.dtype, {}, ir::Attr{{bits}, {}});
    return b.Expand(value, dims);
  }
  if (!ir::IsFloat(weight.dtype) && count <= kMaxArrayElements) {
    return b.ConstArray(weight.dtype, HeldBits(weight), dims);
  }
  const int slot = static_cast<int>(graph.weights.size());
  graph.weights.push_back(weight);
  return b.Weight(slot, weight.dtype, dims);
}

}  // namespace quern::onnx_import
