// SPDX-License-Identifier: Apache-2.0
//
// peers-runner: what `./dev bench peers` drives, by lines on standard input.
// turns.py has the protocol.
//
//   peers-runner --model FILE --inputs FOLDER   runs a model in an engine
//   peers-runner --calibrate                    runs a loop of fixed work
//   peers-runner --yardstick KIND --bytes N     runs what bounds a machine
//
// yardsticks.h has the loops.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "backends/register_all.h"
#include "engine/base/host_memory.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "server/import/onnx/importer.h"
#include "server/import/onnx/model_file.h"
#include "tests/bench/peers/work.h"
#include "tests/bench/peers/yardsticks.h"

namespace quern::bench {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Flags {
  std::string model;
  std::string inputs;
  std::string cache;
  bool kernels = false;
  bool no_statistics = false;
  bool calibrate = false;
  std::string yardstick;
  int64_t bytes = int64_t{64} << 20;
  int threads = 0;
};

// An engine with the device "cpu", and compilers in this process.
class CpuEngine {
 public:
  static absl::StatusOr<std::unique_ptr<CpuEngine>> Create(
      int threads, const std::string& cache) {
    auto made = std::make_unique<CpuEngine>();
    std::vector<std::unique_ptr<runtime::Backend>> backends = MakeAllBackends();
    std::vector<const runtime::Backend*> compilers;
    for (const auto& backend : backends) compilers.push_back(backend.get());
    auto assembler = runtime::MakeInProcessAssembler(
        std::move(compilers),
        std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
    EngineOptions options;
    options.device_options.threads = threads;
    options.contexts_per_model = 1;
    options.cache_dir = cache;
    QUERN_ASSIGN_OR_RETURN(
        made->engine_, Engine::Create(options, std::move(backends),
                                      std::move(assembler), &made->metrics_));
    return made;
  }

  [[nodiscard]] Engine& engine() { return *engine_; }

 private:
  telemetry::Metrics metrics_;
  std::unique_ptr<Engine> engine_;
};

double MillisecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin)
      .count();
}

// Milliseconds of reading a file into new memory as the importer does: the
// least of several, which all find it in the system's cache.
absl::StatusOr<double> TimeToRead(const std::string& path) {
  QUERN_ASSIGN_OR_RETURN(const auto file, onnx_import::OpenFile(path));
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 4; ++i) {
    const Clock::time_point begin = Clock::now();
    const base::HostMemory memory = base::AllocateHostMemory(file->size());
    if (memory == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", file->size(), " bytes of ", path));
    }
    QUERN_RETURN_IF_ERROR(file->Read(0, file->size(), memory.get()));
    least = std::min(least, MillisecondsSince(begin));
  }
  return least;
}

// The bytes of a tensor, where vectors cross no line and pages are large; the
// peers' are allocated alike.
struct Array {
  static absl::StatusOr<Array> Create(size_t size) {
    Array array{base::AllocateHostMemory(size), size};
    if (array.memory == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a tensor of ", size, " bytes"));
    }
    return array;
  }

  base::HostMemory memory;
  size_t size = 0;
};

class ModelRun : public Work {
 public:
  static absl::StatusOr<std::unique_ptr<Work>> Create(const Flags& flags) {
    auto run = std::make_unique<ModelRun>();
    QUERN_ASSIGN_OR_RETURN(run->engine_,
                           CpuEngine::Create(flags.threads, flags.cache));
    QUERN_RETURN_IF_ERROR(run->Load(flags.model));
    QUERN_RETURN_IF_ERROR(run->ReadInputs(flags.inputs));
    QUERN_ASSIGN_OR_RETURN(run->binding_, run->model_->Bind(run->views_));
    for (const size_t bytes : run->binding_.output_bytes) {
      QUERN_ASSIGN_OR_RETURN(Array array, Array::Create(bytes));
      run->outputs_.push_back(std::move(array));
    }
    for (const Array& output : run->outputs_) {
      run->addresses_.push_back(output.memory.get());
    }
    run->options_.statistics = !flags.no_statistics;
    if (flags.kernels) run->options_.kernel_ns = &run->kernel_ns_;
    return run;
  }

  [[nodiscard]] json Introduction() const override {
    const CompileReport& report = model_->compile_report();
    return {{"engine", "quern"},
            {"load_ms", load_ms_},
            {"import_ms", import_ms_},
            {"read_ms", read_ms_},
            {"pass_ms", report.pass_ms},
            {"assemble_ms", report.assemble_ms},
            {"hoist_ms", report.hoist_ms},
            {"kernels", report.kernels},
            {"compiled", report.compiled},
            {"arena_bytes", report.arena_bytes},
            {"weight_bytes", report.weight_bytes}};
  }

  [[nodiscard]] absl::Status Run() override {
    QUERN_RETURN_IF_ERROR(
        model_->Run(binding_, views_, addresses_, options_).status());
    if (options_.kernel_ns != nullptr) noted_.push_back(kernel_ns_);
    return absl::OkStatus();
  }

  void BeginToCount() override { noted_.clear(); }

  // Of kernels with one launch in a run: the times of several would be known
  // only together.
  [[nodiscard]] json Details() const override {
    if (options_.kernel_ns == nullptr) return json::object();
    json kernels = json::array();
    const std::vector<KernelReport> reports = model_->Kernels();
    for (size_t i = 0; i < reports.size(); ++i) {
      if (reports[i].at_load || reports[i].launches != 1) continue;
      std::vector<int64_t> ns;
      for (const std::vector<int64_t>& run : noted_) ns.push_back(run[i]);
      kernels.push_back({{"name", reports[i].name}, {"ns", ns}});
    }
    return {{"kernels", kernels}};
  }

  [[nodiscard]] absl::StatusOr<json> Save(
      const std::string& folder) const override {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      std::ofstream file(absl::StrCat(folder, "/", i, ".bin"),
                         std::ios::binary | std::ios::trunc);
      file.write(outputs_[i].memory.get(),
                 static_cast<std::streamsize>(outputs_[i].size));
      if (!file.flush()) {
        return absl::NotFoundError(absl::StrCat("cannot write into ", folder));
      }
    }
    return json(binding_.output_dims);
  }

 private:
  absl::Status Load(const std::string& path) {
    QUERN_ASSIGN_OR_RETURN(read_ms_, TimeToRead(path));
    const Clock::time_point begin = Clock::now();
    QUERN_ASSIGN_OR_RETURN(graph::Graph graph,
                           onnx_import::ImportOnnxFile(path));
    import_ms_ = MillisecondsSince(begin);
    QUERN_ASSIGN_OR_RETURN(
        model_, engine_->engine().Load(
                    std::make_shared<const graph::Graph>(std::move(graph)), {},
                    nullptr));
    load_ms_ = MillisecondsSince(begin);
    return absl::OkStatus();
  }

  // Finds an input of the model by its name in FOLDER/inputs.json, and its
  // bytes beside that.
  absl::Status ReadInputs(const std::string& folder) {
    std::ifstream list_file(folder + "/inputs.json");
    const json list = json::parse(list_file, nullptr, false);
    if (!list.is_array()) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a list in ", folder, "/inputs.json"));
    }
    for (const TensorSpec& spec : model_->inputs()) {
      const auto found =
          std::find_if(list.begin(), list.end(), [&](const json& input) {
            return input.value("name", "") == spec.name;
          });
      if (found == list.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected an input \"", spec.name, "\" in ", folder));
      }
      std::ifstream file(folder + "/" + found->value("file", ""),
                         std::ios::binary);
      std::stringstream bytes;
      bytes << file.rdbuf();
      const std::string content = std::move(bytes).str();
      QUERN_ASSIGN_OR_RETURN(Array array, Array::Create(content.size()));
      std::copy(content.begin(), content.end(), array.memory.get());
      views_.push_back({spec.dtype,
                        found->value("dims", std::vector<int64_t>()),
                        array.memory.get(), array.size});
      contents_.push_back(std::move(array));
    }
    return absl::OkStatus();
  }

  std::unique_ptr<CpuEngine> engine_;
  std::shared_ptr<const Model> model_;
  double read_ms_ = 0;
  double import_ms_ = 0;
  double load_ms_ = 0;  // The import is a part of it.
  std::vector<Array> contents_;
  std::vector<TensorView> views_;
  Binding binding_;
  std::vector<Array> outputs_;
  std::vector<void*> addresses_;
  RunOptions options_;
  std::vector<int64_t> kernel_ns_;           // Of the last run.
  std::vector<std::vector<int64_t>> noted_;  // Of the runs that count.
};

absl::StatusOr<json> TimeRuns(Work& work, int warm_ups, int count) {
  std::vector<int64_t> ns;
  ns.reserve(count);
  for (int i = 0; i < warm_ups; ++i) QUERN_RETURN_IF_ERROR(work.Run());
  work.BeginToCount();
  for (int i = 0; i < count; ++i) {
    const Clock::time_point begin = Clock::now();
    QUERN_RETURN_IF_ERROR(work.Run());
    ns.push_back(std::chrono::nanoseconds(Clock::now() - begin).count());
  }
  json answer = work.Details();
  answer["ns"] = ns;
  return answer;
}

absl::StatusOr<json> Answer(Work& work, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  if (verb == "run") {
    int warm_ups = 0;
    int count = 0;
    if (words >> warm_ups >> count && warm_ups >= 0 && count >= 0) {
      return TimeRuns(work, warm_ups, count);
    }
  }
  if (verb == "save") {
    std::string folder;
    if (std::getline(words >> std::ws, folder)) {
      QUERN_ASSIGN_OR_RETURN(const json dims, work.Save(folder));
      return json({{"dims", dims}});
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expected \"run WARM_UPS COUNT\" or \"save FOLDER\", got \"",
                   line, "\""));
}

void Say(const json& line) { std::cout << line.dump() << std::endl; }

void SayError(const absl::Status& status) {
  Say({{"error", std::string(status.message())}});
}

absl::StatusOr<std::unique_ptr<Work>> MakeWork(const Flags& flags) {
  if (flags.calibrate) return MakeCalibration(flags.threads);
  if (!flags.yardstick.empty()) {
    return MakeYardstick(flags.yardstick, flags.bytes, flags.threads);
  }
  return ModelRun::Create(flags);
}

int Main(const Flags& flags) {
  const absl::StatusOr<std::unique_ptr<Work>> work = MakeWork(flags);
  if (!work.ok()) {
    SayError(work.status());
    return 1;
  }
  Say((*work)->Introduction());
  std::string line;
  while (std::getline(std::cin, line)) {
    const absl::StatusOr<json> answer = Answer(**work, line);
    if (answer.ok()) {
      Say(*answer);
    } else {
      SayError(answer.status());
    }
  }
  return 0;
}

}  // namespace
}  // namespace quern::bench

int main(int argc, char** argv) {
  CLI::App app("Runs a model, or a loop of fixed work, as a driver asks.");
  quern::bench::Flags flags;
  auto* model = app.add_option("--model", flags.model, "An ONNX file");
  app.add_option("--inputs", flags.inputs,
                 "The folder with inputs.json and what it names")
      ->needs(model);
  app.add_option("--cache", flags.cache, "The folder of compiled kernels")
      ->needs(model);
  app.add_flag("--kernels", flags.kernels, "Tell the times of kernels as well")
      ->needs(model);
  app.add_flag("--no-statistics", flags.no_statistics, "Time no kernel")
      ->needs(model);
  app.add_flag("--calibrate", flags.calibrate, "Run the loop")->excludes(model);
  app.add_option("--yardstick", flags.yardstick, "flops, read, copy or add")
      ->excludes(model);
  app.add_option("--bytes", flags.bytes, "The set that a yardstick reads")
      ->check(CLI::Range(int64_t{1} << 10, int64_t{1} << 40));
  app.add_option("--threads", flags.threads,
                 "Threads; 0: as many as this process may use")
      ->check(CLI::Range(0, 4096));
  CLI11_PARSE(app, argc, argv);
  return quern::bench::Main(flags);
}
