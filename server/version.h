// SPDX-License-Identifier: Apache-2.0
//
// What the server calls itself.
#pragma once

namespace quern::server {

inline constexpr char kServerName[] = "quern";
inline constexpr char kVersion[] = QUERN_VERSION;

}  // namespace quern::server
