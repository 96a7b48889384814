// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/generator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"
#include "engine/ir/text.h"
#include "engine/ir/verify.h"

namespace quern::fuzz {
namespace {

using ir::Arena;
using ir::Builder;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Op;

constexpr absl::string_view kHeader = "// quern-fuzz";

// SplitMix64: small, and the same everywhere, which <random>'s distributions
// are not.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // In [least, greatest].
  int64_t Pick(int64_t least, int64_t greatest) {
    return least + static_cast<int64_t>(
                       Next() % static_cast<uint64_t>(greatest - least + 1));
  }
  bool OneIn(int64_t n) { return Pick(1, n) == 1; }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  template <typename T>
  const T& Of(const std::vector<T>& list) {
    return list[Pick(0, static_cast<int64_t>(list.size()) - 1)];
  }

 private:
  uint64_t state_;
};

const std::vector<DType>& StrongTypes() {
  static const auto& types = *new std::vector<DType>{
      DType::kF32, DType::kF32, DType::kF32,  DType::kF32,
      DType::kF64, DType::kF16, DType::kBF16, DType::kI32,
      DType::kI64, DType::kI8,  DType::kI16,  DType::kU8,
      DType::kU16, DType::kU32, DType::kU64,  DType::kBool};
  return types;
}

class Generator {
 public:
  Generator(uint64_t seed, const GeneratorOptions& options)
      : random_(seed), seed_(seed), options_(options) {}

  std::string Run() {
    Builder b(&arena_);
    if (random_.OneIn(2)) vars_.push_back(b.Var("n", 1, 16));
    if (random_.OneIn(4)) vars_.push_back(b.Var("m", 2, 9));
    const int64_t inputs = random_.Pick(1, 3);
    for (int64_t i = 0; i < inputs; ++i) AddInput();
    // A variable must be a dimension of some input.
    for (Id var : vars_) {
      Keep(b.Input(next_input_++, DType::kF32, {var}));
    }
    const int64_t wanted = random_.Pick(3, options_.max_nodes);
    for (int tries = 0; tries < 200 && Count() < wanted; ++tries) Grow();
    std::string text = absl::StrCat(kHeader, " seed=", seed_);
    for (Id var : vars_) {
      const ir::Node& node = arena_[var];
      absl::StrAppend(&text, " ", node.attr->text, "=",
                      random_.Pick(node.least, node.greatest));
    }
    return absl::StrCat(text, "\n", ir::ToText(arena_, Outputs()));
  }

 private:
  int64_t Count() const { return static_cast<int64_t>(pool_.size()); }

  // Adds a tensor to those that later ones are made of, if it is good.
  void Keep(Id id) {
    if (id == kNoNode) return;
    int64_t elements = 1;
    for (Id dim : arena_.DimsOf(id)) {
      const int64_t size = arena_[dim].greatest;
      if (size > options_.max_elements) return;
      elements *= std::max<int64_t>(size, 1);
      if (elements > options_.max_elements) return;
    }
    if (arena_.Rank(id) > 6) return;
    if (std::find(pool_.begin(), pool_.end(), id) != pool_.end()) return;
    pool_.push_back(id);
  }

  Id Any() {
    // Recent ones more often, so that graphs grow deep.
    const auto count = static_cast<int64_t>(pool_.size());
    if (random_.OneIn(2)) return pool_[random_.Pick(0, count - 1)];
    return pool_[random_.Pick(std::max<int64_t>(0, count - 4), count - 1)];
  }

  Id RandomDim() {
    if (!vars_.empty() && random_.OneIn(3)) return random_.Of(vars_);
    static constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 17, 33};
    return arena_.Int(kSizes[random_.Pick(0, 9)]);
  }

  void AddInput() {
    Builder b(&arena_);
    std::vector<Id> dims;
    const int64_t rank = random_.Pick(0, 4);
    int64_t elements = 1;
    for (int64_t i = 0; i < rank; ++i) {
      const Id dim = RandomDim();
      elements *= arena_[dim].greatest;
      if (elements > options_.max_elements) break;
      dims.push_back(dim);
    }
    Keep(b.Input(next_input_++, random_.Of(StrongTypes()), dims));
  }

  // An operand for an elementwise operation with x: a constant, something of
  // the same shape, x itself reduced, or a new weight.
  Id Partner(Builder& b, Id x) {
    const std::vector<Id> dims = b.Dims(x);
    switch (random_.Pick(0, 4)) {
      case 0: {
        static constexpr double kValues[] = {0, 1, -1, 2, 0.5, 3, -0.25, 10};
        const double value = kValues[random_.Pick(0, 7)];
        if (random_.OneIn(3)) return b.Int(static_cast<int64_t>(value));
        return random_.OneIn(2) ? b.Float(value)
                                : b.Scalar(b.DTypeOf(x), value);
      }
      case 1: {
        if (dims.empty() || b.DTypeOf(x) == DType::kBool) return x;
        const int64_t axis = random_.Pick(0, b.Rank(x) - 1);
        std::vector<Id> kept = dims;
        kept[axis] = arena_.Int(1);
        return b.Reshape(
            b.Reduce(random_.OneIn(2) ? Op::kMax : Op::kAdd, x, {axis}), kept);
      }
      case 2: {
        std::vector<Id> weight;
        for (Id dim : dims) {
          const bool whole = arena_.IsConst(dim) && !random_.OneIn(3);
          weight.push_back(whole ? dim : arena_.Int(1));
        }
        const DType dtype = random_.OneIn(3) ? random_.Of(StrongTypes())
                                             : ir::Strong(b.DTypeOf(x));
        return b.Weight(next_weight_++, dtype, weight);
      }
      default:
        for (int i = 0; i < 8; ++i) {
          const Id y = Any();
          if (arena_[y].shape == arena_[x].shape) return y;
        }
        return x;
    }
  }

  void Grow() {
    Builder b(&arena_);
    const Id x = Any();
    switch (random_.Pick(0, 11)) {
      case 0:
      case 1:
        return Keep(Elementwise(b, x));
      case 2:
        return Keep(Unary(b, x));
      case 3:
        return Keep(Converted(b, x));
      case 4:
        return Keep(Selected(b, x));
      case 5:
        return Keep(Reduced(b, x));
      case 6:
        return Keep(random_.OneIn(2) ? Gathered(b, x) : Product(b, x));
      default:
        return Keep(Moved(b, x));
    }
  }

  Id Elementwise(Builder& b, Id x) {
    static constexpr Op kOps[] = {Op::kAdd,  Op::kSub,   Op::kMul,   Op::kDiv,
                                  Op::kIDiv, Op::kMod,   Op::kMax,   Op::kMin,
                                  Op::kAnd,  Op::kOr,    Op::kXor,   Op::kShl,
                                  Op::kShr,  Op::kCmpLt, Op::kCmpEq, Op::kCmpNe,
                                  Op::kAdd,  Op::kMul,   Op::kSub,   Op::kFma};
    const Op op = kOps[random_.Pick(0, 19)];
    const Id y = Partner(b, x);
    if (op == Op::kFma) return b.Fma(x, y, Partner(b, x));
    return random_.OneIn(2) ? b.Binary(op, x, y) : b.Binary(op, y, x);
  }

  Id Unary(Builder& b, Id x) {
    static constexpr Op kOps[] = {Op::kNeg, Op::kSqrt, Op::kExp2, Op::kLog2,
                                  Op::kSin, Op::kTanh, Op::kErf,  Op::kTrunc};
    if (random_.OneIn(10)) return b.Not(x);
    return b.Unary(kOps[random_.Pick(0, 7)], x);
  }

  Id Converted(Builder& b, Id x) {
    const DType dtype = random_.Of(StrongTypes());
    if (!random_.OneIn(4)) return b.Cast(x, dtype);
    return b.Bitcast(x, dtype);
  }

  Id Selected(Builder& b, Id x) {
    const Id condition = b.DTypeOf(x) == DType::kBool
                             ? x
                             : b.Binary(Op::kCmpLt, x, Partner(b, x));
    return b.Where(condition, x, Partner(b, x));
  }

  Id Reduced(Builder& b, Id x) {
    static constexpr Op kOps[] = {Op::kAdd, Op::kAdd, Op::kMax, Op::kMin,
                                  Op::kMul};
    std::vector<int64_t> axes;
    for (int64_t axis = 0; axis < b.Rank(x); ++axis) {
      if (random_.OneIn(2)) axes.push_back(axis);
    }
    return b.Reduce(kOps[random_.Pick(0, 4)], x, axes);
  }

  Id Gathered(Builder& b, Id x) {
    if (b.Rank(x) == 0) return kNoNode;
    const int64_t axis = random_.Pick(0, b.Rank(x) - 1);
    for (int i = 0; i < 8; ++i) {
      const Id indices = Any();
      if (ir::IsInteger(b.DTypeOf(indices)) && b.Rank(indices) <= 2) {
        return b.Gather(x, indices, axis);
      }
    }
    const Id count = b.Iota(arena_.Int(random_.Pick(1, 5)));
    return b.Gather(x, b.Binary(Op::kMul, count, b.Int(random_.Pick(-1, 3))),
                    axis);
  }

  // A matrix product of x with a new weight over x's last axis.
  Id Product(Builder& b, Id x) {
    if (b.Rank(x) == 0 || !ir::IsFloat(b.DTypeOf(x))) return kNoNode;
    std::vector<Id> dims = b.Dims(x);
    const Id k = dims.back();
    if (!arena_.IsConst(k)) return kNoNode;
    const Id columns = arena_.Int(random_.Pick(1, 9));
    const Id w =
        b.Weight(next_weight_++, ir::Strong(b.DTypeOf(x)), {columns, k});
    dims.insert(dims.end() - 1, arena_.Int(1));
    const Id product = b.Mul(b.Reshape(x, dims), w);
    return b.Reduce(Op::kAdd, product, {-1});
  }

  Id Moved(Builder& b, Id x) {
    const int64_t rank = b.Rank(x);
    std::vector<Id> dims = b.Dims(x);
    const int64_t kind = random_.Pick(0, 9);
    if (rank == 0 || kind == 0) {
      // A new axis, of size 1 or repeated.
      const int64_t at = random_.Pick(0, rank);
      dims.insert(dims.begin() + at, arena_.Int(1));
      const Id reshaped = b.Reshape(x, dims);
      dims[at] = RandomDim();
      return random_.OneIn(2) ? reshaped : b.Expand(reshaped, dims);
    }
    const int64_t axis = random_.Pick(0, rank - 1);
    const bool fixed = arena_.IsConst(dims[axis]);
    const int64_t size = arena_[dims[axis]].least;
    switch (kind) {
      case 1:
      case 2:
        return Reshaped(b, x, axis);
      case 3: {
        std::vector<int64_t> order(rank);
        for (int64_t i = 0; i < rank; ++i) order[i] = i;
        for (int64_t i = rank - 1; i > 0; --i) {
          std::swap(order[i], order[random_.Pick(0, i)]);
        }
        return b.Permute(x, order);
      }
      case 4: {
        std::vector<Id> before(rank, arena_.Int(0));
        std::vector<Id> after = before;
        before[axis] = arena_.Int(random_.Pick(0, 3));
        after[random_.Pick(0, rank - 1)] = arena_.Int(random_.Pick(0, 3));
        return b.Pad(x, before, after);
      }
      case 5: {
        if (size < 2) return kNoNode;
        std::vector<Id> begins(rank, arena_.Int(0));
        std::vector<int64_t> steps(rank, 1);
        const int64_t begin = random_.Pick(0, size - 1);
        begins[axis] = arena_.Int(begin);
        if (fixed) {
          steps[axis] = random_.Pick(1, 3);
          dims[axis] =
              arena_.Int(random_.Pick(1, (size - begin - 1) / steps[axis] + 1));
        } else {
          dims[axis] = ir::Sub(arena_, dims[axis], arena_.Int(begin));
        }
        return b.Shrink(x, begins, dims, steps);
      }
      case 6:
        return b.Flip(x, {axis});
      case 7: {
        std::vector<Id> parts = {x};
        for (int i = 0; i < 4; ++i) {
          const Id y = Any();
          if (arena_[y].shape == arena_[x].shape) parts.push_back(y);
        }
        parts.push_back(x);
        return b.Concat(parts, axis);
      }
      case 8: {
        const int64_t taps = random_.Pick(1, 3);
        return b.Window(x, axis, taps, random_.Pick(1, 2), random_.Pick(1, 2));
      }
      default:
        // Positions along an axis, which broadcast against anything.
        return b.Add(x, b.Reshape(b.Iota(dims.back()), {dims.back()}));
    }
  }

  // Merges an axis with the next, or splits it.
  Id Reshaped(Builder& b, Id x, int64_t axis) {
    std::vector<Id> dims = b.Dims(x);
    const auto rank = static_cast<int64_t>(dims.size());
    if (axis + 1 < rank && random_.OneIn(2)) {
      dims[axis] = ir::Mul(arena_, dims[axis], dims[axis + 1]);
      dims.erase(dims.begin() + axis + 1);
      return b.Reshape(x, dims);
    }
    if (!arena_.IsConst(dims[axis])) {
      // Everything in one axis, where division has to undo it.
      return b.Reshape(x, {ir::Product(arena_, dims)});
    }
    const int64_t size = arena_.IntValue(dims[axis]);
    for (int64_t factor : {random_.Pick(2, 5), int64_t{2}, int64_t{3}}) {
      if (size < 2 || size % factor != 0) continue;
      dims[axis] = arena_.Int(size / factor);
      dims.insert(dims.begin() + axis + 1, arena_.Int(factor));
      return b.Reshape(x, dims);
    }
    return kNoNode;
  }

  std::vector<Id> Outputs() {
    Builder b(&arena_);
    std::vector<Id> outputs;
    const int64_t count = random_.Pick(1, 3);
    for (int64_t i = 0; i < count; ++i) {
      Id id = i == 0 ? pool_.back() : Any();
      id = b.Cast(id, ir::Strong(b.DTypeOf(id)));
      if (std::find(outputs.begin(), outputs.end(), id) == outputs.end()) {
        outputs.push_back(id);
      }
    }
    // Inputs that give the variables their values must be there; so must all
    // inputs, for their slots to be known.
    return outputs;
  }

  Random random_;
  const uint64_t seed_;
  const GeneratorOptions options_;
  Arena arena_;
  std::vector<Id> vars_;
  std::vector<Id> pool_;
  int next_input_ = 0;
  int next_weight_ = 0;
};

// Held values for `count` elements: mostly small numbers, some of the extremes
// of the dtype.
std::vector<int64_t> Content(uint64_t seed, DType dtype, int64_t count) {
  Random random(seed);
  std::vector<int64_t> bits;
  bits.reserve(count);
  for (int64_t i = 0; i < count; ++i) {
    if (ir::IsFloat(dtype)) {
      double value = (random.Unit() * 2 - 1) * 4;
      if (random.OneIn(16)) value = static_cast<double>(random.Pick(-3, 3));
      if (random.OneIn(64)) value *= 1000;
      bits.push_back(std::bit_cast<int64_t>(ir::RoundTo(dtype, value)));
      continue;
    }
    const bool extreme = random.OneIn(8);
    const auto value =
        extreme ? static_cast<int64_t>(random.Next()) : random.Pick(-9, 9);
    bits.push_back(ir::Scalar::OfInt(dtype, value).bits);
  }
  return bits;
}

// A small seed for each slot, so that shrinking keeps the content.
uint64_t SlotSeed(uint64_t seed, Op op, int64_t slot) {
  const auto tag =
      static_cast<uint64_t>(op) * 1000003 + static_cast<uint64_t>(slot);
  return Random(seed ^ tag * 0x9e3779b97f4a7c15).Next();
}

absl::StatusOr<int64_t> SizeAt(const Arena& arena, Id size,
                               const std::map<std::string, int64_t>& vars) {
  std::vector<ir::Scalar> values(size + 1);
  for (Id id : ir::TopologicalOrder(arena, {size})) {
    const ir::Node& node = arena[id];
    if (node.op == Op::kConst) {
      values[id] = {node.dtype, node.attr->ints[0]};
    } else if (node.op == Op::kVar) {
      const auto it = vars.find(node.attr->text);
      if (it == vars.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("no value for variable '", node.attr->text, "'"));
      }
      values[id] = {node.dtype, it->second};
    } else {
      std::vector<ir::Scalar> operands;
      for (Id src : node.srcs) operands.push_back(values[src]);
      QUERN_ASSIGN_OR_RETURN(values[id],
                             ir::Evaluate(node.op, node.dtype, operands));
    }
  }
  return values[size].bits;
}

absl::Status ParseHeader(absl::string_view line, Case& fuzz_case) {
  for (absl::string_view word :
       absl::StrSplit(line, ' ', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(word, absl::MaxSplits('=', 1));
    uint64_t value = 0;
    if (!absl::SimpleAtoi(parts.second, &value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected NAME=NUMBER in the header, got '", word, "'"));
    }
    if (parts.first == "seed") {
      fuzz_case.seed = value;
    } else {
      fuzz_case.variables[std::string(parts.first)] =
          static_cast<int64_t>(value);
    }
  }
  return absl::OkStatus();
}

constexpr int64_t kMaxSlots = 1000;
constexpr int64_t kMaxCaseElements = 1 << 24;

// Declares input or weight `id` in the graph and gives it content.
absl::Status AddSlot(Case& fuzz_case, Id id) {
  const ir::Node& node = (*fuzz_case.graph.arena)[id];
  const int64_t slot = node.attr->ints[0];
  if (slot >= kMaxSlots) {
    return absl::InvalidArgumentError(absl::StrCat("slot ", slot));
  }
  const absl::Span<const Id> dims = fuzz_case.graph.arena->DimsOf(id);
  ref::Tensor tensor = {node.dtype, {}, {}};
  int64_t elements = 1;
  for (Id dim : dims) {
    QUERN_ASSIGN_OR_RETURN(
        const int64_t size,
        SizeAt(*fuzz_case.graph.arena, dim, fuzz_case.variables));
    tensor.dims.push_back(size);
    if (size < 0 || __builtin_mul_overflow(elements, size, &elements) ||
        elements > kMaxCaseElements) {
      return absl::InvalidArgumentError("an input or weight is too large");
    }
  }
  tensor.bits =
      Content(SlotSeed(fuzz_case.seed, node.op, slot), node.dtype, elements);
  const auto name = absl::StrCat(ir::Name(node.op), slot);
  if (node.op == Op::kInput) {
    fuzz_case.graph.inputs[slot] = {
        name, node.dtype, {dims.begin(), dims.end()}, id};
    fuzz_case.inputs[slot] = std::move(tensor);
    return absl::OkStatus();
  }
  fuzz_case.graph.weights[slot] = {name, node.dtype, tensor.dims,
                                   graph::Bytes(ref::BytesOf(tensor))};
  return absl::OkStatus();
}

}  // namespace

std::string GenerateCase(uint64_t seed, const GeneratorOptions& options) {
  return Generator(seed, options).Run();
}

absl::StatusOr<Case> ParseCase(absl::string_view text) {
  Case result;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, kHeader)) {
      QUERN_RETURN_IF_ERROR(ParseHeader(line, result));
    }
  }
  graph::Graph& graph = result.graph;
  QUERN_ASSIGN_OR_RETURN(const std::vector<Id> outputs,
                         ir::Parse(*graph.arena, text));
  QUERN_RETURN_IF_ERROR(ir::VerifyTensorLevel(*graph.arena, outputs));
  for (size_t i = 0; i < outputs.size(); ++i) {
    const absl::Span<const Id> dims = graph.arena->DimsOf(outputs[i]);
    graph.outputs.push_back({absl::StrCat("output", i),
                             (*graph.arena)[outputs[i]].dtype,
                             {dims.begin(), dims.end()},
                             outputs[i]});
  }
  // Slots that nothing reads get a scalar.
  std::vector<Id> slots;
  size_t inputs = 0;
  size_t weights = 0;
  for (Id id = 0; id < graph.arena->size(); ++id) {
    const ir::Node& node = (*graph.arena)[id];
    if (node.op != Op::kInput && node.op != Op::kWeight) continue;
    size_t& count = node.op == Op::kInput ? inputs : weights;
    count = std::max<size_t>(
        count, std::min<int64_t>(node.attr->ints[0], kMaxSlots) + 1);
    slots.push_back(id);
  }
  // Each variable is a dimension of an input of its own.
  std::vector<Id> vars;
  for (Id id = 0; id < graph.arena->size(); ++id) {
    if ((*graph.arena)[id].op == Op::kVar) vars.push_back(id);
  }
  graph.inputs.resize(inputs);
  graph.weights.resize(weights);
  result.inputs.resize(inputs);
  ir::Builder b(graph.arena.get());
  for (size_t slot = 0; slot < inputs; ++slot) {
    graph.inputs[slot] = {absl::StrCat("input", slot),
                          DType::kF32,
                          {},
                          b.Input(static_cast<int>(slot), DType::kF32, {})};
    result.inputs[slot] = {DType::kF32, {}, {0}};
  }
  for (size_t slot = 0; slot < weights; ++slot) {
    graph.weights[slot] = {absl::StrCat("weight", slot),
                           DType::kF32,
                           {},
                           graph::Bytes(std::string(4, '\0'))};
  }
  for (Id id : slots) QUERN_RETURN_IF_ERROR(AddSlot(result, id));
  for (Id var : vars) {
    const Id id =
        b.Input(static_cast<int>(graph.inputs.size()), DType::kF32, {var});
    graph.inputs.emplace_back();
    result.inputs.emplace_back();
    QUERN_RETURN_IF_ERROR(AddSlot(result, id));
  }
  QUERN_RETURN_IF_ERROR(b.status());
  QUERN_RETURN_IF_ERROR(graph::Validate(graph));
  return result;
}

std::string CaseText(const Case& fuzz_case, absl::Span<const Id> outputs) {
  std::string text = absl::StrCat(kHeader, " seed=", fuzz_case.seed);
  for (const auto& [name, value] : fuzz_case.variables) {
    absl::StrAppend(&text, " ", name, "=", value);
  }
  return absl::StrCat(text, "\n", ir::ToText(*fuzz_case.graph.arena, outputs));
}

}  // namespace quern::fuzz
