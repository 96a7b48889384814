// SPDX-License-Identifier: Apache-2.0
//
// quern-fuzz: random graphs on the engine's devices, compared with what they
// mean. Prints each failure with its seed and a shrunk graph, and at the end
// what was covered. Exits with 1 if anything failed.
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "backends/ref/oracle.h"
#include "engine/ir/text.h"
#include "tests/fuzz/band.h"
#include "tests/fuzz/engine_runner.h"
#include "tests/fuzz/generator.h"
#include "tests/fuzz/shrink.h"

namespace quern::fuzz {
namespace {

// What went wrong; `kind` stays the same while a case is shrunk.
struct Failure {
  std::string kind;  // Empty: nothing.
  std::string text;
};

// Counts of what the cases that ran had in them.
struct Coverage {
  std::map<std::string, int64_t> ops;
  std::map<std::string, int64_t> dtypes;
  std::map<std::string, int64_t> unsupported;  // By message.
  int64_t graphs = 0;
  int64_t several_kernels = 0;
  int64_t tensors = 0;
  double sharpness = 0;
};

class Fuzzer {
 public:
  Fuzzer(EngineRunner* runner, std::vector<std::string> devices)
      : runner_(runner), devices_(std::move(devices)) {}

  Failure Check(const std::string& text, bool count) {
    const absl::StatusOr<Case> fuzz_case = ParseCase(text);
    if (!fuzz_case.ok()) {
      return {"case", std::string(fuzz_case.status().message())};
    }
    const absl::StatusOr<std::vector<BandTensor>> bands = BandsOf(*fuzz_case);
    if (!bands.ok()) return {"bands", std::string(bands.status().message())};
    if (count) Count(*fuzz_case, *bands);

    const auto expected =
        ref::EvaluateGraph(fuzz_case->graph, fuzz_case->inputs);
    if (!expected.ok()) {
      return {"oracle", std::string(expected.status().message())};
    }
    if (Failure failure = Compare("oracle", *bands, *expected);
        !failure.kind.empty()) {
      return failure;
    }
    for (const std::string& device : devices_) {
      const auto result = runner_->Run(*fuzz_case, device);
      if (!result.ok()) {
        const std::string message(result.status().message());
        if (absl::IsUnimplemented(result.status())) {
          if (count) ++coverage_.unsupported[message];
          continue;
        }
        const std::string phase = message.substr(0, message.find(':'));
        return {absl::StrCat(device, " ", phase),
                absl::StrCat(device, ": ", result.status().ToString())};
      }
      if (count && device == devices_.front() && result->kernels >= 2) {
        ++coverage_.several_kernels;
      }
      if (Failure failure = Compare(device, *bands, result->outputs);
          !failure.kind.empty()) {
        return failure;
      }
    }
    return {};
  }

  std::string ShrinkCase(const std::string& text, const Failure& failure) {
    return Shrink(text, [&](const std::string& smaller) {
      return Check(smaller, /*count=*/false).kind == failure.kind;
    });
  }

  void PrintCoverage() const {
    const auto row = [](const std::string& name, int64_t value) {
      std::cout << absl::StreamFormat("  %-14s %d\n", name, value);
    };
    std::cout << "graphs " << coverage_.graphs << "\n";
    std::cout << absl::StreamFormat(
        "with two or more kernels: %.0f %%\n",
        100.0 * static_cast<double>(coverage_.several_kernels) /
            static_cast<double>(std::max<int64_t>(coverage_.graphs, 1)));
    std::cout << absl::StreamFormat(
        "elements whose band tells right from wrong: %.0f %%\n",
        100.0 * coverage_.sharpness /
            static_cast<double>(std::max<int64_t>(coverage_.tensors, 1)));
    std::cout << "nodes by operation\n";
    for (const auto& [name, value] : coverage_.ops) row(name, value);
    std::vector<std::string> missing;
    for (int i = 0; i < ir::kNumOps; ++i) {
      const auto op = static_cast<ir::Op>(i);
      const bool tensor_op = ir::IsElementwise(op) || ir::IsMovement(op) ||
                             op == ir::Op::kGather || op == ir::Op::kReduce;
      if (tensor_op && !coverage_.ops.contains(ir::Name(op))) {
        missing.push_back(ir::Name(op));
      }
    }
    std::cout << "operations never met: "
              << (missing.empty() ? "none" : absl::StrJoin(missing, " "))
              << "\nnodes by dtype\n";
    for (const auto& [name, value] : coverage_.dtypes) row(name, value);
    for (const auto& [message, value] : coverage_.unsupported) {
      std::cout << "unsupported, " << value << " times: " << message << "\n";
    }
  }

 private:
  void Count(const Case& fuzz_case, const std::vector<BandTensor>& bands) {
    const ir::Arena& arena = *fuzz_case.graph.arena;
    std::vector<ir::Id> roots;
    for (const graph::Port& port : fuzz_case.graph.outputs) {
      roots.push_back(port.node);
    }
    for (ir::Id id : ir::TopologicalOrder(arena, roots)) {
      ++coverage_.ops[ir::Name(arena[id].op)];
      ++coverage_.dtypes[ir::Name(arena[id].dtype)];
    }
    ++coverage_.graphs;
    for (const BandTensor& tensor : bands) {
      coverage_.sharpness += Sharpness(tensor);
      ++coverage_.tensors;
    }
  }

  static Failure Compare(const std::string& device,
                         const std::vector<BandTensor>& bands,
                         const std::vector<ref::Tensor>& tensors) {
    for (size_t i = 0; i < bands.size(); ++i) {
      const std::string wrong = Outside(bands[i], tensors[i]);
      if (!wrong.empty()) {
        return {absl::StrCat(device, " value"),
                absl::StrCat(device, ": output ", i, ": ", wrong)};
      }
    }
    return {};
  }

  EngineRunner* const runner_;
  const std::vector<std::string> devices_;
  Coverage coverage_;
};

int Main(int argc, char** argv) {
  CLI::App app("Runs random graphs and compares the results.");
  int64_t graphs = 300;
  uint64_t seed = 1;
  std::string device_list = "cpu,ref";
  std::string isa = "auto";
  std::string replay;
  std::string save;
  GeneratorOptions generator;
  app.add_option("--graphs", graphs, "number of graphs");
  app.add_option("--seed", seed, "seed of the first one; they count up");
  app.add_option("--device", device_list, "devices, separated by commas");
  app.add_option("--isa", isa,
                 "instructions of the CPU: auto, avx512, avx2 or sse4");
  app.add_option("--replay", replay, "a file with a graph to run instead");
  app.add_option("--save", save, "folder for shrunk failures");
  app.add_option("--max-nodes", generator.max_nodes, "size of the graphs");
  CLI11_PARSE(app, argc, argv);

  const std::vector<std::string> devices =
      absl::StrSplit(device_list, ',', absl::SkipEmpty());
  std::unique_ptr<EngineRunner> runner;
  if (!devices.empty()) {
    auto created = EngineRunner::Create(devices, {.isa = isa});
    if (absl::IsUnavailable(created.status())) {
      std::cout << "skipped: " << created.status().message() << "\n";
      return 0;
    }
    if (!created.ok()) {
      std::cerr << "quern-fuzz: " << created.status() << "\n";
      return 2;
    }
    runner = std::move(*created);
  }
  Fuzzer fuzzer(runner.get(), devices);

  if (!replay.empty()) {
    std::ifstream file(replay);
    std::stringstream text;
    text << file.rdbuf();
    if (!file) {
      std::cerr << "quern-fuzz: cannot read " << replay << "\n";
      return 2;
    }
    const Failure failure = fuzzer.Check(text.str(), /*count=*/true);
    std::cout << (failure.kind.empty() ? "agrees" : failure.text) << "\n";
    return failure.kind.empty() ? 0 : 1;
  }

  int64_t failures = 0;
  for (int64_t i = 0; i < graphs; ++i) {
    const uint64_t this_seed = seed + static_cast<uint64_t>(i);
    const std::string text = GenerateCase(this_seed, generator);
    const Failure failure = fuzzer.Check(text, /*count=*/true);
    if (failure.kind.empty()) continue;
    ++failures;
    std::cout << "FAIL seed " << this_seed << ": " << failure.text << "\n";
    const std::string small = fuzzer.ShrinkCase(text, failure);
    std::cout << "shrunk: " << fuzzer.Check(small, false).text << "\n"
              << small << std::endl;
    if (save.empty()) continue;
    std::ofstream(absl::StrCat(save, "/seed-", this_seed, ".txt")) << small;
  }
  fuzzer.PrintCoverage();
  std::cout << graphs - failures << " agreed, " << failures << " failed\n";
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace quern::fuzz

int main(int argc, char** argv) { return quern::fuzz::Main(argc, argv); }
