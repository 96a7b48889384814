// SPDX-License-Identifier: Apache-2.0
//
// Attention and what stands around it in language models.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/node_call.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

using ir::Op;

constexpr int64_t kAny = INT64_MAX;

// [batch, positions, heads * size] as [batch, heads, positions, size].
Id SplitHeads(NodeCall& c, Id x, int64_t heads) {
  ir::Builder& b = c.b();
  if (!c.ok() || x == kNoNode || b.Rank(x) == 4) return x;
  const std::vector<Id> d = b.Dims(x);
  if (d.size() != 3 || heads < 1) {
    return c.Invalid(absl::StrCat("input of shape ", b.ShapeText(x), " with ",
                                  heads, " heads, expected rank 3 or 4"));
  }
  const Id size = ir::IDiv(c.arena(), d[2], b.Int(heads));
  const Id split = b.Reshape(x, {d[0], d[1], b.Int(heads), size});
  return b.Permute(split, {0, 2, 1, 3});
}

// Every head of keys or values as often as queries share it.
Id RepeatHeads(NodeCall& c, Id x, Id heads) {
  ir::Builder& b = c.b();
  if (!c.ok() || x == kNoNode) return kNoNode;
  const std::vector<Id> d = b.Dims(x);
  if (ir::ProvablyEqual(c.arena(), d[1], heads)) return x;
  const Id times = ir::IDiv(c.arena(), heads, d[1]);
  const Id apart = b.Reshape(x, {d[0], d[1], b.Int(1), d[2], d[3]});
  const Id wide = b.Expand(apart, {d[0], d[1], times, d[2], d[3]});
  return b.Reshape(wide, {d[0], heads, d[2], d[3]});
}

// What decides which keys [.., queries, keys] a query may attend to.
struct Masking {
  Id allowed = kNoNode;       // Bool; kNoNode: all.
  Id bias = kNoNode;          // Added to the scores; kNoNode: none.
  bool may_be_empty = false;  // A query may be left with no key at all.
};

void Allow(ir::Builder& b, Masking& masking, Id condition) {
  masking.allowed = masking.allowed == kNoNode
                        ? condition
                        : b.Binary(Op::kAnd, masking.allowed, condition);
}

// The mask input, padded to all keys: what it lacks is not attended to.
void AddMask(NodeCall& c, Masking& masking, Id keys) {
  ir::Builder& b = c.b();
  Id mask = c.Optional(3);
  if (mask == kNoNode || !c.ok() || b.Rank(mask) < 1) return;
  masking.may_be_empty = true;
  const std::vector<Id> dims = b.Dims(mask);
  const Id lack = ir::Sub(c.arena(), keys, dims.back());
  if (!c.arena().IsInt(lack, 0) && !c.arena().IsInt(dims.back(), 1)) {
    std::vector<Id> none(dims.size(), b.Int(0));
    std::vector<Id> after = none;
    after.back() = lack;
    const double infinity = std::numeric_limits<double>::infinity();
    const Id value = b.DTypeOf(mask) == DType::kBool
                         ? c.arena().IntConst(DType::kBool, 0)
                         : b.Float(-infinity);
    mask =
        graph::PadWith(b, mask, none, after, graph::PadMode::kConstant, value);
  }
  if (graph::TypeOf(b, mask) == DType::kBool) {
    Allow(b, masking, mask);
  } else {
    masking.bias = graph::Widened(b, mask);
  }
}

Masking MaskingOf(NodeCall& c, Id queries, Id keys, Id past) {
  ir::Builder& b = c.b();
  Masking masking;
  AddMask(c, masking, keys);
  const Id lengths = c.Optional(6);
  const Id row = graph::Positions(b, queries, 2, 4, DType::kI64);
  const Id column = graph::Positions(b, keys, 3, 4, DType::kI64);
  Id length = kNoNode;
  if (lengths != kNoNode && c.ok()) {
    const Id batch = b.Dim(lengths, 0);
    length = b.Cast(b.Reshape(lengths, {batch, b.Int(1), b.Int(1), b.Int(1)}),
                    DType::kI64);
    Allow(b, masking, b.Less(column, length));
    masking.may_be_empty = true;
  }
  // The position of a query among the keys.
  Id at = row;
  if (past != kNoNode) {
    at = b.Add(row, past);
  } else if (length != kNoNode) {
    at = b.Add(row, b.Sub(length, queries));
  }
  if (c.Int("is_causal", 0) != 0) {
    Allow(b, masking, graph::LessOrEqual(b, column, at));
  }
  const int64_t left = c.Int("left_window_size", -1);
  const int64_t right = c.Int("right_window_size", -1);
  if (left >= 0) {
    Allow(b, masking, graph::LessOrEqual(b, b.Sub(at, b.Int(left)), column));
  }
  if (right >= 0) {
    Allow(b, masking, graph::LessOrEqual(b, column, b.Add(at, b.Int(right))));
  }
  masking.may_be_empty |= left >= 0 || right >= 0;
  return masking;
}

// Probabilities of `scores`; zeros where no key is left.
Id Probabilities(ir::Builder& b, Id scores, bool may_be_empty) {
  if (!may_be_empty) return graph::Softmax(b, scores, {-1});
  const double infinity = std::numeric_limits<double>::infinity();
  const Id top = graph::ReduceBy(b, graph::Reduction::kMax, scores, {-1}, true);
  const Id empty = b.Equal(top, b.Float(-infinity));
  const Id e = graph::Exp(b, b.Sub(scores, b.Where(empty, b.Float(0), top)));
  const Id sum = graph::ReduceBy(b, graph::Reduction::kSum, e, {-1}, true);
  return b.Div(e, b.Where(empty, b.Float(1), sum));
}

void Attention(NodeCall& c) {
  ir::Builder& b = c.b();
  const DType dtype = c.TypeOf(0);
  const bool flat = c.Rank(0) == 3;
  Id q = SplitHeads(c, c.In(0), c.Int("q_num_heads", 0));
  Id k = SplitHeads(c, c.In(1), c.Int("kv_num_heads", 0));
  Id v = SplitHeads(c, c.In(2), c.Int("kv_num_heads", 0));
  Id past = kNoNode;
  if (c.Has(4) && c.Has(5) && c.ok()) {
    past = c.Dim(4, 2);
    k = b.Concat({c.In(4), k}, 2);
    v = b.Concat({c.In(5), v}, 2);
  }
  c.Set(1, k);
  c.Set(2, v);
  if (!c.ok()) return;
  const std::vector<Id> d = b.Dims(q);
  const Id keys = b.Dim(k, 2);
  if (d.size() != 4 || b.Rank(k) != 4 || b.Rank(v) != 4) {
    c.Invalid(absl::StrCat("queries ", b.ShapeText(q), ", keys ",
                           b.ShapeText(k), " and values ", b.ShapeText(v)));
    return;
  }
  double scale = c.Float("scale", 0);
  if (!c.HasAttribute("scale") || scale == 0) {
    if (!c.arena().IsConst(d[3])) {
      c.Unimplemented("attention with a free size of heads needs a scale");
      return;
    }
    scale = 1 / std::sqrt(static_cast<double>(c.arena().IntValue(d[3])));
  }
  const Id right = graph::Transpose(b, RepeatHeads(c, k, d[1]));
  Id scores = graph::MatMul(b, graph::Widened(b, q), graph::Widened(b, right));
  scores = b.Mul(scores, b.Float(scale));
  const int64_t mode = c.Int("qk_matmul_output_mode", 0);
  const auto show = [&](int64_t number) {
    if (mode == number) c.Set(3, b.Cast(scores, dtype));
  };
  show(0);
  const double cap = c.Float("softcap", 0);
  if (cap > 0) {
    const Id bent = b.Unary(Op::kTanh, b.Div(scores, b.Float(cap)));
    scores = b.Mul(bent, b.Float(cap));
  }
  show(1);
  const Masking masking = MaskingOf(c, d[2], keys, past);
  if (masking.bias != kNoNode) scores = b.Add(scores, masking.bias);
  if (masking.allowed != kNoNode) {
    const double infinity = std::numeric_limits<double>::infinity();
    scores = b.Where(masking.allowed, scores, b.Float(-infinity));
  }
  show(2);
  scores = Probabilities(b, scores, masking.may_be_empty);
  show(3);
  const Id values = RepeatHeads(c, v, d[1]);
  Id y = b.Cast(graph::MatMul(b, scores, graph::Widened(b, values)), dtype);
  if (flat && c.ok()) {
    const Id width = ir::Mul(c.arena(), d[1], b.Dim(y, 3));
    y = b.Reshape(b.Permute(y, {0, 2, 1, 3}), {d[0], d[2], width});
  }
  c.Set(0, y);
}

// The part of the last axis from `begin`, every `step`-th of `size`.
Id LastAxis(NodeCall& c, Id x, int64_t begin, Id end, int64_t step) {
  const graph::SliceAxis part = {-1, c.b().Int(begin), end, step};
  return graph::Slice(c.b(), x, {part});
}

void RotaryEmbedding(NodeCall& c) {
  ir::Builder& b = c.b();
  ir::Arena& arena = c.arena();
  const bool flat = c.Rank(0) == 3;
  const Id x = SplitHeads(c, c.In(0), c.Int("num_heads", 0));
  if (!c.ok()) return;
  const std::vector<Id> d = b.Dims(x);
  if (d.size() != 4) {
    c.Invalid(absl::StrCat("input has rank ", d.size(), ", expected 3 or 4"));
    return;
  }
  const int64_t given = c.Int("rotary_embedding_dim", 0);
  const Id turned = given == 0 ? d[3] : b.Int(given);
  if (!arena.IsConst(turned)) {
    c.Unimplemented("rotary embedding of a free size");
    return;
  }
  const int64_t half = arena.IntValue(turned) / 2;
  // [batch, 1, positions, half]; the caches are looked up by position.
  const auto angles = [&](int input) {
    const Id cache = c.In(input);
    const Id rows = c.Has(3) ? graph::Take(b, cache, c.In(3), 0) : cache;
    return graph::Unsqueeze(b, rows, {1});
  };
  const Id cosine = angles(1);
  const Id sine = angles(2);
  const bool interleaved = c.Int("interleaved", 0) != 0;
  const Id first = interleaved ? LastAxis(c, x, 0, turned, 2)
                               : LastAxis(c, x, 0, b.Int(half), 1);
  const Id second = interleaved ? LastAxis(c, x, 1, turned, 2)
                                : LastAxis(c, x, half, turned, 1);
  Id real = b.Sub(b.Mul(cosine, first), b.Mul(sine, second));
  Id imaginary = b.Add(b.Mul(sine, first), b.Mul(cosine, second));
  Id rotated = kNoNode;
  if (interleaved) {
    real = graph::Unsqueeze(b, real, {-1});
    imaginary = graph::Unsqueeze(b, imaginary, {-1});
    rotated =
        b.Reshape(b.Concat({real, imaginary}, -1), {d[0], d[1], d[2], turned});
  } else {
    rotated = b.Concat({real, imaginary}, -1);
  }
  Id y =
      b.Concat({rotated, LastAxis(c, x, arena.IntValue(turned), d[3], 1)}, -1);
  if (flat) y = b.Reshape(b.Permute(y, {0, 2, 1, 3}), c.Dims(0));
  c.Set(0, y);
}

constexpr OpRow kRows[] = {
    {"Attention", 23, kAny, Attention},
    {"RotaryEmbedding", 23, kAny, RotaryEmbedding},
};

}  // namespace

absl::Span<const OpRow> AttentionOps() { return kRows; }

}  // namespace quern::onnx_import
