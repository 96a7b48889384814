// SPDX-License-Identifier: Apache-2.0
//
// Inferences as JSON and bytes, into messages and back.
#include "server/http/http_infer.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::server {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Decoded {
  absl::Status status;
  ModelInferRequest request;
  WantedForm form;
};

Decoded Decode(const std::string& json, const std::string& binary = "") {
  Decoded decoded;
  decoded.status =
      DecodeInfer(json + binary, json.size(), decoded.request, decoded.form);
  return decoded;
}

// A request with one input.
std::string WithInput(absl::string_view datatype, absl::string_view shape,
                      absl::string_view data) {
  return absl::StrCat(R"({"inputs":[{"name":"x","datatype":")", datatype,
                      R"(","shape":)", shape, R"(,"data":)", data, "}]}");
}

Decoded DecodeInput(absl::string_view datatype, absl::string_view shape,
                    absl::string_view data) {
  return Decode(WithInput(datatype, shape, data));
}

template <typename T>
std::vector<T> ValuesOf(const std::string& raw) {
  std::vector<T> values(raw.size() / sizeof(T));
  std::memcpy(values.data(), raw.data(), values.size() * sizeof(T));
  return values;
}

template <typename T>
std::string RawOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

ModelInferResponse Response(const std::string& datatype, const std::string& raw,
                            int64_t elements) {
  ModelInferResponse response;
  response.set_model_name("m");
  response.set_model_version("1");
  auto* output = response.add_outputs();
  output->set_name("y");
  output->set_datatype(datatype);
  output->add_shape(elements);
  response.add_raw_output_contents(raw);
  return response;
}

// Decodes the JSON of values and encodes what came of it.
template <typename T>
void ExpectRoundTrip(const std::string& datatype, const std::string& json,
                     const std::vector<T>& values) {
  SCOPED_TRACE(datatype);
  const std::string shape = absl::StrCat("[", values.size(), "]");
  const Decoded decoded = DecodeInput(datatype, shape, json);
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.request.raw_input_contents(0), RawOf(values));
  ModelInferResponse response =
      Response(datatype, RawOf(values), static_cast<int64_t>(values.size()));
  const auto http = EncodeInfer(response, {});
  ASSERT_TRUE(http.ok()) << http.status();
  EXPECT_THAT(http->body, HasSubstr(absl::StrCat("\"data\":", json)));
}

TEST(HttpInfer, EveryTypeOfJsonTravelsExactly) {
  ExpectRoundTrip<uint8_t>("BOOL", "[true,false,true]", {1, 0, 1});
  ExpectRoundTrip<int8_t>("INT8", "[-128,127]", {-128, 127});
  ExpectRoundTrip<int16_t>("INT16", "[-32768,32767]", {-32768, 32767});
  ExpectRoundTrip<int32_t>("INT32", "[-2147483648,2147483647]",
                           {INT32_MIN, INT32_MAX});
  ExpectRoundTrip<int64_t>("INT64",
                           "[-9223372036854775808,9223372036854775807,"
                           "9007199254740993]",
                           {INT64_MIN, INT64_MAX, 9007199254740993});
  ExpectRoundTrip<uint8_t>("UINT8", "[0,255]", {0, 255});
  ExpectRoundTrip<uint16_t>("UINT16", "[0,65535]", {0, 65535});
  ExpectRoundTrip<uint32_t>("UINT32", "[0,4294967295]", {0, UINT32_MAX});
  ExpectRoundTrip<uint64_t>("UINT64", "[0,18446744073709551615]",
                            {0, UINT64_MAX});
  ExpectRoundTrip<float>("FP32", "[0.1,-1.5,16777216]",
                         {0.1f, -1.5f, 16777216});
  ExpectRoundTrip<double>("FP64", "[0.1,5e-324]", {0.1, 5e-324});
}

TEST(HttpInfer, FloatsHaveTheirWordsAndRoundOnce) {
  const Decoded words =
      DecodeInput("FP32", "[4]", "[NaN,Infinity,-Infinity,1e-60]");
  ASSERT_TRUE(words.status.ok()) << words.status;
  const auto values = ValuesOf<float>(words.request.raw_input_contents(0));
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[2], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[3], 0);
  // Just above the middle of 1 and its successor, where a double is the middle.
  const Decoded once =
      DecodeInput("FP32", "[1]", "[1.00000005960464477539062500001]");
  ASSERT_TRUE(once.status.ok());
  EXPECT_EQ(ValuesOf<float>(once.request.raw_input_contents(0))[0],
            std::nextafter(1.0f, 2.0f));
}

TEST(HttpInfer, WholeNumbersMayBeWrittenAsFloats) {
  const Decoded decoded = DecodeInput("INT32", "[3]", "[3.0,1e3,-2.50e1]");
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_THAT(ValuesOf<int32_t>(decoded.request.raw_input_contents(0)),
              ElementsAre(3, 1000, -25));
}

TEST(HttpInfer, DataMayBeNestedOrFlat) {
  for (const char* data : {"[1,2,3,4]", "[[1,2],[3,4]]",
                           "[[[1]],[[2]],[[3]],[[4]]]", "[[1,2,3,4]]"}) {
    const Decoded decoded = DecodeInput("INT8", "[2,2]", data);
    ASSERT_TRUE(decoded.status.ok()) << data << decoded.status;
    EXPECT_THAT(ValuesOf<int8_t>(decoded.request.raw_input_contents(0)),
                ElementsAre(1, 2, 3, 4));
  }
  EXPECT_TRUE(DecodeInput("INT8", "[]", "[7]").status.ok());
  EXPECT_TRUE(DecodeInput("INT8", "[0,3]", "[]").status.ok());
}

TEST(HttpInfer, SaysWhatIsWrongWithTheDataOfWhichInput) {
  struct Case {
    const char* datatype;
    const char* shape;
    const char* data;
    const char* message;
  };
  const Case cases[] = {
      {"INT8", "[1]", "[128]", "'128' is no INT8"},
      {"INT8", "[1]", "[1.5]", "'1.5' is no INT8"},
      {"UINT8", "[1]", "[-1]", "'-1' is no UINT8"},
      {"INT64", "[1]", "[9223372036854775808]", "is no INT64"},
      {"UINT64", "[1]", "[1e30]", "is no UINT64"},
      {"INT32", "[1]", "[NaN]", "'NaN' is no INT32"},
      {"FP32", "[1]", "[1e39]", "'1e39' is no FP32"},
      {"FP32", "[1]", "[\"1\"]", "expected a number"},
      {"FP32", "[1]", "[true]", "expected a number"},
      {"FP32", "[1]", "[null]", "expected a number"},
      {"BOOL", "[1]", "[1]", "expected true or false"},
      {"FP32", "[1]", "1", "expected an array"},
      {"FP32", "[1]", "{}", "expected an array"},
      {"FP32", "[2]", "[1]", "expected 2 elements for its shape, got 1"},
      {"FP32", "[2]", "[1,2,3]", "has more elements than its shape"},
      {"FP32", "[-1]", "[1]", "-1"},
      {"FP32", "[1.5]", "[1]", "'1.5' is no dimension"},
      {"FP32", "[4611686018427387904,8]", "[1]", "the product of the di"},
      {"FP16", "[1]", "[1]", "FP16 has no form in JSON, use the binary data"},
      {"BF16", "[1]", "[1]", "BF16 has no form in JSON, use the binary data"},
      {"FLOAT", "[1]", "[1]", "FLOAT"},
  };
  for (const Case& c : cases) {
    const Decoded decoded = DecodeInput(c.datatype, c.shape, c.data);
    EXPECT_EQ(decoded.status.code(), absl::StatusCode::kInvalidArgument)
        << c.datatype << c.data;
    EXPECT_THAT(decoded.status.message(), HasSubstr("input 'x': "));
    EXPECT_THAT(decoded.status.message(), HasSubstr(c.message));
  }
}

// A shape that is a lie takes no more memory than its text.
TEST(HttpInfer, AShapeReservesNoMemoryThatDataCouldNotFill) {
  const Decoded decoded = DecodeInput("FP64", "[1000000000000]", "[1,2]");
  EXPECT_THAT(decoded.status.message(),
              HasSubstr("expected 1000000000000 elements"));
}

constexpr char kBinary[] =
    R"({"inputs":[{"name":"a","datatype":"FP16","shape":[2],)"
    R"("parameters":{"binary_data_size":4}},)"
    R"({"name":"b","datatype":"INT8","shape":[2],"data":[5,6]},)"
    R"({"name":"c","datatype":"INT8","shape":[3],)"
    R"("parameters":{"binary_data_size":3,"other":true}}]})";

TEST(HttpInfer, BytesBehindTheJsonBelongToInputsInOrder) {
  const Decoded decoded = Decode(kBinary, "wxyzabc");
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_THAT(decoded.request.raw_input_contents(),
              ElementsAre("wxyz", "\x05\x06", "abc"));
  EXPECT_TRUE(decoded.request.inputs(0).parameters().empty());
  EXPECT_TRUE(decoded.request.inputs(2).parameters().at("other").bool_param());
}

TEST(HttpInfer, BytesAreNeitherMissingNorLeftOver) {
  EXPECT_THAT(Decode(kBinary, "wxyzab").status.message(),
              HasSubstr("input 'c': has 3 bytes behind the JSON, where 2"));
  EXPECT_THAT(Decode(kBinary, "wxyzabcd").status.message(),
              HasSubstr("1 bytes of the body belong to no input"));
  const auto replaced = [](const char* from, const char* to) {
    return std::string(
        Decode(absl::StrReplaceAll(kBinary, {{from, to}}), "wxyzabc")
            .status.message());
  };
  EXPECT_THAT(replaced(":4}", ":-4}"), HasSubstr("is no size"));
  EXPECT_THAT(replaced(":4}", ":\"4\"}"), HasSubstr("is no size"));
  EXPECT_THAT(replaced(":4}", ":9223372036854775807}"),
              HasSubstr("has 9223372036854775807 bytes"));
  EXPECT_THAT(replaced(",\"data\":[5,6]", ""),
              HasSubstr("input 'b': has no content"));
  EXPECT_THAT(
      replaced("\"data\":[5,6]",
               "\"data\":[5,6],\"parameters\":{\"binary_data_size\":2}"),
      HasSubstr("has data and binary_data_size"));
  ModelInferRequest request;
  WantedForm form;
  EXPECT_THAT(DecodeInfer("{}", 3, request, form).message(),
              HasSubstr("says 3 bytes, the body has 2"));
}

TEST(HttpInfer, ParametersKeepTheirKinds) {
  const Decoded decoded = Decode(
      R"({"id":"i","inputs":[],"unknown":[{}],"parameters":{"b":true,"i":-3,)"
      R"("u":18446744073709551615,"d":0.5,"s":"text",)"
      R"("binary_data_output":true},"outputs":[{"name":"y","parameters":)"
      R"({"binary_data":false,"classification":3}},{"name":"z"}]})");
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  const auto& parameters = decoded.request.parameters();
  EXPECT_EQ(decoded.request.id(), "i");
  EXPECT_EQ(parameters.size(), 5u);
  EXPECT_TRUE(parameters.at("b").bool_param());
  EXPECT_EQ(parameters.at("i").int64_param(), -3);
  EXPECT_EQ(parameters.at("u").uint64_param(), 18446744073709551615u);
  EXPECT_EQ(parameters.at("d").double_param(), 0.5);
  EXPECT_EQ(parameters.at("s").string_param(), "text");
  EXPECT_TRUE(decoded.form.binary);
  EXPECT_THAT(decoded.form.binary_of, ElementsAre(std::pair("y", false)));
  EXPECT_EQ(decoded.request.outputs(0)
                .parameters()
                .at("classification")
                .int64_param(),
            3);
}

TEST(HttpInfer, RefusesRequestsThatAreNone) {
  struct Case {
    std::string json;
    const char* message;
  };
  std::string rank = "[1";
  for (int i = 0; i < 64; ++i) rank += ",1";
  std::string inputs = R"({"inputs":[{})";
  for (int i = 0; i < 4096; ++i) inputs += ",{}";
  std::string outputs = R"({"outputs":[{})";
  for (int i = 0; i < 4096; ++i) outputs += ",{}";
  std::string parameters = R"({"parameters":{"p":1)";
  for (int i = 0; i < 256; ++i) absl::StrAppend(&parameters, ",\"", i, "\":1");
  const Case cases[] = {
      {"", "expected an object"},
      {"[]", "expected an object"},
      {"{}x", "expected nothing more"},
      {R"({"inputs":{}})", "expected an array"},
      {R"({"inputs":[1]})", "expected an object"},
      {R"({"inputs":[{"name":1}]})", "expected a string"},
      {R"({"id":7})", "expected a string"},
      {R"({"inputs":[],"inputs":[]})", "'inputs' twice"},
      {R"({"parameters":{"a":[1]}})", "a parameter is a truth value"},
      {R"({"parameters":{"a":null}})", "a parameter is a truth value"},
      {R"({"parameters":{"binary_data_output":1}})", "is no truth value"},
      {R"({"outputs":[{"name":"y","parameters":{"binary_data":1}}]})",
       "is no truth value"},
      {WithInput("FP32", rank + "]", "[1]"), "more than 64 dimensions"},
      {inputs + "]}", "more than 4096 inputs"},
      {outputs + "]}", "more than 4096 outputs"},
      {parameters + "}}", "more than 256 parameters"},
  };
  for (const Case& c : cases) {
    const Decoded decoded = Decode(c.json);
    EXPECT_EQ(decoded.status.code(), absl::StatusCode::kInvalidArgument)
        << c.message;
    EXPECT_THAT(decoded.status.message(), HasSubstr(c.message));
  }
}

TEST(HttpInfer, SharedMemoryIsLeftToTheHandlers) {
  const Decoded decoded =
      Decode(R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],)"
             R"("parameters":{"shared_memory_region":"r"}}]})");
  ASSERT_TRUE(decoded.status.ok()) << decoded.status;
  EXPECT_EQ(decoded.request.inputs(0)
                .parameters()
                .at("shared_memory_region")
                .string_param(),
            "r");
}

inference::ModelMetadataResponse Metadata(const std::string& datatype,
                                          std::vector<int64_t> shape) {
  inference::ModelMetadataResponse metadata;
  auto* input = metadata.add_inputs();
  input->set_name("x");
  input->set_datatype(datatype);
  for (const int64_t dim : shape) input->add_shape(dim);
  return metadata;
}

TEST(HttpInfer, ABodyOfBytesAloneTakesItsShapeFromTheModel) {
  ModelInferRequest request;
  WantedForm form;
  ASSERT_TRUE(DecodeRawInfer(std::string(24, 'a'), Metadata("FP32", {-1, 3}),
                             request, form)
                  .ok());
  EXPECT_THAT(request.inputs(0).shape(), ElementsAre(2, 3));
  EXPECT_EQ(request.raw_input_contents(0), std::string(24, 'a'));
  EXPECT_TRUE(form.binary);
  for (const auto& [metadata, bytes] :
       {std::pair(Metadata("FP32", {-1, 3}), 25),
        std::pair(Metadata("FP32", {-1, -1}), 24),
        std::pair(Metadata("FP32", {-1, 0}), 24)}) {
    ModelInferRequest other;
    EXPECT_THAT(DecodeRawInfer(std::string(bytes, 'a'), metadata, other, form)
                    .message(),
                HasSubstr("does not follow from"));
  }
  inference::ModelMetadataResponse two = Metadata("FP32", {1});
  two.add_inputs();
  ModelInferRequest other;
  EXPECT_THAT(DecodeRawInfer("abcd", two, other, form).message(),
              HasSubstr("this one has 2"));
}

TEST(HttpInfer, OutputsAreBytesWhereTheClientWantsThem) {
  ModelInferResponse response = Response("FP16", "abcd", 2);
  response.set_id("i");
  (*response.mutable_parameters())["t"].set_int64_param(7);
  auto* second = response.add_outputs();
  second->set_name("z");
  second->set_datatype("INT8");
  second->add_shape(1);
  response.add_raw_output_contents("\x07");
  WantedForm form;
  form.binary_of["y"] = true;
  const auto http = EncodeInfer(response, form);
  ASSERT_TRUE(http.ok()) << http.status();
  EXPECT_EQ(http->body,
            R"({"id":"i","model_name":"m","model_version":"1",)"
            R"("parameters":{"t":7},"outputs":[{"name":"y","datatype":"FP16",)"
            R"("shape":[2],"parameters":{"binary_data_size":4}},)"
            R"({"name":"z","datatype":"INT8","shape":[1],"data":[7]}]})");
  EXPECT_THAT(http->parts, ElementsAre("abcd"));
  EXPECT_THAT(http->headers,
              ElementsAre(std::pair("Inference-Header-Content-Length",
                                    absl::StrCat(http->body.size()))));
  ModelInferResponse json = Response("BF16", "ab", 1);
  EXPECT_THAT(EncodeInfer(json, {}).status().message(),
              HasSubstr("output 'y': BF16 has no form in JSON"));
}

}  // namespace
}  // namespace quern::server
