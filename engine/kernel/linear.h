// SPDX-License-Identifier: Apache-2.0
//
// The linear level (L-IR): one kernel as a list of instructions, the last form
// before text. Every dtype is strong, every operation is one that the target
// has, every loop that was to be unrolled or vectorized is.
//
// The list is in execution order, and order is meaning: a Get reads what the
// last Set wrote. That is why its instructions are plain values and not
// hash-consed nodes. Plain data; it outlives the arena of the compile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/ir/dtype.h"
#include "engine/ir/op.h"

namespace quern::kernel {

// One instruction. `srcs` are positions of earlier instructions, in the same
// block or one around it.
//
// Operands and `imm` by op; a value has `lanes` lanes of `dtype`, and a bool
// value is one bit a lane (one byte, 0 or 1, in memory):
//   kConst      imm: the value's bits: of a double for float dtypes, of an
//               int64 for the others; splat when lanes > 1
//   kConstArray imm: index into Program::tables; a base for loads
//   kParam      imm: index into Program::params; a base for loads and stores
//   kVar        imm: index into Program::vars; a scalar i64
//   kScratch    {byte offset, scalar i64}; a base; offsets are multiples of 64
//   kGrid       scalar i64: the chunk in [begin, end) of this call
//   kLoop       {first, limit}, scalar i64; imm: the step (> 0); the index
//   kEndLoop    {the kLoop}
//   kIf         {scalar bool};  kEndIf {the kIf}
//   kLoad       {base, index[, mask]}: index counts elements of `dtype`, which
//               is the dtype of the parameter or table. With a scalar index
//               (i64) and lanes > 1 the lanes are consecutive elements; with
//               a vector index (i32 or i64) it is a gather. A lane whose mask
//               is false is not read and gives 0. No alignment beyond the
//               element's is known.
//               With imm 2, a scalar index and an even number of lanes, the
//               lanes are every second element.
//   kPrefetch   {kParam, index, scalar i64}: no value; asks for the line of an
//               element, which need not be in the buffer
//   kStore      {base, index, value[, mask]}: likewise; dtype and lanes are
//               those of the value. With imm 1 nobody reads it soon: it need
//               not pass through the caches.
//   kRegister   {initial value};  kGet {kRegister};  kSet {kRegister, value}
//   kSplat      {scalar};  kLanes: 0, 1, 2, ... of an integer dtype
//   kReduceLanes {vector}; imm: the ir::Op (kAdd, kMul, kMax, kMin) with which
//               lanes are combined, halves against halves; lanes of the source
//               are a power of two
//   elementwise operands and result have the same lanes; the operands have the
//               result's dtype, except: comparisons give bool, the first
//               operand of kWhere is bool, kCast and kBitcast convert; of bool
//               there are comparisons, and, or, xor, max, min and where
struct Instruction {
  ir::Op op = ir::Op::kConst;
  ir::DType dtype = ir::DType::kI64;
  uint16_t lanes = 1;
  int64_t imm = 0;
  std::vector<int32_t> srcs;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

// One buffer argument of a kernel. A written buffer overlaps no other buffer
// of the launch.
struct Param {
  ir::DType dtype = ir::DType::kF32;
  bool written = false;  // Written and never read; else read and never written.
  friend bool operator==(const Param&, const Param&) = default;
};

// A constant array inside the kernel: values as in Instruction::imm.
struct Table {
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> bits;
  friend bool operator==(const Table&, const Table&) = default;
};

struct Program {
  std::string name;  // [a-z0-9_]+, made by the engine, never by a client.
  std::vector<Param> params;
  int num_vars = 0;
  std::vector<Table> tables;
  std::vector<Instruction> code;
  bool contract = true;  // a*b+c may be rounded once (numerics default).
  friend bool operator==(const Program&, const Program&) = default;
};

inline constexpr int kMaxLanes = 256;

// The text form: a header and one line for each instruction, indented by
// blocks; ParseProgram gives the same program back.
//
//   kernel scale contract=1 vars=0
//   param f32
//   param f32 written
//   %0 = param #0
//   %1 = param #1
//   %2 = grid
//   %3 = load.f32x8 %0 %2
//   %4 = const.f32 #0.5
//   ...
//
// An instruction without a dtype after its name has i64; an immediate stands
// after '#' if it is not 0: a number for most, a double for a constant of a
// float dtype (in hexadecimal bits if it is a NaN), an operation for
// kReduceLanes.
[[nodiscard]] std::string ToText(const Program& program);

// The program of a text; kInvalidArgument, naming the line, if it has none.
// The result is not verified.
[[nodiscard]] absl::StatusOr<Program> ParseProgram(absl::string_view text);

// Checks every rule above: operands come earlier and have the stated types,
// loops and blocks nest, indices into params and tables are in range.
// kInternal, naming the instruction, if one is broken.
[[nodiscard]] absl::Status Verify(const Program& program);

}  // namespace quern::kernel
