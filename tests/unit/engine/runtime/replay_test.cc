// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/replay.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "engine/ir/symbolic.h"

namespace quern::runtime {
namespace {

using ir::Id;
using Kind = ExecBuffer::Kind;
using ::testing::ElementsAre;

// A launch over n chunks from input 0 to a temporary, one that n may leave
// empty, and a copy of n bytes to output 1.
class Replays : public ::testing::Test {
 protected:
  Replays() {
    const Id n = arena_.Make(ir::Op::kVar, ir::DType::kWeakInt, {},
                             ir::Attr{{0, int64_t{1} << 40}, "n"});
    const auto size = [&](Id id) { return *SizeExpr::Of(arena_, id, {n}); };
    executable_.num_vars = 1;
    executable_.devices.resize(1);
    executable_.kernels.resize(2);
    executable_.buffers.resize(3);
    executable_.buffers[0].kind = Kind::kInput;
    executable_.buffers[1].kind = Kind::kTemporary;
    executable_.buffers[2].kind = Kind::kOutput;
    executable_.buffers[2].slot = 1;
    executable_.buffers[2].bytes = size(n);
    LaunchCommand first;
    first.kernel = 0;
    first.buffers = {1, 0};
    first.grid = size(n);
    first.scratch_bytes = size(ir::Mul(arena_, n, arena_.Int(4)));
    first.work = size(ir::Mul(arena_, n, arena_.Int(1000)));
    LaunchCommand second = first;
    second.kernel = 1;
    second.grid = size(ir::Sub(arena_, n, arena_.Int(2)));
    executable_.segments = {{0, {first, second, CopyCommand{1, 2}}}};
  }

  absl::StatusOr<Replay> Record(int64_t n) {
    void* const addresses[] = {nullptr, &temporary_, nullptr};
    const int64_t vars[] = {n};
    return Replay::Record(executable_, executable_.segments, addresses, vars);
  }

  ir::Arena arena_;
  Executable executable_;
  char temporary_ = 0;
};

TEST_F(Replays, AreFlatAndPatchedByEachRequest) {
  Replay replay = *Record(1000);
  // Addresses survive a move.
  Replay moved = std::move(replay);
  for (char request[3] = {}; request[0] < 2; ++request[0]) {
    const void* const inputs[] = {&request[0]};
    void* const outputs[] = {&request[1], &request[2]};
    moved.Patch(inputs, outputs);
    ASSERT_EQ(moved.steps().size(), 3U);
    EXPECT_THAT(moved.steps()[0].args.buffers,
                ElementsAre(&temporary_, &request[0]));
    EXPECT_THAT(moved.steps()[1].args.buffers,
                ElementsAre(&temporary_, &request[0]));
    EXPECT_THAT(moved.steps()[2].args.buffers,
                ElementsAre(&request[2], &temporary_));
    EXPECT_EQ(moved.steps()[2].copied_bytes, 1000U);
    EXPECT_THAT(moved.steps()[1].args.vars, ElementsAre(1000));
    EXPECT_EQ(moved.steps()[1].args.grid, 998);
    EXPECT_EQ(moved.steps()[1].args.scratch_bytes, 4000);
    EXPECT_EQ(moved.steps()[1].kernel, 1);
  }
}

TEST_F(Replays, LeaveOutLaunchesOfAnEmptyGrid) {
  const Replay replay = *Record(2);
  ASSERT_EQ(replay.steps().size(), 2U);
  EXPECT_EQ(replay.steps()[0].args.grid, 2);
  EXPECT_THAT(replay.steps()[0].args.buffers,
              ElementsAre(&temporary_, nullptr));
  EXPECT_EQ(replay.steps()[1].copied_bytes, 2U);
  EXPECT_THAT(replay.steps()[1].args.buffers,
              ElementsAre(nullptr, &temporary_));
}

TEST_F(Replays, KnowWhichLaunchesAreTooSmallForThreads) {
  EXPECT_TRUE(Record(99)->steps()[0].serial);
  EXPECT_FALSE(Record(100)->steps()[0].serial);
}

TEST_F(Replays, RefuseSizesBeyond64Bits) {
  EXPECT_EQ(Record(int64_t{1} << 62).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quern::runtime
