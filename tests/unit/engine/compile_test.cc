// SPDX-License-Identifier: Apache-2.0
//
// The compiler for targets of every shape, without a device.
#include "engine/compile.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/null/null_backend.h"
#include "engine/graph/contraction.h"
#include "tests/support/example_graphs.h"

namespace quern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr null::Shape kShapes[] = {null::Shape::kAvx512, null::Shape::kAvx2,
                                   null::Shape::kNeon, null::Shape::kScalar};

absl::StatusOr<CompiledGraph> CompileFor(
    const base::Target& target, const std::string& example,
    const base::CompileOptions& options = base::CompileOptions()) {
  const auto graph = support::ExampleGraph(example);
  if (!graph.ok()) return graph.status();
  const auto backend = null::MakeNullBackend();
  const CompileDevice devices[] = {{"cpu", target, &backend->codegen()}};
  return Compile(*graph, options, devices);
}

absl::StatusOr<CompiledGraph> CompileFor(
    null::Shape shape, const std::string& example,
    const base::CompileOptions& options = base::CompileOptions()) {
  return CompileFor(null::MakeTarget(shape), example, options);
}

TEST(Compile, KeepsEveryKernelWithinTheBudgetOfItsTarget) {
  for (const null::Shape shape : kShapes) {
    const base::Target target = null::MakeTarget(shape);
    for (const std::string& example : support::ExampleNames()) {
      SCOPED_TRACE(target.isa + " " + example);
      const auto compiled = CompileFor(target, example);
      ASSERT_TRUE(compiled.ok()) << compiled.status();
      for (const KernelPlan& kernel : compiled->kernels) {
        EXPECT_LE(kernel.operations, target.max_operations) << kernel.name;
        EXPECT_LE(kernel.live_vectors, target.max_live_vectors) << kernel.name;
        EXPECT_GT(kernel.launches, 0) << kernel.name;
      }
    }
  }
}

TEST(Compile, IsAFunctionOfItsArguments) {
  for (const std::string& example : support::ExampleNames()) {
    const auto first = CompileFor(null::Shape::kAvx512, example);
    const auto second = CompileFor(null::Shape::kAvx512, example);
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(first->schedule_text, second->schedule_text);
    ASSERT_EQ(first->kernels.size(), second->kernels.size());
    for (size_t i = 0; i < first->kernels.size(); ++i) {
      EXPECT_EQ(first->kernels[i].source.text, second->kernels[i].source.text);
    }
  }
}

TEST(Compile, GivesEqualLayersOneKernelWithTwoLaunches) {
  const auto compiled = CompileFor(null::Shape::kAvx512, "two_equal_layers");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  // The layer, and what packs its weights.
  ASSERT_THAT(compiled->kernels, SizeIs(2));
  for (const KernelPlan& kernel : compiled->kernels) {
    EXPECT_EQ(kernel.launches, 2) << kernel.name;
  }
}

TEST(Compile, ListsWhatRunsAtLoadApart) {
  const auto compiled =
      CompileFor(null::Shape::kAvx512, "conv_batch_norm_relu");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_THAT(compiled->executable.load_segments, Not(IsEmpty()));
  ASSERT_THAT(compiled->executable.segments, SizeIs(1));
  EXPECT_THAT(compiled->executable.segments[0].commands, SizeIs(1));
  EXPECT_THAT(compiled->schedule_text, HasSubstr("load "));
}

TEST(Compile, CountsTheWorkOfALaunchByTheFreeSizes) {
  const auto compiled = CompileFor(null::Shape::kAvx512, "dynamic_add");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  ASSERT_THAT(compiled->kernels, SizeIs(1));
  for (const int64_t n : {1, 7, 1024}) {
    EXPECT_EQ(*compiled->kernels[0].work.Evaluate({n}), n * 16);
  }
}

TEST(Compile, ShrinksTheTileToTheBudgetAndSaysSo) {
  base::Target target = null::MakeTarget(null::Shape::kAvx512);
  const auto whole = CompileFor(target, "matmul_bias_gelu");
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(whole->notes, IsEmpty());
  target.max_operations = whole->kernels[0].operations / 2;
  const auto shrunk = CompileFor(target, "matmul_bias_gelu");
  ASSERT_TRUE(shrunk.ok()) << shrunk.status();
  ASSERT_THAT(shrunk->notes, SizeIs(1));
  EXPECT_EQ(shrunk->notes[0].kind, "budget");
  EXPECT_EQ(shrunk->notes[0].kernel, shrunk->kernels[0].name);
  EXPECT_LE(shrunk->kernels[0].operations, target.max_operations);
}

TEST(Compile, RefusesAKernelThatFitsNoBudget) {
  base::Target target = null::MakeTarget(null::Shape::kAvx512);
  target.max_operations = 5;
  const auto compiled = CompileFor(target, "softmax_f32");
  EXPECT_EQ(compiled.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(compiled.status().message(),
              HasSubstr("instructions with its smallest tile, the limit is 5, "
                        "and it cannot be split"));
}

TEST(Compile, SplitsAKernelOfTooManyInstructionsAndSaysSo) {
  const auto compile = [](int64_t max_operations) {
    base::Target target = null::MakeTarget(null::Shape::kScalar);
    target.max_operations = max_operations;
    support::GraphMaker g;
    ir::Id x = g.Input("x", {64});
    for (int i = 1; i <= 40; ++i)
      x = g.b().Mul(g.b().Unary(ir::Op::kTanh, x), g.b().Float(i));
    g.Output("y", x);
    const auto graph = g.Finish();
    const auto backend = null::MakeNullBackend();
    const CompileDevice devices[] = {{"cpu", target, &backend->codegen()}};
    return Compile(*graph, {}, devices);
  };
  const auto whole = compile(1'000'000);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_THAT(whole->kernels, SizeIs(1));
  const int64_t limit = whole->kernels[0].operations / 3;
  const auto split = compile(limit);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_THAT(split->kernels, SizeIs(::testing::Ge(3)));
  EXPECT_THAT(split->kernels, SizeIs(::testing::Le(6)));
  for (const KernelPlan& kernel : split->kernels) {
    EXPECT_LE(kernel.operations, limit);
  }
  ASSERT_FALSE(split->notes.empty());
  EXPECT_EQ(split->notes[0].kind, "budget");
  EXPECT_THAT(split->notes[0].text, HasSubstr("it was split at"));
}

TEST(Compile, KeepsTheTextsOfStagesOnlyWhenAsked) {
  const auto kept = CompileFor(null::Shape::kAvx512, "layer_norm");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_THAT(kept->graph_text, Not(IsEmpty()));
  EXPECT_THAT(kept->kernels[0].kernel_text, HasSubstr("# scheduled: "));
  EXPECT_THAT(kept->kernels[0].linear_text, Not(IsEmpty()));
  base::CompileOptions options;
  options.keep_stages = false;
  const auto dropped = CompileFor(null::Shape::kAvx512, "layer_norm", options);
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_THAT(dropped->graph_text, IsEmpty());
  EXPECT_THAT(dropped->schedule_text, IsEmpty());
  EXPECT_THAT(dropped->kernels[0].kernel_text, IsEmpty());
  EXPECT_THAT(dropped->kernels[0].linear_text, IsEmpty());
  EXPECT_EQ(dropped->kernels[0].source.text, kept->kernels[0].source.text);
}

TEST(Compile, ContractsNothingUnderStrictNumerics) {
  base::CompileOptions options;
  options.numerics = base::Numerics::kStrict;
  const auto strict =
      CompileFor(null::Shape::kAvx512, "matmul_bias_gelu", options);
  const auto usual = CompileFor(null::Shape::kAvx512, "matmul_bias_gelu");
  ASSERT_TRUE(strict.ok()) << strict.status();
  ASSERT_TRUE(usual.ok()) << usual.status();
  EXPECT_THAT(strict->kernels[0].source.text, HasSubstr("contract=0"));
  EXPECT_THAT(usual->kernels[0].source.text, HasSubstr("contract=1"));
}

TEST(Compile, FillsInSizesThatAreGiven) {
  const auto compiled =
      CompileFor(null::Shape::kAvx512, "dynamic_add", {.sizes = {{"n", 8}}});
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_THAT(compiled->vars, IsEmpty());
  EXPECT_THAT(compiled->inputs[0].dim_text, ElementsAre("8", "16"));
}

TEST(Compile, SaysWhatIsWrongWithItsOptions) {
  struct Row {
    const char* size;
    int64_t value;
    const char* device;
    const char* message;
  };
  for (const Row& row :
       {Row{"m", 8, "cpu", "no free size is called 'm'; there is 'n'"},
        Row{"n", 0, "cpu", "size 'n' is 0, expected 1 to 1024"},
        Row{"n", 1025, "cpu", "size 'n' is 1025, expected 1 to 1024"},
        Row{"n", 8, "tpu", "no device is called 'tpu'; this server has cpu"}}) {
    base::CompileOptions options;
    options.sizes = {{row.size, row.value}};
    options.device = row.device;
    EXPECT_EQ(CompileFor(null::Shape::kAvx512, "dynamic_add", options).status(),
              absl::InvalidArgumentError(row.message));
  }
}

TEST(Compile, QuotesNamesThatNoTerminalBears) {
  base::CompileOptions options;
  options.device = "a\n\x1b[2J";
  const auto compiled = CompileFor(null::Shape::kAvx2, "dynamic_add", options);
  EXPECT_THAT(compiled.status().message(), HasSubstr("'a\\n\\x1b[2J'"));
}

TEST(Compile, EndsWhenItsTimeIsUp) {
  support::GraphMaker g;
  ir::Id x = g.Input("x", {16, 16});
  for (int i = 0; i < 3000; ++i) {
    x = g.b().Add(g.b().Mul(x, g.b().Float(i)), x);
  }
  g.Output("y", x);
  const auto graph = g.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto backend = null::MakeNullBackend();
  const CompileDevice devices[] = {
      {"cpu", null::MakeTarget(null::Shape::kAvx512), &backend->codegen()}};
  base::CompileOptions options;
  options.timeout_ms = 1;
  const auto compiled = Compile(*graph, options, devices);
  EXPECT_EQ(compiled.status().code(), absl::StatusCode::kDeadlineExceeded)
      << compiled.status();
  EXPECT_THAT(compiled.status().message(),
              HasSubstr("the compile ran out of time before "));
}

}  // namespace
}  // namespace quern
