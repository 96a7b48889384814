// SPDX-License-Identifier: Apache-2.0
//
// Whatever schedule a target calls for, a kernel computes the same: graphs of
// odd sizes are scheduled for targets of every width of vectors, linearized,
// and interpreted lane by lane.
#include "engine/kernel/linearize.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/pooling.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/text.h"
#include "engine/kernel/bind.h"
#include "engine/kernel/constants.h"
#include "engine/kernel/tile_cpu.h"
#include "tests/fuzz/band.h"
#include "tests/fuzz/generator.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Id;
using ir::Op;
using support::GraphMaker;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

base::Target TargetOfWidth(int vector_bytes) {
  base::Target target;
  target.vector_bytes = vector_bytes;
  target.vector_registers = vector_bytes == 64 ? 32 : 16;
  target.masked_vectors = vector_bytes == 64;
  target.fused_multiply_add = true;
  return target;
}

// Sizes of one graph; the first may be free.
struct Sizes {
  Id a, b, c;
  int64_t a_value, b_value, c_value;
};

Id Matrix(GraphMaker& g, absl::string_view name, Id rows, Id columns,
          DType dtype = DType::kF32) {
  return g.SizedInput(name, {rows, columns}, dtype);
}

void Broadcasts(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("y", g.b().Sub(g.b().Mul(x, x), g.SizedInput("y", {s.b})));
}

void ReducesRows(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("sum", g.b().Reduce(Op::kAdd, x, {1}));
  g.Output("max", g.b().Reduce(Op::kMax, x, {1}));
}

void ReducesColumns(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("sum", g.b().Reduce(Op::kAdd, x, {0}));
  g.Output("min", g.b().Reduce(Op::kMin, x, {0}));
}

void ReducesAll(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b, DType::kI32);
  g.Output("sum", g.b().Reduce(Op::kAdd, x, {0, 1}));
  g.Output("product", g.b().Reduce(Op::kMul, x, {0, 1}));
}

void Multiplies(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("y", graph::Relu(g.b(),
                            graph::MatMul(g.b(), x, Matrix(g, "w", s.b, s.c))));
}

void MultipliesByTransposed(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  const Id w = graph::Transpose(g.b(), Matrix(g, "w", s.c, s.b));
  g.Output("y", g.b().Add(graph::MatMul(g.b(), x, w), g.b().Float(1)));
}

void SoftmaxOfRows(GraphMaker& g, const Sizes& s) {
  g.Output("y", graph::Softmax(g.b(), Matrix(g, "x", s.a, s.b), {1}));
}

void SoftmaxOfColumns(GraphMaker& g, const Sizes& s) {
  g.Output("y", graph::Softmax(g.b(), Matrix(g, "x", s.a, s.b), {0}));
}

void NormalizesRows(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("y", graph::Normalize(g.b(), x, {1}, 1e-3).value);
}

void Convolves(GraphMaker& g, const Sizes& s) {
  const Id one = g.b().Int(1);
  const Id x = g.SizedInput("x", {one, g.b().Int(2), s.a, s.b});
  const Id w = g.Weight({3, 2, 3, 3});
  g.Output("y", graph::Convolution(g.b(), x, w, g.Weight({3}), 1,
                                   {.strides = {1, 2},
                                    .dilations = {1, 1},
                                    .pads_before = {one, one},
                                    .pads_after = {one, one}}));
}

void PoolsWithPadding(GraphMaker& g, const Sizes& s) {
  const Id one = g.b().Int(1);
  const Id x = g.SizedInput("x", {one, g.b().Int(2), s.a, s.b});
  g.Output("y", graph::MaxPool(g.b(), x,
                               {.taps = {3, 3},
                                .windows = {.strides = {2, 2},
                                            .dilations = {1, 1},
                                            .pads_before = {one, one},
                                            .pads_after = {one, one}}}));
}

void Gathers(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  const Id at = g.SizedInput("at", {s.c}, DType::kI64);
  g.Output("rows", g.b().Gather(x, at, 0));
  g.Output("columns", g.b().Gather(x, at, 1));
}

void PadsAndAdds(GraphMaker& g, const Sizes& s) {
  const Id x = g.b().Add(Matrix(g, "x", s.a, s.b), g.b().Float(1));
  const Id two = g.b().Int(2);
  const Id padded = g.b().Pad(x, {two, two}, {g.b().Int(1), g.b().Int(3)});
  g.Output("y", padded);
  g.Output("sum", g.b().Reduce(Op::kAdd, padded, {1}));
}

void Concatenates(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  const Id y = Matrix(g, "y", s.a, s.c);
  const Id joined = g.b().Concat({x, g.b().Mul(y, y)}, 1);
  g.Output("y", joined);
  g.Output("z", g.b().Add(joined, g.b().Float(1)));
}

void FlipsAndSkips(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("flipped", g.b().Add(g.b().Flip(x, {1}), x));
  const Id doubled = Matrix(g, "y", s.a, g.b().Mul(s.b, g.b().Int(2)));
  const Id zero = g.b().Int(0);
  const Id even = g.b().Shrink(doubled, {zero, zero}, {s.a, s.b}, {1, 2});
  const Id odd =
      g.b().Shrink(doubled, {zero, g.b().Int(1)}, {s.a, s.b}, {1, 2});
  g.Output("sum", g.b().Add(even, odd));
  g.Output("transposed", g.b().Mul(graph::Transpose(g.b(), x), g.b().Float(2)));
}

void Counts(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", s.a, s.b);
  g.Output("where", graph::ArgReduce(g.b(), x, 1, {}));
  const Id positive = g.b().Less(g.b().Float(0), x);
  g.Output("positive", positive);
  g.Output("count",
           g.b().Reduce(Op::kAdd, g.b().Cast(positive, DType::kI64), {0}));
}

Id Table(GraphMaker& g, const std::vector<double>& values,
         std::vector<int64_t> dims) {
  std::vector<int64_t> bits;
  for (double v : values) {
    bits.push_back(ir::Scalar::OfFloat(DType::kF32, v).bits);
  }
  std::vector<Id> sizes;
  for (int64_t dim : dims) sizes.push_back(g.b().Int(dim));
  return g.b().ConstArray(DType::kWeakFloat, bits, sizes);
}

void ScalesByATable(GraphMaker& g, const Sizes& s) {
  const Id three = g.b().Int(3);
  g.Output("last",
           g.b().Mul(Matrix(g, "x", s.a, three), Table(g, {1, -2, 0.5}, {3})));
  g.Output("first", g.b().Mul(Matrix(g, "y", three, s.b),
                              Table(g, {1, -2, 0.5}, {3, 1})));
}

void ScalesAroundATile(GraphMaker& g, const Sizes& s) {
  const Id x = Matrix(g, "x", g.b().Int(3), s.b);
  const Id scaled = g.b().Mul(x, Table(g, {1, -2, 0.5}, {3, 1}));
  g.Output("softmax", graph::Softmax(g.b(), scaled, {1}));
  g.Output("y", g.SizedInput("y", {s.a}));
}

void ScalesAProduct(GraphMaker& g, const Sizes& s) {
  const Id three = g.b().Int(3);
  const Id product = graph::MatMul(g.b(), Matrix(g, "x", s.a, s.b),
                                   Matrix(g, "w", s.b, three));
  g.Output("y", g.b().Mul(product, Table(g, {1, -2, 0.5}, {3})));
}

void TransformsByATable(GraphMaker& g, const Sizes& s) {
  // B' d of Winograd's F(2,3), for a tiles d [4, a].
  const Id four = g.b().Int(4);
  const Id d = g.SizedInput("d", {four, s.a});
  const Id bt =
      Table(g, {1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, -1}, {4, 4});
  g.Output("y", graph::MatMul(g.b(), bt, d));
  g.Output("softmax", graph::Softmax(g.b(),
                                     g.b().Mul(Matrix(g, "x", s.a, four),
                                               Table(g, {1, 2, 1, 0.5}, {4})),
                                     {1}));
}

struct Pattern {
  const char* name;
  void (*make)(GraphMaker& g, const Sizes& sizes);
};

constexpr Pattern kPatterns[] = {
    {"Broadcasts", Broadcasts},
    {"Concatenates", Concatenates},
    {"Convolves", Convolves},
    {"Counts", Counts},
    {"FlipsAndSkips", FlipsAndSkips},
    {"Gathers", Gathers},
    {"Multiplies", Multiplies},
    {"MultipliesByTransposed", MultipliesByTransposed},
    {"NormalizesRows", NormalizesRows},
    {"PadsAndAdds", PadsAndAdds},
    {"PoolsWithPadding", PoolsWithPadding},
    {"ReducesAll", ReducesAll},
    {"ReducesColumns", ReducesColumns},
    {"ReducesRows", ReducesRows},
    {"ScalesAProduct", ScalesAProduct},
    {"ScalesAroundATile", ScalesAroundATile},
    {"ScalesByATable", ScalesByATable},
    {"SoftmaxOfColumns", SoftmaxOfColumns},
    {"SoftmaxOfRows", SoftmaxOfRows},
    {"TransformsByATable", TransformsByATable},
};

class Schedules : public ::testing::TestWithParam<Pattern> {};

// Runs `graph` with each schedule and compares with the oracle.
void ExpectEverySchedulesResult(const graph::Graph& graph, int64_t free_size,
                                uint64_t seed) {
  const std::vector<ref::Tensor> inputs =
      support::InputsFor(graph, free_size, seed);
  absl::StatusOr<std::vector<ref::Tensor>> expected =
      ref::EvaluateGraph(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status();
  absl::StatusOr<support::CutGraph> cut = support::Cut(graph);
  ASSERT_TRUE(cut.ok()) << cut.status();
  for (const int width : {0, 16, 32, 64}) {
    for (const int shrink : {0, 2}) {
      SCOPED_TRACE(absl::StrCat(width, " bytes, shrunk ", shrink, " times"));
      const base::Target target = TargetOfWidth(width);
      const auto results = support::RunCut(
          *cut, graph, inputs, target, [&](ir::Arena& arena, Id body) {
            return TileForCpu(arena, body, target, shrink, {}).bodies;
          });
      ASSERT_TRUE(results.ok()) << results.status();
      for (size_t i = 0; i < results->size(); ++i) {
        (*expected)[i].dims = (*results)[i].dims;
        EXPECT_EQ(support::Difference((*expected)[i], (*results)[i], 2e-5), "")
            << "of output " << graph.outputs[i].name;
      }
    }
  }
}

TEST_P(Schedules, GiveTheResultOfTheGraph) {
  std::mt19937_64 random(7);
  const auto size = [&] {
    // Widths of vectors and their neighbours are met often enough.
    constexpr int64_t kEdges[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 32, 33};
    return random() % 3 == 0 ? kEdges[random() % std::size(kEdges)]
                             : static_cast<int64_t>(random() % 40) + 1;
  };
  for (int round = 0; round < 12; ++round) {
    const bool free = round % 3 == 2;
    Sizes s = {};
    s.a_value = size();
    s.b_value = size();
    s.c_value = size();
    GraphMaker g;
    s.a = free ? g.b().Var("n", 1, 4096) : g.b().Int(s.a_value);
    s.b = g.b().Int(s.b_value);
    s.c = g.b().Int(s.c_value);
    GetParam().make(g, s);
    const absl::StatusOr<graph::Graph> graph = g.Finish();
    ASSERT_TRUE(graph.ok()) << graph.status();
    SCOPED_TRACE(absl::StrCat(free ? "free " : "", s.a_value, " ", s.b_value,
                              " ", s.c_value));
    ExpectEverySchedulesResult(*graph, s.a_value, round);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Patterns, Schedules, ::testing::ValuesIn(kPatterns),
                         [](const auto& pattern) {
                           return std::string(pattern.param.name);
                         });

TEST(Linearize, KeepsRandomGraphsWithinTheirBands) {
  for (uint64_t seed = 5000; seed < 5080; ++seed) {
    const std::string text =
        fuzz::GenerateCase(seed, {.max_nodes = 25, .max_elements = 600});
    const auto fuzz_case = fuzz::ParseCase(text);
    ASSERT_TRUE(fuzz_case.ok()) << fuzz_case.status() << "\n" << text;
    const auto bands = fuzz::BandsOf(*fuzz_case);
    ASSERT_TRUE(bands.ok()) << bands.status() << "\n" << text;
    absl::StatusOr<support::CutGraph> cut = support::Cut(fuzz_case->graph);
    ASSERT_TRUE(cut.ok()) << cut.status() << "\n" << text;
    for (const int width : {0, 16, 32, 64}) {
      const base::Target target = TargetOfWidth(width);
      auto results = support::RunCut(
          *cut, fuzz_case->graph, fuzz_case->inputs, target,
          [&](ir::Arena& arena, Id body) {
            return TileForCpu(arena, body, target, 0, {}).bodies;
          });
      ASSERT_TRUE(results.ok()) << width << " " << results.status() << "\n"
                                << text;
      for (size_t i = 0; i < results->size(); ++i) {
        (*results)[i].dims = (*bands)[i].dims;
        ASSERT_EQ(fuzz::Outside((*bands)[i], (*results)[i]), "")
            << "output " << i << " with vectors of " << width << " bytes of\n"
            << text;
      }
    }
  }
}

// The program of the only kernel of a graph.
std::string ProgramOf(const absl::StatusOr<graph::Graph>& graph,
                      const base::Target& target) {
  EXPECT_TRUE(graph.ok()) << graph.status();
  auto cut = support::Cut(*graph);
  EXPECT_TRUE(cut.ok()) << cut.status();
  const schedule::Kernel& kernel = cut->schedule.kernels[0];
  ir::Arena& arena = *cut->arena;
  const Id tiled = TileForCpu(arena, kernel.bodies[0], target, 0, {}).bodies[0];
  const auto body = Bind(arena, tiled, target);
  EXPECT_TRUE(body.ok()) << body.status();
  std::vector<Param> params;
  for (const auto& param : kernel.params) {
    params.push_back({param.dtype, param.written});
  }
  const auto linear = Linearize(arena, "k", std::move(params), {*body},
                                cut->schedule.vars, target, true);
  EXPECT_TRUE(linear.ok()) << linear.status();
  return ToText(linear->program);
}

TEST(Linearize, MakesImmediatesOfAStackOfScalars) {
  for (const int width : {0, 16, 64}) {
    const std::string text =
        ProgramOf(support::ExampleGraph("stack_times_x"), TargetOfWidth(width));
    EXPECT_THAT(text, Not(HasSubstr("table"))) << text;
    EXPECT_THAT(text, Not(HasSubstr("const_array"))) << text;
    EXPECT_THAT(text, Not(HasSubstr("#1.0"))) << text;
    const auto program = ParseProgram(text);
    ASSERT_TRUE(program.ok()) << program.status();
    const auto count = [&](Op op) {
      return std::count_if(program->code.begin(), program->code.end(),
                           [&](const Instruction& at) { return at.op == op; });
    };
    // x0, 2 x1, 3 x2: nothing is multiplied by 1.
    EXPECT_EQ(count(Op::kMul), 2) << text;
    EXPECT_EQ(count(Op::kLoad), 3) << text;
    EXPECT_EQ(count(Op::kStore), 3) << text;
    EXPECT_EQ(program->params.size(), 2u);
  }
}

TEST(Linearize, StoresPastTheCachesWhatTheyCannotHold) {
  base::Target target = TargetOfWidth(64);
  target.l3_bytes = 1 << 20;
  const auto stores = [&](const std::vector<int64_t>& dims) {
    GraphMaker g;
    g.Output("y", graph::Relu(g.b(), g.Input("x", dims)));
    return ProgramOf(g.Finish(), target);
  };
  EXPECT_THAT(stores({512, 513}), HasSubstr("store.f32x16 #1 "));
  // A free size may be small.
  GraphMaker g;
  const Id n = g.b().Var("n", 1, 1 << 20);
  g.Output("y", graph::Relu(g.b(), g.SizedInput("x", {n, g.b().Int(512)})));
  EXPECT_THAT(ProgramOf(g.Finish(), target), Not(HasSubstr("f32x16 #1")));
  EXPECT_THAT(stores({448, 512}),
              AllOf(HasSubstr("store.f32x16 "), Not(HasSubstr("f32x16 #1"))));
}

TEST(UnrollConstantAxes, LeavesLongAxesAndManyCopiesAlone) {
  const auto unrolls = [](std::vector<int64_t> dims) {
    int64_t count = 1;
    for (int64_t dim : dims) count *= dim;
    GraphMaker g;
    std::vector<Id> sizes;
    for (int64_t dim : dims) sizes.push_back(g.b().Int(dim));
    std::vector<double> values(count);
    std::iota(values.begin(), values.end(), 2);
    g.Output("y", g.b().Mul(Table(g, values, dims), g.SizedInput("x", sizes)));
    const auto graph = g.Finish();
    EXPECT_TRUE(graph.ok()) << graph.status();
    auto cut = support::Cut(*graph);
    EXPECT_TRUE(cut.ok()) << cut.status();
    const Id body = cut->schedule.kernels[0].bodies[0];
    return UnrollConstantAxes(*cut->arena, body) != body;
  };
  EXPECT_TRUE(unrolls({16}));
  EXPECT_FALSE(unrolls({17}));
  EXPECT_TRUE(unrolls({4, 16}));
  EXPECT_FALSE(unrolls({5, 16}));
}

}  // namespace
}  // namespace quern::kernel
