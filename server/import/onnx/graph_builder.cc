// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/graph_builder.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/status_macros.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"
#include "server/import/onnx/tensor.h"

namespace quern::onnx_import {
namespace {

using onnx::GraphProto;
using onnx::NodeProto;

// A list of names in a message is cut after this many.
constexpr size_t kMaxNames = 5;

// "node 'conv1' (Conv, opset 13)".
std::string Describe(const GraphProto& graph, int index, int64_t opset) {
  const NodeProto& node = graph.node(index);
  const std::string name = node.name().empty()
                               ? absl::StrCat("node ", index)
                               : absl::StrCat("node ", Quoted(node.name()));
  const std::string domain =
      node.domain().empty() ? "" : absl::StrCat(Shown(node.domain()), ".");
  return absl::StrCat(name, " (", domain, Shown(node.op_type()), ", opset ",
                      opset, ")");
}

using Producers = absl::flat_hash_map<std::string, int>;
constexpr int kNotANode = -1;  // An input or initializer.

absl::StatusOr<Producers> ProducersOf(const GraphProto& graph, int64_t opset) {
  Producers producers;
  for (const onnx::TensorProto& tensor : graph.initializer()) {
    if (tensor.name().empty()) {
      return absl::InvalidArgumentError("an initializer has no name");
    }
    if (!producers.emplace(tensor.name(), kNotANode).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "initializer ", Quoted(tensor.name()), " is defined twice"));
    }
  }
  for (const onnx::SparseTensorProto& tensor : graph.sparse_initializer()) {
    producers.emplace(tensor.values().name(), kNotANode);
  }
  absl::flat_hash_set<std::string> inputs;
  for (const onnx::ValueInfoProto& input : graph.input()) {
    if (input.name().empty()) {
      return absl::InvalidArgumentError("a graph input has no name");
    }
    if (!inputs.insert(input.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "graph input ", Quoted(input.name()), " is defined twice"));
    }
    producers.emplace(input.name(), kNotANode);  // May have a default.
  }
  for (int i = 0; i < graph.node_size(); ++i) {
    for (const std::string& output : graph.node(i).output()) {
      if (output.empty()) continue;
      if (!producers.emplace(output, i).second) {
        return absl::InvalidArgumentError(
            absl::StrCat(Describe(graph, i, opset), ": output ", Quoted(output),
                         " is defined a second time"));
      }
    }
  }
  return producers;
}

// Names that a node reads, those of its subgraphs' outer scope included.
absl::Status CollectReads(const NodeProto& node, int depth,
                          const ImportOptions& options,
                          std::vector<std::string>& reads, int64_t& nodes) {
  for (const std::string& input : node.input()) {
    if (!input.empty()) reads.push_back(input);
  }
  const auto inside = [&](const GraphProto& body) -> absl::Status {
    if (depth >= options.max_subgraph_depth) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "subgraphs are nested deeper than ", options.max_subgraph_depth));
    }
    absl::flat_hash_set<std::string> own;
    for (const auto& input : body.input()) own.insert(input.name());
    for (const auto& tensor : body.initializer()) own.insert(tensor.name());
    for (const NodeProto& inner : body.node()) {
      own.insert(inner.output().begin(), inner.output().end());
    }
    std::vector<std::string> inner_reads;
    nodes += body.node_size();
    if (nodes > options.max_nodes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the model has more than ", options.max_nodes, " nodes"));
    }
    for (const NodeProto& inner : body.node()) {
      QUERN_RETURN_IF_ERROR(
          CollectReads(inner, depth + 1, options, inner_reads, nodes));
    }
    for (const auto& output : body.output()) {
      inner_reads.push_back(output.name());
    }
    for (std::string& name : inner_reads) {
      if (!own.contains(name)) reads.push_back(std::move(name));
    }
    return absl::OkStatus();
  };
  for (const onnx::AttributeProto& attribute : node.attribute()) {
    if (attribute.has_g()) QUERN_RETURN_IF_ERROR(inside(attribute.g()));
    for (const GraphProto& body : attribute.graphs()) {
      QUERN_RETURN_IF_ERROR(inside(body));
    }
  }
  return absl::OkStatus();
}

// Kahn's algorithm over all nodes, in file order where there is a choice; then
// the part that the outputs need.
absl::StatusOr<std::vector<int>> OrderNodes(const GraphProto& graph,
                                            int64_t opset,
                                            const ImportOptions& options) {
  Producers producers;
  QUERN_ASSIGN_OR_RETURN(producers, ProducersOf(graph, opset));
  const int count = graph.node_size();
  std::vector<std::vector<int>> users(count);
  std::vector<std::vector<int>> needs(count);
  std::vector<int> missing(count, 0);
  int64_t nodes = count;
  for (int i = 0; i < count; ++i) {
    std::vector<std::string> reads;
    const absl::Status status =
        CollectReads(graph.node(i), 0, options, reads, nodes);
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat(Describe(graph, i, opset),
                                                      ": ", status.message()));
    }
    for (const std::string& name : reads) {
      const auto it = producers.find(name);
      if (it == producers.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(Describe(graph, i, opset), ": input ", Quoted(name),
                         " is not defined"));
      }
      if (it->second == kNotANode) continue;
      users[it->second].push_back(i);
      needs[i].push_back(it->second);
      ++missing[i];
    }
  }
  std::vector<int> order;
  std::vector<int> ready;  // A heap: the least index first.
  for (int i = 0; i < count; ++i) {
    if (missing[i] == 0) ready.push_back(i);
  }
  const auto later = [](int a, int b) { return a > b; };
  std::make_heap(ready.begin(), ready.end(), later);
  while (!ready.empty()) {
    std::pop_heap(ready.begin(), ready.end(), later);
    const int at = ready.back();
    ready.pop_back();
    order.push_back(at);
    for (int user : users[at]) {
      if (--missing[user] != 0) continue;
      ready.push_back(user);
      std::push_heap(ready.begin(), ready.end(), later);
    }
  }
  if (static_cast<int>(order.size()) != count) {
    std::vector<std::string> names;
    for (int i = 0; i < count && names.size() < kMaxNames; ++i) {
      if (missing[i] != 0) names.push_back(Describe(graph, i, opset));
    }
    return absl::InvalidArgumentError(absl::StrCat(
        count - order.size(), " nodes depend on themselves: ",
        absl::StrJoin(names, ", "), names.size() == kMaxNames ? ", ..." : ""));
  }
  std::vector<bool> wanted(count, false);
  absl::flat_hash_set<std::string> outputs;
  for (const onnx::ValueInfoProto& output : graph.output()) {
    if (!outputs.insert(output.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "graph output ", Quoted(output.name()), " is listed twice"));
    }
    const auto it = producers.find(output.name());
    if (it == producers.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "graph output ", Quoted(output.name()), " is not defined"));
    }
    if (it->second != kNotANode) wanted[it->second] = true;
  }
  for (size_t i = order.size(); i-- > 0;) {
    if (!wanted[order[i]]) continue;
    for (int need : needs[order[i]]) wanted[need] = true;
  }
  order.erase(std::remove_if(order.begin(), order.end(),
                             [&](int i) { return !wanted[i]; }),
              order.end());
  return order;
}

absl::Status CheckOperators(const GraphProto& graph,
                            absl::Span<const int> order, int64_t opset) {
  std::map<std::string, std::vector<std::string>> unknown;
  for (int i : order) {
    const NodeProto& node = graph.node(i);
    if (FindOp(node.domain(), node.op_type(), opset) != nullptr) continue;
    const std::string domain =
        node.domain().empty() ? "" : absl::StrCat(Shown(node.domain()), ".");
    unknown[absl::StrCat(domain, Shown(node.op_type()))].push_back(
        node.name().empty() ? absl::StrCat(i) : Quoted(node.name()));
  }
  if (unknown.empty()) return absl::OkStatus();
  std::string message = absl::StrCat(
      unknown.size(), unknown.size() == 1 ? " operator is" : " operators are",
      " not supported:");
  const char* separator = " ";
  for (auto& [name, nodes] : unknown) {
    const bool cut = nodes.size() > kMaxNames;
    const std::string plural = nodes.size() == 1 ? "node " : "nodes ";
    if (cut) nodes.resize(kMaxNames);
    absl::StrAppend(&message, separator, name, " (opset ", opset, "; ", plural,
                    absl::StrJoin(nodes, ", "), cut ? ", ..." : "", ")");
    separator = ", ";
  }
  return absl::UnimplementedError(message);
}

// Builds one graph into the context.
class GraphBuilder {
 public:
  GraphBuilder(Context* context, const GraphProto* graph, int64_t opset)
      : c_(*context), graph_(*graph), opset_(opset) {}

  absl::Status Build();

 private:
  absl::Status AddInputs();
  absl::Status AddInput(const onnx::ValueInfoProto& input);
  absl::Status AddFixedInput(const std::string& name,
                             const graph::Weight& weight);
  absl::StatusOr<Id> DimOf(const onnx::ValueInfoProto& input, int axis);
  absl::Status AddNode(int index);
  absl::Status AddOutputs();
  absl::StatusOr<Id> ValueOf(const std::string& name);

  Context& c_;
  const GraphProto& graph_;
  const int64_t opset_;
  absl::flat_hash_map<std::string, Id> values_;
  absl::flat_hash_map<std::string, const onnx::TensorProto*> initializers_;
};

absl::Status GraphBuilder::Build() {
  for (const onnx::TensorProto& tensor : graph_.initializer()) {
    initializers_.emplace(tensor.name(), &tensor);
  }
  QUERN_RETURN_IF_ERROR(AddInputs());
  std::vector<int> order;
  QUERN_ASSIGN_OR_RETURN(order, OrderNodes(graph_, opset_, c_.options));
  for (int index : order) QUERN_RETURN_IF_ERROR(AddNode(index));
  return AddOutputs();
}

absl::Status GraphBuilder::AddInputs() {
  for (const onnx::ValueInfoProto& input : graph_.input()) {
    // An initializer of the same name is the input's fixed value.
    if (initializers_.contains(input.name())) continue;
    const auto fixed = c_.options.input_values.find(input.name());
    QUERN_RETURN_IF_ERROR(fixed == c_.options.input_values.end()
                              ? AddInput(input)
                              : AddFixedInput(input.name(), fixed->second));
    QUERN_RETURN_IF_ERROR(c_.b.status());
  }
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddFixedInput(const std::string& name,
                                         const graph::Weight& weight) {
  int64_t bytes = ir::ByteSize(weight.dtype);
  for (int64_t dim : weight.dims) {
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) bytes = -1;
  }
  if (bytes < 0 || static_cast<size_t>(bytes) != weight.data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the fixed value of input ", Quoted(name), " has ",
                     weight.data.size(), " bytes, its shape needs ", bytes));
  }
  values_[name] = c_.Constant(weight);
  return absl::OkStatus();
}

absl::StatusOr<Id> GraphBuilder::DimOf(const onnx::ValueInfoProto& input,
                                       int axis) {
  const onnx::TensorShapeProto::Dimension& dim =
      input.type().tensor_type().shape().dim(axis);
  if (dim.has_dim_value()) {
    if (dim.dim_value() < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("input ", Quoted(input.name()), ": axis ", axis,
                       " has the size ", dim.dim_value()));
    }
    return c_.b.Int(dim.dim_value());
  }
  const std::string name = dim.dim_param().empty()
                               ? absl::StrCat(input.name(), ".", axis)
                               : dim.dim_param();
  const auto bounds = c_.options.dims.find(name);
  const DimBounds between =
      bounds == c_.options.dims.end() ? DimBounds{} : bounds->second;
  return c_.b.Var(name, between.least, between.greatest);
}

absl::Status GraphBuilder::AddInput(const onnx::ValueInfoProto& input) {
  if (!input.type().has_tensor_type()) {
    return absl::UnimplementedError(
        absl::StrCat("input ", Quoted(input.name()),
                     " is no tensor; sequences, maps and optional values are "
                     "not supported"));
  }
  const onnx::TypeProto::Tensor& type = input.type().tensor_type();
  if (!type.has_shape()) {
    return absl::UnimplementedError(
        absl::StrCat("input ", Quoted(input.name()),
                     " has no shape; its rank must be known"));
  }
  const absl::StatusOr<DType> dtype = DTypeOfElement(type.elem_type());
  if (!dtype.ok()) {
    return absl::Status(dtype.status().code(),
                        absl::StrCat("input ", Quoted(input.name()), ": ",
                                     dtype.status().message()));
  }
  graph::Port port;
  port.name = input.name();
  port.dtype = *dtype;
  for (int axis = 0; axis < type.shape().dim_size(); ++axis) {
    Id dim = kNoNode;
    QUERN_ASSIGN_OR_RETURN(dim, DimOf(input, axis));
    port.dims.push_back(dim);
  }
  c_.b.SetContext(absl::StrCat("input ", Quoted(input.name())));
  port.node = c_.b.Input(static_cast<int>(c_.graph.inputs.size()), port.dtype,
                         port.dims);
  values_[input.name()] = port.node;
  c_.graph.inputs.push_back(std::move(port));
  return absl::OkStatus();
}

absl::StatusOr<Id> GraphBuilder::ValueOf(const std::string& name) {
  const auto it = values_.find(name);
  if (it != values_.end()) return it->second;
  const auto tensor = initializers_.find(name);
  if (tensor == initializers_.end()) {
    // Names were checked: what is left is an initializer in sparse form.
    return absl::UnimplementedError(absl::StrCat(
        "initializer ", Quoted(name), " is sparse, which is not supported"));
  }
  graph::Weight weight;
  const auto apart = c_.file->data.find(tensor->second);
  QUERN_ASSIGN_OR_RETURN(
      weight,
      ReadTensor(*tensor->second, c_.file->proto,
                 apart == c_.file->data.end() ? nullptr : &apart->second));
  const Id id = c_.Constant(weight);
  values_[name] = id;
  return id;
}

absl::Status GraphBuilder::AddNode(int index) {
  const NodeProto& node = graph_.node(index);
  const std::string description = Describe(graph_, index, opset_);
  c_.b.SetContext(description);
  std::vector<Id> inputs;
  for (const std::string& name : node.input()) {
    Id id = kNoNode;
    if (!name.empty()) {
      QUERN_ASSIGN_OR_RETURN(id, ValueOf(name));
    }
    inputs.push_back(id);
  }
  NodeCall call(&c_, &node, opset_, description, std::move(inputs));
  FindOp(node.domain(), node.op_type(), opset_)(call);
  QUERN_RETURN_IF_ERROR(c_.b.status());
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty()) continue;
    const Id id = call.results()[i];
    if (id == kNoNode) {
      return absl::UnimplementedError(
          absl::StrCat(Describe(graph_, index, opset_), ": output ", i, " (",
                       Quoted(node.output(i)), ") is not supported"));
    }
    values_[node.output(i)] = id;
  }
  return absl::OkStatus();
}

absl::Status GraphBuilder::AddOutputs() {
  for (const onnx::ValueInfoProto& output : graph_.output()) {
    graph::Port port;
    port.name = output.name();
    QUERN_ASSIGN_OR_RETURN(port.node, ValueOf(output.name()));
    port.dtype = c_.b.DTypeOf(port.node);
    port.dims = c_.b.Dims(port.node);
    const int32_t declared = output.type().tensor_type().elem_type();
    const absl::StatusOr<DType> dtype = DTypeOfElement(declared);
    if (dtype.ok() && *dtype != port.dtype) {
      return absl::InvalidArgumentError(absl::StrCat(
          "graph output ", Quoted(output.name()), " is declared as ",
          ir::Name(*dtype), " and computed as ", ir::Name(port.dtype)));
    }
    c_.graph.outputs.push_back(std::move(port));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckGraph(const GraphProto& graph, int64_t opset,
                        const ImportOptions& options) {
  if (graph.node_size() > options.max_nodes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the model has ", graph.node_size(),
                     " nodes, the limit is ", options.max_nodes));
  }
  if (graph.output_size() == 0) {
    return absl::InvalidArgumentError("the graph has no outputs");
  }
  std::vector<int> order;
  QUERN_ASSIGN_OR_RETURN(order, OrderNodes(graph, opset, options));
  return CheckOperators(graph, order, opset);
}

absl::Status BuildGraph(Context& context, int64_t opset) {
  return GraphBuilder(&context, &context.file->proto->graph(), opset).Build();
}

}  // namespace quern::onnx_import
