// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"

#include "proto/inference/model_config.pb.h"
#include "server/model_settings.h"
#include "server/model_store.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/message_mutator.h"
#include "tests/fuzz/wire/surface.h"
#include "tests/unit/server/fake_engine.h"

namespace quern::fuzz {
namespace {

using server::ParsedSettings;

// A model of "x" [batch,4] as the seeds describe it.
const Model& TheModel() {
  static const auto* const model =
      new server::EchoModel({{.name = "x",
                              .dtype = ir::DType::kF32,
                              .dims = {-1, 4},
                              .dim_text = {"batch", "4"}}});
  return *model;
}

// What is selected was found, and ascends.
void CheckVersions(const inference::ModelConfig& config) {
  const std::vector<int64_t> found = {7, 1, 3, INT64_MAX};
  const std::vector<int64_t> selected = server::SelectVersions(config, found);
  Expect(std::is_sorted(selected.begin(), selected.end()),
         "versions that ascend");
  for (int64_t version : selected) {
    Expect(std::find(found.begin(), found.end(), version) != found.end(),
           "a version that was found");
  }
}

void Check(const absl::StatusOr<ParsedSettings>& parsed) {
  ExpectNoFault(parsed.status());
  if (!parsed.ok()) return;
  ParsedSettings settings = *parsed;
  const absl::Status checked = server::CheckConfig("model", settings);
  ExpectNoFault(checked);
  if (!checked.ok()) return;
  static_cast<void>(server::CompileOptionsOf(settings.config, "cpu"));
  static_cast<void>(server::WarmUpsOf(settings.config));
  CheckVersions(settings.config);
  const auto complete =
      server::CompleteConfig(settings.config, "model", TheModel());
  ExpectNoFault(complete.status());
  if (!complete.ok()) return;
  // What is complete says the same about the model as it is.
  const auto again = server::CompleteConfig(*complete, "model", TheModel());
  Expect(again.ok() && google::protobuf::util::MessageDifferencer::Equivalent(
                           *complete, *again),
         "that a complete config stays as it is");
}

// The names of files in a repository: what is a version is written so, and a
// model's name leads nowhere else.
void CheckFileName(const std::string& name) {
  const absl::StatusOr<int64_t> version = server::ParseVersion(name);
  ExpectNoFault(version.status());
  Expect(!version.ok() || absl::StrCat(*version) == name,
         "a version as it is written");
  const absl::Status model = server::CheckModelName(name);
  ExpectNoFault(model);
  Expect(!model.ok() || (name.find('/') == std::string::npos &&
                         name.find('\0') == std::string::npos && name != "." &&
                         name != ".."),
         "a name that is no path");
}

void Read(absl::string_view bytes) {
  Check(server::ParseConfigText(bytes));
  Check(server::ParseConfigJson(bytes));
  CheckFileName(std::string(bytes));
}

std::vector<Seed> Seeds() {
  const std::vector<std::string> configs = {
      R"(name: "model" backend: "onnxruntime" max_batch_size: 8
         input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
         output { name: "out_x" data_type: TYPE_FP32 dims: [ -1 ] }
         dynamic_batching { preferred_batch_size: [ 4, 8 ]
                            max_queue_delay_microseconds: 100 }
         version_policy { specific { versions: [ 1, 3 ] } }
         instance_group [ { count: 1 kind: KIND_CPU } ])",
      R"(parameters { key: "warmup"
                      value { string_value: "batch=1,seq=16;batch=8" } }
         parameters { key: "sizes" value { string_value: "batch=8" } }
         parameters { key: "numerics" value { string_value: "strict" } }
         version_policy { latest { num_versions: 2 } })",
      R"({"max_batch_size": 4, "input": [{"name": "x", "dims": ["4"],
          "data_type": "TYPE_FP32"}], "parameters": {"device":
          {"string_value": "cpu"}}, "version_policy": {"all": {}}})",
      R"({"max_batch_size": 0, "parameters": {"numerics": {"string_value":
          "fast"}}, "instance_group": [{"kind": "KIND_AUTO"}]})",
      "17"};
  std::vector<Seed> seeds;
  for (const std::string& config : configs) {
    seeds.push_back({absl::StrCat(seeds.size()), config});
  }
  return seeds;
}

// Changes fields, and now and then the form.
std::string MutatedConfig(absl::string_view bytes, size_t max_size,
                          uint64_t seed, MutateBytes mutate_bytes) {
  const auto text = server::ParseConfigText(bytes);
  const auto json = server::ParseConfigJson(bytes);
  std::string mutated;
  if (seed % 2 == 1 && (text.ok() || json.ok())) {
    inference::ModelConfig config = text.ok() ? text->config : json->config;
    Mutate(config, seed / 2, mutate_bytes);
    if (text.ok() == (seed % 16 != 1)) {
      google::protobuf::TextFormat::PrintToString(config, &mutated);
    } else {
      static_cast<void>(
          google::protobuf::util::MessageToJsonString(config, &mutated));
    }
  }
  if (!mutated.empty() && mutated.size() <= max_size) return mutated;
  return MutatedBytes(bytes, max_size, seed, mutate_bytes);
}

}  // namespace

Surface ConfigSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedConfig};
}

}  // namespace quern::fuzz
