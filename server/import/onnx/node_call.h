// SPDX-License-Identifier: Apache-2.0
//
// One node of a model as the function that builds it sees it: inputs as nodes
// of the graph, checked attributes, and what is known of small tensors.
//
// Errors stick in the builder, which puts the node's name before them; after
// one every input is kNoNode and every result is ignored. So a function is
// written without checks of its own, and never needs to return early for one,
// unless it looks into the arena.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "engine/ir/builder.h"
#include "proto/onnx/onnx.pb.h"
#include "server/import/onnx/context.h"

namespace quern::onnx_import {

using ir::DType;
using ir::Id;
using ir::kNoNode;

class NodeCall {
 public:
  // `context` and `node` must outlive the call. `inputs` has kNoNode for what
  // the node leaves out.
  NodeCall(Context* context, const onnx::NodeProto* node, int64_t opset,
           std::string description, std::vector<Id> inputs);

  // "node 'conv1' (Conv, opset 13)".
  [[nodiscard]] const std::string& Description() const { return description_; }

  [[nodiscard]] Context& context() { return context_; }
  [[nodiscard]] ir::Builder& b() { return context_.b; }
  [[nodiscard]] ir::Arena& arena() { return context_.b.arena(); }
  [[nodiscard]] bool ok() const { return context_.b.ok(); }
  [[nodiscard]] int64_t opset() const { return opset_; }

  // Inputs. In() records an error if the input is left out.
  [[nodiscard]] int inputs() const { return static_cast<int>(inputs_.size()); }
  [[nodiscard]] bool Has(int input) const;
  Id In(int input);
  [[nodiscard]] Id Optional(int input) const;  // kNoNode if left out.
  [[nodiscard]] DType TypeOf(int input);
  [[nodiscard]] int Rank(int input);
  std::vector<Id> Dims(int input);
  Id Dim(int input, int64_t axis);  // See ir::Builder::Dim.

  // What is known of an input's elements when the model is loaded. The first
  // two record an error if they are not known; what stands for `what` is the
  // role of the input, "shape".
  std::vector<Id> Sizes(int input, absl::string_view what);
  std::vector<int64_t> Integers(int input, absl::string_view what);
  std::vector<double> Doubles(int input, absl::string_view what);
  std::optional<std::vector<int64_t>> MaybeIntegers(int input);
  std::optional<std::vector<double>> MaybeDoubles(int input);

  // Attributes; the default where the node does not have it. An attribute of
  // another type is an error.
  [[nodiscard]] bool HasAttribute(absl::string_view name) const;
  int64_t Int(absl::string_view name, int64_t value);
  double Float(absl::string_view name, double value);
  std::string Text(absl::string_view name, absl::string_view value);
  std::vector<int64_t> Ints(absl::string_view name,
                            std::vector<int64_t> values = {});
  std::vector<double> Floats(absl::string_view name,
                             std::vector<double> values = {});
  const onnx::TensorProto* Tensor(absl::string_view name);
  // The dtype of an attribute that holds an element type.
  DType Type(absl::string_view name, DType value);

  // Results. Names that the node leaves out are skipped.
  [[nodiscard]] bool Wants(int output) const;
  void Set(int output, Id value);
  [[nodiscard]] const std::vector<Id>& results() const { return results_; }
  [[nodiscard]] int outputs() const { return node_.output_size(); }

  // Errors; return kNoNode.
  Id Invalid(absl::string_view message) { return b().Invalid(message); }
  Id Unimplemented(absl::string_view message);

  // A list of sizes as a tensor of `dtype`, [n].
  Id SizeList(absl::Span<const Id> sizes, DType dtype);

 private:
  const onnx::AttributeProto* Find(absl::string_view name,
                                   onnx::AttributeProto::AttributeType type);
  absl::Status NotKnown(int input, absl::string_view what,
                        absl::string_view expected);

  Context& context_;
  const onnx::NodeProto& node_;
  const int64_t opset_;
  const std::string description_;
  const std::vector<Id> inputs_;
  std::vector<Id> results_;
};

}  // namespace quern::onnx_import
