// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/tile_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/ir/symbolic.h"
#include "engine/kernel/pack.h"

namespace quern::kernel {
namespace {

using ir::Arena;
using ir::Id;
using ir::kNoNode;
using ir::Node;
using ir::Op;

constexpr int kMostRows = 14;
constexpr int kMostVectors = 4;
constexpr int kFewestColumns = 4;
// A copy made in each run has to be read this often: more where the first cache
// can do without it.
constexpr double kUsesOfCopy = 64;
constexpr double kUsesOfLuxury = 1000;
constexpr int64_t kPage = 4096;
constexpr int64_t kLine = 64;
// Rows may share sets so often before their lines are lost from one tile to the
// next: not all of them are needed at once.
constexpr double kSharedSets = 4;

// Two units for arithmetic, two for loads and one for stores, as CPUs with wide
// vectors have them; sums that wait for each other take the latency.
constexpr double kPerCycle = 2;
constexpr double kLatency = 4;
constexpr double kLoopOverhead = 0.25;
// A vector of every second element: two loads that cross lines and a shuffle,
// which hold up the arithmetic as well. Loads or stores of lanes that lie
// apart.
constexpr double kPairsCost = 2;
constexpr double kPairsDelay = 2.2;
constexpr double kLaneCost = 1.5;
// Cycles for a vector of columns that lie apart, copied by a launch of its own:
// from memory and to memory.
constexpr double kCopyByLaunch = 32;
// Rows that have to meet a copy which a chunk makes for itself.
constexpr double kUsesOfOwnCopy = 96;
// So many that many threads have the same to do.
constexpr double kFewestChunks = 32;

class Chooser {
 public:
  Chooser(const Arena& arena, Id body, const Contraction& contraction,
          const base::Target& target, int lanes,
          const std::vector<bool>& at_load)
      : arena_(arena),
        body_(body),
        contraction_(contraction),
        target_(target),
        lanes_(lanes),
        at_load_(at_load) {}

  std::vector<TileChoice> Run() {
    double points = 1;
    for (Id range : contraction_.outputs()) {
      TryColumns(range);
      points *= contraction_.Extent(range);
    }
    for (Id range : contraction_.reduced()) {
      points *= contraction_.Extent(range);
    }
    for (TileChoice& choice : choices_) {
      choice.share_of_peak = points / lanes_ / kPerCycle / choice.cycles;
    }
    std::stable_sort(choices_.begin(), choices_.end(),
                     [](const TileChoice& a, const TileChoice& b) {
                       return a.cycles < b.cycles;
                     });
    return std::move(choices_);
  }

 private:
  void TryColumns(Id columns) {
    const Id packable = FactorToPack(columns);
    TryColumns(columns, packable);
    if (packable != kNoNode) TryColumns(columns, kNoNode);
    const Id copied = FactorToCopy(columns);
    if (copied != kNoNode) TryColumns(columns, copied, /*by_chunks=*/true);
  }

  void TryColumns(Id columns, Id packed, bool by_chunks = false) {
    TileChoice choice;
    choice.columns = columns;
    choice.packed = packed;
    choice.rows = contraction_.RowsFor(columns);
    const bool contiguous =
        contraction_.StrideOfResult(columns) == Stride::kOne;
    if (choice.packed == kNoNode && !contiguous) return;
    if (choice.packed == kNoNode && choice.rows == kNoNode &&
        contraction_.Extent(columns) < 2 * lanes_) {
      return;
    }
    const int most_rows = RowsInCache(choice);
    for (int vectors = 1; vectors <= kMostVectors; ++vectors) {
      for (int rows = 1; rows <= std::min(most_rows, kMostRows); ++rows) {
        choice.num_rows = rows;
        choice.num_vectors = vectors;
        if (!Fits(choice)) continue;
        choice.rows_in_chunk =
            by_chunks || PaysByChunks(choice) ? RowsInChunk(choice) : 0;
        choice.cycles = Cycles(choice);
        choices_.push_back(choice);
      }
    }
  }

  // The factor that a packed copy answers better: every step of the reduction
  // reads something else, and there is a copy already when the model is loaded
  // or making one is worth it.
  Id FactorToPack(Id columns) {
    Id best = kNoNode;
    size_t most = 0;
    for (Id load : contraction_.factors()) {
      const Node& base = arena_[arena_[load].srcs[0]];
      if (base.op != Op::kParam || arena_[load].srcs.size() != 2 ||
          !contraction_.StepOfFactor(load, columns).value_or(0) ||
          !arena_.IsConst(arena_[columns].srcs[0]) ||
          contraction_.Extent(columns) < kFewestColumns) {
        continue;
      }
      const size_t param = base.attr->ints[0];
      if (param >= at_load_.size() || contraction_.Overlaps(load) ||
          OnlyLoadOf(arena_, body_, static_cast<int>(param)) == kNoNode ||
          (!at_load_[param] && !WorthCopying(load, columns))) {
        continue;
      }
      size_t steps = 0;
      for (Id range : contraction_.reduced()) {
        steps += contraction_.Depends(load, range) ? 1 : 0;
      }
      if (steps > most) {
        best = load;
        most = steps;
      }
    }
    return best;
  }

  // Data of which the lanes would take every second element at each use: chunks
  // that run through all rows put them side by side once. What windows have in
  // common is copied for each.
  Id FactorToCopy(Id columns) {
    const Id rows = contraction_.RowsFor(columns);
    if (rows == kNoNode || !Known(rows) || !Known(columns) ||
        contraction_.StrideOfResult(columns) != Stride::kOne) {
      return kNoNode;
    }
    for (Id load : contraction_.factors()) {
      const Node& base = arena_[arena_[load].srcs[0]];
      if (base.op != Op::kParam ||
          contraction_.StrideOfFactor(load, columns) != Stride::kTwo) {
        continue;
      }
      const size_t param = base.attr->ints[0];
      if (param >= at_load_.size() || at_load_[param] ||
          OnlyLoadOf(arena_, body_, static_cast<int>(param)) == kNoNode) {
        continue;
      }
      const std::vector<Id>& reduced = contraction_.reduced();
      if (ChoosesAllBut(rows, load) && PanelStays(load, kMostVectors) &&
          std::all_of(reduced.begin(), reduced.end(),
                      [&](Id range) { return Known(range); })) {
        return load;
      }
    }
    return kNoNode;
  }

  bool Known(Id range) const { return arena_.IsConst(arena_[range].srcs[0]); }

  // True if `load` depends on every range of the result but `rows`.
  bool ChoosesAllBut(Id rows, Id load) const {
    const std::vector<Id>& outputs = contraction_.outputs();
    return std::all_of(outputs.begin(), outputs.end(), [&](Id range) {
      return range == rows || contraction_.Depends(load, range);
    });
  }

  // True if the second cache holds a panel of so many vectors beside the rows
  // that meet it.
  bool PanelStays(Id load, int vectors) const {
    double bytes = static_cast<double>(ir::ByteSize(arena_[load].dtype)) *
                   lanes_ * vectors;
    for (Id range : contraction_.reduced()) {
      if (contraction_.Depends(load, range)) {
        bytes *= contraction_.Extent(range);
      }
    }
    return bytes <= static_cast<double>(target_.l2_bytes) / 4;
  }

  // True if chunks do better to copy panels of data whose columns lie side by
  // side than a launch before them: if enough rows meet each copy, and the
  // second cache holds what a panel is copied from.
  bool PaysByChunks(const TileChoice& choice) const {
    const Id load = choice.packed;
    if (load == kNoNode || IsAtLoad(load) || choice.rows == kNoNode ||
        !Known(choice.rows) || !ChoosesAllBut(choice.rows, load) ||
        !PanelStays(load, choice.num_vectors) ||
        contraction_.StrideOfFactor(load, choice.columns) != Stride::kOne) {
      return false;
    }
    for (Id range : contraction_.reduced()) {
      if (!contraction_.Depends(load, range)) continue;
      // Lines that are a large power of two apart share sets.
      const int64_t apart = std::max(
          std::gcd(BytesPerStep(load, range), target_.l2_bytes), kLine);
      if (contraction_.Extent(range) * static_cast<double>(apart) >
          static_cast<double>(target_.l2_bytes)) {
        return false;
      }
    }
    return RowsInChunk(choice) >= kUsesOfOwnCopy;
  }

  // Whole tiles of rows that the second cache holds, to meet panel after panel;
  // fewer if there would be too few chunks.
  int64_t RowsInChunk(const TileChoice& choice) const {
    double bytes =
        static_cast<double>(ir::ByteSize(arena_[choice.packed].dtype));
    for (Id range : contraction_.reduced()) {
      bytes *= contraction_.Extent(range);
    }
    double chunks = 1;  // With all rows in each.
    for (Id range : contraction_.outputs()) {
      if (range == choice.rows) continue;
      chunks *= range == choice.columns ? std::ceil(contraction_.Extent(range) /
                                                    lanes_ / choice.num_vectors)
                                        : contraction_.Extent(range);
    }
    const double tiles =
        std::ceil(contraction_.Extent(choice.rows) / choice.num_rows);
    const double blocks =
        std::ceil(std::max(tiles * choice.num_rows * bytes /
                               (static_cast<double>(target_.l2_bytes) / 2),
                           std::floor(kFewestChunks / chunks)));
    return static_cast<int64_t>(std::ceil(tiles / blocks)) * choice.num_rows;
  }

  // True if what `load` reads is used so often that copying it for each run
  // pays: its columns are no neighbours, or rows of it lie too far apart for
  // the caches.
  bool WorthCopying(Id load, Id columns) {
    if (contraction_.StrideOfResult(columns) != Stride::kOne) return false;
    double uses = 1;
    for (Id range : contraction_.outputs()) {
      if (!contraction_.Depends(load, range)) {
        uses *= contraction_.Extent(range);
      }
    }
    if (contraction_.StrideOfFactor(load, columns) != Stride::kOne) {
      return uses >= kUsesOfCopy;
    }
    return contraction_.Bytes(load) * 2 >
               static_cast<double>(target_.l2_bytes) &&
           uses >= (RowsStay(load) ? kUsesOfLuxury : kUsesOfCopy);
  }

  // True if the first cache holds a line of each step of the reduction.
  bool RowsStay(Id load) {
    double steps = 1;
    double lines = static_cast<double>(target_.l1_bytes) / kLine;
    for (Id range : contraction_.reduced()) {
      if (!contraction_.Depends(load, range)) continue;
      steps *= contraction_.Extent(range);
      lines = std::min<double>(
          lines, kSharedSets * RowsInSets(BytesPerStep(load, range)));
    }
    return steps <= lines;
  }

  // Bytes from one point of `range` to the next; 0 if that is not known.
  int64_t BytesPerStep(Id load, Id range) const {
    return contraction_.StepOfFactor(load, range).value_or(0) *
           ir::ByteSize(arena_[load].dtype);
  }

  // How many rows, so many bytes apart, have a line each in the first cache,
  // whose ways are indexed by the offset in a page: rows that are a large power
  // of two apart share sets.
  int64_t RowsInSets(int64_t bytes) const {
    const int64_t ways = std::max<int64_t>(target_.l1_bytes / kPage, 1);
    return ways * (kPage / std::gcd(bytes, kPage));
  }

  // The sums, a vector of each column and a broadcast stay in all registers but
  // one. Where no factor is broadcast, what neighbouring taps share stays in
  // registers as well.
  bool Fits(const TileChoice& choice) {
    const double columns = contraction_.Extent(choice.columns) / lanes_;
    const double rows =
        choice.rows == kNoNode ? 1 : contraction_.Extent(choice.rows);
    if (choice.num_vectors > 1 && choice.num_vectors - 1 >= columns) {
      return false;
    }
    const bool any_rows =
        choice.rows != kNoNode && !arena_.IsConst(arena_[choice.rows].srcs[0]);
    if (choice.num_rows > rows && !any_rows) return false;
    const std::vector<Id>& factors = contraction_.factors();
    const bool broadcasts = std::any_of(
        factors.begin(), factors.end(),
        [&](Id load) { return !contraction_.Depends(load, choice.columns); });
    const int used =
        choice.num_rows * choice.num_vectors + choice.num_vectors + 2;
    return used <= target_.vector_registers / (broadcasts ? 1 : 2);
  }

  // How many rows of what is broadcast the first cache holds at one step.
  int RowsInCache(const TileChoice& choice) {
    if (choice.rows == kNoNode) return 1;
    int64_t most = kMostRows;
    for (Id load : contraction_.factors()) {
      if (contraction_.Depends(load, choice.columns)) continue;
      const int64_t bytes = BytesPerStep(load, choice.rows);
      if (bytes > 0) most = std::min(most, RowsInSets(bytes));
    }
    return static_cast<int>(most);
  }

  double Cycles(const TileChoice& choice) {
    const int sums = choice.num_rows * choice.num_vectors;
    double loads = 0;
    double pairs = 0;
    for (Id load : contraction_.factors()) {
      const bool by_rows =
          choice.rows != kNoNode && contraction_.Depends(load, choice.rows);
      const bool by_columns = contraction_.Depends(load, choice.columns);
      const double vectors = (by_rows ? choice.num_rows : 1) *
                             (by_columns ? choice.num_vectors : 1);
      double each = 1;
      if (by_columns && load != choice.packed) {
        const Stride stride = contraction_.StrideOfFactor(load, choice.columns);
        each = CostOf(stride, kPairsCost);
        pairs += stride == Stride::kTwo ? vectors : 0;
      }
      loads += each * vectors;
    }
    const double step =
        std::max({sums / kPerCycle, loads / kPerCycle, kLatency}) +
        pairs * kPairsDelay + kLoopOverhead;
    const Stride result = contraction_.StrideOfResult(choice.columns);
    double steps = 1;
    // Cycles of all copies, as far as reading what lies apart would cost them
    // as well.
    double copies = 0;
    for (Id range : contraction_.reduced()) {
      steps *= contraction_.Extent(range);
    }
    double tiles = std::ceil(contraction_.Extent(choice.columns) / lanes_ /
                             choice.num_vectors);
    for (Id range : contraction_.outputs()) {
      if (range == choice.columns) continue;
      tiles *= range == choice.rows
                   ? std::ceil(contraction_.Extent(range) / choice.num_rows)
                   : contraction_.Extent(range);
    }
    const Stride packed =
        choice.packed == kNoNode || IsAtLoad(choice.packed)
            ? Stride::kOne
            : contraction_.StrideOfFactor(choice.packed, choice.columns);
    if (packed != Stride::kOne && choice.rows_in_chunk > 0) {
      const double tiles_a_panel =
          std::ceil(contraction_.Extent(choice.rows) / choice.num_rows);
      const double vector = kLatency + CostOf(packed, kPairsCost);
      copies = tiles / tiles_a_panel * steps * choice.num_vectors * vector;
    } else if (packed != Stride::kOne) {
      copies = contraction_.Reads(choice.packed) / lanes_ * kCopyByLaunch;
    }
    return tiles * (steps * step + sums * CostOf(result, lanes_ * kLaneCost)) +
           copies;
  }

  bool IsAtLoad(Id load) const {
    return at_load_[arena_[arena_[load].srcs[0]].attr->ints[0]];
  }

  // Of a vector along a range, for a load or a store.
  double CostOf(Stride stride, double pairs) const {
    switch (stride) {
      case Stride::kZero:
      case Stride::kOne:
        return 1;
      case Stride::kTwo:
        return pairs;
      case Stride::kFar:
        return lanes_ * kLaneCost;
    }
    return 1;
  }

  const Arena& arena_;
  const Id body_;
  const Contraction& contraction_;
  const base::Target& target_;
  const int lanes_;
  const std::vector<bool>& at_load_;
  std::vector<TileChoice> choices_;
};

}  // namespace

std::vector<TileChoice> RankTiles(const Arena& arena, Id body,
                                  const Contraction& contraction,
                                  const base::Target& target, int lanes,
                                  const std::vector<bool>& at_load) {
  return Chooser(arena, body, contraction, target, lanes, at_load).Run();
}

std::string Words(const Arena& arena, const Contraction& contraction,
                  const TileChoice& choice) {
  const std::vector<Id>& outputs = contraction.outputs();
  const auto number = [&](Id range) {
    return std::find(outputs.begin(), outputs.end(), range) - outputs.begin();
  };
  std::string words = absl::StrCat(choice.num_rows, "x", choice.num_vectors,
                                   ", lanes of range ", number(choice.columns));
  if (choice.rows != kNoNode) {
    absl::StrAppend(&words, ", rows of range ", number(choice.rows));
  }
  if (choice.packed != kNoNode) {
    absl::StrAppend(&words, ", packed ",
                    arena[arena[choice.packed].srcs[0]].attr->ints[0],
                    choice.rows_in_chunk > 0 ? " by chunks" : "");
  }
  return words;
}

}  // namespace quern::kernel
