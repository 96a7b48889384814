// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "proto/quern/v1/graph.pb.h"
#include "server/import/graph/graph_import.h"
#include "server/import/graph/vocabulary.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/message_mutator.h"
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

void Read(absl::string_view bytes) {
  auto proto = std::make_shared<v1::Graph>();
  if (!proto->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return;
  }
  graph_import::ImportOptions options;
  options.max_nodes = 500;
  // Any hash is that of sixteen bytes.
  options.content = [](absl::string_view) {
    return graph::Bytes(std::string(16, '\1'));
  };
  const auto graph = graph_import::ImportGraph(std::move(proto), options);
  ExpectNoFault(graph.status());
  if (graph.ok()) ExpectCompiles(*graph);
}

// Some value of the parameter's type that suits tensors of [n,4] and [4,4].
v1::Attribute SomeValue(graph_import::ParameterType type) {
  using graph_import::ParameterType;
  v1::Attribute value;
  switch (type) {
    case ParameterType::kInt:
    case ParameterType::kNumber:
      value.set_int_value(1);
      break;
    case ParameterType::kFloat:
      value.set_float_value(0.5);
      break;
    case ParameterType::kBool:
      value.set_bool_value(true);
      break;
    case ParameterType::kText:
      value.set_string_value("add");
      break;
    case ParameterType::kDataType:
      value.set_data_type(v1::DATA_TYPE_F32);
      break;
    case ParameterType::kInts:
    case ParameterType::kNumbers:
      value.mutable_ints()->add_values(1);
      value.mutable_ints()->add_values(0);
      break;
    case ParameterType::kSize:
      value.mutable_size()->set_variable("n");
      break;
    case ParameterType::kSizes:
      value.mutable_sizes()->add_values()->set_variable("n");
      value.mutable_sizes()->add_values()->set_constant(4);
      break;
  }
  return value;
}

v1::Graph GraphOf(const graph_import::Entry& entry) {
  v1::Graph graph;
  v1::GraphInput& input = *graph.add_inputs();
  input.set_name("x");
  input.set_data_type(v1::DATA_TYPE_F32);
  input.add_dims()->set_variable("n");
  input.add_dims()->set_constant(4);
  v1::GraphWeight& weight = *graph.add_weights();
  weight.set_name("w");
  weight.set_data_type(v1::DATA_TYPE_F32);
  weight.add_dims(4);
  weight.add_dims(4);
  weight.set_data(std::string(64, '\1'));
  v1::Node& node = *graph.add_nodes();
  node.set_op(entry.op);
  for (int i = 0; i < entry.least_operands; ++i) {
    node.add_operands(i == 0 ? "x" : "w");
  }
  node.add_results("y");
  for (const graph_import::Parameter& parameter : entry.parameters) {
    (*node.mutable_attributes())[parameter.name] = SomeValue(parameter.type);
  }
  graph.add_outputs()->set_name("y");
  return graph;
}

std::vector<Seed> Seeds() {
  std::vector<Seed> seeds;
  for (const graph_import::Entry& entry : graph_import::Vocabulary()) {
    seeds.push_back({entry.op, GraphOf(entry).SerializeAsString()});
  }
  return seeds;
}

}  // namespace

Surface GraphSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedAs<v1::Graph>};
}

}  // namespace quern::fuzz
