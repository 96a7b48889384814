// SPDX-License-Identifier: Apache-2.0
//
// The one node type of all levels, and the arena that owns it.
//
// A node is immutable and hash-consed: in one arena, equal structure means
// equal id. Ids are dense and count up from 0 in the order of creation, so an
// operand's id is smaller than its user's, the order of ids is topological,
// and side tables are plain vectors. An arena lives for one graph or one
// compile; no id outlives it. Not thread-safe.
//
// Attributes by op:
//   kConst       ints[0]: the value's bits: of a double if the dtype is a
//                float, of an int64 otherwise
//   kConstArray  ints: the elements' bits, likewise, row-major
//   kWeight      ints[0]: slot
//   kInput       ints[0]: slot; text: device name, empty if not placed
//   kVar         text: name; ints: {least, greatest value}
//   kPermute     ints: result axis i is operand axis ints[i]
//   kShrink      ints: the step (> 0) of each axis
//   kFlip        ints: axes, ascending
//   kConcat      ints[0]: axis
//   kWindow      ints: {axis, taps, stride, dilation}; the axis gets the size
//                (size - (taps - 1) * dilation - 1) / stride + 1, a last axis
//                of `taps` is added: [.., o, .., t] reads [.., o * stride +
//                t * dilation, ..]
//   kGather      ints[0]: axis
//   kReduce      ints: {Op of kAdd kMul kMax kMin, then at tensor level the
//                axes, ascending, which the result lacks}
//   kCopy        text: device name
//   kStage       ints: {Level, number}; at tensor level one operand; at kernel
//                level the value, its position in the stage, the elements of
//                the stage, and the ranges that the stage is written over
//   kParam       ints[0]: slot of the kernel's parameters
//   kRange       ints: {number, RangeKind}; the operand is the extent
//   kSink        ints[0]: number of stores; the other operands are ranges
// Sizes (dimensions, begins, extents, indices) are weak-integer nodes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "engine/ir/dtype.h"
#include "engine/ir/op.h"

namespace quern::ir {

using Id = uint32_t;
inline constexpr Id kNoNode = ~Id{0};

// A shape: an interned list of dimensions. Shape 0 is the scalar's.
using ShapeId = uint32_t;
inline constexpr ShapeId kScalarShape = 0;

// Where a stage keeps its value. Ordered by cost of access.
enum class Level : uint8_t { kRegister, kTile, kGlobal };

// How a range is run. Serial ranges of stores and of reductions differ only in
// where they stand.
enum class RangeKind : uint8_t {
  kSerial,  // A loop.
  kGrid,    // Chunks of the launch, in any order, in parallel.
  kUnroll,  // Every value side by side in the code.
  kVector,  // The lanes of a vector.
};

struct Attr {
  std::vector<int64_t> ints;
  std::string text;
  friend bool operator==(const Attr&, const Attr&) = default;
};

struct Node {
  Op op = Op::kConst;
  DType dtype = DType::kWeakInt;
  ShapeId shape = kScalarShape;
  // Nodes of the expression if every use were a copy, as far as 32 bits count:
  // what walks an expression without a memory asks for this first, because a
  // few nodes from outside can stand for more than any machine has time for.
  uint32_t unfolded = 1;
  absl::Span<const Id> srcs;   // In the arena.
  const Attr* attr = nullptr;  // In the arena; never null.
  uint64_t hash = 0;  // Of the structure; the same in every arena and process.
  int64_t least = 0;  // Bounds of an integer or bool value; the limits of
  int64_t greatest = 0;  // int64 stand for "unknown or beyond".
};

class Arena {
 public:
  Arena();
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // The node with these parts, made if it does not exist.
  Id Make(Op op, DType dtype, absl::Span<const Id> srcs, Attr attr = {},
          ShapeId shape = kScalarShape);

  // The shape with these dimensions.
  ShapeId MakeShape(absl::Span<const Id> dims);
  ShapeId MakeShape(absl::Span<const int64_t> dims);

  // Weak integer constants, the sizes of everything.
  Id Int(int64_t value);
  // A constant of any dtype; `value` is converted as kCast does: integers wrap,
  // floats saturate, a float is not rounded.
  Id IntConst(DType dtype, int64_t value);
  Id FloatConst(DType dtype, double value);

  const Node& operator[](Id id) const { return nodes_[id]; }
  absl::Span<const Id> Dims(ShapeId shape) const { return shapes_[shape]; }
  absl::Span<const Id> DimsOf(Id id) const { return Dims(nodes_[id].shape); }
  int Rank(Id id) const { return static_cast<int>(DimsOf(id).size()); }
  size_t size() const { return nodes_.size(); }

  // True if `id` is a constant; `value` as integer or as double.
  bool IsConst(Id id) const { return nodes_[id].op == Op::kConst; }
  bool IsInt(Id id, int64_t value) const;
  int64_t IntValue(Id id) const;   // Of a non-float kConst.
  double FloatValue(Id id) const;  // Of any kConst.

 private:
  void Grow();

  std::vector<Node> nodes_;
  std::vector<uint32_t> table_;  // Open addressing: id + 1, 0 is free.
  std::vector<std::vector<Id>> shapes_;
  std::vector<uint32_t> shape_table_;          // Open addressing: shape + 1.
  std::vector<std::unique_ptr<Id[]>> blocks_;  // Operand lists.
  size_t block_used_ = 0;
  std::vector<std::unique_ptr<Attr>> attrs_;
};

// A node like `id` with other operands (and the same shape and attributes).
// Weak-integer arithmetic is simplified on the way, see symbolic.h.
Id WithSources(Arena& arena, Id id, absl::Span<const Id> srcs);

// The ids reachable from `roots`, operands before users.
[[nodiscard]] std::vector<Id> TopologicalOrder(const Arena& arena,
                                               absl::Span<const Id> roots);

// FNV-1a over bytes, mixed; the project's structural hash.
[[nodiscard]] uint64_t HashBytes(uint64_t seed, const void* data, size_t size);

}  // namespace quern::ir
