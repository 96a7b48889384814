// SPDX-License-Identifier: Apache-2.0
#include "engine/base/quoted.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace quern::base {

std::string Quoted(absl::string_view text) {
  constexpr size_t kMostBytes = 128;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kMostBytes)),
                      text.size() > kMostBytes ? "..." : "", "'");
}

}  // namespace quern::base
