// SPDX-License-Identifier: Apache-2.0
//
// What every fuzzer of outside input expects of the product beside not
// crashing. What is not so ends the process, so that libFuzzer keeps the input.
#pragma once

#include <string>

#include "absl/status/status.h"

#include "engine/graph/graph.h"

namespace quern::fuzz {

// Ends the process, naming `what` was expected, unless `condition` holds.
void Expect(bool condition, const std::string& what);

// Ends the process unless `status` is OK or an error that the sender can be
// blamed for, with a
// message that a terminal bears.
void ExpectNoFault(const absl::Status& status);

// Compiles an imported graph for a device without code, with the verifier
// after every pass; no pass may break the rules of its level.
void ExpectCompiles(const graph::Graph& graph);

}  // namespace quern::fuzz
