// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/node_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/import/onnx/names.h"
#include "server/import/onnx/tensor.h"

namespace quern::onnx_import {

using onnx::AttributeProto;

NodeCall::NodeCall(Context* context, const onnx::NodeProto* node, int64_t opset,
                   std::string description, std::vector<Id> inputs)
    : context_(*context),
      node_(*node),
      opset_(opset),
      description_(std::move(description)),
      inputs_(std::move(inputs)),
      results_(static_cast<size_t>(node->output_size()), kNoNode) {}

bool NodeCall::Has(int input) const {
  return input < inputs() && inputs_[input] != kNoNode;
}

Id NodeCall::Optional(int input) const {
  return Has(input) ? inputs_[input] : kNoNode;
}

Id NodeCall::In(int input) {
  if (!Has(input)) {
    return Invalid(absl::StrCat("input ", input, " is missing"));
  }
  return ok() ? inputs_[input] : kNoNode;
}

DType NodeCall::TypeOf(int input) {
  const Id x = In(input);
  return x == kNoNode ? DType::kF32 : b().DTypeOf(x);
}

int NodeCall::Rank(int input) { return b().Rank(In(input)); }

std::vector<Id> NodeCall::Dims(int input) { return b().Dims(In(input)); }

Id NodeCall::Dim(int input, int64_t axis) { return b().Dim(In(input), axis); }

absl::Status NodeCall::NotKnown(int input, absl::string_view what,
                                absl::string_view expected) {
  std::string names;
  for (Id at : ir::TopologicalOrder(arena(), {inputs_[input]})) {
    const ir::Node& node = arena()[at];
    if (node.op != ir::Op::kInput) continue;
    const auto slot = static_cast<size_t>(node.attr->ints[0]);
    const std::string& name = context_.graph.inputs[slot].name;
    absl::StrAppend(&names, names.empty() ? "" : ", ", Quoted(name));
    if (ok()) context_.deciding_inputs.push_back(name);
  }
  return absl::UnimplementedError(absl::StrCat(
      "input ", input, " (", what, ") must be ", expected,
      " when the model is loaded",
      names.empty() ? "" : "; it depends on the content of input ", names));
}

std::vector<Id> NodeCall::Sizes(int input, absl::string_view what) {
  const Id x = In(input);
  if (x == kNoNode) return {};
  if (auto sizes = context_.known.Sizes(x)) return *std::move(sizes);
  b().Fail(NotKnown(input, what, "known"));
  return {};
}

std::vector<int64_t> NodeCall::Integers(int input, absl::string_view what) {
  const Id x = In(input);
  if (x == kNoNode) return {};
  if (auto values = context_.known.Integers(x)) return *std::move(values);
  b().Fail(NotKnown(input, what, "constant"));
  return {};
}

std::vector<double> NodeCall::Doubles(int input, absl::string_view what) {
  const Id x = In(input);
  if (x == kNoNode) return {};
  if (auto values = context_.known.Doubles(x)) return *std::move(values);
  b().Fail(NotKnown(input, what, "constant"));
  return {};
}

std::optional<std::vector<int64_t>> NodeCall::MaybeIntegers(int input) {
  if (!ok() || !Has(input)) return std::nullopt;
  return context_.known.Integers(inputs_[input]);
}

std::optional<std::vector<double>> NodeCall::MaybeDoubles(int input) {
  if (!ok() || !Has(input)) return std::nullopt;
  return context_.known.Doubles(inputs_[input]);
}

bool NodeCall::HasAttribute(absl::string_view name) const {
  return std::any_of(node_.attribute().begin(), node_.attribute().end(),
                     [&](const AttributeProto& a) {
                       return absl::string_view(a.name()) == name;
                     });
}

const AttributeProto* NodeCall::Find(absl::string_view name,
                                     AttributeProto::AttributeType type) {
  for (const AttributeProto& a : node_.attribute()) {
    if (absl::string_view(a.name()) != name) continue;
    if (!a.ref_attr_name().empty()) {
      Invalid(absl::StrCat("attribute ", Quoted(name),
                           " refers to a function's attribute"));
      return nullptr;
    }
    // Files older than IR version 2 do not say the type.
    if (a.type() == type || a.type() == AttributeProto::UNDEFINED) return &a;
    Invalid(absl::StrCat("attribute ", Quoted(name), " has type ",
                         AttributeProto::AttributeType_Name(a.type()),
                         ", expected ",
                         AttributeProto::AttributeType_Name(type)));
    return nullptr;
  }
  return nullptr;
}

int64_t NodeCall::Int(absl::string_view name, int64_t value) {
  const AttributeProto* a = Find(name, AttributeProto::INT);
  return a == nullptr ? value : a->i();
}

double NodeCall::Float(absl::string_view name, double value) {
  const AttributeProto* a = Find(name, AttributeProto::FLOAT);
  return a == nullptr ? value : static_cast<double>(a->f());
}

std::string NodeCall::Text(absl::string_view name, absl::string_view value) {
  const AttributeProto* a = Find(name, AttributeProto::STRING);
  return a == nullptr ? std::string(value) : a->s();
}

std::vector<int64_t> NodeCall::Ints(absl::string_view name,
                                    std::vector<int64_t> values) {
  const AttributeProto* a = Find(name, AttributeProto::INTS);
  if (a == nullptr) return values;
  if (a->ints_size() > context_.options.max_attribute_elements) {
    b().Fail(absl::ResourceExhaustedError(absl::StrCat(
        "attribute ", Quoted(name), " has ", a->ints_size(),
        " elements, the limit is ", context_.options.max_attribute_elements)));
    return {};
  }
  return {a->ints().begin(), a->ints().end()};
}

std::vector<double> NodeCall::Floats(absl::string_view name,
                                     std::vector<double> values) {
  const AttributeProto* a = Find(name, AttributeProto::FLOATS);
  if (a == nullptr) return values;
  if (a->floats_size() > context_.options.max_attribute_elements) {
    b().Fail(absl::ResourceExhaustedError(absl::StrCat(
        "attribute ", Quoted(name), " has ", a->floats_size(),
        " elements, the limit is ", context_.options.max_attribute_elements)));
    return {};
  }
  return {a->floats().begin(), a->floats().end()};
}

const onnx::TensorProto* NodeCall::Tensor(absl::string_view name) {
  const AttributeProto* a = Find(name, AttributeProto::TENSOR);
  return a == nullptr ? nullptr : &a->t();
}

DType NodeCall::Type(absl::string_view name, DType value) {
  const AttributeProto* a = Find(name, AttributeProto::INT);
  if (a == nullptr) return value;
  const absl::StatusOr<DType> dtype =
      DTypeOfElement(static_cast<int32_t>(a->i()));
  if (!dtype.ok()) b().Fail(dtype.status());
  return dtype.value_or(value);
}

bool NodeCall::Wants(int output) const {
  return output < node_.output_size() && !node_.output(output).empty();
}

void NodeCall::Set(int output, Id value) {
  if (output < node_.output_size()) results_[output] = value;
}

Id NodeCall::Unimplemented(absl::string_view message) {
  return b().Fail(absl::UnimplementedError(message));
}

Id NodeCall::SizeList(absl::Span<const Id> sizes, DType dtype) {
  const Id count = b().Int(static_cast<int64_t>(sizes.size()));
  std::vector<int64_t> values;
  for (Id size : sizes) {
    if (arena().IsConst(size)) values.push_back(arena().IntValue(size));
  }
  if (values.size() == sizes.size()) {
    return b().ConstArray(dtype, values, {count});
  }
  std::vector<Id> parts;
  for (Id size : sizes) {
    parts.push_back(b().Reshape(b().Cast(size, dtype), {b().Int(1)}));
  }
  return b().Concat(parts, 0);
}

}  // namespace quern::onnx_import
