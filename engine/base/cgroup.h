// SPDX-License-Identifier: Apache-2.0
//
// What the control groups of Linux let this process use: in a container, less
// than the machine has. Both versions of their file systems are read (Linux
// kernel documentation, admin-guide/cgroup-v2.rst and cgroup-v1/).
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace quern::base {

struct CgroupLimits {
  double cpus = 0;           // CPU time per time; 0: no limit.
  int64_t memory_bytes = 0;  // 0: no limit.
};

// The least limits of this process's group and the groups above it. `root` is
// where the files /proc/self/cgroup and /sys/fs/cgroup are looked for.
[[nodiscard]] CgroupLimits ReadCgroupLimits(const std::string& root = "");

// The CPUs that a quota, the content of "cpu.max" ("150000 100000" or
// "max 100000"), grants; 0 if it sets no limit or is not one.
[[nodiscard]] double CpusOfQuota(absl::string_view cpu_max);

}  // namespace quern::base
