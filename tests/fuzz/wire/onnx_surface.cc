// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <sstream>

#include "proto/onnx/onnx.pb.h"
#include "server/import/onnx/importer.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/message_mutator.h"
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

namespace fs = std::filesystem;

// Of the package libonnx-testdata: a small model for each operator.
constexpr char kModels[] = "/usr/share/libonnx-testdata/data/node";
constexpr uintmax_t kMaxModelBytes = 4096;

void Read(absl::string_view bytes) {
  onnx_import::ImportOptions options;
  options.max_nodes = 500;
  options.max_attribute_elements = 10'000;
  const auto graph = onnx_import::ImportOnnx(bytes, options);
  ExpectNoFault(graph.status());
  if (graph.ok()) ExpectCompiles(*graph);
}

std::vector<Seed> Seeds() {
  std::vector<Seed> seeds;
  if (!fs::exists(kModels)) return seeds;
  for (const fs::directory_entry& entry : fs::directory_iterator(kModels)) {
    const fs::path path = entry.path() / "model.onnx";
    if (!fs::exists(path) || fs::file_size(path) > kMaxModelBytes) continue;
    std::ifstream file(path, std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    seeds.push_back({entry.path().filename(), bytes.str()});
  }
  return seeds;
}

}  // namespace

Surface OnnxSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedAs<onnx::ModelProto>};
}

}  // namespace quern::fuzz
