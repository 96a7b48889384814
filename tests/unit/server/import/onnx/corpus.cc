// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/server/import/onnx/corpus.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"

#include "backends/ref/oracle.h"
#include "engine/base/status_macros.h"
#include "engine/graph/simplify.h"
#include "engine/ir/eval.h"
#include "proto/onnx/onnx.pb.h"
#include "server/import/onnx/importer.h"
#include "server/import/onnx/tensor.h"

namespace quern::onnx_import {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<graph::Weight> LoadTensor(const std::string& path) {
  auto tensor = std::make_shared<onnx::TensorProto>();
  if (!tensor->ParseFromString(ReadFile(path))) {
    return absl::UnimplementedError(absl::StrCat(path, " is no tensor"));
  }
  return ReadTensor(*tensor, tensor);
}

absl::StatusOr<std::vector<graph::Weight>> LoadTensors(
    const std::string& folder, const std::string& stem) {
  std::vector<graph::Weight> tensors;
  for (int i = 0;; ++i) {
    const std::string path = absl::StrCat(folder, "/", stem, "_", i, ".pb");
    if (!fs::exists(path)) return tensors;
    graph::Weight tensor;
    QUERN_ASSIGN_OR_RETURN(tensor, LoadTensor(path));
    tensors.push_back(std::move(tensor));
  }
}

bool Close(double got, double want, const Tolerance& tolerance) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::fabs(got - want) <=
         tolerance.absolute + tolerance.relative * std::fabs(want);
}

absl::Status Compare(const std::string& name, const ref::Tensor& got,
                     const graph::Weight& want, const Tolerance& tolerance) {
  if (got.dtype != want.dtype) {
    return absl::InternalError(absl::StrCat("output '", name, "' is ",
                                            ir::Name(got.dtype), ", expected ",
                                            ir::Name(want.dtype)));
  }
  if (got.dims != want.dims) {
    std::string shapes;
    for (int64_t d : got.dims) absl::StrAppend(&shapes, d, " ");
    absl::StrAppend(&shapes, "against ");
    for (int64_t d : want.dims) absl::StrAppend(&shapes, d, " ");
    return absl::InternalError(
        absl::StrCat("output '", name, "' has the shape ", shapes));
  }
  const std::vector<int64_t> bits = HeldBits(want);
  for (size_t i = 0; i < bits.size(); ++i) {
    const double g = ir::Scalar{got.dtype, got.bits[i]}.AsDouble();
    const double w = ir::Scalar{want.dtype, bits[i]}.AsDouble();
    if (Close(g, w, tolerance)) continue;
    return absl::InternalError(
        absl::StrCat("output '", name, "' [", i, "] is ", g, ", expected ", w));
  }
  return absl::OkStatus();
}

// The names of the inputs that a data set has files for, in order.
std::vector<std::string> InputNames(const onnx::GraphProto& graph) {
  std::vector<std::string> names;
  for (const auto& input : graph.input()) {
    const bool fixed = std::any_of(
        graph.initializer().begin(), graph.initializer().end(),
        [&](const onnx::TensorProto& t) { return t.name() == input.name(); });
    if (!fixed) names.push_back(input.name());
  }
  return names;
}

// Imports, fixing the inputs that the importer asks for.
absl::StatusOr<graph::Graph> Import(const std::string& bytes,
                                    const std::vector<std::string>& names,
                                    const std::vector<graph::Weight>& inputs) {
  ImportOptions options;
  while (true) {
    absl::StatusOr<graph::Graph> graph = ImportOnnx(bytes, options);
    if (graph.ok()) return graph;
    const absl::optional<absl::Cord> needs =
        graph.status().GetPayload(kNeedsInputValues);
    if (!needs.has_value()) return graph;
    bool more = false;
    for (const std::string& name :
         std::vector<std::string>(absl::StrSplit(std::string(*needs), '\n'))) {
      const auto it = std::find(names.begin(), names.end(), name);
      const auto index = static_cast<size_t>(it - names.begin());
      if (index >= inputs.size()) continue;
      more |= options.input_values.emplace(name, inputs[index]).second;
    }
    if (!more) return graph;
  }
}

// Older data has the bits of bfloat16 as uint16.
void ReadBits(ir::DType dtype, graph::Weight& weight) {
  if (dtype == ir::DType::kBF16 && weight.dtype == ir::DType::kU16) {
    weight.dtype = dtype;
  }
}

absl::Status CheckSet(const std::string& bytes, const std::string& folder,
                      const std::vector<std::string>& names,
                      const Tolerance& tolerance) {
  // What is not supported may have data that is no tensors.
  const absl::Status first = ImportOnnx(bytes).status();
  if (!first.ok() && !first.GetPayload(kNeedsInputValues).has_value()) {
    return first;
  }
  std::vector<graph::Weight> inputs;
  std::vector<graph::Weight> outputs;
  QUERN_ASSIGN_OR_RETURN(inputs, LoadTensors(folder, "input"));
  QUERN_ASSIGN_OR_RETURN(outputs, LoadTensors(folder, "output"));
  if (names.size() < inputs.size()) {
    return absl::InternalError("the data set has more inputs than the model");
  }
  graph::Graph graph;
  QUERN_ASSIGN_OR_RETURN(graph, Import(bytes, names, inputs));
  std::vector<ref::Tensor> tensors;
  for (const graph::Port& port : graph.inputs) {
    const auto index = static_cast<size_t>(
        std::find(names.begin(), names.end(), port.name) - names.begin());
    if (index >= inputs.size()) {
      return absl::UnimplementedError(
          absl::StrCat("no data for input '", port.name, "'"));
    }
    graph::Weight& w = inputs[index];
    ReadBits(port.dtype, w);
    ref::Tensor tensor;
    QUERN_ASSIGN_OR_RETURN(
        tensor, ref::TensorOf(w.dtype, w.dims,
                              absl::string_view(w.data.data(), w.data.size())));
    tensors.push_back(std::move(tensor));
  }
  // As the engine does before anything else.
  std::vector<ir::Id> roots;
  for (const graph::Port& port : graph.outputs) roots.push_back(port.node);
  QUERN_ASSIGN_OR_RETURN(roots, graph::Simplify(*graph.arena, roots));
  for (size_t i = 0; i < roots.size(); ++i) graph.outputs[i].node = roots[i];
  ref::OracleOptions options;
  options.max_work = int64_t{1} << 34;
  // Expected integers hang on the rounding of the floats before them.
  options.rounding = ir::Rounding::kAll;
  std::vector<ref::Tensor> results;
  QUERN_ASSIGN_OR_RETURN(results, ref::EvaluateGraph(graph, tensors, options));
  for (size_t i = 0; i < outputs.size() && i < results.size(); ++i) {
    ReadBits(results[i].dtype, outputs[i]);
    QUERN_RETURN_IF_ERROR(
        Compare(graph.outputs[i].name, results[i], outputs[i], tolerance));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

std::vector<std::string> CasesBelow(const std::string& root) {
  std::vector<std::string> cases;
  std::error_code error;
  for (fs::recursive_directory_iterator it(root, error), end;
       !error && it != end; it.increment(error)) {
    if (it->path().filename() == "model.onnx") {
      cases.push_back(it->path().parent_path().string());
    }
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

absl::Status CheckCase(const std::string& folder, const Tolerance& tolerance) {
  const std::string bytes = ReadFile(folder + "/model.onnx");
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes)) {
    return absl::InternalError("model.onnx does not parse");
  }
  const std::vector<std::string> names = InputNames(model.graph());
  int sets = 0;
  for (;; ++sets) {
    const std::string set = absl::StrCat(folder, "/test_data_set_", sets);
    if (!fs::exists(set)) break;
    QUERN_RETURN_IF_ERROR(CheckSet(bytes, set, names, tolerance));
  }
  if (sets == 0) return absl::UnimplementedError("there is no data set");
  return absl::OkStatus();
}

}  // namespace quern::onnx_import
