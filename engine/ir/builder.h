// SPDX-License-Identifier: Apache-2.0
//
// Builds tensor-level nodes: infers shapes and dtypes, broadcasts, promotes,
// and refuses what makes no sense.
//
// The first error sticks: from then on every call returns kNoNode and does
// nothing, and status() tells what went wrong. So a composition of twenty
// calls is written without twenty checks. Calls given kNoNode return kNoNode.
//
// Shapes are lists of sizes, which are weak-integer nodes (constants or
// expressions of variables). Axes may be counted from the end, as -1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::ir {

// Greatest number of axes of a tensor and of elements whose sizes are known.
inline constexpr int kMaxRank = 16;
inline constexpr int64_t kMaxElements = int64_t{1} << 40;
// Greatest number of terms in one symbolic size.
inline constexpr int kMaxSizeTerms = 64;
// Greatest number of operations and operands in one, written out.
inline constexpr uint32_t kMaxSizeNodes = 1024;

class Builder {
 public:
  // `arena` must outlive the builder.
  explicit Builder(Arena* arena) : arena_(*arena) {}

  [[nodiscard]] const absl::Status& status() const { return status_; }
  [[nodiscard]] bool ok() const { return status_.ok(); }
  Arena& arena() { return arena_; }

  // Records an error of the caller's (the first one wins); returns kNoNode.
  Id Fail(absl::Status status);
  Id Invalid(absl::string_view message);

  // What is said before the message of the next errors: "node 'conv1' (Conv)".
  void SetContext(std::string context) { context_ = std::move(context); }

  // Sources.
  Id Int(int64_t value) { return arena_.Int(value); }  // A weak integer.
  Id Float(double value);                              // A weak float.
  Id Scalar(DType dtype, double value);                // A strong scalar.
  Id Input(int slot, DType dtype, absl::Span<const Id> dims,
           absl::string_view device = "");
  Id Weight(int slot, DType dtype, absl::Span<const Id> dims);
  // A size between `least` and `greatest` (both included), known by name.
  Id Var(absl::string_view name, int64_t least, int64_t greatest);
  // [size], weak integer: 0, 1, 2, ...
  Id Iota(Id size);
  // A small array of the engine's or importer's making: `bits` as in
  // Attr of kConstArray; static dims.
  Id ConstArray(DType dtype, absl::Span<const int64_t> bits,
                absl::Span<const Id> dims);

  // Movement.
  Id Reshape(Id x, absl::Span<const Id> dims);
  Id Permute(Id x, absl::Span<const int64_t> order);
  Id Expand(Id x, absl::Span<const Id> dims);  // Aligned at the last axis.
  Id Pad(Id x, absl::Span<const Id> before, absl::Span<const Id> after);
  // Elements begin, begin + step, ... of each axis, `size` of them.
  Id Shrink(Id x, absl::Span<const Id> begins, absl::Span<const Id> sizes,
            absl::Span<const int64_t> steps = {});
  Id Flip(Id x, absl::Span<const int64_t> axes);
  Id Concat(absl::Span<const Id> parts, int64_t axis);
  // Windows of `taps` elements, `dilation` apart, that begin at every
  // stride-th position of `axis`, as far as they fit; a last axis of taps is
  // added.
  Id Window(Id x, int64_t axis, int64_t taps, int64_t stride, int64_t dilation);

  // result[..., indices..., ...] = data[..., index, ...] along `axis`.
  // Positions outside the axis are clamped to it.
  Id Gather(Id data, Id indices, int64_t axis);

  // Reduces the axes away. op: kAdd, kMul, kMax, kMin. The 16-bit floats are
  // accumulated in f32 and rounded once. No axes: x.
  Id Reduce(Op op, Id x, absl::Span<const int64_t> axes);

  // Elementwise, with broadcasting and promotion.
  Id Unary(Op op, Id x);
  Id Binary(Op op, Id x, Id y);
  Id Where(Id condition, Id x, Id y);
  Id Fma(Id x, Id y, Id z);
  Id Cast(Id x, DType dtype);
  Id Bitcast(Id x, DType dtype);

  Id Add(Id x, Id y) { return Binary(Op::kAdd, x, y); }
  Id Sub(Id x, Id y) { return Binary(Op::kSub, x, y); }
  Id Mul(Id x, Id y) { return Binary(Op::kMul, x, y); }
  Id Div(Id x, Id y) { return Binary(Op::kDiv, x, y); }
  Id Max(Id x, Id y) { return Binary(Op::kMax, x, y); }
  Id Min(Id x, Id y) { return Binary(Op::kMin, x, y); }
  Id Less(Id x, Id y) { return Binary(Op::kCmpLt, x, y); }
  Id Equal(Id x, Id y) { return Binary(Op::kCmpEq, x, y); }
  Id Not(Id x);  // Logical for bool, bitwise for integers.

  // The tensor on the named device.
  Id Copy(Id x, absl::string_view device);

  // Shapes.
  std::vector<Id> Dims(Id x) const;
  // The size of one axis, which may count from the end; records an error, and
  // gives 1, if there is no such axis.
  Id Dim(Id x, int64_t axis);
  int Rank(Id x) const { return x == kNoNode ? 0 : arena_.Rank(x); }
  DType DTypeOf(Id x) const {
    return x == kNoNode ? DType::kF32 : arena_[x].dtype;
  }
  // `axis` counted from 0; records an error if it is out of range.
  int64_t Axis(int64_t axis, int rank);
  // "[2,3,n]".
  std::string ShapeText(Id x) const;
  std::string ShapeText(absl::Span<const Id> dims) const;

 private:
  bool Bad(absl::Span<const Id> operands) const;
  ShapeId CheckedShape(absl::Span<const Id> dims);  // Records errors.
  bool IsShort(Id size);  // Within kMaxSizeNodes; else records an error.
  // The common shape of `operands` and each expanded to it.
  bool Broadcast(std::vector<Id>& operands, absl::string_view what);

  Arena& arena_;
  absl::Status status_;
  std::string context_;
};

// Text of a size: "3", "n", "(n+1)/2"; printable whatever names it has.
[[nodiscard]] std::string SizeText(const Arena& arena, Id size);

}  // namespace quern::ir
