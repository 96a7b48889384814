// SPDX-License-Identifier: Apache-2.0
//
// Makes ONNX models with random weights for the demo, tests and benchmarks,
// so that none has to be downloaded or committed.
//
// A model depends on its kind and seed alone: the random numbers come from
// integer arithmetic and each weight from one rounded multiplication, so every
// machine makes the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "proto/onnx/onnx.pb.h"

namespace quern::support {

// The kinds that MakeModel knows:
//   demo_cnn  a residual network. "image" f32 [1, 3, 64, 64] ->
//             "probabilities" f32 [1, 10]; 3 stages of 2 blocks with 16, 32
//             and 64 channels; weights by He et al., "Delving Deep into
//             Rectifiers", 2015
//   mlp       a perceptron with a free batch. "features" f32 [batch, 64] ->
//             "probabilities" f32 [batch, 10]; two hidden layers of 128
[[nodiscard]] std::vector<std::string> ModelKinds();

// The model of this kind; kInvalidArgument, naming the known ones, if there is
// no such kind.
[[nodiscard]] absl::StatusOr<::onnx::ModelProto> MakeModel(
    absl::string_view kind, uint64_t seed);

// A file that gives its input "x" f32 [n] back as "y".
[[nodiscard]] std::string IdentityFile();

}  // namespace quern::support
