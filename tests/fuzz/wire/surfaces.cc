// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {

std::vector<NamedSurface> AllSurfaces() {
  return {{"cache", CacheSurface()},    {"config", ConfigSurface()},
          {"graph", GraphSurface()},    {"grpc", GrpcSurface()},
          {"http", HttpSurface()},      {"ir", IrSurface()},
          {"linear", LinearSurface()},  {"onnx", OnnxSurface()},
          {"request", RequestSurface()}};
}

std::string MutatedBytes(absl::string_view bytes, size_t max_size, uint64_t,
                         MutateBytes mutate_bytes) {
  std::string out(bytes.substr(0, max_size));
  const size_t size = out.size();
  out.resize(max_size);
  out.resize(
      mutate_bytes(reinterpret_cast<uint8_t*>(out.data()), size, max_size));
  return out;
}

}  // namespace quern::fuzz
