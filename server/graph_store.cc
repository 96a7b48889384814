// SPDX-License-Identifier: Apache-2.0
#include "server/graph_store.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::server {
namespace {

constexpr size_t kLabelDigits = 16;

// What tells the models of a graph apart.
std::string ModelKey(const std::string& digest,
                     const base::CompileOptions& options) {
  std::string key = absl::StrCat(
      absl::BytesToHexString(digest), " ", options.device, " ",
      options.numerics == base::Numerics::kStrict ? "strict" : "default");
  for (const auto& [name, size] : options.sizes) {
    // The length keeps names with spaces or signs from running together.
    absl::StrAppend(&key, " ", name.size(), ":", name, "=", size);
  }
  return key;
}

std::string Label(const std::string& digest,
                  const base::CompileOptions& options) {
  std::string label = absl::StrCat(
      "graph/", absl::BytesToHexString(digest).substr(0, kLabelDigits), "/",
      options.device);
  if (options.numerics == base::Numerics::kStrict) label += "/strict";
  for (const auto& [name, size] : options.sizes) {
    absl::StrAppend(&label, "/", absl::CHexEscape(name.substr(0, 32)), "=",
                    size);
  }
  return label;
}

}  // namespace

GraphStore::GraphStore(int64_t max_bytes, int max_loaded, Engine* engine)
    : max_bytes_(max_bytes),
      max_loaded_(static_cast<size_t>(max_loaded)),
      engine_(engine) {}

absl::Status GraphStore::Reserve(int64_t size) {
  base::MutexLock lock(&mutex_);
  if (size < 0 || size > max_bytes_ - reserved_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "content of ", size, " bytes does not fit beside ", reserved_bytes_,
        " bytes that are arriving; --max-stored-bytes is ", max_bytes_));
  }
  reserved_bytes_ += size;
  EvictContent();
  return absl::OkStatus();
}

void GraphStore::Release(int64_t size) {
  base::MutexLock lock(&mutex_);
  reserved_bytes_ -= size;
}

void GraphStore::EvictContent() {
  while (stored_bytes_ > max_bytes_ - reserved_bytes_ && !contents_.empty()) {
    auto oldest = contents_.begin();
    for (auto it = contents_.begin(); it != contents_.end(); ++it) {
      if (it->second.used < oldest->second.used) oldest = it;
    }
    stored_bytes_ -= oldest->second.content->size_bytes;
    contents_.erase(oldest);
  }
}

void GraphStore::Add(const std::string& digest,
                     std::shared_ptr<const Content> content) {
  base::MutexLock lock(&mutex_);
  reserved_bytes_ -= content->size_bytes;
  Stored& stored = contents_[digest];
  if (stored.content != nullptr) stored_bytes_ -= stored.content->size_bytes;
  stored_bytes_ += content->size_bytes;
  stored.content = std::move(content);
  stored.used = ++clock_;
  EvictContent();
}

absl::StatusOr<std::shared_ptr<const Content>> GraphStore::Find(
    const std::string& digest) {
  base::MutexLock lock(&mutex_);
  const auto it = contents_.find(digest);
  if (it == contents_.end()) {
    return absl::NotFoundError(absl::StrCat(
        "there is no content with the SHA-256 ",
        absl::BytesToHexString(digest.substr(0, 32)), ", submit it (again)"));
  }
  it->second.used = ++clock_;
  return it->second.content;
}

std::shared_ptr<const LoadedModel> GraphStore::FindLoaded(
    const std::string& digest, const base::CompileOptions& options) {
  base::MutexLock lock(&mutex_);
  const auto it = models_.find(ModelKey(digest, options));
  return it == models_.end() ? nullptr : it->second.model;
}

absl::StatusOr<GraphStore::Load> GraphStore::FindOrLoad(
    const std::string& digest, const base::CompileOptions& options,
    const Progress& progress) {
  const std::string key = ModelKey(digest, options);
  {
    base::MutexLock lock(&mutex_);
    for (auto it = models_.find(key); it != models_.end();
         it = models_.find(key)) {
      if (it->second.model != nullptr) {
        it->second.used = ++clock_;
        return Load{it->second.model, false};
      }
      loaded_changed_.Wait(&mutex_);  // Somebody loads it.
    }
    models_[key].used = ++clock_;
  }
  absl::StatusOr<Load> load = [&]() -> absl::StatusOr<Load> {
    QUERN_ASSIGN_OR_RETURN(const std::shared_ptr<const Content> content,
                           Find(digest));
    if (content->graph == nullptr) {
      return absl::InvalidArgumentError(
          "the content is a weight, it cannot run");
    }
    QUERN_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model,
                           engine_->Load(content->graph, options, progress));
    return Load{std::make_shared<const LoadedModel>(
                    Label(digest, options), 0, content->graph, options,
                    std::move(model), inference::ModelConfig()),
                true};
  }();
  // Models are destroyed without the lock: that can take long.
  std::vector<std::shared_ptr<const LoadedModel>> evicted;
  base::MutexLock lock(&mutex_);
  if (load.ok()) {
    models_[key] = {load->model, ++clock_};
    EvictModels(evicted);
  } else {
    models_.erase(key);
  }
  loaded_changed_.SignalAll();
  return load;
}

void GraphStore::EvictModels(
    std::vector<std::shared_ptr<const LoadedModel>>& evicted) {
  while (models_.size() > max_loaded_) {
    auto oldest = models_.end();
    for (auto it = models_.begin(); it != models_.end(); ++it) {
      if (it->second.model == nullptr) continue;
      if (oldest == models_.end() || it->second.used < oldest->second.used) {
        oldest = it;
      }
    }
    if (oldest == models_.end()) return;
    evicted.push_back(std::move(oldest->second.model));
    models_.erase(oldest);
  }
}

std::vector<std::shared_ptr<const LoadedModel>> GraphStore::Loaded() const {
  std::vector<std::shared_ptr<const LoadedModel>> all;
  base::MutexLock lock(&mutex_);
  for (const auto& [key, slot] : models_) {
    if (slot.model != nullptr) all.push_back(slot.model);
  }
  return all;
}

}  // namespace quern::server
