// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_message.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <zlib.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::server {
namespace {

// Clients refuse headers of more than 8 KiB by default, and a byte that is no
// printable ASCII takes three.
constexpr size_t kMaxStatusBytes = 2000;
// Memory is taken by so many bytes at least.
constexpr size_t kLeastRoom = 16384;
// A message of which one of so many parts has come gets memory for all of it.
constexpr size_t kTrustedPart = 16;
// Parsing copies as fast as memory allows: some 50 us.
constexpr size_t kShortBytes = size_t{256} << 10;
constexpr size_t kMaxTimeoutDigits = 8;
constexpr char kLimitFlag[] = " (--max-message-bytes)";

// kResourceExhausted for a message of more than `max_bytes`, which `flag` sets.
absl::Status CheckLength(uint64_t bytes, int64_t max_bytes,
                         const char* flag = kLimitFlag) {
  if (bytes <= static_cast<uint64_t>(max_bytes)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the message has ", bytes, " bytes or more, allowed are ",
                   max_bytes, flag));
}

absl::Duration UnitOf(char unit) {
  switch (unit) {
    case 'H':
      return absl::Hours(1);
    case 'M':
      return absl::Minutes(1);
    case 'S':
      return absl::Seconds(1);
    case 'm':
      return absl::Milliseconds(1);
    case 'u':
      return absl::Microseconds(1);
    case 'n':
      return absl::Nanoseconds(1);
    default:
      return absl::ZeroDuration();
  }
}

}  // namespace

void PutGrpcPrefix(size_t size, char* prefix) {
  prefix[0] = 0;
  for (int i = 0; i < 4; ++i) {
    prefix[1 + i] = static_cast<char>(size >> (24 - 8 * i) & 0xff);
  }
}

std::optional<GrpcEncoding> ParseGrpcEncoding(absl::string_view name) {
  if (name.empty() || name == "identity") return GrpcEncoding::kIdentity;
  if (name == "deflate") return GrpcEncoding::kDeflate;
  if (name == "gzip") return GrpcEncoding::kGzip;
  return std::nullopt;
}

std::optional<absl::Duration> ParseGrpcTimeout(absl::string_view value) {
  if (value.size() < 2 || value.size() > kMaxTimeoutDigits + 1) {
    return std::nullopt;
  }
  const absl::Duration unit = UnitOf(value.back());
  value.remove_suffix(1);
  int64_t count = 0;
  if (unit == absl::ZeroDuration() ||
      !std::all_of(value.begin(), value.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(value, &count)) {
    return std::nullopt;
  }
  return count * unit;
}

std::string EncodeGrpcMessage(absl::string_view message) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text;
  for (const char c : message.substr(0, kMaxStatusBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '%') {
      text.push_back(c);
    } else {
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  if (message.size() > kMaxStatusBytes) text += "...";
  return text;
}

bool GrpcMessage::is_short() const {
  return encoding_ == GrpcEncoding::kIdentity && owned_.size() < kShortBytes;
}

absl::Status GrpcMessage::Parse(google::protobuf::MessageLite& message,
                                int64_t max_bytes) const {
  std::string inflated;
  absl::string_view bytes = owned_.empty() ? borrowed_ : owned_;
  if (encoding_ != GrpcEncoding::kIdentity) {
    QUERN_ASSIGN_OR_RETURN(inflated,
                           Inflate(std::min(max_bytes, limits_.max_bytes)));
    bytes = inflated;
  }
  QUERN_RETURN_IF_ERROR(CheckLength(bytes.size(), max_bytes, ""));
  if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the ", bytes.size(), " bytes are no ", message.GetTypeName()));
}

absl::StatusOr<std::string> GrpcMessage::Inflate(int64_t max_bytes) const {
  // What zlib adds to a window's size to read that format.
  constexpr int kGzipWindow = 16 + MAX_WBITS;
  z_stream stream = {};
  if (inflateInit2(&stream, encoding_ == GrpcEncoding::kGzip
                                ? kGzipWindow
                                : MAX_WBITS) != Z_OK) {
    return absl::ResourceExhaustedError("there is no memory to inflate with");
  }
  const absl::Cleanup end = [&] { inflateEnd(&stream); };
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(owned_.data()));
  stream.avail_in = static_cast<uInt>(owned_.size());
  std::optional<Admission::Bytes> room;
  if (limits_.admission != nullptr) room.emplace(limits_.admission);
  std::string message;
  int result = Z_OK;
  while (result == Z_OK) {
    const size_t size = message.size();
    if (size > static_cast<uint64_t>(max_bytes)) break;
    // As much again as is there, which is at most the limit.
    const size_t more = std::max(kLeastRoom, size);
    if (room.has_value()) {
      QUERN_RETURN_IF_ERROR(room->Take(static_cast<int64_t>(more)));
    }
    message.resize(size + more);
    stream.next_out = reinterpret_cast<Bytef*>(message.data() + size);
    stream.avail_out = static_cast<uInt>(more);
    result = inflate(&stream, Z_NO_FLUSH);
    message.resize(size + more - stream.avail_out);
  }
  QUERN_RETURN_IF_ERROR(
      CheckLength(message.size(), max_bytes,
                  max_bytes < limits_.max_bytes ? "" : kLimitFlag));
  if (result != Z_STREAM_END || stream.avail_in > 0) {
    return absl::InvalidArgumentError(
        "the compressed message is damaged, or not whole");
  }
  return message;
}

absl::Status GrpcMessageReader::Take(
    absl::string_view bytes, absl::FunctionRef<void(GrpcMessage)> take) {
  while (!bytes.empty()) {
    if (prefix_size_ < kGrpcPrefixBytes) {
      const size_t size =
          std::min(bytes.size(), kGrpcPrefixBytes - prefix_size_);
      std::memcpy(prefix_ + prefix_size_, bytes.data(), size);
      prefix_size_ += size;
      bytes.remove_prefix(size);
      if (prefix_size_ < kGrpcPrefixBytes) break;
      QUERN_RETURN_IF_ERROR(OnPrefix());
    }
    const size_t size = std::min(bytes.size(), length_ - message_.size());
    if (size == length_ && !compressed_) {
      // All of it is here: it need not be kept.
      prefix_size_ = 0;
      take(GrpcMessage(bytes.substr(0, size)));
      bytes.remove_prefix(size);
      continue;
    }
    QUERN_RETURN_IF_ERROR(Hold(size));
    message_.append(bytes.data(), size);
    bytes.remove_prefix(size);
    if (message_.size() < length_) break;
    prefix_size_ = 0;
    take(GrpcMessage(std::exchange(message_, std::string()),
                     compressed_ ? encoding_ : GrpcEncoding::kIdentity, limits_,
                     std::exchange(room_, nullptr)));
  }
  return absl::OkStatus();
}

absl::Status GrpcMessageReader::OnPrefix() {
  length_ = 0;
  for (int i = 0; i < 4; ++i) {
    length_ = length_ << 8 | static_cast<unsigned char>(prefix_[1 + i]);
  }
  if (prefix_[0] != 0 && prefix_[0] != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a message, its first byte is ",
                     static_cast<int>(static_cast<unsigned char>(prefix_[0]))));
  }
  compressed_ = prefix_[0] == 1;
  if (compressed_ && encoding_ == GrpcEncoding::kIdentity) {
    return absl::InvalidArgumentError(
        "a message is compressed, and grpc-encoding does not say how");
  }
  return CheckLength(length_, limits_.max_bytes);
}

// Makes room for that many bytes more: twice what is needed, or all that was
// announced once a part of it has come, so that little is copied again.
absl::Status GrpcMessageReader::Hold(size_t bytes) {
  if (limits_.admission != nullptr) {
    if (room_ == nullptr) {
      room_ = std::make_shared<Admission::Bytes>(limits_.admission);
    }
    QUERN_RETURN_IF_ERROR(room_->Take(static_cast<int64_t>(bytes)));
  }
  const size_t needed = message_.size() + bytes;
  if (needed > message_.capacity()) {
    message_.reserve(needed >= length_ / kTrustedPart
                         ? length_
                         : std::max(kLeastRoom, 2 * needed));
  }
  return absl::OkStatus();
}

}  // namespace quern::server
