// SPDX-License-Identifier: Apache-2.0
//
// What peers-runner does again and again, and is timed at.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <nlohmann/json.hpp>

namespace quern::bench {

// For one thread, like all that is made of it.
class Work {
 public:
  virtual ~Work() = default;

  // What the first line says.
  [[nodiscard]] virtual nlohmann::json Introduction() const = 0;

  // Does it once.
  [[nodiscard]] virtual absl::Status Run() = 0;

  // Between the runs that warm up and those that count.
  virtual void BeginToCount() {}

  // What an answer says about the runs that count, beside their times.
  [[nodiscard]] virtual nlohmann::json Details() const {
    return nlohmann::json::object();
  }

  // Writes the results of the last run into a folder; their dimensions.
  [[nodiscard]] virtual absl::StatusOr<nlohmann::json> Save(
      const std::string& folder) const = 0;
};

}  // namespace quern::bench
