// SPDX-License-Identifier: Apache-2.0
//
// The operators that can be imported: for each domain, name and range of
// operator set versions, the function that builds it. The rows stand in tables
// by topic, one source file each.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

#include "server/import/onnx/node_call.h"

namespace quern::onnx_import {

// Builds the node and sets its results, or records an error.
using BuildFunction = void (*)(NodeCall& call);

struct OpRow {
  const char* name;
  int64_t since;  // Operator set versions, both included.
  int64_t until;
  BuildFunction build;
};

inline constexpr int64_t kLatestOpset = 28;

// Every table is sorted by topic, of the standard domain.
[[nodiscard]] absl::Span<const OpRow> ElementwiseOps();
[[nodiscard]] absl::Span<const OpRow> ActivationOps();
[[nodiscard]] absl::Span<const OpRow> ShapeOps();
[[nodiscard]] absl::Span<const OpRow> IndexingOps();
[[nodiscard]] absl::Span<const OpRow> GeneratorOps();
[[nodiscard]] absl::Span<const OpRow> ReductionOps();
[[nodiscard]] absl::Span<const OpRow> NormalizationOps();
[[nodiscard]] absl::Span<const OpRow> ContractionOps();
[[nodiscard]] absl::Span<const OpRow> PoolingOps();
[[nodiscard]] absl::Span<const OpRow> ResizeOps();
[[nodiscard]] absl::Span<const OpRow> LossOps();
[[nodiscard]] absl::Span<const OpRow> AttentionOps();
[[nodiscard]] absl::Span<const OpRow> QuantizationOps();

// The function for an operator in version `opset` of `domain`; null if there
// is none.
[[nodiscard]] BuildFunction FindOp(absl::string_view domain,
                                   absl::string_view name, int64_t opset);

}  // namespace quern::onnx_import
