// SPDX-License-Identifier: Apache-2.0
//
// Matrix products and convolutions of odd shapes, compiled for the CPU at each
// level of its instruction set that this machine has, against the oracle. Each
// stands alone, before an epilogue that is costly enough to have its sums
// staged, and each convolution between others too, where its buffers are laid
// out for it.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "backends/cpu/cpu_backend.h"
#include "backends/ref/oracle.h"
#include "engine/engine.h"
#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "tests/support/example_graphs.h"
#include "tests/support/model_runner.h"

namespace quern {
namespace {

using ir::Id;
using support::GraphMaker;

using Dims = std::vector<int64_t>;

// The sums are of multiples of 1/64 that f32 holds exactly.
constexpr double kExact = 1e-6;
constexpr double kRounded = 1e-4;

std::string Text(const Dims& dims) { return absl::StrJoin(dims, "x"); }

class ContractionShapes : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<runtime::Backend>> backends;
    backends.push_back(cpu::MakeCpuBackend());
    auto assembler = runtime::MakeInProcessAssembler({backends[0].get()},
                                                     /*parallelism=*/1);
    EngineOptions options;
    options.device_options.threads = 2;
    options.device_options.isa = GetParam();
    auto engine = Engine::Create(options, std::move(backends),
                                 std::move(assembler), &metrics_);
    if (absl::IsUnavailable(engine.status())) {
      GTEST_SKIP() << engine.status().message();
    }
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    target_ = engine_->Devices()[0].target;
  }

  // Expects what the oracle says, for each of `sizes` of what is free. Returns
  // the kernels of the model.
  std::vector<KernelReport> ExpectRight(GraphMaker& g, double tolerance,
                                        const Dims& sizes = {0}) {
    absl::StatusOr<graph::Graph> finished = g.Finish();
    EXPECT_TRUE(finished.ok()) << finished.status();
    if (!finished.ok()) return {};
    const auto graph =
        std::make_shared<const graph::Graph>(*std::move(finished));
    const auto model = engine_->Load(graph, {}, nullptr);
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return {};
    for (int64_t size : sizes) {
      const auto inputs = support::InputsFor(*graph, size, 7);
      const auto expected = ref::EvaluateGraph(*graph, inputs);
      const auto got = support::RunModel(**model, inputs);
      EXPECT_TRUE(expected.ok()) << expected.status();
      EXPECT_TRUE(got.ok()) << got.status();
      if (!expected.ok() || !got.ok()) return {};
      EXPECT_EQ(support::Difference((*expected)[0], (*got)[0], tolerance), "")
          << "size " << size;
    }
    return (*model)->Kernels();
  }

  base::Target target_;
  telemetry::Metrics metrics_;
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Isa, ContractionShapes,
                         ::testing::Values("avx512", "avx2", "sse4"),
                         [](const auto& info) { return info.param; });

// bias + gelu of `x`, made small enough for the curve of the function to show.
Id Epilogue(GraphMaker& g, Id x, const Dims& bias) {
  const Id small = g.b().Mul(x, g.b().Float(1.0 / 64));
  return graph::Gelu(g.b(), g.b().Add(small, g.Weight(bias)));
}

// [batch.., m, k] x [batch.., k, n].
struct Product {
  Dims batch;
  int64_t m, k, n;
};

// M of 1 to 16 and 33, with K and N that are 1, prime, and powers of two: 27
// products, each of two inputs, with constants, and with an epilogue.
std::vector<Product> Products() {
  const std::pair<int64_t, int64_t> kn[] = {
      {1, 1}, {1, 37}, {2, 16}, {7, 3}, {13, 64}, {31, 17}, {64, 31}, {128, 2},
  };
  std::vector<Product> products;
  size_t next = 0;
  for (const int64_t m : {1, 4, 7, 10, 13, 16, 33}) {
    for (int i = 0; i < 3; ++i) {
      const auto& [k, n] = kn[next++ % std::size(kn)];
      products.push_back({{}, m, k, n});
    }
  }
  products.push_back({{}, 1, 2048, 5});
  products.push_back({{}, 4, 3, 2048});
  products.push_back({{}, 16, 2048, 16});
  products.push_back({{}, 33, 2048, 1});
  products.push_back({{3}, 5, 17, 19});
  products.push_back({{2, 3}, 1, 8, 33});
  return products;
}

TEST_P(ContractionShapes, OfMatrixProducts) {
  for (const Product& p : Products()) {
    for (const bool constant : {false, true}) {
      for (const bool gelu : {false, true}) {
        if (gelu && !constant) continue;
        SCOPED_TRACE(absl::StrCat("[", Text(p.batch), "] ", p.m, "x", p.k, "x",
                                  p.n, constant ? " constant" : " dynamic",
                                  gelu ? " gelu" : ""));
        GraphMaker g;
        Dims x = p.batch;
        Dims y = p.batch;
        x.insert(x.end(), {p.m, p.k});
        y.insert(y.end(), {p.k, p.n});
        const Id left = g.Input("x", x);
        const Id right = constant ? g.Weight(y) : g.Input("y", y);
        const Id product = graph::MatMul(g.b(), left, right);
        g.Output("z", gelu ? Epilogue(g, product, {p.n}) : product);
        ExpectRight(g, gelu ? kRounded : kExact);
      }
    }
  }
}

TEST_P(ContractionShapes, OfProductsWithAFreeNumberOfRows) {
  for (const auto& [k, n] : {std::pair<int64_t, int64_t>{13, 40}, {64, 7}}) {
    SCOPED_TRACE(absl::StrCat("n x ", k, " x ", n));
    GraphMaker g;
    const Id x = g.SizedInput("x", {g.b().Var("n", 1, 64), g.b().Int(k)});
    g.Output("z", Epilogue(g, graph::MatMul(g.b(), x, g.Weight({k, n})), {n}));
    ExpectRight(g, kRounded, {1, 4, 7, 10, 13, 16, 33});
  }
}

TEST_P(ContractionShapes, OfProductsOfTransposedFactors) {
  for (const bool constant : {false, true}) {
    SCOPED_TRACE(constant ? "constant" : "dynamic");
    GraphMaker g;
    const Id y = constant ? g.Weight({29, 37}) : g.Input("y", {29, 37});
    const Id x = graph::Transpose(g.b(), g.Input("x", {37, 19}));
    g.Output("z", graph::MatMul(g.b(), x, graph::Transpose(g.b(), y)));
    ExpectRight(g, kExact);
  }
}

// Where a factor is packed in each run, because it is too large for the cache
// or because its columns are no neighbours: by the chunks, if that pays, or by
// a launch of its own.
TEST_P(ContractionShapes, OfLargeProductsOfTwoInputs) {
  struct Row {
    Product product;
    bool transposed;
    size_t launches;
  };
  // Columns that fill no panel, rows in several blocks of several tiles, a
  // factor for each product of a batch, few rows.
  for (const Row& row :
       {Row{{{}, 257, 513, 129}, false, 1}, Row{{{}, 257, 513, 129}, true, 2},
        Row{{{}, 110, 1000, 1100}, false, 1},
        Row{{{}, 530, 1100, 301}, false, 1},
        Row{{{3}, 120, 1000, 303}, false, 1},
        Row{{{}, 80, 1200, 300}, false, 2}}) {
    const Product& p = row.product;
    SCOPED_TRACE(absl::StrCat(p.m, "x", p.k, "x", p.n,
                              row.transposed ? " transposed" : ""));
    GraphMaker g;
    const auto input = [&](absl::string_view name, int64_t rows,
                           int64_t columns) {
      Dims dims = p.batch;
      dims.insert(dims.end(), {rows, columns});
      return g.Input(name, dims);
    };
    const Id x = input("x", p.m, p.k);
    const Id y = row.transposed ? graph::Transpose(g.b(), input("y", p.n, p.k))
                                : input("y", p.k, p.n);
    g.Output("z", graph::MatMul(g.b(), x, y));
    EXPECT_EQ(ExpectRight(g, kExact).size(), row.launches);
  }
}

TEST_P(ContractionShapes, OfProductsOfOtherTypes) {
  struct Row {
    ir::DType dtype;
    double tolerance;  // Of the last rounding.
  };
  for (const Row& row :
       {Row{ir::DType::kF16, 1e-3}, Row{ir::DType::kBF16, 1e-2},
        Row{ir::DType::kF64, 1e-12}, Row{ir::DType::kI32, 0},
        Row{ir::DType::kI8, 0}}) {
    for (const bool constant : {false, true}) {
      for (const Product& p : {Product{{}, 7, 13, 19}, {{}, 70, 64, 33}}) {
        SCOPED_TRACE(absl::StrCat(ir::Name(row.dtype), " ", p.m, "x", p.k, "x",
                                  p.n, constant ? " constant" : " dynamic"));
        GraphMaker g;
        const Id x = g.Input("x", {p.m, p.k}, row.dtype);
        const Id y = constant ? g.b().Cast(g.Weight({p.n, p.k}), row.dtype)
                              : g.Input("y", {p.n, p.k}, row.dtype);
        g.Output("z", graph::MatMul(g.b(), x, graph::Transpose(g.b(), y)));
        ExpectRight(g, row.tolerance);
      }
    }
  }
}

// Between the layers there is space between rows.
TEST_P(ContractionShapes, OfLayersWhoseRowsAreAPowerOfTwoApart) {
  {
    SCOPED_TRACE("matrices");
    GraphMaker g;
    Id x = g.Input("x", {7, 33});
    int64_t from = 33;
    for (const int64_t to : {256, 512, 9}) {
      x = graph::MatMul(g.b(), x, g.Weight({from, to}));
      x = Epilogue(g, x, {to});
      from = to;
    }
    g.Output("y", x);
    ExpectRight(g, kRounded);
  }
  SCOPED_TRACE("images");
  GraphMaker g;
  Id x = g.Input("x", {2, 5, 4, 3});
  const Id one = g.b().Int(1);
  int64_t from = 5;
  for (const int64_t to : {256, 256, 6}) {
    graph::Windows windows;
    windows.pads_before = windows.pads_after = {one, one};
    x = graph::Convolution(g.b(), x, g.Weight({to, from, 3, 3}), ir::kNoNode, 1,
                           windows);
    x = Epilogue(g, x, {to, 1, 1});
    from = to;
  }
  g.Output("y", x);
  ExpectRight(g, kRounded);
}

// Padding that is known by two ranges of the sum together, and by data.
TEST_P(ContractionShapes, OfPaddingAcrossAxes) {
  for (const bool flipped : {false, true}) {
    SCOPED_TRACE(flipped ? "flipped" : "straight");
    GraphMaker g;
    const Id none = g.b().Int(0);
    const Id x = g.b().Pad(g.Input("x", {9, 25}), {none, g.b().Int(4)},
                           {none, g.b().Int(7)});
    const Id grid = g.b().Reshape(
        x, {g.b().Int(9), g.b().Int(1), g.b().Int(6), g.b().Int(6)});
    const Id w = g.b().Permute(g.Weight({20, 6, 6}),
                               flipped ? Dims{0, 2, 1} : Dims{0, 1, 2});
    g.Output("y", g.b().Reduce(ir::Op::kAdd, g.b().Mul(grid, w), {2, 3}));
    ExpectRight(g, kExact);
  }
}

// Which steps of the sum read padding depends on the row that is read.
TEST_P(ContractionShapes, OfGatheredRowsOfAPaddedTable) {
  for (const int64_t width : {4, 17}) {
    SCOPED_TRACE(width);
    GraphMaker g;
    const Id elements = g.b().Pad(g.Input("table", {36 * width - 5}),
                                  {g.b().Int(2)}, {g.b().Int(3)});
    const Id table = g.b().Reshape(elements, {g.b().Int(36), g.b().Int(width)});
    const Id rows = graph::Abs(g.b(), g.Input("rows", {90}, ir::DType::kI32));
    g.Output("y", graph::MatMul(g.b(), g.b().Gather(table, rows, 0),
                                g.Weight({width, 20})));
    ExpectRight(g, kExact);
  }
}

struct Conv {
  Dims image;  // [batch, channels, spatial..].
  int64_t filters;
  Dims taps;
  int64_t groups = 1;
  Dims strides = {};
  Dims dilations = {};
  Dims pads_before = {};
  Dims pads_after = {};

  std::string Name() const {
    return absl::StrCat("image ", Text(image), " filters ", filters, " taps ",
                        Text(taps), " groups ", groups, " strides ",
                        Text(strides), " dilations ", Text(dilations), " pads ",
                        Text(pads_before), " ", Text(pads_after));
  }
};

// 31 convolutions, each in three places.
const Conv kConvolutions[] = {
    // Channels that fill no vector.
    {{1, 3, 9, 9}, 5, {3, 3}, 1, {}, {}, {1, 1}, {1, 1}},
    {{2, 5, 8, 7}, 17, {3, 3}, 1, {}, {}, {1, 1}, {1, 1}},
    {{1, 17, 6, 6}, 24, {1, 1}},
    {{5, 24, 5, 5}, 3, {3, 3}, 1, {2, 2}, {}, {1, 1}, {1, 1}},
    {{1, 24, 13, 13}, 40, {3, 3}, 1, {}, {}, {1, 1}, {1, 1}},
    // Large windows and steps.
    {{1, 3, 17, 19}, 16, {5, 5}, 1, {2, 2}, {}, {2, 2}, {2, 2}},
    {{2, 3, 23, 21}, 8, {7, 7}, 1, {2, 2}, {}, {3, 3}, {3, 3}},
    {{1, 4, 20, 20}, 5, {1, 1}, 1, {3, 3}},
    // Every second element of a row, for many filters.
    {{1, 3, 29, 71}, 45, {7, 7}, 1, {2, 2}, {}, {3, 3}, {3, 3}},
    {{2, 19, 9, 67}, 70, {1, 1}, 1, {2, 2}},
    {{1, 4, 20, 20}, 5, {3, 3}, 1, {3, 3}, {}, {1, 0}, {0, 1}},
    {{1, 3, 12, 10}, 7, {3, 5}, 1, {1, 2}, {}, {0, 3}, {2, 1}},
    // Dilations.
    {{1, 5, 12, 12}, 6, {3, 3}, 1, {}, {2, 2}, {2, 2}, {2, 2}},
    {{1, 3, 15, 14}, 17, {3, 3}, 1, {2, 1}, {2, 3}, {3, 2}, {1, 4}},
    // Padding beyond half of the window; windows that lie in it altogether.
    {{1, 3, 5, 5}, 4, {3, 3}, 1, {}, {}, {2, 0}, {0, 2}},
    {{1, 2, 6, 6}, 3, {3, 3}, 1, {2, 2}, {}, {4, 1}, {0, 5}},
    // Images smaller than the window.
    {{1, 3, 2, 2}, 5, {5, 5}, 1, {}, {}, {2, 2}, {2, 2}},
    {{2, 5, 1, 3}, 8, {3, 7}, 1, {}, {}, {1, 3}, {1, 3}},
    {{1, 4, 3, 3}, 6, {3, 3}},
    // Groups, the last ones with one channel each.
    {{1, 6, 7, 7}, 10, {3, 3}, 2, {}, {}, {1, 1}, {1, 1}},
    {{2, 12, 6, 5}, 9, {3, 3}, 3, {2, 2}, {}, {1, 1}, {0, 0}},
    {{1, 32, 6, 6}, 64, {1, 1}, 4},
    {{1, 24, 9, 9}, 24, {3, 3}, 24, {}, {}, {1, 1}, {1, 1}},
    {{2, 17, 8, 8}, 17, {3, 3}, 17, {2, 2}, {}, {1, 1}, {1, 1}},
    {{1, 5, 9, 7}, 10, {5, 5}, 5, {}, {}, {2, 2}, {2, 2}},
    {{1, 16, 10, 10}, 32, {3, 3}, 16, {2, 2}, {}, {0, 0}, {1, 1}},
    // One and three spatial axes.
    {{2, 5, 31}, 17, {3}, 1, {}, {}, {1}, {1}},
    {{1, 3, 40}, 8, {7}, 1, {3}, {2}, {6}, {4}},
    {{1, 8, 33}, 8, {5}, 8, {2}, {}, {2}, {2}},
    {{1, 3, 5, 6, 7}, 5, {3, 3, 3}, 1, {}, {}, {1, 1, 1}, {1, 1, 1}},
    {{2, 4, 4, 5, 6}, 6, {1, 3, 2}, 2, {1, 2, 1}, {}, {0, 1, 0}, {0, 0, 1}},
};

// How a convolution is met.
enum class Place { kAlone, kWithEpilogue, kInside };

graph::Windows WindowsOf(GraphMaker& g, const Conv& c) {
  graph::Windows windows;
  windows.strides = c.strides;
  windows.dilations = c.dilations;
  for (int64_t pad : c.pads_before) {
    windows.pads_before.push_back(g.b().Int(pad));
  }
  for (int64_t pad : c.pads_after) {
    windows.pads_after.push_back(g.b().Int(pad));
  }
  return windows;
}

// `x`, of `from` channels, through windows of one point to `to` channels.
Id Mixed(GraphMaker& g, Id x, int64_t from, int64_t to, size_t spatial) {
  Dims dims = {to, from};
  dims.resize(2 + spatial, 1);
  const Id mixed =
      graph::Convolution(g.b(), x, g.Weight(dims), ir::kNoNode, 1, {});
  return g.b().Mul(mixed, g.b().Float(1.0 / 64));
}

// What `convolve` makes of an image, in the place `place`.
template <typename Convolve>
void BuildConvolution(GraphMaker& g, const Conv& c, Place place,
                      Convolve convolve) {
  const size_t spatial = c.taps.size();
  Id x = g.Input("x", c.image);
  if (place == Place::kInside) {
    x = graph::Relu(g.b(), Mixed(g, x, c.image[1], c.image[1], spatial));
  }
  Id y = convolve(x);
  Dims bias = {c.filters};
  bias.resize(1 + spatial, 1);
  if (place != Place::kAlone) y = Epilogue(g, y, bias);
  if (place == Place::kInside) y = Mixed(g, y, c.filters, 6, spatial);
  g.Output("y", y);
}

constexpr std::pair<Place, const char*> kPlaces[] = {
    {Place::kAlone, "alone"},
    {Place::kWithEpilogue, "with epilogue"},
    {Place::kInside, "inside"},
};

TEST_P(ContractionShapes, OfConvolutions) {
  for (const Conv& c : kConvolutions) {
    for (const auto& [place, name] : kPlaces) {
      SCOPED_TRACE(absl::StrCat(c.Name(), " ", name));
      GraphMaker g;
      Dims weights = {c.filters, c.image[1] / c.groups};
      weights.insert(weights.end(), c.taps.begin(), c.taps.end());
      BuildConvolution(g, c, place, [&](Id x) {
        return graph::Convolution(g.b(), x, g.Weight(weights), ir::kNoNode,
                                  c.groups, WindowsOf(g, c));
      });
      ExpectRight(g, place == Place::kAlone ? kExact : kRounded);
    }
  }
}

const Conv kTransposed[] = {
    {{1, 5, 6, 7}, 8, {3, 3}, 1, {2, 2}, {}, {1, 1}, {1, 1}},
    {{2, 3, 5, 5}, 17, {2, 2}, 1, {2, 2}},
    {{1, 8, 4, 4}, 6, {4, 4}, 2, {2, 2}, {}, {1, 1}, {1, 1}},
    {{1, 5, 13}, 4, {5}, 1, {2}, {}, {2}, {1}},
    // Phases that begin before the result and end after it; one of them alone
    // (an axis of stride 1), with more steps than taps, and with dilation.
    {{1, 9, 7, 5}, 11, {4, 3}, 1, {2, 2}, {}, {1, 0}, {0, 1}},
    {{1, 4, 6, 6}, 20, {3, 6}, 1, {3, 3}, {}, {1, 4}, {2, 3}},
    {{2, 6, 5, 9}, 33, {3, 4}, 3, {1, 2}, {}, {1, 3}, {1, 2}},
    {{1, 7, 6, 4}, 5, {1, 3}, 1, {2, 4}, {}, {0, 1}, {0, 0}},
    {{1, 6, 5, 5}, 8, {3, 2}, 1, {2, 2}, {2, 1}, {1, 0}, {1, 0}},
    {{1, 3, 3, 4, 5}, 6, {2, 3, 4}, 1, {2, 2, 2}, {}, {0, 1, 1}, {0, 1, 1}},
};

TEST_P(ContractionShapes, OfTransposedConvolutions) {
  for (const Conv& c : kTransposed) {
    for (const auto& [place, name] : kPlaces) {
      SCOPED_TRACE(absl::StrCat(c.Name(), " ", name));
      GraphMaker g;
      Dims weights = {c.image[1], c.filters / c.groups};
      weights.insert(weights.end(), c.taps.begin(), c.taps.end());
      BuildConvolution(g, c, place, [&](Id x) {
        return graph::TransposedConvolution(g.b(), x, g.Weight(weights),
                                            ir::kNoNode, c.groups,
                                            WindowsOf(g, c), {});
      });
      ExpectRight(g, place == Place::kAlone ? kExact : kRounded);
    }
  }
}

}  // namespace
}  // namespace quern
