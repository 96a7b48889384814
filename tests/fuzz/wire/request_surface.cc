// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "absl/strings/str_cat.h"

#include "proto/inference/grpc_service.pb.h"
#include "server/codec.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/message_mutator.h"
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

using inference::ModelInferRequest;

// One input of each type, so that each way to convert is met.
std::vector<TensorSpec> SpecsOf(const ModelInferRequest& request) {
  std::vector<TensorSpec> specs;
  for (const auto& input : request.inputs()) {
    const auto dtype = server::DTypeFromV2(input.datatype());
    if (!dtype.ok()) continue;
    specs.push_back({.name = input.name(),
                     .dtype = *dtype,
                     .dims = std::vector<int64_t>(input.shape_size(), -1),
                     .dim_text = {}});
  }
  return specs;
}

// Each view holds as many bytes as its shape says, and all can be read.
void CheckViews(const std::vector<TensorView>& views) {
  for (const TensorView& view : views) {
    const auto bytes = server::TensorBytes(view.dtype, view.dims);
    Expect(bytes.ok() && static_cast<uint64_t>(*bytes) == view.size,
           "a view with the bytes of its shape");
    const auto* data = static_cast<const unsigned char*>(view.data);
    volatile unsigned sum = std::accumulate(data, data + view.size, 0U);
    static_cast<void>(sum);
    if (view.dtype != ir::DType::kBool) continue;
    for (size_t i = 0; i < view.size; ++i) Expect(data[i] <= 1, "a bool");
  }
}

void Read(absl::string_view bytes) {
  ModelInferRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return;
  }
  ExpectNoFault(server::CheckParameters(request));
  const std::vector<TensorSpec> specs = SpecsOf(request);
  const auto inputs = server::DecodeInputs(request, specs);
  ExpectNoFault(inputs.status());
  if (inputs.ok()) CheckViews(inputs->views);
  std::vector<std::string> names;
  for (const auto& output : request.outputs()) names.push_back(output.name());
  const auto selected = server::SelectOutputs(names, specs);
  ExpectNoFault(selected.status());
  if (!selected.ok()) return;
  for (int index : *selected) {
    Expect(index >= 0 && static_cast<size_t>(index) < specs.size(),
           "an output that there is");
  }
}

// Two elements of the field in which this type travels.
void AddContents(ir::DType dtype, inference::InferTensorContents& contents) {
  for (int i = 0; i < 2; ++i) {
    if (dtype == ir::DType::kBool) contents.add_bool_contents(i == 1);
    if (dtype == ir::DType::kI8 || dtype == ir::DType::kI16 ||
        dtype == ir::DType::kI32) {
      contents.add_int_contents(-i);
    }
    if (dtype == ir::DType::kI64) contents.add_int64_contents(-i);
    if (dtype == ir::DType::kU8 || dtype == ir::DType::kU16 ||
        dtype == ir::DType::kU32) {
      contents.add_uint_contents(static_cast<uint32_t>(i));
    }
    if (dtype == ir::DType::kU64) {
      contents.add_uint64_contents(static_cast<uint64_t>(i));
    }
    if (dtype == ir::DType::kF32) contents.add_fp32_contents(0.5F);
    if (dtype == ir::DType::kF64) contents.add_fp64_contents(0.5);
  }
}

std::vector<Seed> Seeds() {
  std::vector<Seed> seeds;
  for (const char* name :
       {"BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32",
        "UINT64", "FP16", "BF16", "FP32", "FP64", "BYTES"}) {
    const ir::DType dtype = server::DTypeFromV2(name).value_or(ir::DType::kF16);
    for (const bool raw : {true, false}) {
      ModelInferRequest request;
      request.set_model_name("model");
      auto* input = request.add_inputs();
      input->set_name("x");
      input->set_datatype(name);
      input->add_shape(1);
      input->add_shape(2);
      if (raw) {
        request.add_raw_input_contents(
            std::string(2 * static_cast<size_t>(ir::ByteSize(dtype)), '\1'));
      } else {
        AddContents(dtype, *input->mutable_contents());
      }
      request.add_outputs()->set_name("x");
      (*request.mutable_parameters())["timeout"].set_int64_param(1);
      seeds.push_back({absl::StrCat(name, raw ? "-raw" : "-contents"),
                       request.SerializeAsString()});
    }
  }
  return seeds;
}

}  // namespace

Surface RequestSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedAs<ModelInferRequest>};
}

}  // namespace quern::fuzz
