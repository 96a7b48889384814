// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/node.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"

namespace quern::ir {
namespace {

constexpr size_t kBlockIds = 16384;

uint64_t Mix(uint64_t h) {
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33);
}

uint64_t Combine(uint64_t h, uint64_t v) {
  return Mix(h ^ (v + 0x9e3779b97f4a7c15ULL + (h << 6) + (h >> 2)));
}

}  // namespace

uint64_t HashBytes(uint64_t seed, const void* data, size_t size) {
  uint64_t h = seed ^ 0xcbf29ce484222325ULL;
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) h = (h ^ bytes[i]) * 0x100000001b3ULL;
  return Mix(h);
}

Arena::Arena() : table_(1024, 0), shape_table_(256, 0) {
  shapes_.emplace_back();  // kScalarShape; found by MakeShape's empty check.
}

Arena::~Arena() = default;

Id Arena::Make(Op op, DType dtype, absl::Span<const Id> srcs, Attr attr,
               ShapeId shape) {
  uint64_t hash =
      Combine(static_cast<uint64_t>(op) << 8 | static_cast<uint64_t>(dtype),
              srcs.size());
  for (Id src : srcs) hash = Combine(hash, nodes_[src].hash);
  for (Id dim : shapes_[shape]) hash = Combine(hash, nodes_[dim].hash);
  hash = Combine(hash, shapes_[shape].size());
  for (int64_t v : attr.ints) hash = Combine(hash, static_cast<uint64_t>(v));
  if (!attr.text.empty()) {
    hash = Combine(hash, HashBytes(0, attr.text.data(), attr.text.size()));
  }

  const size_t mask = table_.size() - 1;
  size_t slot = hash & mask;
  for (; table_[slot] != 0; slot = (slot + 1) & mask) {
    const Node& node = nodes_[table_[slot] - 1];
    if (node.hash == hash && node.op == op && node.dtype == dtype &&
        node.shape == shape && node.srcs == srcs && *node.attr == attr) {
      return table_[slot] - 1;
    }
  }

  Node node;
  node.op = op;
  node.dtype = dtype;
  node.shape = shape;
  node.hash = hash;
  if (!srcs.empty()) {
    const size_t count = srcs.size();
    if (blocks_.empty() || block_used_ + count > kBlockIds) {
      blocks_.push_back(std::make_unique<Id[]>(std::max(kBlockIds, count)));
      block_used_ = 0;
    }
    Id* place = blocks_.back().get() + block_used_;
    std::copy(srcs.begin(), srcs.end(), place);
    block_used_ += count;
    node.srcs = absl::MakeConstSpan(place, count);
  }
  static const Attr kEmpty;
  if (attr == kEmpty) {
    node.attr = &kEmpty;
  } else {
    attrs_.push_back(std::make_unique<Attr>(std::move(attr)));
    node.attr = attrs_.back().get();
  }
  uint64_t unfolded = 1;
  for (Id src : srcs) unfolded += nodes_[src].unfolded;
  node.unfolded =
      static_cast<uint32_t>(std::min<uint64_t>(unfolded, UINT32_MAX));
  const Bounds bounds = BoundsFor(*this, node);
  node.least = bounds.least;
  node.greatest = bounds.greatest;
  const Id id = static_cast<Id>(nodes_.size());
  nodes_.push_back(node);
  table_[slot] = id + 1;
  if (nodes_.size() * 2 > table_.size()) Grow();
  return id;
}

void Arena::Grow() {
  table_.assign(table_.size() * 2, 0);
  const size_t mask = table_.size() - 1;
  for (Id id = 0; id < nodes_.size(); ++id) {
    size_t slot = nodes_[id].hash & mask;
    while (table_[slot] != 0) slot = (slot + 1) & mask;
    table_[slot] = id + 1;
  }
}

ShapeId Arena::MakeShape(absl::Span<const Id> dims) {
  if (dims.empty()) return kScalarShape;
  const auto hash_of = [](absl::Span<const Id> ids) {
    return HashBytes(ids.size(), ids.data(), ids.size() * sizeof(Id));
  };
  if (shapes_.size() * 2 > shape_table_.size()) {
    shape_table_.assign(shape_table_.size() * 2, 0);
    for (ShapeId s = 1; s < shapes_.size(); ++s) {
      size_t slot = hash_of(shapes_[s]) & (shape_table_.size() - 1);
      while (shape_table_[slot] != 0) {
        slot = (slot + 1) & (shape_table_.size() - 1);
      }
      shape_table_[slot] = s + 1;
    }
  }
  const size_t mask = shape_table_.size() - 1;
  size_t slot = hash_of(dims) & mask;
  for (; shape_table_[slot] != 0; slot = (slot + 1) & mask) {
    if (absl::MakeConstSpan(shapes_[shape_table_[slot] - 1]) == dims) {
      return shape_table_[slot] - 1;
    }
  }
  shapes_.emplace_back(dims.begin(), dims.end());
  shape_table_[slot] = static_cast<uint32_t>(shapes_.size());
  return static_cast<ShapeId>(shapes_.size() - 1);
}

ShapeId Arena::MakeShape(absl::Span<const int64_t> dims) {
  std::vector<Id> ids;
  ids.reserve(dims.size());
  for (int64_t dim : dims) ids.push_back(Int(dim));
  return MakeShape(ids);
}

Id Arena::Int(int64_t value) { return IntConst(DType::kWeakInt, value); }

Id Arena::IntConst(DType dtype, int64_t value) {
  if (IsFloat(dtype)) return FloatConst(dtype, static_cast<double>(value));
  return Make(Op::kConst, dtype, {},
              Attr{{Scalar::OfInt(dtype, value).bits}, {}});
}

Id Arena::FloatConst(DType dtype, double value) {
  return Make(Op::kConst, dtype, {},
              Attr{{Scalar::OfFloat(dtype, value).bits}, {}});
}

bool Arena::IsInt(Id id, int64_t value) const {
  return IsConst(id) && !IsFloat(nodes_[id].dtype) &&
         nodes_[id].attr->ints[0] == value;
}

int64_t Arena::IntValue(Id id) const { return nodes_[id].attr->ints[0]; }

double Arena::FloatValue(Id id) const {
  const int64_t bits = nodes_[id].attr->ints[0];
  if (!IsFloat(nodes_[id].dtype)) return static_cast<double>(bits);
  double value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

Id WithSources(Arena& arena, Id id, absl::Span<const Id> srcs) {
  const Node node = arena[id];
  if (node.srcs == srcs) return id;
  if (IsSymbolic(arena, id)) return Simplified(arena, node.op, srcs);
  return arena.Make(node.op, node.dtype, srcs, *node.attr, node.shape);
}

// One bit a node, scanned by words: most of an arena belongs to other kernels
// than the one at hand, and is skipped 64 nodes at a time.
std::vector<Id> TopologicalOrder(const Arena& arena,
                                 absl::Span<const Id> roots) {
  std::vector<uint64_t> wanted(arena.size() / 64 + 1, 0);
  const auto want = [&](Id id) { wanted[id / 64] |= uint64_t{1} << id % 64; };
  for (Id root : roots) want(root);
  std::vector<Id> order;
  for (size_t word = wanted.size(); word-- > 0;) {
    while (wanted[word] != 0) {
      const int bit = std::bit_width(wanted[word]) - 1;
      wanted[word] ^= uint64_t{1} << bit;
      const Id id = static_cast<Id>(word * 64 + bit);
      order.push_back(id);
      // Operands have smaller ids: their bits are still to come.
      for (Id src : arena[id].srcs) want(src);
    }
  }
  std::reverse(order.begin(), order.end());
  return order;
}

}  // namespace quern::ir
