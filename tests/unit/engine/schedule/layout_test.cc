// SPDX-License-Identifier: Apache-2.0
//
// In which order the elements of buffers between kernels lie, as the kernels
// that store and load them say.
#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/graph/contraction.h"
#include "engine/graph/pooling.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
#include "engine/ir/text.h"
#include "engine/kernel/opts.h"
#include "engine/schedule/schedule.h"
#include "tests/support/example_graphs.h"
#include "tests/support/schedule_runner.h"

namespace quern::schedule {
namespace {

using ir::Id;
using ir::kNoNode;
using ir::Op;
using support::GraphMaker;
using ::testing::SizeIs;

// One launch of a run.
struct Stored {
  Id body = kNoNode;
  BufferDecl written;
  std::vector<int> buffers;
};

// A graph whose axes all have different sizes, cut into kernels.
class Layout {
 public:
  explicit Layout(void (*make)(GraphMaker& g)) {
    GraphMaker g;
    make(g);
    graph_ = *g.Finish();
    cut_ = *support::Cut(graph_);
    for (const Step& step : cut_.schedule.steps) {
      const auto& launch = std::get<Launch>(step);
      if (launch.at_load) continue;
      launches_.push_back({cut_.schedule.kernels[launch.kernel].bodies[0],
                           cut_.schedule.buffers[launch.buffers[0]],
                           launch.buffers});
    }
  }

  [[nodiscard]] const std::vector<Stored>& launches() const {
    return launches_;
  }

  // How far apart elements lie that are neighbours along the axis of `size`,
  // in the buffer that `launch` writes.
  int64_t StepOfStore(size_t launch, int64_t size) {
    const Id store = (*cut_.arena)[launches_[launch].body].srcs[0];
    return StepAlong(store, size);
  }

  // The same where `launch` loads an input of the graph.
  int64_t StepOfInput(size_t launch, int64_t size) {
    const Id body = launches_[launch].body;
    for (Id id : ir::TopologicalOrder(*cut_.arena, {body})) {
      const ir::Node& node = (*cut_.arena)[id];
      if (node.op != Op::kLoad) continue;
      const ir::Node& base = (*cut_.arena)[node.srcs[0]];
      if (base.op != Op::kParam) continue;
      const int buffer = launches_[launch].buffers[base.attr->ints[0]];
      if (cut_.schedule.buffers[buffer].kind == BufferDecl::Kind::kInput) {
        return StepAlong(id, size);
      }
    }
    ADD_FAILURE() << "no load of an input\n" << ir::ToText(*cut_.arena, {body});
    return 0;
  }

  int64_t ElementsOf(size_t launch) {
    return cut_.arena->IntValue(launches_[launch].written.elements);
  }

  // True if `launch` computes each sum once: the ranges that a sum depends on
  // stand outside all others of the stores.
  bool SumsOnce(size_t launch) {
    ir::Arena& arena = *cut_.arena;
    const Id body = launches_[launch].body;
    const std::vector<Id> store = kernel::StoreRanges(arena, body);
    for (Id id : ir::TopologicalOrder(arena, {body})) {
      if (arena[id].op != Op::kReduce) continue;
      const std::vector<Id> free = kernel::FreeRanges(arena, id);
      const auto used = [&](Id range) {
        return std::find(free.begin(), free.end(), range) != free.end();
      };
      if (!std::is_partitioned(store.begin(), store.end(), used)) return false;
    }
    return true;
  }

  // Whatever the layout, the results are those of the oracle.
  void ExpectRight() {
    const auto inputs = support::InputsFor(graph_, 0, 5);
    const auto expected = ref::EvaluateGraph(graph_, inputs);
    ASSERT_TRUE(expected.ok()) << expected.status();
    base::Target target;
    target.vector_bytes = 16;
    const auto got = support::RunCut(cut_, graph_, inputs, target,
                                     [](ir::Arena&, Id body) { return body; });
    ASSERT_TRUE(got.ok()) << got.status();
    ref::Tensor flat = (*expected)[0];
    flat.dims = (*got)[0].dims;
    EXPECT_EQ(support::Difference(flat, (*got)[0], 1e-5), "");
  }

 private:
  int64_t StepAlong(Id access, int64_t size) {
    ir::Arena& arena = *cut_.arena;
    const Id index = arena[access].srcs[1];
    for (Id range : kernel::FreeRanges(arena, index)) {
      if (!arena.IsInt(arena[range].srcs[0], size)) continue;
      const Id step = ir::AffineIn(arena, index, range).coefficient;
      if (step != kNoNode && arena.IsConst(step)) return arena.IntValue(step);
    }
    ADD_FAILURE() << "no range of " << size << " points\n"
                  << ir::ToText(arena, {access});
    return 0;
  }

  graph::Graph graph_;
  support::CutGraph cut_;
  std::vector<Stored> launches_;
};

// Windows of 3x3 that keep the size of the image.
Id Convolved(GraphMaker& g, Id x, int64_t from, int64_t to) {
  const Id one = g.b().Int(1);
  graph::Windows windows;
  windows.pads_before = windows.pads_after = {one, one};
  return graph::Relu(g.b(),
                     graph::Convolution(g.b(), x, g.Weight({to, from, 3, 3}),
                                        g.Weight({to}), 1, windows));
}

constexpr int64_t kHeight = 6;
constexpr int64_t kWidth = 7;

TEST(Layout, PutsTheChannelsOfImagesBetweenConvolutionsSideBySide) {
  Layout layout([](GraphMaker& g) {
    const Id x = g.Input("x", {2, 5, kHeight, kWidth});
    const Id y = Convolved(g, Convolved(g, x, 5, 16), 16, 24);
    g.Output("y", Convolved(g, y, 24, 9));
  });
  ASSERT_THAT(layout.launches(), SizeIs(3));
  for (const auto& [launch, channels] : {std::pair{0, 16}, {1, 24}}) {
    SCOPED_TRACE(launch);
    EXPECT_EQ(layout.StepOfStore(launch, channels), 1);
    EXPECT_EQ(layout.StepOfStore(launch, kWidth), channels);
    EXPECT_EQ(layout.StepOfStore(launch, kHeight), channels * kWidth);
    EXPECT_EQ(layout.StepOfStore(launch, 2), channels * kWidth * kHeight);
    EXPECT_EQ(layout.ElementsOf(launch), 2 * channels * kWidth * kHeight);
  }
  layout.ExpectRight();
}

TEST(Layout, KeepsInputsAndOutputsRowMajor) {
  Layout layout([](GraphMaker& g) {
    const Id x = g.Input("x", {1, 5, kHeight, kWidth});
    g.Output("y", Convolved(g, Convolved(g, x, 5, 16), 16, 9));
  });
  ASSERT_THAT(layout.launches(), SizeIs(2));
  EXPECT_EQ(layout.StepOfInput(0, kWidth), 1);
  EXPECT_EQ(layout.StepOfInput(0, 5), kHeight * kWidth);
  EXPECT_EQ(layout.StepOfStore(1, kWidth), 1);
  EXPECT_EQ(layout.StepOfStore(1, kHeight), kWidth);
  EXPECT_EQ(layout.StepOfStore(1, 9), kHeight * kWidth);
  layout.ExpectRight();
}

// What no contraction asks for lies as what it is computed from.
TEST(Layout, LetsAPoolingFollowTheConvolutionsAroundIt) {
  Layout layout([](GraphMaker& g) {
    const Id x = g.Input("x", {1, 5, kHeight, kWidth});
    graph::PoolOptions pool;
    pool.taps = {2, 3};
    pool.windows.strides = {2, 2};
    const Id pooled = graph::MaxPool(g.b(), Convolved(g, x, 5, 16), pool);
    // Pooled again before anything is multiplied, 3x3 -> 2x1.
    const Id twice = graph::MaxPool(g.b(), pooled,
                                    {.taps = {2, 3},
                                     .windows = {},
                                     .ceil_mode = false,
                                     .count_padding = false});
    g.Output("y", Convolved(g, twice, 16, 9));
  });
  ASSERT_GE(layout.launches().size(), 3u);
  for (size_t i = 0; i + 1 < layout.launches().size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(layout.StepOfStore(i, 16), 1);
  }
  layout.ExpectRight();
}

TEST(Layout, PutsTheChannelsOfADepthwiseConvolutionSideBySide) {
  Layout layout([](GraphMaker& g) {
    const Id x = g.Input("x", {1, 5, kHeight, kWidth});
    const Id one = g.b().Int(1);
    graph::Windows windows;
    windows.pads_before = windows.pads_after = {one, one};
    const Id deep =
        graph::Convolution(g.b(), Convolved(g, x, 5, 16),
                           g.Weight({16, 1, 3, 3}), kNoNode, 16, windows);
    g.Output("y", Convolved(g, graph::Relu(g.b(), deep), 16, 9));
  });
  ASSERT_THAT(layout.launches(), SizeIs(3));
  EXPECT_EQ(layout.StepOfStore(0, 16), 1);
  EXPECT_EQ(layout.StepOfStore(1, 16), 1);
  layout.ExpectRight();
}

// Squeeze and excitation (Hu et al., 2018): a factor for each channel, computed
// from all points of an image, which lies with its channels side by side.
Id Excited(GraphMaker& g) {
  const Id x = g.Input("x", {1, 5, kHeight, kWidth});
  const Id image = Convolved(g, x, 5, 16);
  const Id mean = graph::Mean(g.b(), image, {2, 3}, /*keep=*/true);
  const auto dense = [&](Id of, int64_t from, int64_t to) {
    return graph::Convolution(g.b(), of, g.Weight({to, from, 1, 1}),
                              g.Weight({to}), 1, {});
  };
  const Id squeezed = graph::Relu(g.b(), dense(mean, 16, 3));
  return g.b().Mul(image, graph::Sigmoid(g.b(), dense(squeezed, 3, 16)));
}

TEST(Layout, ComputesWhatDependsOnTheChannelOnceForAllPoints) {
  Layout layout(
      [](GraphMaker& g) { g.Output("y", Convolved(g, Excited(g), 16, 9)); });
  for (size_t i = 0; i < layout.launches().size(); ++i) {
    EXPECT_TRUE(layout.SumsOnce(i)) << i;
  }
  EXPECT_EQ(layout.StepOfStore(layout.launches().size() - 2, 16), 1);
  layout.ExpectRight();
}

// Nor is it computed again where no reader says how the product should lie.
TEST(Layout, KeepsTheOrderInWhichValuesAreComputedOnce) {
  Layout layout([](GraphMaker& g) {
    graph::PoolOptions pool;
    pool.taps = {2, 3};
    g.Output("y", graph::MaxPool(g.b(), Excited(g), pool));
  });
  for (size_t i = 0; i < layout.launches().size(); ++i) {
    EXPECT_TRUE(layout.SumsOnce(i)) << i;
  }
  layout.ExpectRight();
}

TEST(Layout, KeepsRowMajorWhatAReshapeJoins) {
  Layout layout([](GraphMaker& g) {
    const Id x = g.Input("x", {4, 5, kHeight, kWidth});
    const int64_t joined = 16 * kHeight * kWidth;
    const Id flat = g.b().Reshape(Convolved(g, x, 5, 16),
                                  {g.b().Int(4), g.b().Int(joined)});
    g.Output("y", graph::MatMul(g.b(), flat, g.Weight({joined, 9})));
  });
  ASSERT_THAT(layout.launches(), SizeIs(2));
  EXPECT_EQ(layout.StepOfStore(0, kWidth), 1);
  EXPECT_EQ(layout.StepOfStore(0, kHeight), kWidth);
  EXPECT_EQ(layout.StepOfStore(0, 16), kHeight * kWidth);
  layout.ExpectRight();
}

template <int64_t kHidden>
void TwoLayers(GraphMaker& g) {
  const Id x = g.Input("x", {6, 10});
  const Id hidden =
      graph::Relu(g.b(), graph::MatMul(g.b(), x, g.Weight({10, kHidden})));
  g.Output("y", graph::MatMul(g.b(), hidden, g.Weight({kHidden, 512})));
}

TEST(Layout, KeepsRowsApartThatWouldShareTheSetsOfACache) {
  struct Row {
    int64_t hidden, pitch;
  };
  for (const Row& row : {Row{256, 256 + 16}, Row{512, 512 + 16},
                         Row{768, 768 + 16}, Row{128, 128}, Row{250, 250}}) {
    SCOPED_TRACE(row.hidden);
    Layout layout(row.hidden == 256   ? TwoLayers<256>
                  : row.hidden == 512 ? TwoLayers<512>
                  : row.hidden == 768 ? TwoLayers<768>
                  : row.hidden == 128 ? TwoLayers<128>
                                      : TwoLayers<250>);
    ASSERT_THAT(layout.launches(), SizeIs(2));
    EXPECT_EQ(layout.StepOfStore(0, row.hidden), 1);
    EXPECT_EQ(layout.StepOfStore(0, 6), row.pitch);
    EXPECT_EQ(layout.ElementsOf(0), 6 * row.pitch);
    // The output belongs to others.
    EXPECT_EQ(layout.StepOfStore(1, 6), 512);
    EXPECT_EQ(layout.ElementsOf(1), 6 * 512);
    layout.ExpectRight();
  }
}

}  // namespace
}  // namespace quern::schedule
