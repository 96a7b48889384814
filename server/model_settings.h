// SPDX-License-Identifier: Apache-2.0
//
// What an operator says about a model beside its file: Triton's config.pbtxt,
// or the same as JSON in a load request. Fields that Quern does not have are
// noted, not refused, since such files are written for other servers too;
// what contradicts the model, or asks for another backend, is refused.
//
// Pure functions; any thread may call them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/base/compile_options.h"
#include "engine/engine.h"
#include "proto/inference/model_config.pb.h"

namespace quern::server {

// A config and what in it has no effect, a sentence each.
struct ParsedSettings {
  inference::ModelConfig config;
  std::vector<std::string> ignored;
};

// A config.pbtxt is longer only by mistake or malice.
inline constexpr int64_t kMaxConfigBytes = int64_t{1} << 20;

// kInvalidArgument, with the line, if it cannot be parsed.
[[nodiscard]] absl::StatusOr<ParsedSettings> ParseConfigText(
    absl::string_view text);
[[nodiscard]] absl::StatusOr<ParsedSettings> ParseConfigJson(
    absl::string_view json);

// The parts of a config that can be judged without the model: its name must be
// `name` or missing, its backend one that runs ONNX files, its file model.onnx,
// and Quern's parameters must have values that they can have. Unknown
// parameters go to `ignored`.
[[nodiscard]] absl::Status CheckConfig(const std::string& name,
                                       ParsedSettings& settings);

// How to compile: the parameters "device", "numerics" and "sizes"
// ("batch=8,seq=128") of a checked config.
[[nodiscard]] base::CompileOptions CompileOptionsOf(
    const inference::ModelConfig& config, const std::string& default_device);

// The free sizes of each run before the model is ready: the parameter "warmup"
// ("batch=1,seq=16;batch=8,seq=128"; "least" for one run with the least sizes).
using WarmUp = std::map<std::string, int64_t>;
[[nodiscard]] std::vector<WarmUp> WarmUpsOf(
    const inference::ModelConfig& config);

// Checks what the config says about inputs, outputs and batches against the
// model, and fills in the rest, as clients expect to read it: with
// max_batch_size above 0 the dims of inputs and outputs lack the batch.
// kInvalidArgument, naming the tensor, if they differ.
[[nodiscard]] absl::StatusOr<inference::ModelConfig> CompleteConfig(
    const inference::ModelConfig& config, const std::string& name,
    const Model& model);

// The versions that the policy selects from `found`, ascending: the greatest
// one unless it says otherwise.
[[nodiscard]] std::vector<int64_t> SelectVersions(
    const inference::ModelConfig& config, std::vector<int64_t> found);

}  // namespace quern::server
