// SPDX-License-Identifier: Apache-2.0
//
// The classifier: what a sum of products looks like to a tile. Matrix products
// of all kinds, convolutions and their transposes differ only in the ranges
// along which the result and each factor move, and in how far they move.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"

#include "engine/ir/node.h"

namespace quern::kernel {

// Where the next point of a range lies, in elements.
enum class Stride : uint8_t {
  kZero,  // The same element: the range does not choose.
  kOne,
  kTwo,
  kFar,  // Further away, or not affine.
};

class Contraction {
 public:
  // The sum of products in `body` that depends on every range of the stores;
  // nullopt if there is none, or if ranges have kinds already.
  [[nodiscard]] static std::optional<Contraction> Find(ir::Arena& arena,
                                                       ir::Id body);

  [[nodiscard]] ir::Id sum() const { return sum_; }
  // The ranges of the stores and of the reduction, from the outside in.
  [[nodiscard]] const std::vector<ir::Id>& outputs() const { return outputs_; }
  [[nodiscard]] const std::vector<ir::Id>& reduced() const { return reduced_; }
  // The loads whose product is added.
  [[nodiscard]] const std::vector<ir::Id>& factors() const { return factors_; }

  [[nodiscard]] bool Depends(ir::Id factor, ir::Id range) const;
  [[nodiscard]] Stride StrideOfResult(ir::Id range) const;
  [[nodiscard]] Stride StrideOfFactor(ir::Id factor, ir::Id range) const;
  // In elements, without sign; nullopt if it is not a constant.
  [[nodiscard]] std::optional<int64_t> StepOfFactor(ir::Id factor,
                                                    ir::Id range) const;

  // Points of a range, estimated where they are free.
  [[nodiscard]] double Extent(ir::Id range) const;
  // Elements that a factor reads over all ranges, each once for each time that
  // it is read.
  [[nodiscard]] double Reads(ir::Id factor) const;
  // True if neighbouring points read the same elements, as windows do.
  [[nodiscard]] bool Overlaps(ir::Id factor) const;
  // Bytes of what a factor reads, as far as they are known to overlap.
  [[nodiscard]] double Bytes(ir::Id factor) const;

  // The output range along which a factor that depends on `columns` is used
  // again. Of equally long ones the inner, along which other factors are
  // closer. kNoNode if there is none.
  [[nodiscard]] ir::Id RowsFor(ir::Id columns) const;

  // A product with a constant array: its values are worth more as immediates
  // than a tile is.
  [[nodiscard]] bool HasConstantFactor() const;

 private:
  explicit Contraction(ir::Arena& arena) : arena_(&arena) {}

  [[nodiscard]] Stride StrideOf(ir::Id index, ir::Id range) const;
  [[nodiscard]] double Span(ir::Id factor) const;

  ir::Arena* arena_;
  ir::Id sum_ = ir::kNoNode;
  ir::Id stored_ = ir::kNoNode;  // The index of the store.
  std::vector<ir::Id> outputs_;
  std::vector<ir::Id> reduced_;
  std::vector<ir::Id> factors_;
  absl::flat_hash_map<ir::Id, std::vector<ir::Id>> free_;  // By factor.
};

}  // namespace quern::kernel
