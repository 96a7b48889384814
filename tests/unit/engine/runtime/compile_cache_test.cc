// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/compile_cache.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include <sys/file.h>
#include <sys/stat.h>

namespace quern::runtime {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Origin = CachedBlob::Origin;
using telemetry::Metric;

class CompileCacheTest : public ::testing::Test {
 protected:
  CompileCacheTest() {
    std::string name = (fs::temp_directory_path() / "quern_XXXXXX").string();
    root_ = mkdtemp(name.data());
    options_.directory = (root_ / "cache").string();
  }
  ~CompileCacheTest() override { fs::remove_all(root_); }

  CompileCache::Compute Making(std::string blob) {
    return [this, blob] {
      ++computed_;
      return blob;
    };
  }
  // What a new cache, as after a restart, finds for `key`.
  absl::StatusOr<CachedBlob> Reopened(const BlobKey& key, std::string blob) {
    CompileCache cache(options_, &metrics_);
    return cache.GetOrCompute(key, Making(std::move(blob)));
  }
  double Value(Metric metric, telemetry::Metrics::Labels labels = {}) {
    return metrics_.GetNumber(metric, std::move(labels))->Get();
  }
  std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }
  static std::string Bytes(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void Overwrite(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  fs::path root_;
  CompileCache::Options options_;
  telemetry::Metrics metrics_;
  int computed_ = 0;
};

const BlobKey kKey = {"kernel text", "llvm 19.1.7", "backend=cpu"};

TEST_F(CompileCacheTest, ComputesOnceAndThenRemembers) {
  CompileCache cache(options_, &metrics_);
  const auto first = cache.GetOrCompute(kKey, Making("blob"));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->origin, Origin::kComputed);
  const auto second = cache.GetOrCompute(kKey, Making("other"));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->origin, Origin::kMemory);
  EXPECT_EQ(*second->blob, "blob");
  EXPECT_EQ(computed_, 1);
  EXPECT_EQ(Value(Metric::kCompileCacheHits, {"memory"}), 1);
  EXPECT_EQ(Value(Metric::kCompileCacheMisses), 1);
}

TEST_F(CompileCacheTest, FindsOnDiskWhatAnEarlierProcessMade) {
  const std::string blob("with\0zero", 9);
  ASSERT_TRUE(Reopened(kKey, blob).ok());
  const auto again = Reopened(kKey, "other");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->origin, Origin::kDisk);
  EXPECT_EQ(*again->blob, blob);
  EXPECT_EQ(Value(Metric::kCompileCacheHits, {"disk"}), 1);
}

TEST_F(CompileCacheTest, KeepsAnEmptyBlob) {
  ASSERT_TRUE(Reopened(kKey, "").ok());
  const auto again = Reopened(kKey, "other");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again->blob, "");
}

TEST_F(CompileCacheTest, EveryPartOfTheKeyCounts) {
  CompileCache cache(options_, &metrics_);
  const BlobKey keys[] = {{"a", "b", "c"}, {"x", "b", "c"}, {"a", "x", "c"},
                          {"a", "b", "x"}, {"ab", "", "c"}, {"a", "bc", ""}};
  for (const BlobKey& key : keys) {
    ASSERT_TRUE(cache.GetOrCompute(key, Making(key.text)).ok());
  }
  EXPECT_EQ(computed_, 6);
  EXPECT_THAT(Files(), SizeIs(6));
}

TEST_F(CompileCacheTest, FindNeverComputes) {
  CompileCache cache(options_, &metrics_);
  EXPECT_EQ(cache.Find(kKey).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(cache.GetOrCompute(kKey, Making("blob")).ok());
  EXPECT_EQ(cache.Find(kKey)->origin, Origin::kMemory);
  CompileCache restarted(options_, &metrics_);
  EXPECT_EQ(restarted.Find(kKey)->origin, Origin::kDisk);
  EXPECT_EQ(restarted.Find(kKey)->origin, Origin::kMemory);
}

TEST_F(CompileCacheTest, FilesAreForTheOwnerAlone) {
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  ASSERT_THAT(Files(), SizeIs(1));
  EXPECT_EQ(fs::status(Files()[0]).permissions(), fs::perms(0600));
  EXPECT_EQ(fs::status(options_.directory).permissions(), fs::perms(0700));
}

TEST_F(CompileCacheTest, NoTextOfAClientReachesAPath) {
  const BlobKey evil = {"../../../etc/passwd", "/abs", "..\n"};
  ASSERT_TRUE(Reopened(evil, "blob").ok());
  ASSERT_THAT(Files(), SizeIs(1));
  const fs::path relative = Files()[0].lexically_relative(options_.directory);
  EXPECT_THAT(relative.string(),
              ::testing::MatchesRegex("[0-9a-f][0-9a-f]/[0-9a-f]+"));
}

TEST_F(CompileCacheTest, DamageOfAnyByteIsCountedAndRepaired) {
  ASSERT_TRUE(Reopened(kKey, "the blob").ok());
  const fs::path path = Files().at(0);
  const std::string whole = Bytes(path);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    Overwrite(path, damaged);
    const auto repaired = Reopened(kKey, "the blob");
    ASSERT_TRUE(repaired.ok());
    ASSERT_EQ(repaired->origin, Origin::kComputed) << "byte " << i;
    ASSERT_EQ(Value(Metric::kCompileCacheCorrupt), i + 1);
    ASSERT_EQ(Bytes(path), whole);
  }
}

TEST_F(CompileCacheTest, TruncationAtAnyByteIsCountedAndRepaired) {
  ASSERT_TRUE(Reopened(kKey, "the blob").ok());
  const fs::path path = Files().at(0);
  const std::string whole = Bytes(path);
  for (size_t size = 0; size < whole.size(); ++size) {
    Overwrite(path, whole.substr(0, size));
    ASSERT_EQ(Reopened(kKey, "the blob")->origin, Origin::kComputed) << size;
    ASSERT_EQ(Value(Metric::kCompileCacheCorrupt), size + 1);
  }
}

TEST_F(CompileCacheTest, BytesAfterTheEndAreDamage) {
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  const fs::path path = Files().at(0);
  Overwrite(path, Bytes(path) + "x");
  EXPECT_EQ(Reopened(kKey, "blob")->origin, Origin::kComputed);
  EXPECT_EQ(Value(Metric::kCompileCacheCorrupt), 1);
}

TEST_F(CompileCacheTest, AWholeFileOfAnotherKeyIsAMiss) {
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  const fs::path mine = Files().at(0);
  const std::string bytes = Bytes(mine);
  fs::remove(mine);
  const BlobKey other = {"other", "", ""};
  ASSERT_TRUE(Reopened(other, "other blob").ok());
  Overwrite(Files().at(0), bytes);  // As if both had one hash.
  const auto result = Reopened(other, "other blob");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result->blob, "other blob");
  EXPECT_EQ(result->origin, Origin::kComputed);
}

TEST_F(CompileCacheTest, AFolderInPlaceOfAFileIsSurvived) {
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  const fs::path path = Files().at(0);
  fs::remove(path);
  fs::create_directory(path);
  const auto result = Reopened(kKey, "blob");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result->blob, "blob");
  EXPECT_GT(Value(Metric::kCompileCacheErrors, {"write"}), 0);
}

TEST_F(CompileCacheTest, ConcurrentCallersShareOneComputation) {
  CompileCache cache(options_, &metrics_);
  std::atomic<int> computing = 0;
  std::atomic<int> asking = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      ++asking;
      const auto result = cache.GetOrCompute(kKey, [&] {
        ++computing;
        while (asking < 8) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return std::string("blob");
      });
      EXPECT_TRUE(result.ok());
      EXPECT_EQ(*result->blob, "blob");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(computing, 1);
  EXPECT_EQ(Value(Metric::kCompileCacheMisses), 1);
  EXPECT_EQ(Value(Metric::kCompileCacheHits, {"memory"}), 7);
}

TEST_F(CompileCacheTest, AnErrorGoesToAllWaitersAndIsNotKept) {
  CompileCache cache(options_, &metrics_);
  std::atomic<int> asking = 0;
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      ++asking;
      const auto result =
          cache.GetOrCompute(kKey, [&]() -> absl::StatusOr<std::string> {
            while (asking < 4) std::this_thread::yield();
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            return absl::ResourceExhaustedError("too large");
          });
      EXPECT_EQ(result.status().message(), "too large");
      if (!result.ok()) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 4);
  EXPECT_TRUE(cache.GetOrCompute(kKey, Making("blob")).ok());
  EXPECT_THAT(Files(), SizeIs(1));
}

TEST_F(CompileCacheTest, DifferentKeysDoNotWaitForEachOther) {
  CompileCache cache(options_, &metrics_);
  const auto outer = cache.GetOrCompute(kKey, [&] {
    return *cache.GetOrCompute({"inner", "", ""}, Making("inner"))->blob;
  });
  ASSERT_TRUE(outer.ok());
  EXPECT_EQ(*outer->blob, "inner");
}

TEST_F(CompileCacheTest, ManyThreadsAndKeysGetTheirOwnBlobs) {
  options_.max_memory_bytes = 400;  // Some entries are always on their way out.
  options_.max_disk_bytes = 4000;
  CompileCache cache(options_, &metrics_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string text = absl::StrCat("kernel ", (i * 7 + t) % 50);
        const auto result = cache.GetOrCompute(
            {text, "", ""}, [&] { return absl::StrCat("blob of ", text); });
        ASSERT_TRUE(result.ok());
        ASSERT_EQ(*result->blob, absl::StrCat("blob of ", text));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Value(Metric::kCompileCacheCorrupt), 0);
}

TEST_F(CompileCacheTest, ClearsWhatACrashBetweenWriteAndRenameLeft) {
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  const fs::path leftover = fs::path(options_.directory) / "tmp" / "123-4";
  Overwrite(leftover, Bytes(Files().at(0)));
  CompileCache cache(options_, &metrics_);
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_THAT(Files(), SizeIs(1));
}

TEST_F(CompileCacheTest, LeavesTheTemporaryFileOfALivingWriter) {
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  const fs::path writing = fs::path(options_.directory) / "tmp" / "123-4";
  Overwrite(writing, "half");
  const int descriptor = open(writing.c_str(), O_RDONLY);
  ASSERT_EQ(flock(descriptor, LOCK_EX), 0);
  CompileCache cache(options_, &metrics_);
  EXPECT_TRUE(fs::exists(writing));
  close(descriptor);
}

TEST_F(CompileCacheTest, DropsTheLeastRecentlyUsedFilesOverTheCap) {
  options_.max_disk_bytes = 5000;
  const std::string blob(900, 'x');
  const auto key = [](int i) { return BlobKey{absl::StrCat("k", i), "", ""}; };
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(Reopened(key(i), blob).ok());
    // Timestamps of a file system may be as coarse as a tick.
    std::this_thread::sleep_for(std::chrono::milliseconds(12));
  }
  EXPECT_EQ(Reopened(key(0), blob)->origin, Origin::kDisk);  // Used again.
  std::this_thread::sleep_for(std::chrono::milliseconds(12));
  ASSERT_TRUE(Reopened(key(5), blob).ok());
  EXPECT_GT(Value(Metric::kCompileCacheEvictions, {"disk"}), 0);
  EXPECT_LE(Value(Metric::kCompileCacheBytes, {"disk"}), 5000);
  CompileCache cache(options_, &metrics_);
  EXPECT_TRUE(cache.Find(key(0)).ok());
  EXPECT_TRUE(cache.Find(key(5)).ok());
  EXPECT_FALSE(cache.Find(key(1)).ok());
}

TEST_F(CompileCacheTest, DropsTheLeastRecentlyUsedBlobsFromMemory) {
  options_.directory = "";
  options_.max_memory_bytes = 2500;
  CompileCache cache(options_, &metrics_);
  const std::string blob(1000, 'x');
  ASSERT_TRUE(cache.GetOrCompute({"a", "", ""}, Making(blob)).ok());
  ASSERT_TRUE(cache.GetOrCompute({"b", "", ""}, Making(blob)).ok());
  ASSERT_TRUE(cache.Find({"a", "", ""}).ok());
  ASSERT_TRUE(cache.GetOrCompute({"c", "", ""}, Making(blob)).ok());
  EXPECT_TRUE(cache.Find({"a", "", ""}).ok());
  EXPECT_FALSE(cache.Find({"b", "", ""}).ok());
  EXPECT_EQ(Value(Metric::kCompileCacheEvictions, {"memory"}), 1);
}

TEST_F(CompileCacheTest, ABlobLargerThanMemoryIsStillHandedOut) {
  options_.directory = "";
  options_.max_memory_bytes = 10;
  CompileCache cache(options_, &metrics_);
  const auto result = cache.GetOrCompute(kKey, Making(std::string(100, 'x')));
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(*result->blob, SizeIs(100));
}

TEST_F(CompileCacheTest, GoesOnWithoutADirectoryItCannotMake) {
  Overwrite(root_ / "file", "");
  options_.directory = (root_ / "file" / "cache").string();
  CompileCache cache(options_, &metrics_);
  ASSERT_TRUE(cache.GetOrCompute(kKey, Making("blob")).ok());
  EXPECT_EQ(cache.Find(kKey)->origin, Origin::kMemory);
  EXPECT_EQ(Value(Metric::kCompileCacheErrors, {"open"}), 1);
  EXPECT_THAT(std::string(cache.disk_status().message()),
              HasSubstr("cannot make"));
}

TEST_F(CompileCacheTest, RefusesADirectoryThatOthersMayWriteTo) {
  fs::create_directory(options_.directory);
  chmod(options_.directory.c_str(), 0777);
  CompileCache cache(options_, &metrics_);
  EXPECT_EQ(cache.disk_status().code(), absl::StatusCode::kPermissionDenied);
  ASSERT_TRUE(cache.GetOrCompute(kKey, Making("blob")).ok());
  EXPECT_THAT(Files(), IsEmpty());
}

TEST_F(CompileCacheTest, GoesOnWhenItsFolderVanishes) {
  CompileCache cache(options_, &metrics_);
  fs::remove_all(options_.directory);
  ASSERT_TRUE(cache.GetOrCompute(kKey, Making("blob")).ok());
  EXPECT_EQ(Value(Metric::kCompileCacheErrors, {"write"}), 1);
  EXPECT_FALSE(cache.disk_status().ok());
}

TEST_F(CompileCacheTest, MakesTheFoldersAboveItsOwn) {
  options_.directory = (root_ / "a" / "b" / "cache").string();
  ASSERT_TRUE(Reopened(kKey, "blob").ok());
  EXPECT_THAT(Files(), SizeIs(1));
}

TEST_F(CompileCacheTest, TouchesNoDiskWithoutADirectory) {
  options_.directory = "";
  CompileCache cache(options_, &metrics_);
  ASSERT_TRUE(cache.GetOrCompute(kKey, Making("blob")).ok());
  EXPECT_TRUE(cache.disk_status().ok());
  EXPECT_THAT(Files(), IsEmpty());
}

}  // namespace
}  // namespace quern::runtime
