// SPDX-License-Identifier: Apache-2.0
//
// Into which kernels graphs are cut, and what these cost, without a device:
// kernels, launches, operations against the textbook's count, and how often
// each buffer is read.
#include <cmath>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/contraction.h"
#include "engine/ir/eval.h"
#include "engine/ir/text.h"
#include "engine/kernel/estimate.h"
#include "engine/runtime/size_expr.h"
#include "engine/schedule/schedule.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::schedule {
namespace {

using ir::Id;
using ir::Op;
using support::CutGraph;
using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::Not;
using ::testing::SizeIs;

std::vector<Launch> LaunchesOf(const Schedule& schedule, bool at_load) {
  std::vector<Launch> launches;
  for (const Step& step : schedule.steps) {
    const auto* launch = std::get_if<Launch>(&step);
    if (launch != nullptr && launch->at_load == at_load) {
      launches.push_back(*launch);
    }
  }
  return launches;
}

CutGraph CutExample(const std::string& name) {
  const auto graph = support::ExampleGraph(name);
  EXPECT_TRUE(graph.ok()) << graph.status();
  absl::StatusOr<CutGraph> cut = support::Cut(*graph);
  EXPECT_TRUE(cut.ok()) << cut.status();
  return *std::move(cut);
}

// Operations of all launches of a run.
double OperationsOf(CutGraph& cut) {
  double total = 0;
  for (const Launch& launch : LaunchesOf(cut.schedule, false)) {
    for (Id body : cut.schedule.kernels[launch.kernel].bodies) {
      const Id size = kernel::Operations(*cut.arena, body);
      EXPECT_TRUE(cut.arena->IsConst(size));
      total += static_cast<double>(cut.arena->IntValue(size));
    }
  }
  return total;
}

// How many places of `kernel` read each of its parameters.
std::vector<int> ReadsOf(const CutGraph& cut, const Kernel& kernel) {
  std::map<int64_t, int> reads;
  for (Id id : ir::TopologicalOrder(*cut.arena, kernel.bodies)) {
    const ir::Node& node = (*cut.arena)[id];
    if (node.op != Op::kLoad) continue;
    const ir::Node& base = (*cut.arena)[node.srcs[0]];
    if (base.op == Op::kParam) ++reads[base.attr->ints[0]];
  }
  std::vector<int> counts;
  for (const auto& [param, count] : reads) counts.push_back(count);
  return counts;
}

std::string TextOf(const CutGraph& cut) {
  std::string text;
  for (const Kernel& kernel : cut.schedule.kernels) {
    text += kernel.name + ": " + kernel.summary + "\n" +
            ir::ToText(*cut.arena, kernel.bodies);
  }
  return text;
}

struct OneKernel {
  const char* example;
  double operations;  // The textbook's.
  int reads;          // Places that read one input, at most.
};

TEST(Structure, MakesOneKernelOfWhatIsOneLoopNestInATextbook) {
  for (const OneKernel& c : {
           // x * 1/2, + y, - w, max with 0.
           OneKernel{"elementwise_chain", 4.0 * 64 * 100, 1},
           // Greatest, subtract, exponential, sum, divide.
           OneKernel{"softmax_f32", 5.0 * 64 * 128, 2},
           // Sum, subtract, square, sum, scale by the deviation, w, b; and
           // for each row two means, epsilon, root, reciprocal.
           OneKernel{"layer_norm", 7.0 * 32 * 256 + 5.0 * 32, 2},
           // Multiply and add for 8 channels of 3x3 taps; bias; max with 0.
           OneKernel{"conv_bias_relu", (2.0 * 8 * 9 + 2) * 16 * 14 * 14, 1},
           // Multiply and add for 64 products; bias; x/2 * (1 + erf(x/s)).
           OneKernel{"matmul_bias_gelu", (2.0 * 64 + 1 + 5) * 32 * 48, 1},
           OneKernel{"reduce_axis0", 1.0 * 64 * 48, 1},
           OneKernel{"stack_times_x", 3, 1},
       }) {
    SCOPED_TRACE(c.example);
    CutGraph cut = CutExample(c.example);
    ASSERT_THAT(cut.schedule.kernels, SizeIs(1)) << TextOf(cut);
    EXPECT_THAT(LaunchesOf(cut.schedule, false), SizeIs(1));
    EXPECT_THAT(LaunchesOf(cut.schedule, true), IsEmpty());
    EXPECT_LE(OperationsOf(cut), 1.2 * c.operations) << TextOf(cut);
    EXPECT_GE(OperationsOf(cut), 0.8 * c.operations) << TextOf(cut);
    EXPECT_THAT(ReadsOf(cut, cut.schedule.kernels[0]), Each(Le(c.reads)))
        << TextOf(cut);
  }
}

TEST(Structure, MakesOneKernelOfTwoEqualLayers) {
  const CutGraph cut = CutExample("two_equal_layers");
  EXPECT_THAT(cut.schedule.kernels, SizeIs(1)) << TextOf(cut);
  EXPECT_THAT(LaunchesOf(cut.schedule, false), SizeIs(2));
}

TEST(Structure, ComputesWhatDependsOnWeightsAloneOnceAtLoad) {
  CutGraph cut = CutExample("conv_batch_norm_relu");
  const std::vector<Launch> run = LaunchesOf(cut.schedule, false);
  EXPECT_THAT(LaunchesOf(cut.schedule, true), Not(IsEmpty()));
  ASSERT_THAT(run, SizeIs(1)) << TextOf(cut);
  // Products, scale, shift, max with 0; the root is not in it.
  EXPECT_LE(OperationsOf(cut), (2.0 * 8 * 9 + 3) * 16 * 14 * 14);
  for (Id id : ir::TopologicalOrder(
           *cut.arena, cut.schedule.kernels[run[0].kernel].bodies)) {
    EXPECT_NE((*cut.arena)[id].op, Op::kSqrt);
    EXPECT_NE((*cut.arena)[id].op, Op::kDiv);
  }
}

TEST(Structure, WritesTheSlicesOfAConcatWithoutAddingZeros) {
  const CutGraph cut = CutExample("concat_of_three");
  const std::vector<Launch> run = LaunchesOf(cut.schedule, false);
  ASSERT_THAT(run, SizeIs(3)) << TextOf(cut);
  for (const Launch& launch : run) {
    EXPECT_EQ(cut.schedule.buffers[launch.buffers[0]].kind,
              BufferDecl::Kind::kOutput);
    for (Id id : ir::TopologicalOrder(
             *cut.arena, cut.schedule.kernels[launch.kernel].bodies)) {
      const ir::Node& node = (*cut.arena)[id];
      EXPECT_NE(node.op, Op::kWhere) << TextOf(cut);
      if (node.op == Op::kLoad) {
        EXPECT_THAT(node.srcs, SizeIs(2)) << "a gate";
      }
    }
  }
}

TEST(Structure, MakesTwoKernelsOfAResidualBlock) {
  const CutGraph cut = CutExample("residual_block");
  EXPECT_THAT(LaunchesOf(cut.schedule, false), SizeIs(2)) << TextOf(cut);
  for (const Kernel& kernel : cut.schedule.kernels) {
    EXPECT_THAT(ReadsOf(cut, kernel), Each(Le(1))) << TextOf(cut);
  }
}

TEST(Structure, MakesAtMostFourKernelsOfAttention) {
  const CutGraph cut = CutExample("attention");
  EXPECT_THAT(LaunchesOf(cut.schedule, false), SizeIs(Le(4))) << TextOf(cut);
}

TEST(Structure, GivesAConstantArrayNoBuffer) {
  const CutGraph cut = CutExample("stack_times_x");
  EXPECT_THAT(cut.schedule.buffers, SizeIs(2));
  EXPECT_THAT(cut.schedule.kernels[0].params, SizeIs(2));
}

TEST(Structure, GivesAConstantMatrixOfAProductNoBuffer) {
  std::vector<int64_t> bits;
  for (const double value : {1., 0., -1., 0., 0., 1., 1., 0.}) {
    bits.push_back(ir::Scalar::OfFloat(ir::DType::kF32, value).bits);
  }
  support::GraphMaker g;
  const Id table = g.b().ConstArray(ir::DType::kWeakFloat, bits,
                                    {g.b().Int(2), g.b().Int(4)});
  g.Output("y", graph::MatMul(g.b(), table, g.Input("d", {4, 1000})));
  const auto graph = g.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto cut = support::Cut(*graph);
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_THAT(cut->schedule.buffers, SizeIs(2)) << TextOf(*cut);
  EXPECT_THAT(cut->schedule.kernels, SizeIs(1));
}

TEST(Structure, DoesNotDependOnTheRun) {
  for (const std::string& name : support::ExampleNames()) {
    EXPECT_EQ(TextOf(CutExample(name)), TextOf(CutExample(name)));
  }
}

TEST(Structure, SplitsAKernelThatWouldCostTooMuch) {
  support::GraphMaker g;
  Id x = g.Input("x", {1000});
  for (int i = 0; i < 40; ++i) {
    x = g.b().Add(g.b().Mul(x, x), g.b().Float(i));
  }
  g.Output("y", x);
  const auto graph = g.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto whole = support::Cut(*graph, {.max_kernel_cost = 80});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(whole->schedule.kernels, SizeIs(1));
  const auto parts = support::Cut(*graph, {.max_kernel_cost = 40});
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_THAT(LaunchesOf(parts->schedule, false), SizeIs(2));
}

TEST(Structure, SplitsAChainOfMoreReductionsThanAKernelMayHave) {
  support::GraphMaker g;
  Id x = g.Input("x", {4, 6});
  for (int i = 0; i < 8; ++i) {
    const Id most = g.b().Reduce(Op::kMax, x, {1});
    x = g.b().Sub(x, g.b().Reshape(most, {g.b().Int(4), g.b().Int(1)}));
  }
  g.Output("y", x);
  const auto graph = g.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto whole = support::Cut(*graph, {.max_kernel_loops = 32});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(LaunchesOf(whole->schedule, false), SizeIs(1));
  const auto parts = support::Cut(*graph, {.max_kernel_loops = 8});
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_GE(LaunchesOf(parts->schedule, false).size(), 2u);
}

TEST(Structure, RefusesOperandsOnTwoDevices) {
  support::GraphMaker g;
  const Id x = g.Input("x", {4}, ir::DType::kF32, "cpu");
  const Id y = g.Input("y", {4}, ir::DType::kF32, "ref");
  g.Output("z", g.b().Add(x, y));
  const auto graph = g.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(support::Cut(*graph).status(),
            absl::InvalidArgumentError(
                "operands of add are on 'cpu' and on 'ref'; put a copy "
                "between them"));
}

}  // namespace
}  // namespace quern::schedule
