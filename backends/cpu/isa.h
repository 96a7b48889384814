// SPDX-License-Identifier: Apache-2.0
//
// What machine code is for, as base::Target::isa has it: an architecture and
// those of its features that may be used, as LLVM calls them:
// "x86_64 +avx,+avx2", "aarch64 +neon".
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quern::cpu {

inline constexpr char kX86[] = "x86_64";
inline constexpr char kAarch64[] = "aarch64";
#if defined(__aarch64__)
inline constexpr absl::string_view kHostArch = kAarch64;
#else
inline constexpr absl::string_view kHostArch = kX86;
#endif

struct Isa {
  std::string arch;
  std::string features;  // "+avx,+avx2"; may be empty.
  std::string triple;    // LLVM's name of the platform.
};

// kInternal if `text` is not an architecture for which code is made, a space
// and a list of features.
[[nodiscard]] absl::StatusOr<Isa> ParseIsa(absl::string_view text);

}  // namespace quern::cpu
