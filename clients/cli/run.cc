// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "clients/cli/commands.h"
#include "clients/cli/subject.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kValuesShown = 8;
constexpr int64_t kValuesInJson = 64;

double Milliseconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) * 1e3 +
         static_cast<double>(duration.nanos()) * 1e-6;
}

absl::Status WriteOutputs(const v1::ExecuteResult& result,
                          const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  for (int i = 0; i < result.outputs_size(); ++i) {
    const absl::Status status = WriteTensorFile(
        absl::StrCat(folder, "/output_", i, ".pb"), result.outputs(i));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void PrintText(const Subject& subject, const ChosenInputs& inputs,
               const v1::ExecuteResult& result) {
  std::printf("model   %s\ninputs  %s\n", subject.text.c_str(),
              inputs.source.c_str());
  for (const v1::NamedTensor& output : result.outputs()) {
    const v1::Tensor& tensor = output.tensor();
    std::string values;
    const int64_t elements = Elements(tensor);
    for (int64_t i = 0; i < elements && i < kValuesShown; ++i) {
      absl::StrAppend(&values, i == 0 ? "" : " ", TextAt(tensor, i));
    }
    if (elements > kValuesShown) values += " ...";
    std::printf("output  %s %s: %s\n", output.name().c_str(),
                ShapeText(tensor).c_str(), values.c_str());
  }
  std::printf("time    %.3f ms in the engine, %.3f ms waiting\n",
              Milliseconds(result.execute_time()),
              Milliseconds(result.queue_time()));
  if (result.loaded_now()) {
    std::printf("load    %.1f ms, %d kernels, %d compiled\n",
                result.load().total_ms(), result.load().kernels(),
                result.load().compiled());
  }
}

ordered_json ValuesOf(const v1::Tensor& tensor) {
  ordered_json values = ordered_json::array();
  for (int64_t i = 0; i < Elements(tensor) && i < kValuesInJson; ++i) {
    if (IsFloat(tensor.data_type())) {
      values.push_back(FloatAt(tensor, i));
    } else if (tensor.data_type() == v1::DATA_TYPE_U64) {
      values.push_back(static_cast<uint64_t>(IntegerAt(tensor, i)));
    } else {
      values.push_back(static_cast<int64_t>(IntegerAt(tensor, i)));
    }
  }
  return values;
}

void PrintJson(const Subject& subject, const ChosenInputs& inputs,
               const v1::ExecuteResult& result) {
  ordered_json out;
  out["model"] = subject.text;
  out["inputs"] = inputs.source;
  out["outputs"] = ordered_json::array();
  for (const v1::NamedTensor& output : result.outputs()) {
    const v1::Tensor& tensor = output.tensor();
    out["outputs"].push_back(
        {{"name", output.name()},
         {"type", TypeName(tensor.data_type())},
         {"dims",
          std::vector<int64_t>(tensor.dims().begin(), tensor.dims().end())},
         {"elements", Elements(tensor)},
         {"values", ValuesOf(tensor)}});
  }
  out["engine_ms"] = Milliseconds(result.execute_time());
  out["queue_ms"] = Milliseconds(result.queue_time());
  out["load_ms"] = nullptr;
  if (result.loaded_now()) out["load_ms"] = result.load().total_ms();
  std::printf("%s\n", out.dump().c_str());
}

}  // namespace

absl::Status Run(const Options& options) {
  ProgressLine progress(options);
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  const auto subject = OpenSubject(**connection, options.model, options.device);
  if (!subject.ok()) return subject.status();
  const auto inputs =
      ChooseInputs(*subject, options.inputs, options.sizes, options.seed);
  if (!inputs.ok()) return inputs.status();
  const auto result =
      Execute(**connection, subject->proto, inputs->tensors, progress);
  progress.Clear();
  if (!result.ok()) return result.status();
  if (!options.output.empty()) {
    const absl::Status status = WriteOutputs(*result, options.output);
    if (!status.ok()) return status;
  }
  (options.json ? PrintJson : PrintText)(*subject, *inputs, *result);
  return absl::OkStatus();
}

}  // namespace quern::cli
