// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/names.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace quern::onnx_import {
namespace {

constexpr size_t kMaxShown = 100;

}  // namespace

std::string Shown(absl::string_view name) {
  return absl::StrCat(absl::CEscape(name.substr(0, kMaxShown)),
                      name.size() > kMaxShown ? "..." : "");
}

std::string Quoted(absl::string_view name) {
  return absl::StrCat("'", Shown(name), "'");
}

}  // namespace quern::onnx_import
