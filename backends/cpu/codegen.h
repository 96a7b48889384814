// SPDX-License-Identifier: Apache-2.0
//
// The CPU's half that makes code: L-IR -> LLVM IR text -> ELF object. Knows no
// machine but the Target it is given, so it runs anywhere.
//
// The text is one function
//   void @name(ptr %buffers, ptr %vars, ptr %scratch, i64 %begin, i64 %end)
// whose body runs for each chunk in [begin, end).
//
// A blob is the line "quern cpu <isa>" followed by the object, so that a
// loader can refuse code for instructions that its CPU lacks.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/runtime/backend.h"

namespace quern::cpu {

// The text of `program` for `target`; kInternal if the program breaks a rule
// of the linear level or has an operation that no CPU has by itself (exp2,
// arithmetic on 16-bit floats): the engine decomposes those before.
[[nodiscard]] absl::StatusOr<std::string> RenderLlvm(
    const kernel::Program& program, const base::Target& target);

// The parts of a blob; they point into it.
struct BlobParts {
  absl::string_view isa;
  absl::string_view object;
};

[[nodiscard]] std::string MakeBlob(absl::string_view isa,
                                   absl::string_view object);

// kDataLoss if `blob` is not one that MakeBlob made.
[[nodiscard]] absl::StatusOr<BlobParts> SplitBlob(absl::string_view blob);

[[nodiscard]] std::unique_ptr<runtime::Codegen> MakeCpuCodegen();

}  // namespace quern::cpu
