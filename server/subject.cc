// SPDX-License-Identifier: Apache-2.0
#include "server/subject.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "server/digest.h"

namespace quern::server {
namespace {

constexpr int kMaxSizes = 256;
constexpr size_t kMaxTextBytes = 256;
constexpr int64_t kMaxSize = (int64_t{1} << 31) - 1;

}  // namespace

absl::StatusOr<std::string> DigestOf(const std::string& graph_id) {
  const bool valid =
      graph_id.size() == 2 * kDigestBytes &&
      std::all_of(graph_id.begin(), graph_id.end(), [](unsigned char c) {
        return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
      });
  if (valid) return absl::HexStringToBytes(graph_id);
  return absl::InvalidArgumentError(
      absl::StrCat("a graph's id has ", 2 * kDigestBytes,
                   " hexadecimal digits, got ", graph_id.size(), " bytes"));
}

std::string GraphId(const std::string& digest) {
  return absl::BytesToHexString(digest);
}

std::string DefaultDevice(const Engine& engine) {
  const std::vector<DeviceReport> devices = engine.Devices();
  return devices.empty() ? "" : devices[0].name;
}

absl::StatusOr<base::CompileOptions> OptionsOf(
    const v1::CompileSettings& settings, const std::string& default_device) {
  base::CompileOptions options;
  options.device =
      settings.device().empty() ? default_device : settings.device();
  if (options.device.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a device's name of ", options.device.size(), " bytes"));
  }
  switch (settings.numerics()) {
    case v1::CompileSettings::NUMERICS_UNSPECIFIED:
    case v1::CompileSettings::NUMERICS_DEFAULT:
      options.numerics = base::Numerics::kDefault;
      break;
    case v1::CompileSettings::NUMERICS_STRICT:
      options.numerics = base::Numerics::kStrict;
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("numerics ", static_cast<int>(settings.numerics()),
                       " are not known"));
  }
  if (settings.sizes_size() > kMaxSizes) {
    return absl::InvalidArgumentError(absl::StrCat(
        settings.sizes_size(), " sizes are given, the limit is ", kMaxSizes));
  }
  for (const auto& [name, size] : settings.sizes()) {
    if (size < 0 || size > kMaxSize || name.size() > kMaxTextBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("the size '", absl::CHexEscape(name.substr(0, 80)),
                       "' is ", size, ", expected 0 to ", kMaxSize));
    }
    options.sizes.emplace_back(name, size);
  }
  // A map has no order, options that are the same must look the same.
  std::sort(options.sizes.begin(), options.sizes.end());
  return options;
}

absl::StatusOr<Found> FindSubject(const v1::Subject& subject,
                                  const std::string& default_device,
                                  const ModelStore& models,
                                  GraphStore& graphs) {
  Found found;
  switch (subject.kind_case()) {
    case v1::Subject::kGraphId: {
      QUERN_ASSIGN_OR_RETURN(found.digest, DigestOf(subject.graph_id()));
      QUERN_ASSIGN_OR_RETURN(found.options,
                             OptionsOf(subject.settings(), default_device));
      QUERN_ASSIGN_OR_RETURN(const std::shared_ptr<const Content> content,
                             graphs.Find(found.digest));
      if (content->graph == nullptr) {
        return absl::InvalidArgumentError(
            "the id is that of a weight, expected a graph");
      }
      found.graph = content->graph;
      found.model = graphs.FindLoaded(found.digest, found.options);
      return found;
    }
    case v1::Subject::kModel: {
      if (subject.has_settings()) {
        return absl::InvalidArgumentError(
            "a model is compiled already, settings are for graphs");
      }
      QUERN_ASSIGN_OR_RETURN(
          const ModelVersion version,
          models.Find(subject.model().name(), subject.model().version()));
      found.model = version.loaded;
      found.graph = version.loaded->graph();
      found.options = version.loaded->options();
      return found;
    }
    case v1::Subject::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "the subject is neither a graph nor a model");
}

std::vector<std::shared_ptr<const LoadedModel>> AllLoaded(
    const ModelStore& models, const GraphStore& graphs) {
  std::vector<std::shared_ptr<const LoadedModel>> all = graphs.Loaded();
  for (ModelVersion& version : models.List()) {
    if (version.loaded != nullptr) all.push_back(std::move(version.loaded));
  }
  return all;
}

}  // namespace quern::server
