// SPDX-License-Identifier: Apache-2.0
//
// The body is a DAG of values over ranges. The loops that are open form a
// stack of blocks, each with its own list of instructions; a value goes to the
// block of the innermost open loop on which it depends. A loop is appended to
// its parent when it closes, so what is emitted into the parent meanwhile comes
// before it: hoisting needs no pass of its own.
//
// A reduction that belongs to an outer block is emitted with the stack cut back
// to that block: its loops open there, run and close, and then the stack is
// restored. Tiles likewise.
//
// A value is known by its node and by the values of the unrolled ranges on
// which it depends. It may be used again while its block is on the stack.
#include "engine/kernel/linearize.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"
#include "engine/kernel/opts.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;
using ir::RangeKind;

constexpr int kMaxRanges = 64;
constexpr int64_t kScratchAlignment = 64;

DType StrongIndex(DType dtype) {
  return dtype == DType::kWeakInt ? DType::kI64 : dtype;
}

int64_t DoubleBits(double value) {
  int64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

class Linearizer {
 public:
  Linearizer(Arena& arena, absl::Span<const Id> vars, size_t num_params,
             const base::Target& target, bool contract)
      : arena_(arena), num_params_(num_params), target_(target) {
    for (size_t i = 0; i < vars.size(); ++i) {
      var_slot_[vars[i]] = static_cast<int>(i);
    }
    fma_ = contract && target.fused_multiply_add;
    scratch_bytes_ = arena.Int(0);
    grid_ = arena.Int(0);
    blocks_.push_back({});
    stack_ = {0};
  }

  absl::Status EmitBodies(absl::Span<const Id> bodies) {
    for (Id body : bodies) {
      QUERN_RETURN_IF_ERROR(Prepare(body));
      EmitBody(body, bodies.size() > 1);
      QUERN_RETURN_IF_ERROR(error_);
      memo_.clear();
      splats_.clear();
    }
    return absl::OkStatus();
  }

  Linearized Finish(Program program) {
    std::vector<int32_t> position(pool_.size(), -1);
    for (int at : blocks_[0].order) {
      position[at] = static_cast<int32_t>(program.code.size());
      program.code.push_back(std::move(pool_[at]));
      for (int32_t& src : program.code.back().srcs) src = position[src];
    }
    program.tables = std::move(tables_);
    for (const Table& array : arrays_) {
      program.params.push_back({array.dtype, /*written=*/false});
    }
    Linearized out;
    out.arrays = std::move(arrays_);
    out.program = std::move(program);
    out.grid = grid_;
    out.scratch_bytes = scratch_bytes_;
    return out;
  }

 private:
  struct Block {
    Id range = kNoNode;
    int depth = 0;
    int opener = -1;         // The kLoop or kIf.
    std::vector<int> order;  // Instructions, in the pool.
  };
  struct Known {
    int value = -1;
    int block = 0;
  };
  using Key = std::pair<Id, uint64_t>;

  // Numbers the ranges and finds the free ranges of every node.
  absl::Status Prepare(Id body) {
    bit_.clear();
    range_of_bit_.clear();
    free_.clear();
    unrolled_.clear();
    resolved_.clear();
    // The ranges of the stores first: copies are written out in their order.
    std::vector<Id> order = StoreRanges(arena_, body);
    for (Id id : ir::TopologicalOrder(arena_, absl::MakeConstSpan(&body, 1))) {
      order.push_back(id);
    }
    for (Id id : order) {
      if (arena_[id].op != Op::kRange || bit_.contains(id)) continue;
      if (range_of_bit_.size() >= kMaxRanges) {
        return absl::ResourceExhaustedError(
            absl::StrCat("a kernel has more than ", kMaxRanges, " ranges"));
      }
      bit_[id] = static_cast<int>(range_of_bit_.size());
      range_of_bit_.push_back(id);
    }
    for (Id id : order) Free(id);
    return absl::OkStatus();
  }

  uint64_t Free(Id id) {
    const auto it = free_.find(id);
    if (it != free_.end()) return it->second;
    const Node node = arena_[id];
    uint64_t free = 0;
    for (Id src : node.srcs) free |= Free(src);
    if (node.op == Op::kRange) {
      free |= uint64_t{1} << bit_.at(id);
    } else if (node.op == Op::kReduce || node.op == Op::kStage) {
      for (Id range : InnerRanges(arena_, id)) {
        free &= ~(uint64_t{1} << bit_.at(range));
      }
    }
    return free_[id] = free;
  }

  template <typename Visit>
  void ForEachRange(uint64_t set, Visit visit) {
    for (; set != 0; set &= set - 1) {
      visit(range_of_bit_[__builtin_ctzll(set)]);
    }
  }

  // The vector range on which `id` depends; kNoNode if none.
  Id VectorRange(Id id) {
    Id vector = kNoNode;
    ForEachRange(Free(id), [&](Id range) {
      if (KindOf(arena_, range) != RangeKind::kVector) return;
      if (vector != kNoNode) Error("a value depends on two vector ranges");
      vector = range;
    });
    return vector;
  }

  int LanesOf(Id range) {
    return static_cast<int>(arena_.IntValue(arena_[range].srcs[0]));
  }

  int Lanes(Id id) {
    const Id vector = VectorRange(id);
    return vector == kNoNode ? 1 : LanesOf(vector);
  }

  // Depth in the stack of the block to which values with these free ranges go.
  int LevelOf(uint64_t free) {
    int level = 0;
    uint64_t open = 0;
    for (size_t i = 1; i < stack_.size(); ++i) {
      const Id range = blocks_[stack_[i]].range;
      if (range == kNoNode) {
        level = std::max<int>(level, static_cast<int>(i));
        continue;
      }
      const uint64_t bit = uint64_t{1} << bit_.at(range);
      open |= bit;
      if ((free & bit) != 0) level = static_cast<int>(i);
    }
    ForEachRange(free & ~open, [&](Id range) {
      if (KindOf(arena_, range) == RangeKind::kSerial) {
        Error("a serial range is used outside its loop");
      }
    });
    return level;
  }

  bool Active(int block) const {
    const size_t depth = blocks_[block].depth;
    return depth < stack_.size() && stack_[depth] == block;
  }

  uint64_t Assignment(uint64_t free) {
    uint64_t packed = 1;
    ForEachRange(free, [&](Id range) {
      if (KindOf(arena_, range) == RangeKind::kUnroll) {
        packed = packed * 64 + static_cast<uint64_t>(unrolled_[range]);
      }
    });
    return packed;
  }

  void Error(const char* what) {
    if (error_.ok()) {
      error_ = absl::InternalError(absl::StrCat("linearize: ", what));
    }
  }

  // Instructions.

  int Put(int block, Instruction instruction) {
    pool_.push_back(std::move(instruction));
    blocks_[block].order.push_back(static_cast<int>(pool_.size()) - 1);
    return static_cast<int>(pool_.size()) - 1;
  }

  int Put(int block, Op op, DType dtype, int lanes, std::vector<int32_t> srcs,
          int64_t imm = 0) {
    Instruction instruction;
    instruction.op = op;
    instruction.dtype = StrongIndex(dtype);
    instruction.lanes = static_cast<uint16_t>(lanes);
    instruction.imm = imm;
    instruction.srcs = std::move(srcs);
    return Put(block, std::move(instruction));
  }

  int Top() const { return stack_.back(); }

  // The block that holds what depends on no loop of this body: the first one,
  // or the conditional one when there are several bodies.
  int Base() const { return stack_[base_depth_]; }

  int Constant(DType dtype, int64_t bits, int lanes = 1) {
    dtype = StrongIndex(dtype);
    const auto key = std::make_tuple(dtype, bits, lanes);
    const auto it = constants_.find(key);
    if (it != constants_.end()) return it->second;
    // Constants stand at the very beginning, valid everywhere.
    pool_.push_back(
        {Op::kConst, dtype, static_cast<uint16_t>(lanes), bits, {}});
    const int at = static_cast<int>(pool_.size()) - 1;
    blocks_[0].order.insert(blocks_[0].order.begin() + num_constants_++, at);
    return constants_[key] = at;
  }

  int BlockOf(int value) {
    // Constants and the like are valid wherever they are asked for.
    const auto it = block_of_.find(value);
    return it == block_of_.end() ? 0 : it->second;
  }

  // `value` in every lane.
  int Splat(int value, int lanes) {
    if (pool_[value].lanes == lanes) return value;
    if (pool_[value].op == Op::kConst) {
      return Constant(pool_[value].dtype, pool_[value].imm, lanes);
    }
    const auto key = std::make_pair(value, lanes);
    const auto it = splats_.find(key);
    if (it != splats_.end()) return it->second;
    const int block = BlockOf(value);
    const int at = Put(block, Op::kSplat, pool_[value].dtype, lanes, {value});
    block_of_[at] = block;
    return splats_[key] = at;
  }

  int OpenLoop(Id range) {
    const int limit = Index(arena_[range].srcs[0]);
    const int zero = Constant(DType::kI64, 0);
    Block block;
    block.range = range;
    block.depth = static_cast<int>(stack_.size());
    const int number = static_cast<int>(blocks_.size());
    blocks_.push_back(block);
    stack_.push_back(number);
    const int opener = Put(number, Op::kLoop, DType::kI64, 1, {zero, limit}, 1);
    block_of_[opener] = number;
    blocks_[number].opener = opener;
    return opener;
  }

  void CloseTop() {
    const int number = Top();
    Block& block = blocks_[number];
    const Op op = block.range == kNoNode ? Op::kEndIf : Op::kEndLoop;
    Put(number, op, DType::kI64, 1, {block.opener});
    stack_.pop_back();
    std::vector<int>& parent = blocks_[Top()].order;
    parent.insert(parent.end(), blocks_[number].order.begin(),
                  blocks_[number].order.end());
  }

  // Calls `visit` for each combination of values of the unrolled `ranges`.
  template <typename Visit>
  void ForEachCopy(const std::vector<Id>& ranges, size_t from, Visit visit) {
    if (from == ranges.size()) {
      visit();
      return;
    }
    const int64_t extent = arena_.IntValue(arena_[ranges[from]].srcs[0]);
    for (int64_t i = 0; i < extent; ++i) {
      unrolled_[ranges[from]] = i;
      ForEachCopy(ranges, from + 1, visit);
    }
  }

  std::vector<Id> Unrolled(uint64_t free) {
    std::vector<Id> ranges;
    ForEachRange(free, [&](Id range) {
      if (KindOf(arena_, range) == RangeKind::kUnroll) ranges.push_back(range);
    });
    return ranges;
  }

  std::vector<Id> OfKind(const std::vector<Id>& ranges, RangeKind kind) {
    std::vector<Id> out;
    for (Id range : ranges) {
      if (KindOf(arena_, range) == kind) out.push_back(range);
    }
    return out;
  }

  // Bodies.

  void EmitBody(Id body, bool conditional) {
    const std::vector<Id> ranges = StoreRanges(arena_, body);
    const std::vector<Id> grid = OfKind(ranges, RangeKind::kGrid);
    past_caches_ = OverflowsCaches(body);
    Id chunks = arena_.Int(1);
    for (Id range : grid) {
      chunks = ir::Mul(arena_, chunks, arena_[range].srcs[0]);
    }
    int chunk = Put(0, Op::kGrid, DType::kI64, 1, {});
    base_depth_ = 0;
    if (conditional) {
      const int first = Index(grid_);
      const int end = Index(ir::Add(arena_, grid_, chunks));
      const int before = Put(0, Op::kCmpLt, DType::kBool, 1, {chunk, end});
      const int less = Put(0, Op::kCmpLt, DType::kBool, 1, {chunk, first});
      const int from =
          Put(0, Op::kXor, DType::kBool, 1, {less, Constant(DType::kBool, 1)});
      const int inside = Put(0, Op::kAnd, DType::kBool, 1, {before, from});
      const int opener = Put(0, Op::kIf, DType::kBool, 1, {inside});
      // The opener moves into the block that it opens.
      blocks_[0].order.pop_back();
      Block block;
      block.depth = 1;
      block.opener = opener;
      block.order.push_back(opener);
      blocks_.push_back(block);
      stack_.push_back(static_cast<int>(blocks_.size()) - 1);
      base_depth_ = 1;
      chunk = Put(Top(), Op::kSub, DType::kI64, 1, {chunk, first});
    }
    DecodeGrid(grid, chunk);
    grid_ = ir::Add(arena_, grid_, chunks);

    const std::vector<Id> serial = OfKind(ranges, RangeKind::kSerial);
    for (Id range : serial) OpenLoop(range);
    const Node node = arena_[body];
    ForEachCopy(OfKind(ranges, RangeKind::kUnroll), 0, [&] {
      for (int64_t i = 0; i < node.attr->ints[0]; ++i) EmitStore(node.srcs[i]);
    });
    while (stack_.size() > 1) CloseTop();
  }

  // The index of each chunk range from the number of the chunk, the last range
  // running fastest.
  void DecodeGrid(const std::vector<Id>& grid, int chunk) {
    for (size_t i = grid.size(); i-- > 0;) {
      int value = chunk;
      if (i > 0) {
        const int extent = Index(arena_[grid[i]].srcs[0]);
        value = Put(Base(), Op::kMod, DType::kI64, 1, {chunk, extent});
        chunk = Put(Base(), Op::kIDiv, DType::kI64, 1, {chunk, extent});
        block_of_[chunk] = Base();
      }
      block_of_[value] = Base();
      memo_[{grid[i], 1}] = {value, Base()};
    }
  }

  void EmitStore(Id store) {
    const Node node = arena_[store];
    const Id gate = node.srcs.size() > 3 ? Resolved(node.srcs[3]) : kNoNode;
    if (gate != kNoNode && IsKnown(gate, false)) return;
    const Id vector = VectorRange(store);
    const int lanes = vector == kNoNode ? 1 : LanesOf(vector);
    const int value = Splat(Value(node.srcs[2]), lanes);
    const int base = Address(node.srcs[0]);
    std::vector<int32_t> srcs = {base, Position(node.srcs[1], vector), value};
    if (gate != kNoNode && !IsKnown(gate, true)) {
      srcs.push_back(Mask(gate, lanes));
    }
    Put(Top(), Op::kStore, pool_[value].dtype, lanes, std::move(srcs),
        past_caches_ ? 1 : 0);
  }

  // True if the stores of `body` fill more than the last cache holds: the end
  // of them would drive out their beginning, and the lines are not worth
  // reading before they are written.
  bool OverflowsCaches(Id body) {
    double bytes = static_cast<double>(
        ir::ByteSize(StrongIndex(arena_[arena_[body].srcs[0]].dtype)));
    for (Id range : StoreRanges(arena_, body)) {
      const Id extent = arena_[range].srcs[0];
      // Free sizes are taken for small; the last part of a split for whole.
      bytes *= static_cast<double>(IsFree(extent) ? arena_[extent].least
                                                  : arena_[extent].greatest);
    }
    return bytes > static_cast<double>(target_.l3_bytes);
  }

  bool IsFree(Id size) const {
    const std::vector<Id> below =
        ir::TopologicalOrder(arena_, absl::MakeConstSpan(&size, 1));
    return std::any_of(below.begin(), below.end(),
                       [&](Id id) { return arena_[id].op == Op::kVar; });
  }

  // Values.

  int Value(Id id) {
    const uint64_t free = Free(id);
    const Key key = {id, Assignment(free)};
    const auto it = memo_.find(key);
    if (it != memo_.end() && Active(it->second.block)) return it->second.value;
    if (!error_.ok()) return Constant(DType::kI64, 0);
    const Node node = arena_[id];
    if (node.op == Op::kReduce) return EmitReduce(id);
    const int value = Emit(id, node);
    if (pool_[value].op == Op::kConst) return value;
    const int block = stack_[std::max(LevelOf(free), base_depth_)];
    memo_[key] = {value, block};
    block_of_.try_emplace(value, block);
    return value;
  }

  int Emit(Id id, const Node& node) {
    switch (node.op) {
      case Op::kConst:
        return Constant(node.dtype, node.attr->ints[0]);
      case Op::kVar: {
        const auto it = var_slot_.find(id);
        if (it == var_slot_.end()) Error("a variable that no input gives");
        return Put(Base(), Op::kVar, DType::kI64, 1, {},
                   it == var_slot_.end() ? 0 : it->second);
      }
      case Op::kRange:
        return EmitRange(id);
      case Op::kLoad:
        return EmitLoad(id, node);
      case Op::kPrefetch:
        return EmitPrefetch(id, node);
      default:
        break;
    }
    if (!ir::IsElementwise(node.op)) {
      Error("a node that is no value");
      return Constant(DType::kI64, 0);
    }
    if (node.dtype == DType::kWeakInt &&
        (node.op == Op::kAdd || node.op == Op::kMul)) {
      return Index(id);
    }
    if (node.dtype == DType::kBool && VectorRange(id) != kNoNode &&
        node.op == Op::kCmpLt &&
        arena_[node.srcs[0]].dtype == DType::kWeakInt) {
      const int mask = LaneComparison(id, node);
      if (mask >= 0) return mask;
    }
    const int lanes = Lanes(id);
    if (node.op == Op::kWhere) {
      const Id condition = Resolved(node.srcs[0]);
      if (arena_.IsConst(condition)) {
        return Splat(Value(node.srcs[IsKnown(condition, true) ? 1 : 2]), lanes);
      }
    }
    std::vector<int32_t> srcs;
    for (Id src : node.srcs) srcs.push_back(Splat(Value(src), lanes));
    // Index arithmetic and strong integers meet in casts that change nothing.
    if (node.op == Op::kCast &&
        pool_[srcs[0]].dtype == StrongIndex(node.dtype)) {
      return srcs[0];
    }
    // An immediate may turn out to be 1 only here: x*1 is x.
    if (node.op == Op::kMul) {
      if (IsOne(srcs[0])) return srcs[1];
      if (IsOne(srcs[1])) return srcs[0];
    }
    const int block = stack_[std::max(LevelOf(Free(id)), base_depth_)];
    return Put(block, node.op, node.dtype, lanes, std::move(srcs));
  }

  bool IsOne(int value) const {
    const Instruction& at = pool_[value];
    return at.op == Op::kConst &&
           at.imm == (ir::IsFloat(at.dtype) ? DoubleBits(1) : 1);
  }

  bool IsZero(int value) const {
    return pool_[value].op == Op::kConst && pool_[value].imm == 0;
  }

  int EmitRange(Id range) {
    switch (KindOf(arena_, range)) {
      case RangeKind::kUnroll:
        return Constant(DType::kI64, unrolled_[range]);
      case RangeKind::kVector:
        return Put(Base(), Op::kLanes, DType::kI64, LanesOf(range), {});
      case RangeKind::kSerial:
        for (int block : stack_) {
          if (blocks_[block].range == range) return blocks_[block].opener;
        }
        [[fallthrough]];
      case RangeKind::kGrid:
        break;
    }
    Error("a range is used outside its loop");
    return Constant(DType::kI64, 0);
  }

  // The value of `id` if it is made of constants and unrolled ranges only.
  bool ConstantIndex(Id id, int64_t* value) {
    const Node& node = arena_[id];
    if (node.op == Op::kConst) {
      *value = arena_.IntValue(id);
      return true;
    }
    if (node.op == Op::kRange) {
      if (KindOf(arena_, id) != RangeKind::kUnroll) return false;
      *value = unrolled_[id];
      return true;
    }
    int64_t a = 0;
    int64_t b = 0;
    if (node.srcs.size() != 2 || !ConstantIndex(node.srcs[0], &a) ||
        !ConstantIndex(node.srcs[1], &b)) {
      return false;
    }
    switch (node.op) {
      case Op::kAdd:
        *value = a + b;
        return true;
      case Op::kMul:
        *value = a * b;
        return true;
      case Op::kMin:
        *value = std::min(a, b);
        return true;
      case Op::kMax:
        *value = std::max(a, b);
        return true;
      default:
        return false;
    }
  }

  // A sum of index terms: by loops from the outside in, the constant last, so
  // that an inner loop adds only what changes there and the constant becomes
  // part of an address.
  int Index(Id id) {
    const Id vector = VectorRange(id);
    if (vector != kNoNode) return LaneIndex(id, vector);
    int64_t total = 0;
    std::map<int, std::vector<Id>> terms;
    for (Id term : ir::TermsOf(arena_, id)) {
      int64_t value = 0;
      if (ConstantIndex(term, &value)) {
        total += value;
      } else {
        terms[LevelOf(Free(term))].push_back(term);
      }
    }
    int sum = -1;
    Id partial = kNoNode;
    for (const auto& [level, group] : terms) {
      for (Id term : group) {
        if (partial == kNoNode) {
          partial = term;
          sum = Term(term);
          continue;
        }
        partial = arena_.Make(Op::kAdd, DType::kWeakInt, {partial, term});
        const uint64_t free = Free(partial);
        const Key key = {partial, Assignment(free)};
        const auto it = memo_.find(key);
        if (it != memo_.end() && Active(it->second.block)) {
          sum = it->second.value;
          continue;
        }
        const int added = Term(term);
        const int block = stack_[std::max(LevelOf(free), base_depth_)];
        sum = Put(block, Op::kAdd, DType::kI64, 1, {sum, added});
        memo_[key] = {sum, block};
        block_of_[sum] = block;
      }
    }
    if (sum < 0) return Constant(DType::kI64, total);
    if (total == 0) return sum;
    const int block = BlockOf(sum);
    const int at = Put(block, Op::kAdd, DType::kI64, 1,
                       {sum, Constant(DType::kI64, total)});
    block_of_[at] = block;
    return at;
  }

  // One term of a sum: a product or an atom.
  int Term(Id id) {
    const Node node = arena_[id];
    if (node.op != Op::kMul || node.dtype != DType::kWeakInt) return Value(id);
    const uint64_t free = Free(id);
    const Key key = {id, Assignment(free)};
    const auto it = memo_.find(key);
    if (it != memo_.end() && Active(it->second.block)) return it->second.value;
    const int a = Term(node.srcs[0]);
    const int b = Term(node.srcs[1]);
    const int block = stack_[std::max(LevelOf(free), base_depth_)];
    const int value = Put(block, Op::kMul, DType::kI64, 1, {a, b});
    memo_[key] = {value, block};
    block_of_[value] = block;
    return value;
  }

  // An index in every lane, as a vector.
  int LaneIndex(Id id, Id vector) {
    const int lanes = LanesOf(vector);
    const int block = stack_[std::max(LevelOf(Free(id)), base_depth_)];
    const ir::Affine affine = ir::AffineIn(arena_, id, vector);
    if (affine.coefficient != kNoNode) {
      int step = Value(vector);
      if (!arena_.IsInt(affine.coefficient, 1)) {
        const int factor = Splat(Index(affine.coefficient), lanes);
        step = Put(block, Op::kMul, DType::kI64, lanes, {step, factor});
      }
      if (arena_.IsInt(affine.rest, 0)) return step;
      const int rest = Splat(Index(affine.rest), lanes);
      return Put(block, Op::kAdd, DType::kI64, lanes, {rest, step});
    }
    const Node node = arena_[id];
    if (node.op != Op::kAdd && node.op != Op::kMul) return Value(id);
    const int a = Splat(Value(node.srcs[0]), lanes);
    const int b = Splat(Value(node.srcs[1]), lanes);
    return Put(block, node.op, DType::kI64, lanes, {a, b});
  }

  // The position of a load or store: a scalar where the lanes are neighbours,
  // else one position a lane.
  int Position(Id index, Id vector) {
    if (vector == kNoNode) return Index(index);
    const ir::Affine affine = ir::AffineIn(arena_, index, vector);
    if (affine.coefficient != kNoNode && arena_.IsInt(affine.coefficient, 1)) {
      return Index(affine.rest);
    }
    return Splat(Index(index), LanesOf(vector));
  }

  int Mask(Id gate, int lanes) { return Splat(Value(gate), lanes); }

  // a < b where one side runs with the lanes: the lane number against a
  // scalar, in 32 bits. -1 if it is not of that form.
  int LaneComparison(Id id, const Node& node) {
    const Id vector = VectorRange(id);
    const int lanes = LanesOf(vector);
    const ir::Affine a = ir::AffineIn(arena_, node.srcs[0], vector);
    const ir::Affine b = ir::AffineIn(arena_, node.srcs[1], vector);
    if (a.coefficient == kNoNode || b.coefficient == kNoNode) return -1;
    const bool left = arena_.IsInt(b.coefficient, 0);
    const bool right = arena_.IsInt(a.coefficient, 0);
    const Id step = left ? a.coefficient : b.coefficient;
    if (left == right || !arena_.IsConst(step)) return -1;
    const int64_t factor = arena_.IntValue(step);
    if (factor < 1 || factor > 16) return -1;
    // left: factor * lane < b - a.  right: a - b < factor * lane.
    const Id gap = left ? ir::Sub(arena_, b.rest, a.rest)
                        : ir::Sub(arena_, a.rest, b.rest);
    int bound = Index(gap);
    const int gap_block = stack_[std::max(LevelOf(Free(gap)), base_depth_)];
    bound = Put(gap_block, Op::kMax, DType::kI64, 1,
                {bound, Constant(DType::kI64, -1)});
    bound = Put(gap_block, Op::kMin, DType::kI64, 1,
                {bound, Constant(DType::kI64, factor * lanes)});
    bound = Put(gap_block, Op::kCast, DType::kI32, 1, {bound});
    block_of_[bound] = gap_block;
    bound = Splat(bound, lanes);
    int lane = Put(gap_block, Op::kLanes, DType::kI32, lanes, {});
    if (factor != 1) {
      lane = Put(gap_block, Op::kMul, DType::kI32, lanes,
                 {lane, Constant(DType::kI32, factor, lanes)});
    }
    std::vector<int32_t> srcs = {lane, bound};
    if (right) std::swap(srcs[0], srcs[1]);
    return Put(gap_block, Op::kCmpLt, DType::kBool, lanes, std::move(srcs));
  }

  // The element of a constant array at a position known by now; -1 if this is
  // no such load.
  int Immediate(const Node& node) {
    const Node& array = arena_[node.srcs[0]];
    int64_t index = 0;
    if (array.op != Op::kConstArray || node.srcs.size() != 2 ||
        !ConstantIndex(node.srcs[1], &index)) {
      return -1;
    }
    const std::vector<int64_t>& bits = array.attr->ints;
    if (index < 0 || index >= static_cast<int64_t>(bits.size())) {
      Error("a read outside a constant array");
      return Constant(node.dtype, 0);
    }
    return Constant(node.dtype, bits[index]);
  }

  // A condition with the unrolled ranges at their present values: often that
  // decides it.
  Id Resolved(Id condition) {
    const std::vector<Id> unrolled = Unrolled(Free(condition));
    if (unrolled.empty()) return condition;
    const auto [it, is_new] = resolved_.try_emplace(
        {condition, Assignment(Free(condition))}, kNoNode);
    if (is_new) {
      ir::Substitution now;
      for (Id range : unrolled) now[range] = arena_.Int(unrolled_[range]);
      it->second = ir::Substitute(arena_, condition, now);
    }
    return it->second;
  }

  // True if `condition` is known to be `value`.
  bool IsKnown(Id condition, bool value) const {
    return arena_.IsConst(condition) &&
           (arena_.IntValue(condition) != 0) == value;
  }

  int EmitLoad(Id id, const Node& node) {
    const int immediate = Immediate(node);
    if (immediate >= 0) return immediate;
    const Id gate = node.srcs.size() > 2 ? Resolved(node.srcs[2]) : kNoNode;
    if (gate != kNoNode && IsKnown(gate, false)) {
      return Constant(node.dtype, 0);
    }
    const Id vector = VectorRange(id);
    const int lanes = vector == kNoNode ? 1 : LanesOf(vector);
    const int base = Address(node.srcs[0]);
    int64_t step = 0;
    int position = 0;
    const ir::Affine affine = vector == kNoNode
                                  ? ir::Affine{}
                                  : ir::AffineIn(arena_, node.srcs[1], vector);
    if (affine.coefficient != kNoNode && lanes % 2 == 0 &&
        arena_.IsInt(affine.coefficient, 2)) {
      step = 2;
      position = Index(affine.rest);
    } else {
      position = Position(node.srcs[1], vector);
    }
    std::vector<int32_t> srcs = {base, position};
    if (gate != kNoNode && !IsKnown(gate, true)) {
      srcs.push_back(Mask(gate, lanes));
    }
    const int block = stack_[std::max(LevelOf(Free(id)), base_depth_)];
    return Put(block, Op::kLoad, node.dtype, lanes, std::move(srcs), step);
  }

  // Copies that ask for the same line do so once.
  int EmitPrefetch(Id id, const Node& node) {
    const int value = Value(node.srcs[0]);
    const uint64_t of_index = Free(node.srcs[2]);
    for (Id range : Unrolled(Free(id) & ~of_index)) {
      if (unrolled_[range] != 0) return value;
    }
    const int base = Address(node.srcs[1]);
    const int position = Index(node.srcs[2]);
    const int block = stack_[std::max(LevelOf(of_index), base_depth_)];
    Put(block, Op::kPrefetch, arena_[node.srcs[1]].dtype, 1, {base, position});
    return value;
  }

  // The base of a load or store.
  int Address(Id id) {
    const Node node = arena_[id];
    const Key key = {id, 0};
    const auto it = memo_.find(key);
    if (it != memo_.end() && Active(it->second.block)) return it->second.value;
    int value = 0;
    int block = Base();
    switch (node.op) {
      case Op::kParam:
        value = Put(Base(), Op::kParam, node.dtype, 1, {}, node.attr->ints[0]);
        break;
      case Op::kConstArray: {
        Table table;
        table.dtype = ir::Strong(node.dtype);
        table.bits = node.attr->ints;
        const bool in_code = ir::ByteSize(table.dtype) *
                                 static_cast<int64_t>(table.bits.size()) <=
                             target_.max_table_bytes;
        std::vector<Table>& tables = in_code ? tables_ : arrays_;
        const auto known = std::find(tables.begin(), tables.end(), table);
        const int64_t number = known - tables.begin();
        if (known == tables.end()) tables.push_back(std::move(table));
        value = in_code
                    ? Put(Base(), Op::kConstArray, node.dtype, 1, {}, number)
                    : Put(Base(), Op::kParam, node.dtype, 1, {},
                          static_cast<int64_t>(num_params_) + number);
        break;
      }
      case Op::kStage:
        block = stack_[std::max(LevelOf(Free(id)), base_depth_)];
        value = EmitStage(id, node);
        break;
      default:
        Error("a load from what is no memory");
        break;
    }
    memo_[key] = {value, block};
    block_of_[value] = block;
    return value;
  }

  // Fills a tile; its address.
  int EmitStage(Id id, const Node& node) {
    if (!Unrolled(Free(id)).empty() || VectorRange(id) != kNoNode) {
      Error("a tile under an unrolled or a vector range");
    }
    const DType dtype = StrongIndex(node.dtype);
    const Id bytes =
        ir::Mul(arena_, node.srcs[2], arena_.Int(ir::ByteSize(dtype)));
    const Id aligned = ir::Mul(
        arena_, ir::CeilDiv(arena_, bytes, arena_.Int(kScratchAlignment)),
        arena_.Int(kScratchAlignment));
    const int address =
        Put(Base(), Op::kScratch, dtype, 1, {Index(scratch_bytes_)});
    block_of_[address] = Base();
    scratch_bytes_ = ir::Add(arena_, scratch_bytes_, aligned);

    const std::vector<int> saved = stack_;
    const auto saved_unrolled = unrolled_;
    stack_.resize(std::max(LevelOf(Free(id)), base_depth_) + 1);
    const size_t depth = stack_.size();
    const std::vector<Id> ranges = InnerRanges(arena_, id);
    for (Id range : OfKind(ranges, RangeKind::kSerial)) OpenLoop(range);
    ForEachCopy(OfKind(ranges, RangeKind::kUnroll), 0, [&] {
      const std::vector<Id> vectors = OfKind(ranges, RangeKind::kVector);
      const Id vector = vectors.empty() ? kNoNode : vectors[0];
      const int lanes = vector == kNoNode ? 1 : LanesOf(vector);
      const int value = Splat(Value(node.srcs[0]), lanes);
      const int position = Position(node.srcs[1], vector);
      Put(Top(), Op::kStore, pool_[value].dtype, lanes,
          {address, position, value});
    });
    while (stack_.size() > depth) CloseTop();
    stack_ = saved;
    unrolled_ = saved_unrolled;
    return address;
  }

  // The loops and written-out steps of `ranges` in their order: calls `visit`
  // inside all of them.
  template <typename Visit>
  void ForEachStep(const std::vector<Id>& ranges, size_t from, Visit visit) {
    if (from == ranges.size()) {
      visit();
      return;
    }
    const Id range = ranges[from];
    switch (KindOf(arena_, range)) {
      case RangeKind::kSerial:
        OpenLoop(range);
        ForEachStep(ranges, from + 1, visit);
        CloseTop();
        break;
      case RangeKind::kUnroll: {
        const int64_t extent = arena_.IntValue(arena_[range].srcs[0]);
        for (int64_t i = 0; i < extent; ++i) {
          unrolled_[range] = i;
          ForEachStep(ranges, from + 1, visit);
        }
        break;
      }
      default:
        ForEachStep(ranges, from + 1, visit);
        break;
    }
  }

  // All copies of a reduction at once: they share the loops.
  int EmitReduce(Id id) {
    const Node node = arena_[id];
    const Op op = static_cast<Op>(node.attr->ints[0]);
    const DType dtype = StrongIndex(node.dtype);
    const uint64_t free = Free(id);
    const std::vector<Id> copies = Unrolled(free);
    const std::vector<Id> ranges = InnerRanges(arena_, id);
    const std::vector<Id> chained = OfKind(ranges, RangeKind::kUnroll);
    const std::vector<Id> vectors = OfKind(ranges, RangeKind::kVector);
    const int lanes = vectors.empty() ? Lanes(id) : LanesOf(vectors[0]);

    const auto saved_unrolled = unrolled_;
    const std::vector<int> saved = stack_;
    const int level = std::max(LevelOf(free), base_depth_);
    stack_.resize(level + 1);
    const int home = Top();

    int64_t num_copies = 1;
    for (Id range : copies) {
      num_copies *= arena_.IntValue(arena_[range].srcs[0]);
    }
    int64_t num_chained = 1;
    for (Id range : chained) {
      num_chained *= arena_.IntValue(arena_[range].srcs[0]);
    }
    // Few accumulators would wait for each other: give the steps their own.
    const int64_t num_sums = num_copies >= 8 ? 1 : num_chained;
    const int identity = Constant(dtype, ir::IdentityOf(op, dtype).bits, lanes);
    std::vector<int> registers;
    for (int64_t i = 0; i < num_copies * num_sums; ++i) {
      registers.push_back(Put(home, Op::kRegister, dtype, lanes, {identity}));
    }

    int64_t step = 0;
    ForEachStep(ranges, 0, [&] {
      int64_t copy = 0;
      ForEachCopy(copies, 0, [&] {
        const int64_t sum = num_sums == 1 ? 0 : step % num_sums;
        Accumulate(node.srcs[0], op, dtype, lanes,
                   registers[copy * num_sums + sum]);
        ++copy;
      });
      ++step;
    });

    unrolled_ = saved_unrolled;
    int64_t copy = 0;
    ForEachCopy(copies, 0, [&] {
      std::vector<int> sums;
      for (int64_t i = 0; i < num_sums; ++i) {
        sums.push_back(Put(home, Op::kGet, dtype, lanes,
                           {registers[copy * num_sums + i]}));
      }
      while (sums.size() > 1) {
        std::vector<int> next;
        for (size_t i = 0; i + 1 < sums.size(); i += 2) {
          next.push_back(Put(home, op, dtype, lanes, {sums[i], sums[i + 1]}));
        }
        if (sums.size() % 2 != 0) next.push_back(sums.back());
        sums = std::move(next);
      }
      int result = sums[0];
      if (!vectors.empty() && lanes > 1) {
        result = Put(home, Op::kReduceLanes, dtype, 1, {result},
                     static_cast<int64_t>(op));
      }
      memo_[{id, Assignment(free)}] = {result, home};
      block_of_[result] = home;
      ++copy;
    });
    unrolled_ = saved_unrolled;
    stack_ = saved;
    return memo_[{id, Assignment(free)}].value;
  }

  void Accumulate(Id value, Op op, DType dtype, int lanes, int sum) {
    const Node node = arena_[value];
    const bool fuse = fma_ && op == Op::kAdd && node.op == Op::kMul &&
                      ir::IsFloat(dtype) && node.dtype == dtype;
    std::vector<int32_t> srcs;
    if (fuse) {
      for (Id src : node.srcs) srcs.push_back(Splat(Value(src), lanes));
      // What lies in the padding adds nothing.
      if (IsZero(srcs[0]) || IsZero(srcs[1])) return;
      const auto one = std::find_if(srcs.begin(), srcs.end(),
                                    [&](int32_t src) { return IsOne(src); });
      if (one != srcs.end()) srcs.erase(one);
    } else {
      srcs.push_back(Splat(Value(value), lanes));
    }
    srcs.push_back(Put(Top(), Op::kGet, dtype, lanes, {sum}));
    const Op step = srcs.size() == 3 ? Op::kFma : op;
    const int next = Put(Top(), step, dtype, lanes, std::move(srcs));
    Put(Top(), Op::kSet, dtype, lanes, {sum, next});
  }

  Arena& arena_;
  const size_t num_params_;
  const base::Target& target_;
  bool fma_ = false;
  absl::flat_hash_map<Id, int> var_slot_;

  std::vector<Instruction> pool_;
  std::vector<Block> blocks_;
  std::vector<int> stack_;
  int base_depth_ = 0;
  bool past_caches_ = false;
  std::vector<Table> tables_;
  std::vector<Table> arrays_;
  std::map<std::tuple<DType, int64_t, int>, int> constants_;
  int num_constants_ = 0;
  Id scratch_bytes_;
  Id grid_;
  absl::Status error_;

  // Of the body being emitted.
  absl::flat_hash_map<Id, int> bit_;
  std::vector<Id> range_of_bit_;
  absl::flat_hash_map<Id, uint64_t> free_;
  absl::flat_hash_map<Id, int64_t> unrolled_;
  absl::flat_hash_map<Key, Known> memo_;
  absl::flat_hash_map<Key, Id> resolved_;
  absl::flat_hash_map<std::pair<int, int>, int> splats_;
  absl::flat_hash_map<int, int> block_of_;
};

}  // namespace

absl::StatusOr<Linearized> Linearize(Arena& arena, const std::string& name,
                                     std::vector<Param> params,
                                     absl::Span<const Id> bodies,
                                     absl::Span<const Id> vars,
                                     const base::Target& target,
                                     bool contract) {
  Program program;
  program.name = name;
  program.params = std::move(params);
  program.num_vars = static_cast<int>(vars.size());
  program.contract = contract;
  Linearizer linearizer(arena, vars, program.params.size(), target, contract);
  QUERN_RETURN_IF_ERROR(linearizer.EmitBodies(bodies));
  return linearizer.Finish(std::move(program));
}

}  // namespace quern::kernel
