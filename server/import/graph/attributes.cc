// SPDX-License-Identifier: Apache-2.0
#include "server/import/graph/attributes.h"

namespace quern::graph_import {

const char* Name(ParameterType type) {
  switch (type) {
    case ParameterType::kInt:
      return "int_value";
    case ParameterType::kFloat:
      return "float_value";
    case ParameterType::kBool:
      return "bool_value";
    case ParameterType::kText:
      return "string_value";
    case ParameterType::kDataType:
      return "data_type";
    case ParameterType::kInts:
      return "ints";
    case ParameterType::kSize:
      return "size";
    case ParameterType::kSizes:
      return "sizes";
    case ParameterType::kNumber:
      return "int_value or float_value";
    case ParameterType::kNumbers:
      return "ints or floats";
  }
  return "";
}

const Value& Attributes::operator[](const std::string& name) const {
  static const Value* const missing = new Value;
  const auto it = values_.find(name);
  return it == values_.end() ? *missing : it->second;
}

int64_t Attributes::Int(const std::string& name, int64_t missing) const {
  return Has(name) ? (*this)[name].integer : missing;
}

double Attributes::Float(const std::string& name, double missing) const {
  return Has(name) ? (*this)[name].real : missing;
}

bool Attributes::Bool(const std::string& name, bool missing) const {
  return Has(name) ? (*this)[name].truth : missing;
}

}  // namespace quern::graph_import
