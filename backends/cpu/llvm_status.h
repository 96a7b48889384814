// SPDX-License-Identifier: Apache-2.0
//
// LLVM's errors as Status: the only translation.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "llvm/Support/Error.h"

namespace quern::cpu {

// kInternal with `what` and the text of `error`, which it consumes; OK if
// there is no error.
[[nodiscard]] inline absl::Status FromLlvm(absl::string_view what,
                                           llvm::Error error) {
  if (!error) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(what, ": ", llvm::toString(std::move(error))));
}

}  // namespace quern::cpu
