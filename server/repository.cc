// SPDX-License-Identifier: Apache-2.0
#include "server/repository.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include <spdlog/spdlog.h>

#include "engine/base/status_macros.h"
#include "server/codec.h"
#include "server/import/onnx/importer.h"

namespace quern::server {
namespace {

namespace fs = std::filesystem;

constexpr char kModelFile[] = "model.onnx";

// The names in a folder that `wanted` accepts, sorted.
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

void ListVersions(const fs::path& folder, const std::string& name,
                  RepositoryListing& listing) {
  size_t found = 0;
  for (const std::string& text : NamesIn(folder)) {
    const fs::path path = folder / text;
    std::error_code error;
    if (!fs::is_directory(path, error)) continue;  // config.pbtxt and such.
    const absl::StatusOr<int64_t> version = ParseVersion(text);
    if (!version.ok()) {
      listing.ignored.push_back(
          absl::StrCat(path.string(), ": ", version.status().message()));
      continue;
    }
    listing.models.push_back({name, *version, (path / kModelFile).string()});
    ++found;
  }
  if (found == 0) {
    listing.ignored.push_back(
        absl::StrCat(folder.string(), ": has no folder for a version"));
  }
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadModel(
    const RepositoryModel& model, const RepositoryOptions& options,
    Engine& engine, telemetry::Metrics& metrics) {
  std::shared_ptr<const graph::Graph> graph;
  {
    onnx_import::ImportOptions import_options;
    import_options.max_bytes = options.max_graph_bytes;
    import_options.max_nodes = options.max_graph_nodes;
    QUERN_ASSIGN_OR_RETURN(
        graph::Graph imported,
        onnx_import::ImportOnnxFile(model.path, import_options));
    QUERN_RETURN_IF_ERROR(CheckNames(imported));
    graph = std::make_shared<const graph::Graph>(std::move(imported));
  }
  base::CompileOptions compile_options;
  compile_options.device = options.device;
  QUERN_ASSIGN_OR_RETURN(
      std::shared_ptr<const Model> compiled,
      engine.Load(graph, compile_options, [](absl::string_view, int, int) {}));
  return std::make_shared<const LoadedModel>(
      ModelLabel(model.name, model.version), std::move(graph),
      std::move(compile_options), std::move(compiled), &metrics);
}

}  // namespace

absl::StatusOr<RepositoryListing> ListRepository(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return absl::NotFoundError(
        absl::StrCat("the model repository ", folder, " is no folder"));
  }
  RepositoryListing listing;
  for (const std::string& name : NamesIn(folder)) {
    const fs::path path = fs::path(folder) / name;
    if (!fs::is_directory(path, error)) continue;
    if (const absl::Status status = CheckModelName(name); !status.ok()) {
      listing.ignored.push_back(
          absl::StrCat(path.string(), ": ", status.message()));
      continue;
    }
    ListVersions(path, name, listing);
  }
  std::sort(listing.models.begin(), listing.models.end(),
            [](const RepositoryModel& a, const RepositoryModel& b) {
              return std::tie(a.name, a.version) < std::tie(b.name, b.version);
            });
  return listing;
}

void LoadRepository(const RepositoryListing& listing,
                    const RepositoryOptions& options, Engine& engine,
                    ModelStore& models, telemetry::Metrics& metrics) {
  for (const std::string& ignored : listing.ignored) {
    spdlog::warn("model repository: {}", ignored);
  }
  for (const RepositoryModel& model : listing.models) {
    const auto begun = models.BeginLoad(model.name, model.version);
    if (!begun.ok()) {
      spdlog::error("model {} version {}: {}", model.name, model.version,
                    std::string(begun.status().message()));
      continue;
    }
    auto loaded = LoadModel(model, options, engine, metrics);
    if (loaded.ok()) {
      const Model& compiled = (*loaded)->model();
      const CompileReport& report = compiled.compile_report();
      spdlog::info(
          "model {} version {} is ready: {} kernels, {} compiled, {:.0f} ms",
          model.name, model.version, report.kernels, report.compiled,
          report.total_ms);
      for (const Note& note : compiled.notes()) {
        spdlog::info("model {} version {}: note {} {}: {}", model.name,
                     model.version, note.kind, note.kernel, note.text);
      }
    } else {
      spdlog::error("model {} version {} could not be loaded: {}", model.name,
                    model.version, std::string(loaded.status().message()));
    }
    models.EndLoad(model.name, model.version, std::move(loaded));
  }
}

}  // namespace quern::server
