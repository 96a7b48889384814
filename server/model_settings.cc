// SPDX-License-Identifier: Apache-2.0
#include "server/model_settings.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

#include "engine/base/status_macros.h"
#include "server/codec.h"
#include "server/quoted.h"

namespace quern::server {
namespace {

constexpr int kMaxRecursion = 20;
constexpr size_t kMaxIgnored = 20;
constexpr size_t kMaxQuoted = 200;
constexpr int64_t kMaxSize = INT32_MAX;
constexpr char kModelFile[] = "model.onnx";

// Keeps the first error, and the warnings, which are of unknown fields.
class Collector final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (!error.empty()) return;
    error = absl::StrCat("line ", line + 1, " column ", column + 1, ": ",
                         absl::CHexEscape(message.substr(0, kMaxQuoted)));
  }
  void AddWarning(int line, int, const std::string& message) override {
    if (warnings.size() >= kMaxIgnored) return;
    warnings.push_back(absl::StrCat(
        "line ", line + 1, ": ",
        absl::CHexEscape(message.substr(0, kMaxQuoted)), " It has no effect."));
  }

  std::string error;
  std::vector<std::string> warnings;
};

// "a=1,b=2"; kInvalidArgument if it is anything else.
absl::StatusOr<WarmUp> ParseSizes(absl::string_view text) {
  WarmUp sizes;
  for (absl::string_view part :
       absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const absl::string_view name = absl::StripAsciiWhitespace(pair.first);
    int64_t size = 0;
    if (name.empty() || !absl::SimpleAtoi(pair.second, &size) || size < 0 ||
        size > kMaxSize) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected NAME=SIZE,.. , got ", Quoted(text)));
    }
    sizes[std::string(name)] = size;
  }
  return sizes;
}

std::string ParameterOf(const inference::ModelConfig& config,
                        const std::string& key) {
  const auto it = config.parameters().find(key);
  return it == config.parameters().end() ? "" : it->second.string_value();
}

absl::StatusOr<std::vector<WarmUp>> ParseWarmUps(const std::string& text) {
  std::vector<WarmUp> all;
  if (text == "least") return std::vector<WarmUp>{WarmUp{}};
  for (absl::string_view part :
       absl::StrSplit(text, ';', absl::SkipWhitespace())) {
    QUERN_ASSIGN_OR_RETURN(WarmUp sizes, ParseSizes(part));
    all.push_back(std::move(sizes));
  }
  return all;
}

absl::Status CheckParameter(const std::string& key, const std::string& value) {
  absl::Status status;
  if (key == "numerics" && value != "default" && value != "strict") {
    status = absl::InvalidArgumentError(
        absl::StrCat("expected default or strict, got ", Quoted(value)));
  } else if (key == "sizes") {
    status = ParseSizes(value).status();
  } else if (key == "warmup") {
    status = ParseWarmUps(value).status();
  } else if (key == "device" && value.empty()) {
    status = absl::InvalidArgumentError("expected the name of a device");
  }
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat("parameter '", key, "': ", status.message()));
}

// As clients see the type of a tensor in a config.
inference::DataType ConfigType(ir::DType dtype) {
  inference::DataType type = inference::TYPE_INVALID;
  static_cast<void>(
      inference::DataType_Parse(absl::StrCat("TYPE_", V2Name(dtype)), &type));
  return type;
}

// True if a size that a config names, -1 for any, fits one of the model.
bool Fits(int64_t said, int64_t is) {
  return said == -1 || is == -1 || said == is;
}

// Checks one input or output of a config against the model's, and fills it in.
template <typename Tensor>
absl::Status CompleteTensor(const TensorSpec& spec, bool batched,
                            const char* what, Tensor& tensor) {
  tensor.set_name(spec.name);
  const std::vector<int64_t> dims(spec.dims.begin() + (batched ? 1 : 0),
                                  spec.dims.end());
  if (tensor.data_type() != inference::TYPE_INVALID &&
      tensor.data_type() != ConfigType(spec.dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, " ", Quoted(spec.name), " has data type ",
        inference::DataType_Name(tensor.data_type()), " in the config, ",
        inference::DataType_Name(ConfigType(spec.dtype)), " in the model"));
  }
  bool fits = tensor.dims_size() == 0 ||
              tensor.dims_size() == static_cast<int>(dims.size());
  for (int i = 0; fits && i < tensor.dims_size(); ++i) {
    fits = Fits(tensor.dims(i), dims[static_cast<size_t>(i)]);
  }
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat(
        what, " ", Quoted(spec.name), " has the dims [",
        absl::StrJoin(tensor.dims(), ","), "] in the config, [",
        absl::StrJoin(dims, ","), "] in the model",
        batched ? " (without the batch, since max_batch_size is above 0)"
                : ""));
  }
  tensor.clear_dims();
  for (int64_t dim : dims) tensor.add_dims(dim);
  tensor.set_data_type(ConfigType(spec.dtype));
  return absl::OkStatus();
}

// Completes a list of tensors in the model's order; those of the config that
// the model lacks are an error.
template <typename List>
absl::Status CompleteTensors(const std::vector<TensorSpec>& specs, bool batched,
                             const char* what, List& list) {
  const List given = list;
  list.Clear();
  for (const auto& tensor : given) {
    const bool known = std::any_of(
        specs.begin(), specs.end(),
        [&](const TensorSpec& spec) { return spec.name == tensor.name(); });
    if (!known) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the config has the ", what, " ", Quoted(tensor.name()),
          ", which the model lacks; it has ",
          absl::StrJoin(specs, ", ", [](std::string* out, const TensorSpec& s) {
            absl::StrAppend(out, Quoted(s.name));
          })));
    }
  }
  for (const TensorSpec& spec : specs) {
    auto& tensor = *list.Add();
    for (const auto& old : given) {
      if (old.name() == spec.name) tensor = old;
    }
    QUERN_RETURN_IF_ERROR(CompleteTensor(spec, batched, what, tensor));
  }
  return absl::OkStatus();
}

// Batches are joined along a first dimension that all tensors share.
absl::Status CheckBatches(const inference::ModelConfig& config,
                          const Model& model) {
  std::string batch;
  for (const auto* specs : {&model.inputs(), &model.outputs()}) {
    for (const TensorSpec& spec : *specs) {
      const std::string first =
          spec.dims.empty() || spec.dims[0] != -1 ? "" : spec.dim_text[0];
      if (first.empty() || (!batch.empty() && first != batch)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "max_batch_size is ", config.max_batch_size(), ", so all inputs ",
            "and outputs must begin with one free dimension, but ",
            Quoted(spec.name), " has the shape [",
            absl::StrJoin(spec.dim_text, ","), "]"));
      }
      batch = first;
    }
  }
  for (int32_t size : config.dynamic_batching().preferred_batch_size()) {
    if (size < 1 || size > config.max_batch_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("preferred_batch_size ", size, ", expected 1 to ",
                       config.max_batch_size(), " (max_batch_size)"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ParsedSettings> ParseConfigText(absl::string_view text) {
  if (text.size() > static_cast<size_t>(kMaxConfigBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the config has ", text.size(), " bytes, at most ",
                     kMaxConfigBytes, " are read"));
  }
  ParsedSettings settings;
  Collector collector;
  google::protobuf::TextFormat::Parser parser;
  parser.AllowUnknownField(true);
  parser.AllowUnknownExtension(true);
  parser.SetRecursionLimit(kMaxRecursion);
  parser.RecordErrorsTo(&collector);
  if (!parser.ParseFromString(std::string(text), &settings.config)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the config does not parse: ", collector.error));
  }
  settings.ignored = std::move(collector.warnings);
  return settings;
}

absl::StatusOr<ParsedSettings> ParseConfigJson(absl::string_view json) {
  if (json.size() > static_cast<size_t>(kMaxConfigBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the config has ", json.size(), " bytes, at most ",
                     kMaxConfigBytes, " are read"));
  }
  ParsedSettings settings;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(
      std::string(json), &settings.config, options);
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the config does not parse as JSON: ",
        absl::CHexEscape(std::string(status.message()).substr(0, 200))));
  }
  return settings;
}

absl::Status CheckConfig(const std::string& name, ParsedSettings& settings) {
  const inference::ModelConfig& config = settings.config;
  if (!config.name().empty() && config.name() != name) {
    return absl::InvalidArgumentError(
        absl::StrCat("the config is for the model ", Quoted(config.name()),
                     ", expected ", Quoted(name)));
  }
  for (const std::string& backend : {config.backend(), config.platform()}) {
    constexpr std::array<const char*, 4> kOurs = {"", "quern", "onnxruntime",
                                                  "onnxruntime_onnx"};
    if (std::find(kOurs.begin(), kOurs.end(), backend) == kOurs.end()) {
      return absl::UnimplementedError(absl::StrCat(
          "the config asks for the backend ", Quoted(backend),
          "; Quern runs ONNX models itself: leave it out, or say quern or "
          "onnxruntime"));
    }
  }
  if (!config.default_model_filename().empty() &&
      config.default_model_filename() != kModelFile) {
    return absl::UnimplementedError(absl::StrCat(
        "default_model_filename is ", Quoted(config.default_model_filename()),
        ", only ", kModelFile, " is supported"));
  }
  if (config.model_transaction_policy().decoupled()) {
    return absl::UnimplementedError(
        "decoupled models are not supported: a request has one answer");
  }
  if (config.max_batch_size() < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_batch_size is ", config.max_batch_size(), ", expected 0 or more"));
  }
  if (config.has_dynamic_batching() && config.max_batch_size() < 2) {
    return absl::InvalidArgumentError(
        "dynamic_batching needs a max_batch_size of 2 or more");
  }
  for (const auto& [key, value] : config.parameters()) {
    constexpr std::array<const char*, 4> kKnown = {"device", "numerics",
                                                   "sizes", "warmup"};
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) {
      if (settings.ignored.size() < kMaxIgnored) {
        settings.ignored.push_back(
            absl::StrCat("parameter ", Quoted(key),
                         " is not known and has no effect; "
                         "known are device, numerics, sizes and warmup."));
      }
      continue;
    }
    QUERN_RETURN_IF_ERROR(CheckParameter(key, value.string_value()));
  }
  return absl::OkStatus();
}

base::CompileOptions CompileOptionsOf(const inference::ModelConfig& config,
                                      const std::string& default_device) {
  base::CompileOptions options;
  const std::string device = ParameterOf(config, "device");
  options.device = device.empty() ? default_device : device;
  if (ParameterOf(config, "numerics") == "strict") {
    options.numerics = base::Numerics::kStrict;
  }
  const absl::StatusOr<WarmUp> sizes = ParseSizes(ParameterOf(config, "sizes"));
  if (sizes.ok()) options.sizes.assign(sizes->begin(), sizes->end());
  return options;
}

std::vector<WarmUp> WarmUpsOf(const inference::ModelConfig& config) {
  return ParseWarmUps(ParameterOf(config, "warmup"))
      .value_or(std::vector<WarmUp>{});
}

absl::StatusOr<inference::ModelConfig> CompleteConfig(
    const inference::ModelConfig& config, const std::string& name,
    const Model& model) {
  inference::ModelConfig out = config;
  const bool batched = config.max_batch_size() > 0;
  if (batched) QUERN_RETURN_IF_ERROR(CheckBatches(config, model));
  out.set_name(name);
  out.set_backend("quern");
  out.set_platform("quern");
  out.set_default_model_filename(kModelFile);
  QUERN_RETURN_IF_ERROR(
      CompleteTensors(model.inputs(), batched, "input", *out.mutable_input()));
  QUERN_RETURN_IF_ERROR(CompleteTensors(model.outputs(), batched, "output",
                                        *out.mutable_output()));
  if (!out.has_version_policy()) {
    out.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  }
  (*out.mutable_parameters())["device"].set_string_value(model.device());
  return out;
}

std::vector<int64_t> SelectVersions(const inference::ModelConfig& config,
                                    std::vector<int64_t> found) {
  std::sort(found.begin(), found.end());
  const inference::ModelVersionPolicy& policy = config.version_policy();
  if (policy.has_all()) return found;
  if (policy.has_specific()) {
    std::vector<int64_t> selected;
    for (int64_t version : found) {
      const auto& wanted = policy.specific().versions();
      if (std::find(wanted.begin(), wanted.end(), version) != wanted.end()) {
        selected.push_back(version);
      }
    }
    return selected;
  }
  const size_t count = policy.has_latest() && policy.latest().num_versions() > 0
                           ? policy.latest().num_versions()
                           : 1;
  if (found.size() > count) {
    found.erase(found.begin(), found.end() - static_cast<ptrdiff_t>(count));
  }
  return found;
}

}  // namespace quern::server
