// SPDX-License-Identifier: Apache-2.0
//
// Attributes are the parameters of one node of a submitted graph, checked
// against the list of what its operation takes and turned into the engine's
// types. Functions of the vocabulary read them without checks of their own.
//
// A value for one thread; sizes in it live in the arena they were made in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/ir/builder.h"

namespace quern::graph_import {

// What the field of an attribute must be; the names are the proto's.
enum class ParameterType {
  kInt,
  kFloat,
  kBool,
  kText,
  kDataType,
  kInts,
  kSize,
  kSizes,
  kNumber,   // An integer or a float.
  kNumbers,  // Integers or floats.
};

[[nodiscard]] const char* Name(ParameterType type);

// A parameter that an operation takes.
struct Parameter {
  const char* name;
  ParameterType type;
  bool optional = false;
};

// One attribute in the engine's types; which member counts is its parameter's
// type.
struct Value {
  int64_t integer = 0;
  double real = 0;
  bool is_real = false;  // Of a number or numbers: they are floats.
  bool truth = false;
  std::string text;
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> integers;
  std::vector<double> reals;
  std::vector<ir::Id> sizes;
};

class Attributes {
 public:
  void Set(const std::string& name, Value value) {
    values_[name] = std::move(value);
  }
  [[nodiscard]] bool Has(const std::string& name) const {
    return values_.contains(name);
  }

  // The attribute, or the value of a left out one. That the name and type are
  // those of a declared parameter is the caller's promise.
  [[nodiscard]] const Value& operator[](const std::string& name) const;
  [[nodiscard]] int64_t Int(const std::string& name, int64_t missing = 0) const;
  [[nodiscard]] double Float(const std::string& name, double missing = 0) const;
  [[nodiscard]] bool Bool(const std::string& name, bool missing = false) const;

 private:
  std::map<std::string, Value> values_;
};

}  // namespace quern::graph_import
