// SPDX-License-Identifier: Apache-2.0
#include "engine/base/cgroup.h"

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quern::base {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// The path of this process in the hierarchy of `controller` ("" for version
// 2), from the lines "ID:CONTROLLERS:PATH" of /proc/self/cgroup.
std::string GroupPath(absl::string_view lines, absl::string_view controller) {
  for (const absl::string_view line : absl::StrSplit(lines, '\n')) {
    const std::vector<absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[1] == controller) return std::string(parts[2]);
    for (const absl::string_view name : absl::StrSplit(parts[1], ',')) {
      if (!controller.empty() && name == controller) {
        return std::string(parts[2]);
      }
    }
  }
  return "/";
}

// The least positive `limit` of the folders from `path` up to its root; 0 if
// none has one.
template <typename Limit>
auto LeastOnTheWayUp(std::string path, Limit limit) {
  decltype(limit(path)) least = 0;
  while (true) {
    const auto here = limit(path == "/" ? "" : path);
    if (here > 0 && (least == 0 || here < least)) least = here;
    const size_t slash = path.rfind('/');
    if (path == "/" || slash == std::string::npos) return least;
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
}

// Version 1 writes a number near 2^63 for no limit, version 2 the word "max".
int64_t BytesOfLimit(absl::string_view text) {
  int64_t bytes = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &bytes)) return 0;
  return bytes < (int64_t{1} << 62) ? bytes : 0;
}

}  // namespace

double CpusOfQuota(absl::string_view cpu_max) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(cpu_max, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  double quota = 0;
  double period = 0;
  if (words.size() != 2 || !absl::SimpleAtod(words[0], &quota) ||
      !absl::SimpleAtod(words[1], &period) || quota <= 0 || period <= 0) {
    return 0;
  }
  return quota / period;
}

CgroupLimits ReadCgroupLimits(const std::string& root) {
  const std::string groups = ReadFile(root + "/proc/self/cgroup");
  const std::string folder = root + "/sys/fs/cgroup";
  CgroupLimits limits;
  const std::string path = GroupPath(groups, "");
  limits.cpus = LeastOnTheWayUp(path, [&](const std::string& group) {
    return CpusOfQuota(ReadFile(absl::StrCat(folder, group, "/cpu.max")));
  });
  limits.memory_bytes = LeastOnTheWayUp(path, [&](const std::string& group) {
    return BytesOfLimit(ReadFile(absl::StrCat(folder, group, "/memory.max")));
  });
  if (limits.cpus == 0) {
    limits.cpus = LeastOnTheWayUp(
        GroupPath(groups, "cpu"), [&](const std::string& group) {
          const std::string at = absl::StrCat(folder, "/cpu", group);
          return CpusOfQuota(absl::StrCat(ReadFile(at + "/cpu.cfs_quota_us"),
                                          " ",
                                          ReadFile(at + "/cpu.cfs_period_us")));
        });
  }
  if (limits.memory_bytes == 0) {
    limits.memory_bytes = LeastOnTheWayUp(
        GroupPath(groups, "memory"), [&](const std::string& group) {
          return BytesOfLimit(ReadFile(absl::StrCat(folder, "/memory", group,
                                                    "/memory.limit_in_bytes")));
        });
  }
  return limits;
}

}  // namespace quern::base
