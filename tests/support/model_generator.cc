// SPDX-License-Identifier: Apache-2.0
#include "tests/support/model_generator.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quern::support {
namespace {

constexpr int64_t kIrVersion = 8;
constexpr int64_t kOpset = 17;
constexpr int64_t kClasses = 10;

// Method: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
// Generators", 2014 (SplitMix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  // About normal, in units of 2^-32: the sum of twelve uniform numbers has the
  // variance of one unit.
  int64_t Normal() {
    int64_t sum = -(int64_t{6} << 32);
    for (int i = 0; i < 12; ++i) sum += static_cast<int64_t>(Next() >> 32);
    return sum;
  }

 private:
  uint64_t state_;
};

// Builds a graph; every method returns the name of the value it made.
class Network {
 public:
  Network(absl::string_view name, uint64_t seed) : random_(seed) {
    model_.set_ir_version(kIrVersion);
    model_.set_producer_name("quern-make-model");
    model_.add_opset_import()->set_version(kOpset);
    model_.mutable_graph()->set_name(std::string(name));
  }

  // An extent below 1 is free and called "batch".
  std::string Input(const std::string& name, const std::vector<int64_t>& dims) {
    SetType(model_.mutable_graph()->add_input(), name, dims);
    return name;
  }

  // The value `from` becomes an output called `name`.
  void Output(const std::string& from, const std::string& name,
              const std::vector<int64_t>& dims) {
    Node("Identity", {from}, name);
    SetType(model_.mutable_graph()->add_output(), name, dims);
  }

  // Random weights: normal with this mean and standard deviation.
  std::string Weights(const std::string& name, const std::vector<int64_t>& dims,
                      double mean, double deviation) {
    ::onnx::TensorProto* tensor = model_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(::onnx::TensorProto::FLOAT);
    int64_t count = 1;
    for (int64_t dim : dims) {
      tensor->add_dims(dim);
      count *= dim;
    }
    // Mean and deviation are added as integers, so that no machine may fuse
    // the multiplication with an addition and round differently.
    const double unit = deviation / 4294967296.0;
    const int64_t offset = std::llround(mean / unit);
    std::string* bytes = tensor->mutable_raw_data();
    bytes->resize(static_cast<size_t>(count) * sizeof(float));
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(
          static_cast<double>(random_.Normal() + offset) * unit);
      std::memcpy(bytes->data() + i * sizeof(float), &value, sizeof(float));
    }
    return name;
  }

  ::onnx::NodeProto* Node(const char* op,
                          const std::vector<std::string>& inputs,
                          const std::string& output) {
    ::onnx::NodeProto* node = model_.mutable_graph()->add_node();
    node->set_name(output);
    node->set_op_type(op);
    for (const std::string& input : inputs) node->add_input(input);
    node->add_output(output);
    return node;
  }

  std::string Relu(const std::string& x) {
    const std::string output = absl::StrCat(x, ".relu");
    Node("Relu", {x}, output);
    return output;
  }

  // Convolution without bias, padded to keep the extent at stride 1, then
  // batch normalization that scales by about `gain`.
  std::string ConvNorm(const std::string& name, const std::string& x,
                       int64_t from, int64_t to, int64_t kernel, int64_t stride,
                       double gain) {
    const double he =
        std::sqrt(2.0 / static_cast<double>(from * kernel * kernel));
    const std::string conv = absl::StrCat(name, ".conv");
    ::onnx::NodeProto* node =
        Node("Conv",
             {x, Weights(absl::StrCat(conv, ".weight"),
                         {to, from, kernel, kernel}, 0, he)},
             conv);
    AddInts(node, "kernel_shape", {kernel, kernel});
    AddInts(node, "strides", {stride, stride});
    AddInts(node, "pads", {kernel / 2, kernel / 2, kernel / 2, kernel / 2});
    const std::string norm = absl::StrCat(name, ".norm");
    node =
        Node("BatchNormalization",
             {conv, Weights(absl::StrCat(norm, ".scale"), {to}, gain, gain / 8),
              Weights(absl::StrCat(norm, ".bias"), {to}, 0, 0.125),
              Weights(absl::StrCat(norm, ".mean"), {to}, 0, 0.125),
              Weights(absl::StrCat(norm, ".variance"), {to}, 1, 0.0625)},
             norm);
    AddFloat(node, "epsilon", 1e-5f);
    return norm;
  }

  // y = relu(x + norm(conv(relu(norm(conv(x)))))). The second normalization
  // scales down, so that the sum does not grow from block to block.
  std::string Block(const std::string& name, const std::string& x, int64_t from,
                    int64_t to, int64_t stride) {
    const std::string inner =
        Relu(ConvNorm(absl::StrCat(name, ".0"), x, from, to, 3, stride, 1));
    const std::string outer =
        ConvNorm(absl::StrCat(name, ".1"), inner, to, to, 3, 1, 0.25);
    std::string skip = x;
    if (from != to || stride != 1) {
      skip = ConvNorm(absl::StrCat(name, ".skip"), x, from, to, 1, stride, 1);
    }
    const std::string sum = absl::StrCat(name, ".sum");
    Node("Add", {outer, skip}, sum);
    return Relu(sum);
  }

  // x * transpose(weight) + bias, with standard deviation `gain` for inputs
  // of variance 1.
  std::string Dense(const std::string& name, const std::string& x, int64_t from,
                    int64_t to, double gain) {
    ::onnx::NodeProto* node =
        Node("Gemm",
             {x,
              Weights(absl::StrCat(name, ".weight"), {to, from}, 0,
                      gain / std::sqrt(static_cast<double>(from))),
              Weights(absl::StrCat(name, ".bias"), {to}, 0, 0.125)},
             name);
    AddInt(node, "transB", 1);
    return name;
  }

  std::string Softmax(const std::string& x) {
    const std::string output = absl::StrCat(x, ".softmax");
    AddInt(Node("Softmax", {x}, output), "axis", -1);
    return output;
  }

  ::onnx::ModelProto Take() { return std::move(model_); }

 private:
  static ::onnx::AttributeProto* Attribute(
      ::onnx::NodeProto* node, const char* name,
      ::onnx::AttributeProto::AttributeType type) {
    ::onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(type);
    return attribute;
  }
  static void AddInt(::onnx::NodeProto* node, const char* name, int64_t value) {
    Attribute(node, name, ::onnx::AttributeProto::INT)->set_i(value);
  }
  static void AddInts(::onnx::NodeProto* node, const char* name,
                      const std::vector<int64_t>& values) {
    ::onnx::AttributeProto* attribute =
        Attribute(node, name, ::onnx::AttributeProto::INTS);
    for (int64_t value : values) attribute->add_ints(value);
  }
  static void AddFloat(::onnx::NodeProto* node, const char* name, float value) {
    Attribute(node, name, ::onnx::AttributeProto::FLOAT)->set_f(value);
  }
  static void SetType(::onnx::ValueInfoProto* info, const std::string& name,
                      const std::vector<int64_t>& dims) {
    info->set_name(name);
    ::onnx::TypeProto::Tensor* type =
        info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(::onnx::TensorProto::FLOAT);
    for (int64_t dim : dims) {
      ::onnx::TensorShapeProto::Dimension* added =
          type->mutable_shape()->add_dim();
      if (dim < 1) {
        added->set_dim_param("batch");
      } else {
        added->set_dim_value(dim);
      }
    }
  }

  ::onnx::ModelProto model_;
  Random random_;
};

::onnx::ModelProto MakeDemoCnn(uint64_t seed) {
  Network net("demo_cnn", seed);
  std::string x = net.Input("image", {1, 3, 64, 64});
  x = net.Relu(net.ConvNorm("stem", x, 3, 16, 3, 1, 1));
  int64_t channels = 16;
  for (int stage = 0; stage < 3; ++stage) {
    const int64_t wider = int64_t{16} << stage;
    for (int block = 0; block < 2; ++block) {
      const int64_t stride = stage > 0 && block == 0 ? 2 : 1;
      x = net.Block(absl::StrCat("stage", stage, ".", block), x, channels,
                    wider, stride);
      channels = wider;
    }
  }
  net.Node("GlobalAveragePool", {x}, "pool");
  net.Node("Flatten", {"pool"}, "flat");
  x = net.Dense("head", "flat", channels, kClasses, 1);
  net.Output(net.Softmax(x), "probabilities", {1, kClasses});
  return net.Take();
}

::onnx::ModelProto MakeMlp(uint64_t seed) {
  constexpr int64_t kFeatures = 64;
  constexpr int64_t kHidden = 128;
  const double he = std::sqrt(2.0);
  Network net("mlp", seed);
  std::string x = net.Input("features", {0, kFeatures});
  x = net.Relu(net.Dense("hidden0", x, kFeatures, kHidden, he));
  x = net.Relu(net.Dense("hidden1", x, kHidden, kHidden, he));
  x = net.Dense("head", x, kHidden, kClasses, 1);
  net.Output(net.Softmax(x), "probabilities", {0, kClasses});
  return net.Take();
}

}  // namespace

std::vector<std::string> ModelKinds() { return {"demo_cnn", "mlp"}; }

absl::StatusOr<::onnx::ModelProto> MakeModel(absl::string_view kind,
                                             uint64_t seed) {
  if (kind == "demo_cnn") return MakeDemoCnn(seed);
  if (kind == "mlp") return MakeMlp(seed);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown kind of model: expected one of ",
                   absl::StrJoin(ModelKinds(), ", "), ", got ", kind));
}

std::string IdentityFile() {
  ::onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  auto* graph = model.mutable_graph();
  graph->set_name("identity");
  for (auto* value : {graph->add_input(), graph->add_output()}) {
    auto* type = value->mutable_type()->mutable_tensor_type();
    type->set_elem_type(::onnx::TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("n");
  }
  graph->mutable_input(0)->set_name("x");
  graph->mutable_output(0)->set_name("y");
  auto* node = graph->add_node();
  node->set_op_type("Identity");
  node->add_input("x");
  node->add_output("y");
  return model.SerializeAsString();
}

}  // namespace quern::support
