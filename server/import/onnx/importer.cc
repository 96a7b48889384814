// SPDX-License-Identifier: Apache-2.0
//
// Import runs in four steps: read, check the graph's names and order its
// nodes, see that all operators are known, build. Building may be repeated:
// where a model holds only for small sizes (a table of 512 positions is cut to
// the length of the sequence, and must be as long), the variable's bound is
// lowered to what the model admits, and everything is built again. Where the
// length is an expression (past + new positions), the graph gets a limit.
#include "server/import/onnx/importer.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/status_macros.h"
#include "server/import/onnx/context.h"
#include "server/import/onnx/graph_builder.h"
#include "server/import/onnx/model_file.h"
#include "server/import/onnx/names.h"
#include "server/import/onnx/op_table.h"

namespace quern::onnx_import {
namespace {

// Times that bounds are lowered before the model is given up.
constexpr int kMaxAttempts = 5;

// The opset of the standard domain, after checking the model's head.
absl::StatusOr<int64_t> CheckHead(const onnx::ModelProto& model) {
  if (!model.has_graph()) {
    return absl::InvalidArgumentError("the model has no graph");
  }
  if (model.ir_version() < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model has the IR version ", model.ir_version()));
  }
  int64_t opset = model.opset_import_size() == 0 ? 1 : 0;
  absl::flat_hash_set<std::string> domains;
  for (const onnx::OperatorSetIdProto& set : model.opset_import()) {
    const std::string domain = set.domain() == "ai.onnx" ? "" : set.domain();
    if (!domains.insert(domain).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the operator set of domain ", Quoted(domain), " is imported twice"));
    }
    if (set.version() < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("operator set ", set.version(), " of domain ",
                       Quoted(domain), ", expected 1 or more"));
    }
    if (domain.empty()) opset = set.version();
  }
  if (opset > kLatestOpset) {
    return absl::UnimplementedError(
        absl::StrCat("the model uses operator set ", opset,
                     ", the latest that is supported is ", kLatestOpset));
  }
  return opset;
}

// What the failed attempt suggests, from the sizes that were cut to the lesser
// of an expression and a constant.
struct Suggestion {
  bool lower_bounds = false;  // Bounds of `options` were lowered.
  bool trust_slices = false;  // An expression of more than one variable.
};

Suggestion Suggest(const ir::Arena& arena, ImportOptions& options) {
  Suggestion suggestion;
  for (ir::Id id = 0; id < arena.size(); ++id) {
    const ir::Node& node = arena[id];
    if (node.op != ir::Op::kMin || node.dtype != ir::DType::kWeakInt ||
        node.shape != ir::kScalarShape) {
      continue;
    }
    for (int side = 0; side < 2; ++side) {
      const ir::Node& size = arena[node.srcs[side]];
      const ir::Id limit = node.srcs[1 - side];
      if (!arena.IsConst(limit)) continue;
      if (size.op != ir::Op::kVar) {
        suggestion.trust_slices = true;
        continue;
      }
      // A table of 512 rows cut to a sequence's length: at most 512.
      DimBounds& bounds = options.dims[size.attr->text];
      const int64_t greatest = arena.IntValue(limit);
      if (greatest < bounds.least || greatest >= bounds.greatest) continue;
      bounds.greatest = greatest;
      suggestion.lower_bounds = true;
    }
  }
  return suggestion;
}

absl::StatusOr<graph::Graph> Import(const ByteSource& source,
                                    const ImportOptions& options) {
  if (source.size() > options.max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the model has ", source.size(), " bytes, the limit is ",
                     options.max_bytes));
  }
  std::shared_ptr<const ModelFile> file;
  QUERN_ASSIGN_OR_RETURN(file, ReadModelFile(source));
  int64_t opset = 0;
  QUERN_ASSIGN_OR_RETURN(opset, CheckHead(*file->proto));
  QUERN_RETURN_IF_ERROR(CheckGraph(file->proto->graph(), opset, options));
  ImportOptions narrowed = options;
  bool trust_slices = false;
  for (int attempt = 1;; ++attempt) {
    Context context(file, narrowed);
    context.trust_slices = trust_slices;
    const absl::Status status = BuildGraph(context, opset);
    if (status.ok()) {
      QUERN_RETURN_IF_ERROR(graph::Validate(context.graph));
      return std::move(context.graph);
    }
    ImportOptions next = narrowed;
    const Suggestion suggestion = Suggest(*context.graph.arena, next);
    const bool trust_now = suggestion.trust_slices && !trust_slices;
    if (attempt == kMaxAttempts || (!suggestion.lower_bounds && !trust_now)) {
      absl::Status failed = status;
      if (!context.deciding_inputs.empty()) {
        const std::string names = absl::StrJoin(context.deciding_inputs, "\n");
        failed.SetPayload(kNeedsInputValues,
                          absl::Cord(absl::string_view(names)));
      }
      return failed;
    }
    narrowed = std::move(next);
    trust_slices |= trust_now;
  }
}

}  // namespace

absl::StatusOr<graph::Graph> ImportOnnx(absl::string_view bytes,
                                        const ImportOptions& options) {
  return Import(*FromMemory(bytes), options);
}

absl::StatusOr<graph::Graph> ImportOnnxFile(const std::string& path,
                                            const ImportOptions& options) {
  QUERN_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source,
                         OpenFile(path));
  return Import(*source, options);
}

}  // namespace quern::onnx_import
