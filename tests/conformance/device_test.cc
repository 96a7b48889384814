// SPDX-License-Identifier: Apache-2.0
//
// Every operation in every dtype on every device, through the whole engine,
// against the bands of correct results (tests/fuzz/band.h).
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "engine/ir/builder.h"
#include "engine/ir/eval.h"
#include "tests/conformance/backends.h"
#include "tests/fuzz/band.h"
#include "tests/fuzz/engine_runner.h"
#include "tests/fuzz/generator.h"

namespace quern::conformance {
namespace {

using ir::Builder;
using ir::DType;
using ir::Id;
using ir::Op;

// "cpu", "cpu_avx2"
std::string NameOf(const BackendRow& backend) {
  return backend.isa == "auto" ? backend.device
                               : absl::StrCat(backend.device, "_", backend.isa);
}

// One engine for each backend, since opening one costs time.
const absl::StatusOr<std::unique_ptr<fuzz::EngineRunner>>& RunnerFor(
    const BackendRow& backend) {
  static auto& runners =
      *new std::map<std::string,
                    absl::StatusOr<std::unique_ptr<fuzz::EngineRunner>>>;
  const auto [it, is_new] = runners.try_emplace(NameOf(backend));
  if (is_new) {
    it->second =
        fuzz::EngineRunner::Create({backend.device}, {.isa = backend.isa});
  }
  return it->second;
}

class Device : public ::testing::TestWithParam<std::tuple<BackendRow, DType>> {
 protected:
  [[nodiscard]] const BackendRow& backend() const {
    return std::get<0>(GetParam());
  }
  [[nodiscard]] DType dtype() const { return std::get<1>(GetParam()); }

  Id Input(std::vector<int64_t> dims, DType dtype) {
    std::vector<Id> sizes;
    for (int64_t dim : dims) sizes.push_back(b_.Int(dim));
    return b_.Input(next_input_++, dtype, sizes);
  }
  std::vector<Id> Sizes(std::vector<int64_t> sizes) {
    std::vector<Id> ids;
    for (int64_t size : sizes) ids.push_back(b_.Int(size));
    return ids;
  }

  // Runs the graph with these outputs and compares all of them.
  void Check(const std::vector<Id>& outputs) {
    ASSERT_TRUE(b_.ok()) << b_.status();
    const auto& runner = RunnerFor(backend());
    if (!runner.ok())
      GTEST_SKIP() << NameOf(backend()) << ": " << runner.status();
    fuzz::Case drawing;
    drawing.seed = 17;
    drawing.variables = variables_;
    drawing.graph.arena = std::move(arena_);
    const std::string text = fuzz::CaseText(drawing, outputs);
    const auto fuzz_case = fuzz::ParseCase(text);
    ASSERT_TRUE(fuzz_case.ok()) << fuzz_case.status() << "\n" << text;
    const auto result = (*runner)->Run(*fuzz_case, backend().device);
    for (const BackendRow::Gap& gap : backend().unsupported) {
      if (gap.dtype != dtype()) continue;
      ASSERT_EQ(result.status().code(), absl::StatusCode::kUnimplemented)
          << gap.reason;
      return;
    }
    ASSERT_TRUE(result.ok()) << result.status() << "\n" << text;
    const auto bands = fuzz::BandsOf(*fuzz_case);
    ASSERT_TRUE(bands.ok()) << bands.status();
    for (size_t i = 0; i < bands->size(); ++i) {
      EXPECT_EQ(fuzz::Outside((*bands)[i], result->outputs[i]), "")
          << "output " << i << " of\n"
          << text;
    }
  }

  std::unique_ptr<ir::Arena> arena_ = std::make_unique<ir::Arena>();
  Builder b_{arena_.get()};
  int next_input_ = 0;
  std::map<std::string, int64_t> variables_;
};

TEST_P(Device, ComputesEveryElementwiseOperation) {
  const Id x = Input({67}, dtype());
  const Id y = Input({67}, dtype());
  const Id z = Input({67}, dtype());
  const Id condition = Input({67}, DType::kBool);
  std::vector<Id> outputs = {b_.Where(condition, x, y)};
  for (int n = 0; n < ir::kNumOps; ++n) {
    const Op op = static_cast<Op>(n);
    if (!ir::IsElementwise(op) || op == Op::kWhere || op == Op::kCast ||
        op == Op::kBitcast) {
      continue;
    }
    const bool compares = (ir::InfoOf(op).traits & ir::kComparison) != 0;
    if (!ir::EvaluatorOf(op, dtype(), compares ? DType::kBool : dtype(),
                         ir::Rounding::kNone)
             .ok()) {
      continue;
    }
    switch (ir::InfoOf(op).arity) {
      case 1:
        outputs.push_back(b_.Unary(op, x));
        break;
      case 2:
        outputs.push_back(b_.Binary(op, x, y));
        break;
      default:
        outputs.push_back(b_.Fma(x, y, z));
    }
  }
  Check(outputs);
}

TEST_P(Device, CastsToEveryDtype) {
  const Id x = Input({67}, dtype());
  std::vector<Id> outputs;
  for (int n = 0; n < ir::kNumDTypes; ++n) {
    const DType to = static_cast<DType>(n);
    if (ir::IsWeak(to) || to == dtype()) continue;
    outputs.push_back(b_.Cast(x, to));
    const bool bits = to != DType::kBool && dtype() != DType::kBool &&
                      ir::ByteSize(to) == ir::ByteSize(dtype());
    if (bits) outputs.push_back(b_.Bitcast(x, to));
  }
  Check(outputs);
}

TEST_P(Device, ReducesRowsAndColumns) {
  const Id x = Input({5, 67}, dtype());
  std::vector<Id> outputs;
  for (Op op : {Op::kAdd, Op::kMul, Op::kMax, Op::kMin}) {
    if (!ir::FoldOf(op, dtype()).ok()) continue;
    outputs.push_back(b_.Reduce(op, x, {1}));
    outputs.push_back(b_.Reduce(op, x, {0}));
    outputs.push_back(b_.Reduce(op, x, {0, 1}));
  }
  Check(outputs);
}

TEST_P(Device, MovesElements) {
  const Id n = b_.Var("n", 1, 9);
  variables_["n"] = 4;
  const Id x = Input({3, 10}, dtype());
  const Id s = b_.Input(next_input_++, dtype(), {n, b_.Int(3)});
  const Id i = Input({2, 2}, DType::kI64);
  const Id flipped = b_.Flip(b_.Permute(x, {1, 0}), {0});
  Check({b_.Reshape(flipped, Sizes({5, 6})),
         b_.Pad(x, Sizes({1, 0}), Sizes({0, 3})),
         b_.Shrink(x, Sizes({1, 2}), Sizes({2, 3}), {1, 3}),
         b_.Concat({s, flipped, s}, 0), b_.Window(x, 1, 3, 2, 2),
         b_.Gather(x, i, 1),
         b_.Expand(b_.Reshape(s, {n, b_.Int(1), b_.Int(3)}),
                   {n, b_.Int(2), b_.Int(3)}),
         b_.Reshape(b_.Permute(s, {1, 0}), {b_.Mul(n, b_.Int(3))})});
}

// Products and their sums, where schedules use tiles.
TEST_P(Device, MultipliesMatrices) {
  if (dtype() == DType::kBool) GTEST_SKIP() << "sums of bool have no meaning";
  const Id x = Input({20, 1, 33}, dtype());
  const Id w = Input({18, 33}, dtype());
  Check({b_.Reduce(Op::kAdd, b_.Mul(x, w), {2})});
}

std::vector<DType> StrongTypes() {
  std::vector<DType> types;
  for (int n = 0; n < ir::kNumDTypes; ++n) {
    if (!ir::IsWeak(static_cast<DType>(n))) types.push_back(DType(n));
  }
  return types;
}

INSTANTIATE_TEST_SUITE_P(
    All, Device,
    ::testing::Combine(::testing::ValuesIn(Backends()),
                       ::testing::ValuesIn(StrongTypes())),
    [](const ::testing::TestParamInfo<Device::ParamType>& info) {
      return absl::StrCat(NameOf(std::get<0>(info.param)), "_",
                          ir::Name(std::get<1>(info.param)));
    });

}  // namespace
}  // namespace quern::conformance
