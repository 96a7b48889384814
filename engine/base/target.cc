// SPDX-License-Identifier: Apache-2.0
#include "engine/base/target.h"

#include "absl/strings/str_cat.h"

namespace quern::base {

std::string Target::ToString() const {
  return absl::StrCat(
      "backend=", backend, " isa=", isa, " interpreted=", interpreted,
      " vector_bytes=", vector_bytes, " vector_registers=", vector_registers,
      " masked=", masked_vectors, " fma=", fused_multiply_add,
      " f16=", f16_conversion, " l1=", l1_bytes, " l2=", l2_bytes,
      " l3=", l3_bytes, " arguments=", max_arguments,
      " table=", max_table_bytes, " scratch=", max_scratch_bytes,
      " operations=", max_operations, " live=", max_live_vectors,
      " flops=", peak_flops, " bandwidth=", read_bandwidth);
}

}  // namespace quern::base
