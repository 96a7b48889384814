// SPDX-License-Identifier: Apache-2.0
#include "engine/base/cgroup.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::base {
namespace {

namespace fs = std::filesystem;

// A root with the files that a test writes.
class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest()
      : root_(absl::StrCat(fs::temp_directory_path().string(),
                           "/quern_cgroup_test.", getpid())) {}
  ~CgroupTest() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  const std::string root_;
};

TEST(CpusOfQuota, ReadsBothFormsOfCpuMax) {
  EXPECT_EQ(CpusOfQuota("150000 100000\n"), 1.5);
  EXPECT_EQ(CpusOfQuota("200000\n 100000\n"), 2);
  EXPECT_THAT((std::vector<double>{
                  CpusOfQuota("max 100000\n"), CpusOfQuota("-1\n 100000\n"),
                  CpusOfQuota(""), CpusOfQuota("1 0"), CpusOfQuota("a b")}),
              testing::Each(0));
}

TEST_F(CgroupTest, WithoutFilesThereIsNoLimit) {
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cpus, 0);
  EXPECT_EQ(limits.memory_bytes, 0);
}

TEST_F(CgroupTest, TheLeastLimitOnTheWayUpCounts) {
  Write("/proc/self/cgroup", "0::/pod/box\n");
  Write("/sys/fs/cgroup/pod/box/cpu.max", "400000 100000\n");
  Write("/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
  Write("/sys/fs/cgroup/pod/box/memory.max", "1000000\n");
  Write("/sys/fs/cgroup/pod/memory.max", "max\n");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cpus, 2.5);
  EXPECT_EQ(limits.memory_bytes, 1000000);
}

TEST_F(CgroupTest, AContainerSeesItsGroupAsTheRoot) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/memory.max", "2000000\n");
  EXPECT_EQ(ReadCgroupLimits(root_).memory_bytes, 2000000);
}

TEST_F(CgroupTest, ReadsTheFirstVersionToo) {
  Write("/proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n");
  Write("/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "50000\n");
  Write("/sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", "3000000\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const CgroupLimits limits = ReadCgroupLimits(root_);
  EXPECT_EQ(limits.cpus, 0.5);
  EXPECT_EQ(limits.memory_bytes, 3000000);
  Write("/sys/fs/cgroup/memory/box/memory.limit_in_bytes",
        "9223372036854771712\n");
  EXPECT_EQ(ReadCgroupLimits(root_).memory_bytes, 0);
}

}  // namespace
}  // namespace quern::base
