// SPDX-License-Identifier: Apache-2.0
//
// Names of a model in messages. They come from outside and may be anything.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace quern::onnx_import {

// 'name', escaped where it is no printable text, and cut after 100 bytes.
[[nodiscard]] std::string Quoted(absl::string_view name);

// The same without quotes.
[[nodiscard]] std::string Shown(absl::string_view name);

}  // namespace quern::onnx_import
