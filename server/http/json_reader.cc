// SPDX-License-Identifier: Apache-2.0
#include "server/http/json_reader.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <nlohmann/json.hpp>

#include "engine/base/status_macros.h"
#include "server/quoted.h"
#include "server/utf8.h"

namespace quern::server {
namespace {

// The length of the number that `text` begins with, by the grammar of RFC 8259,
// section 6; 0 if there is none.
size_t NumberLength(absl::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && absl::ascii_isdigit(text[at])) ++at;
    return at - begin;
  };
  if (at < text.size() && text[at] == '-') ++at;
  if (at < text.size() && text[at] == '0') {
    ++at;
  } else if (digits() == 0) {
    return 0;
  }
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0) return 0;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return 0;
  }
  return at;
}

}  // namespace

void JsonReader::SkipSpace() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' ||
                                text_[at_] == '\t' || text_[at_] == '\r')) {
    ++at_;
  }
}

bool JsonReader::Consume(char c) {
  SkipSpace();
  if (at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool JsonReader::ConsumeWord(absl::string_view word) {
  SkipSpace();
  if (!absl::StartsWith(text_.substr(at_), word)) return false;
  at_ += word.size();
  return true;
}

absl::Status JsonReader::Expected(absl::string_view what) const {
  constexpr size_t kShown = 12;
  return absl::InvalidArgumentError(absl::StrCat(
      "the JSON is malformed at byte ", at_, ": expected ", what, ", got ",
      at_ < text_.size() ? Quoted(text_.substr(at_, kShown)) : "its end"));
}

absl::Status JsonReader::Enter() {
  if (++depth_ <= kMaxDepth) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the JSON at byte ", at_, " is deeper than ", kMaxDepth, " levels"));
}

JsonReader::Kind JsonReader::Peek() {
  SkipSpace();
  if (at_ >= text_.size()) return Kind::kNone;
  switch (text_[at_]) {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
    case 'f':
      return Kind::kBool;
    case 'n':
      return Kind::kNull;
    case '-':
    case 'N':
    case 'I':
      return Kind::kNumber;
    default:
      return absl::ascii_isdigit(text_[at_]) ? Kind::kNumber : Kind::kNone;
  }
}

absl::Status JsonReader::Object(
    absl::FunctionRef<absl::Status(const std::string& name)> member) {
  if (!Consume('{')) return Expected("an object");
  QUERN_RETURN_IF_ERROR(Enter());
  if (!Consume('}')) {
    std::set<std::string> names;
    do {
      QUERN_ASSIGN_OR_RETURN(const std::string name, String());
      if (!Consume(':')) return Expected("a colon");
      QUERN_RETURN_IF_ERROR(CheckName(name, names));
      QUERN_RETURN_IF_ERROR(member(name));
    } while (Consume(','));
    if (!Consume('}')) return Expected("a comma or the object's end");
  }
  --depth_;
  return absl::OkStatus();
}

absl::Status JsonReader::CheckName(const std::string& name,
                                   std::set<std::string>& names) const {
  if (names.size() >= kMaxMembers) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the JSON has an object with more than ", kMaxMembers, " members"));
  }
  if (names.insert(name).second) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the JSON has ", Quoted(name), " twice in one object"));
}

absl::Status JsonReader::Array(absl::FunctionRef<absl::Status()> element) {
  if (!Consume('[')) return Expected("an array");
  QUERN_RETURN_IF_ERROR(Enter());
  if (!Consume(']')) {
    do {
      QUERN_RETURN_IF_ERROR(element());
    } while (Consume(','));
    if (!Consume(']')) return Expected("a comma or the array's end");
  }
  --depth_;
  return absl::OkStatus();
}

absl::StatusOr<std::string> JsonReader::String() {
  SkipSpace();
  const size_t begin = at_;
  if (!Consume('"')) return Expected("a string");
  bool escapes = false;
  while (at_ < text_.size() && text_[at_] != '"') {
    if (static_cast<unsigned char>(text_[at_]) < 0x20) {
      return Expected("a character of a string");
    }
    if (text_[at_] == '\\') {
      escapes = true;
      ++at_;
    }
    ++at_;
  }
  if (at_ >= text_.size()) return Expected("the end of a string");
  ++at_;
  const absl::string_view token = text_.substr(begin, at_ - begin);
  const absl::string_view inside = token.substr(1, token.size() - 2);
  if (!escapes && IsUtf8(inside)) return std::string(inside);
  if (escapes) {
    const auto parsed =
        nlohmann::json::parse(token.begin(), token.end(), nullptr, false);
    if (parsed.is_string()) return parsed.get<std::string>();
  }
  at_ = begin;
  return Expected("a string of UTF-8 with right escapes");
}

absl::StatusOr<absl::string_view> JsonReader::Number() {
  SkipSpace();
  const size_t begin = at_;
  if (!ConsumeWord("NaN") && !ConsumeWord("Infinity") &&
      !ConsumeWord("-Infinity")) {
    at_ += NumberLength(text_.substr(at_));
  }
  if (at_ == begin) return Expected("a number");
  return text_.substr(begin, at_ - begin);
}

absl::StatusOr<bool> JsonReader::Bool() {
  if (ConsumeWord("true")) return true;
  if (ConsumeWord("false")) return false;
  return Expected("true or false");
}

absl::Status JsonReader::Skip() {
  switch (Peek()) {
    case Kind::kObject:
      return Object([this](const std::string&) { return Skip(); });
    case Kind::kArray:
      return Array([this] { return Skip(); });
    case Kind::kString:
      return String().status();
    case Kind::kNumber:
      return Number().status();
    case Kind::kBool:
      return Bool().status();
    case Kind::kNull:
      return ConsumeWord("null") ? absl::OkStatus() : Expected("a value");
    case Kind::kNone:
      break;
  }
  return Expected("a value");
}

absl::StatusOr<absl::string_view> JsonReader::Raw() {
  SkipSpace();
  const size_t begin = at_;
  QUERN_RETURN_IF_ERROR(Skip());
  return text_.substr(begin, at_ - begin);
}

absl::Status JsonReader::End() {
  SkipSpace();
  return at_ == text_.size() ? absl::OkStatus() : Expected("nothing more");
}

}  // namespace quern::server
