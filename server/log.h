// SPDX-License-Identifier: Apache-2.0
//
// The daemon's log: lines on the standard error, as text for people or as JSON
// objects for machines. What requests can cause is limited in rate, so that a
// client cannot fill a disk; how many lines were left out is logged.
//
// Any thread may call these.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "proto/inference/grpc_service.pb.h"
#include "server/loaded_model.h"

namespace quern::server {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// `format` is "text" or "json", `level` debug, info, warning or error.
void StartLog(const std::string& format, const std::string& level);

[[nodiscard]] LogLevel CurrentLogLevel();
void SetLogLevel(LogLevel level);

// One line for a request with its id: at level debug if it succeeded, else at
// level info.
void LogRequest(const std::string& model, const std::string& id,
                const absl::Status& status, const RequestTimes& times);

// The level that Triton's log settings mean, starting from `current`;
// kInvalidArgument, naming the setting, for what cannot be changed. No setting
// names a file: nothing on the wire does.
[[nodiscard]] absl::StatusOr<LogLevel> ChangedLevel(
    const inference::LogSettingsRequest& request, LogLevel current);
void Describe(LogLevel level, inference::LogSettingsResponse& response);

}  // namespace quern::server
