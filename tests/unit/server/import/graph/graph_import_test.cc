// SPDX-License-Identifier: Apache-2.0
#include "server/import/graph/graph_import.h"

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "engine/ir/builder.h"

namespace quern::graph_import {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

absl::StatusOr<graph::Graph> Import(const std::string& text,
                                    const ImportOptions& options = {}) {
  auto proto = std::make_shared<v1::Graph>();
  if (!google::protobuf::TextFormat::ParseFromString(text, proto.get())) {
    return absl::InternalError("the test's text is no graph");
  }
  return ImportGraph(std::move(proto), options);
}

// The graph of one input x: f32[n,4] with the nodes and outputs in `text`.
std::string WithInput(const std::string& text) {
  return absl::StrCat(R"pb(inputs {
                             name: "x"
                             data_type: DATA_TYPE_F32
                             dims { variable: "n" }
                             dims { constant: 4 }
                           })pb",
                      text);
}

std::string Node(const std::string& op, const std::string& operands,
                 const std::string& rest = "") {
  return absl::StrCat("nodes { op: '", op, "' ", operands, " results: 'y' ",
                      rest, " } outputs { name: 'y' }");
}

// How often `op` stands below the first output.
int Count(const graph::Graph& graph, ir::Op op) {
  int count = 0;
  for (ir::Id id :
       ir::TopologicalOrder(*graph.arena, {graph.outputs[0].node})) {
    count += (*graph.arena)[id].op == op;
  }
  return count;
}

TEST(GraphImport, BuildsOperationsAndFunctions) {
  const auto graph = Import(WithInput(R"pb(
    nodes { op: "quern.relu@1" operands: "x" results: "r" }
    nodes { op: "add" operands: "r" operands: "x" results: "y" }
    outputs { name: "out" value: "y" }
  )pb"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_THAT(graph->inputs, SizeIs(1));
  EXPECT_EQ(graph->outputs[0].name, "out");
  EXPECT_EQ(graph->outputs[0].dtype, ir::DType::kF32);
  EXPECT_EQ(ir::SizeText(*graph->arena, graph->outputs[0].dims[0]), "n");
  EXPECT_EQ(Count(*graph, ir::Op::kAdd), 1);
}

TEST(GraphImport, AStackOfConstantsIsOneArrayWithoutAProductByOne) {
  const auto graph = Import(R"pb(
    inputs {
      name: "x"
      data_type: DATA_TYPE_F32
      dims { constant: 3 }
    }
    nodes {
      op: "const"
      results: "a"
      attributes {
        key: "value"
        value { int_value: 1 }
      }
    }
    nodes {
      op: "const"
      results: "b"
      attributes {
        key: "value"
        value { int_value: 2 }
      }
    }
    nodes {
      op: "const"
      results: "c"
      attributes {
        key: "value"
        value { int_value: 3 }
      }
    }
    nodes {
      op: "quern.stack@1"
      operands: "a"
      operands: "b"
      operands: "c"
      results: "s"
      attributes {
        key: "axis"
        value { int_value: 0 }
      }
    }
    nodes { op: "mul" operands: "s" operands: "x" results: "y" }
    outputs { name: "y" }
  )pb");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->outputs[0].dtype, ir::DType::kF32);
  EXPECT_EQ(Count(*graph, ir::Op::kConstArray), 1);
  EXPECT_EQ(Count(*graph, ir::Op::kMul), 1);
}

TEST(GraphImport, SizesAreExpressionsOfVariablesAndOfValues) {
  const auto graph = Import(WithInput(Node("reshape", "operands: 'x'", R"pb(
    attributes {
      key: "dims"
      value {
        sizes {
          values {
            operation {
              kind: KIND_MUL
              operands { axis_of { value: "x" axis: 0 } }
              operands { constant: 2 }
            }
          }
          values { constant: 2 }
        }
      }
    }
  )pb")));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(ir::SizeText(*graph->arena, graph->outputs[0].dims[0]), "n*2");
}

TEST(GraphImport, WeightsPointIntoTheMessageOrIntoSubmittedContent) {
  ImportOptions options;
  options.content =
      [](absl::string_view sha256) -> absl::StatusOr<graph::Bytes> {
    if (sha256 == "h") return graph::Bytes(std::string(8, '\2'));
    return absl::NotFoundError("no such content");
  };
  const std::string weights = R"pb(
    weights {
      name: "v"
      data_type: DATA_TYPE_I8
      dims: 4
      data: "\001\002\003\004"
    }
    weights { name: "w" data_type: DATA_TYPE_F32 dims: 2 sha256: "h" }
    outputs { name: "v" }
    outputs { name: "w" }
  )pb";
  const auto graph = Import(weights, options);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->weights[0].data.data()[2], 3);
  EXPECT_EQ(graph->weights[1].data.size(), 8u);
  const auto unknown = Import(
      "weights { name: 'w' data_type: DATA_TYPE_F32 dims: 2 sha256: 'g' }",
      options);
  EXPECT_EQ(unknown.status(),
            absl::NotFoundError("weight 'w': no such content"));
}

TEST(GraphImport, AnOutputOfAWeakTypeGetsAStrongOne) {
  const auto graph = Import(
      "nodes { op: 'const' results: 'y' attributes { key: 'value' "
      "value { float_value: 1.5 } } } outputs { name: 'y' }");
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->outputs[0].dtype, ir::DType::kF32);
}

TEST(GraphImport, ANodeWithADeviceGetsItsInputsCopiedThere) {
  const auto graph =
      Import(WithInput(Node("neg", "operands: 'x'", "device: 'ref'")));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Count(*graph, ir::Op::kCopy), 1);
  const ir::Node& neg = (*graph->arena)[graph->outputs[0].node];
  EXPECT_EQ(neg.op, ir::Op::kNeg);
}

TEST(GraphImport, AConstantNeedsNoCopyToMeetADevice) {
  const auto graph = Import(WithInput(R"pb(
    nodes {
      op: "const"
      results: "c"
      attributes {
        key: "value"
        value { float_value: 2 }
      }
    }
    nodes { op: "mul" operands: "x" operands: "c" results: "a" device: "cpu" }
    nodes {
      op: "copy"
      operands: "a"
      results: "b"
      attributes {
        key: "device"
        value { string_value: "ref" }
      }
    }
    nodes { op: "mul" operands: "b" operands: "c" results: "y" device: "ref" }
    outputs { name: "y" }
  )pb"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(Count(*graph, ir::Op::kCopy), 2);  // x to cpu, a to ref.
}

TEST(GraphImport, OperandsOnAnotherDeviceAreAnErrorThatNamesTheCure) {
  const auto graph = Import(R"pb(
    inputs { name: "a" data_type: DATA_TYPE_F32 device: "cpu" }
    inputs { name: "b" data_type: DATA_TYPE_F32 device: "ref" }
    nodes { op: "add" operands: "a" operands: "b" results: "y" }
    outputs { name: "y" }
  )pb");
  EXPECT_EQ(graph.status(),
            absl::InvalidArgumentError(
                "node 0 'y' (add): an operand is on device 'ref', the node on "
                "device 'cpu'; insert a node \"copy\" to bring it there"));
}

struct BadGraph {
  std::string text;
  absl::StatusCode code;
  std::string message;
};

TEST(GraphImport, BadGraphsAreNamedForWhatIsWrong) {
  const auto bad = absl::StatusCode::kInvalidArgument;
  const auto unknown = absl::StatusCode::kUnimplemented;
  const BadGraph cases[] = {
      {"", bad, "the graph has no outputs"},
      {WithInput("outputs { name: 'z' }"), bad,
       "output 'z': the value 'z' is not defined before it is used"},
      {WithInput("outputs { name: 'x' } outputs { name: 'x' }"), bad,
       "output 'x': two outputs have this name"},
      {WithInput(Node("frobnicate", "operands: 'x'")), unknown,
       "node 0 'y' (frobnicate): there is no operation or function "
       "'frobnicate'"},
      {WithInput(Node("quern.relu@9", "operands: 'x'")), unknown,
       "version '9' of the function is not known, try quern.relu@1"},
      {WithInput(Node("neg", "operands: 'x' operands: 'x'")), bad,
       "expects 1 operands, got 2"},
      {WithInput(Node("add", "operands: 'x'")), bad,
       "expects 2 operands, got 1"},
      {WithInput(Node("neg", "operands: 'y'")), bad,
       "the value 'y' is not defined before it is used"},
      {WithInput(Node("neg", "operands: 'x'", "results: 'z'")), bad,
       "defines 1 results, 2 are named"},
      {WithInput("nodes { op: 'neg' operands: 'x' results: 'x' }"), bad,
       "the value 'x' is defined twice"},
      {WithInput(Node("permute", "operands: 'x'")), bad,
       "the attribute 'order' is missing"},
      {WithInput(Node("neg", "operands: 'x'",
                      "attributes { key: 'axis' value { int_value: 1 } }")),
       bad, "there is no attribute 'axis'"},
      {WithInput(Node("permute", "operands: 'x'",
                      "attributes { key: 'order' value { int_value: 1 } }")),
       bad, "attribute 'order': expected ints, got another field or none"},
      {WithInput(Node("permute", "operands: 'x'",
                      "attributes { key: 'order' value { ints { values: 0 "
                      "values: 0 } } }")),
       bad, "are not a permutation"},
      {WithInput(Node("reduce", "operands: 'x'",
                      "attributes { key: 'axes' value { ints { values: 1 } } } "
                      "attributes { key: 'operation' value { string_value: "
                      "'median' } }")),
       bad, "a reduction's operation is add, mul, max or min, got 'median'"},
      {WithInput(Node("reduce", "operands: 'x'",
                      "attributes { key: 'axes' value { ints { values: 7 } } } "
                      "attributes { key: 'operation' value { string_value: "
                      "'add' } }")),
       bad, "axis 7 is outside a tensor of rank 2"},
      {WithInput(Node("const", "",
                      "attributes { key: 'value' value { int_value: 300 } } "
                      "attributes { key: 'data_type' value { data_type: "
                      "DATA_TYPE_I8 } }")),
       bad, "constant 300 is outside the type i8"},
      {WithInput(Node("const", "",
                      "attributes { key: 'value' value { float_value: 1 } } "
                      "attributes { key: 'data_type' value { data_type: "
                      "DATA_TYPE_I8 } }")),
       bad, "a float cannot be the value of a constant of type i8"},
      {"inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: -1 } }",
       bad, "input 'x': negative dimension in shape [-1]"},
      {"inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: "
       "1099511627777 } }",
       bad, "input 'x': size 1099511627777 is over the limit"},
      {"inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: 2097152 } "
       "dims { constant: 2097152 } }",
       bad, "elements"},
      {"inputs { name: 'x' }", bad, "input 'x': data type 0 is not known"},
      {"inputs { name: 'x' data_type: DATA_TYPE_F32 dims { operation {} } }",
       bad, "an input's dimension is a constant or a variable"},
      {"inputs { name: '' data_type: DATA_TYPE_F32 }", bad,
       "a value's name has 1 to 4096 bytes, got 0"},
      {"weights { name: 'w' data_type: DATA_TYPE_F32 dims: 2 data: 'abc' } "
       "outputs { name: 'w' }",
       bad, "w"},
      {"weights { name: 'w' data_type: DATA_TYPE_F32 dims: -2 }", bad,
       "weight 'w': negative dimension"},
      {"variables { name: 'n' least: 5 greatest: 4 }", bad,
       "variable 'n' has the bounds 5..4"},
      {WithInput(Node("iota", "",
                      "attributes { key: 'size' value { size { operation { "
                      "kind: KIND_DIV operands { constant: 4 } operands { "
                      "constant: 0 } } } } }")),
       bad, "a size is divided by what may be 0"},
      {WithInput(Node("iota", "",
                      "attributes { key: 'size' value { size { operation { "
                      "kind: KIND_MUL operands { variable: 'n' } operands { "
                      "variable: 'n' } operands { variable: 'n' } } } } }")),
       bad, "a size could be beyond 64 bits"},
      {WithInput(Node("iota", "",
                      "attributes { key: 'size' value { size { operation { "
                      "kind: 77 operands { constant: 4 } } } } }")),
       bad, "operation 77 on sizes is not known"},
      {WithInput(Node("quern.stack@1", "operands: 'x'",
                      "attributes { key: 'axis' value { int_value: 9 } }")),
       bad, "axis 9"},
      {WithInput(Node("quern.matmul@1", "operands: 'x' operands: 'x'")), bad,
       "matmul"},
      {WithInput(Node("copy", "operands: 'x'",
                      "attributes { key: 'device' value { string_value: '' } "
                      "}")),
       bad, "copy to a device without a name"},
  };
  for (const BadGraph& c : cases) {
    const auto graph = Import(c.text);
    EXPECT_EQ(graph.status().code(), c.code) << c.text << "\n"
                                             << graph.status();
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(c.message))
        << c.text;
  }
}

TEST(GraphImport, AGraphOverTheLimitOfNodesIsRefused) {
  ImportOptions options;
  options.max_nodes = 1;
  const auto graph = Import(WithInput(R"pb(
                              nodes { op: "neg" operands: "x" results: "a" }
                              nodes { op: "neg" operands: "a" results: "b" }
                              outputs { name: "b" }
                            )pb"),
                            options);
  EXPECT_EQ(graph.status(), absl::ResourceExhaustedError(
                                "the graph has 2 nodes, the limit is 1"));
}

// A vector for each level, of a size that names that of the level below twice.
std::string SizesOfSizes(int levels) {
  std::string text = WithInput(
      "nodes { op: 'const' results: 'c' attributes { key: 'value' "
      "value { float_value: 1 } } }");
  std::string below = "axis_of { value: 'x' axis: 0 }";
  for (int i = 0; i < levels; ++i) {
    const auto operation = [](const std::string& kind, const std::string& a,
                              const std::string& b) {
      return absl::StrCat("operation { kind: KIND_", kind, " operands { ", a,
                          " } operands { ", b, " } }");
    };
    absl::StrAppend(
        &text, "nodes { op: 'quern.broadcast_to@1' operands: 'c' results: 'v",
        i, "' attributes { key: 'dims' value { sizes { values { ",
        operation("MAX", operation("DIV", below, "constant: 2"),
                  operation("MOD", below, "constant: 1000")),
        " } } } } }");
    below = absl::StrCat("axis_of { value: 'v", i, "' axis: 0 }");
  }
  return absl::StrCat(text, "outputs { name: 'v", levels - 1, "' }");
}

TEST(GraphImport, RefusesASizeThatUnfoldsWithoutEnd) {
  EXPECT_TRUE(Import(SizesOfSizes(5)).ok());
  EXPECT_THAT(std::string(Import(SizesOfSizes(60)).status().message()),
              HasSubstr("more than 1024 operations and operands"));
}

TEST(GraphImport, HostileNamesAreQuotedPrintably) {
  const auto graph = Import(WithInput(Node("a\\001\\377b", "operands: 'x'")));
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("'a\\x01"));
}

}  // namespace
}  // namespace quern::graph_import
