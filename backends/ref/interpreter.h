// SPDX-License-Identifier: Apache-2.0
//
// Runs a linear program (L-IR) instruction by instruction. A value is a column
// of held values (see engine/ir/eval.h), one for each lane.
//
// Immutable once made; any thread may run it, each with a Run of its own.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/eval.h"
#include "engine/kernel/linear.h"

namespace quern::ref {

class Interpreter {
 public:
  // `program` must pass kernel::Verify. kInvalidArgument if an operation in
  // it has no meaning for its dtypes.
  static absl::StatusOr<Interpreter> For(kernel::Program program);

  // What one run works on. `buffers` are host addresses by parameter.
  struct Launch {
    absl::Span<void* const> buffers;
    absl::Span<const int64_t> vars;
    int64_t begin = 0;  // Chunks [begin, end).
    int64_t end = 1;
    int64_t scratch_bytes = 0;
  };

  // kInvalidArgument if the arguments are not those of the program; kInternal,
  // naming the instruction, if it reads or writes outside a table or the
  // scratch memory. The sizes of buffers are not known here.
  [[nodiscard]] absl::Status Run(const Launch& launch) const;

 private:
  // An instruction with all that can be known before it runs.
  struct Step {
    kernel::Instruction code;
    int64_t at = 0;         // Of its column in the file of values.
    int64_t src[4] = {};    // Columns of its operands.
    int32_t other_end = 0;  // Of a block: the position of its other end.
    ir::Evaluator evaluator;
  };
  class Machine;

  absl::Status Prepare();

  kernel::Program program_;
  std::vector<Step> steps_;
  int64_t file_size_ = 0;
};

}  // namespace quern::ref
