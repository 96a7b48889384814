// SPDX-License-Identifier: Apache-2.0
#include "server/repository.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <malloc.h>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "server/codec.h"
#include "server/import/onnx/importer.h"
#include "server/warm_up.h"

namespace quern::server {
namespace {

namespace fs = std::filesystem;

constexpr char kModelFile[] = "model.onnx";
constexpr char kConfigFile[] = "config.pbtxt";

// The names in a folder, sorted.
std::vector<std::string> NamesIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::string> ReadConfig(const std::string& path, int64_t size) {
  if (size > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(kConfigFile, " has ", size, " bytes, at most ",
                     kMaxConfigBytes, " are read"));
  }
  std::string text(static_cast<size_t>(size), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), size);
  if (file.gcount() != size) {
    return absl::UnavailableError(absl::StrCat("cannot read ", kConfigFile));
  }
  return text;
}

}  // namespace

class Repository::Turn {
 public:
  Turn(Repository* repository, std::string name)
      : repository_(*repository), name_(std::move(name)) {
    base::MutexLock lock(&repository_.mutex_);
    while (repository_.busy_.contains(name_)) {
      repository_.turn_.Wait(&repository_.mutex_);
    }
    repository_.busy_.insert(name_);
  }
  ~Turn() {
    base::MutexLock lock(&repository_.mutex_);
    repository_.busy_.erase(name_);
    repository_.turn_.SignalAll();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Repository& repository_;
  const std::string name_;
};

Repository::Repository(const RepositoryOptions& options, Engine* engine,
                       ModelStore* models)
    : options_(options), engine_(*engine), models_(*models) {}

absl::StatusOr<std::unique_ptr<Repository>> Repository::Open(
    const RepositoryOptions& options, Engine* engine, ModelStore* models) {
  if (!options.folder.empty()) {
    std::error_code error;
    fs::directory_iterator(options.folder, error);
    if (error) {
      return absl::NotFoundError(
          absl::StrCat("--model-repository: cannot read the folder ",
                       options.folder, ": ", error.message()));
    }
  }
  return std::unique_ptr<Repository>(new Repository(options, engine, models));
}

std::string Repository::PathOf(const std::string& name) const {
  return absl::StrCat(options_.folder, "/", name);
}

std::vector<std::string> Repository::Names() const {
  std::vector<std::string> names;
  if (options_.folder.empty()) return names;
  for (const std::string& name : NamesIn(options_.folder)) {
    std::error_code error;
    if (CheckModelName(name).ok() && fs::is_directory(PathOf(name), error)) {
      names.push_back(name);
    }
  }
  return names;
}

bool Repository::Has(const std::string& name) const {
  std::error_code error;
  return !options_.folder.empty() && CheckModelName(name).ok() &&
         fs::is_directory(PathOf(name), error);
}

Repository::Found Repository::Look(const std::string& name) const {
  const auto stamp = [](const std::string& path) {
    Stamp out;
    struct stat status = {};
    if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      out.size = status.st_size;
      out.mtime_ns = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 +
                     status.st_mtim.tv_nsec;
      out.inode = status.st_ino;
    }
    return out;
  };
  Found found;
  if (!Has(name)) return found;
  const std::string folder = PathOf(name);
  found.config = stamp(absl::StrCat(folder, "/", kConfigFile));
  for (const std::string& text : NamesIn(folder)) {
    std::error_code error;
    const std::string path = absl::StrCat(folder, "/", text);
    if (!fs::is_directory(path, error)) continue;
    const absl::StatusOr<int64_t> version = ParseVersion(text);
    if (version.ok()) {
      found.versions[*version] = stamp(absl::StrCat(path, "/", kModelFile));
    } else {
      found.ignored.push_back(
          absl::StrCat(path, ": ", version.status().message()));
    }
  }
  return found;
}

absl::StatusOr<ParsedSettings> Repository::ReadSettings(
    const std::string& name, const Found& found,
    const std::optional<LoadOverride>& override) const {
  ParsedSettings settings;
  if (override.has_value()) {
    QUERN_ASSIGN_OR_RETURN(settings, ParseConfigJson(override->config_json));
  } else if (found.config.size >= 0) {
    QUERN_ASSIGN_OR_RETURN(
        const std::string text,
        ReadConfig(absl::StrCat(PathOf(name), "/", kConfigFile),
                   found.config.size));
    QUERN_ASSIGN_OR_RETURN(settings, ParseConfigText(text));
  }
  QUERN_RETURN_IF_ERROR(CheckConfig(name, settings));
  return settings;
}

absl::Status Repository::Load(const std::string& name,
                              const std::optional<LoadOverride>& override) {
  QUERN_RETURN_IF_ERROR(CheckModelName(name));
  const Turn turn(this, name);
  return LoadInTurn(name, override);
}

absl::Status Repository::LoadInTurn(
    const std::string& name, const std::optional<LoadOverride>& override) {
  const Found found = Look(name);
  const bool files = override.has_value() && !override->files.empty();
  if (found.versions.empty() && !files) {
    return absl::NotFoundError(absl::StrCat("the repository has no model '",
                                            name,
                                            "' (with a folder for a version)"));
  }
  for (const std::string& ignored : found.ignored) {
    spdlog::warn("model repository: {}", ignored);
  }
  std::vector<int64_t> there;
  if (files) {
    for (const auto& [version, bytes] : override->files) {
      there.push_back(version);
    }
  } else {
    for (const auto& [version, stamp] : found.versions) {
      there.push_back(version);
    }
  }
  const absl::StatusOr<ParsedSettings> settings =
      ReadSettings(name, found, override);
  Mine mine{.found = found, .overridden = override.has_value()};
  absl::Status first;
  if (!settings.ok()) {
    // The versions that there are get the reason; none is touched.
    first = settings.status();
    for (int64_t version : SelectVersions(inference::ModelConfig(), there)) {
      if (models_.BeginLoad(name, version).ok()) {
        models_.EndLoad(name, version, first);
      }
    }
  } else {
    for (const std::string& ignored : settings->ignored) {
      spdlog::warn("model {}: {}: {}", name, kConfigFile, ignored);
    }
    const std::vector<int64_t> selected =
        SelectVersions(settings->config, there);
    if (selected.empty()) {
      first = absl::NotFoundError(absl::StrCat("the version policy of model '",
                                               name, "' selects none of ",
                                               absl::StrJoin(there, ", ")));
    }
    for (int64_t version : selected) {
      const auto stamp = found.versions.find(version);
      const absl::Status status = LoadVersion(
          name, version,
          stamp == found.versions.end() ? Stamp{} : stamp->second,
          files ? &override->files.at(version) : nullptr, *settings);
      if (first.ok()) first = status;
      mine.versions.insert(version);
    }
  }
  std::set<int64_t> dropped;
  {
    base::MutexLock lock(&mutex_);
    Mine& old = mine_[name];
    for (int64_t version : old.versions) {
      // After an error the versions that served go on.
      if (mine.versions.contains(version)) continue;
      if (first.ok()) {
        dropped.insert(version);
      } else {
        mine.versions.insert(version);
      }
    }
    old = std::move(mine);
  }
  Drop(name, dropped);
  return first;
}

absl::Status Repository::LoadVersion(const std::string& name, int64_t version,
                                     const Stamp& stamp,
                                     const absl::string_view* bytes,
                                     const ParsedSettings& settings) {
  QUERN_RETURN_IF_ERROR(models_.BeginLoad(name, version).status());
  auto loaded = base::NoThrow(
      [&] { return Compile(name, version, stamp, bytes, settings); });
  const absl::Status status = loaded.status();
  if (status.ok()) {
    const Model& model = (*loaded)->model();
    const CompileReport& report = model.compile_report();
    spdlog::info(
        "model {} version {} is ready: {} kernels, {} compiled, {:.0f} ms",
        name, version, report.kernels, report.compiled, report.total_ms);
    for (const Note& note : model.notes()) {
      spdlog::info("model {} version {}: note {} {}: {}", name, version,
                   note.kind, note.kernel, note.text);
    }
  } else {
    spdlog::error("model {} version {} could not be loaded: {}", name, version,
                  std::string(status.message()));
  }
  models_.EndLoad(name, version, std::move(loaded));
  return status;
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> Repository::Compile(
    const std::string& name, int64_t version, const Stamp& stamp,
    const absl::string_view* bytes, const ParsedSettings& settings) {
  onnx_import::ImportOptions import_options;
  import_options.max_bytes = options_.max_graph_bytes;
  import_options.max_nodes = options_.max_graph_nodes;
  absl::StatusOr<graph::Graph> imported =
      bytes != nullptr
          ? onnx_import::ImportOnnx(*bytes, import_options)
          : onnx_import::ImportOnnxFile(
                absl::StrCat(PathOf(name), "/", version, "/", kModelFile),
                import_options);
  QUERN_RETURN_IF_ERROR(imported.status());
  if (bytes == nullptr && Look(name).versions[version] != stamp) {
    return absl::AbortedError(
        absl::StrCat(version, "/", kModelFile,
                     " changed while it was read; move files into place by "
                     "one rename, and load again"));
  }
  QUERN_RETURN_IF_ERROR(CheckNames(*imported));
  const auto graph = std::make_shared<graph::Graph>(*std::move(imported));
  const base::CompileOptions options =
      CompileOptionsOf(settings.config, options_.device);
  QUERN_ASSIGN_OR_RETURN(
      std::shared_ptr<const Model> model,
      engine_.Load(graph, options, [](absl::string_view, int, int) {}));
  // The model has what it needs of the weights; the rest, and what it has
  // packed, goes.
  for (graph::Weight& weight : graph->weights) weight.data = graph::Bytes();
  QUERN_ASSIGN_OR_RETURN(inference::ModelConfig config,
                         CompleteConfig(settings.config, name, *model));
  QUERN_RETURN_IF_ERROR(RunWarmUps(*model, WarmUpsOf(config)));
  return std::make_shared<const LoadedModel>(
      name, version, graph, options, std::move(model), std::move(config));
}

void Repository::Drop(const std::string& name,
                      const std::set<int64_t>& versions) {
  for (int64_t version : versions) {
    const absl::Status status = models_.Remove(name, version);
    if (status.ok()) {
      spdlog::info("model {} version {} is unloaded", name, version);
    }
  }
  // What the heap holds of it goes back to the system.
  if (!versions.empty()) malloc_trim(0);
}

absl::Status Repository::Unload(const std::string& name) {
  QUERN_RETURN_IF_ERROR(CheckModelName(name));
  const Turn turn(this, name);
  std::set<int64_t> versions;
  {
    base::MutexLock lock(&mutex_);
    const auto it = mine_.find(name);
    if (it != mine_.end()) {
      versions = std::move(it->second.versions);
      mine_.erase(it);
    }
  }
  // What was published by a client goes the same way.
  for (const ModelVersion& version : models_.List()) {
    if (version.name == name) versions.insert(version.version);
  }
  if (versions.empty()) {
    return absl::NotFoundError(
        absl::StrCat("the model '", name, "' is not loaded"));
  }
  Drop(name, versions);
  return absl::OkStatus();
}

void Repository::LoadAll(const std::vector<std::string>& names) {
  const std::vector<std::string> all = names.empty() ? Names() : names;
  for (const std::string& name : NamesIn(options_.folder)) {
    std::error_code error;
    if (!fs::is_directory(PathOf(name), error)) continue;
    if (const absl::Status status = CheckModelName(name); !status.ok()) {
      spdlog::warn("model repository: {}: {}", name,
                   std::string(status.message()));
    }
  }
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < all.size(); i = next++) {
      const absl::Status status = Load(all[i], std::nullopt);
      if (!status.ok()) {
        spdlog::error("model {}: {}", all[i], std::string(status.message()));
      }
    }
  };
  std::vector<std::thread> threads;
  const size_t count = std::min<size_t>(options_.threads, all.size());
  for (size_t i = 1; i < count; ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

void Repository::Poll() {
  // A folder that cannot be read for a while takes no model away.
  std::error_code error;
  if (fs::directory_iterator(options_.folder, error); error) {
    spdlog::error("model repository: cannot read the folder {}: {}",
                  options_.folder, error.message());
    return;
  }
  std::set<std::string> there;
  for (const std::string& name : Names()) {
    there.insert(name);
    const Turn turn(this, name);
    const Found found = Look(name);
    bool changed = false;
    {
      base::MutexLock lock(&mutex_);
      const auto it = mine_.find(name);
      changed = !found.versions.empty() &&
                (it == mine_.end() ||
                 (!it->second.overridden && !(it->second.found == found)));
    }
    if (!changed) continue;
    const absl::Status status = LoadInTurn(name, std::nullopt);
    if (!status.ok()) {
      spdlog::error("model {}: {}", name, std::string(status.message()));
    }
  }
  std::vector<std::string> gone;
  {
    base::MutexLock lock(&mutex_);
    for (const auto& [name, mine] : mine_) {
      if (!mine.overridden && !there.contains(name)) gone.push_back(name);
    }
  }
  for (const std::string& name : gone) {
    if (const absl::Status status = Unload(name); !status.ok()) {
      spdlog::error("model {}: {}", name, std::string(status.message()));
    }
  }
}

}  // namespace quern::server
