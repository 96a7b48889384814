// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {

BuildFunction FindOp(absl::string_view domain, absl::string_view name,
                     int64_t opset) {
  if (!domain.empty() && domain != "ai.onnx") return nullptr;
  for (absl::Span<const OpRow> table :
       {ElementwiseOps(), ActivationOps(), ShapeOps(), IndexingOps(),
        GeneratorOps(), ReductionOps(), NormalizationOps(), ContractionOps(),
        PoolingOps(), ResizeOps(), LossOps(), AttentionOps(),
        QuantizationOps()}) {
    for (const OpRow& row : table) {
      if (name == row.name && opset >= row.since && opset <= row.until) {
        return row.build;
      }
    }
  }
  return nullptr;
}

}  // namespace quern::onnx_import
