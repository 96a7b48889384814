// SPDX-License-Identifier: Apache-2.0
//
// Reads the seeds of every surface, what once went wrong there, and a few
// changed seeds; what must hold is checked by the surface. The program
// fuzz-NAME of the preset fuzz looks further, see CONTRIBUTING.md.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "google/protobuf/stubs/logging.h"
#include <gtest/gtest.h>

#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxBytes = 4096;
constexpr uint64_t kMutations = 2000;

class Wire : public ::testing::TestWithParam<NamedSurface> {
 protected:
  static void SetUpTestSuite() { google::protobuf::SetLogHandler(nullptr); }
  const Surface& surface() const { return GetParam().surface; }
};

// Flips, inserts or removes a byte.
size_t MutateAByte(uint8_t* data, size_t size, size_t max_size) {
  static auto* const engine = new std::minstd_rand(1);
  std::minstd_rand& random = *engine;
  const size_t at = size == 0 ? 0 : random() % size;
  const auto byte = static_cast<uint8_t>(random() >> 8);
  switch (size == 0 ? 1 : random() % 3) {
    case 0:
      data[at] = byte;
      return size;
    case 1:
      if (size == max_size) return size;
      std::copy_backward(data + at, data + size, data + size + 1);
      data[at] = byte;
      return size + 1;
    default:
      std::copy(data + at + 1, data + size, data + at);
      return size - 1;
  }
}

TEST_P(Wire, ReadsItsSeeds) {
  const std::vector<Seed> seeds = surface().seeds();
  ASSERT_FALSE(seeds.empty());
  for (const Seed& seed : seeds) {
    SCOPED_TRACE(seed.name);
    surface().read(seed.bytes);
  }
}

TEST_P(Wire, ReadsWhatOnceWentWrong) {
  const fs::path folder = fs::path(QUERN_REGRESSIONS) / GetParam().name;
  if (!fs::exists(folder)) GTEST_SKIP() << "nothing went wrong here yet";
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path());
    std::ifstream file(entry.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    surface().read(bytes.str());
  }
}

TEST_P(Wire, ReadsChangedSeeds) {
  const std::vector<Seed> seeds = surface().seeds();
  ASSERT_FALSE(seeds.empty());
  for (uint64_t i = 0; i < kMutations; ++i) {
    std::string bytes = seeds[i % seeds.size()].bytes;
    for (uint64_t step = 0; step <= i % 3; ++step) {
      bytes = surface().mutate(bytes, kMaxBytes, 31 * i + step, MutateAByte);
    }
    surface().read(bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Wire, ::testing::ValuesIn(AllSurfaces()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace quern::fuzz
