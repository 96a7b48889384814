// SPDX-License-Identifier: Apache-2.0
#include "server/import/graph/graph_import.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "engine/ir/symbolic.h"
#include "server/import/graph/attributes.h"
#include "server/import/graph/vocabulary.h"

namespace quern::graph_import {
namespace {

using base::Quoted;
using ir::Id;

constexpr int64_t kGreatestSize = (int64_t{1} << 31) - 1;
constexpr size_t kMaxNameBytes = 4096;

absl::StatusOr<ir::DType> TypeOf(v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_BOOL:
      return ir::DType::kBool;
    case v1::DATA_TYPE_I8:
      return ir::DType::kI8;
    case v1::DATA_TYPE_I16:
      return ir::DType::kI16;
    case v1::DATA_TYPE_I32:
      return ir::DType::kI32;
    case v1::DATA_TYPE_I64:
      return ir::DType::kI64;
    case v1::DATA_TYPE_U8:
      return ir::DType::kU8;
    case v1::DATA_TYPE_U16:
      return ir::DType::kU16;
    case v1::DATA_TYPE_U32:
      return ir::DType::kU32;
    case v1::DATA_TYPE_U64:
      return ir::DType::kU64;
    case v1::DATA_TYPE_F16:
      return ir::DType::kF16;
    case v1::DATA_TYPE_BF16:
      return ir::DType::kBF16;
    case v1::DATA_TYPE_F32:
      return ir::DType::kF32;
    case v1::DATA_TYPE_F64:
      return ir::DType::kF64;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("data type ", static_cast<int>(type), " is not known"));
  }
}

// Where a value is. A value that depends on no input has no place: it is made
// wherever it is needed.
struct Place {
  bool anywhere = true;
  std::string device;  // If not anywhere; empty: the one that runs the graph.
};

struct NamedValue {
  Id node = ir::kNoNode;
  Place place;
};

class Importer {
 public:
  Importer(std::shared_ptr<const v1::Graph> proto, const ImportOptions& options)
      : owner_(std::move(proto)),
        proto_(*owner_),
        options_(options),
        builder_(graph_.arena.get()) {}

  absl::StatusOr<graph::Graph> Run() {
    QUERN_RETURN_IF_ERROR(ReadVariables());
    for (const v1::GraphInput& input : proto_.inputs()) {
      QUERN_RETURN_IF_ERROR(ReadInput(input));
    }
    for (const v1::GraphWeight& weight : proto_.weights()) {
      QUERN_RETURN_IF_ERROR(ReadWeight(weight));
    }
    if (proto_.nodes_size() > options_.max_nodes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the graph has ", proto_.nodes_size(),
                       " nodes, the limit is ", options_.max_nodes));
    }
    for (int i = 0; i < proto_.nodes_size(); ++i) {
      QUERN_RETURN_IF_ERROR(ReadNode(i));
    }
    for (const v1::GraphOutput& output : proto_.outputs()) {
      QUERN_RETURN_IF_ERROR(ReadOutput(output));
    }
    QUERN_RETURN_IF_ERROR(graph::Validate(graph_));
    return std::move(graph_);
  }

 private:
  absl::Status Define(absl::string_view name, NamedValue value) {
    if (name.empty() || name.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a value's name has 1 to ", kMaxNameBytes,
                       " bytes, got ", name.size()));
    }
    if (!values_.emplace(std::string(name), std::move(value)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the value ", Quoted(name), " is defined twice"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<NamedValue> Find(absl::string_view name) const {
    const auto it = values_.find(std::string(name));
    if (it == values_.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the value ", Quoted(name), " is not defined before it is used"));
    }
    return it->second;
  }

  absl::Status ReadVariables() {
    for (const v1::Variable& variable : proto_.variables()) {
      const int64_t least = variable.has_least() ? variable.least() : 1;
      const int64_t greatest =
          variable.has_greatest() ? variable.greatest() : kGreatestSize;
      if (least < 0 || greatest < least || greatest > kGreatestSize) {
        return absl::InvalidArgumentError(absl::StrCat(
            "variable ", Quoted(variable.name()), " has the bounds ", least,
            "..", greatest, ", they must lie in 0..", kGreatestSize));
      }
      if (!bounds_.emplace(variable.name(), std::pair(least, greatest))
               .second) {
        return absl::InvalidArgumentError(absl::StrCat(
            "variable ", Quoted(variable.name()), " is listed twice"));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Id> VariableNamed(const std::string& name) {
    if (name.empty() || name.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a variable's name has 1 to ", kMaxNameBytes,
                       " bytes, got ", name.size()));
    }
    const auto it = bounds_.find(name);
    const auto [least, greatest] =
        it == bounds_.end() ? std::pair<int64_t, int64_t>(1, kGreatestSize)
                            : it->second;
    return builder_.Var(name, least, greatest);
  }

  // The recursion is no deeper than the wire format allows messages to nest.
  absl::StatusOr<Id> SizeOf(const v1::Size& size) {
    switch (size.kind_case()) {
      case v1::Size::kConstant:
        if (size.constant() > ir::kMaxElements ||
            size.constant() < -ir::kMaxElements) {
          return absl::InvalidArgumentError(
              absl::StrCat("size ", size.constant(), " is over the limit of ",
                           ir::kMaxElements));
        }
        return builder_.Int(size.constant());
      case v1::Size::kVariable:
        return VariableNamed(size.variable());
      case v1::Size::kOperation:
        return SizeOf(size.operation());
      case v1::Size::kAxisOf: {
        QUERN_ASSIGN_OR_RETURN(const NamedValue value,
                               Find(size.axis_of().value()));
        const int rank = builder_.Rank(value.node);
        int64_t axis = size.axis_of().axis();
        if (axis < -rank || axis >= rank) {
          return absl::InvalidArgumentError(
              absl::StrCat("axis ", axis, " of the value ",
                           Quoted(size.axis_of().value()), " of rank ", rank));
        }
        if (axis < 0) axis += rank;
        return builder_.Dim(value.node, axis);
      }
      case v1::Size::KIND_NOT_SET:
        return builder_.Int(0);
    }
    return absl::InvalidArgumentError("a size is of no known kind");
  }

  absl::StatusOr<Id> SizeOf(const v1::SizeOperation& operation) {
    std::vector<Id> operands;
    for (const v1::Size& operand : operation.operands()) {
      QUERN_ASSIGN_OR_RETURN(const Id id, SizeOf(operand));
      operands.push_back(id);
    }
    ir::Arena& arena = builder_.arena();
    using SizeFunction = Id (*)(ir::Arena&, Id, Id);
    SizeFunction function = nullptr;
    bool any_number = true;
    switch (operation.kind()) {
      case v1::SizeOperation::KIND_ADD:
        function = ir::Add;
        break;
      case v1::SizeOperation::KIND_MUL:
        function = ir::Mul;
        break;
      case v1::SizeOperation::KIND_MIN:
        function = ir::Min;
        break;
      case v1::SizeOperation::KIND_MAX:
        function = ir::Max;
        break;
      case v1::SizeOperation::KIND_SUB:
        function = ir::Sub;
        any_number = false;
        break;
      case v1::SizeOperation::KIND_DIV:
        function = ir::IDiv;
        any_number = false;
        break;
      case v1::SizeOperation::KIND_MOD:
        function = ir::Mod;
        any_number = false;
        break;
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("operation ", static_cast<int>(operation.kind()),
                         " on sizes is not known"));
    }
    if (operands.empty() || (!any_number && operands.size() != 2)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "operation ", v1::SizeOperation::Kind_Name(operation.kind()), " on ",
          operands.size(), " sizes"));
    }
    Id result = operands[0];
    for (size_t i = 1; i < operands.size(); ++i) {
      QUERN_RETURN_IF_ERROR(CheckSize(operation.kind(), result, operands[i]));
      result = function(arena, result, operands[i]);
      if (arena[result].unfolded > ir::kMaxSizeNodes) {
        return absl::InvalidArgumentError(
            absl::StrCat("a size is an expression of more than ",
                         ir::kMaxSizeNodes, " operations and operands"));
      }
    }
    return result;
  }

  // The algebra takes values as exact, so what could leave 64 bits, and a
  // division by zero, are refused before it sees them.
  absl::Status CheckSize(v1::SizeOperation::Kind kind, Id x, Id y) const {
    const ir::Node& a = (*graph_.arena)[x];
    const ir::Node& b = (*graph_.arena)[y];
    if (kind == v1::SizeOperation::KIND_DIV ||
        kind == v1::SizeOperation::KIND_MOD) {
      if (b.least > 0 || b.greatest < 0) return absl::OkStatus();
      return absl::InvalidArgumentError("a size is divided by what may be 0");
    }
    bool overflow = false;
    for (int64_t u : {a.least, a.greatest}) {
      for (int64_t v : {b.least, b.greatest}) {
        int64_t result = 0;
        if (kind == v1::SizeOperation::KIND_ADD) {
          overflow |= __builtin_add_overflow(u, v, &result);
        } else if (kind == v1::SizeOperation::KIND_SUB) {
          overflow |= __builtin_sub_overflow(u, v, &result);
        } else if (kind == v1::SizeOperation::KIND_MUL) {
          overflow |= __builtin_mul_overflow(u, v, &result);
        }
      }
    }
    if (!overflow) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "a size could be beyond 64 bits; give its variables bounds");
  }

  absl::Status ReadInput(const v1::GraphInput& input) {
    const std::string what = absl::StrCat("input ", Quoted(input.name()));
    const absl::Status status = [&]() -> absl::Status {
      QUERN_ASSIGN_OR_RETURN(const ir::DType dtype, TypeOf(input.data_type()));
      graph::Port port{.name = input.name(),
                       .dtype = dtype,
                       .dims = {},
                       .node = ir::kNoNode};
      for (const v1::Size& dim : input.dims()) {
        if (dim.kind_case() != v1::Size::kConstant &&
            dim.kind_case() != v1::Size::kVariable) {
          return absl::InvalidArgumentError(
              "an input's dimension is a constant or a variable");
        }
        QUERN_ASSIGN_OR_RETURN(const Id size, SizeOf(dim));
        port.dims.push_back(size);
      }
      port.node = builder_.Input(static_cast<int>(graph_.inputs.size()), dtype,
                                 port.dims, input.device());
      QUERN_RETURN_IF_ERROR(builder_.status());
      QUERN_RETURN_IF_ERROR(
          Define(input.name(), {port.node, {false, input.device()}}));
      graph_.inputs.push_back(std::move(port));
      return absl::OkStatus();
    }();
    return Named(what, status);
  }

  absl::Status ReadWeight(const v1::GraphWeight& weight) {
    const std::string what = absl::StrCat("weight ", Quoted(weight.name()));
    const absl::Status status = [&]() -> absl::Status {
      QUERN_ASSIGN_OR_RETURN(const ir::DType dtype, TypeOf(weight.data_type()));
      graph::Bytes data;
      if (weight.content_case() == v1::GraphWeight::kSha256) {
        if (!options_.content) {
          return absl::NotFoundError("no content was submitted before");
        }
        QUERN_ASSIGN_OR_RETURN(data, options_.content(weight.sha256()));
      } else {
        data = graph::Bytes(owner_, weight.data().data(), weight.data().size());
      }
      std::vector<Id> dims;
      for (int64_t dim : weight.dims()) dims.push_back(builder_.Int(dim));
      const Id node =
          builder_.Weight(static_cast<int>(graph_.weights.size()), dtype, dims);
      QUERN_RETURN_IF_ERROR(builder_.status());
      QUERN_RETURN_IF_ERROR(Define(weight.name(), {node, {}}));
      graph_.weights.push_back(
          {.name = weight.name(),
           .dtype = dtype,
           .dims = {weight.dims().begin(), weight.dims().end()},
           .data = std::move(data)});
      return absl::OkStatus();
    }();
    return Named(what, status);
  }

  // The status with what it is about in front.
  static absl::Status Named(const std::string& what,
                            const absl::Status& status) {
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrCat(what, ": ", status.message()));
  }

  absl::Status ReadNode(int index) {
    const v1::Node& node = proto_.nodes(index);
    const std::string result = node.results_size() > 0
                                   ? absl::StrCat(" ", Quoted(node.results(0)))
                                   : "";
    return Named(absl::StrCat("node ", index, result, " (",
                              absl::CHexEscape(node.op().substr(0, 80)), ")"),
                 BuildNode(node));
  }

  absl::Status BuildNode(const v1::Node& node) {
    const Entry* entry = FindEntry(node.op());
    if (entry == nullptr) return UnknownOp(node.op());
    if (node.operands_size() < entry->least_operands ||
        (entry->greatest_operands >= 0 &&
         node.operands_size() > entry->greatest_operands)) {
      return absl::InvalidArgumentError(
          absl::StrCat("expects ", entry->least_operands,
                       entry->greatest_operands < 0 ? " or more"
                       : entry->greatest_operands == entry->least_operands
                           ? ""
                           : absl::StrCat(" to ", entry->greatest_operands),
                       " operands, got ", node.operands_size()));
    }
    QUERN_ASSIGN_OR_RETURN(const Attributes attributes,
                           ReadAttributes(node, *entry));
    std::vector<NamedValue> operands;
    for (const std::string& name : node.operands()) {
      QUERN_ASSIGN_OR_RETURN(NamedValue value, Find(name));
      operands.push_back(std::move(value));
    }
    QUERN_ASSIGN_OR_RETURN(const Place place,
                           PlaceOf(node, attributes, operands));
    std::vector<Id> ids;
    for (const NamedValue& operand : operands) ids.push_back(operand.node);
    std::vector<Id> results = entry->build(builder_, ids, attributes);
    QUERN_RETURN_IF_ERROR(builder_.status());
    if (static_cast<int64_t>(graph_.arena->size()) > 4 * options_.max_nodes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the graph unfolds to more than ", 4 * options_.max_nodes, " nodes"));
    }
    if (static_cast<int>(results.size()) != node.results_size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("defines ", results.size(), " results, ",
                       node.results_size(), " are named"));
    }
    for (size_t i = 0; i < results.size(); ++i) {
      // What depends on no input has no device of its own until it is copied
      // to one.
      if (!node.device().empty() && node.op() != "copy" &&
          std::all_of(operands.begin(), operands.end(),
                      [](const NamedValue& v) { return v.place.anywhere; })) {
        results[i] = builder_.Copy(results[i], node.device());
        QUERN_RETURN_IF_ERROR(builder_.status());
      }
      QUERN_RETURN_IF_ERROR(
          Define(node.results(static_cast<int>(i)), {results[i], place}));
    }
    return absl::OkStatus();
  }

  static absl::Status UnknownOp(const std::string& op) {
    const size_t at = op.find('@');
    for (const Entry& entry : Vocabulary()) {
      if (at != std::string::npos &&
          absl::string_view(entry.op).substr(0, at + 1) ==
              absl::string_view(op).substr(0, at + 1)) {
        return absl::UnimplementedError(
            absl::StrCat("version ", Quoted(op.substr(at + 1)),
                         " of the function is not known, try ", entry.op));
      }
    }
    return absl::UnimplementedError(
        absl::StrCat("there is no operation or function ", Quoted(op)));
  }

  // Where the results of a node are. May put copies in front of operands that
  // are not placed.
  absl::StatusOr<Place> PlaceOf(const v1::Node& node,
                                const Attributes& attributes,
                                std::vector<NamedValue>& operands) {
    if (node.op() == "copy") {
      const std::string& device = attributes["device"].text;
      if (!node.device().empty() && node.device() != device) {
        return absl::InvalidArgumentError(
            absl::StrCat("a copy to ", Quoted(device), " is on the device ",
                         Quoted(node.device())));
      }
      return Place{false, device};
    }
    Place place{true, node.device()};
    const NamedValue* decides = nullptr;
    for (NamedValue& operand : operands) {
      if (operand.place.anywhere) continue;
      if (!node.device().empty() && operand.place.device.empty()) {
        operand.node = builder_.Copy(operand.node, node.device());
        operand.place.device = node.device();
      }
      const std::string& wanted = !node.device().empty() ? node.device()
                                  : decides != nullptr   ? decides->place.device
                                                         : operand.place.device;
      if (operand.place.device != wanted) {
        return absl::InvalidArgumentError(
            absl::StrCat("an operand is on ", DeviceText(operand.place.device),
                         ", the node on ", DeviceText(wanted),
                         "; insert a node \"copy\" to bring it there"));
      }
      if (decides == nullptr) decides = &operand;
      place = {false, wanted};
    }
    if (!node.device().empty()) place.anywhere = false;
    return place;
  }

  static std::string DeviceText(const std::string& device) {
    return device.empty() ? "the default device"
                          : absl::StrCat("device ", Quoted(device));
  }

  absl::StatusOr<Attributes> ReadAttributes(const v1::Node& node,
                                            const Entry& entry) {
    // In the order of names, so that messages do not depend on hashes.
    std::vector<std::string> names;
    for (const auto& [name, attribute] : node.attributes()) {
      names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    Attributes attributes;
    for (const std::string& name : names) {
      const auto parameter =
          std::find_if(entry.parameters.begin(), entry.parameters.end(),
                       [&](const Parameter& p) { return name == p.name; });
      if (parameter == entry.parameters.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("there is no attribute ", Quoted(name)));
      }
      absl::StatusOr<Value> value =
          ReadAttribute(node.attributes().at(name), parameter->type);
      if (!value.ok()) {
        return Named(absl::StrCat("attribute ", Quoted(name)), value.status());
      }
      attributes.Set(name, *std::move(value));
    }
    for (const Parameter& parameter : entry.parameters) {
      if (!parameter.optional && !attributes.Has(parameter.name)) {
        return absl::InvalidArgumentError(
            absl::StrCat("the attribute '", parameter.name, "' is missing"));
      }
    }
    return attributes;
  }

  absl::StatusOr<Value> ReadAttribute(const v1::Attribute& attribute,
                                      ParameterType type) {
    using A = v1::Attribute;
    Value value;
    const auto given = attribute.value_case();
    bool fits = false;
    switch (type) {
      case ParameterType::kInt:
        fits = given == A::kIntValue;
        value.integer = attribute.int_value();
        break;
      case ParameterType::kFloat:
        fits = given == A::kFloatValue;
        value.real = attribute.float_value();
        break;
      case ParameterType::kBool:
        fits = given == A::kBoolValue;
        value.truth = attribute.bool_value();
        break;
      case ParameterType::kText:
        fits = given == A::kStringValue;
        value.text = attribute.string_value();
        break;
      case ParameterType::kDataType: {
        if (given != A::kDataType) break;
        fits = true;
        QUERN_ASSIGN_OR_RETURN(value.dtype, TypeOf(attribute.data_type()));
        break;
      }
      case ParameterType::kInts:
        fits = given == A::kInts;
        value.integers = {attribute.ints().values().begin(),
                          attribute.ints().values().end()};
        break;
      case ParameterType::kNumber:
        fits = given == A::kIntValue || given == A::kFloatValue;
        value.is_real = given == A::kFloatValue;
        value.integer = attribute.int_value();
        value.real = attribute.float_value();
        break;
      case ParameterType::kNumbers:
        fits = given == A::kInts || given == A::kFloats;
        value.is_real = given == A::kFloats;
        value.integers = {attribute.ints().values().begin(),
                          attribute.ints().values().end()};
        value.reals = {attribute.floats().values().begin(),
                       attribute.floats().values().end()};
        break;
      case ParameterType::kSize: {
        if (given != A::kSize) break;
        fits = true;
        QUERN_ASSIGN_OR_RETURN(const Id size, SizeOf(attribute.size()));
        value.sizes.push_back(size);
        break;
      }
      case ParameterType::kSizes: {
        // A list of known sizes may be given as plain integers.
        fits = given == A::kSizes || given == A::kInts;
        for (const v1::Size& part : attribute.sizes().values()) {
          QUERN_ASSIGN_OR_RETURN(const Id size, SizeOf(part));
          value.sizes.push_back(size);
        }
        for (int64_t part : attribute.ints().values()) {
          v1::Size constant;
          constant.set_constant(part);
          QUERN_ASSIGN_OR_RETURN(const Id size, SizeOf(constant));
          value.sizes.push_back(size);
        }
        break;
      }
    }
    if (fits) return value;
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", Name(type), ", got another field or none"));
  }

  absl::Status ReadOutput(const v1::GraphOutput& output) {
    const std::string what = absl::StrCat("output ", Quoted(output.name()));
    const absl::Status status = [&]() -> absl::Status {
      if (output.name().empty() || output.name().size() > kMaxNameBytes) {
        return absl::InvalidArgumentError(
            absl::StrCat("a name has 1 to ", kMaxNameBytes, " bytes"));
      }
      if (!output_names_.insert(output.name()).second) {
        return absl::InvalidArgumentError("two outputs have this name");
      }
      QUERN_ASSIGN_OR_RETURN(
          const NamedValue value,
          Find(output.value().empty() ? output.name() : output.value()));
      // An output leaves the engine, so its type must be a strong one.
      const Id node =
          builder_.Cast(value.node, ir::Strong(builder_.DTypeOf(value.node)));
      QUERN_RETURN_IF_ERROR(builder_.status());
      graph_.outputs.push_back({.name = output.name(),
                                .dtype = builder_.DTypeOf(node),
                                .dims = builder_.Dims(node),
                                .node = node});
      return absl::OkStatus();
    }();
    return Named(what, status);
  }

  std::shared_ptr<const v1::Graph> owner_;
  const v1::Graph& proto_;
  const ImportOptions& options_;
  graph::Graph graph_;
  ir::Builder builder_;
  absl::flat_hash_map<std::string, NamedValue> values_;
  absl::flat_hash_map<std::string, std::pair<int64_t, int64_t>> bounds_;
  absl::flat_hash_set<std::string> output_names_;
};

}  // namespace

absl::StatusOr<graph::Graph> ImportGraph(std::shared_ptr<const v1::Graph> proto,
                                         const ImportOptions& options) {
  return Importer(std::move(proto), options).Run();
}

}  // namespace quern::graph_import
