// SPDX-License-Identifier: Apache-2.0
#include "engine/schedule/rangeify.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "engine/ir/symbolic.h"
#include "engine/schedule/view.h"

namespace quern::schedule {
namespace {

using ir::Arena;
using ir::Attr;
using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;

// Lowering recurses along chains of fused nodes; a chain longer than this is
// refused instead of exhausting the stack.
constexpr int kMaxDepth = 3000;

// Rows a multiple of this apart get a cache line between them.
constexpr int64_t kAliasingBytes = 1024;
constexpr int64_t kLineBytes = 64;

class Rangeifier {
 public:
  Rangeifier(Arena& arena, const Placement& placement,
             const RangeifyOptions& options)
      : arena_(arena), placement_(placement), options_(options) {}

  absl::StatusOr<Schedule> Run(absl::Span<const Id> outputs,
                               absl::Span<const Id> vars) {
    schedule_.vars.assign(vars.begin(), vars.end());
    const std::vector<Id> order = ir::TopologicalOrder(arena_, outputs);
    QUERN_RETURN_IF_ERROR(AssignDevices(order));
    for (size_t slot = 0; slot < outputs.size(); ++slot) {
      output_slot_.try_emplace(outputs[slot], static_cast<int>(slot));
    }
    for (Id id : order) {
      if (KindOf(id) == Placement::Kind::kGlobal) {
        QUERN_RETURN_IF_ERROR(Emit(id));
      }
    }
    // A slot whose value is a buffer already gets a copy of it.
    for (size_t slot = 0; slot < outputs.size(); ++slot) {
      const Id id = outputs[slot];
      if (output_slot_[id] == static_cast<int>(slot) &&
          KindOf(id) == Placement::Kind::kGlobal) {
        continue;
      }
      QUERN_RETURN_IF_ERROR(EmitOutputCopy(id, static_cast<int>(slot)));
    }
    return std::move(schedule_);
  }

 private:
  Placement::Kind KindOf(Id id) const {
    return id < placement_.kind.size() ? placement_.kind[id]
                                       : Placement::Kind::kInline;
  }

  // A node is on the device of its operands; constants, weights and unplaced
  // inputs are on none and go along.
  absl::Status AssignDevices(const std::vector<Id>& order) {
    device_.resize(arena_.size());
    per_run_.assign(arena_.size(), false);
    for (Id id : order) {
      const Node& node = arena_[id];
      per_run_[id] = node.op == Op::kInput || node.op == Op::kVar;
      for (Id dim : arena_.Dims(node.shape)) {
        if (!arena_.IsConst(dim)) per_run_[id] = true;
      }
      for (Id src : node.srcs) {
        if (per_run_[src]) per_run_[id] = true;
        if (!device_[src].has_value() || node.op == Op::kCopy) continue;
        if (device_[id].has_value() && *device_[id] != *device_[src]) {
          return absl::InvalidArgumentError(absl::StrCat(
              "operands of ", ir::Name(node.op), " are on ",
              base::Quoted(*device_[id]), " and on ",
              base::Quoted(*device_[src]), "; put a copy between them"));
        }
        device_[id] = device_[src];
      }
      if ((node.op == Op::kInput || node.op == Op::kCopy) &&
          !node.attr->text.empty()) {
        device_[id] = node.attr->text;
      }
    }
    return absl::OkStatus();
  }

  int AddBuffer(BufferDecl decl) {
    schedule_.buffers.push_back(std::move(decl));
    return static_cast<int>(schedule_.buffers.size()) - 1;
  }

  Id ElementsOf(Id id) {
    std::vector<Id> dims = Dims(id);
    if (!dims.empty()) dims[MemoryOrder(id).back()] = Pitch(id);
    return ir::Product(arena_, dims);
  }

  std::vector<Id> Dims(Id id) const {
    const absl::Span<const Id> dims = arena_.DimsOf(id);
    return {dims.begin(), dims.end()};
  }

  std::string DeviceOf(Id id) const {
    return device_[id].value_or(options_.device);
  }

  // As BufferDecl::layout.
  std::string LayoutOf(Id id) {
    std::vector<std::string> sizes;
    for (Id dim : Dims(id)) sizes.push_back(ir::SizeText(arena_, dim));
    std::string text = sizes.empty() ? "1" : absl::StrJoin(sizes, "x");
    if (sizes.empty()) return text;
    const size_t inner = MemoryOrder(id).back();
    if (inner + 1 < sizes.size()) absl::StrAppend(&text, " by ", inner);
    const Id gap = ir::Sub(arena_, Pitch(id), Dims(id)[inner]);
    if (!arena_.IsInt(gap, 0)) {
      absl::StrAppend(&text, "+", ir::SizeText(arena_, gap));
    }
    return text;
  }

  // The buffer that a kGlobal node writes.
  int OwnBuffer(Id id) {
    BufferDecl decl;
    decl.layout = LayoutOf(id);
    decl.dtype = ir::Strong(arena_[id].dtype);
    decl.elements = ElementsOf(id);
    decl.device = DeviceOf(id);
    decl.at_load = !per_run_[id];
    const auto it = output_slot_.find(id);
    if (it != output_slot_.end()) {
      decl.kind = BufferDecl::Kind::kOutput;
      decl.slot = it->second;
      decl.at_load = false;
    }
    return buffer_[id] = AddBuffer(std::move(decl));
  }

  // The buffer of an input, a weight or a node that has been emitted.
  int BufferOf(Id id) {
    const auto it = buffer_.find(id);
    if (it != buffer_.end()) return it->second;
    const Node node = arena_[id];  // A copy: making sizes moves the nodes.
    BufferDecl decl;
    decl.kind = node.op == Op::kInput ? BufferDecl::Kind::kInput
                                      : BufferDecl::Kind::kWeight;
    decl.slot = static_cast<int>(node.attr->ints[0]);
    decl.layout = LayoutOf(id);
    decl.dtype = node.dtype;
    decl.elements = ElementsOf(id);
    decl.at_load = node.op == Op::kWeight;
    return buffer_[id] = AddBuffer(std::move(decl));
  }

  absl::Status Emit(Id id) {
    const Node node = arena_[id];
    if (node.op == Op::kCopy) {
      const Id src = node.srcs[0];
      CopyStep step;
      step.from = BufferOf(src);
      step.to = OwnBuffer(id);
      step.at_load = schedule_.buffers[step.to].at_load;
      schedule_.steps.push_back(step);
      return absl::OkStatus();
    }
    const int buffer = OwnBuffer(id);
    if (node.op != Op::kConcat) {
      return EmitKernel(id, id, kNoNode, 0, buffer);
    }
    Id offset = arena_.Int(0);
    const int64_t axis = node.attr->ints[0];
    for (Id part : node.srcs) {
      QUERN_RETURN_IF_ERROR(EmitKernel(id, part, offset, axis, buffer));
      offset = ir::Add(arena_, offset, arena_.DimsOf(part)[axis]);
    }
    return absl::OkStatus();
  }

  absl::Status EmitOutputCopy(Id id, int slot) {
    BufferDecl decl;
    decl.kind = BufferDecl::Kind::kOutput;
    decl.slot = slot;
    decl.layout = LayoutOf(id);
    decl.dtype = ir::Strong(arena_[id].dtype);
    decl.elements = ElementsOf(id);
    decl.device = DeviceOf(id);
    BufferOf(id);
    return EmitKernel(id, id, kNoNode, 0, AddBuffer(std::move(decl)),
                      /*copy=*/true);
  }

  // A kernel that computes `value` at every index and stores it into `buffer`,
  // which has the shape of `root`; `offset` positions along `axis` later if
  // there is an offset. With `copy`, the value is read from its buffer.
  absl::Status EmitKernel(Id root, Id value, Id offset, int64_t axis,
                          int buffer, bool copy = false) {
    memo_.clear();
    params_.clear();
    param_buffers_.clear();
    next_range_ = 0;
    next_stage_ = 0;
    origin_.clear();
    error_ = absl::OkStatus();

    const Id out = Param(buffer, /*written=*/true);
    std::vector<Id> ranges;
    std::vector<Id> index(arena_.Rank(value));
    const std::vector<Id> dims = Dims(value);
    for (size_t axis : MemoryOrder(root)) {
      index[axis] = Range(dims[axis], ranges);
    }
    const bool reads = copy || (value != root && IsGlobalOrBuffer(value));
    Id stored =
        reads ? Load(value, index, kNoNode) : Compute(value, index, kNoNode);
    QUERN_RETURN_IF_ERROR(error_);
    const DType strong = ir::Strong(arena_[value].dtype);
    if (arena_[stored].dtype != strong) {
      stored = arena_.Make(Op::kCast, strong, {stored});
    }
    std::vector<Id> at = index;
    if (offset != kNoNode) at[axis] = ir::Add(arena_, at[axis], offset);
    const Id store = arena_.Make(Op::kStore, strong,
                                 {out, BufferPosition(root, at), stored});
    std::vector<Id> srcs = {store};
    srcs.insert(srcs.end(), ranges.begin(), ranges.end());
    const Id sink = arena_.Make(Op::kSink, strong, srcs, Attr{{1}, {}});

    Launch launch;
    launch.kernel = KernelOf(sink, value);
    launch.buffers = param_buffers_;
    launch.device = *schedule_.buffers[buffer].device;
    launch.at_load = schedule_.buffers[buffer].at_load;
    schedule_.steps.push_back(std::move(launch));
    return absl::OkStatus();
  }

  // The kernel with this body; equal bodies are one kernel.
  int KernelOf(Id sink, Id value) {
    const auto [it, is_new] = kernel_of_.try_emplace(
        sink, static_cast<int>(schedule_.kernels.size()));
    if (!is_new) {
      schedule_.kernels[it->second].values.push_back(value);
      return it->second;
    }
    Kernel kernel;
    kernel.params = params_;
    kernel.bodies = {sink};
    kernel.values = {value};
    kernel.name = NameOf(sink);
    kernel.summary = Summary();
    schedule_.kernels.push_back(std::move(kernel));
    return it->second;
  }

  // "c_64_3136_576_1a2b3c": contraction, its ranges, six digits of its hash.
  std::string NameOf(Id sink) {
    std::string name;
    bool reduces = false;
    bool contracts = false;
    for (const auto& [id, count] : origin_) {
      reduces |= arena_[id].op == Op::kReduce;
      contracts |= IsContraction(arena_, id);
    }
    name = contracts ? "c" : reduces ? "r" : "e";
    std::vector<Id> ranges;
    for (Id id : ir::TopologicalOrder(arena_, {sink})) {
      if (arena_[id].op == Op::kRange) ranges.push_back(id);
    }
    std::sort(ranges.begin(), ranges.end(), [&](Id a, Id b) {
      return arena_[a].attr->ints[0] < arena_[b].attr->ints[0];
    });
    for (size_t i = 0; i < ranges.size() && i < 8; ++i) {
      const Id extent = arena_[ranges[i]].srcs[0];
      if (arena_.IsConst(extent)) {
        absl::StrAppend(&name, "_", arena_.IntValue(extent));
      } else {
        absl::StrAppend(&name, "_n");
      }
    }
    return absl::StrCat(name, "_",
                        absl::StrFormat("%06x", arena_[sink].hash & 0xffffff));
  }

  // "reduce add, mul, max": the operations fused, in order, each once.
  std::string Summary() {
    std::vector<std::pair<Id, int>> nodes(origin_.begin(), origin_.end());
    std::sort(nodes.begin(), nodes.end());
    std::vector<std::string> words;
    for (const auto& [id, count] : nodes) {
      const Node& node = arena_[id];
      std::string word = ir::Name(node.op);
      if (node.op == Op::kReduce) {
        word =
            IsContraction(arena_, id)
                ? "contraction"
                : absl::StrCat("reduce_",
                               ir::Name(static_cast<Op>(node.attr->ints[0])));
      }
      if (words.empty() || words.back() != word) words.push_back(word);
    }
    std::string text;
    for (size_t i = 0; i < words.size() && i < 12; ++i) {
      absl::StrAppend(&text, i == 0 ? "" : " ", words[i]);
    }
    if (words.size() > 12) {
      absl::StrAppend(&text, " and ", words.size() - 12, " more");
    }
    return text.empty() ? "copy" : text;
  }

  Id Param(int buffer, bool written) {
    for (size_t i = 0; i < param_buffers_.size(); ++i) {
      if (param_buffers_[i] == buffer && params_[i].written == written) {
        return ParamNode(i);
      }
    }
    param_buffers_.push_back(buffer);
    params_.push_back({schedule_.buffers[buffer].dtype, written});
    return ParamNode(params_.size() - 1);
  }

  Id ParamNode(size_t slot) {
    return arena_.Make(Op::kParam, params_[slot].dtype, {},
                       Attr{{static_cast<int64_t>(slot)}, {}});
  }

  // A new range, or 0 if it has one point only.
  Id Range(Id extent, std::vector<Id>& ranges) {
    if (arena_.IsInt(extent, 1)) return arena_.Int(0);
    const Id range = arena_.Make(Op::kRange, DType::kWeakInt, {extent},
                                 Attr{{next_range_++, 0}, {}});
    ranges.push_back(range);
    return range;
  }

  bool IsGlobalOrBuffer(Id id) const {
    return arena_[id].op == Op::kInput || arena_[id].op == Op::kWeight ||
           KindOf(id) == Placement::Kind::kGlobal;
  }

  // The axes of `id` in the order of its buffer, the contiguous one last.
  std::vector<size_t> MemoryOrder(Id id) const {
    const size_t rank = arena_.Rank(id);
    const int inner =
        id < placement_.inner_axis.size() ? placement_.inner_axis[id] : -1;
    std::vector<size_t> order;
    for (size_t axis = 0; axis < rank; ++axis) {
      if (static_cast<int>(axis) != inner) order.push_back(axis);
    }
    if (inner >= 0) order.push_back(static_cast<size_t>(inner));
    return order;
  }

  // The distance of neighbouring rows in the buffer of `id`. Rows that are a
  // large power of two apart would share the same few sets of a cache: a tile
  // reads several rows at once.
  Id Pitch(Id id) {
    const Id length = Dims(id)[MemoryOrder(id).back()];
    const bool laid_out =
        id < placement_.inner_axis.size() && placement_.inner_axis[id] >= 0;
    if (!laid_out || !arena_.IsConst(length)) return length;
    const int64_t bytes =
        arena_.IntValue(length) * ir::ByteSize(ir::Strong(arena_[id].dtype));
    if (bytes == 0 || bytes % kAliasingBytes != 0) return length;
    return arena_.Int(arena_.IntValue(length) +
                      kLineBytes / ir::ByteSize(ir::Strong(arena_[id].dtype)));
  }

  // The position of the element `index` in the buffer of `id`.
  Id BufferPosition(Id id, absl::Span<const Id> index) {
    const std::vector<Id> dims = Dims(id);
    std::vector<Id> dims_in_order;
    std::vector<Id> index_in_order;
    for (size_t axis : MemoryOrder(id)) {
      dims_in_order.push_back(dims[axis]);
      index_in_order.push_back(index[axis]);
    }
    if (!dims.empty()) dims_in_order.back() = Pitch(id);
    return LinearIndex(arena_, dims_in_order, index_in_order);
  }

  // The element of a buffer. Gated loads give 0 where the gate is false.
  Id Load(Id id, absl::Span<const Id> index, Id gate) {
    const Id base = Param(BufferOf(id), /*written=*/false);
    std::vector<Id> srcs = {base, BufferPosition(id, index)};
    if (gate != kNoNode) srcs.push_back(gate);
    Id load = arena_.Make(Op::kLoad, arena_[base].dtype, srcs);
    const DType dtype = arena_[id].dtype;
    if (dtype != arena_[base].dtype) {
      load = arena_.Make(Op::kCast, dtype, {load});
    }
    return load;
  }

  Id And(Id a, Id b) {
    if (a == kNoNode) return b;
    if (b == kNoNode) return a;
    return ir::And(arena_, a, b);
  }

  // The element of `id` at `index`; reads below are safe only where `gate`
  // holds.
  Id Value(Id id, const std::vector<Id>& index, Id gate) {
    if (IsGlobalOrBuffer(id)) return Load(id, index, gate);
    std::vector<Id> key = {id, gate};
    key.insert(key.end(), index.begin(), index.end());
    const auto it = memo_.find(key);
    if (it != memo_.end()) return it->second;
    if (++depth_ > kMaxDepth) {
      error_ = absl::ResourceExhaustedError(
          absl::StrCat("the graph chains more than ", kMaxDepth,
                       " operations in one kernel"));
    }
    const Id value = !error_.ok() ? arena_.Int(0)
                     : KindOf(id) == Placement::Kind::kTile
                         ? Tile(id, index, gate)
                         : Compute(id, index, gate);
    --depth_;
    memo_[key] = value;
    return value;
  }

  // A read of the tile of `id`, which is computed at the outer ranges.
  Id Tile(Id id, const std::vector<Id>& index, Id gate) {
    const std::vector<Id> dims = Dims(id);
    const uint32_t axes = placement_.tile_axes[id];
    std::vector<Id> key = {id, kNoNode};  // The stage, whoever reads it.
    for (size_t i = 0; i < dims.size(); ++i) {
      key.push_back((axes >> i & 1) != 0 ? kNoNode : index[i]);
    }
    std::vector<Id> tile_dims;
    std::vector<Id> tile_index;
    for (size_t i = 0; i < dims.size(); ++i) {
      if ((axes >> i & 1) == 0) continue;
      tile_dims.push_back(dims[i]);
      tile_index.push_back(index[i]);
    }
    const auto it = memo_.find(key);
    Id stage = it == memo_.end() ? kNoNode : it->second;
    if (stage == kNoNode) {
      const int64_t number = next_stage_++;
      std::vector<Id> inner = index;
      std::vector<Id> ranges;
      std::vector<Id> written;
      for (size_t i = 0; i < dims.size(); ++i) {
        if ((axes >> i & 1) == 0) {
          // A gated reader may be outside the tensor where its gate is false;
          // the tile is computed there all the same.
          if (gate != kNoNode) {
            const Id last = ir::Add(arena_, dims[i], arena_.Int(-1));
            inner[i] =
                ir::Max(arena_, ir::Min(arena_, index[i], last), arena_.Int(0));
          }
          continue;
        }
        inner[i] = Range(dims[i], ranges);
        written.push_back(inner[i]);
      }
      const Id value = Compute(id, inner, kNoNode);
      std::vector<Id> srcs = {value, LinearIndex(arena_, tile_dims, written),
                              ir::Product(arena_, tile_dims)};
      srcs.insert(srcs.end(), ranges.begin(), ranges.end());
      stage = arena_.Make(
          Op::kStage, arena_[value].dtype, srcs,
          Attr{{static_cast<int64_t>(ir::Level::kTile), number}, {}});
      memo_[key] = stage;
    }
    std::vector<Id> srcs = {stage, LinearIndex(arena_, tile_dims, tile_index)};
    if (gate != kNoNode) srcs.push_back(gate);
    return arena_.Make(Op::kLoad, arena_[stage].dtype, srcs);
  }

  Id Compute(Id id, const std::vector<Id>& index, Id gate) {
    const Node node = arena_[id];
    if (ir::IsElementwise(node.op)) {
      ++origin_[id];
      std::vector<Id> srcs;
      for (Id src : node.srcs) srcs.push_back(Value(src, index, gate));
      const Id made = arena_.Make(node.op, node.dtype, srcs, *node.attr);
      return ir::IsSymbolic(arena_, made)
                 ? ir::Simplified(arena_, node.op, srcs)
                 : made;
    }
    switch (node.op) {
      case Op::kConst:
        return arena_.Make(Op::kConst, node.dtype, {}, *node.attr);
      case Op::kVar:
        return id;
      case Op::kIota:
        return index[0];
      case Op::kConstArray:
        return arena_.Make(Op::kLoad, node.dtype,
                           {arena_.Make(Op::kConstArray, node.dtype, {},
                                        *node.attr, node.shape),
                            LinearIndex(arena_, Dims(id), index)});
      case Op::kReduce:
        ++origin_[id];
        return Reduce(node, index, gate);
      case Op::kGather:
        ++origin_[id];
        return Gather(node, index, gate);
      case Op::kConcat:
        return Concat(node, index, gate);
      case Op::kStage:
        return Value(node.srcs[0], index, gate);
      default:
        break;
    }
    if (!ir::IsMovement(node.op)) {
      error_ = absl::InternalError(
          absl::StrCat("rangeify meets ", ir::Name(node.op)));
      return arena_.Int(0);
    }
    const ViewIndex view = ThroughView(arena_, id, index);
    const Id value = Value(node.srcs[0], view.index, And(gate, view.valid));
    if (view.valid == kNoNode) return value;
    // A load under the gate gives the 0 by itself.
    if (arena_[value].op == Op::kLoad && arena_[value].srcs.size() == 3) {
      return value;
    }
    const Id zero = arena_.FloatConst(arena_[value].dtype, 0);
    return arena_.Make(Op::kWhere, arena_[value].dtype,
                       {view.valid, value, zero});
  }

  Id Reduce(const Node& node, const std::vector<Id>& index, Id gate) {
    const std::vector<Id> dims = Dims(node.srcs[0]);
    std::vector<Id> inner;
    std::vector<Id> ranges;
    size_t next = 0;
    for (size_t axis = 0; axis < dims.size(); ++axis) {
      const auto& ints = node.attr->ints;
      const bool reduced = std::find(ints.begin() + 1, ints.end(),
                                     static_cast<int64_t>(axis)) != ints.end();
      inner.push_back(reduced ? Range(dims[axis], ranges) : index[next++]);
    }
    const Id value = Value(node.srcs[0], inner, gate);
    if (ranges.empty()) return value;
    std::vector<Id> srcs = {value};
    srcs.insert(srcs.end(), ranges.begin(), ranges.end());
    return arena_.Make(Op::kReduce, node.dtype, srcs,
                       Attr{{node.attr->ints[0]}, {}});
  }

  Id Gather(const Node& node, const std::vector<Id>& index, Id gate) {
    const int64_t axis = node.attr->ints[0];
    const size_t rank = arena_.Rank(node.srcs[1]);
    const std::vector<Id> at(index.begin() + axis, index.begin() + axis + rank);
    Id position = Value(node.srcs[1], at, gate);
    if (arena_[position].dtype == DType::kU64) {
      // Beyond the signed range is beyond any axis.
      const Id most =
          arena_.IntConst(DType::kU64, std::numeric_limits<int64_t>::max());
      position = arena_.Make(Op::kMin, DType::kU64, {position, most});
    }
    if (arena_[position].dtype != DType::kWeakInt) {
      position = arena_.Make(Op::kCast, DType::kWeakInt, {position});
    }
    // Whatever the data says, the read stays inside the tensor.
    const Id last =
        ir::Add(arena_, arena_.DimsOf(node.srcs[0])[axis], arena_.Int(-1));
    position = ir::Max(arena_, ir::Min(arena_, position, last), arena_.Int(0));
    std::vector<Id> data(index.begin(), index.begin() + axis);
    data.push_back(position);
    data.insert(data.end(), index.begin() + axis + rank, index.end());
    return Value(node.srcs[0], data, gate);
  }

  // A concat inside a kernel: a choice between its parts.
  Id Concat(const Node& node, const std::vector<Id>& index, Id gate) {
    const int64_t axis = node.attr->ints[0];
    Id end = arena_.DimsOf(node.srcs[0])[axis];
    Id value = Value(node.srcs[0], index,
                     And(gate, ir::Less(arena_, index[axis], end)));
    for (size_t i = 1; i < node.srcs.size(); ++i) {
      std::vector<Id> inner = index;
      inner[axis] = ir::Sub(arena_, index[axis], end);
      const Id in_part =
          ir::Less(arena_, ir::Sub(arena_, end, arena_.Int(1)), index[axis]);
      const Id part = Value(node.srcs[i], inner, And(gate, in_part));
      value = arena_.Make(Op::kWhere, node.dtype, {in_part, part, value});
      end = ir::Add(arena_, end, arena_.DimsOf(node.srcs[i])[axis]);
    }
    return value;
  }

  Arena& arena_;
  const Placement& placement_;
  const RangeifyOptions& options_;
  Schedule schedule_;
  std::vector<std::optional<std::string>> device_;
  std::vector<bool> per_run_;
  absl::flat_hash_map<Id, int> output_slot_;
  absl::flat_hash_map<Id, int> buffer_;
  absl::flat_hash_map<Id, int> kernel_of_;

  // Of the kernel being made.
  absl::flat_hash_map<std::vector<Id>, Id> memo_;
  std::vector<KernelParam> params_;
  std::vector<int> param_buffers_;
  absl::flat_hash_map<Id, int> origin_;
  int64_t next_range_ = 0;
  int64_t next_stage_ = 0;
  int depth_ = 0;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<Schedule> Rangeify(Arena& arena, absl::Span<const Id> outputs,
                                  absl::Span<const Id> vars,
                                  const Placement& placement,
                                  const RangeifyOptions& options) {
  return Rangeifier(arena, placement, options).Run(outputs, vars);
}

}  // namespace quern::schedule
