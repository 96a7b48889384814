// SPDX-License-Identifier: Apache-2.0
#include "server/utf8.h"

#include <cstddef>

namespace quern::server {

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t k) {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0;
    };
    const int lead = at(0);
    const int length = lead < 0x80                    ? 1
                       : lead >= 0xc2 && lead <= 0xdf ? 2
                       : lead >= 0xe0 && lead <= 0xef ? 3
                       : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                      : 0;
    if (length == 0) return false;
    for (int k = 1; k < length; ++k) {
      if ((at(k) & 0xc0) != 0x80) return false;
    }
    if ((lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f) ||
        (lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace quern::server
