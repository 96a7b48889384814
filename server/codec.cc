// SPDX-License-Identifier: Apache-2.0
#include "server/codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "server/quoted.h"
#include "server/utf8.h"

namespace quern::server {
namespace {

struct TypeRow {
  ir::DType dtype;
  const char* v2;
  v1::DataType proto;
};

constexpr TypeRow kTypes[] = {
    {ir::DType::kBool, "BOOL", v1::DATA_TYPE_BOOL},
    {ir::DType::kI8, "INT8", v1::DATA_TYPE_I8},
    {ir::DType::kI16, "INT16", v1::DATA_TYPE_I16},
    {ir::DType::kI32, "INT32", v1::DATA_TYPE_I32},
    {ir::DType::kI64, "INT64", v1::DATA_TYPE_I64},
    {ir::DType::kU8, "UINT8", v1::DATA_TYPE_U8},
    {ir::DType::kU16, "UINT16", v1::DATA_TYPE_U16},
    {ir::DType::kU32, "UINT32", v1::DATA_TYPE_U32},
    {ir::DType::kU64, "UINT64", v1::DATA_TYPE_U64},
    {ir::DType::kF16, "FP16", v1::DATA_TYPE_F16},
    {ir::DType::kBF16, "BF16", v1::DATA_TYPE_BF16},
    {ir::DType::kF32, "FP32", v1::DATA_TYPE_F32},
    {ir::DType::kF64, "FP64", v1::DATA_TYPE_F64},
};

absl::Status Named(const std::string& what, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat(what, ": ", status.message()));
}

// The place of the input called `name`; -1 if there is none.
int IndexOf(const std::vector<TensorSpec>& specs, const std::string& name) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

std::string NamesOf(const std::vector<TensorSpec>& specs) {
  std::string names;
  for (const TensorSpec& spec : specs) {
    if (names.size() > 400) return names + ", ...";
    absl::StrAppend(&names, names.empty() ? "" : ", ", Quoted(spec.name));
  }
  return names.empty() ? "none" : names;
}

// A bool is 0 or 1 in memory; kernels rely on it.
absl::Status CheckBools(ir::DType dtype, const void* data, size_t size) {
  if (dtype != ir::DType::kBool) return absl::OkStatus();
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("element ", i, " of a BOOL is the byte ", int{bytes[i]},
                       ", expected 0 or 1"));
    }
  }
  return absl::OkStatus();
}

// The view of `size` bytes at `data`, checked against dtype and dims.
absl::StatusOr<TensorView> ViewOf(ir::DType dtype, std::vector<int64_t> dims,
                                  const void* data, size_t size) {
  QUERN_ASSIGN_OR_RETURN(const int64_t bytes, TensorBytes(dtype, dims));
  if (static_cast<uint64_t>(bytes) != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", bytes,
                     " bytes for its shape and datatype, "
                     "got ",
                     size));
  }
  QUERN_RETURN_IF_ERROR(CheckBools(dtype, data, size));
  return TensorView{dtype, std::move(dims), data, size};
}

absl::Status CheckType(ir::DType got, const TensorSpec& spec) {
  if (got == spec.dtype) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "expected datatype ", V2Name(spec.dtype), ", got ", V2Name(got)));
}

// Marks input `index` as given; a second time is an error.
absl::Status MarkGiven(std::vector<bool>& given, int index,
                       const std::vector<TensorSpec>& specs) {
  if (given[index]) {
    return absl::InvalidArgumentError(
        absl::StrCat("input ", Quoted(specs[index].name), " is given twice"));
  }
  given[index] = true;
  return absl::OkStatus();
}

absl::Status CheckAllGiven(const std::vector<bool>& given,
                           const std::vector<TensorSpec>& specs) {
  for (size_t i = 0; i < specs.size(); ++i) {
    if (given[i]) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("input ", Quoted(specs[i].name), " is missing"));
  }
  return absl::OkStatus();
}

absl::Status UnknownInput(const std::string& name,
                          const std::vector<TensorSpec>& specs) {
  return absl::InvalidArgumentError(
      absl::StrCat("the model has no input ", Quoted(name), ", its inputs are ",
                   NamesOf(specs)));
}

// How many elements the typed contents of the other types have.
int OtherElements(const inference::InferTensorContents& c, int used) {
  return c.bool_contents_size() + c.int_contents_size() +
         c.int64_contents_size() + c.uint_contents_size() +
         c.uint64_contents_size() + c.fp32_contents_size() +
         c.fp64_contents_size() + c.bytes_contents_size() - used;
}

template <typename Field>
absl::StatusOr<TensorView> ViewOfField(const inference::InferTensorContents& c,
                                       ir::DType dtype,
                                       std::vector<int64_t> dims,
                                       const Field& field,
                                       const char* field_name) {
  if (OtherElements(c, field.size()) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("contents of type ", V2Name(dtype), " belong into ",
                     field_name, " alone"));
  }
  QUERN_ASSIGN_OR_RETURN(const int64_t bytes, TensorBytes(dtype, dims));
  const int64_t elements = bytes / ir::ByteSize(dtype);
  if (elements != field.size()) {
    return absl::InvalidArgumentError(absl::StrCat("expected ", elements,
                                                   " elements in ", field_name,
                                                   ", got ", field.size()));
  }
  return TensorView{dtype, std::move(dims), field.data(),
                    static_cast<size_t>(bytes)};
}

// The elements of `view`, which are of type Wide, as Narrow.
template <typename Narrow, typename Wide>
absl::Status Convert(TensorView& view, int64_t elements, Inputs& inputs) {
  auto bytes = std::make_unique<std::string>(elements * sizeof(Narrow), '\0');
  const auto* from = static_cast<const Wide*>(view.data);
  for (int64_t i = 0; i < elements; ++i) {
    if (from[i] < static_cast<Wide>(std::numeric_limits<Narrow>::min()) ||
        from[i] > static_cast<Wide>(std::numeric_limits<Narrow>::max())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "element ", i, " is ", from[i], ", outside ", V2Name(view.dtype)));
    }
    const Narrow narrow = static_cast<Narrow>(from[i]);
    std::memcpy(bytes->data() + i * sizeof(Narrow), &narrow, sizeof(Narrow));
  }
  view.data = bytes->data();
  view.size = bytes->size();
  inputs.owned.push_back(std::move(bytes));
  return absl::OkStatus();
}

// A view of contents that are narrower than the field they travel in.
template <typename Narrow, typename Field>
absl::StatusOr<TensorView> NarrowedField(
    const inference::InferTensorContents& c, ir::DType dtype,
    std::vector<int64_t> dims, const Field& field, const char* field_name,
    Inputs& inputs) {
  using Wide = std::remove_cvref_t<decltype(field.Get(0))>;
  QUERN_ASSIGN_OR_RETURN(TensorView view, ViewOfField(c, dtype, std::move(dims),
                                                      field, field_name));
  QUERN_RETURN_IF_ERROR((Convert<Narrow, Wide>(view, field.size(), inputs)));
  return view;
}

absl::StatusOr<TensorView> DecodeContents(
    const inference::InferTensorContents& c, ir::DType dtype,
    std::vector<int64_t> dims, Inputs& inputs) {
  const char* const ints = "int_contents";
  const char* const uints = "uint_contents";
  switch (dtype) {
    case ir::DType::kBool:
      return ViewOfField(c, dtype, std::move(dims), c.bool_contents(),
                         "bool_contents");
    case ir::DType::kI8:
      return NarrowedField<int8_t>(c, dtype, std::move(dims), c.int_contents(),
                                   ints, inputs);
    case ir::DType::kI16:
      return NarrowedField<int16_t>(c, dtype, std::move(dims), c.int_contents(),
                                    ints, inputs);
    case ir::DType::kI32:
      return ViewOfField(c, dtype, std::move(dims), c.int_contents(), ints);
    case ir::DType::kI64:
      return ViewOfField(c, dtype, std::move(dims), c.int64_contents(),
                         "int64_contents");
    case ir::DType::kU8:
      return NarrowedField<uint8_t>(c, dtype, std::move(dims),
                                    c.uint_contents(), uints, inputs);
    case ir::DType::kU16:
      return NarrowedField<uint16_t>(c, dtype, std::move(dims),
                                     c.uint_contents(), uints, inputs);
    case ir::DType::kU32:
      return ViewOfField(c, dtype, std::move(dims), c.uint_contents(), uints);
    case ir::DType::kU64:
      return ViewOfField(c, dtype, std::move(dims), c.uint64_contents(),
                         "uint64_contents");
    case ir::DType::kF32:
      return ViewOfField(c, dtype, std::move(dims), c.fp32_contents(),
                         "fp32_contents");
    case ir::DType::kF64:
      return ViewOfField(c, dtype, std::move(dims), c.fp64_contents(),
                         "fp64_contents");
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("contents of type ", V2Name(dtype),
                       " travel in raw_input_contents only"));
  }
}

}  // namespace

const char* V2Name(ir::DType dtype) {
  for (const TypeRow& row : kTypes) {
    if (row.dtype == dtype) return row.v2;
  }
  return "";
}

absl::StatusOr<ir::DType> DTypeFromV2(const std::string& name) {
  for (const TypeRow& row : kTypes) {
    if (row.v2 == name) return row.dtype;
  }
  if (name == "BYTES") {
    return absl::UnimplementedError(
        "tensors of BYTES are not supported, no model takes them");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no datatype ", Quoted(name)));
}

v1::DataType ToProto(ir::DType dtype) {
  for (const TypeRow& row : kTypes) {
    if (row.dtype == dtype) return row.proto;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

absl::StatusOr<ir::DType> FromProto(v1::DataType type) {
  for (const TypeRow& row : kTypes) {
    if (row.proto == type) return row.dtype;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("data type ", static_cast<int>(type), " is not known"));
}

absl::StatusOr<int64_t> TensorBytes(ir::DType dtype,
                                    absl::Span<const int64_t> dims) {
  int64_t bytes = ir::ByteSize(dtype);
  bool empty = false;
  bool overflow = false;
  for (int64_t dim : dims) {
    if (dim < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a dimension is negative: ", dim));
    }
    empty |= dim == 0;
    // A zero anywhere makes the product 0, but not the others valid.
    overflow |=
        __builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes);
  }
  if (overflow) {
    return absl::InvalidArgumentError(
        "the product of the dimensions is beyond 64 bits");
  }
  return empty ? 0 : bytes;
}

absl::StatusOr<Inputs> DecodeInputs(const inference::ModelInferRequest& request,
                                    const std::vector<TensorSpec>& specs) {
  const bool raw = request.raw_input_contents_size() > 0;
  if (raw && request.raw_input_contents_size() != request.inputs_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected one entry of raw_input_contents for each of ",
                     request.inputs_size(), " inputs, got ",
                     request.raw_input_contents_size()));
  }
  Inputs inputs;
  inputs.views.resize(specs.size());
  std::vector<bool> given(specs.size(), false);
  for (int i = 0; i < request.inputs_size(); ++i) {
    const auto& input = request.inputs(i);
    const int index = IndexOf(specs, input.name());
    if (index < 0) return UnknownInput(input.name(), specs);
    QUERN_RETURN_IF_ERROR(MarkGiven(given, index, specs));
    const absl::Status status = [&]() -> absl::Status {
      QUERN_ASSIGN_OR_RETURN(const ir::DType dtype,
                             DTypeFromV2(input.datatype()));
      QUERN_RETURN_IF_ERROR(CheckType(dtype, specs[index]));
      std::vector<int64_t> dims(input.shape().begin(), input.shape().end());
      if (raw) {
        if (input.has_contents()) {
          return absl::InvalidArgumentError(
              "has contents, and the request raw_input_contents; only one of "
              "them may be used");
        }
        const std::string& bytes = request.raw_input_contents(i);
        QUERN_ASSIGN_OR_RETURN(
            inputs.views[index],
            ViewOf(dtype, std::move(dims), bytes.data(), bytes.size()));
        return absl::OkStatus();
      }
      QUERN_ASSIGN_OR_RETURN(
          inputs.views[index],
          DecodeContents(input.contents(), dtype, std::move(dims), inputs));
      return absl::OkStatus();
    }();
    QUERN_RETURN_IF_ERROR(
        Named(absl::StrCat("input ", Quoted(input.name())), status));
  }
  QUERN_RETURN_IF_ERROR(CheckAllGiven(given, specs));
  return inputs;
}

absl::StatusOr<Inputs> DecodeInputs(
    const google::protobuf::RepeatedPtrField<v1::NamedTensor>& tensors,
    const std::vector<TensorSpec>& specs) {
  Inputs inputs;
  inputs.views.resize(specs.size());
  std::vector<bool> given(specs.size(), false);
  for (const v1::NamedTensor& input : tensors) {
    const int index = IndexOf(specs, input.name());
    if (index < 0) return UnknownInput(input.name(), specs);
    QUERN_RETURN_IF_ERROR(MarkGiven(given, index, specs));
    const absl::Status status = [&]() -> absl::Status {
      const v1::Tensor& tensor = input.tensor();
      QUERN_ASSIGN_OR_RETURN(const ir::DType dtype,
                             FromProto(tensor.data_type()));
      QUERN_RETURN_IF_ERROR(CheckType(dtype, specs[index]));
      QUERN_ASSIGN_OR_RETURN(
          inputs.views[index],
          ViewOf(dtype, {tensor.dims().begin(), tensor.dims().end()},
                 tensor.data().data(), tensor.data().size()));
      return absl::OkStatus();
    }();
    QUERN_RETURN_IF_ERROR(
        Named(absl::StrCat("input ", Quoted(input.name())), status));
  }
  QUERN_RETURN_IF_ERROR(CheckAllGiven(given, specs));
  return inputs;
}

absl::StatusOr<std::vector<int>> SelectOutputs(
    const std::vector<std::string>& names,
    const std::vector<TensorSpec>& specs) {
  std::vector<int> selected;
  if (names.empty()) {
    for (size_t i = 0; i < specs.size(); ++i) {
      selected.push_back(static_cast<int>(i));
    }
    return selected;
  }
  absl::flat_hash_set<int> seen;
  for (const std::string& name : names) {
    const int index = IndexOf(specs, name);
    if (index < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model has no output ", Quoted(name),
                       ", its outputs are ", NamesOf(specs)));
    }
    if (!seen.insert(index).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("output ", Quoted(name), " is asked for twice"));
    }
    selected.push_back(index);
  }
  return selected;
}

absl::Status CheckParameters(const inference::ModelInferRequest& request) {
  const auto refuse = [](const std::string& what, const std::string& name) {
    return absl::UnimplementedError(
        absl::StrCat("the parameter '", name, "' of ", what,
                     " is not supported by this version"));
  };
  for (const char* name : {"sequence_id", "sequence_start", "sequence_end"}) {
    const auto it = request.parameters().find(name);
    if (it == request.parameters().end()) continue;
    const inference::InferParameter& value = it->second;
    // Clients send zeros when they mean "no sequence".
    if (value.int64_param() != 0 || value.uint64_param() != 0 ||
        value.bool_param() || !value.string_param().empty()) {
      return refuse("the request", name);
    }
  }
  for (const auto& input : request.inputs()) {
    if (input.parameters().contains("shared_memory_region")) {
      return refuse(absl::StrCat("input ", Quoted(input.name())),
                    "shared_memory_region");
    }
  }
  for (const auto& output : request.outputs()) {
    for (const char* name : {"shared_memory_region", "classification"}) {
      if (!output.parameters().contains(name)) continue;
      return refuse(absl::StrCat("output ", Quoted(output.name())), name);
    }
  }
  return absl::OkStatus();
}

std::vector<TensorSpec> SpecsOf(const graph::Graph& graph,
                                const std::vector<graph::Port>& ports) {
  std::vector<TensorSpec> specs;
  for (const graph::Port& port : ports) {
    TensorSpec spec{
        .name = port.name, .dtype = port.dtype, .dims = {}, .dim_text = {}};
    for (ir::Id dim : port.dims) {
      const bool known = graph.arena->IsConst(dim);
      spec.dims.push_back(known ? graph.arena->IntValue(dim) : -1);
      spec.dim_text.push_back(ir::SizeText(*graph.arena, dim));
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

absl::Status CheckNames(const graph::Graph& graph) {
  const auto check = [](const char* what, const std::string& name) {
    if (IsUtf8(name)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the name ", Quoted(name), " of ", what, " is no UTF-8"));
  };
  for (const graph::Port& port : graph.inputs) {
    QUERN_RETURN_IF_ERROR(check("an input", port.name));
  }
  for (const graph::Port& port : graph.outputs) {
    QUERN_RETURN_IF_ERROR(check("an output", port.name));
  }
  for (const graph::Weight& weight : graph.weights) {
    QUERN_RETURN_IF_ERROR(check("a weight", weight.name));
  }
  for (ir::Id id = 0; id < graph.arena->size(); ++id) {
    const ir::Node& node = (*graph.arena)[id];
    if (node.attr->text.empty()) continue;
    QUERN_RETURN_IF_ERROR(check("a size or device", node.attr->text));
  }
  return absl::OkStatus();
}

GraphSize SizeOf(const graph::Graph& graph) {
  GraphSize size;
  size.nodes = static_cast<int64_t>(graph.arena->size());
  size.weights = static_cast<int64_t>(graph.weights.size());
  // By shape: a model that is served has let go of the bytes.
  for (const graph::Weight& weight : graph.weights) {
    size.weight_bytes += TensorBytes(weight.dtype, weight.dims).value_or(0);
  }
  return size;
}

}  // namespace quern::server
