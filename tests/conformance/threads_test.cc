// SPDX-License-Identifier: Apache-2.0
//
// A model answers with the same bits whatever the number of threads: a sum has
// one order, that of its kernel, and threads share out whole sums.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "tests/fuzz/engine_runner.h"
#include "tests/fuzz/generator.h"

namespace quern::conformance {
namespace {

using ir::Builder;
using ir::DType;
using ir::Id;
using ir::Op;

constexpr int kThreads[] = {1, 2, 3, 7};

class Threads : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int threads : kThreads) {
      auto runner = fuzz::EngineRunner::Create({"cpu"}, {.threads = threads});
      ASSERT_TRUE(runner.ok()) << runner.status();
      runners_.push_back(*std::move(runner));
    }
  }

  void ExpectOneAnswer(const std::string& text) {
    const auto fuzz_case = fuzz::ParseCase(text);
    ASSERT_TRUE(fuzz_case.ok()) << fuzz_case.status() << "\n" << text;
    std::vector<ref::Tensor> first;
    for (size_t i = 0; i < runners_.size(); ++i) {
      const auto result = runners_[i]->Run(*fuzz_case, "cpu");
      ASSERT_TRUE(result.ok()) << result.status() << "\n" << text;
      if (i == 0) first = result->outputs;
      ASSERT_EQ(result->outputs.size(), first.size());
      for (size_t k = 0; k < first.size(); ++k) {
        EXPECT_EQ(result->outputs[k].bits, first[k].bits)
            << "output " << k << " with " << kThreads[i] << " threads of\n"
            << text;
      }
    }
  }

  std::vector<std::unique_ptr<fuzz::EngineRunner>> runners_;
};

// Draws graphs that are large enough for their launches to be shared out.
class Drawing {
 public:
  Id Input(const std::vector<int64_t>& dims) {
    return b_.Input(next_input_++, DType::kF32, Sizes(dims));
  }
  std::vector<Id> Sizes(const std::vector<int64_t>& sizes) {
    std::vector<Id> ids;
    for (int64_t size : sizes) ids.push_back(b_.Int(size));
    return ids;
  }
  // `rows` by k by columns, as a broadcast product and its sum.
  Id MatMul(int64_t rows, int64_t k, int64_t columns) {
    return b_.Reduce(Op::kAdd, b_.Mul(Input({rows, 1, k}), Input({columns, k})),
                     {2});
  }
  std::string Text(const std::vector<Id>& outputs) {
    EXPECT_TRUE(b_.ok()) << b_.status();
    fuzz::Case drawing;
    drawing.seed = 5;
    drawing.graph.arena = std::move(arena_);
    return fuzz::CaseText(drawing, outputs);
  }
  Builder& b() { return b_; }

 private:
  std::unique_ptr<ir::Arena> arena_ = std::make_unique<ir::Arena>();
  Builder b_{arena_.get()};
  int next_input_ = 0;
};

TEST_F(Threads, DoNotChangeMatrixProducts) {
  const int64_t shapes[][3] = {{129, 257, 131}, {1, 1031, 517}, {7, 509, 260},
                               {64, 2048, 16},  {3, 40000, 2},  {300, 17, 300}};
  for (const auto& [rows, k, columns] : shapes) {
    Drawing drawing;
    const Id product = drawing.MatMul(rows, k, columns);
    ExpectOneAnswer(drawing.Text({drawing.b().Unary(Op::kTanh, product)}));
  }
}

TEST_F(Threads, DoNotChangeConvolutions) {
  Drawing drawing;
  Builder& b = drawing.b();
  // [channels out, channels in, y, x, taps of y, taps of x], with a border.
  const Id image = b.Pad(drawing.Input({13, 37, 41}), drawing.Sizes({0, 1, 1}),
                         drawing.Sizes({0, 1, 1}));
  const Id windows = b.Window(b.Window(image, 1, 3, 1, 1), 2, 3, 1, 1);
  const Id weights = b.Reshape(drawing.Input({24, 13, 3, 3}),
                               drawing.Sizes({24, 13, 1, 1, 3, 3}));
  ExpectOneAnswer(
      drawing.Text({b.Reduce(Op::kAdd, b.Mul(windows, weights), {1, 4, 5})}));
}

TEST_F(Threads, DoNotChangeSums) {
  Drawing drawing;
  Builder& b = drawing.b();
  const Id x = drawing.Input({401, 1009});
  ExpectOneAnswer(
      drawing.Text({b.Reduce(Op::kAdd, x, {0, 1}), b.Reduce(Op::kAdd, x, {0}),
                    b.Reduce(Op::kAdd, x, {1}), b.Reduce(Op::kMax, x, {0, 1}),
                    b.Reduce(Op::kAdd, b.Unary(Op::kExp2, x), {0})}));
}

TEST_F(Threads, DoNotChangeRandomGraphs) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    ExpectOneAnswer(
        fuzz::GenerateCase(seed, {.max_nodes = 20, .max_elements = 100'000}));
  }
}

}  // namespace
}  // namespace quern::conformance
