// SPDX-License-Identifier: Apache-2.0
//
// quern-replay FOLDER [MODEL.onnx ...]: compiles the corpus (the examples,
// random graphs, the given models) for fixed targets that need not be this
// machine, and writes what the compiler made of it:
//
//   FOLDER/LEVEL/SUBJECT.txt   steps, then each kernel with its texts
//   FOLDER/kernels.tsv         a line for each kernel with its estimates
//
// The files are the same on every machine, so two versions of the compiler can
// be compared by comparing their folders.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/cpu_target.h"
#include "engine/compile.h"
#include "server/import/onnx/importer.h"
#include "tests/fuzz/generator.h"
#include "tests/support/example_graphs.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

constexpr int kRandomGraphs = 100;

struct Level {
  const char* name;
  cpu::IsaLevel level;
};
constexpr Level kLevels[] = {{"avx512", cpu::IsaLevel::kAvx512},
                             {"avx2", cpu::IsaLevel::kAvx2},
                             {"sse4", cpu::IsaLevel::kSse4},
                             {"neon", cpu::IsaLevel::kNeon}};

struct Subject {
  std::string name;
  absl::StatusOr<graph::Graph> graph;
};

std::vector<Subject> Corpus(const std::vector<std::string>& models) {
  std::vector<Subject> subjects;
  for (const std::string& name : support::ExampleNames()) {
    subjects.push_back(
        {absl::StrCat("example_", name), support::ExampleGraph(name)});
  }
  for (int seed = 1; seed <= kRandomGraphs; ++seed) {
    absl::StatusOr<fuzz::Case> random =
        fuzz::ParseCase(fuzz::GenerateCase(static_cast<uint64_t>(seed)));
    const std::string name = absl::StrCat("random_", seed);
    if (random.ok()) {
      subjects.push_back({name, std::move(random->graph)});
    } else {
      subjects.push_back({name, random.status()});
    }
  }
  for (const std::string& model : models) {
    const fs::path path(model);
    const std::string folder = path.parent_path().filename();
    subjects.push_back(
        {absl::StrCat(folder, folder.empty() ? "" : "_", path.stem().string()),
         onnx_import::ImportOnnxFile(model)});
  }
  return subjects;
}

// Writes what becomes of `subject` at `level`; an error is what it becomes.
void Write(const Subject& subject, const Level& level,
           const runtime::Codegen& codegen, const fs::path& folder,
           std::ostream& table) {
  std::ofstream out(folder / level.name / (subject.name + ".txt"));
  if (!subject.graph.ok()) {
    out << subject.graph.status() << "\n";
    return;
  }
  base::Target target = cpu::TargetOfLevel(level.level);
  // Of no machine in particular.
  target.peak_flops = 100e9;
  target.read_bandwidth = 10e9;
  const CompileDevice devices[] = {{"cpu", target, &codegen}};
  const absl::StatusOr<CompiledGraph> compiled =
      Compile(*subject.graph, {}, devices);
  if (!compiled.ok()) {
    out << compiled.status() << "\n";
    return;
  }
  out << compiled->schedule_text;
  for (const KernelPlan& kernel : compiled->kernels) {
    out << "== " << kernel.name << ": " << kernel.schedule << "\n"
        << kernel.kernel_text << kernel.source.text;
    table << level.name << '\t' << subject.name << '\t' << kernel.name << '\t'
          << kernel.schedule << '\t' << kernel.share_of_peak << '\t'
          << kernel.operations << '\t' << kernel.live_vectors << '\n';
  }
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    std::cerr << "usage: quern-replay FOLDER [MODEL.onnx ...]\n";
    return 2;
  }
  const fs::path folder = arguments[0];
  const std::vector<Subject> corpus =
      Corpus({arguments.begin() + 1, arguments.end()});
  const auto backend = cpu::MakeCpuBackend();
  for (const Level& level : kLevels) {
    std::error_code error;
    fs::create_directories(folder / level.name, error);
    if (error) {
      std::cerr << "quern-replay: cannot make " << folder / level.name << ": "
                << error.message() << "\n";
      return 1;
    }
  }
  std::ofstream table(folder / "kernels.tsv");
  table << "level\tsubject\tkernel\tschedule\tshare_of_peak\toperations\t"
           "live_vectors\n";
  for (const Subject& subject : corpus) {
    for (const Level& level : kLevels) {
      Write(subject, level, backend->codegen(), folder, table);
    }
  }
  if (!table.flush()) {
    std::cerr << "quern-replay: cannot write to " << folder << "\n";
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace quern

int main(int argc, char** argv) { return quern::Main({argv + 1, argv + argc}); }
