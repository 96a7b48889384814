// SPDX-License-Identifier: Apache-2.0
#include "server/http/http_infer.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/charconv.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "server/codec.h"
#include "server/http/json_writer.h"
#include "server/quoted.h"

namespace quern::server {
namespace {

using Kind = JsonReader::Kind;

static_assert(std::endian::native == std::endian::little,
              "tensors travel little-endian and are read where they lie");

// A request has more only by mistake or malice.
constexpr int kMaxTensors = 4096;
constexpr int kMaxParameters = 256;
constexpr int kMaxRank = 64;

constexpr char kBinarySize[] = "binary_data_size";
constexpr char kBinary[] = "binary_data";
constexpr char kBinaryOutput[] = "binary_data_output";

absl::Status Named(absl::string_view what, const std::string& name,
                   const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(what, " ", Quoted(name), ": ",
                                                  status.message()));
}

absl::Status Outside(absl::string_view token, absl::string_view type) {
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(token), " is no ", type));
}

// A floating-point number as its type rounds it; overflow is an error,
// underflow is 0.
template <typename T>
absl::StatusOr<T> ParseFloat(absl::string_view token, absl::string_view type) {
  if (token == "NaN") return std::numeric_limits<T>::quiet_NaN();
  if (token == "Infinity") return std::numeric_limits<T>::infinity();
  if (token == "-Infinity") return -std::numeric_limits<T>::infinity();
  T value = 0;
  const absl::from_chars_result parsed =
      absl::from_chars(token.data(), token.data() + token.size(), value);
  if (parsed.ec == std::errc::result_out_of_range && std::abs(value) > 1) {
    return Outside(token, type);
  }
  return value;
}

// A whole number in the range of its type; 3.0 and 1e3 are whole.
template <typename T>
absl::StatusOr<T> ParseInt(absl::string_view token, absl::string_view type) {
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
  Wide wide = 0;
  if (!absl::SimpleAtoi(token, &wide)) {
    constexpr double kExact = 9007199254740992;  // 2^53: beyond, not all are.
    double value = 0;
    if (!absl::SimpleAtod(token, &value) || !(std::abs(value) <= kExact) ||
        value != std::floor(value) || (value < 0 && !std::is_signed_v<T>)) {
      return Outside(token, type);
    }
    wide = static_cast<Wide>(value);
  }
  if (wide < static_cast<Wide>(std::numeric_limits<T>::min()) ||
      wide > static_cast<Wide>(std::numeric_limits<T>::max())) {
    return Outside(token, type);
  }
  return static_cast<T>(wide);
}

// Appends the next element as bytes of its type.
using ReadElement = absl::Status (*)(JsonReader& json, absl::string_view type,
                                     std::string& bytes);

template <typename T>
absl::Status ReadNumber(JsonReader& json, absl::string_view type,
                        std::string& bytes) {
  QUERN_ASSIGN_OR_RETURN(const absl::string_view token, json.Number());
  absl::StatusOr<T> value;
  if constexpr (std::is_floating_point_v<T>) {
    value = ParseFloat<T>(token, type);
  } else {
    value = ParseInt<T>(token, type);
  }
  QUERN_RETURN_IF_ERROR(value.status());
  char raw[sizeof(T)];
  std::memcpy(raw, &*value, sizeof(T));
  bytes.append(raw, sizeof(T));
  return absl::OkStatus();
}

absl::Status ReadBool(JsonReader& json, absl::string_view, std::string& bytes) {
  QUERN_ASSIGN_OR_RETURN(const bool value, json.Bool());
  bytes.push_back(value ? 1 : 0);
  return absl::OkStatus();
}

// Appends the elements that `raw` holds as JSON.
using WriteElements = void (*)(const std::string& raw, std::string& out);

template <typename T>
void WriteNumbers(const std::string& raw, std::string& out) {
  for (size_t at = 0; at + sizeof(T) <= raw.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, raw.data() + at, sizeof(T));
    if (at > 0) out += ',';
    if constexpr (std::is_floating_point_v<T>) {
      AppendJsonNumber(value, out);
    } else if constexpr (std::is_signed_v<T>) {
      AppendJsonNumber(static_cast<int64_t>(value), out);
    } else {
      AppendJsonNumber(static_cast<uint64_t>(value), out);
    }
  }
}

void WriteBools(const std::string& raw, std::string& out) {
  for (size_t i = 0; i < raw.size(); ++i) {
    absl::StrAppend(&out, i > 0 ? "," : "", raw[i] != 0 ? "true" : "false");
  }
}

// The types that JSON has a form for. Numbers of 16-bit floats travel as bytes
// only, as in Triton.
struct JsonType {
  const char* name;
  ReadElement read;
  WriteElements write;
};
constexpr JsonType kJsonTypes[] = {
    {"BOOL", ReadBool, WriteBools},
    {"INT8", ReadNumber<int8_t>, WriteNumbers<int8_t>},
    {"INT16", ReadNumber<int16_t>, WriteNumbers<int16_t>},
    {"INT32", ReadNumber<int32_t>, WriteNumbers<int32_t>},
    {"INT64", ReadNumber<int64_t>, WriteNumbers<int64_t>},
    {"UINT8", ReadNumber<uint8_t>, WriteNumbers<uint8_t>},
    {"UINT16", ReadNumber<uint16_t>, WriteNumbers<uint16_t>},
    {"UINT32", ReadNumber<uint32_t>, WriteNumbers<uint32_t>},
    {"UINT64", ReadNumber<uint64_t>, WriteNumbers<uint64_t>},
    {"FP32", ReadNumber<float>, WriteNumbers<float>},
    {"FP64", ReadNumber<double>, WriteNumbers<double>},
};

absl::StatusOr<const JsonType*> JsonTypeOf(const std::string& datatype) {
  for (const JsonType& type : kJsonTypes) {
    if (type.name == datatype) return &type;
  }
  // The name of no type at all is an error of its own.
  QUERN_RETURN_IF_ERROR(DTypeFromV2(datatype).status());
  return absl::InvalidArgumentError(absl::StrCat(
      datatype, " has no form in JSON, use the binary data extension"));
}

// An input as the JSON tells it; its elements are read when all is known.
struct JsonInput {
  absl::string_view data;     // JSON; empty if there is none.
  int64_t binary_bytes = -1;  // Behind the JSON; -1 if there are none.
};

absl::Status ReadShape(JsonReader& json,
                       google::protobuf::RepeatedField<int64_t>& shape) {
  return json.Array([&]() -> absl::Status {
    if (shape.size() >= kMaxRank) {
      return absl::InvalidArgumentError(
          absl::StrCat("the shape has more than ", kMaxRank, " dimensions"));
    }
    QUERN_ASSIGN_OR_RETURN(const absl::string_view token, json.Number());
    QUERN_ASSIGN_OR_RETURN(const int64_t dim,
                           ParseInt<int64_t>(token, "dimension"));
    shape.Add(dim);
    return absl::OkStatus();
  });
}

using Parameters =
    google::protobuf::Map<std::string, inference::InferParameter>;

// Reads an object of parameters; `own` takes those that mean something here
// and says so.
absl::Status ReadParameters(
    JsonReader& json, Parameters& parameters,
    absl::FunctionRef<absl::StatusOr<bool>(
        const std::string& name, const inference::InferParameter& value)>
        own) {
  int count = 0;
  return json.Object([&](const std::string& name) -> absl::Status {
    if (++count > kMaxParameters) {
      return absl::InvalidArgumentError(
          absl::StrCat("there are more than ", kMaxParameters, " parameters"));
    }
    QUERN_ASSIGN_OR_RETURN(const inference::InferParameter value,
                           ReadParameter(json));
    QUERN_ASSIGN_OR_RETURN(const bool taken, own(name, value));
    if (!taken) parameters[name] = value;
    return absl::OkStatus();
  });
}

absl::StatusOr<bool> BoolOf(const std::string& name,
                            const inference::InferParameter& value) {
  if (value.has_bool_param()) return value.bool_param();
  return absl::InvalidArgumentError(
      absl::StrCat("the parameter '", name, "' is no truth value"));
}

// The elements of an input from its JSON, flat or nested.
absl::Status ReadData(JsonReader& json, const JsonType& type, size_t most_bytes,
                      std::string& bytes) {
  return json.Array([&]() -> absl::Status {
    if (json.Peek() == Kind::kArray) {
      return ReadData(json, type, most_bytes, bytes);
    }
    if (bytes.size() >= most_bytes) {
      return absl::InvalidArgumentError("has more elements than its shape");
    }
    return type.read(json, type.name, bytes);
  });
}

absl::Status DecodeData(
    const inference::ModelInferRequest::InferInputTensor& input,
    absl::string_view data, std::string& bytes) {
  QUERN_ASSIGN_OR_RETURN(const JsonType* type, JsonTypeOf(input.datatype()));
  QUERN_ASSIGN_OR_RETURN(const ir::DType dtype, DTypeFromV2(input.datatype()));
  const std::vector<int64_t> dims(input.shape().begin(), input.shape().end());
  QUERN_ASSIGN_OR_RETURN(const int64_t expected, TensorBytes(dtype, dims));
  // No element is shorter than a digit and a comma.
  const int64_t element = ir::ByteSize(dtype);
  bytes.reserve(std::min<size_t>(static_cast<size_t>(expected),
                                 (data.size() / 2 + 1) * element));
  JsonReader json(data);
  QUERN_RETURN_IF_ERROR(
      ReadData(json, *type, static_cast<size_t>(expected), bytes));
  if (static_cast<int64_t>(bytes.size()) == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "expected ", expected / element, " elements for its shape, got ",
      static_cast<int64_t>(bytes.size()) / element));
}

absl::Status ReadInput(JsonReader& json,
                       inference::ModelInferRequest::InferInputTensor& input,
                       JsonInput& found) {
  return json.Object([&](const std::string& name) -> absl::Status {
    if (name == "name") {
      QUERN_ASSIGN_OR_RETURN(*input.mutable_name(), json.String());
    } else if (name == "datatype") {
      QUERN_ASSIGN_OR_RETURN(*input.mutable_datatype(), json.String());
    } else if (name == "shape") {
      QUERN_RETURN_IF_ERROR(ReadShape(json, *input.mutable_shape()));
    } else if (name == "data") {
      QUERN_ASSIGN_OR_RETURN(found.data, json.Raw());
    } else if (name == "parameters") {
      return ReadParameters(
          json, *input.mutable_parameters(),
          [&](const std::string& key,
              const inference::InferParameter& value) -> absl::StatusOr<bool> {
            if (key != kBinarySize) return false;
            if (!value.has_int64_param() || value.int64_param() < 0) {
              return absl::InvalidArgumentError(
                  "the parameter 'binary_data_size' is no size");
            }
            found.binary_bytes = value.int64_param();
            return true;
          });
    } else {
      return json.Skip();
    }
    return absl::OkStatus();
  });
}

absl::Status ReadOutput(
    JsonReader& json,
    inference::ModelInferRequest::InferRequestedOutputTensor& output,
    WantedForm& form) {
  std::optional<bool> binary;
  QUERN_RETURN_IF_ERROR(
      json.Object([&](const std::string& name) -> absl::Status {
        if (name == "name") {
          QUERN_ASSIGN_OR_RETURN(*output.mutable_name(), json.String());
          return absl::OkStatus();
        }
        if (name != "parameters") return json.Skip();
        return ReadParameters(
            json, *output.mutable_parameters(),
            [&](const std::string& key, const inference::InferParameter& value)
                -> absl::StatusOr<bool> {
              if (key != kBinary) return false;
              QUERN_ASSIGN_OR_RETURN(binary, BoolOf(key, value));
              return true;
            });
      }));
  if (binary.has_value()) form.binary_of[output.name()] = *binary;
  return absl::OkStatus();
}

absl::Status CheckCount(int count, absl::string_view what) {
  if (count < kMaxTensors) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("there are more than ", kMaxTensors, " ", what));
}

absl::Status ReadRequest(JsonReader& json,
                         inference::ModelInferRequest& request,
                         std::vector<JsonInput>& inputs, WantedForm& form) {
  QUERN_RETURN_IF_ERROR(json.Object([&](const std::string& name)
                                        -> absl::Status {
    if (name == "id") {
      QUERN_ASSIGN_OR_RETURN(*request.mutable_id(), json.String());
      return absl::OkStatus();
    }
    if (name == "inputs") {
      return json.Array([&]() -> absl::Status {
        QUERN_RETURN_IF_ERROR(CheckCount(request.inputs_size(), "inputs"));
        auto* input = request.add_inputs();
        const absl::Status read =
            ReadInput(json, *input, inputs.emplace_back());
        return Named("input", input->name(), read);
      });
    }
    if (name == "outputs") {
      return json.Array([&]() -> absl::Status {
        QUERN_RETURN_IF_ERROR(CheckCount(request.outputs_size(), "outputs"));
        return ReadOutput(json, *request.add_outputs(), form);
      });
    }
    if (name != "parameters") return json.Skip();
    return ReadParameters(
        json, *request.mutable_parameters(),
        [&](const std::string& key,
            const inference::InferParameter& value) -> absl::StatusOr<bool> {
          if (key != kBinaryOutput) return false;
          QUERN_ASSIGN_OR_RETURN(form.binary, BoolOf(key, value));
          return true;
        });
  }));
  return json.End();
}

// The bytes of one input: from `rest`, which loses them, or from JSON.
absl::Status TakeContent(
    const inference::ModelInferRequest::InferInputTensor& input,
    const JsonInput& found, absl::string_view& rest, std::string& bytes) {
  if (found.binary_bytes >= 0) {
    if (!found.data.empty()) {
      return absl::InvalidArgumentError(
          "has data and binary_data_size, expected one of them");
    }
    if (static_cast<uint64_t>(found.binary_bytes) > rest.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", found.binary_bytes,
                       " bytes behind the JSON, where ", rest.size(),
                       " are left; is the header "
                       "Inference-Header-Content-Length right?"));
    }
    bytes.assign(rest.data(), static_cast<size_t>(found.binary_bytes));
    rest.remove_prefix(static_cast<size_t>(found.binary_bytes));
    return absl::OkStatus();
  }
  // Handlers say what they think of shared memory.
  if (input.parameters().contains("shared_memory_region")) {
    return absl::OkStatus();
  }
  if (found.data.empty()) {
    return absl::InvalidArgumentError(
        "has no content, expected data or the parameter binary_data_size");
  }
  return DecodeData(input, found.data, bytes);
}

absl::StatusOr<std::string> JsonOf(const std::string& datatype,
                                   const std::string& raw) {
  QUERN_ASSIGN_OR_RETURN(const JsonType* type, JsonTypeOf(datatype));
  std::string data;
  type->write(raw, data);
  return data;
}

void AppendParameters(const Parameters& parameters, std::string& out) {
  // A map of the library has no order; names in order make answers equal.
  const std::map<std::string, inference::InferParameter> sorted(
      parameters.begin(), parameters.end());
  bool first = true;
  for (const auto& [name, value] : sorted) {
    out += first ? "{" : ",";
    first = false;
    AppendJsonString(name, out);
    out += ':';
    switch (value.parameter_choice_case()) {
      case inference::InferParameter::kBoolParam:
        out += value.bool_param() ? "true" : "false";
        break;
      case inference::InferParameter::kInt64Param:
        AppendJsonNumber(int64_t{value.int64_param()}, out);
        break;
      case inference::InferParameter::kUint64Param:
        AppendJsonNumber(uint64_t{value.uint64_param()}, out);
        break;
      case inference::InferParameter::kDoubleParam:
        AppendJsonNumber(value.double_param(), out);
        break;
      case inference::InferParameter::kStringParam:
        AppendJsonString(value.string_param(), out);
        break;
      case inference::InferParameter::PARAMETER_CHOICE_NOT_SET:
        out += "null";
        break;
    }
  }
  out += first ? "{}" : "}";
}

void AppendField(absl::string_view name, absl::string_view text,
                 std::string& out) {
  absl::StrAppend(&out, "\"", name, "\":");
  AppendJsonString(text, out);
}

}  // namespace

absl::StatusOr<inference::InferParameter> ReadParameter(JsonReader& json) {
  inference::InferParameter parameter;
  switch (json.Peek()) {
    case Kind::kBool: {
      QUERN_ASSIGN_OR_RETURN(const bool value, json.Bool());
      parameter.set_bool_param(value);
      return parameter;
    }
    case Kind::kString: {
      QUERN_ASSIGN_OR_RETURN(*parameter.mutable_string_param(), json.String());
      return parameter;
    }
    case Kind::kNumber: {
      QUERN_ASSIGN_OR_RETURN(const absl::string_view token, json.Number());
      int64_t number = 0;
      uint64_t positive = 0;
      if (absl::SimpleAtoi(token, &number)) {
        parameter.set_int64_param(number);
      } else if (absl::SimpleAtoi(token, &positive)) {
        parameter.set_uint64_param(positive);
      } else {
        QUERN_ASSIGN_OR_RETURN(const double value,
                               ParseFloat<double>(token, "number"));
        parameter.set_double_param(value);
      }
      return parameter;
    }
    default:
      return absl::InvalidArgumentError(
          "a parameter is a truth value, a number or text, got something else");
  }
}

absl::StatusOr<std::optional<int64_t>> JsonLengthOf(const HttpRequest& http) {
  const absl::string_view text = http.Header(kJsonLengthHeader);
  if (text.empty()) return std::nullopt;
  int64_t length = 0;
  if (!absl::SimpleAtoi(text, &length) || length < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the header Inference-Header-Content-Length is no length: ",
        Quoted(text)));
  }
  return length;
}

absl::Status DecodeInfer(absl::string_view body, size_t json_bytes,
                         inference::ModelInferRequest& request,
                         WantedForm& form) {
  if (json_bytes > body.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the header Inference-Header-Content-Length says ",
                     json_bytes, " bytes, the body has ", body.size()));
  }
  JsonReader json(body.substr(0, json_bytes));
  absl::string_view rest = body.substr(json_bytes);
  std::vector<JsonInput> inputs;
  QUERN_RETURN_IF_ERROR(ReadRequest(json, request, inputs, form));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& input = request.inputs(static_cast<int>(i));
    QUERN_RETURN_IF_ERROR(
        Named("input", input.name(),
              TakeContent(input, inputs[i], rest,
                          *request.add_raw_input_contents())));
  }
  if (rest.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(rest.size(), " bytes of the body belong to no input"));
}

absl::Status DecodeRawInfer(absl::string_view body,
                            const inference::ModelMetadataResponse& model,
                            inference::ModelInferRequest& request,
                            WantedForm& form) {
  if (model.inputs_size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a body without JSON is for a model with one input, this "
                     "one has ",
                     model.inputs_size()));
  }
  const auto& spec = model.inputs(0);
  auto* input = request.add_inputs();
  input->set_name(spec.name());
  input->set_datatype(spec.datatype());
  QUERN_ASSIGN_OR_RETURN(const ir::DType dtype, DTypeFromV2(spec.datatype()));
  std::vector<int64_t> known;
  int free_dims = 0;
  for (const int64_t dim : spec.shape()) {
    if (dim < 0) {
      ++free_dims;
    } else {
      known.push_back(dim);
    }
  }
  QUERN_ASSIGN_OR_RETURN(const int64_t row, TensorBytes(dtype, known));
  const auto size = static_cast<int64_t>(body.size());
  if (free_dims > 1 || (free_dims == 1 && (row == 0 || size % row != 0))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the shape of input ", Quoted(spec.name()), " does not follow from ",
        size, " bytes, send it as JSON"));
  }
  for (const int64_t dim : spec.shape()) {
    input->add_shape(dim < 0 ? size / row : dim);
  }
  request.add_raw_input_contents()->assign(body.data(), body.size());
  form.binary = true;
  return absl::OkStatus();
}

absl::StatusOr<HttpResponse> EncodeInfer(
    inference::ModelInferResponse& response, const WantedForm& form) {
  HttpResponse http;
  std::string& out = http.body;
  out = "{";
  if (!response.id().empty()) {
    AppendField("id", response.id(), out);
    out += ',';
  }
  AppendField("model_name", response.model_name(), out);
  out += ',';
  AppendField("model_version", response.model_version(), out);
  if (!response.parameters().empty()) {
    out += ",\"parameters\":";
    AppendParameters(response.parameters(), out);
  }
  out += ",\"outputs\":[";
  for (int i = 0; i < response.outputs_size(); ++i) {
    const auto& output = response.outputs(i);
    std::string& raw = *response.mutable_raw_output_contents(i);
    out += i > 0 ? ",{" : "{";
    AppendField("name", output.name(), out);
    out += ',';
    AppendField("datatype", output.datatype(), out);
    out += ",\"shape\":[";
    for (int d = 0; d < output.shape_size(); ++d) {
      absl::StrAppend(&out, d > 0 ? "," : "", output.shape(d));
    }
    const auto said = form.binary_of.find(output.name());
    if (said == form.binary_of.end() ? form.binary : said->second) {
      absl::StrAppend(&out, "],\"parameters\":{\"", kBinarySize,
                      "\":", raw.size(), "}}");
      http.parts.push_back(std::move(raw));
    } else {
      const absl::StatusOr<std::string> data = JsonOf(output.datatype(), raw);
      QUERN_RETURN_IF_ERROR(Named("output", output.name(), data.status()));
      absl::StrAppend(&out, "],\"data\":[", *data, "]}");
    }
  }
  out += "]}";
  if (!http.parts.empty()) {
    http.content_type = "application/octet-stream";
    http.headers.emplace_back("Inference-Header-Content-Length",
                              absl::StrCat(out.size()));
  }
  return http;
}

}  // namespace quern::server
