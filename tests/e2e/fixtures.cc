// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/fixtures.h"

#include <cstring>

#include <google/protobuf/text_format.h>
#include <openssl/sha.h>

#include "proto/onnx/onnx.pb.h"
#include "tests/support/model_generator.h"

namespace quern::e2e {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr int64_t kFeatures = 64;

void Describe(::onnx::ValueInfoProto* info, const std::string& name,
              const std::string& free, int64_t size) {
  info->set_name(name);
  auto* tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(::onnx::TensorProto::FLOAT);
  tensor->mutable_shape()->add_dim()->set_dim_param(free);
  tensor->mutable_shape()->add_dim()->set_dim_value(size);
}

}  // namespace

std::string PerceptronFile() {
  return support::MakeModel("mlp", 7)->SerializeAsString();
}

float WeightAt(int64_t i, int64_t j) {
  return static_cast<float>((i * 31 + j * 17) % 1024) / 1024.0F;
}

std::string MatMulFile(int64_t rows, int64_t columns) {
  ::onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  auto* graph = model.mutable_graph();
  graph->set_name("product");
  Describe(graph->add_input(), "x", "n", rows);
  Describe(graph->add_output(), "y", "n", columns);
  auto* weight = graph->add_initializer();
  weight->set_name("w");
  weight->set_data_type(::onnx::TensorProto::FLOAT);
  weight->add_dims(rows);
  weight->add_dims(columns);
  std::string* raw = weight->mutable_raw_data();
  raw->resize(rows * columns * sizeof(float));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const float value = WeightAt(i, j);
      std::memcpy(raw->data() + (i * columns + j) * sizeof(float), &value,
                  sizeof(float));
    }
  }
  auto* node = graph->add_node();
  node->set_op_type("MatMul");
  node->add_input("x");
  node->add_input("w");
  node->add_output("y");
  return model.SerializeAsString();
}

v1::Graph GraphFromText(const std::string& text) {
  v1::Graph graph;
  if (!google::protobuf::TextFormat::ParseFromString(text, &graph)) {
    graph.Clear();
  }
  return graph;
}

std::string Sha256(const std::string& bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string RawFloats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(float)};
}

std::vector<float> FloatsOf(const std::string& raw) {
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), values.size() * sizeof(float));
  return values;
}

inference::ModelInferRequest PerceptronRequest(int64_t batch) {
  inference::ModelInferRequest request;
  request.set_model_name("mlp");
  auto* input = request.add_inputs();
  input->set_name("features");
  input->set_datatype("FP32");
  input->add_shape(batch);
  input->add_shape(kFeatures);
  std::vector<float> values;
  for (int64_t i = 0; i < batch * kFeatures; ++i) {
    values.push_back(static_cast<float>(i * 7 % 19) / 19.0F - 0.5F);
  }
  request.add_raw_input_contents(RawFloats(values));
  return request;
}

Called Infer(Daemon& daemon, const inference::ModelInferRequest& request) {
  Called called;
  grpc::ClientContext context;
  called.status = daemon.v2().ModelInfer(&context, request, &called.response);
  return called;
}

Submitted SendContent(Daemon& daemon, const v1::SubmitHeader& header,
                      const std::string& content) {
  Submitted submitted;
  grpc::ClientContext context;
  const auto writer = daemon.graphs().Submit(&context, &submitted.response);
  v1::SubmitRequest message;
  *message.mutable_header() = header;
  bool open = writer->Write(message);
  for (size_t at = 0; open && at < content.size(); at += kChunkBytes) {
    message.set_chunk(content.substr(at, kChunkBytes));
    open = writer->Write(message);
  }
  writer->WritesDone();
  submitted.status = writer->Finish();
  return submitted;
}

Submitted Submit(Daemon& daemon, v1::ContentFormat format,
                 const std::string& content) {
  v1::SubmitHeader header;
  header.set_sha256(Sha256(content));
  header.set_size_bytes(content.size());
  header.set_format(format);
  Submitted submitted = SendContent(daemon, header, "");
  if (!submitted.status.ok() || !submitted.response.content_needed()) {
    return submitted;
  }
  return SendContent(daemon, header, content);
}

Executed Execute(Daemon& daemon, const v1::ExecuteRequest& request) {
  Executed executed;
  grpc::ClientContext context;
  const auto reader = daemon.graphs().Execute(&context, request);
  v1::ExecuteResponse message;
  while (reader->Read(&message)) {
    if (message.has_result()) executed.result = message.result();
  }
  executed.status = reader->Finish();
  return executed;
}

void AddFloats(v1::ExecuteRequest& request, const std::string& name,
               const std::vector<int64_t>& dims,
               const std::vector<float>& values) {
  v1::NamedTensor* input = request.add_inputs();
  input->set_name(name);
  input->mutable_tensor()->set_data_type(v1::DATA_TYPE_F32);
  for (int64_t dim : dims) input->mutable_tensor()->add_dims(dim);
  input->mutable_tensor()->set_data(RawFloats(values));
}

}  // namespace quern::e2e
