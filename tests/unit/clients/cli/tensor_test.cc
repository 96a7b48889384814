// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/tensor.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/onnx/onnx.pb.h"

namespace quern::cli {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

v1::Tensor Floats(std::vector<float> values) {
  v1::Tensor tensor;
  tensor.set_data_type(v1::DATA_TYPE_F32);
  tensor.add_dims(static_cast<int64_t>(values.size()));
  tensor.set_data(values.data(), values.size() * sizeof(float));
  return tensor;
}

v1::Tensor Integers(std::vector<int64_t> values) {
  v1::Tensor tensor;
  tensor.set_data_type(v1::DATA_TYPE_I64);
  tensor.add_dims(static_cast<int64_t>(values.size()));
  tensor.set_data(values.data(), values.size() * sizeof(int64_t));
  return tensor;
}

TEST(Difference, IsWithinAbsolutePlusRelativeToleranceAsInNumPy) {
  const Tolerance tolerance{.rtol = 0.1, .atol = 0.01};
  EXPECT_EQ(Difference(Floats({1.1f}), Floats({1}), tolerance), "");
  EXPECT_NE(Difference(Floats({1.12f}), Floats({1}), tolerance), "");
  EXPECT_EQ(Difference(Floats({0.009f}), Floats({0}), tolerance), "");
  EXPECT_NE(Difference(Floats({0.011f}), Floats({0}), tolerance), "");
}

TEST(Difference, NanEqualsNanAndInfinityOnlyItself) {
  const Tolerance tolerance;
  EXPECT_EQ(Difference(Floats({kNan}), Floats({kNan}), tolerance), "");
  EXPECT_NE(Difference(Floats({kNan}), Floats({1}), tolerance), "");
  EXPECT_NE(Difference(Floats({1}), Floats({kNan}), tolerance), "");
  EXPECT_EQ(Difference(Floats({-kInf}), Floats({-kInf}), tolerance), "");
  EXPECT_NE(Difference(Floats({-kInf}), Floats({kInf}), tolerance), "");
  EXPECT_NE(Difference(Floats({1}), Floats({kInf}), tolerance), "");
}

TEST(Difference, IntegersAreComparedExactlyBeyondTheReachOfDoubles) {
  const int64_t big = (int64_t{1} << 60) + 1;
  const Tolerance loose{.rtol = 1, .atol = 1};
  EXPECT_EQ(Difference(Integers({big}), Integers({big}), loose), "");
  EXPECT_THAT(Difference(Integers({big}), Integers({big - 1}), loose),
              HasSubstr("got 1152921504606846977, expected "
                        "1152921504606846976"));
}

TEST(Difference, SaysWhereTheFirstIsAndHowGreatTheWorst) {
  v1::Tensor got = Floats({1, 2, 3, 4});
  v1::Tensor expected = Floats({1, 2, 5, 7});
  for (v1::Tensor* tensor : {&got, &expected}) {
    tensor->clear_dims();
    tensor->add_dims(2);
    tensor->add_dims(2);
  }
  EXPECT_EQ(Difference(got, expected, {}),
            "differs at [1,0]: got 3, expected 5 (2 of 4 differ, by 3 at "
            "most)");
}

TEST(Difference, ShapesAndTypesMustAgree) {
  EXPECT_EQ(Difference(Floats({1}), Floats({1, 2}), {}),
            "is f32[1], expected f32[2]");
  EXPECT_EQ(Difference(Integers({1}), Floats({1}), {}),
            "is i64[1], expected f32[1]");
}

TEST(RandomTensors, AreTheSameForTheSameSeedAndWithinTheirRange) {
  v1::TensorSpec spec;
  spec.set_name("x");
  spec.add_dims(-1);
  spec.add_dim_text("n");
  spec.add_dims(100);
  spec.add_dim_text("100");
  for (v1::DataType type :
       {v1::DATA_TYPE_F32, v1::DATA_TYPE_F64, v1::DATA_TYPE_F16,
        v1::DATA_TYPE_BF16, v1::DATA_TYPE_I64, v1::DATA_TYPE_U8}) {
    spec.set_data_type(type);
    const auto tensor = RandomTensor(spec, {{"n", 7}}, 3);
    ASSERT_TRUE(tensor.ok());
    ASSERT_EQ(Elements(tensor->tensor()), 700);
    EXPECT_EQ(tensor->tensor().data(),
              RandomTensor(spec, {{"n", 7}}, 3)->tensor().data());
    EXPECT_NE(tensor->tensor().data(),
              RandomTensor(spec, {{"n", 7}}, 4)->tensor().data());
    double least = 9;
    double greatest = -9;
    for (int64_t i = 0; i < 700; ++i) {
      least = std::min(least, FloatAt(tensor->tensor(), i));
      greatest = std::max(greatest, FloatAt(tensor->tensor(), i));
    }
    if (IsFloat(type)) {
      EXPECT_GE(least, -1);
      EXPECT_LT(least, -0.9);
      EXPECT_LT(greatest, 1);
      EXPECT_GT(greatest, 0.9);
    } else {
      EXPECT_EQ(least, 0);
      EXPECT_EQ(greatest, 7);
    }
  }
}

TEST(RandomTensors, AFreeDimensionIsOneUnlessItIsNamed) {
  v1::TensorSpec spec;
  spec.set_data_type(v1::DATA_TYPE_F32);
  spec.add_dims(-1);
  spec.add_dim_text("n");
  EXPECT_EQ(Elements(RandomTensor(spec, {}, 1)->tensor()), 1);
  EXPECT_FALSE(RandomTensor(spec, {{"n", int64_t{1} << 40}}, 1).ok());
}

class TensorFiles : public ::testing::Test {
 protected:
  absl::StatusOr<v1::NamedTensor> Read(const onnx::TensorProto& proto) {
    return ReadBytes(proto.SerializeAsString());
  }
  absl::StatusOr<v1::NamedTensor> ReadBytes(const std::string& bytes) {
    const std::string path = ::testing::TempDir() + "/tensor_test.pb";
    std::ofstream(path, std::ios::binary) << bytes;
    return ReadTensorFile(path);
  }
};

TEST_F(TensorFiles, EveryTypedListIsRead) {
  struct Case {
    onnx::TensorProto::DataType type;
    void (*fill)(onnx::TensorProto&);
    double value;
  };
  const Case cases[] = {
      {onnx::TensorProto::FLOAT, [](auto& t) { t.add_float_data(1.5f); }, 1.5},
      {onnx::TensorProto::DOUBLE, [](auto& t) { t.add_double_data(1.5); }, 1.5},
      {onnx::TensorProto::INT32, [](auto& t) { t.add_int32_data(-5); }, -5},
      {onnx::TensorProto::INT16, [](auto& t) { t.add_int32_data(-5); }, -5},
      {onnx::TensorProto::INT8, [](auto& t) { t.add_int32_data(-5); }, -5},
      {onnx::TensorProto::UINT16, [](auto& t) { t.add_int32_data(5); }, 5},
      {onnx::TensorProto::UINT8, [](auto& t) { t.add_int32_data(5); }, 5},
      {onnx::TensorProto::BOOL, [](auto& t) { t.add_int32_data(1); }, 1},
      {onnx::TensorProto::INT64, [](auto& t) { t.add_int64_data(-5); }, -5},
      {onnx::TensorProto::UINT32, [](auto& t) { t.add_uint64_data(5); }, 5},
      {onnx::TensorProto::UINT64, [](auto& t) { t.add_uint64_data(5); }, 5},
      {onnx::TensorProto::FLOAT16, [](auto& t) { t.add_int32_data(0x3e00); },
       1.5},
      {onnx::TensorProto::BFLOAT16, [](auto& t) { t.add_int32_data(0x3fc0); },
       1.5},
  };
  for (const Case& c : cases) {
    onnx::TensorProto proto;
    proto.set_data_type(c.type);
    proto.add_dims(1);
    c.fill(proto);
    const auto tensor = Read(proto);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(FloatAt(tensor->tensor(), 0), c.value) << c.type;
  }
}

TEST_F(TensorFiles, RawDataIsTakenAsItIs) {
  onnx::TensorProto proto;
  proto.set_data_type(onnx::TensorProto::INT32);
  proto.add_dims(2);
  proto.set_raw_data(std::string("\1\0\0\0\2\0\0\0", 8));
  const auto tensor = Read(proto);
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(static_cast<int64_t>(IntegerAt(tensor->tensor(), 1)), 2);
}

TEST_F(TensorFiles, AWrongNumberOfElementsIsAnError) {
  onnx::TensorProto proto;
  proto.set_data_type(onnx::TensorProto::INT32);
  proto.add_dims(2);
  proto.add_int32_data(1);
  EXPECT_EQ(Read(proto).status().code(), absl::StatusCode::kInvalidArgument);
  proto.set_raw_data("abcdefg");
  EXPECT_EQ(Read(proto).status().code(), absl::StatusCode::kInvalidArgument);
  proto.set_dims(0, -1);
  EXPECT_EQ(Read(proto).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TensorFiles, TypesThatNoModelTakesAreUnimplemented) {
  onnx::TensorProto proto;
  proto.set_data_type(onnx::TensorProto::STRING);
  EXPECT_EQ(Read(proto).status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(TensorFiles, WhatIsWrittenIsReadBack) {
  v1::NamedTensor named;
  named.set_name("x");
  *named.mutable_tensor() = Floats({1, kNan, -kInf});
  const std::string path = ::testing::TempDir() + "/written.pb";
  ASSERT_TRUE(WriteTensorFile(path, named).ok());
  const auto read = ReadTensorFile(path);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->name(), "x");
  EXPECT_EQ(read->tensor().data(), named.tensor().data());
}

}  // namespace
}  // namespace quern::cli
