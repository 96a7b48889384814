// SPDX-License-Identifier: Apache-2.0
//
// The libFuzzer program of the surface QUERN_SURFACE. With the argument
// --seeds=FOLDER it writes the seeds into a folder and ends.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/strip.h"
#include "google/protobuf/stubs/logging.h"

#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

const Surface& TheSurface() {
  static const Surface surface = QUERN_SURFACE();
  return surface;
}

void WriteSeeds(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (const Seed& seed : TheSurface().seeds()) {
    std::ofstream(folder / seed.name, std::ios::binary) << seed.bytes;
  }
}

}  // namespace
}  // namespace quern::fuzz

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  google::protobuf::SetLogHandler(nullptr);
  for (int i = 1; i < *argc; ++i) {
    absl::string_view argument = (*argv)[i];
    if (!absl::ConsumePrefix(&argument, "--seeds=")) continue;
    quern::fuzz::WriteSeeds(std::string(argument));
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quern::fuzz::TheSurface().read({reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  const std::string mutated = quern::fuzz::TheSurface().mutate(
      {reinterpret_cast<const char*>(data), size}, max_size, seed,
      LLVMFuzzerMutate);
  std::memcpy(data, mutated.data(), mutated.size());
  return mutated.size();
}
