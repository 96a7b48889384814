// SPDX-License-Identifier: Apache-2.0
//
// Fields stand one after the other without tags: both sides are always of the
// same build. A number has 8 bytes, a text its length as a number before it.
#include "backends/worker/protocol.h"

#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"

namespace quern::worker {
namespace {

// Appends fields to a frame, which it begins with room for the length.
class Writer {
 public:
  Writer() : frame_(kFrameHeaderBytes, '\0') {}

  void Field(const std::string& text) {
    Number(text.size());
    frame_ += text;
  }
  template <typename T>
  void Field(const T& number) {
    if constexpr (std::is_same_v<T, double>) {
      Number(std::bit_cast<uint64_t>(number));
    } else {
      Number(static_cast<uint64_t>(static_cast<int64_t>(number)));
    }
  }

  absl::StatusOr<std::string> Frame() && {
    const size_t length = frame_.size() - kFrameHeaderBytes;
    if (length > kMaxFrameBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a message to or from a compile worker has ", length,
                       " bytes, the limit is ", kMaxFrameBytes));
    }
    for (int b = 0; b < kFrameHeaderBytes; ++b) {
      frame_[b] = static_cast<char>(length >> (8 * b));
    }
    return std::move(frame_);
  }

 private:
  void Number(uint64_t number) {
    for (int b = 0; b < 8; ++b) {
      frame_ += static_cast<char>(number >> (8 * b));
    }
  }

  std::string frame_;
};

// Takes fields off a frame; after the first that is not there, all are empty.
class Reader {
 public:
  explicit Reader(absl::string_view body) : rest_(body) {}

  void Field(std::string& text) {
    const uint64_t size = Number();
    if (size > rest_.size()) {
      good_ = false;
      return;
    }
    text = std::string(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  template <typename T>
  void Field(T& number) {
    if constexpr (std::is_same_v<T, double>) {
      number = std::bit_cast<double>(Number());
    } else {
      number = static_cast<T>(Number());
    }
  }

  absl::Status End() const {
    if (good_ && rest_.empty()) return absl::OkStatus();
    return absl::DataLossError(
        "a message between the daemon and a compile worker is malformed");
  }

 private:
  uint64_t Number() {
    if (rest_.size() < 8) {
      good_ = false;
      rest_ = {};
      return 0;
    }
    uint64_t number = 0;
    for (int b = 0; b < 8; ++b) {
      number |= uint64_t{static_cast<uint8_t>(rest_[b])} << (8 * b);
    }
    rest_.remove_prefix(8);
    return number;
  }

  absl::string_view rest_;
  bool good_ = true;
};

// The fields of a Target in one place, for both directions.
template <typename Stream, typename T>
void TargetFields(Stream& stream, T& target) {
  stream.Field(target.backend);
  stream.Field(target.isa);
  stream.Field(target.interpreted);
  stream.Field(target.vector_bytes);
  stream.Field(target.vector_registers);
  stream.Field(target.masked_vectors);
  stream.Field(target.fused_multiply_add);
  stream.Field(target.f16_conversion);
  stream.Field(target.l1_bytes);
  stream.Field(target.l2_bytes);
  stream.Field(target.l3_bytes);
  stream.Field(target.max_arguments);
  stream.Field(target.max_table_bytes);
  stream.Field(target.max_scratch_bytes);
  stream.Field(target.max_operations);
  stream.Field(target.max_live_vectors);
  stream.Field(target.peak_flops);
  stream.Field(target.read_bandwidth);
}

}  // namespace

absl::StatusOr<std::string> EncodeRequest(const Request& request) {
  Writer writer;
  writer.Field(request.backend);
  TargetFields(writer, request.target);
  writer.Field(request.source.name);
  writer.Field(request.source.text);
  return std::move(writer).Frame();
}

absl::StatusOr<std::string> EncodeReply(
    const absl::StatusOr<std::string>& blob) {
  Writer writer;
  writer.Field(static_cast<int>(blob.status().code()));
  writer.Field(std::string(blob.status().message()));
  writer.Field(blob.ok() ? *blob : std::string());
  return std::move(writer).Frame();
}

absl::StatusOr<uint32_t> FrameLength(absl::string_view header) {
  QUERN_RET_CHECK(header.size() == kFrameHeaderBytes, header.size());
  uint32_t length = 0;
  for (int b = 0; b < kFrameHeaderBytes; ++b) {
    length |= uint32_t{static_cast<uint8_t>(header[b])} << (8 * b);
  }
  if (length > kMaxFrameBytes) {
    return absl::DataLossError(
        absl::StrCat("a message between the daemon and a compile worker "
                     "announces ",
                     length, " bytes, the limit is ", kMaxFrameBytes));
  }
  return length;
}

absl::StatusOr<Request> DecodeRequest(absl::string_view body) {
  Reader reader(body);
  Request request;
  reader.Field(request.backend);
  TargetFields(reader, request.target);
  reader.Field(request.source.name);
  reader.Field(request.source.text);
  QUERN_RETURN_IF_ERROR(reader.End());
  return request;
}

absl::StatusOr<Reply> DecodeReply(absl::string_view body) {
  Reader reader(body);
  int code = 0;
  std::string message;
  std::string blob;
  reader.Field(code);
  reader.Field(message);
  reader.Field(blob);
  QUERN_RETURN_IF_ERROR(reader.End());
  if (code == 0) return Reply{std::move(blob)};
  // An unknown code counts as kUnknown.
  return Reply{absl::Status(static_cast<absl::StatusCode>(code), message)};
}

}  // namespace quern::worker
