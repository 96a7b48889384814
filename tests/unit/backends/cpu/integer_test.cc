// SPDX-License-Identifier: Apache-2.0
//
// Integer arithmetic at its edges, lane by lane, against engine/ir/eval.h:
// nothing traps, nothing is undefined.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "engine/ir/eval.h"
#include "tests/unit/backends/cpu/kernel_runner.h"

namespace quern::cpu {
namespace {

using ir::DType;
using ir::Op;

constexpr DType kIntegers[] = {DType::kI8,  DType::kI16, DType::kI32,
                               DType::kI64, DType::kU8,  DType::kU16,
                               DType::kU32, DType::kU64};

// Numbers at which division, shifts and wrapping go wrong, for any width.
std::vector<int64_t> Edges(DType dtype) {
  const int bits = static_cast<int>(8 * ir::ByteSize(dtype));
  const uint64_t sign = uint64_t{1} << (bits - 1);
  std::vector<int64_t> edges = {0,  1,    2,        3,        7,   -1,  -2,
                                -7, bits, bits - 1, bits + 1, 100, -100};
  for (const uint64_t near : {sign, sign - 1, sign + 1}) {
    edges.push_back(static_cast<int64_t>(near));
  }
  return edges;
}

int64_t Expected(Op op, DType dtype, int64_t x, int64_t y) {
  const absl::StatusOr<ir::Evaluator> evaluator =
      ir::EvaluatorOf(op, dtype, dtype, ir::Rounding::kNone);
  EXPECT_TRUE(evaluator.ok()) << evaluator.status();
  int64_t result = 0;
  evaluator->Run(&x, &y, nullptr, &result, 1);
  return result;
}

class Integer : public AtEachLevel {
 protected:
  // All pairs of edges through `op`, `lanes` at a time; the second operand is
  // a constant if `constant`.
  void ExpectPairs(Op op, DType dtype, int lanes, const int64_t* constant) {
    const std::string type = absl::StrCat(
        ir::Name(dtype), lanes > 1 ? absl::StrCat("x", lanes) : "");
    const std::string name = ir::Name(dtype);
    KernelText k(absl::StrCat("param ", name, "\nparam ", name, "\nparam ",
                              name, " written\n"),
                 0);
    const int at = k.Add("mul", k.Add("grid"), k.Const(lanes));
    const int x = k.Add("load." + type, k.Add("param #0"), at);
    int y = 0;
    if (constant == nullptr) {
      y = k.Add("load." + type, k.Add("param #1"), at);
    } else {
      y = k.Add(absl::StrCat("const.", type, " #", *constant));
    }
    k.Add("store." + type, k.Add("param #2"), at,
          k.Add(absl::StrCat(ir::Name(op), ".", type), x, y));

    const int64_t size = ir::ByteSize(dtype);
    std::vector<char> a;
    std::vector<char> b;
    for (const int64_t left : Edges(dtype)) {
      for (const int64_t right : Edges(dtype)) {
        a.resize(a.size() + size);
        b.resize(b.size() + size);
        ir::WriteElement(dtype, left, a.data() + a.size() - size);
        ir::WriteElement(dtype, constant != nullptr ? *constant : right,
                         b.data() + b.size() - size);
      }
    }
    const auto count = static_cast<int64_t>(a.size()) / size;
    ASSERT_EQ(count % lanes, 0);
    std::vector<char> out(a.size());
    const absl::Status status = runner().Run(
        k.text(), {a.data(), b.data(), out.data()}, {}, count / lanes);
    ASSERT_TRUE(status.ok()) << status;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t left = ir::ReadElement(dtype, a.data() + i * size);
      const int64_t right = ir::ReadElement(dtype, b.data() + i * size);
      ASSERT_EQ(ir::ReadElement(dtype, out.data() + i * size),
                Expected(op, dtype, left, right))
          << ir::Name(op) << "." << type << " " << left << " " << right;
    }
  }
};
QUERN_AT_EACH_LEVEL(Integer);

TEST_P(Integer, DivisionAndRemainderNeverTrap) {
  for (const Op op : {Op::kIDiv, Op::kMod}) {
    for (const DType dtype : kIntegers) {
      ExpectPairs(op, dtype, 4, nullptr);
      ExpectPairs(op, dtype, 1, nullptr);
    }
  }
}

TEST_P(Integer, DivisionByAConstantIsThatByAValue) {
  for (const Op op : {Op::kIDiv, Op::kMod}) {
    for (const DType dtype : kIntegers) {
      for (const int64_t divisor : {0, 1, 7, 256, -1, -3}) {
        ExpectPairs(op, dtype, 4, &divisor);
      }
    }
  }
}

TEST_P(Integer, ShiftsOutsideOfTheWidthAreDefined) {
  for (const Op op : {Op::kShl, Op::kShr}) {
    for (const DType dtype : kIntegers) {
      ExpectPairs(op, dtype, 4, nullptr);
      ExpectPairs(op, dtype, 1, nullptr);
    }
  }
}

TEST_P(Integer, ArithmeticWrapsAndOrdersBySign) {
  for (const Op op : {Op::kAdd, Op::kSub, Op::kMul, Op::kMax, Op::kMin,
                      Op::kAnd, Op::kOr, Op::kXor}) {
    for (const DType dtype : kIntegers) ExpectPairs(op, dtype, 4, nullptr);
  }
}

TEST_P(Integer, ComparisonFollowsTheSignOfTheDType) {
  for (const char* dtype : {"i8", "u8"}) {
    const std::string name = dtype;
    KernelText k(absl::StrCat("param ", name, "\nparam bool written\n"), 0);
    const int zero = k.Const(0);
    const int x = k.Add("load." + name + "x4", k.Add("param #0"), zero);
    k.Add("store.boolx4", k.Add("param #1"), zero,
          k.Add("cmplt.boolx4", x, k.Add("const." + name + "x4 #1")));
    std::vector<uint8_t> in = {0, 1, 127, 255};
    std::vector<uint8_t> out(4);
    ASSERT_TRUE(runner().Run(k.text(), {in.data(), out.data()}).ok());
    EXPECT_EQ(out[3], name == "i8" ? 1 : 0);
    EXPECT_EQ(out[0], 1);
    EXPECT_EQ(out[2], 0);
  }
}

}  // namespace
}  // namespace quern::cpu
