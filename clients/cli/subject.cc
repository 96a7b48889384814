// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/subject.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <google/protobuf/text_format.h>
#include <openssl/sha.h>

#include "proto/onnx/onnx.pb.h"
#include "proto/quern/v1/graph.pb.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr char kDependsOn[] = "depends on the content of input ";

std::string Sha256(const std::string& bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

absl::StatusOr<v1::SubmitResponse> Send(Connection& connection,
                                        const v1::SubmitHeader& header,
                                        absl::string_view content) {
  grpc::ClientContext context;
  v1::SubmitResponse response;
  const auto writer = connection.graphs().Submit(&context, &response);
  v1::SubmitRequest message;
  *message.mutable_header() = header;
  bool open = writer->Write(message);
  for (size_t at = 0; open && at < content.size(); at += kChunkBytes) {
    const absl::string_view chunk = content.substr(at, kChunkBytes);
    message.set_chunk(chunk.data(), chunk.size());
    open = writer->Write(message);
  }
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  if (!status.ok()) return FromGrpc(status);
  return response;
}

// The names 'a', 'b' that follow kDependsOn in a message.
std::vector<std::string> InputsNamedIn(absl::string_view message) {
  std::vector<std::string> names;
  const size_t at = message.find(kDependsOn);
  if (at == absl::string_view::npos) return names;
  const std::vector<std::string> parts =
      absl::StrSplit(message.substr(at + sizeof(kDependsOn) - 1), '\'');
  for (size_t i = 1; i < parts.size(); i += 2) names.push_back(parts[i]);
  return names;
}

// The inputs of an ONNX file that requests give, by name alone: those that are
// no initializers.
std::vector<v1::TensorSpec> InputsOf(const std::string& bytes) {
  std::vector<v1::TensorSpec> specs;
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes)) return specs;
  std::set<std::string> initializers;
  for (const auto& initializer : model.graph().initializer()) {
    initializers.insert(initializer.name());
  }
  for (const auto& input : model.graph().input()) {
    if (initializers.contains(input.name())) continue;
    specs.emplace_back().set_name(input.name());
  }
  return specs;
}

// Those tensors that are for one of `specs`; inputs that were fixed are none
// any more.
std::vector<v1::NamedTensor> Wanted(const std::vector<v1::TensorSpec>& specs,
                                    std::vector<v1::NamedTensor> tensors) {
  std::erase_if(tensors, [&](const v1::NamedTensor& tensor) {
    return std::none_of(specs.begin(), specs.end(), [&](const auto& spec) {
      return spec.name() == tensor.name();
    });
  });
  return tensors;
}

// Writers without a bf16 of their own keep its bits in 16-bit integers.
void RestoreBrainFloats(const std::vector<v1::TensorSpec>& specs,
                        std::vector<v1::NamedTensor>& tensors) {
  for (v1::NamedTensor& tensor : tensors) {
    for (const v1::TensorSpec& spec : specs) {
      if (spec.name() == tensor.name() &&
          spec.data_type() == v1::DATA_TYPE_BF16 &&
          tensor.tensor().data_type() == v1::DATA_TYPE_U16) {
        tensor.mutable_tensor()->set_data_type(v1::DATA_TYPE_BF16);
      }
    }
  }
}

void SetSpecs(const v1::SubmitResponse& response, Subject& subject) {
  subject.proto.set_graph_id(response.graph_id());
  subject.inputs = {response.inputs().begin(), response.inputs().end()};
  subject.outputs = {response.outputs().begin(), response.outputs().end()};
}

absl::StatusOr<std::string> GraphBytes(const std::string& path,
                                       const std::string& bytes) {
  if (!absl::EndsWith(path, ".textproto") && !absl::EndsWith(path, ".pbtxt")) {
    return bytes;
  }
  v1::Graph graph;
  if (!google::protobuf::TextFormat::ParseFromString(bytes, &graph)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no quern.v1.Graph in text form"));
  }
  return graph.SerializeAsString();
}

}  // namespace

absl::StatusOr<v1::SubmitResponse> SubmitContent(
    Connection& connection, const std::string& bytes, v1::ContentFormat format,
    const std::vector<v1::NamedTensor>& fixed_inputs) {
  v1::SubmitHeader header;
  header.set_sha256(Sha256(bytes));
  header.set_size_bytes(bytes.size());
  header.set_format(format);
  for (const v1::NamedTensor& input : fixed_inputs) {
    *header.add_fixed_inputs() = input;
  }
  absl::StatusOr<v1::SubmitResponse> response = Send(connection, header, "");
  if (!response.ok() || !response->content_needed()) return response;
  return Send(connection, header, bytes);
}

absl::StatusOr<SubmittedModel> SubmitOnnx(
    Connection& connection, const std::string& bytes,
    const std::vector<v1::NamedTensor>& inputs) {
  std::vector<v1::NamedTensor> named;
  std::vector<v1::NamedTensor> fixed;
  SubmittedModel submitted;
  while (true) {
    absl::StatusOr<v1::SubmitResponse> response =
        SubmitContent(connection, bytes, v1::CONTENT_FORMAT_ONNX, fixed);
    if (response.ok()) {
      submitted.response = *std::move(response);
      const std::vector<v1::TensorSpec> specs(
          submitted.response.inputs().begin(),
          submitted.response.inputs().end());
      if (fixed.empty()) {
        named = inputs;
        NameTensors(specs, named);
      }
      submitted.inputs = Wanted(specs, std::move(named));
      RestoreBrainFloats(specs, submitted.inputs);
      return submitted;
    }
    const std::vector<std::string> deciding =
        InputsNamedIn(response.status().message());
    if (!deciding.empty() && named.empty()) {
      // Tensors in files need not say whose they are.
      named = inputs;
      NameTensors(InputsOf(bytes), named);
    }
    // Each round must fix another input, so there are as many at most.
    const size_t before = fixed.size();
    for (const std::string& name : deciding) {
      for (const v1::NamedTensor& input : named) {
        const bool known =
            std::find(submitted.fixed.begin(), submitted.fixed.end(), name) !=
            submitted.fixed.end();
        if (input.name() != name || known) continue;
        fixed.push_back(input);
        submitted.fixed.push_back(name);
      }
    }
    if (fixed.size() == before) return response.status();
  }
}

absl::StatusOr<Subject> OpenSubject(Connection& connection,
                                    const std::string& text,
                                    const std::string& device) {
  Subject subject;
  subject.text = text;
  std::error_code error;
  if (fs::is_directory(text, error) &&
      fs::exists(text + "/model.onnx", error)) {
    subject.file = text + "/model.onnx";
  } else if (fs::is_regular_file(text, error)) {
    subject.file = text;
  }
  if (subject.file.empty()) {
    const std::vector<std::string> parts = absl::StrSplit(text, '/');
    v1::DescribeRequest request;
    v1::ModelName* model = request.mutable_subject()->mutable_model();
    model->set_name(parts[0]);
    if (parts.size() > 1) model->set_version(parts[1]);
    v1::DescribeResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        connection.graphs().Describe(&context, request, &response);
    if (status.error_code() == grpc::StatusCode::NOT_FOUND &&
        connection.started()) {
      return absl::NotFoundError(absl::StrCat("there is no file ", text));
    }
    if (!status.ok()) return FromGrpc(status);
    if (!device.empty() && device != response.device()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "model ", text, " runs on ", response.device(), ", not on ", device));
    }
    subject.proto = request.subject();
    subject.inputs = {response.inputs().begin(), response.inputs().end()};
    subject.outputs = {response.outputs().begin(), response.outputs().end()};
    return subject;
  }
  const absl::StatusOr<std::string> bytes = ReadFile(subject.file);
  if (!bytes.ok()) return bytes.status();
  if (absl::EndsWith(subject.file, ".onnx")) {
    // Inputs that decide shapes take the values of the test data, if there is
    // any.
    std::vector<v1::NamedTensor> inputs;
    const fs::path data =
        fs::path(subject.file).parent_path() / "test_data_set_0";
    if (auto read = ReadTensors(data.string(), "input"); read.ok()) {
      inputs = *std::move(read);
    }
    absl::StatusOr<SubmittedModel> submitted =
        SubmitOnnx(connection, *bytes, inputs);
    if (!submitted.ok()) return submitted.status();
    SetSpecs(submitted->response, subject);
  } else {
    const absl::StatusOr<std::string> graph = GraphBytes(subject.file, *bytes);
    if (!graph.ok()) return graph.status();
    const absl::StatusOr<v1::SubmitResponse> response =
        SubmitContent(connection, *graph, v1::CONTENT_FORMAT_GRAPH, {});
    if (!response.ok()) return response.status();
    SetSpecs(*response, subject);
  }
  subject.proto.mutable_settings()->set_device(device);
  return subject;
}

absl::StatusOr<std::vector<v1::NamedTensor>> ReadTensors(
    const std::string& folder, const std::string& prefix) {
  std::vector<v1::NamedTensor> tensors;
  std::error_code error;
  for (int i = 0;; ++i) {
    const fs::path path =
        fs::path(folder) / absl::StrCat(prefix, "_", i, ".pb");
    if (!fs::exists(path, error)) return tensors;
    absl::StatusOr<v1::NamedTensor> tensor = ReadTensorFile(path.string());
    if (!tensor.ok()) return tensor.status();
    tensors.push_back(*std::move(tensor));
  }
}

void NameTensors(const std::vector<v1::TensorSpec>& specs,
                 std::vector<v1::NamedTensor>& tensors) {
  const auto is_known = [&](const std::string& name) {
    return std::any_of(specs.begin(), specs.end(),
                       [&](const auto& spec) { return spec.name() == name; });
  };
  for (size_t i = 0; i < tensors.size() && i < specs.size(); ++i) {
    if (!is_known(tensors[i].name())) tensors[i].set_name(specs[i].name());
  }
}

absl::StatusOr<ChosenInputs> ChooseInputs(
    const Subject& subject, const std::string& choice,
    const std::map<std::string, int64_t>& sizes, uint64_t seed) {
  ChosenInputs chosen;
  std::string folder = choice;
  std::error_code error;
  if (choice.empty() && !subject.file.empty()) {
    const fs::path beside =
        fs::path(subject.file).parent_path() / "test_data_set_0";
    if (fs::exists(beside / "input_0.pb", error)) folder = beside.string();
  }
  if (!folder.empty() && folder != "random") {
    absl::StatusOr<std::vector<v1::NamedTensor>> tensors =
        ReadTensors(folder, "input");
    if (!tensors.ok()) return tensors.status();
    NameTensors(subject.inputs, *tensors);
    chosen.tensors = Wanted(subject.inputs, *std::move(tensors));
    chosen.source = folder;
    return chosen;
  }
  for (size_t i = 0; i < subject.inputs.size(); ++i) {
    absl::StatusOr<v1::NamedTensor> tensor =
        RandomTensor(subject.inputs[i], sizes, seed + i);
    if (!tensor.ok()) return tensor.status();
    chosen.tensors.push_back(*std::move(tensor));
  }
  chosen.source = absl::StrCat("random, seed ", seed);
  return chosen;
}

}  // namespace quern::cli
