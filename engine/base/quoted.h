// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quern::base {

// A client's text for a message: in quotes, short and printable.
[[nodiscard]] std::string Quoted(absl::string_view text);

}  // namespace quern::base
