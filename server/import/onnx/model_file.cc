// SPDX-License-Identifier: Apache-2.0
//
// The wire format of a message is a list of fields: a tag (number and type), a
// length where the type has one, the content. The splitter walks the fields of
// the model, of its graph and of the graph's initializers, copies them, and
// leaves out the long `raw_data` of initializers, of which it notes the place.
// What it copies is parsed by the real parser, so it checks only that lengths
// stay inside of what encloses them.
//
// Format: protobuf.dev, "Encoding".
#include "server/import/onnx/model_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include <sys/stat.h>

#include "engine/base/host_memory.h"
#include "engine/base/status_macros.h"

namespace quern::onnx_import {
namespace {

// Shorter data stays in the message.
constexpr int64_t kLongData = 4096;
// Threads that read; page faults are most of the work, and scale.
constexpr unsigned kMaxReaders = 4;

absl::Status Damaged() {
  return absl::InvalidArgumentError(
      "the bytes are no ONNX model: they are damaged, cut off or nested too "
      "deep");
}

absl::Status TooLong() {
  return absl::ResourceExhaustedError(absl::StrCat(
      "the model has more than ", INT32_MAX,
      " bytes beside the raw data of its initializers, the most that can be "
      "parsed"));
}

class FileSource final : public ByteSource {
 public:
  FileSource(int fd, int64_t size, std::string path)
      : fd_(fd), size_(size), path_(std::move(path)) {}
  ~FileSource() override { close(fd_); }

  int64_t size() const override { return size_; }

  absl::Status Read(int64_t offset, int64_t size, char* to) const override {
    while (size > 0) {
      const ssize_t n = pread(fd_, to, static_cast<size_t>(size), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        return absl::UnavailableError(
            absl::StrCat("cannot read all of ", path_, ": ",
                         n == 0 ? "it became shorter" : std::strerror(errno)));
      }
      offset += n;
      size -= n;
      to += n;
    }
    return absl::OkStatus();
  }

 private:
  const int fd_;
  const int64_t size_;
  const std::string path_;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(absl::string_view bytes) : bytes_(bytes) {}
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  absl::Status Read(int64_t offset, int64_t size, char* to) const override {
    std::memcpy(to, bytes_.data() + offset, static_cast<size_t>(size));
    return absl::OkStatus();
  }

 private:
  const absl::string_view bytes_;
};

// Data that was left out: of the initializer with this number.
struct Extent {
  int initializer = 0;
  int64_t offset = 0;
  int64_t size = 0;
};

class Splitter {
 public:
  explicit Splitter(const ByteSource& source) : source_(source) {}

  // The message without the extents.
  absl::StatusOr<std::string> Run() {
    std::string message;
    QUERN_RETURN_IF_ERROR(Copy(Level::kModel, source_.size(), message));
    return message;
  }

  const std::vector<Extent>& extents() const { return extents_; }

 private:
  enum class Level { kModel, kGraph, kInitializer };

  // Copies the fields of a message of this level that ends at `end`.
  absl::Status Copy(Level level, int64_t end, std::string& out) {
    if (level == Level::kInitializer) ++initializer_;
    while (at_ < end) {
      QUERN_ASSIGN_OR_RETURN(const uint64_t tag, Varint(end, out));
      switch (tag & 7) {
        case 0: {
          QUERN_RETURN_IF_ERROR(Varint(end, out).status());
          break;
        }
        case 1: {
          QUERN_RETURN_IF_ERROR(CopyBytes(8, end, out));
          break;
        }
        case 5: {
          QUERN_RETURN_IF_ERROR(CopyBytes(4, end, out));
          break;
        }
        case 2: {
          QUERN_RETURN_IF_ERROR(CopyField(level, tag >> 3, end, out));
          break;
        }
        default:  // Groups: no message of ONNX has any.
          return Damaged();
      }
    }
    return absl::OkStatus();
  }

  absl::Status CopyField(Level level, uint64_t number, int64_t end,
                         std::string& out) {
    std::string length_text;
    QUERN_ASSIGN_OR_RETURN(const uint64_t length, Varint(end, length_text));
    if (length > static_cast<uint64_t>(end - at_)) return Damaged();
    const int64_t size = static_cast<int64_t>(length);
    const bool graph =
        level == Level::kModel && number == onnx::ModelProto::kGraphFieldNumber;
    const bool initializer =
        level == Level::kGraph &&
        number == onnx::GraphProto::kInitializerFieldNumber;
    if (graph || initializer) {
      std::string inside;
      QUERN_RETURN_IF_ERROR(Copy(graph ? Level::kGraph : Level::kInitializer,
                                 at_ + size, inside));
      AppendVarint(inside.size(), out);
      out += inside;
      return absl::OkStatus();
    }
    if (level == Level::kInitializer && size >= kLongData &&
        number == onnx::TensorProto::kRawDataFieldNumber) {
      // The tag is there already: the field is set, and empty.
      AppendVarint(0, out);
      extents_.push_back({initializer_, at_, size});
      at_ += size;
      return absl::OkStatus();
    }
    out += length_text;
    return CopyBytes(size, end, out);
  }

  // Reads a number, and appends its bytes to `out`.
  absl::StatusOr<uint64_t> Varint(int64_t end, std::string& out) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= end) return Damaged();
      if (at_ < window_at_ ||
          at_ >= window_at_ + static_cast<int64_t>(window_.size())) {
        QUERN_RETURN_IF_ERROR(Refill());
      }
      const auto byte = static_cast<uint8_t>(window_[at_ - window_at_]);
      ++at_;
      out.push_back(static_cast<char>(byte));
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
    return Damaged();
  }

  static void AppendVarint(uint64_t value, std::string& out) {
    for (; value >= 128; value >>= 7) {
      out.push_back(static_cast<char>(value | 128));
    }
    out.push_back(static_cast<char>(value));
  }

  absl::Status CopyBytes(int64_t size, int64_t end, std::string& out) {
    if (size > end - at_) return Damaged();
    if (static_cast<int64_t>(out.size()) + size > INT32_MAX) return TooLong();
    const size_t old = out.size();
    out.resize(old + static_cast<size_t>(size));
    QUERN_RETURN_IF_ERROR(source_.Read(at_, size, out.data() + old));
    at_ += size;
    return absl::OkStatus();
  }

  absl::Status Refill() {
    window_.resize(std::min<int64_t>(512, source_.size() - at_));
    window_at_ = at_;
    return source_.Read(at_, static_cast<int64_t>(window_.size()),
                        window_.data());
  }

  const ByteSource& source_;
  int64_t at_ = 0;
  std::vector<char> window_;
  int64_t window_at_ = 0;
  int initializer_ = -1;
  std::vector<Extent> extents_;
};

// Reads every extent into its memory, on several threads if it is much.
absl::Status ReadAll(const ByteSource& source,
                     const std::vector<Extent>& extents,
                     const std::vector<std::shared_ptr<char[]>>& memory) {
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> failed(kMaxReaders);
  const auto read = [&](unsigned reader) {
    for (size_t i = next++; i < extents.size(); i = next++) {
      const absl::Status status =
          source.Read(extents[i].offset, extents[i].size, memory[i].get());
      if (!status.ok()) failed[reader] = status;
    }
  };
  const unsigned readers =
      extents.size() < 8
          ? 1
          : std::clamp(std::thread::hardware_concurrency(), 1u, kMaxReaders);
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < readers; ++i) threads.emplace_back(read, i);
  read(0);
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : failed) {
    QUERN_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    const std::string reason =
        fd >= 0 && status.st_mode != 0 ? "it is no file" : std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::NotFoundError(
        absl::StrCat("cannot read ", path, ": ", reason));
  }
  return std::make_unique<FileSource>(fd, status.st_size, path);
}

std::unique_ptr<ByteSource> FromMemory(absl::string_view bytes) {
  return std::make_unique<MemorySource>(bytes);
}

absl::StatusOr<std::shared_ptr<const ModelFile>> ReadModelFile(
    const ByteSource& source) {
  Splitter splitter(source);
  QUERN_ASSIGN_OR_RETURN(const std::string message, splitter.Run());
  if (message.size() > INT32_MAX) return TooLong();
  auto file = std::make_shared<ModelFile>();
  google::protobuf::io::ArrayInputStream stream(
      message.data(), static_cast<int>(message.size()));
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(INT32_MAX);
  if (!file->proto->ParseFromCodedStream(&coded) ||
      !coded.ConsumedEntireMessage()) {
    return Damaged();
  }
  // By extent.
  std::vector<std::shared_ptr<char[]>> memory;
  for (const Extent& extent : splitter.extents()) {
    std::shared_ptr<char[]> data =
        base::AllocateHostMemory(static_cast<size_t>(extent.size));
    if (data == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no memory for the ", extent.size, " bytes of an initializer"));
    }
    memory.push_back(data);
    QUERN_RET_CHECK(
        extent.initializer < file->proto->graph().initializer_size(),
        "initializer ", extent.initializer);
    const onnx::TensorProto& tensor =
        file->proto->graph().initializer(extent.initializer);
    // Of a field that is there twice the last one counts.
    file->data[&tensor] =
        graph::Bytes(data, data.get(), static_cast<size_t>(extent.size));
  }
  QUERN_RETURN_IF_ERROR(ReadAll(source, splitter.extents(), memory));
  return file;
}

}  // namespace quern::onnx_import
