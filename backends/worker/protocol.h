// SPDX-License-Identifier: Apache-2.0
//
// What the daemon and a compile worker say to each other: frames of a length
// (4 bytes, little endian) and so many bytes; one request, one reply.
//
// Neither side trusts the other's lengths. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/base/target.h"
#include "engine/runtime/backend.h"

namespace quern::worker {

inline constexpr uint32_t kMaxFrameBytes = 256 << 20;
inline constexpr int kFrameHeaderBytes = 4;

// One job.
struct Request {
  std::string backend;
  base::Target target;
  runtime::KernelSource source;
};

// A request or reply as a frame, its length in front; kResourceExhausted if
// it is longer than kMaxFrameBytes.
[[nodiscard]] absl::StatusOr<std::string> EncodeRequest(const Request& request);
[[nodiscard]] absl::StatusOr<std::string> EncodeReply(
    const absl::StatusOr<std::string>& blob);

// The length that the first kFrameHeaderBytes of a frame announce; kDataLoss
// if it is more than kMaxFrameBytes.
[[nodiscard]] absl::StatusOr<uint32_t> FrameLength(absl::string_view header);

// What a frame, without its length, says; kDataLoss if it is malformed.
[[nodiscard]] absl::StatusOr<Request> DecodeRequest(absl::string_view body);
struct Reply {
  absl::StatusOr<std::string> blob;
};
[[nodiscard]] absl::StatusOr<Reply> DecodeReply(absl::string_view body);

}  // namespace quern::worker
