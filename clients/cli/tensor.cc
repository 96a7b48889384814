// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "proto/onnx/onnx.pb.h"

namespace quern::cli {
namespace {

struct TypeRow {
  v1::DataType type;
  const char* name;
  int bytes;
  onnx::TensorProto::DataType onnx;
};

constexpr TypeRow kTypes[] = {
    {v1::DATA_TYPE_BOOL, "bool", 1, onnx::TensorProto::BOOL},
    {v1::DATA_TYPE_I8, "i8", 1, onnx::TensorProto::INT8},
    {v1::DATA_TYPE_I16, "i16", 2, onnx::TensorProto::INT16},
    {v1::DATA_TYPE_I32, "i32", 4, onnx::TensorProto::INT32},
    {v1::DATA_TYPE_I64, "i64", 8, onnx::TensorProto::INT64},
    {v1::DATA_TYPE_U8, "u8", 1, onnx::TensorProto::UINT8},
    {v1::DATA_TYPE_U16, "u16", 2, onnx::TensorProto::UINT16},
    {v1::DATA_TYPE_U32, "u32", 4, onnx::TensorProto::UINT32},
    {v1::DATA_TYPE_U64, "u64", 8, onnx::TensorProto::UINT64},
    {v1::DATA_TYPE_F16, "f16", 2, onnx::TensorProto::FLOAT16},
    {v1::DATA_TYPE_BF16, "bf16", 2, onnx::TensorProto::BFLOAT16},
    {v1::DATA_TYPE_F32, "f32", 4, onnx::TensorProto::FLOAT},
    {v1::DATA_TYPE_F64, "f64", 8, onnx::TensorProto::DOUBLE},
};

const TypeRow* RowOf(v1::DataType type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return &row;
  }
  return nullptr;
}

template <typename T>
T Get(const v1::Tensor& tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.data().data() + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void Put(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

double FromHalf(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double value = 0;
  if (exponent == 31) {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, -24);
  } else {
    value = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

// Exact for the values that random tensors use: multiples of 2^-10 below 1.
uint16_t ToHalf(double value) {
  const uint16_t sign = value < 0 ? 0x8000 : 0;
  if (value == 0) return sign;
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(value), &exponent);
  const int mantissa = static_cast<int>(fraction * 2048) & 1023;
  return static_cast<uint16_t>(sign | ((exponent + 14) << 10) | mantissa);
}

uint16_t ToBrain(double value) {
  return static_cast<uint16_t>(
      std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16);
}

// The product of the dimensions; -1 if one is negative or it is too great.
int64_t CheckedElements(const google::protobuf::RepeatedField<int64_t>& dims) {
  int64_t product = 1;
  for (int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(product, dim, &product)) return -1;
  }
  return product;
}

// Appends the typed elements of `proto` to `bytes`; how many there were.
int64_t AppendTyped(const onnx::TensorProto& proto, v1::DataType type,
                    std::string& bytes) {
  switch (type) {
    case v1::DATA_TYPE_F32:
      for (float v : proto.float_data()) Put(bytes, v);
      return proto.float_data_size();
    case v1::DATA_TYPE_F64:
      for (double v : proto.double_data()) Put(bytes, v);
      return proto.double_data_size();
    case v1::DATA_TYPE_I64:
      for (int64_t v : proto.int64_data()) Put(bytes, v);
      return proto.int64_data_size();
    case v1::DATA_TYPE_U32:
      for (uint64_t v : proto.uint64_data()) {
        Put(bytes, static_cast<uint32_t>(v));
      }
      return proto.uint64_data_size();
    case v1::DATA_TYPE_U64:
      for (uint64_t v : proto.uint64_data()) Put(bytes, v);
      return proto.uint64_data_size();
    default:
      break;
  }
  const int64_t width = ElementBytes(type);
  for (int32_t v : proto.int32_data()) {
    // The low bytes: narrow types are widened, floats are bit patterns.
    bytes.append(reinterpret_cast<const char*>(&v), width);
  }
  return proto.int32_data_size();
}

// SplitMix64; the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

void PutRandom(std::string& bytes, v1::DataType type, Random& random) {
  const uint64_t bits = random.Next();
  // A multiple of 2^-23, or of 2^-10 for the types that hold no more.
  const double fine = static_cast<double>(bits >> 40) * 0x1p-23 - 1;
  const double coarse = static_cast<double>(bits >> 53) * 0x1p-10 - 1;
  switch (type) {
    case v1::DATA_TYPE_F32:
      Put(bytes, static_cast<float>(fine));
      return;
    case v1::DATA_TYPE_F64:
      Put(bytes, fine);
      return;
    case v1::DATA_TYPE_F16:
      Put(bytes, ToHalf(coarse));
      return;
    case v1::DATA_TYPE_BF16:
      Put(bytes, ToBrain(coarse));
      return;
    case v1::DATA_TYPE_BOOL:
      Put(bytes, static_cast<uint8_t>(bits & 1));
      return;
    default: {
      const uint64_t integer = bits & 7;
      bytes.append(reinterpret_cast<const char*>(&integer), ElementBytes(type));
      return;
    }
  }
}

std::string IndexText(const v1::Tensor& tensor, int64_t i) {
  std::string text;
  for (int axis = tensor.dims_size() - 1; axis >= 0; --axis) {
    const int64_t dim = tensor.dims(axis);
    text = absl::StrCat(i % dim, text.empty() ? "" : ",", text);
    i /= dim;
  }
  return absl::StrCat("[", text, "]");
}

}  // namespace

std::string TypeName(v1::DataType type) {
  const TypeRow* row = RowOf(type);
  return row == nullptr ? "?" : row->name;
}

int64_t ElementBytes(v1::DataType type) {
  const TypeRow* row = RowOf(type);
  return row == nullptr ? 0 : row->bytes;
}

bool IsFloat(v1::DataType type) {
  return type == v1::DATA_TYPE_F16 || type == v1::DATA_TYPE_BF16 ||
         type == v1::DATA_TYPE_F32 || type == v1::DATA_TYPE_F64;
}

int64_t Elements(const v1::Tensor& tensor) {
  return std::max<int64_t>(0, CheckedElements(tensor.dims()));
}

std::string ShapeText(const v1::Tensor& tensor) {
  std::string text = absl::StrCat(TypeName(tensor.data_type()), "[");
  for (int i = 0; i < tensor.dims_size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ",", tensor.dims(i));
  }
  return text + "]";
}

double FloatAt(const v1::Tensor& tensor, int64_t i) {
  switch (tensor.data_type()) {
    case v1::DATA_TYPE_F32:
      return Get<float>(tensor, i);
    case v1::DATA_TYPE_F64:
      return Get<double>(tensor, i);
    case v1::DATA_TYPE_F16:
      return FromHalf(Get<uint16_t>(tensor, i));
    case v1::DATA_TYPE_BF16:
      return std::bit_cast<float>(uint32_t{Get<uint16_t>(tensor, i)} << 16);
    default:
      return static_cast<double>(IntegerAt(tensor, i));
  }
}

__int128 IntegerAt(const v1::Tensor& tensor, int64_t i) {
  switch (tensor.data_type()) {
    case v1::DATA_TYPE_BOOL:
    case v1::DATA_TYPE_U8:
      return Get<uint8_t>(tensor, i);
    case v1::DATA_TYPE_I8:
      return Get<int8_t>(tensor, i);
    case v1::DATA_TYPE_I16:
      return Get<int16_t>(tensor, i);
    case v1::DATA_TYPE_U16:
      return Get<uint16_t>(tensor, i);
    case v1::DATA_TYPE_I32:
      return Get<int32_t>(tensor, i);
    case v1::DATA_TYPE_U32:
      return Get<uint32_t>(tensor, i);
    case v1::DATA_TYPE_I64:
      return Get<int64_t>(tensor, i);
    case v1::DATA_TYPE_U64:
      return Get<uint64_t>(tensor, i);
    default:
      return 0;
  }
}

std::string TextAt(const v1::Tensor& tensor, int64_t i) {
  if (IsFloat(tensor.data_type())) return absl::StrCat(FloatAt(tensor, i));
  const __int128 value = IntegerAt(tensor, i);
  return value < 0 ? absl::StrCat(static_cast<int64_t>(value))
                   : absl::StrCat(static_cast<uint64_t>(value));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", path, ": ", error.message()));
  }
  std::string bytes(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!file) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path));
  }
  return bytes;
}

absl::StatusOr<v1::NamedTensor> ReadTensorFile(const std::string& path) {
  absl::StatusOr<std::string> file = ReadFile(path);
  if (!file.ok()) return file.status();
  onnx::TensorProto proto;
  if (!proto.ParseFromString(*file)) {
    // A sequence, for instance, is another message.
    return absl::UnimplementedError(absl::StrCat(path, " holds no tensor"));
  }
  v1::NamedTensor named;
  named.set_name(proto.name());
  v1::Tensor& tensor = *named.mutable_tensor();
  for (const TypeRow& row : kTypes) {
    if (row.onnx == proto.data_type()) tensor.set_data_type(row.type);
  }
  if (tensor.data_type() == v1::DATA_TYPE_UNSPECIFIED) {
    return absl::UnimplementedError(
        absl::StrCat(path, " holds elements of the type ", proto.data_type(),
                     ", which is not supported"));
  }
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    return absl::UnimplementedError(
        absl::StrCat(path, " has its data in another file"));
  }
  const int64_t elements = CheckedElements(proto.dims());
  *tensor.mutable_dims() = proto.dims();
  const int64_t width = ElementBytes(tensor.data_type());
  int64_t got = 0;
  if (proto.has_raw_data()) {
    got = static_cast<int64_t>(proto.raw_data().size()) / width;
    tensor.set_data(std::move(*proto.mutable_raw_data()));
    if (static_cast<int64_t>(tensor.data().size()) != got * width) got = -1;
  } else {
    got = AppendTyped(proto, tensor.data_type(), *tensor.mutable_data());
  }
  if (elements < 0 || got != elements) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has ", got, " elements for the shape ", ShapeText(tensor)));
  }
  return named;
}

absl::Status WriteTensorFile(const std::string& path,
                             const v1::NamedTensor& tensor) {
  onnx::TensorProto proto;
  proto.set_name(tensor.name());
  const TypeRow* row = RowOf(tensor.tensor().data_type());
  proto.set_data_type(row == nullptr ? onnx::TensorProto::UNDEFINED
                                     : row->onnx);
  *proto.mutable_dims() = tensor.tensor().dims();
  proto.set_raw_data(tensor.tensor().data());
  std::ofstream file(path, std::ios::binary);
  if (!proto.SerializeToOstream(&file) || !file.flush()) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::NamedTensor> RandomTensor(
    const v1::TensorSpec& spec, const std::map<std::string, int64_t>& sizes,
    uint64_t seed) {
  v1::NamedTensor named;
  named.set_name(spec.name());
  v1::Tensor& tensor = *named.mutable_tensor();
  tensor.set_data_type(spec.data_type());
  for (int i = 0; i < spec.dims_size(); ++i) {
    int64_t dim = spec.dims(i);
    if (dim < 0) {
      const std::string text = i < spec.dim_text_size() ? spec.dim_text(i) : "";
      const auto it = sizes.find(text);
      dim = it == sizes.end() ? 1 : it->second;
    }
    tensor.add_dims(dim);
  }
  const int64_t elements = CheckedElements(tensor.dims());
  const int64_t width = ElementBytes(tensor.data_type());
  constexpr int64_t kMaxBytes = int64_t{1} << 31;
  if (elements < 0 || width == 0 || elements > kMaxBytes / width) {
    return absl::InvalidArgumentError(
        absl::StrCat("input '", spec.name(), "' of ", ShapeText(tensor),
                     " is too large for one request"));
  }
  Random random(seed);
  std::string& bytes = *tensor.mutable_data();
  bytes.reserve(elements * width);
  for (int64_t i = 0; i < elements; ++i) {
    PutRandom(bytes, tensor.data_type(), random);
  }
  return named;
}

std::string Difference(const v1::Tensor& got, const v1::Tensor& expected,
                       const Tolerance& tolerance) {
  const bool same_shape =
      std::equal(got.dims().begin(), got.dims().end(), expected.dims().begin(),
                 expected.dims().end());
  if (got.data_type() != expected.data_type() || !same_shape) {
    return absl::StrCat("is ", ShapeText(got), ", expected ",
                        ShapeText(expected));
  }
  const bool real = IsFloat(got.data_type());
  int64_t first = -1;
  int64_t wrong = 0;
  double worst = 0;
  const int64_t elements = Elements(expected);
  if (static_cast<int64_t>(got.data().size()) !=
      elements * ElementBytes(got.data_type())) {
    return absl::StrCat("has ", got.data().size(), " bytes for ",
                        ShapeText(got));
  }
  for (int64_t i = 0; i < elements; ++i) {
    bool same = false;
    double error = 0;
    if (real) {
      const double a = FloatAt(got, i);
      const double b = FloatAt(expected, i);
      error = std::fabs(a - b);
      // Infinities of one sign are equal though their difference is not 0.
      same = a == b || (std::isnan(a) && std::isnan(b)) ||
             error <= tolerance.atol + tolerance.rtol * std::fabs(b);
      if (std::isinf(b) && a != b) same = false;
    } else {
      same = IntegerAt(got, i) == IntegerAt(expected, i);
      error = std::fabs(FloatAt(got, i) - FloatAt(expected, i));
    }
    if (same) continue;
    ++wrong;
    if (first < 0) first = i;
    if (!(error <= worst)) worst = error;
  }
  if (wrong == 0) return "";
  return absl::StrCat("differs at ", IndexText(expected, first), ": got ",
                      TextAt(got, first), ", expected ",
                      TextAt(expected, first), " (", wrong, " of ", elements,
                      " differ, by ", worst, " at most)");
}

}  // namespace quern::cli
