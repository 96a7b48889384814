// SPDX-License-Identifier: Apache-2.0
//
// LLVM, and nothing of it outside of jit.cc: text becomes an ELF object (in a
// compile worker), an object becomes code in this process (in the daemon).
//
// Every function may be called by any thread at the same time: each call has
// a context, a target machine and a memory manager of its own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "backends/cpu/isa.h"

// Marks a function that calls linked code: that has no type in front of it,
// where clang's function sanitizer would look for one.
#if defined(__clang__)
#define QUERN_CALLS_LINKED_CODE __attribute__((no_sanitize("function")))
#else
#define QUERN_CALLS_LINKED_CODE
#endif

namespace quern::cpu {

// "llvm 19.1.7".
[[nodiscard]] std::string AssemblerVersion();

// Which features of LLVM's target for this CPU it has and its kernel enables.
[[nodiscard]] const std::map<std::string, bool>& HostFeatures();

// Compiles LLVM IR for a generic CPU with the features of `isa`.
// kInvalidArgument, with LLVM's message, if the text is not valid IR.
// Cost: about 3 ms for a kernel of 200 operations.
[[nodiscard]] absl::StatusOr<std::string> CompileToObject(
    absl::string_view text, const Isa& isa);

// The machine code of an object, a line for each instruction; of x86_64 in
// Intel syntax.
[[nodiscard]] absl::StatusOr<std::string> DisassembleObject(
    absl::string_view object, const Isa& isa);

// Code of an object in executable memory; frees it.
class LinkedObject {
 public:
  virtual ~LinkedObject() = default;
  [[nodiscard]] virtual void* entry() const = 0;
};

// Links `object` into this process. It may refer to memcpy, memmove and
// memset and to nothing else outside; kInternal, naming the symbol, if it
// does or if it lacks the function `name`. Cost: about 0.05 ms.
[[nodiscard]] absl::StatusOr<std::unique_ptr<LinkedObject>> LinkObject(
    absl::string_view object, const std::string& name);

}  // namespace quern::cpu
