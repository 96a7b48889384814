// SPDX-License-Identifier: Apache-2.0
#include "server/submission.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "proto/quern/v1/graph_service.pb.h"
#include "server/codec.h"
#include "server/digest.h"
#include "server/import/graph/graph_import.h"
#include "server/import/onnx/importer.h"
#include "server/reports.h"
#include "server/subject.h"

namespace quern::server {
namespace {

constexpr int kMaxFixedInputs = 256;
// A chunk of 4 MiB, or what stands before the chunks.
constexpr int64_t kMaxMessageBytes = (4 << 20) + 1024;

absl::StatusOr<graph::Graph> ImportGraphBytes(const std::string& bytes,
                                              const SubmissionParts& parts) {
  auto proto = std::make_shared<v1::Graph>();
  if (!proto->ParseFromString(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", bytes.size(), " bytes are no quern.v1.Graph"));
  }
  graph_import::ImportOptions options;
  options.max_nodes = parts.max_graph_nodes;
  options.content =
      [&](absl::string_view digest) -> absl::StatusOr<graph::Bytes> {
    QUERN_ASSIGN_OR_RETURN(const std::shared_ptr<const Content> content,
                           parts.graphs->Find(std::string(digest)));
    if (content->graph != nullptr) {
      return absl::InvalidArgumentError(
          "the hash is that of a graph, expected a weight");
    }
    return content->bytes;
  };
  return graph_import::ImportGraph(std::move(proto), options);
}

absl::StatusOr<graph::Graph> ImportOnnxBytes(const std::string& bytes,
                                             const v1::SubmitHeader& header,
                                             const SubmissionParts& parts) {
  onnx_import::ImportOptions options;
  options.max_nodes = parts.max_graph_nodes;
  for (const v1::NamedTensor& input : header.fixed_inputs()) {
    const v1::Tensor& tensor = input.tensor();
    QUERN_ASSIGN_OR_RETURN(const ir::DType dtype,
                           FromProto(tensor.data_type()));
    std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    QUERN_ASSIGN_OR_RETURN(const int64_t size, TensorBytes(dtype, dims));
    if (static_cast<uint64_t>(size) != tensor.data().size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "fixed input '", input.name().substr(0, 80), "': expected ", size,
          " bytes, got ", tensor.data().size()));
    }
    options.input_values[input.name()] = {.name = input.name(),
                                          .dtype = dtype,
                                          .dims = std::move(dims),
                                          .data = graph::Bytes(tensor.data())};
  }
  return onnx_import::ImportOnnx(bytes, options);
}

// What the content with these settings is known by.
std::string KeyOf(const v1::SubmitHeader& header) {
  if (header.fixed_inputs_size() == 0) return header.sha256();
  Digest digest;
  digest.Add(header.sha256());
  for (const v1::NamedTensor& input : header.fixed_inputs()) {
    // Lengths keep names and data from running together.
    digest.Add(absl::StrCat(input.name().size(), ":", input.name(),
                            static_cast<int>(input.tensor().data_type()), ","));
    for (int64_t dim : input.tensor().dims())
      digest.Add(absl::StrCat(dim, ","));
    digest.Add(absl::StrCat(input.tensor().data().size(), ":"));
    digest.Add(input.tensor().data());
  }
  return digest.Finish();
}

absl::Status CheckHeader(const v1::SubmitHeader& header, int64_t max_bytes) {
  if (header.sha256().size() != kDigestBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a SHA-256 has ",
                                                   kDigestBytes, " bytes, got ",
                                                   header.sha256().size()));
  }
  if (header.size_bytes() == 0) {
    return absl::InvalidArgumentError("the content is empty");
  }
  if (header.size_bytes() > static_cast<uint64_t>(max_bytes)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the content has ", header.size_bytes(),
                     " bytes, the limit of --max-graph-bytes is ", max_bytes));
  }
  switch (header.format()) {
    case v1::CONTENT_FORMAT_GRAPH:
    case v1::CONTENT_FORMAT_WEIGHT:
      if (header.fixed_inputs_size() == 0) break;
      return absl::InvalidArgumentError(
          "inputs can be fixed for ONNX files only");
    case v1::CONTENT_FORMAT_ONNX:
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("the format ", static_cast<int>(header.format()),
                       " of the content is not known"));
  }
  if (header.fixed_inputs_size() > kMaxFixedInputs) {
    return absl::InvalidArgumentError(
        absl::StrCat(header.fixed_inputs_size(),
                     " inputs are fixed, the limit is ", kMaxFixedInputs));
  }
  return absl::OkStatus();
}

// What has come of a submission, from its first message to its import.
class Submission {
 public:
  Submission(const SubmissionParts& parts, std::shared_ptr<GrpcCall> call)
      : parts_(parts), call_(std::move(call)) {}

  ~Submission() {
    if (reserved_ > 0) parts_.graphs->Release(reserved_);
  }

  // Takes one message more. True if the call has its answer.
  absl::StatusOr<bool> Take(v1::SubmitRequest message) {
    if (message.part_case() == v1::SubmitRequest::kHeader) {
      if (has_header_) {
        return absl::InvalidArgumentError("a second header");
      }
      has_header_ = true;
      header_ = std::move(*message.mutable_header());
      QUERN_RETURN_IF_ERROR(CheckHeader(header_, parts_.max_graph_bytes));
      key_ = KeyOf(header_);
      return false;
    }
    if (message.part_case() != v1::SubmitRequest::kChunk) {
      return absl::InvalidArgumentError(
          "a message with neither a header nor a chunk");
    }
    if (!has_header_) {
      return absl::InvalidArgumentError("a chunk came before the header");
    }
    if (bytes_.empty() && Known()) {
      End(absl::OkStatus());
      return true;
    }
    QUERN_RETURN_IF_ERROR(TakeChunk(message.chunk()));
    return false;
  }

  // There are no more. True if the content is there and is to be imported.
  absl::StatusOr<bool> Complete() {
    if (!has_header_) {
      return absl::InvalidArgumentError("there was no header");
    }
    if (bytes_.empty()) {
      if (!Known()) response_.set_content_needed(true);
      End(absl::OkStatus());
      return false;
    }
    if (bytes_.size() != header_.size_bytes()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the content ended after ", bytes_.size(), " of ",
                       header_.size_bytes(), " bytes"));
    }
    if (digest_.Finish() != header_.sha256()) {
      return absl::InvalidArgumentError(
          "the content does not have the SHA-256 that the header names");
    }
    return true;
  }

  absl::Status Import() {
    auto content = std::make_shared<Content>();
    content->size_bytes = reserved_;
    if (header_.format() == v1::CONTENT_FORMAT_WEIGHT) {
      content->bytes = graph::Bytes(std::move(bytes_));
    } else {
      QUERN_ASSIGN_OR_RETURN(graph::Graph graph,
                             header_.format() == v1::CONTENT_FORMAT_ONNX
                                 ? ImportOnnxBytes(bytes_, header_, parts_)
                                 : ImportGraphBytes(bytes_, parts_));
      QUERN_RETURN_IF_ERROR(CheckNames(graph));
      content->graph = std::make_shared<const graph::Graph>(std::move(graph));
    }
    Answer(*content);
    parts_.graphs->Add(key_, std::move(content));
    reserved_ = 0;
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    if (status.ok()) call_->Send(response_);
    call_->End(status);
  }

  [[nodiscard]] WorkQueue& queue() const { return *parts_.loads; }

 private:
  absl::Status TakeChunk(const std::string& chunk) {
    if (chunk.size() > header_.size_bytes() - bytes_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the content has more than the ", header_.size_bytes(),
                       " bytes that the header names"));
    }
    // Memory is taken as bytes arrive: a size alone costs nothing.
    QUERN_RETURN_IF_ERROR(
        parts_.graphs->Reserve(static_cast<int64_t>(chunk.size())));
    reserved_ += static_cast<int64_t>(chunk.size());
    digest_.Add(chunk);
    bytes_.append(chunk);
    return absl::OkStatus();
  }

  // True, with the response filled, if the content is there.
  bool Known() {
    const auto content = parts_.graphs->Find(key_);
    if (!content.ok()) return false;
    response_.set_already_there(true);
    Answer(**content);
    return true;
  }

  void Answer(const Content& content) {
    if (content.graph == nullptr) return;
    const graph::Graph& graph = *content.graph;
    response_.set_graph_id(GraphId(key_));
    for (const TensorSpec& spec : SpecsOf(graph, graph.inputs)) {
      *response_.add_inputs() = ToProto(spec);
    }
    for (const TensorSpec& spec : SpecsOf(graph, graph.outputs)) {
      *response_.add_outputs() = ToProto(spec);
    }
  }

  const SubmissionParts parts_;
  const std::shared_ptr<GrpcCall> call_;
  v1::SubmitResponse response_;
  v1::SubmitHeader header_;
  bool has_header_ = false;
  std::string key_;
  std::string bytes_;
  int64_t reserved_ = 0;
  Digest digest_;
};

class SubmissionReader final : public GrpcReader {
 public:
  explicit SubmissionReader(std::shared_ptr<Submission> submission)
      : submission_(std::move(submission)) {}

  void OnMessage(GrpcMessage bytes) override {
    if (submission_ == nullptr) return;
    v1::SubmitRequest message;
    // It is read and hashed here, where other connections wait.
    if (absl::Status parsed = bytes.Parse(message, kMaxMessageBytes);
        !parsed.ok()) {
      Refuse(parsed);
      return;
    }
    const absl::StatusOr<bool> ended = submission_->Take(std::move(message));
    if (!ended.ok()) {
      Refuse(ended.status());
    } else if (*ended) {
      submission_ = nullptr;
    }
  }

  void OnEnd() override {
    if (submission_ == nullptr) return;
    const absl::StatusOr<bool> whole = submission_->Complete();
    if (!whole.ok()) Refuse(whole.status());
    if (!whole.ok() || !*whole) return;
    const absl::Status accepted =
        submission_->queue().Add(nullptr, [submission = submission_] {
          submission->End(base::NoThrow([&] { return submission->Import(); }));
        });
    if (!accepted.ok()) Refuse(accepted);
  }

 private:
  void Refuse(const absl::Status& status) {
    std::exchange(submission_, nullptr)->End(status);
  }

  std::shared_ptr<Submission> submission_;  // Null once it has its answer.
};

}  // namespace

std::unique_ptr<GrpcReader> StartSubmission(const SubmissionParts& parts,
                                            std::shared_ptr<GrpcCall> call) {
  return std::make_unique<SubmissionReader>(
      std::make_shared<Submission>(parts, std::move(call)));
}

}  // namespace quern::server
