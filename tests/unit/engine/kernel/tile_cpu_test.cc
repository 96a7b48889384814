// SPDX-License-Identifier: Apache-2.0
//
// Which schedule is chosen for what; that each is right is for
// linearize_test.cc.
#include "engine/kernel/tile_cpu.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/null/null_backend.h"
#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/ir/text.h"
#include "engine/kernel/opts.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::kernel {
namespace {

using ir::Id;
using support::GraphMaker;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Ne;
using ::testing::Not;
using ::testing::StartsWith;

struct Tiled {
  support::CutGraph cut;
  TileResult tile;
};

Tiled Tile(const absl::StatusOr<graph::Graph>& graph, null::Shape shape,
           const std::vector<bool>& at_load = {}) {
  EXPECT_TRUE(graph.ok()) << graph.status();
  Tiled out = {*support::Cut(*graph), {}};
  EXPECT_EQ(out.cut.schedule.kernels.size(), 1u);
  out.tile = TileForCpu(*out.cut.arena, out.cut.schedule.kernels[0].bodies[0],
                        null::MakeTarget(shape), /*shrink=*/0, at_load);
  return out;
}

std::string Description(const absl::StatusOr<graph::Graph>& graph,
                        null::Shape shape = null::Shape::kAvx512) {
  return Tile(graph, shape).tile.description;
}

TEST(TileForCpu, ChoosesByTheFormOfTheKernel) {
  struct Row {
    const char* example;
    const char* description;
  };
  for (const Row& row : {
           Row{"conv_bias_relu", "outer product, tile "},
           Row{"elementwise_chain", "loops, 16 lanes"},
           Row{"matmul_bias_gelu", "outer product, tile "},
           Row{"reduce_axis0", "loops, 16 lanes"},
           Row{"softmax_f32", "loops, 16 lanes"},
       }) {
    EXPECT_THAT(Description(support::ExampleGraph(row.example)),
                StartsWith(row.description))
        << row.example;
  }
}

TEST(TileForCpu, AddsLanesWhereBothFactorsAreContiguous) {
  GraphMaker g;
  const Id x = g.Input("x", {8, 64});
  g.Output("y", graph::MatMul(g.b(), x,
                              graph::Transpose(g.b(), g.Input("w", {8, 64}))));
  EXPECT_THAT(Description(g.Finish()), StartsWith("inner product, tile "));
}

TEST(TileForCpu, LeavesTargetsWithoutVectorsSerial) {
  const Tiled tiled =
      Tile(support::ExampleGraph("matmul_bias_gelu"), null::Shape::kScalar);
  EXPECT_EQ(tiled.tile.description, "serial");
  for (Id range : StoreRanges(*tiled.cut.arena, tiled.tile.bodies[0])) {
    EXPECT_EQ(KindOf(*tiled.cut.arena, range), ir::RangeKind::kSerial);
  }
}

TEST(TileForCpu, TakesAsManyLanesAsTheRegistersHold) {
  const auto graph = support::ExampleGraph("elementwise_chain");
  EXPECT_EQ(Description(graph, null::Shape::kNeon), "loops, 4 lanes");
  EXPECT_EQ(Description(graph, null::Shape::kAvx2), "loops, 8 lanes");
  EXPECT_EQ(Description(graph, null::Shape::kAvx512), "loops, 16 lanes");
}

// The result, the image and the weights are parameters 0, 1 and 2.
std::string DescriptionOfConvolution(int64_t channels, int64_t size,
                                     int64_t filters, int64_t stride = 1) {
  GraphMaker g;
  const Id one = g.b().Int(1);
  graph::Windows windows;
  windows.strides = {stride, stride};
  windows.pads_before = windows.pads_after = {one, one};
  g.Output("y",
           graph::Convolution(g.b(), g.Input("x", {1, channels, size, size}),
                              g.Weight({filters, channels, 3, 3}), ir::kNoNode,
                              1, windows));
  return Tile(g.Finish(), null::Shape::kAvx512, {false, false, true})
      .tile.description;
}

TEST(TileForCpu, RunsLanesAlongAnImageThatFillsThem) {
  // Rows of two vectors; stores of channels would lie apart.
  EXPECT_THAT(DescriptionOfConvolution(16, 32, 16), EndsWith("x32"));
}

TEST(TileForCpu, RunsLanesAlongPackedChannelsWhereAnImageWastesThem) {
  // Rows of half a vector.
  EXPECT_THAT(DescriptionOfConvolution(256, 7, 256), EndsWith(", packed"));
}

TEST(TileForCpu, PutsEverySecondElementSideBySideForManyFilters) {
  EXPECT_THAT(DescriptionOfConvolution(3, 224, 64, 2),
              EndsWith(", packed by its chunks"));
  // Few filters would not use a copy often enough.
  EXPECT_THAT(DescriptionOfConvolution(3, 224, 4, 2), Not(HasSubstr("chunks")));
}

TEST(TileForCpu, TilesThePhasesOfATransposedConvolution) {
  for (int64_t taps : {2, 4}) {
    SCOPED_TRACE(taps);
    GraphMaker g;
    const Id pad = g.b().Int(taps / 2 - 1);
    graph::Windows windows;
    windows.strides = {2, 2};
    windows.pads_before = windows.pads_after = {pad, pad};
    // Between others, so that the channels are contiguous.
    const Id x = g.Input("x", {1, 32, 32, 64});
    const Id y = graph::TransposedConvolution(
        g.b(), g.b().Permute(x, {0, 3, 1, 2}), g.Weight({64, 32, taps, taps}),
        ir::kNoNode, 1, windows, {});
    g.Output("y", g.b().Permute(y, {0, 2, 3, 1}));
    const Tiled tiled =
        Tile(g.Finish(), null::Shape::kAvx512, {false, false, true});
    EXPECT_THAT(tiled.tile.description, EndsWith(", packed"));
    EXPECT_THAT(tiled.tile.description, Not(HasSubstr("tile 1x")));
    for (Id id : ir::TopologicalOrder(*tiled.cut.arena, tiled.tile.bodies)) {
      EXPECT_THAT((*tiled.cut.arena)[id].op,
                  AllOf(Ne(ir::Op::kIDiv), Ne(ir::Op::kMod)));
    }
  }
}

TEST(TileForCpu, CopiesAFactorWhoseRowsShareSetsOfTheCache) {
  const auto description = [](int64_t rows, int64_t columns) {
    GraphMaker g;
    g.Output("y", graph::MatMul(g.b(), g.Input("a", {256, rows}),
                                g.Input("b", {rows, columns})));
    return Tile(g.Finish(), null::Shape::kAvx512, {false, false, false})
        .tile.description;
  };
  EXPECT_THAT(description(512, 4096), EndsWith(", packed"));
  EXPECT_THAT(description(1024, 4080), HasSubstr(", packed"));
  EXPECT_THAT(description(256, 4080), Not(HasSubstr(", packed")));
  // Few enough to stay wherever they are.
  EXPECT_THAT(description(128, 128), Not(HasSubstr(", packed")));
}

TEST(TileForCpu, LetsChunksPackWhatTheirCacheHolds) {
  const auto packer = [](int64_t rows, int64_t steps,
                         int64_t columns) -> std::string {
    GraphMaker g;
    g.Output("y", graph::MatMul(g.b(), g.Input("a", {rows, steps}),
                                g.Input("b", {steps, columns})));
    const Tiled tiled =
        Tile(g.Finish(), null::Shape::kAvx512, {false, false, false});
    if (!absl::StrContains(tiled.tile.description, "by its chunks")) {
      return tiled.tile.packs.empty() ? "nobody" : "a launch";
    }
    EXPECT_TRUE(tiled.tile.packs.empty());
    // While the tiles of a chunk compute, they ask for the next panel.
    EXPECT_THAT(ir::ToText(*tiled.cut.arena, tiled.tile.bodies),
                HasSubstr("prefetch"));
    return "chunks";
  };
  EXPECT_EQ(packer(1040, 256, 520), "chunks");
  EXPECT_EQ(packer(1040, 800, 170), "chunks");
  EXPECT_EQ(packer(80, 800, 520), "a launch");  // A copy would meet few rows,
  EXPECT_EQ(packer(1040, 3000, 520), "a launch");  // few rows of so many bytes,
  EXPECT_EQ(packer(200, 800, 170), "a launch");    // or few in so many chunks.
  EXPECT_EQ(packer(1040, 512, 1024), "a launch");  // Lines share sets.
}

TEST(TileForCpu, NamesEachChoiceInItsOwnWords) {
  GraphMaker g;
  graph::Windows windows;
  windows.strides = {2, 2};
  g.Output("y", graph::Convolution(g.b(), g.Input("x", {1, 256, 56, 56}),
                                   g.Weight({512, 256, 1, 1}), ir::kNoNode, 1,
                                   windows));
  const std::vector<std::string> choices =
      Tile(g.Finish(), null::Shape::kAvx512, {false, false, true}).tile.choices;
  EXPECT_THAT(choices, Contains(EndsWith("packed 1")));
  EXPECT_THAT(choices, Contains(EndsWith("packed 1 by chunks")));
  EXPECT_EQ(std::set<std::string>(choices.begin(), choices.end()).size(),
            choices.size());
}

TEST(TileForCpu, AsksForTheNextPanelOfWeightsWhereFewTilesMeetOne) {
  const auto asks = [](int64_t rows, int64_t columns) {
    GraphMaker g;
    g.Output("y", graph::MatMul(g.b(), g.Input("x", {rows, 768}),
                                g.Weight({768, columns})));
    const Tiled tiled =
        Tile(g.Finish(), null::Shape::kAvx512, {false, false, true});
    return absl::StrContains(ir::ToText(*tiled.cut.arena, tiled.tile.bodies),
                             "prefetch");
  };
  EXPECT_TRUE(asks(128, 768));
  EXPECT_FALSE(asks(128, 64));    // The cache holds all weights.
  EXPECT_FALSE(asks(2000, 768));  // Each panel meets many tiles.
  EXPECT_FALSE(asks(1, 768));     // Each panel is read once.
}

TEST(TileForCpu, AsksForTheNextRowWhereLoopsReadOneAgain) {
  const auto asks = [](int64_t rows, bool twice) {
    GraphMaker g;
    const Id x = g.Input("x", {rows, 1024});
    g.Output("y", twice ? graph::Softmax(g.b(), x, {1})
                        : g.b().Reduce(ir::Op::kAdd, x, {1}));
    const Tiled tiled = Tile(g.Finish(), null::Shape::kAvx512);
    return absl::StrContains(ir::ToText(*tiled.cut.arena, tiled.tile.bodies),
                             "prefetch");
  };
  EXPECT_TRUE(asks(4096, true));
  EXPECT_FALSE(asks(4096, false));  // Memory is never idle.
  EXPECT_FALSE(asks(16, true));     // They are in a cache already.
}

TEST(TileForCpu, HasSmallerTilesForWhatIsLeftOfAFreeNumberOfRows) {
  GraphMaker g;
  const Id x = g.SizedInput("x", {g.b().Var("n", 1, 64), g.b().Int(768)});
  g.Output("y", graph::MatMul(g.b(), x, g.Weight({768, 768})));
  const Tiled tiled =
      Tile(g.Finish(), null::Shape::kAvx512, {false, false, true});
  EXPECT_THAT(tiled.tile.description,
              EndsWith(", packed, fewer rows for the rest"));
  EXPECT_EQ(tiled.tile.bodies.size(), 3u);  // Of many rows, of 4 and of 1.
  EXPECT_EQ(tiled.tile.packs.size(), 1u);
}

TEST(TileForCpu, KeepsTheTileOfAProductThatIsScaledByAConstantArray) {
  std::vector<int64_t> bits;
  for (int i = 0; i < 16; ++i) {
    bits.push_back(ir::Scalar::OfFloat(ir::DType::kF32, i).bits);
  }
  GraphMaker g;
  const Id product =
      graph::MatMul(g.b(), g.Input("x", {32, 64}), g.Input("w", {64, 16}));
  const Id sixteen[] = {g.b().Int(16)};
  g.Output("y", g.b().Mul(product, g.b().ConstArray(ir::DType::kWeakFloat, bits,
                                                    sixteen)));
  EXPECT_THAT(Description(g.Finish()), StartsWith("outer product, tile "));
}

TEST(TileForCpu, UnrollsAProductWithAConstantArray) {
  std::vector<int64_t> bits;
  for (const double value : {1., 0., -1., 0., 0., 1., 1., 0.}) {
    bits.push_back(ir::Scalar::OfFloat(ir::DType::kF32, value).bits);
  }
  GraphMaker g;
  const Id table = g.b().ConstArray(ir::DType::kWeakFloat, bits,
                                    {g.b().Int(2), g.b().Int(4)});
  g.Output("y", graph::MatMul(g.b(), table, g.Input("d", {4, 1000})));
  const Tiled tiled = Tile(g.Finish(), null::Shape::kAvx512);
  EXPECT_EQ(tiled.tile.description, "loops, 16 lanes");
  int unrolled = 0;
  for (Id id : ir::TopologicalOrder(*tiled.cut.arena, {tiled.tile.bodies[0]})) {
    if ((*tiled.cut.arena)[id].op != ir::Op::kRange) continue;
    unrolled += KindOf(*tiled.cut.arena, id) == ir::RangeKind::kUnroll;
  }
  EXPECT_EQ(unrolled, 2) << ir::ToText(*tiled.cut.arena,
                                       {tiled.tile.bodies[0]});
}

}  // namespace
}  // namespace quern::kernel
