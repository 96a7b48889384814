// SPDX-License-Identifier: Apache-2.0
//
// Mutates protobuf messages field by field, for fuzzers whose input is one: a
// change of bytes is mostly refused by the parser, a change of a field reaches
// what stands behind it.
//
// Deterministic in its seed; for the one thread of a fuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {

// Changes a few fields of `message`: values, the number and order of elements,
// and names, which are often taken from elsewhere in the message so that edges
// of graphs meet something. Strings and bytes may become anything.
void Mutate(google::protobuf::Message& message, uint64_t seed,
            MutateBytes mutate_bytes);

// A Surface::mutate for serialized messages of `message`'s type. Bytes that do
// not parse, and some that do, are changed as bytes. The content of `message`
// is lost.
[[nodiscard]] std::string MutatedMessage(google::protobuf::Message& message,
                                         absl::string_view bytes,
                                         size_t max_size, uint64_t seed,
                                         MutateBytes mutate_bytes);

template <typename Message>
[[nodiscard]] std::string MutatedAs(absl::string_view bytes, size_t max_size,
                                    uint64_t seed, MutateBytes mutate_bytes) {
  Message message;
  return MutatedMessage(message, bytes, max_size, seed, mutate_bytes);
}

}  // namespace quern::fuzz
