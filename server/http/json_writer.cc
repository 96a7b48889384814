// SPDX-License-Identifier: Apache-2.0
#include "server/http/json_writer.h"

#include <charconv>
#include <cmath>

#include "absl/strings/escaping.h"
#include "google/protobuf/descriptor.h"
#include <nlohmann/json.hpp>

namespace quern::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

template <typename T>
void AppendDigits(T value, std::string& out) {
  // The longest double has 24 characters.
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value);
  out.append(digits, end.ptr);
}

template <typename T>
void AppendFloat(T value, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "Infinity" : "-Infinity";
  } else {
    AppendDigits(value, out);
  }
}

// The value of a field, or element `index` of a repeated one.
template <typename T>
T Get(const Message& message, const FieldDescriptor* field, int index,
      T (google::protobuf::Reflection::*one)(const Message&,
                                             const FieldDescriptor*) const,
      T (google::protobuf::Reflection::*element)(const Message&,
                                                 const FieldDescriptor*, int)
          const) {
  const google::protobuf::Reflection& r = *message.GetReflection();
  return index < 0 ? (r.*one)(message, field)
                   : (r.*element)(message, field, index);
}

void AppendValue(const Message& message, const FieldDescriptor* field,
                 int index, std::string& out) {
  using R = google::protobuf::Reflection;
  const R& r = *message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      out += Get(message, field, index, &R::GetBool, &R::GetRepeatedBool)
                 ? "true"
                 : "false";
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      AppendDigits(
          Get(message, field, index, &R::GetInt32, &R::GetRepeatedInt32), out);
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      AppendDigits(
          Get(message, field, index, &R::GetInt64, &R::GetRepeatedInt64), out);
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      AppendDigits(
          Get(message, field, index, &R::GetUInt32, &R::GetRepeatedUInt32),
          out);
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      AppendDigits(
          Get(message, field, index, &R::GetUInt64, &R::GetRepeatedUInt64),
          out);
      return;
    case FieldDescriptor::CPPTYPE_FLOAT:
      AppendFloat(
          Get(message, field, index, &R::GetFloat, &R::GetRepeatedFloat), out);
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      AppendFloat(
          Get(message, field, index, &R::GetDouble, &R::GetRepeatedDouble),
          out);
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      AppendJsonString(
          Get(message, field, index, &R::GetEnum, &R::GetRepeatedEnum)->name(),
          out);
      return;
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text =
          Get(message, field, index, &R::GetString, &R::GetRepeatedString);
      AppendJsonString(field->type() == FieldDescriptor::TYPE_BYTES
                           ? absl::Base64Escape(text)
                           : text,
                       out);
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      AppendJsonMessage(index < 0 ? r.GetMessage(message, field)
                                  : r.GetRepeatedMessage(message, field, index),
                        out);
      return;
  }
}

// The key of an entry is a name, whatever its type.
void AppendMapEntry(const Message& entry, std::string& out) {
  const google::protobuf::Descriptor& type = *entry.GetDescriptor();
  std::string key;
  AppendValue(entry, type.map_key(), -1, key);
  if (key[0] == '"') {
    out += key;
  } else {
    AppendJsonString(key, out);
  }
  out += ':';
  AppendValue(entry, type.map_value(), -1, out);
}

void AppendRepeated(const Message& message, const FieldDescriptor* field,
                    std::string& out) {
  const google::protobuf::Reflection& r = *message.GetReflection();
  out += field->is_map() ? '{' : '[';
  for (int i = 0; i < r.FieldSize(message, field); ++i) {
    if (i > 0) out += ',';
    if (field->is_map()) {
      AppendMapEntry(r.GetRepeatedMessage(message, field, i), out);
    } else {
      AppendValue(message, field, i, out);
    }
  }
  out += field->is_map() ? '}' : ']';
}

}  // namespace

void AppendJsonString(absl::string_view text, std::string& out) {
  using nlohmann::json;
  out += json(std::string(text))
             .dump(-1, ' ', false, json::error_handler_t::replace);
}

void AppendJsonNumber(double value, std::string& out) {
  AppendFloat(value, out);
}
void AppendJsonNumber(float value, std::string& out) {
  AppendFloat(value, out);
}
void AppendJsonNumber(int64_t value, std::string& out) {
  AppendDigits(value, out);
}
void AppendJsonNumber(uint64_t value, std::string& out) {
  AppendDigits(value, out);
}

void AppendJsonMessage(const Message& message, std::string& out) {
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  const google::protobuf::Reflection& r = *message.GetReflection();
  out += '{';
  bool first = true;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (!field->is_repeated() && field->has_presence() &&
        !r.HasField(message, field)) {
      continue;
    }
    if (!first) out += ',';
    first = false;
    AppendJsonString(field->name(), out);
    out += ':';
    if (field->is_repeated()) {
      AppendRepeated(message, field, out);
    } else {
      AppendValue(message, field, -1, out);
    }
  }
  out += '}';
}

}  // namespace quern::server
