// SPDX-License-Identifier: Apache-2.0
#include "tests/support/http2_frames.h"

namespace quern::support {
namespace {

// A text with its length before it (RFC 7541, 5.2).
std::string Text(const std::string& bytes) {
  constexpr size_t kMost = 127;
  if (bytes.size() < kMost) return static_cast<char>(bytes.size()) + bytes;
  std::string size(1, static_cast<char>(kMost));
  size_t rest = bytes.size() - kMost;
  for (; rest >= 128; rest >>= 7) {
    size.push_back(static_cast<char>(rest % 128 + 128));
  }
  size.push_back(static_cast<char>(rest));
  return size + bytes;
}

}  // namespace

std::string Word(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(value >> shift));
  }
  return bytes;
}

std::string Frame(FrameType type, int flags, uint32_t stream,
                  const std::string& payload) {
  const std::string kind = {static_cast<char>(type), static_cast<char>(flags)};
  return Word(static_cast<uint32_t>(payload.size())).substr(1) + kind +
         Word(stream) + payload;
}

std::string Field(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + Text(name) + Text(value);
}

std::string Hello() { return kPreface + Frame(FrameType::kSettings, 0, 0, ""); }

}  // namespace quern::support
