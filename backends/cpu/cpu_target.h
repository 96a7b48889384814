// SPDX-License-Identifier: Apache-2.0
//
// What this machine's CPU can do, as a Target. Read from its feature bits and
// never from its name, which virtual machines mask and LLVM guesses from.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/base/target.h"

namespace quern::cpu {

// How much of the instruction set to use.
enum class IsaLevel { kAuto, kSse4, kAvx2, kAvx512, kNeon };

// "auto", "sse4", "avx2", "avx512" or "neon".
[[nodiscard]] absl::StatusOr<IsaLevel> ParseIsaLevel(absl::string_view text);

// The target of `level` as if the CPU had all its features: the one that
// tests and offline compiles use. kAuto counts as kSse4.
[[nodiscard]] base::Target TargetOfLevel(IsaLevel level);

// The target of this machine at `level`; kUnavailable if its CPU lacks it.
[[nodiscard]] absl::StatusOr<base::Target> DetectTarget(IsaLevel level);

// Which CPU this is: vendor, family and model as its maker numbers them; empty
// if the system does not tell.
[[nodiscard]] std::string HostModel();

// OK if this CPU has every feature of `isa` (see ParseIsa);
// kFailedPrecondition, naming what it lacks first, if not.
[[nodiscard]] absl::Status CheckHostHas(absl::string_view isa);

}  // namespace quern::cpu
