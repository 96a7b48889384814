// SPDX-License-Identifier: Apache-2.0
//
// Idea: walk the graph from the outputs to the inputs and hand every node its
// demands: by which kernel, at which indices, inside which loops it is wanted.
// When a node's turn comes all its users have been placed, so its demands are
// complete and the choice is local:
//
//   one demand, no value computed twice          -> inline
//   several index lists that agree on the outer
//   ranges of one kernel                          -> a tile at those ranges
//   cheap to compute again                        -> inline, several times
//   otherwise                                     -> global: its own kernel
//
// A reduction costs its whole range per element, so it is inline only where no
// element is computed twice, and a contraction only where it can have a
// register tile: directly under the stores of its kernel.
//
// How often an inline value is computed follows from the loops: a value is
// computed in the innermost loop whose range it depends on, hence once for
// each point of all the ranges from the outermost to that one.
#include "engine/schedule/fuse.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "engine/ir/symbolic.h"
#include "engine/schedule/view.h"

namespace quern::schedule {
namespace {

using ir::Arena;
using ir::Id;
using ir::Node;
using ir::Op;

// Computing a few elements twice (padding, odd edges) is no recomputation.
constexpr double kOnce = 1.1;
// Below this many elements a kernel is too small to be run by several threads.
constexpr double kSmall = 32768;

struct Demand {
  int kernel = 0;
  std::vector<Id> index;
  std::vector<Id> scope;   // Ranges around the use, from the outside in.
  bool at_random = false;  // The index is data: only a buffer can answer.
  bool padded = false;     // Some indices lie outside the tensor.
};

// A kernel as far as fusion knows it.
struct Region {
  Id root = ir::kNoNode;   // The tensor that it writes.
  std::vector<Id> index;   // Of its stores; a range for each axis but those of
                           // one point.
  std::vector<Id> ranges;  // Those among them.
  bool has_contraction = false;
  bool weight_only = false;
  int64_t cost = 0;
  int loops = 0;        // Reductions and tiles.
  int inner_axis = -1;  // Whose range is the innermost, if it is not the last.
  bool hoists = false;  // Values that are only right in this order of ranges.
};

class Fuser {
 public:
  Fuser(Arena& arena, absl::Span<const Id> outputs, const FuseOptions& options)
      : arena_(arena), options_(options) {
    order_ = ir::TopologicalOrder(arena, outputs);
    const size_t count = arena.size();
    placement_.kind.assign(count, Placement::Kind::kInline);
    placement_.tile_axes.assign(count, 0);
    placement_.inner_axis.assign(count, -1);
    demands_.resize(count);
    forced_.assign(count, false);
    row_major_.assign(count, false);
    for (Id id : outputs) forced_[id] = row_major_[id] = true;
    for (Id id : options.raised) forced_[id] = true;
    Classify();
  }

  Placement Run() {
    for (size_t i = order_.size(); i-- > 0;) Place(order_[i]);
    // Operands first: what no contraction asks for follows them.
    for (Id id : order_) ChooseLayout(id);
    return std::move(placement_);
  }

 private:
  // What a node needs from the outside, and what it costs per element when
  // computed inline from the nearest buffers.
  void Classify() {
    const size_t count = arena_.size();
    needs_input_.assign(count, false);
    needs_weight_.assign(count, false);
    has_reduce_.assign(count, false);
    cost_.assign(count, 0);
    for (Id id : order_) {
      const Node& node = arena_[id];
      needs_input_[id] = node.op == Op::kInput || node.op == Op::kVar;
      needs_weight_[id] = node.op == Op::kWeight;
      has_reduce_[id] = node.op == Op::kReduce;
      for (Id dim : arena_.Dims(node.shape)) {
        if (!arena_.IsConst(dim)) needs_input_[id] = true;
      }
      double cost = OwnCost(node);
      for (Id src : node.srcs) {
        if (needs_input_[src]) needs_input_[id] = true;
        if (needs_weight_[src]) needs_weight_[id] = true;
        if (has_reduce_[src] && node.op != Op::kCopy) has_reduce_[id] = true;
        cost += cost_[src];
      }
      cost_[id] = std::min(cost, 1e6);
    }
  }

  static double OwnCost(const Node& node) {
    if (node.op == Op::kGather) return 2;
    return ir::IsElementwise(node.op) ? OperationCost(node.op) : 0;
  }

  // The ranges that `index` depends on.
  const std::vector<Id>& RangesIn(Id index) {
    auto it = ranges_in_.find(index);
    if (it != ranges_in_.end()) return it->second;
    std::vector<Id> ranges;
    if (arena_[index].op == Op::kRange) {
      ranges = {index};
    } else {
      for (Id src : arena_[index].srcs) {
        const std::vector<Id> below = RangesIn(src);
        ranges.insert(ranges.end(), below.begin(), below.end());
      }
      std::sort(ranges.begin(), ranges.end());
      ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
    }
    return ranges_in_[index] = std::move(ranges);
  }

  // One more than the position in `scope` of the innermost range on which
  // `index` depends.
  size_t Depth(absl::Span<const Id> index, const std::vector<Id>& scope) {
    size_t depth = 0;
    for (Id at : index) {
      for (Id range : RangesIn(at)) {
        const auto it = std::find(scope.begin(), scope.end(), range);
        if (it != scope.end()) {
          depth = std::max<size_t>(depth, it - scope.begin() + 1);
        }
      }
    }
    return depth;
  }

  double Extent(absl::Span<const Id> ranges) {
    double product = 1;
    for (Id range : ranges) {
      product *= EstimateSize(arena_, arena_[range].srcs[0]);
    }
    return product;
  }

  double Evaluations(const Demand& demand) {
    const size_t depth = Depth(demand.index, demand.scope);
    return Extent(absl::MakeConstSpan(demand.scope).subspan(0, depth));
  }

  double Elements(Id id) {
    double product = 1;
    for (Id dim : arena_.DimsOf(id)) product *= EstimateSize(arena_, dim);
    return product;
  }

  Id FreshRange(Id extent) {
    if (arena_.IsInt(extent, 1)) return arena_.Int(0);
    return arena_.Make(Op::kRange, ir::DType::kWeakInt, {extent},
                       ir::Attr{{kFirstRange + next_range_++, 0}, {}});
  }

  void Place(Id id) {
    const Node node = arena_[id];
    if (demands_[id].empty() && !forced_[id]) return;
    if (IsBuffer(node)) return;
    if (!forced_[id] && IsFree(node)) {
      PassOn(id, demands_[id]);
      return;
    }
    if (!forced_[id] && node.op != Op::kConcat && node.op != Op::kCopy &&
        !(node.op == Op::kStage) && !CrossesToWeights(id) &&
        TryFuse(id, node)) {
      return;
    }
    MakeGlobal(id, node);
  }

  static bool IsBuffer(const Node& node) {
    return node.op == Op::kInput || node.op == Op::kWeight;
  }

  // Costs nothing to compute again.
  bool IsFree(const Node& node) const {
    if (node.op == Op::kConcat) return false;
    return ir::IsMovement(node.op) || node.op == Op::kConst ||
           node.op == Op::kConstArray || node.op == Op::kIota ||
           node.op == Op::kVar ||
           (node.op == Op::kCast && IsConstant(node.srcs[0]));
  }

  // A constant that is only moved or converted: it needs no buffer, whoever
  // uses it and how often.
  bool IsConstant(Id id) const {
    while (arena_[id].op == Op::kCast ||
           (ir::IsMovement(arena_[id].op) && arena_[id].op != Op::kConcat)) {
      id = arena_[id].srcs[0];
    }
    return arena_[id].op == Op::kConst || arena_[id].op == Op::kConstArray;
  }

  // Computed from weights alone, but used by something that is not: it
  // becomes a buffer, computed once when the model is loaded.
  bool CrossesToWeights(Id id) const {
    if (needs_input_[id] || !needs_weight_[id]) return false;
    for (const Demand& demand : demands_[id]) {
      if (!regions_[demand.kernel].weight_only) return true;
    }
    return false;
  }

  bool TryFuse(Id id, const Node& node) {
    std::vector<Demand> demands = Distinct(demands_[id]);
    bool same_kernel = true;
    double evaluations = 0;
    for (const Demand& demand : demands) {
      if (demand.at_random) return false;
      same_kernel &= demand.kernel == demands[0].kernel;
      evaluations += Evaluations(demand);
    }
    const double elements = std::max(Elements(id), 1.0);
    const bool once = evaluations <= kOnce * elements;
    const double own = std::max(OwnCost(node), 1.0);

    if (demands.size() == 1 && once) {
      Region& region = regions_[demands[0].kernel];
      if (region.cost + own > options_.max_kernel_cost) {
        placement_.notes.push_back(absl::StrCat(
            "split at ", ir::Name(node.op), ": a kernel would have more than ",
            options_.max_kernel_cost, " operations"));
        return false;
      }
      if (node.op == Op::kReduce && !MayInlineReduction(id, demands[0])) {
        return false;
      }
      region.cost += static_cast<int64_t>(own);
      PassOn(id, demands);
      return true;
    }
    if (!has_reduce_[id]) {
      // Storing costs a write and a read of each element.
      const double again = (evaluations - elements) * std::max(cost_[id], 1.0);
      const bool cheap = cost_[id] <= 3 && !InContraction(demands);
      if ((cheap && !same_kernel) || again <= 2 * elements || again <= 4096) {
        for (const Demand& demand : demands) {
          regions_[demand.kernel].cost += static_cast<int64_t>(own);
        }
        PassOn(id, demands);
        return true;
      }
    }
    return same_kernel && TryTile(id, node, demands);
  }

  // True if some demand stands inside a contraction's reduction, where each
  // element is wanted many times.
  bool InContraction(const std::vector<Demand>& demands) {
    for (const Demand& demand : demands) {
      if (regions_[demand.kernel].has_contraction &&
          demand.scope.size() > regions_[demand.kernel].ranges.size()) {
        return true;
      }
    }
    return false;
  }

  bool MayInlineReduction(Id id, const Demand& demand) {
    // A border would put a condition into the innermost loop.
    if (demand.padded) return false;
    Region& region = regions_[demand.kernel];
    if (!MayAddLoop(region)) return false;
    if (IsContraction(arena_, id)) {
      if (region.has_contraction || demand.scope != region.ranges) return false;
      for (Id range : region.ranges) {
        const bool used =
            std::any_of(demand.index.begin(), demand.index.end(), [&](Id at) {
              const std::vector<Id>& in = RangesIn(at);
              return std::binary_search(in.begin(), in.end(), range);
            });
        if (!used) return false;
      }
      region.has_contraction = true;
      return true;
    }
    if (!EnoughParallel(demand.index, demand, Elements(arena_[id].srcs[0]))) {
      return false;
    }
    region.hoists |= Depth(demand.index, demand.scope) < region.ranges.size();
    return true;
  }

  // Passes over a kernel take time that grows with its loops.
  bool MayAddLoop(Region& region) {
    if (region.loops < options_.max_kernel_loops) {
      ++region.loops;
      return true;
    }
    placement_.notes.push_back(
        absl::StrCat("split: a kernel would have more than ",
                     options_.max_kernel_loops, " reductions and tiles"));
    return false;
  }

  // A value at the outer ranges keeps the inner ones from being split among
  // threads; that is fine if the outer ones are many or the work is small.
  bool EnoughParallel(absl::Span<const Id> index, const Demand& demand,
                      double work) {
    const size_t depth = Depth(index, demand.scope);
    const double outer =
        Extent(absl::MakeConstSpan(demand.scope).subspan(0, depth));
    return depth >= regions_[demand.kernel].ranges.size() || outer >= 16 ||
           work <= kSmall;
  }

  bool TryTile(Id id, const Node& node, const std::vector<Demand>& demands) {
    const absl::Span<const Id> dims = arena_.DimsOf(id);
    if (dims.size() > 32) return false;
    uint32_t axes = 0;
    std::vector<Id> fixed;
    double tile_elements = 1;
    for (size_t axis = 0; axis < dims.size(); ++axis) {
      bool agrees = true;
      for (const Demand& demand : demands) {
        agrees &= demand.index[axis] == demands[0].index[axis];
      }
      if (agrees) {
        fixed.push_back(demands[0].index[axis]);
      } else {
        axes |= 1u << axis;
        tile_elements *= EstimateSize(arena_, dims[axis]);
      }
    }
    if (axes == 0) return false;
    size_t depth = 0;
    for (const Demand& demand : demands) {
      depth = std::max(depth, Depth(fixed, demand.scope));
    }
    const std::vector<Id>& scope = demands[0].scope;
    for (const Demand& demand : demands) {
      if (demand.scope.size() < depth ||
          !std::equal(scope.begin(), scope.begin() + depth,
                      demand.scope.begin())) {
        return false;
      }
    }
    const std::vector<Id> outer(scope.begin(), scope.begin() + depth);
    const double computed = Extent(outer) * tile_elements;
    if (computed > kOnce * std::max(Elements(id), 1.0)) return false;
    const int64_t bytes =
        std::max<int64_t>(ir::ByteSize(ir::Strong(node.dtype)), 1);
    if (tile_elements * bytes > options_.max_tile_bytes) return false;
    double work = computed;
    if (node.op == Op::kReduce) {
      work *= Elements(node.srcs[0]) / std::max(Elements(id), 1.0);
    }
    if (!EnoughParallel(fixed, demands[0], work)) return false;
    if (IsContraction(arena_, id)) return false;
    if (!MayAddLoop(regions_[demands[0].kernel])) return false;

    regions_[demands[0].kernel].hoists |=
        depth < regions_[demands[0].kernel].ranges.size();
    placement_.kind[id] = Placement::Kind::kTile;
    placement_.tile_axes[id] = axes;
    Demand inner;
    inner.kernel = demands[0].kernel;
    inner.scope = outer;
    inner.index = demands[0].index;
    for (size_t axis = 0; axis < dims.size(); ++axis) {
      if ((axes >> axis & 1) == 0) continue;
      inner.index[axis] = FreshRange(dims[axis]);
      if (!arena_.IsConst(inner.index[axis])) {
        inner.scope.push_back(inner.index[axis]);
      }
    }
    regions_[inner.kernel].cost += static_cast<int64_t>(OwnCost(node));
    PassOn(id, {inner});
    return true;
  }

  void MakeGlobal(Id id, const Node& node) {
    placement_.kind[id] = Placement::Kind::kGlobal;
    if (node.op == Op::kCopy) {
      forced_[node.srcs[0]] = !IsBuffer(arena_[node.srcs[0]]);
      // Copies move bytes, whatever they mean.
      row_major_[id] = row_major_[node.srcs[0]] = true;
      return;
    }
    if (node.op == Op::kConcat) {
      // Each part is a writer of its own.
      for (Id part : node.srcs) Demanded(part, NewRegion(id, part));
      return;
    }
    PassOn(id, {NewRegion(id, id)});
  }

  // Opens a kernel that writes a tensor of the shape of `shaped_like`.
  Demand NewRegion(Id id, Id shaped_like) {
    Demand demand;
    demand.kernel = static_cast<int>(regions_.size());
    Region region;
    region.weight_only = !needs_input_[id];
    region.has_contraction = IsContraction(arena_, id);
    const absl::Span<const Id> dims = arena_.DimsOf(shaped_like);
    for (Id dim : std::vector<Id>(dims.begin(), dims.end())) {
      demand.index.push_back(FreshRange(dim));
      if (!arena_.IsConst(demand.index.back())) {
        region.ranges.push_back(demand.index.back());
      }
    }
    region.root = id;
    region.index = demand.index;
    OrderRanges(region);
    demand.scope = region.ranges;
    regions_.push_back(std::move(region));
    return demand;
  }

  // Loops run as the result lies in memory: the range along which its readers
  // want it contiguous is the innermost, and what depends on that range is
  // computed anew for each point of the others.
  void OrderRanges(Region& region) {
    const Id id = region.root;
    if (!MayChooseLayout(id)) return;
    std::vector<double> votes(arena_.Rank(id), 0);
    VoteOfReaders(id, votes);
    region.inner_axis = Elected(votes);
    if (region.inner_axis < 0) return;
    const auto it = std::find(region.ranges.begin(), region.ranges.end(),
                              region.index[region.inner_axis]);
    if (it != region.ranges.end()) std::rotate(it, it + 1, region.ranges.end());
  }

  void Demanded(Id id, Demand demand) {
    read_by_.resize(regions_.size());
    read_by_[demand.kernel].push_back(id);
    demands_[id].push_back(std::move(demand));
  }

  std::vector<Demand> Distinct(const std::vector<Demand>& demands) {
    std::vector<Demand> out;
    for (const Demand& demand : demands) {
      const bool known =
          std::any_of(out.begin(), out.end(), [&](const Demand& other) {
            return other.kernel == demand.kernel &&
                   other.index == demand.index &&
                   other.at_random == demand.at_random;
          });
      if (!known) out.push_back(demand);
    }
    return out;
  }

  // Hands the demands of an inline (or root) node to its operands.
  void PassOn(Id id, const std::vector<Demand>& demands) {
    const Node node = arena_[id];
    for (const Demand& demand : Distinct(demands)) {
      switch (node.op) {
        case Op::kReduce:
          PassReduce(id, node, demand);
          break;
        case Op::kGather:
          PassGather(node, demand);
          break;
        case Op::kStage:
          Demanded(node.srcs[0], demand);
          break;
        default:
          if (ir::IsElementwise(node.op)) {
            for (Id src : node.srcs) Demanded(src, demand);
          } else if (ir::IsMovement(node.op)) {
            Demand below = demand;
            ViewIndex view = ThroughView(arena_, id, demand.index);
            below.index = std::move(view.index);
            below.padded |= view.valid != ir::kNoNode;
            Demanded(node.srcs[0], std::move(below));
          }
          break;
      }
    }
  }

  void PassReduce(Id id, const Node& node, const Demand& demand) {
    Demand below = demand;
    const size_t depth = Depth(demand.index, demand.scope);
    below.scope.resize(depth);
    below.index.clear();
    const std::vector<Id> dims(arena_.DimsOf(node.srcs[0]).begin(),
                               arena_.DimsOf(node.srcs[0]).end());
    size_t next = 0;
    for (size_t axis = 0; axis < dims.size(); ++axis) {
      const auto& ints = node.attr->ints;
      if (std::find(ints.begin() + 1, ints.end(), static_cast<int64_t>(axis)) ==
          ints.end()) {
        below.index.push_back(demand.index[next++]);
        continue;
      }
      below.index.push_back(FreshRange(dims[axis]));
      if (!arena_.IsConst(below.index.back())) {
        below.scope.push_back(below.index.back());
      }
    }
    if (IsContraction(arena_, id)) PreferLayouts(node.srcs[0], below);
    Demanded(node.srcs[0], std::move(below));
  }

  void PassGather(const Node& node, const Demand& demand) {
    const int64_t axis = node.attr->ints[0];
    const size_t index_rank = arena_.Rank(node.srcs[1]);
    Demand indices = demand;
    indices.index.assign(demand.index.begin() + axis,
                         demand.index.begin() + axis + index_rank);
    // A stand-in for the loaded position, which depends on the same ranges.
    Id position = arena_.Int(0);
    for (Id at : indices.index) position = ir::Add(arena_, position, at);
    position =
        arena_.Make(Op::kCast, ir::DType::kWeakInt,
                    {arena_.Make(Op::kCast, ir::DType::kI64, {position})});
    Demand data = demand;
    data.at_random = true;
    data.index.assign(demand.index.begin(), demand.index.begin() + axis);
    data.index.push_back(position);
    data.index.insert(data.index.end(),
                      demand.index.begin() + axis + index_rank,
                      demand.index.end());
    Demanded(node.srcs[1], std::move(indices));
    Demanded(node.srcs[0], std::move(data));
  }

  // Layouts.

  // The ranges on which the element of `id` at `index` depends.
  std::vector<Id> RangesRead(Id id, absl::Span<const Id> index) {
    const Node node = arena_[id];
    std::vector<Id> ranges;
    const auto add = [&](const std::vector<Id>& more) {
      ranges.insert(ranges.end(), more.begin(), more.end());
    };
    if (node.op != Op::kConcat && ir::IsMovement(node.op)) {
      return RangesRead(node.srcs[0], ThroughView(arena_, id, index).index);
    }
    if (ir::IsElementwise(node.op)) {
      for (Id src : node.srcs) add(RangesRead(src, index));
    } else {
      for (Id at : index) add(RangesIn(at));
    }
    std::sort(ranges.begin(), ranges.end());
    ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
    return ranges;
  }

  static std::vector<Id> Common(const std::vector<Id>& a,
                                const std::vector<Id>& b) {
    std::vector<Id> out;
    std::set_intersection(a.begin(), a.end(), b.begin(), b.end(),
                          std::back_inserter(out));
    return out;
  }

  // Says along which ranges the operands and the result of a contraction with
  // weights are best contiguous: the result along the ranges that choose among
  // weights, the other factor along the ranges over which both are summed.
  // Where there is no choice of weights (each channel has its own), both along
  // the one that they share.
  void PreferLayouts(Id product, const Demand& demand) {
    while (arena_[product].op == Op::kCast) product = arena_[product].srcs[0];
    std::vector<Id> factors(arena_[product].srcs.begin(),
                            arena_[product].srcs.end());
    if (IsOfWeights(factors[0])) std::swap(factors[0], factors[1]);
    if (!IsOfWeights(factors[1]) || IsOfWeights(factors[0])) return;
    const std::vector<Id> of_data = RangesRead(factors[0], demand.index);
    const std::vector<Id> of_weights = RangesRead(factors[1], demand.index);
    const std::vector<Id> shared = Common(of_data, of_weights);
    std::vector<Id> outer = regions_[demand.kernel].ranges;
    std::sort(outer.begin(), outer.end());
    std::vector<Id> choosing;
    std::set_difference(of_weights.begin(), of_weights.end(), of_data.begin(),
                        of_data.end(), std::back_inserter(choosing));
    choosing = Common(choosing, outer);
    if (choosing.empty()) choosing = Common(shared, outer);
    const double work = Extent(demand.scope);
    for (Id range : choosing) wanted_[range] = {of_weights, work};
    for (Id range : shared) {
      if (!std::binary_search(outer.begin(), outer.end(), range)) {
        wanted_[range] = {of_weights, work};
      }
    }
  }

  bool IsOfWeights(Id id) const {
    return needs_weight_[id] && !needs_input_[id];
  }

  bool MayChooseLayout(Id id) {
    if (row_major_[id] || !needs_input_[id] || arena_.Rank(id) < 2) {
      return false;
    }
    return std::none_of(
        demands_[id].begin(), demands_[id].end(),
        [&](const Demand& demand) { return JoinsAxes(demand.index); });
  }

  // Decides along which axis the buffer of `id` is contiguous.
  void ChooseLayout(Id id) {
    if (placement_.kind[id] != Placement::Kind::kGlobal ||
        !MayChooseLayout(id)) {
      return;
    }
    std::vector<double> votes(arena_.Rank(id), 0);
    VoteOfReaders(id, votes);
    for (const Region& region : regions_) {
      if (region.root != id) continue;
      if (region.hoists) {
        placement_.inner_axis[id] = region.inner_axis;
        return;
      }
      Vote(region.index, votes);
    }
    int inner = Elected(votes);
    if (inner < 0) {
      VoteLikeOperands(id, votes);
      inner = Elected(votes);
    }
    placement_.inner_axis[id] = inner;
  }

  // True if a reader counts through several axes with one range, as after a
  // reshape that joins them: that is simple in row-major order only.
  bool JoinsAxes(absl::Span<const Id> index) {
    std::vector<Id> seen;
    for (Id at : index) {
      const std::vector<Id>& in = RangesIn(at);
      if (!Common(seen, in).empty()) return true;
      seen.insert(seen.end(), in.begin(), in.end());
      std::sort(seen.begin(), seen.end());
    }
    return false;
  }

  // An axis gets the work of those who want it contiguous.
  void Vote(absl::Span<const Id> index, std::vector<double>& votes) {
    for (size_t axis = 0; axis < index.size(); ++axis) {
      for (Id range : RangesIn(index[axis])) {
        const auto it = wanted_.find(range);
        if (it == wanted_.end()) continue;
        const ir::Affine affine = ir::AffineIn(arena_, index[axis], range);
        const std::vector<Id>& in = RangesIn(index[axis]);
        // An axis that windows slide along is not one of weights alone.
        if (affine.coefficient != ir::kNoNode &&
            arena_.IsInt(affine.coefficient, 1) &&
            Common(in, it->second.weight_ranges) == in) {
          votes[axis] += it->second.work;
        }
      }
    }
  }

  void VoteOfReaders(Id id, std::vector<double>& votes) {
    for (const Demand& demand : demands_[id]) Vote(demand.index, votes);
  }

  // The axis with the most votes, -1 if there are none.
  static int Elected(const std::vector<double>& votes) {
    const auto best = std::max_element(votes.begin(), votes.end());
    return *best == 0 ? -1 : static_cast<int>(best - votes.begin());
  }

  // A kernel without a contraction stores as it reads.
  void VoteLikeOperands(Id id, std::vector<double>& votes) {
    for (size_t kernel = 0; kernel < regions_.size(); ++kernel) {
      if (regions_[kernel].root != id) continue;
      for (Id read : read_by_[kernel]) {
        const int inner = placement_.inner_axis[read];
        if (placement_.kind[read] != Placement::Kind::kGlobal || inner < 0) {
          continue;
        }
        for (const Demand& demand : demands_[read]) {
          if (demand.kernel != static_cast<int>(kernel)) continue;
          for (size_t axis = 0; axis < votes.size(); ++axis) {
            if (regions_[kernel].index[axis] == demand.index[inner]) {
              votes[axis] += Elements(read);
            }
          }
        }
      }
    }
  }

  static constexpr int64_t kFirstRange = int64_t{1} << 32;

  // A range along which some buffers are best contiguous.
  struct Wanted {
    std::vector<Id> weight_ranges;  // Those that its weights depend on.
    double work = 0;                // Of the contraction.
  };

  Arena& arena_;
  const FuseOptions& options_;
  std::vector<Id> order_;
  Placement placement_;
  std::vector<std::vector<Demand>> demands_;
  std::vector<bool> forced_;
  std::vector<bool> needs_input_;
  std::vector<bool> needs_weight_;
  std::vector<bool> has_reduce_;
  std::vector<double> cost_;
  std::vector<Region> regions_;
  std::vector<bool> row_major_;
  absl::flat_hash_map<Id, Wanted> wanted_;
  std::vector<std::vector<Id>> read_by_;  // Nodes with a demand, by kernel.
  absl::flat_hash_map<Id, std::vector<Id>> ranges_in_;
  int64_t next_range_ = 0;
};

}  // namespace

double OperationCost(Op op) {
  switch (op) {
    case Op::kDiv:
    case Op::kSqrt:
    case Op::kIDiv:
    case Op::kMod:
      return 5;
    case Op::kExp2:
    case Op::kLog2:
    case Op::kTanh:
    case Op::kErf:
      return 15;
    case Op::kSin:
      return 40;
    default:
      return 1;
  }
}

double EstimateSize(const Arena& arena, Id size) {
  const Node& node = arena[size];
  const auto src = [&](int i) { return EstimateSize(arena, node.srcs[i]); };
  switch (node.op) {
    case Op::kConst:
      return static_cast<double>(arena.IntValue(size));
    case Op::kVar:
      return std::clamp(64.0, static_cast<double>(node.least),
                        static_cast<double>(node.greatest));
    case Op::kAdd:
      return src(0) + src(1);
    case Op::kMul:
      return src(0) * src(1);
    case Op::kIDiv:
      return std::max(1.0, src(0) / std::max(src(1), 1.0));
    case Op::kMin:
      return std::min(src(0), src(1));
    case Op::kMax:
      return std::max(src(0), src(1));
    default:
      return std::clamp(64.0, static_cast<double>(node.least),
                        static_cast<double>(node.greatest));
  }
}

bool IsContraction(const Arena& arena, Id id) {
  const Node& node = arena[id];
  if (node.op != Op::kReduce ||
      node.attr->ints[0] != static_cast<int64_t>(Op::kAdd)) {
    return false;
  }
  Id product = node.srcs[0];
  while (arena[product].op == Op::kCast) product = arena[product].srcs[0];
  if (arena[product].op != Op::kMul) return false;
  const auto elements = [&](Id x) {
    double count = 1;
    for (Id dim : arena.DimsOf(x)) count *= EstimateSize(arena, dim);
    return count;
  };
  const double all = elements(product);
  for (Id factor : arena[product].srcs) {
    while (ir::IsMovement(arena[factor].op) || arena[factor].op == Op::kCast) {
      if (arena[factor].op == Op::kConcat) break;
      factor = arena[factor].srcs[0];
    }
    if (arena[factor].op == Op::kConst) return false;
    if (elements(factor) * 2 > all) return false;
  }
  return true;
}

absl::StatusOr<Placement> Fuse(Arena& arena, absl::Span<const Id> outputs,
                               const FuseOptions& options) {
  // The walk makes ranges in the arena; its tables cover the graph only.
  return Fuser(arena, outputs, options).Run();
}

}  // namespace quern::schedule
