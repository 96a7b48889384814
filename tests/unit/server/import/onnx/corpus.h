// SPDX-License-Identifier: Apache-2.0
//
// Runs one test of an ONNX corpus against the oracle: imports model.onnx,
// simplifies and evaluates it for every test_data_set_*, and compares the
// outputs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace quern::onnx_import {

struct Tolerance {
  double relative = 1e-3;
  double absolute = 1e-5;
};

// OK if all data sets agree; kUnimplemented if the model asks for what is not
// supported; what went wrong otherwise. Inputs whose content decides shapes
// are fixed to the values of the data set.
[[nodiscard]] absl::Status CheckCase(const std::string& folder,
                                     const Tolerance& tolerance = {});

// Folders below `root` that hold a model.onnx, in order of their names.
[[nodiscard]] std::vector<std::string> CasesBelow(const std::string& root);

// The content of a file; empty if it cannot be read.
[[nodiscard]] std::string ReadFile(const std::string& path);

}  // namespace quern::onnx_import
