// SPDX-License-Identifier: Apache-2.0
//
// Reads JSON from a client in one pass and builds nothing: the caller asks for
// the value that it expects next, so a tensor of a million numbers goes
// straight to where it belongs. Strict as RFC 8259, with the limits that
// hostile text needs, and with the words NaN, Infinity and -Infinity, which
// clients of Triton write. Names are unique within their object: of two values
// each reader would take another.
//
// For one thread. The text outlives the reader. After an error the reader is
// spent.
#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quern::server {

class JsonReader {
 public:
  enum class Kind { kObject, kArray, kString, kNumber, kBool, kNull, kNone };

  // Objects and arrays within each other.
  static constexpr int kMaxDepth = 64;
  static constexpr size_t kMaxMembers = 4096;  // Of one object.

  explicit JsonReader(absl::string_view text) : text_(text) {}

  // What the next value is, by its first character; kNone if it is none.
  [[nodiscard]] Kind Peek();

  // Each reads the next value. kInvalidArgument, with the place in bytes, if it
  // is of another kind or malformed.

  // Calls `member` for each name; it must read one value.
  [[nodiscard]] absl::Status Object(
      absl::FunctionRef<absl::Status(const std::string& name)> member);
  // Calls `element` before each element; it must read one value.
  [[nodiscard]] absl::Status Array(absl::FunctionRef<absl::Status()> element);
  // UTF-8, without the escapes.
  [[nodiscard]] absl::StatusOr<std::string> String();
  // As it is written, or one of the three words.
  [[nodiscard]] absl::StatusOr<absl::string_view> Number();
  [[nodiscard]] absl::StatusOr<bool> Bool();
  // Any value.
  [[nodiscard]] absl::Status Skip();

  // Any value as it is written: to be read later by another reader.
  [[nodiscard]] absl::StatusOr<absl::string_view> Raw();

  // OK if nothing follows the value that was read.
  [[nodiscard]] absl::Status End();

 private:
  void SkipSpace();
  [[nodiscard]] bool Consume(char c);
  [[nodiscard]] bool ConsumeWord(absl::string_view word);
  absl::Status Expected(absl::string_view what) const;
  absl::Status Enter();
  // Whether an object that has `names` may have another; adds it to them.
  absl::Status CheckName(const std::string& name,
                         std::set<std::string>& names) const;

  const absl::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace quern::server
