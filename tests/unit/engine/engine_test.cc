// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/ref/oracle.h"
#include "backends/register_all.h"
#include "engine/base/status_macros.h"
#include "engine/graph/contraction.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/eval.h"
#include "tests/support/example_graphs.h"
#include "tests/support/model_runner.h"

namespace quern {
namespace {

using ir::DType;
using ir::Id;
using support::GraphMaker;
using support::RunModel;
using telemetry::Metric;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

EngineOptions WithDevices(std::vector<std::string> devices) {
  EngineOptions options;
  options.devices = std::move(devices);
  return options;
}

base::CompileOptions OnDevice(const std::string& device) {
  base::CompileOptions options;
  options.device = device;
  return options;
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(
    const EngineOptions& options, telemetry::Metrics* metrics) {
  auto backends = MakeAllBackends();
  std::vector<const runtime::Backend*> compilers;
  for (const auto& backend : backends) compilers.push_back(backend.get());
  auto assembler =
      runtime::MakeInProcessAssembler(std::move(compilers), /*parallelism=*/1);
  return Engine::Create(options, std::move(backends), std::move(assembler),
                        metrics);
}

using GraphPtr = std::shared_ptr<const graph::Graph>;

GraphPtr Finished(GraphMaker& maker) {
  absl::StatusOr<graph::Graph> graph = maker.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return std::make_shared<const graph::Graph>(*std::move(graph));
}

GraphPtr Example(const std::string& name) {
  absl::StatusOr<graph::Graph> graph = support::ExampleGraph(name);
  EXPECT_TRUE(graph.ok()) << graph.status();
  return std::make_shared<const graph::Graph>(*std::move(graph));
}

// Expects what the oracle says.
void ExpectRight(const Model& model, const graph::Graph& graph, int64_t size,
                 uint64_t seed) {
  const std::vector<ref::Tensor> inputs = support::InputsFor(graph, size, seed);
  const auto expected = ref::EvaluateGraph(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto got = RunModel(model, inputs);
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->size(), expected->size());
  for (size_t i = 0; i < got->size(); ++i) {
    EXPECT_EQ(support::Difference((*expected)[i], (*got)[i], 1e-4), "");
  }
}

double CompilesOf(const telemetry::Metrics& metrics) {
  double total = 0;
  for (const auto& sample : metrics.Snapshot()) {
    if (sample.metric == Metric::kKernelCompiles) total += sample.value;
  }
  return total;
}

class EngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = MakeEngine(WithDevices({"cpu", "ref"}), &metrics_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  std::shared_ptr<const Model> Load(GraphPtr graph,
                                    const base::CompileOptions& options = {}) {
    auto model = engine_->Load(std::move(graph), options, nullptr);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *model : nullptr;
  }

  telemetry::Metrics metrics_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, ComputesEveryExampleOnCpuAndRef) {
  for (const std::string& name : support::ExampleNames()) {
    for (const std::string device : {"cpu", "ref"}) {
      SCOPED_TRACE(name + " on " + device);
      const GraphPtr graph = Example(name);
      const auto model = Load(graph, OnDevice(device));
      ASSERT_NE(model, nullptr);
      ExpectRight(*model, *graph, 5, 1);
    }
  }
}

TEST_F(EngineTest, SaysWhatIsWrongWithInputs) {
  GraphMaker g;
  const Id n = g.b().Var("n", 1, 64);
  const Id x = g.SizedInput("x", {n, g.b().Int(2)});
  const Id y = g.SizedInput("y", {n});
  const Id z = g.SizedInput("z", {g.b().Add(n, g.b().Int(1))}, DType::kI64);
  g.Output("a", g.b().Add(x, g.b().Reshape(y, {n, g.b().Int(1)})));
  g.Output("b", z);
  const auto model = Load(Finished(g));
  ASSERT_NE(model, nullptr);

  const char memory[1024] = {};
  const auto view = [&](DType dtype, std::vector<int64_t> dims, size_t size) {
    return TensorView{dtype, std::move(dims), memory, size};
  };
  const TensorView good_x = view(DType::kF32, {3, 2}, 24);
  const TensorView good_y = view(DType::kF32, {3}, 12);
  const TensorView good_z = view(DType::kI64, {4}, 32);
  ASSERT_TRUE(model->Bind({good_x, good_y, good_z}).ok());

  struct Row {
    std::vector<TensorView> inputs;
    const char* message;
  };
  for (const Row& row : {
           Row{{}, "the model has 3 inputs, got 0"},
           Row{{view(DType::kF64, {3, 2}, 48), good_y, good_z},
               "input 'x' is f64, expected f32"},
           Row{{view(DType::kF32, {3}, 12), good_y, good_z},
               "input 'x' has the shape [3], expected [n,2]"},
           Row{{view(DType::kF32, {3, 5}, 60), good_y, good_z},
               "input 'x' has the shape [3,5], expected [n,2] with dimension "
               "1 = 2"},
           Row{{view(DType::kF32, {0, 2}, 0), good_y, good_z},
               "input 'x' has the shape [0,2], size 'n' must be 1 to 64"},
           Row{{view(DType::kF32, {65, 2}, 520), good_y, good_z},
               "input 'x' has the shape [65,2], size 'n' must be 1 to 64"},
           Row{{view(DType::kF32, {-3, 2}, 24), good_y, good_z},
               "input 'x' has the shape [-3,2], size 'n' must be 1 to 64"},
           Row{{good_x, view(DType::kF32, {4}, 16), good_z},
               "input 'y' has the shape [4], expected [n] with dimension 0 = "
               "3"},
           Row{{good_x, good_y, view(DType::kI64, {3}, 24)},
               "input 'z' has the shape [3], expected [n+1] with dimension 0 "
               "= 4"},
           Row{{view(DType::kF32, {3, 2}, 23), good_y, good_z},
               "input 'x' of shape [3,2] has 23 bytes, expected 24"},
       }) {
    EXPECT_EQ(model->Bind(row.inputs).status(),
              absl::InvalidArgumentError(row.message));
  }
}

TEST_F(EngineTest, DescribesItsPorts) {
  const auto model = Load(Example("dynamic_add"));
  ASSERT_NE(model, nullptr);
  ASSERT_THAT(model->inputs(), SizeIs(1));
  EXPECT_EQ(model->inputs()[0].name, "x");
  EXPECT_THAT(model->inputs()[0].dims, ElementsAre(-1, 16));
  EXPECT_THAT(model->inputs()[0].dim_text, ElementsAre("n", "16"));
  EXPECT_EQ(model->outputs()[0].dtype, DType::kF32);
}

TEST_F(EngineTest, RefusesABindingOfAnotherModel) {
  const auto model = Load(Example("dynamic_add"));
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->Run({}, {}, {}, {}).status(),
            absl::InvalidArgumentError("the binding is not for this model"));
}

TEST_F(EngineTest, JoinsTwoDevicesByACopyAndSharesAConstant) {
  GraphMaker g;
  const Id x = g.Input("x", {6, 8}, DType::kF32, "cpu");
  const Id w = g.Weight({8, 8});
  const Id on_cpu = graph::Relu(g.b(), graph::MatMul(g.b(), x, w));
  const Id moved = g.b().Copy(on_cpu, "ref");
  g.Output("y", g.b().Add(graph::MatMul(g.b(), moved, w), g.b().Float(1)));
  const GraphPtr graph = Finished(g);
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  ExpectRight(*model, *graph, 0, 2);
  std::vector<std::string> devices;
  for (const KernelReport& kernel : model->Kernels()) {
    devices.push_back(kernel.device);
  }
  EXPECT_THAT(devices, ::testing::UnorderedElementsAre("cpu", "cpu", "ref"));
  // The weight is resident once on each; on the CPU packed.
  EXPECT_EQ(model->compile_report().weight_bytes, 2 * 8 * 8 * 4);
}

TEST_F(EngineTest, RunsEverySizeWithoutAnotherCompile) {
  GraphMaker g;
  const Id n = g.b().Var("n", 1, 1000);
  const Id x = g.SizedInput("x", {n, g.b().Int(24)});
  const Id y = graph::MatMul(g.b(), x, g.Weight({24, 10}));
  g.Output("y", graph::Relu(g.b(), y));
  g.Output("sum", g.b().Reduce(ir::Op::kAdd, y, {0}));
  const GraphPtr graph = Finished(g);
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  const double before = CompilesOf(metrics_);
  EXPECT_GT(before, 0);
  for (const int64_t size : {1, 2, 3, 7, 8, 15, 16, 17, 100, 333}) {
    SCOPED_TRACE(size);
    ExpectRight(*model, *graph, size, size);
  }
  EXPECT_EQ(CompilesOf(metrics_), before);
}

TEST_F(EngineTest, TakesEmptyInputs) {
  GraphMaker g;
  const Id n = g.b().Var("n", 0, 16);
  const Id x = g.SizedInput("x", {n, g.b().Int(3)});
  g.Output("y", g.b().Add(x, g.b().Float(1)));
  g.Output("sum", g.b().Reduce(ir::Op::kAdd, x, {0}));
  const GraphPtr graph = Finished(g);
  for (const std::string device : {"cpu", "ref"}) {
    const auto model = Load(graph, OnDevice(device));
    ASSERT_NE(model, nullptr);
    ExpectRight(*model, *graph, 0, 3);
    ExpectRight(*model, *graph, 2, 3);
  }
}

TEST_F(EngineTest, AnswersWithInputsAndConstantsAsTheyAre) {
  GraphMaker g;
  const Id x = g.Input("x", {4});
  g.Output("same", x);
  g.Output("again", x);
  g.Output("weight", g.Weight({3}));
  g.Output("constant",
           g.b().Expand(g.b().Scalar(DType::kF32, 2.5), {g.b().Int(5)}));
  const GraphPtr graph = Finished(g);
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  ExpectRight(*model, *graph, 0, 4);
}

TEST_F(EngineTest, GivesThreadsTheirOwnResults) {
  const GraphPtr graph = Example("matmul_bias_gelu");
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) ExpectRight(*model, *graph, 0, t * 100 + i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(EngineTest, ReportsTheLaunchesOfEachKernel) {
  const GraphPtr graph = Example("two_equal_layers");
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  for (int i = 0; i < 3; ++i) ExpectRight(*model, *graph, 0, i);
  // The layer, and what packs its weights.
  ASSERT_THAT(model->Kernels(), SizeIs(2));
  const KernelReport kernel = model->Kernels()[0];
  EXPECT_EQ(kernel.launches, 2);
  EXPECT_EQ(kernel.time.count(), 6);
  EXPECT_GT(kernel.time.mean_ns(), 0);
  EXPECT_GE(kernel.flops, 2.0 * 16 * 48 * 48);
  model->ResetStatistics();
  EXPECT_EQ(model->Kernels()[0].time.count(), 0);
}

TEST_F(EngineTest, ARunWithoutStatisticsTimesNoLaunch) {
  const GraphPtr graph = Example("softmax_f32");
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  const auto inputs = support::InputsFor(*graph, 0, 1);
  const auto timed = RunModel(*model, inputs);
  ASSERT_TRUE(timed.ok()) << timed.status();
  ASSERT_EQ(model->Kernels()[0].time.count(), 1);
  const auto untimed = RunModel(*model, inputs, {.statistics = false});
  ASSERT_TRUE(untimed.ok()) << untimed.status();
  EXPECT_EQ(model->Kernels()[0].time.count(), 1);
  EXPECT_EQ(*untimed, *timed);
}

TEST_F(EngineTest, ExplainsEveryStage) {
  const auto model = Load(Example("softmax_f32"));
  ASSERT_NE(model, nullptr);
  const std::string name = model->Kernels()[0].name;
  struct Row {
    Stage stage;
    const char* text;
  };
  for (const Row& row :
       {Row{Stage::kGraph, "reduce f32[64] "},
        Row{Stage::kSchedule, "on cpu: output0[64x128 f32]"},
        Row{Stage::kSchedule, "x1: loops, "},
        Row{Stage::kKernel, "# scheduled: "},
        Row{Stage::kSource, "define void @"}, Row{Stage::kAsm, "ret"}}) {
    const auto text = model->Explain(row.stage, "");
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, HasSubstr(row.text));
    if (row.stage == Stage::kGraph || row.stage == Stage::kSchedule) continue;
    EXPECT_EQ(*model->Explain(row.stage, name), *text);
    EXPECT_EQ(model->Explain(row.stage, "nothing").status(),
              absl::NotFoundError("the model has no kernel called 'nothing'"));
  }
}

TEST_F(EngineTest, KeepsNoStagesWhenNotAsked) {
  base::CompileOptions options;
  options.keep_stages = false;
  const auto model = Load(Example("softmax_f32"), options);
  ASSERT_NE(model, nullptr);
  EXPECT_THAT(*model->Explain(Stage::kGraph, ""), IsEmpty());
  EXPECT_THAT(*model->Explain(Stage::kKernel, ""),
              Not(HasSubstr("as cut from the graph")));
}

TEST_F(EngineTest, StopsARunWhoseDeadlineHasPassed) {
  const GraphPtr graph = Example("softmax_f32");
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  const auto result = RunModel(*model, support::InputsFor(*graph, 0, 1),
                               {.deadline = absl::Now() - absl::Seconds(1)});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(EngineTest, StopsALoadWhoseTimeIsUp) {
  base::CompileOptions options;
  options.timeout_ms = 50;
  // A slow listener uses the time up before the first kernel is compiled.
  const auto model = engine_->Load(
      Example("softmax_f32"), options, [](absl::string_view, int, int) {
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
      });
  EXPECT_EQ(model.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(EngineTest, ReportsProgressUpToReady) {
  std::vector<std::string> words;
  const auto model =
      engine_->Load(Example("two_equal_layers"), {},
                    [&](absl::string_view what, int done, int of) {
                      words.push_back(absl::StrCat(what, " ", done, "/", of));
                    });
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(words, ElementsAre("compile graph 0/1", "compile kernels 0/2",
                                 "compile kernels 1/2", "compile kernels 2/2",
                                 "load weights 0/1", "ready 1/1"));
}

TEST_F(EngineTest, FindsTheKernelsOfAnEarlierLoadInMemory) {
  const auto first = Load(Example("layer_norm"));
  const auto second = Load(Example("layer_norm"));
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(first->compile_report().compiled, 1);
  EXPECT_EQ(second->compile_report().compiled, 0);
  EXPECT_EQ(second->compile_report().from_memory, 1);
  EXPECT_EQ(second->Kernels()[0].cache, "memory");
}

TEST_F(EngineTest, KeepsAModelAliveWithoutItsEngine) {
  const GraphPtr graph = Example("layer_norm");
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  engine_ = nullptr;
  ExpectRight(*model, *graph, 0, 1);
}

// A device of ref that says that it takes less than it does.
class NarrowDevice final : public runtime::Device {
 public:
  NarrowDevice(std::unique_ptr<runtime::Device> device, int max_arguments)
      : device_(std::move(device)), target_(device_->target()) {
    target_.max_arguments = max_arguments;
  }
  const base::Target& target() const override { return target_; }
  absl::StatusOr<std::unique_ptr<runtime::Buffer>> Allocate(
      size_t size) override {
    return device_->Allocate(size);
  }
  absl::StatusOr<std::unique_ptr<runtime::LoadedKernel>> Load(
      const std::string& name, const std::string& blob) override {
    return device_->Load(name, blob);
  }
  absl::Status Launch(const runtime::LoadedKernel& kernel,
                      const runtime::LaunchArgs& args) override {
    EXPECT_LE(args.buffers.size(), static_cast<size_t>(target_.max_arguments));
    return device_->Launch(kernel, args);
  }
  absl::Status CopyFromHost(void* to, const void* from, size_t size) override {
    return device_->CopyFromHost(to, from, size);
  }
  absl::Status CopyToHost(void* to, const void* from, size_t size) override {
    return device_->CopyToHost(to, from, size);
  }
  bool host_memory() const override { return device_->host_memory(); }
  int threads() const override { return device_->threads(); }

 private:
  const std::unique_ptr<runtime::Device> device_;
  base::Target target_;
};

class NarrowBackend final : public runtime::Backend {
 public:
  explicit NarrowBackend(int max_arguments) : max_arguments_(max_arguments) {
    for (auto& backend : MakeAllBackends()) {
      if (backend->name() == "ref") ref_ = std::move(backend);
    }
  }
  std::string name() const override { return "ref"; }
  const runtime::Codegen& codegen() const override { return ref_->codegen(); }
  absl::StatusOr<std::unique_ptr<runtime::Device>> Open(
      int ordinal, const runtime::DeviceOptions& options) const override {
    QUERN_ASSIGN_OR_RETURN(auto device, ref_->Open(ordinal, options));
    return std::make_unique<NarrowDevice>(std::move(device), max_arguments_);
  }

 private:
  const int max_arguments_;
  std::unique_ptr<runtime::Backend> ref_;
};

TEST(EngineBudget, SplitsWhatNeedsMoreBuffersThanTheDeviceTakes) {
  for (const int most : {3, 4, 7, 16}) {
    std::vector<std::unique_ptr<runtime::Backend>> backends;
    backends.push_back(std::make_unique<NarrowBackend>(most));
    const std::vector<const runtime::Backend*> compilers = {backends[0].get()};
    auto assembler = runtime::MakeInProcessAssembler(compilers, 1);
    telemetry::Metrics metrics;
    const auto engine =
        Engine::Create(WithDevices({"ref"}), std::move(backends),
                       std::move(assembler), &metrics);
    ASSERT_TRUE(engine.ok()) << engine.status();
    GraphMaker g;
    Id sum = g.Input("x0", {5, 3});
    for (int i = 1; i < 40; ++i) {
      const Id x = g.Input(absl::StrCat("x", i), {5, 3});
      sum = g.b().Add(g.b().Mul(sum, g.b().Float(0.5)), x);
    }
    g.Output("y", graph::Softmax(g.b(), sum, {1}));
    const GraphPtr graph = Finished(g);
    const auto model = (*engine)->Load(graph, OnDevice("ref"), nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    ExpectRight(**model, *graph, 0, 3);
    // No more kernels than one that splits in halves makes.
    EXPECT_THAT((*model)->Kernels(), SizeIs(testing::Le(4 * 41 / (most - 2))));
    ASSERT_FALSE((*model)->notes().empty());
    EXPECT_EQ((*model)->notes()[0].kind, "budget");
    EXPECT_THAT((*model)->notes()[0].text,
                HasSubstr(absl::StrCat("ref takes at most ", most)));
  }
}

TEST(EngineBudget, CountsArraysOfConstantsAndValuesThatLaunchesShare) {
  std::vector<std::unique_ptr<runtime::Backend>> backends;
  backends.push_back(std::make_unique<NarrowBackend>(4));
  const std::vector<const runtime::Backend*> compilers = {backends[0].get()};
  auto assembler = runtime::MakeInProcessAssembler(compilers, 1);
  telemetry::Metrics metrics;
  const auto engine = Engine::Create(WithDevices({"ref"}), std::move(backends),
                                     std::move(assembler), &metrics);
  ASSERT_TRUE(engine.ok()) << engine.status();
  std::vector<int64_t> bits;
  for (int i = 0; i < 3000; ++i) {
    bits.push_back(ir::Scalar::OfFloat(DType::kF64, i % 5).bits);
  }
  GraphMaker g;
  const Id list =
      g.b().ConstArray(DType::kWeakFloat, bits, {{g.b().Int(3000)}});
  // Two inputs of each and the output are four buffers, the array a fifth.
  const Id shared = g.b().Add(g.Input("a", {3000}), g.Input("b", {3000}));
  for (const std::string name : {"c", "d"}) {
    const Id product =
        g.b().Mul(g.b().Mul(shared, list), g.Input(name, {3000}));
    g.Output("y" + name, product);
  }
  const GraphPtr graph = Finished(g);
  const auto model = (*engine)->Load(graph, OnDevice("ref"), nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  ExpectRight(**model, *graph, 0, 5);
}

TEST(EngineBudget, RefusesWhatCannotBeSplit) {
  std::vector<std::unique_ptr<runtime::Backend>> backends;
  backends.push_back(std::make_unique<NarrowBackend>(2));
  const std::vector<const runtime::Backend*> compilers = {backends[0].get()};
  auto assembler = runtime::MakeInProcessAssembler(compilers, 1);
  telemetry::Metrics metrics;
  const auto engine = Engine::Create(WithDevices({"ref"}), std::move(backends),
                                     std::move(assembler), &metrics);
  ASSERT_TRUE(engine.ok()) << engine.status();
  GraphMaker g;
  g.Output("y", g.b().Add(g.Input("a", {3}), g.Input("b", {3})));
  const auto model = (*engine)->Load(Finished(g), OnDevice("ref"), nullptr);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(model.status().message()),
              HasSubstr("uses 3 buffers, ref takes at most 2, and it cannot be "
                        "split"));
}

TEST_F(EngineTest, ALargeArrayOfConstantsIsABufferOnEachDeviceThatReadsIt) {
  std::vector<int64_t> bits;
  for (int i = 0; i < 3000; ++i) {
    bits.push_back(ir::Scalar::OfFloat(DType::kF64, i % 17 * 0.5).bits);
  }
  GraphMaker g;
  // Weak: f32 on one device, f64 on the other.
  const Id list =
      g.b().ConstArray(DType::kWeakFloat, bits, {{g.b().Int(3000)}});
  const Id x = g.Input("x", {3000}, DType::kF32, "cpu");
  const Id y = g.Input("y", {3000}, DType::kF64, "ref");
  g.Output("a", g.b().Mul(x, list));
  g.Output("b", g.b().Add(y, list));
  g.Output("c", g.b().Add(g.b().Mul(x, x), list));
  const GraphPtr graph = Finished(g);
  const auto model = Load(graph);
  ASSERT_NE(model, nullptr);
  ExpectRight(*model, *graph, 0, 4);
  // Once for the two kernels on cpu, once for ref.
  EXPECT_EQ(model->compile_report().weight_bytes, 3000 * 4 + 3000 * 8);
  const auto source = model->Explain(Stage::kSource, "");
  ASSERT_TRUE(source.ok());
  EXPECT_THAT(*source, Not(HasSubstr("table")));
}

TEST(EngineCreate, FindsTheKernelsOfAnotherEngineOnDisk) {
  std::string folder = ::testing::TempDir() + "quern_engine_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const GraphPtr graph = Example("conv_batch_norm_relu");
  for (const bool first : {true, false}) {
    telemetry::Metrics metrics;
    EngineOptions options;
    options.cache_dir = folder;
    auto engine = MakeEngine(options, &metrics);
    ASSERT_TRUE(engine.ok()) << engine.status();
    const auto model = (*engine)->Load(graph, {}, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    const CompileReport& report = (*model)->compile_report();
    EXPECT_GT(report.kernels, 1);
    EXPECT_EQ(report.compiled, first ? report.kernels : 0);
    EXPECT_EQ(report.from_disk, first ? 0 : report.kernels);
    EXPECT_EQ(CompilesOf(metrics), first ? report.kernels : 0);
    ExpectRight(**model, *graph, 0, 1);
  }
  std::filesystem::remove_all(folder);
}

TEST(EngineCreate, SaysWhichDeviceItCannotOpen) {
  telemetry::Metrics metrics;
  struct Row {
    const char* device;
    absl::Status status;
  };
  for (const Row& row :
       {Row{"tpu", absl::UnavailableError("no backend is called 'tpu'; this "
                                          "build has cpu, ref, null")},
        Row{"cpu:x", absl::InvalidArgumentError(
                         "device 'cpu:x' is not of the form NAME[:NUMBER]")},
        Row{"cpu:0:0",
            absl::InvalidArgumentError("device 'cpu:0:0' is not of the form "
                                       "NAME[:NUMBER]")},
        Row{"ref:3",
            absl::NotFoundError("there is no device ref:3, only ref:0")}}) {
    EXPECT_EQ(MakeEngine(WithDevices({row.device}), &metrics).status(),
              row.status);
  }
}

TEST(EngineCreate, RefusesGraphsOverTheLimitOfNodes) {
  telemetry::Metrics metrics;
  EngineOptions options;
  options.max_graph_nodes = 3;
  const auto engine = MakeEngine(options, &metrics);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto model = (*engine)->Load(Example("softmax_f32"), {}, nullptr);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(model.status().message(),
              HasSubstr("nodes, the limit is 3 (--max-graph-nodes)"));
}

TEST(EngineCreate, RefusesRequestsOverTheLimitOfTheArena) {
  telemetry::Metrics metrics;
  EngineOptions options;
  options.max_arena_bytes = 100;
  const auto engine = MakeEngine(options, &metrics);
  ASSERT_TRUE(engine.ok()) << engine.status();
  const GraphPtr graph = Example("two_equal_layers");
  const auto model = (*engine)->Load(graph, {}, nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(RunModel(**model, support::InputsFor(*graph, 0, 1)).status(),
            absl::ResourceExhaustedError(
                "the temporaries of this request need 3072 bytes, the limit of "
                "--max-arena-bytes is 100; send smaller inputs"));
}

}  // namespace
}  // namespace quern
