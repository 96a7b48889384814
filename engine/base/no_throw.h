// SPDX-License-Identifier: Apache-2.0
//
// The barrier between code that may throw, our own when memory runs out and
// libraries when they please, and what must go on.
#pragma once

#include <exception>
#include <new>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quern::base {

// What `work` returns, a Status or a StatusOr, or kResourceExhausted if it
// threw std::bad_alloc, or kInternal for any other exception.
template <typename Work>
[[nodiscard]] std::invoke_result_t<Work> NoThrow(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "there is not memory enough for this; try less at a time");
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat("internal: an exception came out: ", error.what()));
  }
}

}  // namespace quern::base
