// SPDX-License-Identifier: Apache-2.0
//
// The attributes that convolutions and poolings share: strides, dilations,
// padding, and the ways in which padding may be left to the operator.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/graph/contraction.h"
#include "server/import/onnx/node_call.h"

namespace quern::onnx_import {

// The windows of `taps` over the spatial axes of input 0. Records an error if
// the attributes do not fit each other.
graph::Windows WindowsOf(NodeCall& call, absl::Span<const int64_t> taps);

}  // namespace quern::onnx_import
