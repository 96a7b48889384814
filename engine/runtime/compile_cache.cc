// SPDX-License-Identifier: Apache-2.0
//
// A file is a header, the key and the blob. The checksum covers all that
// follows it, so that damage anywhere is found:
//
//   offset  0  magic and format version, 8 bytes
//   offset  8  checksum of the rest, XXH3-128
//   offset 24  size of the key, size of the blob
//   offset 40  key, blob
//
// Numbers are in the machine's byte order; a foreign file fails its checks.
// XXH3 is no cryptographic hash, so a client could make two kernels whose
// names collide. That is why the whole key is stored and compared.
#include "engine/runtime/compile_cache.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <utility>
#include <vector>

#include <sys/file.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "engine/base/status_macros.h"

namespace quern::runtime {
namespace {

using telemetry::Metric;

constexpr char kMagic[8] = {'Q', 'U', 'E', 'R', 'N', 'B', 'L', '1'};
constexpr char kTemporaryFolder[] = "tmp";
constexpr int64_t kMaxFileBytes = int64_t{1} << 30;
// Eviction goes below the cap by this share, so that it is not done each time.
constexpr int kEvictionSlack = 10;

struct Header {
  char magic[8];
  uint64_t checksum_low;
  uint64_t checksum_high;
  uint64_t key_size;
  uint64_t blob_size;
};
static_assert(sizeof(Header) == 40);
constexpr size_t kUnchecked = offsetof(Header, key_size);

// One text of which the parts can be told apart.
std::string Join(const BlobKey& key) {
  return absl::StrCat("compiler ", key.compiler.size(), " ", key.compiler,
                      "\ntarget ", key.target.size(), " ", key.target, "\n",
                      key.text);
}

// The path of a key below the directory: "3f/<30 hexadecimal digits>".
std::string FileName(const std::string& key) {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  const std::string hex =
      absl::StrFormat("%016x%016x", hash.high64, hash.low64);
  return absl::StrCat(hex.substr(0, 2), "/", hex.substr(2));
}

absl::Status Failure(const char* what, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(
      "compile cache: cannot ", what, " ", path, ": ", std::strerror(errno)));
}

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] bool ok() const { return descriptor_ >= 0; }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// The names in a folder; none if it cannot be read.
std::vector<std::string> List(const std::string& folder) {
  std::vector<std::string> names;
  DIR* stream = opendir(folder.c_str());
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] != '.') names.push_back(entry->d_name);
  }
  closedir(stream);
  return names;
}

bool WriteAll(int descriptor, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        write(descriptor, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

// The bytes of a regular file of a size that the cache writes.
std::optional<std::string> ReadAll(int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_size > kMaxFileBytes) {
    return std::nullopt;
  }
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = read(descriptor, &bytes[done], bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    done += static_cast<size_t>(n);
  }
  return bytes;
}

XXH128_hash_t Checksum(const std::string& bytes) {
  return XXH3_128bits(bytes.data() + kUnchecked, bytes.size() - kUnchecked);
}

std::string Encode(const std::string& key, const std::string& blob) {
  Header header = {};
  header.key_size = key.size();
  header.blob_size = blob.size();
  std::string bytes(sizeof(Header), '\0');
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  std::memcpy(bytes.data(), &header, sizeof(header));
  absl::StrAppend(&bytes, key, blob);
  const XXH128_hash_t checksum = Checksum(bytes);
  header.checksum_low = checksum.low64;
  header.checksum_high = checksum.high64;
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

// A file's content, if it is whole.
struct Content {
  std::string key;
  std::string blob;
};
std::optional<Content> Decode(const std::string& bytes) {
  Header header;
  if (bytes.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) {
    return std::nullopt;
  }
  const XXH128_hash_t checksum = Checksum(bytes);
  const uint64_t rest = bytes.size() - sizeof(header);
  if (checksum.low64 != header.checksum_low ||
      checksum.high64 != header.checksum_high || header.key_size > rest ||
      header.blob_size != rest - header.key_size) {
    return std::nullopt;
  }
  return Content{bytes.substr(sizeof(header), header.key_size),
                 bytes.substr(sizeof(header) + header.key_size)};
}

}  // namespace

// The tier on disk. Locks only to account for sizes.
class CompileCache::Disk {
 public:
  Disk(const Options& options, telemetry::Metrics* metrics)
      : root_(options.directory),
        max_bytes_(options.max_disk_bytes),
        metrics_(metrics) {
    if (root_.empty()) return;
    if (absl::Status status = Open(); !status.ok()) {
      Complain("open", status);
      return;
    }
    usable_ = true;
    RemoveLeftovers();
    base::MutexLock lock(&mutex_);
    bytes_ = Total(Files());
    Report();
  }

  // The blob of `key`; nothing if there is no whole file of it.
  std::optional<std::string> Read(const std::string& key) {
    if (!usable_) return std::nullopt;
    const std::string path = absl::StrCat(root_, "/", FileName(key));
    const File file(
        open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file.ok()) {
      if (errno != ENOENT) Complain("read", Failure("read", path));
      return std::nullopt;
    }
    const std::optional<std::string> bytes = ReadAll(file.get());
    std::optional<Content> content;
    if (bytes.has_value()) content = Decode(*bytes);
    if (!content.has_value()) {
      metrics_->Add(Metric::kCompileCacheCorrupt, {});
      if (unlink(path.c_str()) != 0 && errno != ENOENT) {
        Complain("remove", Failure("remove", path));
      }
      return std::nullopt;
    }
    if (content->key != key) return std::nullopt;
    futimens(file.get(), nullptr);  // The order of eviction.
    return std::move(content->blob);
  }

  void Write(const std::string& key, const std::string& blob) {
    if (!usable_) return;
    const std::string bytes = Encode(key, blob);
    if (static_cast<int64_t>(bytes.size()) >
        std::min(kMaxFileBytes, max_bytes_))
      return;
    if (absl::Status status = Store(FileName(key), bytes); !status.ok()) {
      Complain("write", status);
      return;
    }
    base::MutexLock lock(&mutex_);
    bytes_ += static_cast<int64_t>(bytes.size());
    if (bytes_ > max_bytes_) Evict();
    Report();
  }

  absl::Status status() const {
    base::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  struct Found {
    std::string path;
    int64_t size;
    timespec used;
  };

  absl::Status Open() {
    // Folders above are made as well, with the user's default mode.
    for (size_t end = root_.find('/', 1); end != std::string::npos;
         end = root_.find('/', end + 1)) {
      mkdir(root_.substr(0, end).c_str(), 0777);
    }
    if (mkdir(root_.c_str(), 0700) != 0 && errno != EEXIST) {
      return Failure("make", root_);
    }
    struct stat status;
    if (stat(root_.c_str(), &status) != 0) return Failure("open", root_);
    if (!S_ISDIR(status.st_mode)) {
      errno = ENOTDIR;
      return Failure("open", root_);
    }
    if (status.st_uid != geteuid() || (status.st_mode & 022) != 0) {
      return absl::PermissionDeniedError(absl::StrCat(
          "compile cache: ", root_, " is not used: its owner is ",
          status.st_uid, " and its mode ",
          absl::StrFormat("%04o", status.st_mode & 07777), ", expected ",
          geteuid(), " and no permission to write for others"));
    }
    const std::string temporary = absl::StrCat(root_, "/", kTemporaryFolder);
    if (mkdir(temporary.c_str(), 0700) != 0 && errno != EEXIST) {
      return Failure("make", temporary);
    }
    return absl::OkStatus();
  }

  // A writer holds a lock on its temporary file, so one that can be locked
  // belongs to nobody.
  void RemoveLeftovers() {
    const std::string folder = absl::StrCat(root_, "/", kTemporaryFolder);
    for (const std::string& name : List(folder)) {
      const std::string path = absl::StrCat(folder, "/", name);
      const File file(
          open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      if (file.ok() && flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
        unlink(path.c_str());
      }
    }
  }

  absl::Status Store(const std::string& name, const std::string& bytes) {
    static std::atomic<uint64_t> counter = 0;
    const std::string temporary = absl::StrCat(
        root_, "/", kTemporaryFolder, "/", getpid(), "-", counter.fetch_add(1));
    const std::string path = absl::StrCat(root_, "/", name);
    const std::string folder = path.substr(0, path.rfind('/'));
    const File file(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.ok()) return Failure("make", temporary);
    absl::Status status;
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      status = Failure("lock", temporary);
    } else if (!WriteAll(file.get(), bytes) || fsync(file.get()) != 0) {
      status = Failure("write", temporary);
    } else if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      status = Failure("make", folder);
    } else if (rename(temporary.c_str(), path.c_str()) != 0) {
      status = Failure("rename", temporary);
    }
    if (!status.ok()) unlink(temporary.c_str());
    return status;
  }

  // Every blob's file, with its size and the time of its last use.
  std::vector<Found> Files() const {
    std::vector<Found> files;
    for (int i = 0; i < 256; ++i) {
      const std::string folder =
          absl::StrCat(root_, "/", absl::StrFormat("%02x", i));
      for (const std::string& name : List(folder)) {
        const std::string path = absl::StrCat(folder, "/", name);
        struct stat status;
        if (lstat(path.c_str(), &status) != 0) continue;
        files.push_back({path, status.st_size, status.st_mtim});
      }
    }
    return files;
  }

  static int64_t Total(const std::vector<Found>& files) {
    int64_t total = 0;
    for (const Found& file : files) total += file.size;
    return total;
  }

  // Looks at the disk again, since other processes write and delete too.
  void Evict() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<Found> files = Files();
    bytes_ = Total(files);
    if (bytes_ <= max_bytes_) return;
    std::sort(files.begin(), files.end(), [](const Found& a, const Found& b) {
      return std::pair(a.used.tv_sec, a.used.tv_nsec) <
             std::pair(b.used.tv_sec, b.used.tv_nsec);
    });
    const int64_t goal = max_bytes_ - max_bytes_ / kEvictionSlack;
    for (const Found& file : files) {
      if (bytes_ <= goal) break;
      if (unlink(file.path.c_str()) != 0 && errno != ENOENT) {
        ComplainLocked("remove", Failure("remove", file.path));
        continue;
      }
      bytes_ -= file.size;
      metrics_->Add(Metric::kCompileCacheEvictions, {"disk"});
    }
  }

  void Report() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    metrics_->Set(Metric::kCompileCacheBytes, {"disk"},
                  static_cast<double>(bytes_));
  }

  void Complain(const char* operation, absl::Status status) {
    base::MutexLock lock(&mutex_);
    ComplainLocked(operation, std::move(status));
  }
  void ComplainLocked(const char* operation, absl::Status status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    metrics_->Add(Metric::kCompileCacheErrors, {operation});
    status_ = std::move(status);
  }

  const std::string root_;
  const int64_t max_bytes_;
  telemetry::Metrics* const metrics_;
  bool usable_ = false;

  mutable base::Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// A computation that others may wait for.
struct CompileCache::Flight {
  bool done = false;  // Both guarded by the cache's mutex.
  absl::StatusOr<CachedBlob> result = absl::UnknownError("");
  base::CondVar landed;
};

CompileCache::CompileCache(Options options, telemetry::Metrics* metrics)
    : options_(std::move(options)),
      metrics_(metrics),
      disk_(std::make_unique<Disk>(options_, metrics)) {}

CompileCache::~CompileCache() = default;

absl::StatusOr<CachedBlob> CompileCache::GetOrCompute(const BlobKey& blob_key,
                                                      const Compute& compute) {
  const std::string key = Join(blob_key);
  std::shared_ptr<Flight> flight;
  {
    base::MutexLock lock(&mutex_);
    if (std::shared_ptr<const std::string> blob = Remembered(key)) {
      metrics_->Add(Metric::kCompileCacheHits, {"memory"});
      return CachedBlob{std::move(blob), CachedBlob::Origin::kMemory};
    }
    std::shared_ptr<Flight>& current = flights_[key];
    if (current != nullptr) {
      flight = current;
      while (!flight->done) flight->landed.Wait(&mutex_);
      if (!flight->result.ok()) return flight->result.status();
      metrics_->Add(Metric::kCompileCacheHits, {"memory"});
      return CachedBlob{flight->result->blob, CachedBlob::Origin::kMemory};
    }
    flight = current = std::make_shared<Flight>();
  }
  absl::StatusOr<CachedBlob> result = ReadOrCompute(key, compute);
  base::MutexLock lock(&mutex_);
  if (result.ok()) Remember(key, result->blob);
  flight->result = result;
  flight->done = true;
  flight->landed.SignalAll();
  flights_.erase(key);
  return result;
}

absl::StatusOr<CachedBlob> CompileCache::Find(const BlobKey& blob_key) {
  const std::string key = Join(blob_key);
  {
    base::MutexLock lock(&mutex_);
    if (std::shared_ptr<const std::string> blob = Remembered(key)) {
      metrics_->Add(Metric::kCompileCacheHits, {"memory"});
      return CachedBlob{std::move(blob), CachedBlob::Origin::kMemory};
    }
  }
  std::optional<std::string> found = disk_->Read(key);
  if (!found.has_value()) {
    return absl::NotFoundError("compile cache: the kernel is not compiled");
  }
  metrics_->Add(Metric::kCompileCacheHits, {"disk"});
  auto blob = std::make_shared<const std::string>(*std::move(found));
  base::MutexLock lock(&mutex_);
  Remember(key, blob);
  return CachedBlob{std::move(blob), CachedBlob::Origin::kDisk};
}

absl::StatusOr<CachedBlob> CompileCache::ReadOrCompute(const std::string& key,
                                                       const Compute& compute) {
  if (std::optional<std::string> found = disk_->Read(key)) {
    metrics_->Add(Metric::kCompileCacheHits, {"disk"});
    return CachedBlob{std::make_shared<const std::string>(*std::move(found)),
                      CachedBlob::Origin::kDisk};
  }
  metrics_->Add(Metric::kCompileCacheMisses, {});
  QUERN_ASSIGN_OR_RETURN(std::string made, compute());
  disk_->Write(key, made);
  return CachedBlob{std::make_shared<const std::string>(std::move(made)),
                    CachedBlob::Origin::kComputed};
}

absl::Status CompileCache::disk_status() const { return disk_->status(); }

std::shared_ptr<const std::string> CompileCache::Remembered(
    const std::string& key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, it->second.place);
  return it->second.blob;
}

void CompileCache::Remember(const std::string& key,
                            std::shared_ptr<const std::string> blob) {
  const int64_t size = static_cast<int64_t>(key.size() + blob->size());
  if (size > options_.max_memory_bytes) return;
  const auto [it, is_new] = entries_.try_emplace(key);
  if (!is_new) return;
  recent_.push_front(&it->first);
  it->second = {std::move(blob), recent_.begin()};
  memory_bytes_ += size;
  while (memory_bytes_ > options_.max_memory_bytes) {
    const auto oldest = entries_.find(*recent_.back());
    memory_bytes_ -= static_cast<int64_t>(oldest->first.size() +
                                          oldest->second.blob->size());
    recent_.pop_back();
    entries_.erase(oldest);
    metrics_->Add(Metric::kCompileCacheEvictions, {"memory"});
  }
  metrics_->Set(Metric::kCompileCacheBytes, {"memory"},
                static_cast<double>(memory_bytes_));
}

}  // namespace quern::runtime
