// SPDX-License-Identifier: Apache-2.0
//
// The input is a file of the cache. Its checksum would refuse all that is
// changed, so that the mutator mends it now and then.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/strings/match.h"

#include "engine/runtime/compile_cache.h"
#include "engine/telemetry/metrics.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/surface.h"

namespace quern::fuzz {
namespace {

namespace fs = std::filesystem;
using runtime::BlobKey;
using runtime::CachedBlob;
using runtime::CompileCache;

// The layout of the file's head: magic, checksum of what follows it.
constexpr size_t kChecksumAt = 8;
constexpr size_t kCheckedFrom = 24;
constexpr char kComputed[] = "computed";

// A folder in memory, if there is one, that goes away with the process.
class Folder {
 public:
  Folder() {
    std::string pattern = fs::exists("/dev/shm") ? "/dev/shm" : "/tmp";
    pattern += "/quern-fuzz-XXXXXX";
    Expect(mkdtemp(pattern.data()) != nullptr, "a folder");
    path_ = pattern;
  }
  ~Folder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

const BlobKey& Key() {
  static const auto* const key =
      new BlobKey{.text = "kernel", .compiler = "1", .target = "t"};
  return *key;
}

std::unique_ptr<CompileCache> Open(const fs::path& folder,
                                   telemetry::Metrics& metrics) {
  CompileCache::Options options;
  options.directory = folder;
  return std::make_unique<CompileCache>(options, &metrics);
}

CachedBlob Get(CompileCache& cache) {
  const auto blob = cache.GetOrCompute(
      Key(), []() -> absl::StatusOr<std::string> { return kComputed; });
  Expect(blob.ok(), "a blob, got " + blob.status().ToString());
  return *blob;
}

// The file of Key() in a folder of a cache.
fs::path FileIn(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) return entry.path();
  }
  return {};
}

std::string BytesOf(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// A folder with the file that the cache wrote, and where that lies.
struct Stage {
  Folder folder;
  fs::path file;
  std::string good;
};
const Stage& TheStage() {
  static Stage stage;
  if (stage.file.empty()) {
    telemetry::Metrics metrics;
    static_cast<void>(Get(*Open(stage.folder.path(), metrics)));
    stage.file = FileIn(stage.folder.path());
    Expect(!stage.file.empty(), "a file of the cache");
    stage.good = BytesOf(stage.file);
  }
  return stage;
}

// Whatever lies there, the caller gets a blob; if it came from the file, it is
// the file's end, and if not, a good file lies there now.
void Read(absl::string_view bytes) {
  const Stage& stage = TheStage();
  fs::create_directories(stage.file.parent_path());
  std::ofstream(stage.file, std::ios::binary) << bytes;
  telemetry::Metrics metrics;
  const CachedBlob blob = Get(*Open(stage.folder.path(), metrics));
  if (blob.origin == CachedBlob::Origin::kDisk) {
    Expect(absl::EndsWith(bytes, *blob.blob), "what lies in the file");
    return;
  }
  Expect(*blob.blob == kComputed && BytesOf(stage.file) == stage.good,
         "that a damaged file is made anew");
}

std::vector<Seed> Seeds() { return {{"good", TheStage().good}, {"empty", ""}}; }

std::string MutatedFile(absl::string_view bytes, size_t max_size, uint64_t seed,
                        MutateBytes mutate_bytes) {
  std::string mutated = MutatedBytes(bytes, max_size, seed, mutate_bytes);
  if (seed % 4 == 0 || mutated.size() < kCheckedFrom) return mutated;
  const XXH128_hash_t checksum = XXH3_128bits(mutated.data() + kCheckedFrom,
                                              mutated.size() - kCheckedFrom);
  const uint64_t parts[] = {checksum.low64, checksum.high64};
  std::memcpy(mutated.data() + kChecksumAt, parts, sizeof(parts));
  return mutated;
}

}  // namespace

Surface CacheSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedFile};
}

}  // namespace quern::fuzz
