// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/runtime/executable.h"

namespace quern::runtime {
namespace {

using Kind = ExecBuffer::Kind;

ExecBuffer Temporary(int device = 0) {
  ExecBuffer buffer;
  buffer.kind = Kind::kTemporary;
  buffer.device = device;
  return buffer;
}

Command Launch(std::vector<int> buffers) {
  LaunchCommand launch;
  launch.buffers = std::move(buffers);
  return launch;
}

// A chain: command i writes temporary i and reads temporary i - 1.
Executable Chain(int length) {
  Executable executable;
  executable.devices.resize(1);
  executable.segments = {{0, {}}};
  for (int i = 0; i < length; ++i) {
    executable.buffers.push_back(Temporary());
    executable.segments[0].commands.push_back(i == 0 ? Launch({0})
                                                     : Launch({i, i - 1}));
  }
  return executable;
}

TEST(PlanMemory, GivesAChainTwoPlaces) {
  Executable executable = Chain(10);
  PlanMemory(executable, std::vector<double>(10, 100));
  EXPECT_EQ(executable.arenas[0].places, 2);
}

TEST(PlanMemory, GivesWhatIsKeptAPlaceOfItsOwn) {
  Executable executable = Chain(10);
  executable.segments[0].commands.push_back(Launch({0, 9}));
  PlanMemory(executable, std::vector<double>(10, 100));
  EXPECT_EQ(executable.arenas[0].places, 3);
}

TEST(PlanMemory, PrefersThePlaceOfTheNearestSize) {
  // 0 (large) and 1 (small) are free when 2 (small) and 3 (large) begin.
  Executable executable;
  executable.devices.resize(1);
  for (int i = 0; i < 4; ++i) executable.buffers.push_back(Temporary());
  executable.segments = {{0, {Launch({0, 1}), Launch({2}), Launch({2, 3})}}};
  PlanMemory(executable, {1000, 10, 12, 900});
  EXPECT_EQ(executable.arenas[0].places, 2);
  EXPECT_EQ(executable.buffers[2].slot, executable.buffers[1].slot);
  EXPECT_EQ(executable.buffers[3].slot, executable.buffers[0].slot);
}

TEST(PlanMemory, GivesNoPlaceToWhatIsNotTemporary) {
  Executable executable = Chain(1);
  for (const Kind kind :
       {Kind::kInput, Kind::kOutput, Kind::kWeight, Kind::kResident}) {
    ExecBuffer buffer;
    buffer.kind = kind;
    buffer.slot = 7;
    executable.buffers.push_back(buffer);
  }
  executable.segments[0].commands.push_back(Launch({1, 2, 3, 4}));
  PlanMemory(executable, std::vector<double>(5, 100));
  EXPECT_EQ(executable.arenas[0].places, 1);
  for (int i = 1; i < 5; ++i) EXPECT_EQ(executable.buffers[i].slot, 7);
}

TEST(PlanMemory, LetsNoTwoLiveBuffersShareAPlace) {
  std::mt19937 random(1);
  int shared = 0;
  for (int round = 0; round < 300; ++round) {
    const auto below = [&](int n) { return static_cast<int>(random() % n); };
    Executable executable;
    executable.devices.resize(1 + below(3));
    const int count = 1 + below(20);
    std::vector<double> estimate;
    for (int i = 0; i < count; ++i) {
      executable.buffers.push_back(
          Temporary(below(static_cast<int>(executable.devices.size()))));
      estimate.push_back(1 + below(5) * 1000);
    }
    // Lives by plain counting, over several segments.
    std::vector<int> first(count, -1);
    std::vector<int> last(count, -1);
    const int commands = 1 + below(30);
    for (int time = 0; time < commands; ++time) {
      if (time == 0 || below(4) == 0) executable.segments.push_back({0, {}});
      std::vector<int> used;
      for (int i = 1 + below(4); i > 0; --i) used.push_back(below(count));
      if (below(5) == 0) used.resize(2, used[0]);
      for (int buffer : used) {
        if (first[buffer] < 0) first[buffer] = time;
        last[buffer] = time;
      }
      Command command = Launch(used);
      if (used.size() == 2) command = CopyCommand{used[0], used[1]};
      executable.segments.back().commands.push_back(std::move(command));
    }
    PlanMemory(executable, estimate);
    ASSERT_EQ(executable.arenas.size(), executable.devices.size());
    for (int a = 0; a < count; ++a) {
      if (first[a] < 0) continue;
      const ExecBuffer& x = executable.buffers[a];
      ASSERT_GE(x.slot, 0);
      ASSERT_LT(x.slot, executable.arenas[x.device].places);
      for (int b = 0; b < a; ++b) {
        const ExecBuffer& y = executable.buffers[b];
        if (first[b] < 0 || x.device != y.device || x.slot != y.slot) continue;
        ++shared;
        ASSERT_TRUE(last[a] < first[b] || last[b] < first[a])
            << "round " << round << ", buffers " << a << " and " << b;
      }
    }
  }
  EXPECT_GT(shared, 100);
}

}  // namespace
}  // namespace quern::runtime
