// SPDX-License-Identifier: Apache-2.0
//
// Makes a failing case smaller.
#pragma once

#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace quern::fuzz {

// The smallest text found by leaving out outputs and nodes, one after the
// other, for which `fails` still holds. `fails` is asked `max_tries` times at
// most. Texts that are no case are not asked about.
[[nodiscard]] std::string Shrink(
    absl::string_view text,
    const std::function<bool(const std::string& text)>& fails,
    int max_tries = 300);

}  // namespace quern::fuzz
