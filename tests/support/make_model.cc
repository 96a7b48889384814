// SPDX-License-Identifier: Apache-2.0
//
// quern-make-model KIND OUT.onnx [--seed N]: writes a model with random
// weights.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_join.h"

#include "tests/support/model_generator.h"

int main(int argc, char** argv) {
  CLI::App app("Writes an ONNX model with random weights.");
  std::string kind;
  std::string path;
  uint64_t seed = 1;
  app.add_option("KIND", kind,
                 absl::StrJoin(quern::support::ModelKinds(), " or "))
      ->required();
  app.add_option("OUT", path, "The file to write")->required();
  app.add_option("--seed", seed, "Decides the weights")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  const auto model = quern::support::MakeModel(kind, seed);
  if (!model.ok()) {
    std::fprintf(stderr, "quern-make-model: %s\n",
                 std::string(model.status().message()).c_str());
    return 1;
  }
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (!model->SerializeToOstream(&out) || !out.flush()) {
    std::fprintf(stderr, "quern-make-model: cannot write %s\n", path.c_str());
    return 1;
  }
  return 0;
}
