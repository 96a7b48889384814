// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/isa.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "engine/base/quoted.h"

namespace quern::cpu {

absl::StatusOr<Isa> ParseIsa(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(' ', 1));
  if (parts.first != kX86 && parts.first != kAarch64) {
    return absl::InternalError(
        absl::StrCat("a target's isa is ", base::Quoted(text),
                     ", expected it to begin with ", kX86, " or ", kAarch64));
  }
  for (const char c : parts.second) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                      c == '+' || c == ',' || c == '.' || c == '-';
    if (!good) {
      return absl::InternalError(
          "a target's isa has a character outside of [a-z0-9+,.-]");
    }
  }
  return Isa{std::string(parts.first), std::string(parts.second),
             absl::StrCat(parts.first, "-unknown-linux-gnu")};
}

}  // namespace quern::cpu
