// SPDX-License-Identifier: Apache-2.0
//
// The tuner against an engine whose kernels take the time that the test says,
// and then against the real one.
#include "engine/tuner.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/cpu_backend.h"
#include "tests/support/example_graphs.h"
#include "tests/support/model_runner.h"

namespace quern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

// A kernel: what it can be, and how long each of that takes in a run of number
// `run`, counted over all models.
struct Script {
  std::string name;
  std::vector<std::string> choices;
  std::function<int64_t(int choice, int run)> microseconds;
  std::string device = "cpu";
};

class ScriptedModel final : public Model {
 public:
  ScriptedModel(const std::vector<Script>& scripts,
                const base::Choices& choices, int* runs)
      : scripts_(scripts), runs_(runs) {
    for (const Script& script : scripts) {
      names_.push_back(script.name);
      const auto it = choices.find("id " + script.name);
      int number = 0;
      for (size_t i = 0; it != choices.end() && i < script.choices.size();
           ++i) {
        if (script.choices[i] == it->second) number = static_cast<int>(i);
      }
      chosen_.push_back(number);
    }
  }

  const std::vector<TensorSpec>& inputs() const override { return specs_; }
  const std::vector<TensorSpec>& outputs() const override { return specs_; }
  const std::vector<Note>& notes() const override { return notes_; }
  const CompileReport& compile_report() const override { return report_; }
  const std::string& device() const override { return device_; }
  absl::StatusOr<Binding> Bind(absl::Span<const TensorView>) const override {
    return Binding();
  }
  absl::StatusOr<RunTimes> Run(const Binding&, absl::Span<const TensorView>,
                               absl::Span<void* const>,
                               const RunOptions& options) const override {
    options.kernel_ns->clear();
    for (size_t i = 0; i < scripts_.size(); ++i) {
      options.kernel_ns->push_back(
          1000 * scripts_[i].microseconds(chosen_[i], *runs_));
    }
    ++*runs_;
    return RunTimes();
  }
  bool busy() const override { return false; }
  const std::vector<std::string>& kernel_names() const override {
    return names_;
  }
  std::vector<KernelReport> Kernels() const override {
    std::vector<KernelReport> reports;
    for (size_t i = 0; i < scripts_.size(); ++i) {
      KernelReport report;
      report.name = scripts_[i].name;
      report.identity = "id " + scripts_[i].name;
      report.device = scripts_[i].device;
      report.launches = 1;
      report.choices = scripts_[i].choices;
      report.schedule = scripts_[i].choices.empty()
                            ? "loops"
                            : scripts_[i].choices[chosen_[i]];
      reports.push_back(std::move(report));
    }
    return reports;
  }
  void ResetStatistics() const override {}
  absl::StatusOr<std::string> Explain(Stage,
                                      const std::string&) const override {
    return std::string();
  }

 private:
  const std::vector<Script>& scripts_;
  int* const runs_;
  std::vector<int> chosen_;
  std::vector<std::string> names_;
  std::vector<TensorSpec> specs_;
  std::vector<Note> notes_;
  CompileReport report_;
  std::string device_ = "cpu";
};

class ScriptedEngine final : public Engine {
 public:
  explicit ScriptedEngine(std::vector<Script> scripts)
      : scripts_(std::move(scripts)), table_(*TuningTable::Open("")) {}

  absl::StatusOr<std::shared_ptr<const Model>> Load(
      std::shared_ptr<const graph::Graph>, const base::CompileOptions& options,
      const Progress&) override {
    loads.push_back(*options.choices);
    for (const auto& [kernel, choice] : *options.choices) {
      if (choice == "breaks") return absl::InternalError("a pass broke");
    }
    return std::make_shared<ScriptedModel>(scripts_, *options.choices, &runs_);
  }
  std::vector<DeviceReport> Devices() const override { return {}; }
  absl::Status KeepChoices(const std::string& device,
                           std::vector<TunedChoice> choices) override {
    for (TunedChoice& choice : choices) choice.device = device;
    return table_->Add(choices);
  }
  TuningTable& tuning() override { return *table_; }
  absl::Status Probe(const std::string&) override { return absl::OkStatus(); }

  std::vector<base::Choices> loads;  // With which choices.

 private:
  const std::vector<Script> scripts_;
  const std::unique_ptr<TuningTable> table_;
  int runs_ = 0;
};

absl::StatusOr<TuneReport> TuneScripted(ScriptedEngine& engine,
                                        const TuneOptions& options = {}) {
  return Tune(engine, std::make_shared<graph::Graph>(), {}, {}, options,
              nullptr);
}

// Takes these times, the first by estimate.
std::function<int64_t(int, int)> Takes(std::vector<int64_t> microseconds) {
  return [microseconds](int choice, int) { return microseconds[choice]; };
}

TEST(Tuner, KeepsTheFastestChoiceOfEachKernel) {
  ScriptedEngine engine({{"a", {"a0", "a1", "a2"}, Takes({100, 80, 90})},
                         {"b", {"b0", "b1"}, Takes({100, 130})},
                         {"c", {"c0", "c1", "c2"}, Takes({50, 45, 40})}});
  const auto report = TuneScripted(engine);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*engine.tuning().ChoicesFor("cpu"),
              ElementsAre(Pair("id a", "a1"), Pair("id c", "c2")));
  EXPECT_EQ(report->kept, 2);
  ASSERT_THAT(report->kernels, SizeIs(3));
  EXPECT_EQ(report->kernels[0].estimated_as, "a0");
  EXPECT_EQ(report->kernels[0].chosen_as, "a1");
  EXPECT_EQ(report->kernels[0].estimated.median, 100e3);
  EXPECT_EQ(report->kernels[0].chosen.median, 80e3);
  EXPECT_EQ(report->kernels[0].measured, 2);
  EXPECT_EQ(report->kernels[1].chosen_as, "b0");
  EXPECT_EQ(report->run_estimated.count, 20);
}

TEST(Tuner, TriesAllKernelsAtOnce) {
  ScriptedEngine engine({{"a", {"a0", "a1", "a2"}, Takes({100, 110, 110})},
                         {"b", {"b0", "b1"}, Takes({100, 130})}});
  ASSERT_TRUE(TuneScripted(engine).ok());
  // As estimated, two rounds, and the winners, of which there are none.
  ASSERT_THAT(engine.loads, SizeIs(4));
  EXPECT_THAT(engine.loads[0], IsEmpty());
  EXPECT_THAT(engine.loads[1],
              ElementsAre(Pair("id a", "a1"), Pair("id b", "b1")));
  EXPECT_THAT(engine.loads[2], ElementsAre(Pair("id a", "a2")));
  EXPECT_THAT(engine.loads[3], IsEmpty());
}

TEST(Tuner, MeasuresNoMoreChoicesThanAskedFor) {
  ScriptedEngine engine(
      {{"a", {"a0", "a1", "a2", "a3"}, Takes({100, 99, 98, 50})}});
  ASSERT_TRUE(TuneScripted(engine, {.candidates = 2}).ok());
  EXPECT_THAT(*engine.tuning().ChoicesFor("cpu"),
              ElementsAre(Pair("id a", "a2")));
}

TEST(Tuner, DoesNotKeepWhatWonByLuck) {
  // Faster in its first comparison only.
  ScriptedEngine engine({{"a", {"a0", "a1"}, [](int choice, int run) {
                            return choice == 1 && run < 100 ? 50 : 100;
                          }}});
  const auto report = TuneScripted(engine);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->kept, 0);
  EXPECT_THAT(*engine.tuning().ChoicesFor("cpu"), IsEmpty());
  EXPECT_EQ(report->kernels[0].chosen_as, "a0");
}

TEST(Tuner, DoesNotTakeNoiseForAGain) {
  // In the middle 5 % faster, between 45 % faster and 35 % slower.
  ScriptedEngine engine({{"a", {"a0", "a1"}, [](int choice, int run) {
                            return choice == 1 ? 55 + 40 * (run % 3) : 100;
                          }}});
  const auto report = TuneScripted(engine);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->kept, 0);
}

TEST(Tuner, LeavesKernelsThatTakeNoTimeAsTheyAre) {
  ScriptedEngine engine(
      {{"a", {"a0", "a1"}, Takes({0, 0})}, {"none", {}, Takes({100})}});
  const auto report = TuneScripted(engine);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->kernels, IsEmpty());
  EXPECT_EQ(report->skipped, 2);
}

TEST(Tuner, GoesOnWhereAChoiceCannotBeCompiled) {
  ScriptedEngine engine({{"a", {"a0", "breaks", "a2"}, Takes({100, 1, 90})}});
  const auto report = TuneScripted(engine);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*engine.tuning().ChoicesFor("cpu"),
              ElementsAre(Pair("id a", "a2")));
  EXPECT_EQ(report->failed, 1);
  EXPECT_EQ(report->failure, "a pass broke");
}

TEST(Tuner, LeavesKernelsOfOtherDevicesAlone) {
  ScriptedEngine engine({{"a", {"a0", "a1"}, Takes({100, 1}), "gpu"},
                         {"b", {"b0", "b1"}, Takes({100, 1})}});
  const auto report = TuneScripted(engine);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*engine.tuning().ChoicesFor("cpu"),
              ElementsAre(Pair("id b", "b1")));
  EXPECT_THAT(report->kernels, SizeIs(1));
}

TEST(Tuner, EndsWhenItIsCancelled) {
  ScriptedEngine engine({{"a", {"a0", "a1"}, Takes({100, 1})}});
  int asked = 0;
  const TuneOptions options = {.cancelled = [&] { return ++asked > 30; }};
  EXPECT_EQ(TuneScripted(engine, options).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_THAT(*engine.tuning().ChoicesFor("cpu"), IsEmpty());
}

class RealEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<runtime::Backend>> backends;
    backends.push_back(cpu::MakeCpuBackend());
    auto assembler = runtime::MakeInProcessAssembler({backends[0].get()},
                                                     /*parallelism=*/1);
    auto engine = Engine::Create(EngineOptions(), std::move(backends),
                                 std::move(assembler), &metrics_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  telemetry::Metrics metrics_;
  std::unique_ptr<Engine> engine_;
};

// Whatever the tuner finds fastest must be right.
TEST_F(RealEngine, ComputesTheSameWithEveryChoice) {
  constexpr double kRounded = 1e-4;
  constexpr size_t kMostLoads = 40;
  for (const char* example :
       {"small_conv_bias_relu", "small_matmul_bias_gelu", "conv_bias_relu",
        "attention", "residual_block", "two_equal_layers"}) {
    auto made = support::ExampleGraph(example);
    ASSERT_TRUE(made.ok()) << made.status();
    const auto graph = std::make_shared<const graph::Graph>(*std::move(made));
    const std::vector<ref::Tensor> inputs = support::InputsFor(*graph, 5, 3);
    const auto expected = ref::EvaluateGraph(*graph, inputs);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto first = engine_->Load(graph, {}, nullptr);
    ASSERT_TRUE(first.ok()) << first.status();
    size_t most = 0;
    for (const KernelReport& kernel : (*first)->Kernels()) {
      most = std::max(most, kernel.choices.size());
    }
    EXPECT_GT(most, 1U) << example;
    const size_t step = std::max<size_t>(1, most / kMostLoads);
    for (size_t i = 1; i < most; i += step) {
      base::Choices choices;
      for (const KernelReport& kernel : (*first)->Kernels()) {
        if (i >= kernel.choices.size()) continue;
        choices[kernel.identity] = kernel.choices[i];
      }
      base::CompileOptions options;
      options.choices = std::make_shared<base::Choices>(choices);
      const auto model = engine_->Load(graph, options, nullptr);
      ASSERT_TRUE(model.ok()) << example << " " << i << ": " << model.status();
      const auto outputs = support::RunModel(**model, inputs);
      ASSERT_TRUE(outputs.ok()) << outputs.status();
      for (size_t o = 0; o < expected->size(); ++o) {
        EXPECT_EQ(support::Difference((*expected)[o], (*outputs)[o], kRounded),
                  "")
            << example << ", choice " << i << ": " << choices.begin()->second;
      }
    }
  }
}

TEST_F(RealEngine, LoadsWithWhatWasKept) {
  const auto graph = std::make_shared<const graph::Graph>(
      *support::ExampleGraph("matmul_bias_gelu"));
  const auto before = engine_->Load(graph, {}, nullptr);
  ASSERT_TRUE(before.ok()) << before.status();
  for (const KernelReport& kernel : (*before)->Kernels()) {
    if (kernel.choices.size() < 2) continue;
    TunedChoice choice;
    choice.kernel = kernel.identity;
    choice.choice = kernel.choices.back();
    choice.estimated = choice.chosen = {1, 1, 1, 0};
    ASSERT_TRUE(engine_->KeepChoices("cpu", {choice}).ok());
  }
  const auto after = engine_->Load(graph, {}, nullptr);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_NE(*(*after)->Explain(Stage::kKernel, ""),
            *(*before)->Explain(Stage::kKernel, ""));
  ASSERT_FALSE((*after)->notes().empty());
  EXPECT_EQ((*after)->notes()[0].kind, "tuned");
  EXPECT_EQ(engine_->KeepChoices("gpu", {}).code(),
            absl::StatusCode::kNotFound);
}

TEST_F(RealEngine, IsTuned) {
  const auto graph = std::make_shared<const graph::Graph>(
      *support::ExampleGraph("conv_bias_relu"));
  const std::vector<ref::Tensor> inputs = support::InputsFor(*graph, 5, 3);
  const std::string bytes = ref::BytesOf(inputs[0]);
  const TensorView view = {inputs[0].dtype, inputs[0].dims, bytes.data(),
                           bytes.size()};
  const auto report =
      Tune(*engine_, graph, {}, {view}, {.runs = 3, .candidates = 3}, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->kernels.empty());
  EXPECT_GT(report->compiled, 3);
  EXPECT_GT(report->seconds, 0);
}

}  // namespace
}  // namespace quern
