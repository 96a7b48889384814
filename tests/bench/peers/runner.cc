// SPDX-License-Identifier: Apache-2.0
//
// peers-runner: what `./dev bench peers` drives, by lines on standard input.
// turns.py has the protocol.
//
//   peers-runner --model FILE --inputs FOLDER   runs a model in an engine
//   peers-runner --calibrate                    runs a loop of fixed work
//
// The loop is the yardstick for noise: whatever makes its times differ is the
// machine. It also tells the peaks that the engine measures here and now.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sched.h>
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
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "server/import/onnx/importer.h"

namespace quern {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// A dependent chain of multiplications: about a millisecond, and no memory.
constexpr int kSteps = 1'000'000;

struct Flags {
  std::string model;
  std::string inputs;
  bool calibrate = false;
  int threads = 0;
};

// What the driver times.
class Work {
 public:
  virtual ~Work() = default;

  // What the first line says.
  [[nodiscard]] virtual json Introduction() const = 0;

  // Does it once.
  [[nodiscard]] virtual absl::Status Run() = 0;

  // Writes the results of the last run into a folder; their dimensions.
  [[nodiscard]] virtual absl::StatusOr<json> Save(
      const std::string& folder) const = 0;
};

// An engine with the device "cpu", and compilers in this process.
class CpuEngine {
 public:
  static absl::StatusOr<std::unique_ptr<CpuEngine>> Create(int threads,
                                                           bool calibrate) {
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
    options.calibrate = calibrate;
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

class ModelRun : public Work {
 public:
  static absl::StatusOr<std::unique_ptr<Work>> Create(const Flags& flags) {
    auto run = std::make_unique<ModelRun>();
    QUERN_ASSIGN_OR_RETURN(run->engine_,
                           CpuEngine::Create(flags.threads,
                                             /*calibrate=*/false));
    const Clock::time_point begin = Clock::now();
    QUERN_ASSIGN_OR_RETURN(graph::Graph graph,
                           onnx_import::ImportOnnxFile(flags.model));
    QUERN_ASSIGN_OR_RETURN(
        run->model_, run->engine_->engine().Load(
                         std::make_shared<const graph::Graph>(std::move(graph)),
                         {}, nullptr));
    run->load_ms_ =
        std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    QUERN_RETURN_IF_ERROR(run->ReadInputs(flags.inputs));
    QUERN_ASSIGN_OR_RETURN(run->binding_, run->model_->Bind(run->views_));
    for (const size_t bytes : run->binding_.output_bytes) {
      run->outputs_.emplace_back(bytes);
    }
    for (auto& output : run->outputs_) {
      run->addresses_.push_back(output.data());
    }
    return run;
  }

  [[nodiscard]] json Introduction() const override {
    const CompileReport& report = model_->compile_report();
    return {{"engine", "quern"},
            {"load_ms", load_ms_},
            {"kernels", report.kernels},
            {"arena_bytes", report.arena_bytes},
            {"weight_bytes", report.weight_bytes}};
  }

  [[nodiscard]] absl::Status Run() override {
    return model_->Run(binding_, views_, addresses_, {}).status();
  }

  [[nodiscard]] absl::StatusOr<json> Save(
      const std::string& folder) const override {
    for (size_t i = 0; i < outputs_.size(); ++i) {
      std::ofstream file(absl::StrCat(folder, "/", i, ".bin"),
                         std::ios::binary | std::ios::trunc);
      file.write(outputs_[i].data(),
                 static_cast<std::streamsize>(outputs_[i].size()));
      if (!file.flush()) {
        return absl::NotFoundError(absl::StrCat("cannot write into ", folder));
      }
    }
    return json(binding_.output_dims);
  }

 private:
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
      contents_.push_back(bytes.str());
      views_.push_back({spec.dtype,
                        found->value("dims", std::vector<int64_t>()), nullptr,
                        contents_.back().size()});
    }
    for (size_t i = 0; i < views_.size(); ++i) {
      views_[i].data = contents_[i].data();
    }
    return absl::OkStatus();
  }

  std::unique_ptr<CpuEngine> engine_;
  std::shared_ptr<const Model> model_;
  double load_ms_ = 0;
  std::vector<std::string> contents_;
  std::vector<TensorView> views_;
  Binding binding_;
  std::vector<std::vector<char>> outputs_;
  std::vector<void*> addresses_;
};

// The cores that this process may use; none if there are too many to ask for.
std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// Keeps the calling thread, the `index`-th, on one of the cores.
void StayOnOne(const std::vector<int>& cores, int index) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cores[index % cores.size()], &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// Fixed work on all threads at once, between two meetings of them: as much as
// an engine's launch has to do with the system. Each thread has its core, or
// the loop would also show where the scheduler puts threads that wake each
// other.
class CalibrationLoop : public Work {
 public:
  static absl::StatusOr<std::unique_ptr<Work>> Create(const Flags& flags) {
    QUERN_ASSIGN_OR_RETURN(
        const auto engine,
        CpuEngine::Create(flags.threads, /*calibrate=*/true));
    return std::make_unique<CalibrationLoop>(engine->engine().Devices().at(0));
  }

  explicit CalibrationLoop(DeviceReport device)
      : device_(std::move(device)), meeting_(device_.threads) {
    const std::vector<int> cores = AllowedCores();
    StayOnOne(cores, 0);
    for (int i = 1; i < device_.threads; ++i) {
      others_.emplace_back([this, cores, i] {
        StayOnOne(cores, i);
        while (true) {
          meeting_.arrive_and_wait();
          if (ends_) return;
          Loop();
          meeting_.arrive_and_wait();
        }
      });
    }
  }

  ~CalibrationLoop() override {
    ends_ = true;
    meeting_.arrive_and_wait();
    for (std::thread& other : others_) other.join();
  }

  [[nodiscard]] json Introduction() const override {
    return {{"engine", "calibration"},
            {"threads", device_.threads},
            {"isa", device_.target.isa},
            {"peak_gflops_a_thread", device_.target.peak_flops * 1e-9},
            {"read_gb_per_s_a_thread", device_.target.read_bandwidth * 1e-9}};
  }

  [[nodiscard]] absl::Status Run() override {
    meeting_.arrive_and_wait();
    Loop();
    meeting_.arrive_and_wait();
    return absl::OkStatus();
  }

  [[nodiscard]] absl::StatusOr<json> Save(const std::string&) const override {
    return absl::UnimplementedError("a loop has no results");
  }

 private:
  static void Loop() {
    uint64_t value = 1;
    for (int i = 0; i < kSteps; ++i) value = value * 0x5851F42D4C957F2D + 1;
    // Read by nobody, and yet it has to be computed.
    volatile uint64_t sink = value;
    static_cast<void>(sink);
  }

  const DeviceReport device_;
  std::barrier<> meeting_;
  bool ends_ = false;  // Written before a meeting and read after it.
  std::vector<std::thread> others_;
};

absl::StatusOr<json> TimeRuns(Work& work, int warm_ups, int count) {
  std::vector<int64_t> ns;
  ns.reserve(count);
  for (int i = 0; i < warm_ups; ++i) QUERN_RETURN_IF_ERROR(work.Run());
  for (int i = 0; i < count; ++i) {
    const Clock::time_point begin = Clock::now();
    QUERN_RETURN_IF_ERROR(work.Run());
    ns.push_back(std::chrono::nanoseconds(Clock::now() - begin).count());
  }
  return json({{"ns", ns}});
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

int Main(const Flags& flags) {
  absl::StatusOr<std::unique_ptr<Work>> work =
      flags.calibrate ? CalibrationLoop::Create(flags)
                      : ModelRun::Create(flags);
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
}  // namespace quern

int main(int argc, char** argv) {
  CLI::App app("Runs a model, or a loop of fixed work, as a driver asks.");
  quern::Flags flags;
  auto* model = app.add_option("--model", flags.model, "An ONNX file");
  app.add_option("--inputs", flags.inputs,
                 "The folder with inputs.json and what it names")
      ->needs(model);
  app.add_flag("--calibrate", flags.calibrate, "Run the loop")->excludes(model);
  app.add_option("--threads", flags.threads,
                 "Threads; 0: as many as this process may use")
      ->check(CLI::Range(0, 4096));
  CLI11_PARSE(app, argc, argv);
  return quern::Main(flags);
}
