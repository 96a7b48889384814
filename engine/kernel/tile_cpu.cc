// SPDX-License-Identifier: Apache-2.0
//
// Three schedules cover the CPU.
//
// Outer product, for contractions: a tile of rows x vectors of sums stays in
// registers while the reduced ranges run; each step loads a few vectors of one
// factor and broadcasts a few scalars of the other. The lanes run along the
// range that chooses among weights, of which there is a packed copy, or else
// along the innermost range of the stores; what is data there is packed by a
// launch of its own, by the chunks, or not at all. Windows are walked tap by
// tap, each over all its channels; the padding is left out. Where each output
// has its own weights (depthwise convolutions) both factors are vectors.
//
// Inner product, for contractions whose factors are both contiguous in the
// reduced range: the lanes run along the reduction and are added at the end.
//
// Loops, for everything else: lanes along the innermost range of the stores
// where it is contiguous; reductions that do not depend on it run their own
// lanes; outer ranges are chunks for the threads.
#include "engine/kernel/tile_cpu.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "engine/ir/symbolic.h"
#include "engine/kernel/constants.h"
#include "engine/kernel/contraction.h"
#include "engine/kernel/opts.h"
#include "engine/kernel/pack.h"
#include "engine/kernel/prefetch.h"
#include "engine/kernel/tile_choice.h"
#include "engine/schedule/fuse.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;
using ir::RangeKind;

// A chunk should be worth this many operations, so that claiming it is cheap.
constexpr double kChunkWork = 8192;
// The name of the choice that has no tile.
constexpr char kInnerProduct[] = "inner product";
// A window may be written out if it has no more taps.
constexpr int64_t kMostTaps = 8;
// Multiply-adds of a step that keep the arithmetic units busy.
constexpr int64_t kCopiesOfBusyStep = 12;
// Cost of what stands between a sum and its store that its registers can bear.
constexpr double kCheapEpilogue = 12;
// Rows of the tile for what is left of rows in larger tiles.
constexpr int kFewRows = 4;
// Multiply-adds of the steps that are written out one after the other.
constexpr int64_t kCopiesOfStep = 240;

class Tiler {
 public:
  Tiler(Arena& arena, Id body, const base::Target& target, int shrink,
        const std::vector<bool>& at_load, absl::string_view wanted)
      : arena_(arena),
        body_(body),
        target_(target),
        shrink_(shrink),
        at_load_(at_load),
        wanted_(wanted) {}

  TileResult Run() {
    body_ = MergeRanges(arena_, body_);
    if (target_.vector_bytes > 0) {
      lanes_ = target_.vector_bytes / WidestElement();
      SplitWhatIsDivided();
    }
    // A register tile is worth more than immediates, but where the array is a
    // factor of the products themselves these are worth most.
    std::optional<Contraction> contraction;
    if (target_.vector_bytes > 0)
      contraction = Contraction::Find(arena_, body_);
    if (!contraction || contraction->HasConstantFactor()) {
      body_ = UnrollConstantAxes(arena_, body_);
      contraction = Contraction::Find(arena_, body_);
    }
    if (target_.vector_bytes == 0) return {{body_}, "serial", {}, 0, {}, ""};
    std::string description;
    const Id untiled = body_;
    if (contraction && TileContraction(*contraction, description)) {
      return {bodies_, description, packs_, share_of_peak_, choices_, choice_};
    }
    body_ = untiled;
    description = TileLoops();
    return {{body_}, description, {}, 0, {}, ""};
  }

 private:
  // Where ranges of a contraction are divided, as by the phases of a transposed
  // convolution, the parts are ranges of their own, if a tile lies better along
  // one of them.
  void SplitWhatIsDivided() {
    const Id split = SplitQuotients(arena_, body_);
    if (split == body_ || LeastCycles(split) >= LeastCycles(body_)) return;
    body_ = MergeRanges(arena_, split);
  }

  // Of the contraction in `body`, by estimate; infinite if no tile fits.
  double LeastCycles(Id body) {
    const auto contraction = Contraction::Find(arena_, body);
    if (!contraction) return HUGE_VAL;
    const std::vector<TileChoice> ranked =
        RankTiles(arena_, body, *contraction, target_, lanes_, at_load_);
    return ranked.empty() ? HUGE_VAL : ranked.front().cycles;
  }

  // True if the kinds of ranges fit together: no value runs in the lanes of
  // two ranges, and no tile is filled inside lanes or unrolled copies.
  bool Runs(Id body) {
    absl::flat_hash_map<Id, std::vector<Id>> free;
    for (Id id : Below(body)) {
      const Node& node = arena_[id];
      std::vector<Id>& own = free[id];
      for (Id src : node.srcs) {
        const std::vector<Id>& below = free[src];
        own.insert(own.end(), below.begin(), below.end());
      }
      if (node.op == Op::kRange) own.push_back(id);
      std::sort(own.begin(), own.end());
      own.erase(std::unique(own.begin(), own.end()), own.end());
      int vectors = 0;
      for (Id range : own) {
        vectors += KindOf(arena_, range) == RangeKind::kVector ? 1 : 0;
      }
      if (vectors > 1 && node.op != Op::kSink) return false;
      if (node.op != Op::kReduce && node.op != Op::kStage) continue;
      for (Id range : InnerRanges(arena_, id)) {
        own.erase(std::remove(own.begin(), own.end(), range), own.end());
      }
      if (node.op != Op::kStage) continue;
      for (Id range : own) {
        const RangeKind kind = KindOf(arena_, range);
        if (kind == RangeKind::kVector || kind == RangeKind::kUnroll) {
          return false;
        }
      }
    }
    return true;
  }

  // Takes `body` if its ranges fit together.
  bool Take(Id body) {
    if (!Runs(body)) return false;
    body_ = body;
    return true;
  }

  // Bytes of the widest element that is computed with; at least 4, since
  // narrower values are widened before arithmetic.
  int WidestElement() {
    int64_t widest = 4;
    for (Id id : Below(body_)) {
      const Node& node = arena_[id];
      if (node.op == Op::kLoad || node.op == Op::kStore ||
          (ir::IsElementwise(node.op) && !ir::IsWeak(node.dtype))) {
        widest = std::max(widest, ir::ByteSize(ir::Strong(node.dtype)));
      }
    }
    return static_cast<int>(widest);
  }

  std::vector<Id> Below(Id root) {
    return ir::TopologicalOrder(arena_, absl::MakeConstSpan(&root, 1));
  }

  double Extent(Id range) {
    return schedule::EstimateSize(arena_, arena_[range].srcs[0]);
  }

  // The extent if it is known, else 0.
  int64_t StaticExtent(Id range) {
    const Id extent = arena_[range].srcs[0];
    return arena_.IsConst(extent) ? arena_.IntValue(extent) : 0;
  }

  // The step of `index` along `range`: kNoNode if it is not affine in it.
  Id Step(Id index, Id range) {
    return ir::AffineIn(arena_, index, range).coefficient;
  }
  bool StepIs(Id index, Id range, int64_t step) {
    const Id coefficient = Step(index, range);
    return coefficient != kNoNode && arena_.IsInt(coefficient, step);
  }

  Id Store() { return arena_[body_].srcs[0]; }
  Id StoreIndex() { return arena_[Store()].srcs[1]; }

  static bool Has(const std::vector<Id>& list, Id id) {
    return std::find(list.begin(), list.end(), id) != list.end();
  }

  // Loads of buffers below `root`.
  std::vector<Id> LoadsBelow(Id root) {
    std::vector<Id> loads;
    for (Id id : Below(root)) {
      if (arena_[id].op == Op::kLoad) loads.push_back(id);
    }
    return loads;
  }

  bool AllSerial(const std::vector<Id>& ranges) {
    return std::all_of(ranges.begin(), ranges.end(), [&](Id range) {
      return KindOf(arena_, range) == RangeKind::kSerial;
    });
  }

  bool TileContraction(const Contraction& contraction,
                       std::string& description) {
    const std::vector<TileChoice> ranked =
        RankTiles(arena_, body_, contraction, target_, lanes_, at_load_);
    for (const TileChoice& choice : ranked) {
      choices_.push_back(Words(arena_, contraction, choice));
    }
    if (SumsInLanes(contraction, ranked)) {
      choices_.insert(choices_.begin(), kInnerProduct);
    }
    if (choices_.empty()) return false;
    const auto wanted = std::find(choices_.begin(), choices_.end(), wanted_);
    choice_ = wanted == choices_.end() ? choices_.front() : *wanted;
    if (choice_ == kInnerProduct) {
      return InnerProduct(contraction, description) && Add(body_);
    }
    for (size_t i = 0; i < ranked.size(); ++i) {
      if (choices_[i + choices_.size() - ranked.size()] != choice_) continue;
      share_of_peak_ = ranked[i].share_of_peak;
      return OuterProducts(ranked[i], description);
    }
    return false;
  }

  // True if the lanes do best along the reduction: only there are both factors
  // contiguous, and no copy of one of them is better.
  bool SumsInLanes(const Contraction& contraction,
                   const std::vector<TileChoice>& ranked) {
    if (!ranked.empty() && ranked.front().packed != kNoNode) return false;
    const Id n = contraction.outputs().back();
    const Id k = contraction.reduced().back();
    bool n_contiguous = contraction.StrideOfResult(n) == Stride::kOne;
    bool k_contiguous = true;
    for (Id load : contraction.factors()) {
      n_contiguous &= contraction.StrideOfFactor(load, n) <= Stride::kOne;
      k_contiguous &= contraction.StrideOfFactor(load, k) <= Stride::kOne;
    }
    return !n_contiguous && k_contiguous && Extent(k) >= lanes_;
  }

  // Rows of unknown number are done in whole tiles, and those that are left
  // over in smaller ones: one row, as of a token after the other, is no tile of
  // many that are the same.
  bool OuterProducts(TileChoice choice, std::string& description) {
    Id rest = body_;
    if (choice.rows != kNoNode && StaticExtent(choice.rows) == 0) {
      for (int rows : {choice.num_rows, kFewRows}) {
        if (rows == 1 || rows > choice.num_rows) continue;
        const Id whole = ir::Mul(
            arena_,
            ir::IDiv(arena_, arena_[choice.rows].srcs[0], arena_.Int(rows)),
            arena_.Int(rows));
        const Partition parts =
            PartitionRange(arena_, rest, choice.rows, whole);
        body_ = parts.first;
        choice.rows = parts.first_range;
        choice.num_rows = rows;
        if (!OuterProduct(*Contraction::Find(arena_, body_), choice,
                          description) ||
            !Add(body_)) {
          return false;
        }
        rest = parts.rest;
        choice.rows = parts.rest_range;
      }
      choice.num_rows = 1;
    }
    body_ = rest;
    std::string of_rest;
    if (!OuterProduct(*Contraction::Find(arena_, body_), choice, of_rest) ||
        !Add(body_)) {
      return false;
    }
    if (bodies_.size() == 1) {
      description = of_rest;
    } else {
      absl::StrAppend(&description, ", fewer rows for the rest");
    }
    return true;
  }

  // Adds a scheduled body if its ranges fit together.
  bool Add(Id body) {
    bodies_.push_back(body);
    return Runs(body);
  }

  // What `factor` has become: splits rebuild it.
  Id LoadOfParam(Id factor) {
    return OnlyLoadOf(
        arena_, body_,
        static_cast<int>(arena_[arena_[factor].srcs[0]].attr->ints[0]));
  }

  bool OuterProduct(const Contraction& contraction, const TileChoice& choice,
                    std::string& description) {
    const Id packable = choice.packed;
    const Id n = choice.columns;
    const Id m = choice.rows;
    std::vector<Id> inner = contraction.reduced();
    int rows = choice.num_rows;
    int vectors = choice.num_vectors;
    for (int i = 0; i < shrink_; ++i) {
      if (rows > 1) {
        rows = (rows + 1) / 2;
      } else if (vectors > 1) {
        vectors = (vectors + 1) / 2;
      }
    }

    const int lanes = LanesFor(StaticExtent(n));
    Panels panels;
    panels.width = int64_t{lanes} * vectors;
    panels.count = StaticExtent(n);
    Split split = SplitRange(arena_, body_, n, panels.width, RangeKind::kSerial,
                             Tail::kMask);
    body_ = split.body;
    const Id columns = panels.panel = split.outer;
    panels.inside = split.inner;
    split = SplitRange(arena_, body_, panels.inside, lanes, RangeKind::kVector,
                       Tail::kMask);
    body_ = split.body;
    panels.inside = split.inner;
    if (split.outer != kNoNode) {
      const Id lane = split.inner;
      split = Relabel(arena_, body_, split.outer, RangeKind::kUnroll);
      body_ = split.body;
      panels.inside = ir::Add(
          arena_, ir::Mul(arena_, split.inner, arena_.Int(lanes)), lane);
    }
    Id tile_rows = kNoNode;
    Id row = kNoNode;
    if (m != kNoNode) {
      split =
          SplitRange(arena_, body_, m, rows, RangeKind::kUnroll, Tail::kRepeat);
      body_ = split.body;
      tile_rows = split.outer;
      row = split.inner;
    }
    inner = ArrangeSteps(inner,
                         packable == kNoNode ? kNoNode : LoadOfParam(packable));
    std::vector<Id> of_weights;
    Id row_blocks = kNoNode;
    const bool by_chunks = choice.rows_in_chunk > 0;
    const int64_t tiles_in_chunk = (choice.rows_in_chunk + rows - 1) / rows;
    if (packable != kNoNode) {
      const Id load = LoadOfParam(packable);
      // Not the free ranges of the load: its gate is for columns past the end.
      const std::vector<Id> free = FreeRanges(arena_, arena_[load].srcs[1]);
      for (Id range : StoreRanges(arena_, body_)) {
        if (Has(free, range) && range != columns &&
            !ir::Contains(arena_, panels.inside, range)) {
          of_weights.push_back(range);
        }
      }
      std::vector<Id> steps;
      for (Id range : inner) {
        if (Has(free, range)) steps.push_back(range);
      }
      if (by_chunks) {
        if (tile_rows != kNoNode) {
          split = SplitRange(arena_, body_, tile_rows, tiles_in_chunk,
                             RangeKind::kSerial, Tail::kShort);
          body_ = split.body;
          row_blocks = split.outer;
          tile_rows = split.inner;
        }
        body_ = PackByChunks(arena_, body_, LoadOfParam(packable), panels,
                             std::move(steps));
      } else {
        Pack pack;
        const Id packed =
            ReadPacked(arena_, body_, load, of_weights, panels, steps, &pack);
        if (packed == kNoNode) return false;
        body_ = packed;
        if (packs_.empty()) packs_.push_back(pack);
        if (packs_[0].body != pack.body) return false;
      }
    }
    inner = SkipPadding(std::move(inner));
    UnrollTaps(inner, rows * vectors);

    // Order: what chooses among weights, so that a panel stays in the cache
    // while it meets all the data; then the data; then the tile. If the cache
    // holds all weights, the data comes first, so that it is read once.
    const bool all_stay =
        packable != kNoNode && !by_chunks && Stays(contraction, packable);
    std::vector<Id> order;
    std::vector<Id> choosing = of_weights;
    if (row_blocks != kNoNode) choosing.push_back(row_blocks);
    if (packable != kNoNode && columns != kNoNode) choosing.push_back(columns);
    if (!all_stay) order = choosing;
    // In the tile row by row, so that what a row broadcasts is soon done with.
    std::vector<Id> tile;
    if (row != kNoNode) tile.push_back(row);
    for (Id range : StoreRanges(arena_, body_)) {
      if (KindOf(arena_, range) != RangeKind::kSerial) {
        if (range != row) tile.push_back(range);
      } else if (!Has(choosing, range) && range != columns &&
                 range != tile_rows) {
        order.push_back(range);
      }
    }
    // Without a copy, the rows change fastest, if what chooses among them stays
    // in the cache meanwhile.
    std::vector<Id> fastest;
    if (packable == kNoNode && columns != kNoNode) fastest.push_back(columns);
    if (tile_rows != kNoNode) fastest.push_back(tile_rows);
    if (fastest.size() == 2 && !RowsStay(contraction, choice)) {
      std::swap(fastest[0], fastest[1]);
    }
    order.insert(order.end(), fastest.begin(), fastest.end());
    if (by_chunks) {
      body_ = AskForNextCopy(arena_, body_, LoadOfParam(packable), panels,
                             tile_rows, tiles_in_chunk);
    } else if (packable != kNoNode && !all_stay && columns != kNoNode) {
      body_ = AskForNextPanel(arena_, body_, LoadOfParam(packable), panels,
                              {order.begin() + choosing.size(), order.end()});
    }
    if (all_stay) order.insert(order.end(), choosing.begin(), choosing.end());
    // The tiles of a chunk share what it has packed.
    const size_t outer = by_chunks ? choosing.size() : order.size();
    order.insert(order.end(), tile.begin(), tile.end());
    body_ = Reorder(arena_, body_, order);
    MakeGrid(outer);
    const bool staged = StageCostlyEpilogue();
    description =
        absl::StrCat("outer product, tile ", rows, "x", vectors * lanes,
                     by_chunks         ? ", packed by its chunks"
                     : !packs_.empty() ? ", packed"
                                       : "",
                     staged ? ", sums staged" : "");
    return true;
  }

  bool Stays(const Contraction& contraction, Id factor) const {
    return contraction.Bytes(factor) * 2 <=
           static_cast<double>(target_.l2_bytes);
  }

  // True if the cache holds the factors that only the rows choose.
  bool RowsStay(const Contraction& contraction, const TileChoice& choice) {
    const std::vector<Id>& factors = contraction.factors();
    return std::all_of(factors.begin(), factors.end(), [&](Id load) {
      return contraction.Depends(load, choice.columns) ||
             Stays(contraction, load);
    });
  }

  // Values that are costly to compute from the sums want the registers that the
  // sums are in: these go to memory then, and the rest is a loop of its own.
  bool StageCostlyEpilogue() {
    std::vector<Id> tile;
    for (Id range : StoreRanges(arena_, body_)) {
      const RangeKind kind = KindOf(arena_, range);
      if (kind == RangeKind::kUnroll || kind == RangeKind::kVector) {
        tile.push_back(range);
      }
    }
    const Id sum = SumOfTile(tile);
    if (sum == kNoNode || tile.empty()) return false;
    const std::vector<Id> in_sum = Below(sum);
    double cost = 0;
    for (Id id : Below(arena_[Store()].srcs[2])) {
      if (!Has(in_sum, id) && ir::IsElementwise(arena_[id].op) &&
          arena_[id].dtype != ir::DType::kWeakInt &&
          ir::Contains(arena_, id, sum)) {
        cost += schedule::OperationCost(arena_[id].op);
      }
    }
    if (cost <= kCheapEpilogue) return false;
    const Id rows = tile.front();
    body_ = StageBeforeStore(arena_, body_, sum, tile);
    if (KindOf(arena_, rows) == RangeKind::kUnroll) {
      body_ = Relabel(arena_, body_, rows, RangeKind::kSerial).body;
    }
    return true;
  }

  // The sum that the whole tile needs.
  Id SumOfTile(const std::vector<Id>& tile) {
    for (Id id : Below(body_)) {
      if (arena_[id].op != Op::kReduce) continue;
      const std::vector<Id> free = FreeRanges(arena_, id);
      if (std::all_of(tile.begin(), tile.end(),
                      [&](Id range) { return Has(free, range); })) {
        return id;
      }
    }
    return kNoNode;
  }

  // The reduction that runs over `range`.
  Id SumOver(Id range) {
    for (Id id : Below(body_)) {
      if (arena_[id].op == Op::kReduce && Has(InnerRanges(arena_, id), range)) {
        return id;
      }
    }
    return kNoNode;
  }

  // Calls `visit` with the ranges of each comparison in a gate of the factors
  // that `range` is part of.
  template <typename Visit>
  void ForEachGate(Id sum, Id range, Visit visit) {
    for (Id load : LoadsBelow(arena_[sum].srcs[0])) {
      if (arena_[load].srcs.size() < 3) continue;
      for (Id id : Below(arena_[load].srcs[2])) {
        if (arena_[id].op != Op::kCmpLt) continue;
        const std::vector<Id> free = FreeRanges(arena_, id);
        if (Has(free, range)) visit(free);
      }
    }
  }

  bool IsGated(Id sum, Id range) {
    bool gated = false;
    ForEachGate(sum, range, [&](const std::vector<Id>&) { gated = true; });
    return gated;
  }

  // True if some gate depends on `range` and on a range of this kind.
  bool IsGatedBy(Id sum, Id range, RangeKind kind) {
    bool gated = false;
    ForEachGate(sum, range, [&](const std::vector<Id>& free) {
      for (Id with : free) gated |= KindOf(arena_, with) == kind;
    });
    return gated;
  }

  // How far apart the data of neighbouring steps of `range` are, in elements.
  double StepOfData(Id sum, Id range, Id weights) {
    double most = 0;
    for (Id load : LoadsBelow(arena_[sum].srcs[0])) {
      const Id step = Step(arena_[load].srcs[1], range);
      if (load == weights) continue;
      if (step == kNoNode) return 1e18;
      most = std::max(most, std::abs(schedule::EstimateSize(arena_, step)));
    }
    return most;
  }

  // Puts the ranges of the reduction into the order that runs through the
  // data as it lies in memory. Windows come before the rest: their padding is
  // skipped outside the innermost loop, unless it is other padding for each
  // lane. Where it depends on the copy or the lane, the taps are written out.
  std::vector<Id> ArrangeSteps(const std::vector<Id>& inner, Id weights) {
    const Id sum = SumOver(inner[0]);
    std::vector<std::tuple<bool, double, Id>> keyed;
    for (Id range : inner) {
      const bool skips =
          IsGated(sum, range) && !IsGatedBy(sum, range, RangeKind::kVector);
      keyed.emplace_back(!skips, -StepOfData(sum, range, weights), range);
    }
    std::stable_sort(keyed.begin(), keyed.end(),
                     [](const auto& a, const auto& b) {
                       return std::tie(std::get<0>(a), std::get<1>(a)) <
                              std::tie(std::get<0>(b), std::get<1>(b));
                     });
    std::vector<Id> order;
    for (const auto& [skips, step, range] : keyed) order.push_back(range);
    body_ = ReorderReduction(arena_, body_, sum, order);
    for (Id& range : order) {
      const int64_t extent = StaticExtent(range);
      if (extent == 0 || extent > kMostTaps ||
          (!IsGatedBy(SumOver(range), range, RangeKind::kUnroll) &&
           !IsGatedBy(SumOver(range), range, RangeKind::kVector))) {
        continue;
      }
      const Split split = Relabel(arena_, body_, range, RangeKind::kUnroll);
      body_ = split.body;
      range = split.inner;
    }
    return order;
  }

  // Lets the reduction run over what lies inside the padding only.
  std::vector<Id> SkipPadding(std::vector<Id> inner) {
    for (Id& range : inner) {
      const Split clipped = ClipReduction(arena_, body_, SumOver(range), range);
      if (clipped.body == kNoNode) continue;
      body_ = clipped.body;
      range = clipped.inner;
    }
    return inner;
  }

  // Unrolls the last reduced ranges while they are short.
  void UnrollTaps(const std::vector<Id>& inner, int copies) {
    int64_t budget =
        std::max<int64_t>(1, (kCopiesOfStep / std::max(copies, 1)) >> shrink_);
    // Steps that follow each other without a loop between them would share what
    // they read, and keep it in registers that the sums need.
    const bool loop = std::any_of(inner.begin(), inner.end(), [&](Id range) {
      return KindOf(arena_, range) == RangeKind::kUnroll;
    });
    for (size_t i = inner.size(); i-- > 0;) {
      if (KindOf(arena_, inner[i]) != RangeKind::kSerial) break;
      const int64_t extent = StaticExtent(inner[i]);
      if (!loop && extent > 0 && extent <= budget && extent <= kMostTaps) {
        body_ = Relabel(arena_, body_, inner[i], RangeKind::kUnroll).body;
        budget /= extent;
        continue;
      }
      // A small tile waits for memory: its loads must stay in ascending order,
      // which the code generator keeps only from one round of a loop to the
      // next.
      if (copies < kCopiesOfBusyStep) break;
      for (int64_t factor : {4, 2}) {
        if (extent % factor == 0 && extent > factor && factor <= budget) {
          body_ = SplitRange(arena_, body_, inner[i], factor,
                             RangeKind::kUnroll, Tail::kMask)
                      .body;
          break;
        }
      }
      break;
    }
  }

  bool InnerProduct(const Contraction& contraction, std::string& description) {
    const std::vector<Id>& inner = contraction.reduced();
    const Id n = contraction.outputs().back();
    const Id m = contraction.RowsFor(n);
    int rows = m == kNoNode ? 1 : std::min<int>(4, std::ceil(Extent(m)));
    int columns = std::min<int>(m == kNoNode ? 8 : 4, std::ceil(Extent(n)));
    if (target_.vector_registers < 32) columns = std::min(columns, 2);
    for (int i = 0; i < shrink_; ++i) {
      if (rows > 1) {
        rows /= 2;
      } else if (columns > 1) {
        columns /= 2;
      }
    }
    body_ = SplitRange(arena_, body_, inner.back(), lanes_, RangeKind::kVector,
                       Tail::kMask)
                .body;
    Split split = SplitRange(arena_, body_, n, columns, RangeKind::kUnroll,
                             Tail::kRepeat);
    body_ = split.body;
    if (m != kNoNode) {
      body_ =
          SplitRange(arena_, body_, m, rows, RangeKind::kUnroll, Tail::kRepeat)
              .body;
    }
    SerialFirst();
    description = absl::StrCat("inner product, tile ", rows, "x", columns);
    return true;
  }

  // Moves the serial ranges of the stores before the others and makes them
  // chunks.
  void SerialFirst() {
    std::vector<Id> order;
    std::vector<Id> rest;
    for (Id range : StoreRanges(arena_, body_)) {
      (KindOf(arena_, range) == RangeKind::kSerial ? order : rest)
          .push_back(range);
    }
    const size_t outer = order.size();
    order.insert(order.end(), rest.begin(), rest.end());
    body_ = Reorder(arena_, body_, order);
    MakeGrid(outer);
  }

  void MakeGrid(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const Id range = StoreRanges(arena_, body_)[i];
      body_ = Relabel(arena_, body_, range, RangeKind::kGrid).body;
    }
  }

  // Lanes for `width` points: all of them, or the next power of two.
  int LanesFor(int64_t extent) const {
    int lanes = lanes_;
    if (extent > 0) {
      while (lanes > 2 && lanes / 2 >= extent) lanes /= 2;
    }
    return lanes;
  }

  std::string TileLoops() {
    std::string description = "loops";
    // What stands unrolled already, for its constants, gets no lanes.
    std::vector<Id> store = StoreRanges(arena_, body_);
    while (!store.empty() &&
           KindOf(arena_, store.back()) != RangeKind::kSerial) {
      store.pop_back();
    }
    Id vector = kNoNode;
    if (!store.empty() && StepIs(StoreIndex(), store.back(), 1) &&
        StaticExtent(store.back()) != 2) {
      vector = store.back();
    }
    VectorizeInner(vector);
    if (vector != kNoNode) {
      const int lanes = LanesFor(StaticExtent(vector));
      if (Take(SplitRange(arena_, body_, vector, lanes, RangeKind::kVector,
                          Tail::kMask)
                   .body)) {
        absl::StrAppend(&description, ", ", lanes, " lanes");
      }
    }
    ChunkOuter();
    return description;
  }

  // Gives lanes to reductions and tiles that do not depend on `vector`.
  void VectorizeInner(Id vector) {
    // Each step rebuilds the body, so the search starts again after it.
    for (bool changed = true; changed;) {
      changed = false;
      for (Id id : Below(body_)) {
        const Op op = arena_[id].op;
        if (op != Op::kReduce && op != Op::kStage) continue;
        const std::vector<Id> ranges = InnerRanges(arena_, id);
        bool fresh = !ranges.empty();
        for (Id range : ranges) {
          fresh &= KindOf(arena_, range) == RangeKind::kSerial;
        }
        if (!fresh) continue;
        const std::vector<Id> free = FreeRanges(arena_, id);
        if (vector != kNoNode && Has(free, vector)) {
          changed = UnrollWindow(ranges);
        } else if (HasVectorBelow(id)) {
          continue;
        } else {
          changed = VectorizeLast(id, ranges);
        }
        if (changed) break;
      }
    }
  }

  // True if a value below `id` already runs in lanes of a range that `id`
  // would have to share.
  bool HasVectorBelow(Id id) {
    for (Id range : FreeRanges(arena_, arena_[id].srcs[0])) {
      if (KindOf(arena_, range) == RangeKind::kVector) return true;
    }
    return false;
  }

  // Unrolls small windows, as in pooling.
  bool UnrollWindow(const std::vector<Id>& ranges) {
    int64_t points = 1;
    for (Id range : ranges) {
      const int64_t extent = StaticExtent(range);
      if (extent == 0 || extent > 9) return false;
      points *= extent;
    }
    if (points > 9) return false;
    const Id last = ranges.back();
    return Take(Relabel(arena_, body_, last, RangeKind::kUnroll).body);
  }

  bool VectorizeLast(Id id, const std::vector<Id>& ranges) {
    const Id last = ranges.back();
    bool contiguous = false;
    for (Id load : LoadsBelow(arena_[id].srcs[0])) {
      contiguous |= StepIs(arena_[load].srcs[1], last, 1);
    }
    const int64_t extent = StaticExtent(last);
    if (!contiguous || (extent > 0 && extent < 4)) return false;
    const int lanes = LanesFor(extent);
    const bool reduce = arena_[id].op == Op::kReduce;
    Split split =
        SplitRange(arena_, body_, last, lanes, RangeKind::kVector, Tail::kMask);
    if (!Take(split.body)) return false;
    // Several independent sums hide the latency of an addition.
    if (reduce && split.outer != kNoNode) {
      const int64_t blocks = StaticExtent(split.outer);
      for (int64_t factor : {4, 2}) {
        if (blocks > factor && blocks % factor == 0) {
          // Taken or not, the lanes are there.
          static_cast<void>(Take(SplitRange(arena_, body_, split.outer, factor,
                                            RangeKind::kUnroll, Tail::kMask)
                                     .body));
          break;
        }
      }
    }
    return true;
  }

  // Makes chunks of the outer ranges. A value that is computed at the outer
  // ranges only must not be computed again by each chunk, so a range is a
  // chunk range only if every reduction and tile depends on it.
  void ChunkOuter() {
    std::vector<Id> store = StoreRanges(arena_, body_);
    std::vector<std::vector<Id>> closers;
    for (Id id : Below(body_)) {
      if (arena_[id].op != Op::kReduce && arena_[id].op != Op::kStage) continue;
      // What stands inside another closed range goes with that one.
      std::vector<Id> free = FreeRanges(arena_, id);
      bool nested = false;
      for (Id range : free) nested |= !Has(store, range);
      if (!nested) closers.push_back(std::move(free));
    }
    size_t count = 0;
    double chunks = 1;
    for (; count < store.size() && chunks < 256; ++count) {
      if (KindOf(arena_, store[count]) != RangeKind::kSerial) break;
      bool all = true;
      for (const std::vector<Id>& free : closers)
        all &= Has(free, store[count]);
      if (!all) break;
      chunks *= std::max(Extent(store[count]), 1.0);
    }
    if (count == 0) return;
    body_ = AskForNextRow(arena_, body_, store[count - 1], target_);
    const double work = Work() / std::max(chunks, 1.0);
    if (work < kChunkWork) {
      const Id last = store[count - 1];
      const int64_t block = std::max<int64_t>(
          2, static_cast<int64_t>(kChunkWork / std::max(work, 1.0)));
      const int64_t extent = StaticExtent(last);
      if (extent > 0 && block >= extent) {
        --count;  // A loop inside the chunk.
      } else {
        body_ = SplitRange(arena_, body_, last, block, RangeKind::kSerial,
                           Tail::kShort)
                    .body;
      }
    }
    MakeGrid(count);
  }

  // A rough count of the operations of the whole kernel.
  double Work() {
    double work = 0;
    for (Id id : Below(body_)) {
      const Node& node = arena_[id];
      if (!ir::IsElementwise(node.op) && node.op != Op::kLoad &&
          node.op != Op::kReduce && node.op != Op::kStore) {
        continue;
      }
      if (node.dtype == ir::DType::kWeakInt) continue;
      double points = 1;
      const Id value = node.op == Op::kReduce ? node.srcs[0] : id;
      for (Id range : FreeRanges(arena_, value)) points *= Extent(range);
      work += points;
    }
    return work;
  }

  Arena& arena_;
  Id body_;
  const base::Target& target_;
  int shrink_;
  const std::vector<bool>& at_load_;  // By parameter; empty: nothing is packed.
  std::vector<Id> bodies_;
  std::vector<Pack> packs_;
  double share_of_peak_ = 0;
  const absl::string_view wanted_;
  std::vector<std::string> choices_;  // The best by estimate first.
  std::string choice_;                // One of them.
  int lanes_ = 1;
};

}  // namespace

TileResult TileForCpu(Arena& arena, Id body, const base::Target& target,
                      int shrink, const std::vector<bool>& at_load,
                      absl::string_view wanted) {
  return Tiler(arena, body, target, shrink, at_load, wanted).Run();
}

}  // namespace quern::kernel
