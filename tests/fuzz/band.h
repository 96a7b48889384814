// SPDX-License-Identifier: Apache-2.0
//
// What a correct device may answer: for each element of a graph's outputs an
// interval that holds every result that a chain of correctly rounded (or, for
// elementary functions, nearly correctly rounded) operations can give,
// whatever is fused, contracted or summed in another order.
//
// Uncertainty travels: a comparison of two intervals that overlap is "either",
// what is selected by it is the union of both, an uncertain float that is cast
// to an integer is a range of integers. Where NaN is possible, or a value is
// not known at all, anything goes; the fuzzer counts how often.
//
// This is a second interpreter beside the oracle, of the plainest kind, with
// index maps of its own: the two check each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/ir/dtype.h"
#include "tests/fuzz/generator.h"

namespace quern::fuzz {

// The values that an element may have. Of a float dtype: [low, high]. Of any
// other: [least, greatest].
struct Band {
  double low = 0;
  double high = 0;
  __int128 least = 0;
  __int128 greatest = 0;
  bool anything = false;
};

struct BandTensor {
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> dims;
  std::vector<Band> elements;
};

// The bands of the outputs of a case.
[[nodiscard]] absl::StatusOr<std::vector<BandTensor>> BandsOf(
    const Case& fuzz_case);

// Empty if `tensor` lies within its bands; else what is wrong with the first
// element that does not, and how many there are.
[[nodiscard]] std::string Outside(const BandTensor& bands,
                                  const ref::Tensor& tensor);

// The share of elements whose band is narrow enough to tell right from wrong.
[[nodiscard]] double Sharpness(const BandTensor& bands);

}  // namespace quern::fuzz
