// SPDX-License-Identifier: Apache-2.0
//
// SHA-256, by which submitted content is known.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace quern::server {

inline constexpr size_t kDigestBytes = 32;

// The digest of bytes that arrive in parts. For one thread.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void Add(absl::string_view bytes);
  // The digest of all that was added, 32 bytes. To be called once.
  [[nodiscard]] std::string Finish();

 private:
  void* context_;  // OpenSSL's.
};

}  // namespace quern::server
