// SPDX-License-Identifier: Apache-2.0
//
// The oracle against small graphs with known answers, and against the bands of
// the fuzzer, which are computed by another interpreter.
#include "backends/ref/oracle.h"

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "engine/ir/text.h"
#include "tests/fuzz/band.h"
#include "tests/fuzz/generator.h"

namespace quern::ref {
namespace {

using ir::DType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor Reals(std::vector<int64_t> dims, const std::vector<double>& values,
             DType dtype = DType::kF32) {
  Tensor tensor = {dtype, std::move(dims), {}};
  for (double v : values) {
    tensor.bits.push_back(ir::Scalar::OfFloat(dtype, v).bits);
  }
  return tensor;
}

std::vector<double> Values(const Tensor& tensor) {
  std::vector<double> values;
  for (int64_t bits : tensor.bits) {
    values.push_back(ir::Scalar{tensor.dtype, bits}.AsDouble());
  }
  return values;
}

// A graph from text; its inputs are declared by slot.
absl::StatusOr<graph::Graph> GraphOf(absl::string_view text) {
  graph::Graph graph;
  const absl::StatusOr<std::vector<ir::Id>> outputs =
      ir::Parse(*graph.arena, text);
  if (!outputs.ok()) return outputs.status();
  for (ir::Id id = 0; id < graph.arena->size(); ++id) {
    const ir::Node& node = (*graph.arena)[id];
    if (node.op != ir::Op::kInput) continue;
    const auto slot = static_cast<size_t>(node.attr->ints[0]);
    if (graph.inputs.size() <= slot) graph.inputs.resize(slot + 1);
    const absl::Span<const ir::Id> dims = graph.arena->DimsOf(id);
    graph.inputs[slot] = {"x", node.dtype, {dims.begin(), dims.end()}, id};
  }
  for (ir::Id id : *outputs) {
    graph.outputs.push_back({"y", (*graph.arena)[id].dtype, {}, id});
  }
  return graph;
}

absl::StatusOr<std::vector<Tensor>> OutputsOf(
    absl::string_view text, const std::vector<Tensor>& inputs,
    const OracleOptions& options = {}) {
  const absl::StatusOr<graph::Graph> graph = GraphOf(text);
  if (!graph.ok()) return graph.status();
  return EvaluateGraph(*graph, inputs, options);
}

TEST(Oracle, TransposesAndSums) {
  const auto result = OutputsOf(R"(
      %0 = input f32[2,3] {0}
      %1 = permute f32[3,2] %0 {1,0}
      %2 = reduce f32[3] %1 {add,1}
      return %1 %2)",
                                {Reals({2, 3}, {1, 2, 3, 4, 5, 6})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(Values((*result)[1]), ElementsAre(5, 7, 9));
}

TEST(Oracle, TakesVariablesFromTheInputs) {
  const auto good = OutputsOf(R"(
      n = var {1,64}
      %0 = input f32[n] {0}
      %1 = pad f32[n+1] %0 [1]
      %2 = cast f32 [n*2]
      return %1 %2)",
                              {Reals({3}, {1, 2, 3})});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(Values((*good)[0]), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Values((*good)[1]), ElementsAre(6));
}

TEST(Oracle, ConvolvesThroughWindows) {
  // y[o] = sum over t of x[2 o + t] * w[t].
  const auto result =
      OutputsOf(R"(
      %0 = input f32[7] {0}
      %1 = input f32[3] {1}
      %2 = window f32[3,3] %0 {0,3,2,1}
      %3 = reshape f32[1,3] %1
      %4 = expand f32[3,3] %3
      %5 = mul f32[3,3] %2 %4
      %6 = reduce f32[3] %5 {add,1}
      return %6)",
                {Reals({7}, {1, 2, 3, 4, 5, 6, 7}), Reals({3}, {1, 10, 100})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(321, 543, 765));
}

TEST(Oracle, ClampsGatheredPositions) {
  const auto result = OutputsOf(
      R"(
      %0 = input f32[3] {0}
      %1 = input i64[5] {1}
      %2 = gather f32[5] %0 %1 {0}
      return %2)",
      {Reals({3}, {10, 20, 30}), {DType::kI64, {5}, {-7, 0, 1, 2, 99}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(10, 10, 20, 30, 30));
}

TEST(Oracle, TakesAHugeUnsignedPositionForTheLast) {
  const auto result =
      OutputsOf(R"(
      %0 = input f32[3] {0}
      %1 = input u64[1] {1}
      %2 = gather f32[1] %0 %1 {0}
      return %2)",
                {Reals({3}, {10, 20, 30}), {DType::kU64, {1}, {-1}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(30));
}

TEST(Oracle, PadsWithZerosWhatIsNotZeroAtZero) {
  const auto result = OutputsOf(R"(
      %0 = input f32[2] {0}
      %1 = exp2 f32[2] %0
      %2 = pad f32[4] %1 [1]
      %3 = neg f32[4] %2
      return %3)",
                                {Reals({2}, {0, 1})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(0, -1, -2, 0));
}

TEST(Oracle, PadsAConstantWithZeros) {
  const auto result = OutputsOf(R"(
      %0 = const f32 7
      %1 = reshape f32[1] %0
      %2 = expand f32[2] %1
      %3 = pad f32[4] %2 [1]
      return %3)",
                                {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(0, 7, 7, 0));
}

TEST(Oracle, SplitsAPositionThatCrossesARow) {
  // Positions 1 and 2 of rows of two: the end of one row, the start of another.
  const auto result = OutputsOf(R"(
      %0 = input f32[2,3] {0}
      %1 = permute f32[3,2] %0 {1,0}
      %2 = reshape f32[6] %1
      %3 = shrink f32[2] %2 [1] {1}
      return %3)",
                                {Reals({2, 3}, {1, 2, 3, 4, 5, 6})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(4, 2));
}

TEST(Oracle, GivesTheIdentityForAnEmptySum) {
  const auto result = OutputsOf(R"(
      n = var {0,4}
      %0 = input f32[2,n] {0}
      %1 = reduce f32[2] %0 {add,1}
      %2 = reduce f32[2] %0 {max,1}
      return %1 %2)",
                                {Reals({2, 0}, {})});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Values((*result)[0]), ElementsAre(0, 0));
  EXPECT_THAT(Values((*result)[1]), ElementsAre(-INFINITY, -INFINITY));
}

TEST(Oracle, RoundsWhereACastSays) {
  const auto text = R"(
      %0 = input f32[1] {0}
      %1 = add f32[1] %0 %0
      %2 = cast f16[1] %1
      return %1 %2)";
  const std::vector<Tensor> input = {Reals({1}, {1 + 0x1p-30})};
  const auto wide = OutputsOf(text, input);
  ASSERT_TRUE(wide.ok()) << wide.status();
  EXPECT_EQ(Values((*wide)[0])[0], 2 + 0x1p-29);
  EXPECT_EQ(Values((*wide)[1])[0], 2);
  const auto narrow = OutputsOf(text, input, {.rounding = ir::Rounding::kAll});
  ASSERT_TRUE(narrow.ok()) << narrow.status();
  EXPECT_EQ(Values((*narrow)[0])[0], 2);
}

TEST(Oracle, RefusesInputsThatDoNotFit) {
  const auto text = "%0 = input f32[2] {0}\nreturn %0";
  EXPECT_THAT(OutputsOf(text, {Reals({3}, {1, 2, 3})}).status().message(),
              HasSubstr("does not fit the graph"));
  EXPECT_THAT(OutputsOf(text, {}).status().message(),
              HasSubstr("takes 1 inputs"));
}

TEST(Oracle, NamesTheNodeThatIsTooLarge) {
  const auto text =
      "%0 = input f32[8] {0}\n"
      "%1 = reshape f32[8,1] %0\n"
      "%2 = expand f32[8,1000] %1\n"
      "return %2";
  const auto result = OutputsOf(text, {Reals({8}, std::vector<double>(8, 1))},
                                {.max_elements = 100});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(result.status().message(), HasSubstr("(expand)"));
}

TEST(Oracle, StaysWithinTheBandsOfRandomGraphs) {
  int64_t tensors = 0;
  double sharpness = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const std::string text = fuzz::GenerateCase(seed);
    const auto fuzz_case = fuzz::ParseCase(text);
    ASSERT_TRUE(fuzz_case.ok()) << fuzz_case.status() << "\n" << text;
    const auto bands = fuzz::BandsOf(*fuzz_case);
    ASSERT_TRUE(bands.ok()) << bands.status() << "\n" << text;
    // With little memory, nodes are computed where they are read.
    const OracleOptions all_options[] = {
        {.rounding = ir::Rounding::kCasts},
        {.rounding = ir::Rounding::kAll},
        {.rounding = ir::Rounding::kCasts, .max_elements = 15000}};
    for (const OracleOptions& options : all_options) {
      const auto results =
          EvaluateGraph(fuzz_case->graph, fuzz_case->inputs, options);
      const bool limited = absl::IsResourceExhausted(results.status());
      if (limited && options.max_elements == 15000) continue;
      ASSERT_TRUE(results.ok()) << results.status() << "\n" << text;
      for (size_t i = 0; i < results->size(); ++i) {
        ASSERT_EQ(fuzz::Outside((*bands)[i], (*results)[i]), "")
            << "output " << i << " of\n"
            << text;
        sharpness += fuzz::Sharpness((*bands)[i]);
        ++tensors;
      }
    }
  }
  // Most bands tell right from wrong, or this test says nothing.
  EXPECT_GT(sharpness / static_cast<double>(tensors), 0.5);
}

}  // namespace
}  // namespace quern::ref
