// SPDX-License-Identifier: Apache-2.0
//
// Frames of HTTP/2 (RFC 9113) by the byte, for peers that send them as they
// please.
#pragma once

#include <cstdint>
#include <string>

namespace quern::support {

inline constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum class FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};
inline constexpr int kEndStream = 1;
inline constexpr int kEndHeaders = 4;

// Four bytes, the greatest first.
[[nodiscard]] std::string Word(uint32_t value);

[[nodiscard]] std::string Frame(FrameType type, int flags, uint32_t stream,
                                const std::string& payload);

// A header as HPACK writes it without its tables (RFC 7541, 6.2.2).
[[nodiscard]] std::string Field(const std::string& name,
                                const std::string& value);

// What a client says first.
[[nodiscard]] std::string Hello();

}  // namespace quern::support
