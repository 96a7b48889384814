// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/model_file.h"

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"

#include "engine/base/host_memory.h"

namespace quern::onnx_import {
namespace {

using testing::HasSubstr;

// A model with an initializer of each of these lengths; the bytes of number i
// are all 'a' + i.
onnx::ModelProto ModelWith(const std::vector<size_t>& lengths) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.mutable_graph()->set_name("g");
  for (size_t i = 0; i < lengths.size(); ++i) {
    onnx::TensorProto* tensor = model.mutable_graph()->add_initializer();
    tensor->set_name(std::to_string(i));
    tensor->add_dims(static_cast<int64_t>(lengths[i]));
    tensor->set_data_type(onnx::TensorProto::UINT8);
    tensor->set_raw_data(std::string(lengths[i], static_cast<char>('a' + i)));
  }
  model.mutable_graph()->add_node()->set_op_type("Relu");
  return model;
}

absl::StatusOr<std::shared_ptr<const ModelFile>> Read(
    const std::string& bytes) {
  return ReadModelFile(*FromMemory(bytes));
}

// The data of an initializer, wherever it is.
std::string DataOf(const ModelFile& file, int i) {
  const onnx::TensorProto& tensor = file.proto->graph().initializer(i);
  const auto apart = file.data.find(&tensor);
  if (apart == file.data.end()) return tensor.raw_data();
  EXPECT_TRUE(tensor.has_raw_data());
  EXPECT_TRUE(tensor.raw_data().empty());
  return {apart->second.data(), apart->second.size()};
}

TEST(ModelFile, ReadsLongDataApartAndAligned) {
  const onnx::ModelProto model = ModelWith({5000, 10, 3'000'001, 4096});
  const auto file = Read(model.SerializeAsString());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->data.size(), 3u);
  for (const auto& [tensor, data] : (*file)->data) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data.data()) % base::kHostAlignment,
              0u);
  }
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(DataOf(**file, i), model.graph().initializer(i).raw_data());
  }
  onnx::ModelProto rest = *(*file)->proto;
  for (int i : {0, 2, 3}) {
    rest.mutable_graph()->mutable_initializer(i)->set_raw_data(
        model.graph().initializer(i).raw_data());
  }
  EXPECT_EQ(rest.SerializeAsString(), model.SerializeAsString());
}

TEST(ModelFile, ReadsAFileLikeMemory) {
  std::vector<size_t> lengths;
  for (size_t i = 0; i < 20; ++i) lengths.push_back(4000 + 50 * i);
  const onnx::ModelProto model = ModelWith(lengths);
  const std::string path = testing::TempDir() + "/model_file_test.onnx";
  std::ofstream(path, std::ios::binary) << model.SerializeAsString();
  const auto source = OpenFile(path);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto file = ReadModelFile(**source);
  ASSERT_TRUE(file.ok()) << file.status();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(DataOf(**file, i), model.graph().initializer(i).raw_data());
  }
  std::remove(path.c_str());
}

TEST(ModelFile, NamesAFileThatIsNone) {
  EXPECT_THAT(OpenFile("/no/such.onnx").status().message(),
              HasSubstr("/no/such.onnx: No such file"));
  EXPECT_THAT(OpenFile("/tmp").status().message(), HasSubstr("it is no file"));
}

TEST(ModelFile, JoinsAGraphThatComesInTwoParts) {
  const std::string twice = ModelWith({5000}).SerializeAsString() +
                            ModelWith({6000, 7}).SerializeAsString();
  const auto file = Read(twice);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->proto->graph().initializer_size(), 3);
  EXPECT_EQ(DataOf(**file, 0).size(), 5000u);
  EXPECT_EQ(DataOf(**file, 1).size(), 6000u);
  EXPECT_EQ(DataOf(**file, 2).size(), 7u);
}

// A field of bytes: its tag (below 16), its length, its content.
std::string Field(char tag, const std::string& content) {
  std::string field(1, tag);
  for (size_t size = content.size();; size >>= 7) {
    field.push_back(static_cast<char>(size < 128 ? size : size | 128));
    if (size < 128) return field + content;
  }
}

TEST(ModelFile, TakesTheLastOfTwoDataFields) {
  const std::string tensor = Field('\x4a', std::string(5000, '5')) +
                             Field('\x4a', std::string(6000, '6'));
  const auto file = Read(Field('\x3a', Field('\x2a', tensor)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(DataOf(**file, 0), std::string(6000, '6'));
}

TEST(ModelFile, RefusesEveryTruncationAndSurvivesDamage) {
  const google::protobuf::LogSilencer silencer;
  const std::string bytes = ModelWith({4100, 3}).SerializeAsString();
  ASSERT_TRUE(Read(bytes).ok());
  for (size_t size = 1; size < bytes.size(); ++size) {
    // Cut behind the model's first field it is a message, without a graph.
    const auto file = Read(bytes.substr(0, size));
    EXPECT_TRUE(!file.ok() || !(*file)->proto->has_graph()) << size;
  }
  for (size_t at = 0; at < bytes.size(); at += at < 60 ? 1 : 97) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      const auto file = Read(damaged);
      EXPECT_TRUE(file.ok() || !file.status().message().empty());
    }
  }
}

TEST(ModelFile, RefusesALengthBeyondTheFile) {
  // A graph of 2^63 bytes.
  const std::string bytes = "\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
  EXPECT_THAT(Read(bytes).status().message(), HasSubstr("no ONNX model"));
  // A number that does not end.
  EXPECT_THAT(Read(std::string(20, '\xff')).status().message(),
              HasSubstr("no ONNX model"));
}

}  // namespace
}  // namespace quern::onnx_import
