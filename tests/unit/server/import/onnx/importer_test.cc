// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/importer.h"

#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "proto/onnx/onnx.pb.h"

namespace quern::onnx_import {
namespace {

using testing::HasSubstr;

// A model of opset 13 with the given parts of its graph, in text format.
onnx::ModelProto Model(const std::string& graph, int opset = 13) {
  onnx::ModelProto model;
  const bool parsed = google::protobuf::TextFormat::ParseFromString(
      absl::StrCat("ir_version: 8 opset_import { version: ", opset,
                   " } graph { ", graph, " }"),
      &model);
  EXPECT_TRUE(parsed) << graph;
  return model;
}

// "input { name: 'x' type { .. } }" for a tensor of floats.
std::string Value(const std::string& field, const std::string& name,
                  const std::vector<std::string>& dims, int type = 1) {
  std::string shape;
  for (const std::string& dim : dims) {
    if (dim.empty()) {
      absl::StrAppend(&shape, "dim { } ");
    } else if (dim[0] == '-' || (dim[0] >= '0' && dim[0] <= '9')) {
      absl::StrAppend(&shape, "dim { dim_value: ", dim, " } ");
    } else {
      absl::StrAppend(&shape, "dim { dim_param: '", dim, "' } ");
    }
  }
  return absl::StrCat(field, " { name: '", name,
                      "' type { tensor_type { elem_type: ", type, " shape { ",
                      shape, "} } } } ");
}

std::string Input(const std::string& name, const std::vector<std::string>& dims,
                  int type = 1) {
  return Value("input", name, dims, type);
}

std::string Output(const std::string& name) {
  return absl::StrCat("output { name: '", name, "' } ");
}

std::string Node(const std::string& op, const std::vector<std::string>& inputs,
                 const std::string& output, const std::string& more = "") {
  std::string text = absl::StrCat("node { op_type: '", op, "' output: '",
                                  output, "' name: '", output, "_node' ");
  for (const std::string& input : inputs) {
    absl::StrAppend(&text, "input: '", input, "' ");
  }
  return absl::StrCat(text, more, " } ");
}

// A list of 64-bit integers as an initializer.
std::string List(const std::string& name, const std::vector<int64_t>& values) {
  std::string text = absl::StrCat("initializer { name: '", name,
                                  "' data_type: 7 dims: ", values.size(), " ");
  for (int64_t value : values)
    absl::StrAppend(&text, "int64_data: ", value, " ");
  return absl::StrCat(text, "} ");
}

absl::StatusOr<graph::Graph> Import(const std::string& graph,
                                    const ImportOptions& options = {},
                                    int opset = 13) {
  return ImportOnnx(Model(graph, opset).SerializeAsString(), options);
}

// The shape of the only output, as text; the error's message if there is one.
std::string ShapeOf(const absl::StatusOr<graph::Graph>& graph) {
  if (!graph.ok()) return std::string(graph.status().ToString());
  ir::Builder b(graph->arena.get());
  return b.ShapeText(graph->outputs[0].dims);
}

TEST(Import, NamesFreeDimensionsByParameterOrByInputAndAxis) {
  const auto graph = Import(Input("x", {"batch", "", "3"}) +
                            Node("Relu", {"x"}, "y") + Output("y"));
  EXPECT_EQ(ShapeOf(graph), "[batch,x.1,3]");
}

TEST(Import, GivesFreeDimensionsTheBoundsAskedFor) {
  ImportOptions options;
  options.dims["n"] = {2, 8};
  const auto graph = Import(
      Input("x", {"n"}) + Node("Relu", {"x"}, "y") + Output("y"), options);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const ir::Node& n = (*graph->arena)[graph->inputs[0].dims[0]];
  EXPECT_EQ(n.least, 2);
  EXPECT_EQ(n.greatest, 8);
}

TEST(Import, MakesADimensionOfEqualBoundsAConstant) {
  ImportOptions options;
  options.dims["n"] = {5, 5};
  EXPECT_EQ(
      ShapeOf(Import(Input("x", {"n"}) + Node("Relu", {"x"}, "y") + Output("y"),
                     options)),
      "[5]");
}

TEST(Import, TakesNodesInAnyOrder) {
  EXPECT_EQ(ShapeOf(Import(Input("x", {"4"}) + Node("Neg", {"a"}, "y") +
                           Node("Relu", {"x"}, "a") + Output("y"))),
            "[4]");
}

TEST(Import, LeavesOutNodesThatNoOutputNeeds) {
  EXPECT_EQ(ShapeOf(Import(Input("x", {"4"}) + Node("Relu", {"x"}, "y") +
                           Node("Nonsense", {"x"}, "z") + Output("y"))),
            "[4]");
}

TEST(Import, TreatsAnInputWithAnInitializerAsAConstant) {
  const auto graph =
      Import(Input("x", {"4"}) + Input("s", {"1"}, 7) + List("s", {-1}) +
             Node("Reshape", {"x", "s"}, "y") + Output("y"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->inputs.size(), 1u);
}

TEST(Import, MakesWeightSlotsOnlyOfArraysThatDiffer) {
  const auto graph =
      Import(Input("x", {"2"}) +
             "initializer { name: 'w' data_type: 1 dims: 2 float_data: 1 "
             "float_data: 2 } "
             "initializer { name: 'same' data_type: 1 dims: 2 float_data: 3 "
             "float_data: 3 } "
             "initializer { name: 'one' data_type: 1 float_data: 4 } " +
             Node("Sum", {"x", "w", "same", "one"}, "y") + Output("y"));
  ASSERT_TRUE(graph.ok()) << graph.status();
  ASSERT_EQ(graph->weights.size(), 1u);
  EXPECT_EQ(graph->weights[0].name, "w");
  EXPECT_EQ(graph->weights[0].data.size(), 8u);
}

TEST(Import, ReadsRawDataWithoutItsModel) {
  onnx::ModelProto model =
      Model(Input("x", {"2"}) + Node("Add", {"x", "w"}, "y") + Output("y"));
  onnx::TensorProto* w = model.mutable_graph()->add_initializer();
  w->set_name("w");
  w->set_data_type(onnx::TensorProto::FLOAT);
  w->add_dims(2);
  const float values[] = {1.5F, 2.5F};
  w->set_raw_data(values, sizeof(values));
  auto graph = ImportOnnx(model.SerializeAsString());
  ASSERT_TRUE(graph.ok()) << graph.status();
  model.Clear();
  ASSERT_EQ(graph->weights.size(), 1u);
  EXPECT_EQ(std::string(graph->weights[0].data.data(), 8),
            std::string(reinterpret_cast<const char*>(values), 8));
}

TEST(Import, ASmallWeightKeepsNoLargeOneAlive) {
  // One inside the message, one that is read apart.
  onnx::ModelProto model =
      Model(Input("x", {"1", "5000"}) + Node("Mul", {"x", "large"}, "scaled") +
            Node("Add", {"scaled", "small"}, "y") + Output("y"));
  for (const auto& [name, rows, columns] :
       {std::tuple{"large", 1, 5000}, {"small", 7, 1}}) {
    onnx::TensorProto* tensor = model.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    tensor->add_dims(rows);
    tensor->add_dims(columns);
    std::vector<float> values(rows * columns);
    std::iota(values.begin(), values.end(), 1.0F);
    tensor->set_raw_data(values.data(), sizeof(float) * values.size());
  }
  auto graph = ImportOnnx(model.SerializeAsString());
  ASSERT_TRUE(graph.ok()) << graph.status();
  ASSERT_EQ(graph->weights.size(), 2u);
  std::map<std::string, graph::Bytes> data;
  for (graph::Weight& weight : graph->weights) {
    data[weight.name] = std::move(weight.data);
  }
  const std::weak_ptr<const void> large = data.at("large").owner();
  EXPECT_FALSE(large.expired());
  data.erase("large");
  EXPECT_TRUE(large.expired());
  EXPECT_EQ(data.at("small").size(), 28u);
}

// Shapes as data.

TEST(Import, FollowsShapesThroughGatherAndConcat) {
  EXPECT_EQ(
      ShapeOf(Import(Input("x", {"batch", "seq", "12"}) + List("i", {0}) +
                     List("rest", {-1, 3, 4}) + Node("Shape", {"x"}, "s") +
                     Node("Gather", {"s", "i"}, "b") +
                     Node("Concat", {"b", "rest"}, "t",
                          "attribute { name: 'axis' type: INT i: 0 }") +
                     Node("Reshape", {"x", "t"}, "y") + Output("y"))),
      "[batch,seq,3,4]");
}

TEST(Import, FollowsShapesThroughArithmeticAndCasts) {
  EXPECT_EQ(
      ShapeOf(Import(
          Input("x", {"n", "2"}) + List("two", {2}) + List("i", {0}) +
          List("one", {1}) + Node("Shape", {"x"}, "s") +
          Node("Gather", {"s", "i"}, "b") + Node("Mul", {"b", "two"}, "c") +
          Node("Cast", {"c"}, "d", "attribute { name: 'to' type: INT i: 6 }") +
          Node("Cast", {"d"}, "e", "attribute { name: 'to' type: INT i: 7 }") +
          Node("Reshape", {"x", "e"}, "y") + Output("y"))),
      "[n*2]");
}

TEST(Import, FollowsShapesIntoRangeAndConstantOfShape) {
  EXPECT_EQ(
      ShapeOf(Import(
          Input("x", {"n", "3"}) + List("i", {0}) +
          "initializer { name: 'zero' data_type: 7 int64_data: 0 } "
          "initializer { name: 'one' data_type: 7 int64_data: 1 } "
          "initializer { name: 'at' data_type: 7 int64_data: 0 } " +
          Node("Shape", {"x"}, "s") + Node("Gather", {"s", "at"}, "n") +
          Node("Range", {"zero", "n", "one"}, "r") + Node("Shape", {"r"}, "t") +
          Node("ConstantOfShape", {"t"}, "y") + Output("y"))),
      "[n]");
}

TEST(Import, ResolvesTheExpandIdiomOfWhereAndEqual) {
  // where(shape == -1, 1, shape), which exporters write for expand.
  EXPECT_EQ(ShapeOf(Import(Input("x", {"n", "1"}) + List("minus", {-1, -1}) +
                           List("ones", {1, 1}) + List("eight", {8}) +
                           List("i", {0}) + Node("Shape", {"x"}, "s") +
                           Node("Gather", {"s", "i"}, "n") +
                           Node("Concat", {"n", "eight"}, "t",
                                "attribute { name: 'axis' type: INT i: 0 }") +
                           Node("Equal", {"t", "minus"}, "e") +
                           Node("Where", {"e", "ones", "t"}, "w") +
                           Node("Expand", {"x", "w"}, "y") + Output("y"))),
            "[n,8]");
}

TEST(Import, LowersTheBoundOfASequenceToItsTableOfPositions) {
  const auto graph =
      Import(Input("x", {"seq", "4"}) +
             "initializer { name: 'table' data_type: 1 dims: 3 dims: 4 " +
             "float_data: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] } " +
             List("from", {0}) + List("axes", {0}) + List("i", {0}) +
             Node("Shape", {"x"}, "s") + Node("Gather", {"s", "i"}, "n") +
             Node("Slice", {"table", "from", "n", "axes"}, "rows") +
             Node("Add", {"x", "rows"}, "y") + Output("y"));
  ASSERT_EQ(ShapeOf(graph), "[seq,4]");
  EXPECT_EQ((*graph->arena)[graph->inputs[0].dims[0]].greatest, 3);
}

TEST(Import, LimitsASumOfFreeSizesToItsTableOfPositions) {
  const auto graph = Import(
      Input("x", {"seq", "4"}) + Input("cache", {"past", "4"}) +
      "initializer { name: 'table' data_type: 1 dims: 3 dims: 4 " +
      "float_data: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] } " +
      List("axes", {0}) + List("i", {0}) + Node("Shape", {"x"}, "s") +
      Node("Gather", {"s", "i"}, "n") + Node("Shape", {"cache"}, "t") +
      Node("Gather", {"t", "i"}, "past") + Node("Add", {"past", "n"}, "end") +
      Node("Slice", {"table", "past", "end", "axes"}, "rows") +
      Node("Add", {"x", "rows"}, "y") + Output("y"));
  ASSERT_EQ(ShapeOf(graph), "[seq,4]");
  ASSERT_EQ(graph->limits.size(), 1u);
  EXPECT_EQ(graph->limits[0].at_most, 3);
  EXPECT_EQ(graph->limits[0].reason,
            "node 'rows_node' (Slice, opset 13): past+seq must be at most 3");
}

TEST(Import, AsksForTheInputsThatDecideShapes) {
  const std::string model = Input("x", {"4"}) + Input("shape", {"2"}, 7) +
                            Node("Reshape", {"x", "shape"}, "y") + Output("y");
  const absl::Status status = Import(model).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(),
              HasSubstr("node 'y_node' (Reshape, opset 13): input 1 (shape) "
                        "must be known when the model is loaded; it depends "
                        "on the content of input 'shape'"));
  const absl::optional<absl::Cord> needs = status.GetPayload(kNeedsInputValues);
  ASSERT_TRUE(needs.has_value());
  EXPECT_EQ(std::string(*needs), "shape");

  ImportOptions options;
  const int64_t values[] = {2, 2};
  options.input_values["shape"] = {
      "shape",
      ir::DType::kI64,
      {2},
      graph::Bytes(std::string(reinterpret_cast<const char*>(values), 16))};
  const auto graph = Import(model, options);
  EXPECT_EQ(ShapeOf(graph), "[2,2]");
  EXPECT_EQ(graph->inputs.size(), 1u);
}

// What is refused, and in which words.

struct Refusal {
  const char* name;
  std::string graph;
  absl::StatusCode code;
  const char* message;
};

class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithAPreciseMessage) {
  const absl::Status status = Import(GetParam().graph).status();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(status.message(), HasSubstr(GetParam().message));
}

const auto kInvalid = absl::StatusCode::kInvalidArgument;
const auto kUnimplemented = absl::StatusCode::kUnimplemented;

std::string Nested(int depth) {
  const std::string inner =
      depth == 0 ? Node("Relu", {"x"}, "y") : Nested(depth - 1);
  return Node("If", {"x"}, "y",
              absl::StrCat("attribute { name: 'then_branch' type: GRAPH g { ",
                           inner, Output("y"), "} }"));
}

const Refusal kRefusals[] = {
    {"ACycle",
     Input("x", {"2"}) + Node("Add", {"x", "b"}, "a") +
         Node("Relu", {"a"}, "b") + Output("b"),
     kInvalid,
     "2 nodes depend on themselves: node 'a_node' (Add, opset 13), node "
     "'b_node' (Relu, opset 13)"},
    {"AMissingInput",
     Input("x", {"2"}) + Node("Add", {"x", "ghost"}, "y") + Output("y"),
     kInvalid, "node 'y_node' (Add, opset 13): input 'ghost' is not defined"},
    {"AMissingOutput", Input("x", {"2"}) + Output("y"), kInvalid,
     "graph output 'y' is not defined"},
    {"NoOutputs", Input("x", {"2"}), kInvalid, "the graph has no outputs"},
    {"AnOutputListedTwice",
     Input("x", {"2"}) + Node("Relu", {"x"}, "y") + Output("y") + Output("y"),
     kInvalid, "graph output 'y' is listed twice"},
    {"AValueDefinedTwice",
     Input("x", {"2"}) + Node("Relu", {"x"}, "y") + Node("Neg", {"x"}, "y") +
         Output("y"),
     kInvalid, "output 'y' is defined a second time"},
    {"AnInputDefinedTwice",
     Input("x", {"2"}) + Input("x", {"3"}) + Node("Relu", {"x"}, "y") +
         Output("y"),
     kInvalid, "graph input 'x' is defined twice"},
    {"AllUnknownOperatorsTogether",
     Input("x", {"2"}) + Node("Foo", {"x"}, "a") + Node("Foo", {"a"}, "b") +
         Node("Bar", {"b"}, "y", "domain: 'org.example'") + Output("y"),
     kUnimplemented,
     "2 operators are not supported: Foo (opset 13; nodes 'a_node', "
     "'b_node'), org.example.Bar (opset 13; node 'y_node')"},
    {"AnOperatorNewerThanTheOpset",
     Input("x", {"2"}) + Node("Gelu", {"x"}, "y") + Output("y"), kUnimplemented,
     "Gelu (opset 13"},
    {"ANegativeDimension",
     Input("x", {"-2"}) + Node("Relu", {"x"}, "y") + Output("y"), kInvalid,
     "input 'x': axis 0 has the size -2"},
    {"DimensionsThatOverflow",
     Input("x", {"4000000000", "4000000000", "4000000000"}) +
         Node("Relu", {"x"}, "y") + Output("y"),
     kInvalid, "input 'x': shape [4000000000,4000000000,4000000000] has more"},
    {"AnInitializerOfNegativeSize",
     Input("x", {"2"}) + "initializer { name: 'w' data_type: 1 dims: -2 } " +
         Node("Add", {"x", "w"}, "y") + Output("y"),
     kInvalid, "tensor 'w' has the dimension -2"},
    {"AnInitializerThatOverflows",
     Input("x", {"2"}) +
         "initializer { name: 'w' data_type: 1 dims: 0 "
         "dims: 4611686018427387904 dims: 4611686018427387904 } " +
         Node("Add", {"x", "w"}, "y") + Output("y"),
     kInvalid, "tensor 'w' has more than"},
    {"RawDataOfAWrongLength",
     Input("x", {"2"}) +
         "initializer { name: 'w' data_type: 1 dims: 2 raw_data: 'abcdefg' } " +
         Node("Add", {"x", "w"}, "y") + Output("y"),
     kInvalid, "tensor 'w' has 7 bytes of data, its shape needs 8"},
    {"TooFewTypedElements",
     Input("x", {"2"}) +
         "initializer { name: 'w' data_type: 1 dims: 2 float_data: 1 } " +
         Node("Add", {"x", "w"}, "y") + Output("y"),
     kInvalid, "tensor 'w' has 4 bytes of data, its shape needs 8"},
    {"ExternalData",
     Input("x", {"2"}) +
         "initializer { name: 'w' data_type: 1 dims: 2 data_location: EXTERNAL "
         "external_data { key: 'location' value: '/etc/passwd' } } " +
         Node("Add", {"x", "w"}, "y") + Output("y"),
     kUnimplemented, "tensor 'w' has its data in another file"},
    {"AStringTensor",
     Input("x", {"2"}) +
         "initializer { name: 'w' data_type: 8 dims: 1 string_data: 'a' } " +
         Node("Add", {"x", "w"}, "y") + Output("y"),
     kUnimplemented, "tensor 'w': element type STRING is not supported"},
    {"AnInputThatIsASequence",
     "input { name: 'x' type { sequence_type { } } } " +
         Node("Relu", {"x"}, "y") + Output("y"),
     kUnimplemented, "input 'x' is no tensor"},
    {"AnInputWithoutAShape",
     "input { name: 'x' type { tensor_type { elem_type: 1 } } } " +
         Node("Relu", {"x"}, "y") + Output("y"),
     kUnimplemented, "input 'x' has no shape"},
    {"AnAttributeOfAWrongType",
     Input("x", {"2"}) +
         Node("LeakyRelu", {"x"}, "y",
              "attribute { name: 'alpha' type: INT i: 1 }") +
         Output("y"),
     kInvalid,
     "node 'y_node' (LeakyRelu, opset 13): attribute 'alpha' has type INT, "
     "expected FLOAT"},
    {"OperandsThatDoNotBroadcast",
     Input("a", {"2"}) + Input("b", {"3"}) + Node("Add", {"a", "b"}, "y") +
         Output("y"),
     kInvalid,
     "node 'y_node' (Add, opset 13): add: shapes [2] and [3] do not broadcast"},
    {"AnAxisOutOfRange",
     Input("x", {"2"}) +
         Node("ArgMax", {"x"}, "y",
              "attribute { name: 'axis' type: INT i: 5 }") +
         Output("y"),
     kInvalid, "axis 5 is outside a tensor of rank 1"},
    {"APermutationThatIsNone",
     Input("x", {"2", "3"}) +
         Node("Transpose", {"x"}, "y",
              "attribute { name: 'perm' type: INTS ints: [0, 0] }") +
         Output("y"),
     kInvalid, "are not a permutation"},
    {"AReshapeToAnotherSize",
     Input("x", {"2", "3"}) + List("s", {4, 2}) +
         Node("Reshape", {"x", "s"}, "y") + Output("y"),
     kInvalid, "cannot reshape [2,3] to [4,2]: 6 elements against 8"},
    {"AWindowThatDoesNotFit",
     Input("x", {"1", "1", "2", "2"}) +
         "initializer { name: 'w' data_type: 1 dims: [1,1,3,3] "
         "float_data: [1,2,3,4,5,6,7,8,9] } " +
         Node("Conv", {"x", "w"}, "y") + Output("y"),
     kInvalid, "node 'y_node' (Conv, opset 13): window of 3 taps"},
    {"AStrideOfZero",
     Input("x", {"1", "1", "4", "4"}) +
         Node("MaxPool", {"x"}, "y",
              "attribute { name: 'kernel_shape' type: INTS ints: [2, 2] } "
              "attribute { name: 'strides' type: INTS ints: [0, 0] }") +
         Output("y"),
     kInvalid, "window of 2 taps with stride 0"},
    {"AHugeTile",
     Input("x", {"2"}) + List("r", {int64_t{1} << 62}) +
         Node("Tile", {"x", "r"}, "y") + Output("y"),
     kInvalid, "node 'y_node' (Tile, opset 13): "},
    {"SubgraphsNestedTooDeep", Input("x", {"2"}, 9) + Nested(9) + Output("y"),
     absl::StatusCode::kResourceExhausted,
     "subgraphs are nested deeper than 8"},
};

INSTANTIATE_TEST_SUITE_P(Models, Refused, testing::ValuesIn(kRefusals),
                         [](const testing::TestParamInfo<Refusal>& info) {
                           return info.param.name;
                         });

TEST(Import, RefusesAnOpsetFromTheFuture) {
  const absl::Status status =
      Import(Input("x", {"2"}) + Node("Relu", {"x"}, "y") + Output("y"), {},
             999)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("operator set 999"));
}

TEST(Import, RefusesAnOpsetOfZero) {
  EXPECT_THAT(
      Import(Input("x", {"2"}) + Node("Relu", {"x"}, "y") + Output("y"), {}, 0)
          .status()
          .message(),
      HasSubstr("operator set 0 of domain ''"));
}

TEST(Import, RefusesMoreBytesThanAllowed) {
  ImportOptions options;
  options.max_bytes = 10;
  const absl::Status status =
      Import(Input("x", {"2"}) + Node("Relu", {"x"}, "y") + Output("y"),
             options)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("the limit is 10"));
}

TEST(Import, RefusesMoreNodesThanAllowed) {
  ImportOptions options;
  options.max_nodes = 1;
  const absl::Status status =
      Import(Input("x", {"2"}) + Node("Relu", {"x"}, "a") +
                 Node("Relu", {"a"}, "y") + Output("y"),
             options)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("2 nodes, the limit is 1"));
}

TEST(Import, RefusesAHugeAttribute) {
  onnx::ModelProto model =
      Model(Input("x", {"2"}) + Node("Transpose", {"x"}, "y") + Output("y"));
  onnx::AttributeProto* perm =
      model.mutable_graph()->mutable_node(0)->add_attribute();
  perm->set_name("perm");
  perm->set_type(onnx::AttributeProto::INTS);
  for (int i = 0; i < 3000000; ++i) perm->add_ints(i);
  const absl::Status status = ImportOnnx(model.SerializeAsString()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("attribute 'perm' has 3000000 elements"));
}

// `content` as the field of a message that begins with `tag`.
std::string Field(char tag, const std::string& content) {
  std::string head(1, tag);
  size_t size = content.size();
  for (; size >= 128; size >>= 7) {
    head.push_back(static_cast<char>((size & 127) | 128));
  }
  head.push_back(static_cast<char>(size));
  return head + content;
}

TEST(Import, RefusesMessagesNestedWithoutEnd) {
  // The type of an input: a sequence of sequences of ...
  std::string type;
  for (int i = 0; i < 2000; ++i) type = Field('\x22', Field('\x0a', type));
  const std::string input = Field('\x5a', Field('\x12', type));
  const absl::Status status = ImportOnnx(Field('\x3a', input)).status();
  EXPECT_EQ(status.code(), kInvalid);
  EXPECT_THAT(status.message(), HasSubstr("nested too deep"));
}

TEST(Import, ShowsHostileNamesCutAndEscaped) {
  onnx::ModelProto model =
      Model(Input("x", {"2"}) + Node("Relu", {"ghost"}, "y") + Output("y"));
  const std::string name = "\n\x1b[31m" + std::string(100000, 'a');
  model.mutable_graph()->mutable_node(0)->set_name(name);
  const absl::Status status = ImportOnnx(model.SerializeAsString()).status();
  EXPECT_THAT(status.message(), HasSubstr("node '\\n\\033[31maaa"));
  EXPECT_LT(status.message().size(), 300u);
}

TEST(Import, RefusesEveryTruncation) {
  const std::string bytes =
      Model(Input("x", {"n", "2"}) + List("s", {1, -1}) +
            Node("Reshape", {"x", "s"}, "y") + Output("y"))
          .SerializeAsString();
  ASSERT_TRUE(ImportOnnx(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const absl::Status status = ImportOnnx(bytes.substr(0, size)).status();
    EXPECT_FALSE(status.ok()) << size;
    EXPECT_FALSE(status.message().empty()) << size;
  }
}

TEST(Import, SurvivesEveryDamagedByte) {
  const google::protobuf::LogSilencer silencer;
  const std::string bytes =
      Model(Input("x", {"1", "2", "6", "6"}) +
            "initializer { name: 'w' data_type: 1 dims: [2,2,1,1] "
            "float_data: [1,2,3,4] } " +
            List("s", {0, -1}) + Node("Conv", {"x", "w"}, "c") +
            Node("MaxPool", {"c"}, "p",
                 "attribute { name: 'kernel_shape' type: INTS ints: [2, 2] }") +
            Node("Reshape", {"p", "s"}, "y") + Output("y"))
          .SerializeAsString();
  ASSERT_TRUE(ImportOnnx(bytes).ok());
  int refused = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      refused += ImportOnnx(damaged).ok() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size()));
}

}  // namespace
}  // namespace quern::onnx_import
