// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"

namespace quern::server {

// Whether the text is UTF-8 by the Unicode Standard, table 3-7: no overlong
// forms, no surrogates.
[[nodiscard]] bool IsUtf8(absl::string_view text);

}  // namespace quern::server
