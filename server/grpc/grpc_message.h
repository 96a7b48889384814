// SPDX-License-Identifier: Apache-2.0
//
// The parts of gRPC's wire that are not HTTP/2's: messages with their lengths,
// times, statuses (the protocol's document PROTOCOL-HTTP2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message_lite.h"

#include "server/admission.h"

namespace quern::server {

// Of the byte that tells whether a message is compressed, and its length.
constexpr size_t kGrpcPrefixBytes = 5;

// Writes the prefix of a message of `size` bytes that is not compressed; `size`
// fits into 32 bits.
void PutGrpcPrefix(size_t size, char* prefix);

// How messages may be compressed; those that say so.
enum class GrpcEncoding { kIdentity, kDeflate, kGzip };
// The value of grpc-accept-encoding that names all of them.
inline constexpr char kGrpcEncodings[] = "identity,deflate,gzip";

// By the value of grpc-encoding; nothing if it is not known.
[[nodiscard]] std::optional<GrpcEncoding> ParseGrpcEncoding(
    absl::string_view name);

// The value of grpc-timeout, "250m"; nothing if it is malformed.
[[nodiscard]] std::optional<absl::Duration> ParseGrpcTimeout(
    absl::string_view value);

// The value of grpc-message: percent-encoded, and cut where it is long, since
// headers are limited.
[[nodiscard]] std::string EncodeGrpcMessage(absl::string_view message);

// A message as it came: its bytes, and how they are compressed.
class GrpcMessage {
 public:
  struct Limits {
    int64_t max_bytes = 0;           // Of a message, also when it is inflated.
    Admission* admission = nullptr;  // Counts what is kept; may be null.
  };

  // One that lies in `bytes`, which outlive it.
  explicit GrpcMessage(absl::string_view bytes) : borrowed_(bytes) {}
  // One that has its bytes; they are counted in `room` while it lives.
  GrpcMessage(std::string bytes, GrpcEncoding encoding, const Limits& limits,
              std::shared_ptr<Admission::Bytes> room)
      : owned_(std::move(bytes)),
        encoding_(encoding),
        limits_(limits),
        room_(std::move(room)) {}

  // True if it takes no time worth mentioning to parse it.
  [[nodiscard]] bool is_short() const;

  // kInvalidArgument if it is no message of this type, or damaged;
  // kResourceExhausted if it has more than `max_bytes`, or than the limits
  // allow, once it is inflated.
  [[nodiscard]] absl::Status Parse(google::protobuf::MessageLite& message,
                                   int64_t max_bytes = INT64_MAX) const;

 private:
  absl::StatusOr<std::string> Inflate(int64_t max_bytes) const;

  absl::string_view borrowed_;
  std::string owned_;
  GrpcEncoding encoding_ = GrpcEncoding::kIdentity;
  Limits limits_;
  std::shared_ptr<Admission::Bytes> room_;
};

// Takes the bytes of a call as they come and gives its messages. A message is
// counted among the bytes in flight while it comes, and takes memory as it
// comes: a length alone costs nothing.
class GrpcMessageReader {
 public:
  // What `limits` names outlives it and its messages.
  explicit GrpcMessageReader(const GrpcMessage::Limits& limits)
      : limits_(limits) {}

  void SetEncoding(GrpcEncoding encoding) { encoding_ = encoding; }

  // Calls `take` for each message that is whole with these bytes; a short one
  // lives until it returns. kResourceExhausted if a message is over a limit,
  // kInvalidArgument if it is none; nothing more is to be given to it then.
  [[nodiscard]] absl::Status Take(absl::string_view bytes,
                                  absl::FunctionRef<void(GrpcMessage)> take);

  // True if a message has begun and is not whole.
  [[nodiscard]] bool inside() const { return prefix_size_ > 0; }
  // Of the message that is not whole.
  [[nodiscard]] int64_t seen() const {
    return static_cast<int64_t>(prefix_size_ + message_.size());
  }

 private:
  absl::Status OnPrefix();
  absl::Status Hold(size_t bytes);

  const GrpcMessage::Limits limits_;
  GrpcEncoding encoding_ = GrpcEncoding::kIdentity;
  char prefix_[kGrpcPrefixBytes] = {};
  size_t prefix_size_ = 0;
  size_t length_ = 0;
  bool compressed_ = false;
  std::string message_;
  std::shared_ptr<Admission::Bytes> room_;
};

}  // namespace quern::server
