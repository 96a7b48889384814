// SPDX-License-Identifier: Apache-2.0
//
// What a client or an operator may ask of a compile. Everything here that
// changes generated code is part of the keys of what is generated.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace quern::base {

enum class Numerics : uint8_t {
  kStrict,   // No contraction of a*b+c.
  kDefault,  // Contraction; reductions in a fixed order of the engine's choice.
};

// Measured choices: what a kernel is to be, in the words of the pass that
// chooses, by what tells kernels apart.
using Choices = std::map<std::string, std::string>;

struct CompileOptions {
  std::string device = "cpu";  // Where what names no device runs.
  Numerics numerics = Numerics::kDefault;
  // Sizes for free dimensions, by name; those not named stay free.
  std::vector<std::pair<std::string, int64_t>> sizes;
  // Of kernels on `device`; null: those that the engine keeps.
  std::shared_ptr<const Choices> choices = nullptr;
  // Runs the verifier of the level after every pass.
  bool verify = true;
  // Keeps the text of the graph after each pass, for explain.
  bool keep_stages = true;
  // The whole compile must end in this time; 0 is no limit.
  int64_t timeout_ms = 120'000;
};

}  // namespace quern::base
