// SPDX-License-Identifier: Apache-2.0
//
// Writes JSON as Triton does: names of fields as in the messages, 64-bit
// integers as numbers, and NaN, Infinity and -Infinity for floats that JSON has
// no words for, which its clients read.
//
// Pure functions; any thread may call them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace quern::server {

// The text in quotes. Bytes that are no UTF-8 become U+FFFD.
void AppendJsonString(absl::string_view text, std::string& out);

// The shortest text that reads back as the same number.
void AppendJsonNumber(double value, std::string& out);
void AppendJsonNumber(float value, std::string& out);
void AppendJsonNumber(int64_t value, std::string& out);
void AppendJsonNumber(uint64_t value, std::string& out);

// A message as an object: all fields in order, also those with their default
// values; of messages within it and of alternatives only those that are set.
void AppendJsonMessage(const google::protobuf::Message& message,
                       std::string& out);

}  // namespace quern::server
