// SPDX-License-Identifier: Apache-2.0
//
// Exit codes of quern-compile that tell the daemon why it ended.
#pragma once

namespace quern::worker {

inline constexpr int kExitOutOfMemory = 86;

}  // namespace quern::worker
