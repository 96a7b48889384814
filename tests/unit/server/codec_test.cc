// SPDX-License-Identifier: Apache-2.0
#include "server/codec.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/ir/builder.h"

namespace quern::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TensorSpec Spec(const std::string& name, ir::DType dtype,
                std::vector<int64_t> dims) {
  return {
      .name = name, .dtype = dtype, .dims = std::move(dims), .dim_text = {}};
}

inference::ModelInferRequest::InferInputTensor* AddInput(
    inference::ModelInferRequest& request, const std::string& name,
    const std::string& datatype, std::vector<int64_t> shape) {
  auto* input = request.add_inputs();
  input->set_name(name);
  input->set_datatype(datatype);
  for (int64_t dim : shape) input->add_shape(dim);
  return input;
}

std::string Bytes(const TensorView& view) {
  return {static_cast<const char*>(view.data), view.size};
}

TEST(Codec, NamesEveryTypeOfTheProtocolBothWays) {
  for (const char* name :
       {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32",
        "INT64", "FP16", "BF16", "FP32", "FP64"}) {
    const auto dtype = DTypeFromV2(name);
    ASSERT_TRUE(dtype.ok()) << name;
    EXPECT_STREQ(V2Name(*dtype), name);
    const auto back = FromProto(ToProto(*dtype));
    ASSERT_TRUE(back.ok()) << name;
    EXPECT_EQ(*back, *dtype);
  }
}

TEST(Codec, RawInputsAreReadWhereTheyLie) {
  inference::ModelInferRequest request;
  AddInput(request, "b", "INT32", {2});
  AddInput(request, "a", "FP32", {1, 1});
  request.add_raw_input_contents(std::string("\1\0\0\0\2\0\0\0", 8));
  request.add_raw_input_contents(std::string("\0\0\x80\x3f", 4));
  const auto inputs = DecodeInputs(request, {Spec("a", ir::DType::kF32, {1, 1}),
                                             Spec("b", ir::DType::kI32, {-1})});
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ(inputs->views[0].data, request.raw_input_contents(1).data());
  EXPECT_EQ(inputs->views[1].data, request.raw_input_contents(0).data());
  EXPECT_THAT(inputs->views[1].dims, ElementsAre(2));
}

TEST(Codec, TypedContentsGiveTheSameBytesAsRawOnes) {
  struct Case {
    const char* datatype;
    ir::DType dtype;
    void (*fill)(inference::InferTensorContents&);
    std::string bytes;
  };
  const Case cases[] = {
      {"BOOL", ir::DType::kBool, [](auto& c) { c.add_bool_contents(true); },
       std::string("\1", 1)},
      {"INT8", ir::DType::kI8, [](auto& c) { c.add_int_contents(-2); },
       std::string("\xfe", 1)},
      {"INT16", ir::DType::kI16, [](auto& c) { c.add_int_contents(-2); },
       std::string("\xfe\xff", 2)},
      {"INT32", ir::DType::kI32, [](auto& c) { c.add_int_contents(-2); },
       std::string("\xfe\xff\xff\xff", 4)},
      {"INT64", ir::DType::kI64, [](auto& c) { c.add_int64_contents(3); },
       std::string("\3\0\0\0\0\0\0\0", 8)},
      {"UINT8", ir::DType::kU8, [](auto& c) { c.add_uint_contents(255); },
       std::string("\xff", 1)},
      {"UINT16", ir::DType::kU16, [](auto& c) { c.add_uint_contents(258); },
       std::string("\2\1", 2)},
      {"UINT32", ir::DType::kU32, [](auto& c) { c.add_uint_contents(258); },
       std::string("\2\1\0\0", 4)},
      {"UINT64", ir::DType::kU64, [](auto& c) { c.add_uint64_contents(258); },
       std::string("\2\1\0\0\0\0\0\0", 8)},
      {"FP32", ir::DType::kF32, [](auto& c) { c.add_fp32_contents(1); },
       std::string("\0\0\x80\x3f", 4)},
      {"FP64", ir::DType::kF64, [](auto& c) { c.add_fp64_contents(1); },
       std::string("\0\0\0\0\0\0\xf0\x3f", 8)},
  };
  for (const Case& c : cases) {
    inference::ModelInferRequest request;
    c.fill(*AddInput(request, "x", c.datatype, {1})->mutable_contents());
    const auto inputs = DecodeInputs(request, {Spec("x", c.dtype, {-1})});
    ASSERT_TRUE(inputs.ok()) << c.datatype << inputs.status();
    EXPECT_EQ(Bytes(inputs->views[0]), c.bytes) << c.datatype;
  }
}

TEST(Codec, BadInputsAreNamed) {
  struct Case {
    const char* what;
    void (*fill)(inference::ModelInferRequest&);
    const char* message;
  };
  const Case cases[] = {
      {"missing", [](auto&) {}, "input 'x' is missing"},
      {"unknown", [](auto& r) { AddInput(r, "y", "FP32", {2}); },
       "the model has no input 'y', its inputs are 'x'"},
      {"twice",
       [](auto& r) {
         AddInput(r, "x", "FP32", {0})->mutable_contents();
         AddInput(r, "x", "FP32", {0})->mutable_contents();
       },
       "input 'x' is given twice"},
      {"type",
       [](auto& r) {
         AddInput(r, "x", "INT32", {1})
             ->mutable_contents()
             ->add_int_contents(1);
       },
       "input 'x': expected datatype FP32, got INT32"},
      {"unknown type", [](auto& r) { AddInput(r, "x", "FP8", {1}); },
       "there is no datatype 'FP8'"},
      {"mixed",
       [](auto& r) {
         AddInput(r, "x", "FP32", {1})
             ->mutable_contents()
             ->add_fp32_contents(1);
         r.add_raw_input_contents("abcd");
       },
       "input 'x': has contents, and the request raw_input_contents"},
      {"raw count",
       [](auto& r) {
         AddInput(r, "x", "FP32", {1});
         r.add_raw_input_contents("abcd");
         r.add_raw_input_contents("abcd");
       },
       "expected one entry of raw_input_contents for each of 1 inputs, got 2"},
      {"raw size",
       [](auto& r) {
         AddInput(r, "x", "FP32", {2});
         r.add_raw_input_contents("abcd");
       },
       "input 'x': expected 8 bytes for its shape and datatype, got 4"},
      {"typed size",
       [](auto& r) {
         AddInput(r, "x", "FP32", {2})
             ->mutable_contents()
             ->add_fp32_contents(1);
       },
       "input 'x': expected 2 elements in fp32_contents, got 1"},
      {"wrong field",
       [](auto& r) {
         AddInput(r, "x", "FP32", {1})
             ->mutable_contents()
             ->add_fp64_contents(1);
       },
       "contents of type FP32 belong into fp32_contents alone"},
      {"negative",
       [](auto& r) {
         AddInput(r, "x", "FP32", {-1});
         r.add_raw_input_contents("");
       },
       "input 'x': a dimension is negative: -1"},
      {"overflow",
       [](auto& r) {
         AddInput(r, "x", "FP32", {int64_t{1} << 31, int64_t{1} << 31, 4});
         r.add_raw_input_contents("");
       },
       "input 'x': the product of the dimensions is beyond 64 bits"},
      {"overflow behind a zero",
       [](auto& r) {
         AddInput(r, "x", "FP32", {0, INT64_MAX, INT64_MAX});
         r.add_raw_input_contents("");
       },
       "beyond 64 bits"},
  };
  for (const Case& c : cases) {
    inference::ModelInferRequest request;
    c.fill(request);
    const auto inputs =
        DecodeInputs(request, {Spec("x", ir::DType::kF32, {-1})});
    EXPECT_EQ(inputs.status().code(), absl::StatusCode::kInvalidArgument)
        << c.what;
    EXPECT_THAT(std::string(inputs.status().message()), HasSubstr(c.message))
        << c.what;
  }
}

TEST(Codec, ABoolThatIsNeitherZeroNorOneIsRefused) {
  inference::ModelInferRequest request;
  AddInput(request, "x", "BOOL", {2});
  request.add_raw_input_contents(std::string("\1\2", 2));
  const auto inputs = DecodeInputs(request, {Spec("x", ir::DType::kBool, {2})});
  EXPECT_THAT(std::string(inputs.status().message()),
              HasSubstr("element 1 of a BOOL is the byte 2"));
}

TEST(Codec, AnIntegerBeyondItsTypeIsRefused) {
  inference::ModelInferRequest request;
  AddInput(request, "x", "INT8", {1})
      ->mutable_contents()
      ->add_int_contents(128);
  const auto inputs = DecodeInputs(request, {Spec("x", ir::DType::kI8, {1})});
  EXPECT_THAT(std::string(inputs.status().message()),
              HasSubstr("element 0 is 128, outside INT8"));
}

TEST(Codec, HalfFloatsTravelRawOnly) {
  inference::ModelInferRequest request;
  AddInput(request, "x", "FP16", {1})->mutable_contents()->add_fp32_contents(1);
  const auto inputs = DecodeInputs(request, {Spec("x", ir::DType::kF16, {1})});
  EXPECT_THAT(std::string(inputs.status().message()),
              HasSubstr("travel in raw_input_contents only"));
}

TEST(Codec, OutputsAreSelectedInTheOrderAskedFor) {
  const std::vector<TensorSpec> specs = {Spec("a", ir::DType::kF32, {}),
                                         Spec("b", ir::DType::kF32, {}),
                                         Spec("c", ir::DType::kF32, {})};
  EXPECT_THAT(*SelectOutputs({}, specs), ElementsAre(0, 1, 2));
  EXPECT_THAT(*SelectOutputs({"c", "a"}, specs), ElementsAre(2, 0));
  EXPECT_THAT(
      std::string(SelectOutputs({"d"}, specs).status().message()),
      HasSubstr("the model has no output 'd', its outputs are 'a', 'b'"));
  EXPECT_THAT(std::string(SelectOutputs({"a", "a"}, specs).status().message()),
              HasSubstr("output 'a' is asked for twice"));
}

TEST(Codec, ParametersThatWouldChangeTheMeaningAreRefused) {
  inference::ModelInferRequest request;
  (*request.mutable_parameters())["sequence_id"].set_int64_param(0);
  (*request.mutable_parameters())["priority"].set_uint64_param(3);
  EXPECT_TRUE(CheckParameters(request).ok());
  (*request.mutable_parameters())["sequence_id"].set_int64_param(7);
  EXPECT_EQ(CheckParameters(request).code(), absl::StatusCode::kUnimplemented);
  inference::ModelInferRequest shared;
  (*AddInput(shared, "x", "FP32", {1})
        ->mutable_parameters())["shared_memory_region"]
      .set_string_param("r");
  EXPECT_EQ(CheckParameters(shared).code(), absl::StatusCode::kUnimplemented);
}

TEST(Codec, NamesThatAreNoUtf8AreRefused) {
  const auto check = [](const std::string& name) {
    graph::Graph graph;
    graph.inputs.push_back({.name = name,
                            .dtype = ir::DType::kF32,
                            .dims = {},
                            .node = ir::kNoNode});
    return CheckNames(graph);
  };
  for (const char* good :
       {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    EXPECT_TRUE(check(good).ok()) << good;
  }
  for (const char* bad : {"\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80",
                          "\xf5\x80\x80\x80", "\x80"}) {
    EXPECT_EQ(check(bad).code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  graph::Graph graph;
  ir::Builder(graph.arena.get()).Var("\xff", 1, 2);
  EXPECT_THAT(std::string(CheckNames(graph).message()),
              HasSubstr("the name '\\xff' of a size or device is no UTF-8"));
}

}  // namespace
}  // namespace quern::server
