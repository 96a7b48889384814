// SPDX-License-Identifier: Apache-2.0
//
// Compares the texts of every stage of a compile with the files beside this
// one, or rewrites them:
//
//   golden_test [--update]
//
// A folder a case: graph.ir (simplified), schedule.txt, kernel.ir (as cut from
// the graph, then as scheduled) and cpu.ll (before LLVM sees it). The target
// is a fixed one, so the files are the same on every machine. A file that is
// missing is written, and the run fails all the same. Goldens show the shape
// of what is generated; whether it is right is for the other tests.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/cpu_target.h"
#include "engine/base/status_macros.h"
#include "engine/compile.h"
#include "tests/support/example_graphs.h"

namespace quern {
namespace {

struct Case {
  const char* folder;
  const char* example;
};

constexpr Case kCases[] = {
    {"conv_bias_relu", "small_conv_bias_relu"},
    {"dynamic_add", "dynamic_add"},
    {"elementwise_chain", "elementwise_chain"},
    {"layer_norm", "layer_norm"},
    {"matmul_bias_gelu", "small_matmul_bias_gelu"},
    {"reduce_axis0", "reduce_axis0"},
    {"softmax_f32", "softmax_f32"},
    {"stack_times_x", "stack_times_x"},
};

struct File {
  std::string name;
  std::string content;
};

absl::StatusOr<std::vector<File>> FilesOf(const std::string& example) {
  QUERN_ASSIGN_OR_RETURN(const graph::Graph graph,
                         support::ExampleGraph(example));
  const auto backend = cpu::MakeCpuBackend();
  const std::vector<CompileDevice> devices = {
      {"cpu", cpu::TargetOfLevel(cpu::IsaLevel::kAvx512), &backend->codegen()}};
  QUERN_ASSIGN_OR_RETURN(const CompiledGraph compiled,
                         Compile(graph, {}, devices));
  std::string kernels;
  std::string sources;
  for (const KernelPlan& kernel : compiled.kernels) {
    absl::StrAppend(&kernels, "== ", kernel.name, ": ", kernel.summary, "\n",
                    kernel.kernel_text);
    absl::StrAppend(&sources, kernel.source.text);
  }
  return std::vector<File>{{"graph.ir", compiled.graph_text},
                           {"schedule.txt", compiled.schedule_text},
                           {"kernel.ir", kernels},
                           {"cpu.ll", sources}};
}

// Prints the first line that differs, with the one before it.
void PrintDifference(const std::string& expected, const std::string& got) {
  const std::vector<std::string> a = absl::StrSplit(expected, '\n');
  const std::vector<std::string> b = absl::StrSplit(got, '\n');
  for (size_t i = 0; i < a.size() || i < b.size(); ++i) {
    const std::string& want = i < a.size() ? a[i] : "(the end)";
    const std::string& have = i < b.size() ? b[i] : "(the end)";
    if (want == have) continue;
    if (i > 0) std::printf("  line %zu:   %s\n", i, a[i - 1].c_str());
    std::printf("  line %zu: - %s\n", i + 1, want.c_str());
    std::printf("  line %zu: + %s\n", i + 1, have.c_str());
    return;
  }
}

// True if the file holds what it should, or does so now and was to.
bool Check(const std::filesystem::path& path, const std::string& content,
           bool update) {
  std::ifstream in(path, std::ios::binary);
  const bool exists = in.good();
  const std::string expected{std::istreambuf_iterator<char>(in), {}};
  if (exists && expected == content) return true;
  if (update || !exists) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    std::printf("%s: written\n", path.c_str());
    return update;
  }
  std::printf("%s: differs\n", path.c_str());
  PrintDifference(expected, content);
  return false;
}

int Run(bool update) {
  const std::filesystem::path folder = QUERN_GOLDEN_FOLDER;
  int failures = 0;
  for (const Case& c : kCases) {
    const absl::StatusOr<std::vector<File>> files = FilesOf(c.example);
    if (!files.ok()) {
      std::printf("%s: %s\n", c.folder, files.status().ToString().c_str());
      ++failures;
      continue;
    }
    for (const File& file : *files) {
      if (!Check(folder / c.folder / file.name, file.content, update)) {
        ++failures;
      }
    }
  }
  if (failures > 0) {
    std::printf("%d failures; './dev golden --update' accepts what differs\n",
                failures);
  }
  return failures > 0 ? 1 : 0;
}

}  // namespace
}  // namespace quern

int main(int argc, char** argv) {
  const std::string argument = argc > 1 ? argv[1] : "";
  if (argc > 2 || (argc == 2 && argument != "--update")) {
    std::fprintf(stderr, "usage: golden_test [--update]\n");
    return 2;
  }
  return quern::Run(argument == "--update");
}
