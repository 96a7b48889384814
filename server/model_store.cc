// SPDX-License-Identifier: Apache-2.0
#include "server/model_store.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/status_macros.h"
#include "server/quoted.h"

namespace quern::server {
namespace {

constexpr size_t kMaxNameBytes = 128;
constexpr int64_t kMaxVersion = int64_t{1} << 62;

}  // namespace

absl::Status CheckModelName(const std::string& name) {
  bool valid = !name.empty() && name.size() <= kMaxNameBytes &&
               name[0] != '.' && !absl::StrContains(name, "..");
  for (const unsigned char c : name) {
    valid =
        valid && (absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-');
  }
  if (valid) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "a model's name has 1 to ", kMaxNameBytes,
      " letters, digits, dots, dashes and underscores, no two dots in a row "
      "and none in front, got ",
      Quoted(name)));
}

absl::StatusOr<int64_t> ParseVersion(const std::string& text) {
  int64_t version = 0;
  if (!text.empty() && text[0] >= '1' && text[0] <= '9' &&
      absl::SimpleAtoi(text, &version) && version <= kMaxVersion &&
      absl::StrCat(version) == text) {
    return version;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "a version is a positive number such as 1, got ", Quoted(text)));
}

ModelVersion ModelStore::Describe(const std::string& name, int64_t version,
                                  const Entry& entry) {
  const char* state = entry.loaded != nullptr ? "READY"
                      : entry.loading         ? "LOADING"
                                              : "UNAVAILABLE";
  return {name, version, entry.loaded, state, entry.reason};
}

absl::StatusOr<ModelVersion> ModelStore::Find(
    const std::string& name, const std::string& version) const {
  base::MutexLock lock(&mutex_);
  const auto model = models_.find(name);
  if (model == models_.end()) {
    return absl::NotFoundError(
        absl::StrCat("there is no model ", Quoted(name)));
  }
  if (version.empty()) {
    for (auto it = model->second.rbegin(); it != model->second.rend(); ++it) {
      if (it->second.loaded != nullptr) {
        return Describe(name, it->first, it->second);
      }
    }
    const auto& [number, entry] = *model->second.rbegin();
    return entry.loading ? absl::UnavailableError(
                               absl::StrCat("model ", Quoted(name), " version ",
                                            number, " is being loaded"))
                         : absl::NotFoundError(absl::StrCat(
                               "model ", Quoted(name), " version ", number,
                               " could not be loaded: ", entry.reason));
  }
  const absl::StatusOr<int64_t> number = ParseVersion(version);
  const auto entry =
      number.ok() ? model->second.find(*number) : model->second.end();
  if (entry == model->second.end()) {
    return absl::NotFoundError(absl::StrCat(
        "model ", Quoted(name), " has no version ", Quoted(version),
        ", it has ",
        absl::StrJoin(model->second, ", ", [](std::string* out, const auto& e) {
          absl::StrAppend(out, e.first);
        })));
  }
  if (entry->second.loaded != nullptr) {
    return Describe(name, *number, entry->second);
  }
  if (entry->second.loading) {
    return absl::UnavailableError(absl::StrCat(
        "model ", Quoted(name), " version ", *number, " is being loaded"));
  }
  return absl::NotFoundError(
      absl::StrCat("model ", Quoted(name), " version ", *number,
                   " could not be loaded: ", entry->second.reason));
}

absl::StatusOr<int64_t> ModelStore::BeginLoad(const std::string& name,
                                              int64_t version) {
  QUERN_RETURN_IF_ERROR(CheckModelName(name));
  base::MutexLock lock(&mutex_);
  int count = 0;
  for (const auto& [other, versions] : models_) {
    count += static_cast<int>(versions.size());
  }
  const auto model = models_.find(name);
  if (version == 0) {
    version = model == models_.end() ? 1 : model->second.rbegin()->first + 1;
  }
  const bool known = model != models_.end() && model->second.contains(version);
  if (!known && count >= max_models_) {
    metrics_->Add(telemetry::Metric::kLoadRejects, {"models"});
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", count,
                     " models, those that failed counted too, the limit of "
                     "--max-loaded-models; unload one first"));
  }
  Entry& entry = models_[name][version];
  if (entry.loading) {
    return absl::AbortedError(absl::StrCat("model ", Quoted(name), " version ",
                                           version,
                                           " is being loaded already"));
  }
  entry.loading = true;
  return version;
}

void ModelStore::EndLoad(
    const std::string& name, int64_t version,
    absl::StatusOr<std::shared_ptr<const LoadedModel>> loaded) {
  metrics_->Add(telemetry::Metric::kModelLoads,
                {CodeName(loaded.status().code())});
  std::shared_ptr<const LoadedModel> replaced;
  base::MutexLock lock(&mutex_);
  Entry& entry = models_[name][version];
  entry.loading = false;
  if (loaded.ok()) {
    replaced = std::exchange(entry.loaded, *std::move(loaded));
    entry.reason.clear();
  } else {
    entry.reason = std::string(loaded.status().message());
  }
  CountReady();
}

absl::Status ModelStore::Remove(const std::string& name, int64_t version) {
  std::shared_ptr<const LoadedModel> removed;
  base::MutexLock lock(&mutex_);
  const auto model = models_.find(name);
  if (model == models_.end() || !model->second.contains(version)) {
    return absl::NotFoundError(
        absl::StrCat("there is no model ", Quoted(name), " version ", version));
  }
  Entry& entry = model->second[version];
  if (entry.loading) {
    return absl::AbortedError(absl::StrCat("model ", Quoted(name), " version ",
                                           version, " is being loaded"));
  }
  removed = entry.loaded;
  model->second.erase(version);
  if (model->second.empty()) models_.erase(model);
  CountReady();
  return absl::OkStatus();
}

std::vector<ModelVersion> ModelStore::List() const {
  std::vector<ModelVersion> all;
  base::MutexLock lock(&mutex_);
  for (const auto& [name, versions] : models_) {
    for (const auto& [version, entry] : versions) {
      all.push_back(Describe(name, version, entry));
    }
  }
  return all;
}

void ModelStore::CountReady() {
  double ready = 0;
  for (const auto& [name, versions] : models_) {
    for (const auto& [version, entry] : versions) {
      ready += entry.loaded != nullptr;
    }
  }
  metrics_->Set(telemetry::Metric::kModelsLoaded, {}, ready);
}

}  // namespace quern::server
