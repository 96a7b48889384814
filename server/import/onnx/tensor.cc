// SPDX-License-Identifier: Apache-2.0
#include "server/import/onnx/tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "engine/ir/eval.h"
#include "server/import/onnx/names.h"

namespace quern::onnx_import {
namespace {

using ir::DType;
using onnx::TensorProto;

std::string TypeName(int32_t type) {
  const std::string name =
      onnx::TensorProto_DataType_Name(static_cast<TensorProto::DataType>(type));
  return name.empty() ? absl::StrCat("number ", type) : name;
}

// The elements of a typed list in memory, each converted to `Element`.
template <typename Element, typename List>
std::string Packed(const List& list) {
  std::string bytes(sizeof(Element) * static_cast<size_t>(list.size()), '\0');
  for (int i = 0; i < list.size(); ++i) {
    const auto value = static_cast<Element>(list.Get(i));
    std::memcpy(bytes.data() + sizeof(Element) * static_cast<size_t>(i), &value,
                sizeof(Element));
  }
  return bytes;
}

// Which list holds the elements of which type is part of the format.
std::string TypedData(const TensorProto& tensor, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Packed<float>(tensor.float_data());
    case DType::kF64:
      return Packed<double>(tensor.double_data());
    case DType::kI64:
      return Packed<int64_t>(tensor.int64_data());
    case DType::kU64:
      return Packed<uint64_t>(tensor.uint64_data());
    case DType::kU32:
      return Packed<uint32_t>(tensor.uint64_data());
    case DType::kI32:
      return Packed<int32_t>(tensor.int32_data());
    case DType::kI16:
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16:
      return Packed<uint16_t>(tensor.int32_data());
    case DType::kBool:
    case DType::kI8:
    case DType::kU8:
      return Packed<uint8_t>(tensor.int32_data());
    case DType::kWeakInt:
    case DType::kWeakFloat:
      break;
  }
  return {};
}

absl::Status CheckLocation(const TensorProto& tensor) {
  if (tensor.data_location() != TensorProto::EXTERNAL &&
      tensor.external_data_size() == 0) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat("tensor ", Quoted(tensor.name()),
                   " has its data in another file; external data is not "
                   "supported, save the model as one file"));
}

}  // namespace

absl::StatusOr<DType> DTypeOfElement(int32_t element_type) {
  switch (element_type) {
    case TensorProto::FLOAT:
      return DType::kF32;
    case TensorProto::UINT8:
      return DType::kU8;
    case TensorProto::INT8:
      return DType::kI8;
    case TensorProto::UINT16:
      return DType::kU16;
    case TensorProto::INT16:
      return DType::kI16;
    case TensorProto::INT32:
      return DType::kI32;
    case TensorProto::INT64:
      return DType::kI64;
    case TensorProto::BOOL:
      return DType::kBool;
    case TensorProto::FLOAT16:
      return DType::kF16;
    case TensorProto::DOUBLE:
      return DType::kF64;
    case TensorProto::UINT32:
      return DType::kU32;
    case TensorProto::UINT64:
      return DType::kU64;
    case TensorProto::BFLOAT16:
      return DType::kBF16;
    default:
      return absl::UnimplementedError(absl::StrCat(
          "element type ", TypeName(element_type), " is not supported"));
  }
}

absl::StatusOr<graph::Weight> ReadTensor(
    const TensorProto& tensor, const std::shared_ptr<const void>& owner,
    const graph::Bytes* apart) {
  const auto at_fault = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(tensor.name()), " ", what));
  };
  QUERN_RETURN_IF_ERROR(CheckLocation(tensor));
  graph::Weight weight;
  weight.name = tensor.name();
  const absl::StatusOr<DType> dtype = DTypeOfElement(tensor.data_type());
  if (!dtype.ok()) {
    return absl::Status(dtype.status().code(),
                        absl::StrCat("tensor ", Quoted(tensor.name()), ": ",
                                     dtype.status().message()));
  }
  weight.dtype = *dtype;
  if (tensor.has_segment()) return at_fault("is one segment of a tensor");
  if (tensor.dims_size() > ir::kMaxRank) {
    return at_fault(absl::StrCat("has rank ", tensor.dims_size(),
                                 ", the limit is ", ir::kMaxRank));
  }
  int64_t elements = 1;
  for (int64_t dim : tensor.dims()) {
    if (dim < 0) return at_fault(absl::StrCat("has the dimension ", dim));
    weight.dims.push_back(dim);
    // Zeros must not hide an overflow of the others.
    int64_t product = 0;
    if (__builtin_mul_overflow(elements, std::max<int64_t>(dim, 1), &product) ||
        product > ir::kMaxElements) {
      return at_fault(
          absl::StrCat("has more than ", ir::kMaxElements, " elements"));
    }
    elements = product;
  }
  elements = ElementCount(weight);
  const auto size =
      static_cast<size_t>(elements) * static_cast<size_t>(ir::ByteSize(*dtype));
  if (apart != nullptr) {
    weight.data = *apart;
  } else if (tensor.has_raw_data()) {
    const std::string& raw = tensor.raw_data();
    weight.data = graph::Bytes(owner, raw.data(), raw.size());
  } else {
    weight.data = graph::Bytes(TypedData(tensor, *dtype));
  }
  if (weight.data.size() != size) {
    return at_fault(absl::StrCat("has ", weight.data.size(),
                                 " bytes of data, its shape needs ", size));
  }
  if (*dtype == DType::kBool) {
    const char* data = weight.data.data();
    const bool clean =
        std::all_of(data, data + size, [](char c) { return c == 0 || c == 1; });
    if (!clean) {
      std::string bits(data, size);
      for (char& c : bits) c = c != 0 ? 1 : 0;
      weight.data = graph::Bytes(std::move(bits));
    }
  }
  return weight;
}

int64_t ElementCount(const graph::Weight& weight) {
  int64_t elements = 1;
  for (int64_t dim : weight.dims) elements *= dim;
  return elements;
}

std::vector<int64_t> HeldBits(const graph::Weight& weight) {
  std::vector<int64_t> bits(static_cast<size_t>(ElementCount(weight)));
  if (!bits.empty()) {
    ir::ReadElements(weight.dtype, weight.data.data(), bits.data(),
                     static_cast<int64_t>(bits.size()));
  }
  return bits;
}

bool IsUniform(const graph::Weight& weight) {
  const auto step = static_cast<size_t>(ir::ByteSize(weight.dtype));
  const char* data = weight.data.data();
  const size_t size = weight.data.size();
  // Every element equals its neighbour.
  return size >= step && std::memcmp(data, data + step, size - step) == 0;
}

}  // namespace quern::onnx_import
