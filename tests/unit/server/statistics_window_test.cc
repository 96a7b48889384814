// SPDX-License-Identifier: Apache-2.0
#include "server/statistics_window.h"

#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/fake_engine.h"

namespace quern::server {
namespace {

std::shared_ptr<const LoadedModel> Load(const std::string& name) {
  return std::make_shared<const LoadedModel>(
      name, 1, nullptr, base::CompileOptions(),
      std::make_shared<EchoModel>(std::vector<TensorSpec>()),
      inference::ModelConfig());
}

// One request of a model, with a launch of its kernel.
void Request(const LoadedModel& model, absl::StatusCode code,
             int64_t total_ns) {
  if (code == absl::StatusCode::kOk) {
    ASSERT_TRUE(model.model().Run({}, {}, {}, {}).ok());
    model.CountExecution({});
  }
  model.CountRequest(code, {.phase = {0, 0, total_ns, 0}, .total_ns = total_ns},
                     3);
}

TEST(StatisticsWindow, HoldsAllBeforeItWasBegun) {
  const auto model = Load("m");
  Request(*model, absl::StatusCode::kOk, 2000);
  const StatisticsWindow window;
  EXPECT_EQ(window.age_ns(), 0);
  const std::vector<v1::Activity> read = window.Read({model});
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].label(), "m/1");
  EXPECT_EQ(read[0].device(), "cpu");
  EXPECT_EQ(read[0].successes(), 1u);
  EXPECT_EQ(read[0].inferences(), 3u);
  EXPECT_EQ(read[0].executions(), 1u);
  EXPECT_DOUBLE_EQ(read[0].request_us().mean(), 2);
  ASSERT_EQ(read[0].phases_size(), 4);
  EXPECT_EQ(read[0].phases(2).phase(), "execute");
  EXPECT_DOUBLE_EQ(read[0].phases(2).time_us().mean(), 2);
  ASSERT_EQ(read[0].kernels_size(), 1);
  EXPECT_EQ(read[0].kernels(0).launches(), 1u);
}

TEST(StatisticsWindow, HoldsWhatWasCountedSinceItBegan) {
  const auto old = Load("old");
  for (int i = 0; i < 5; ++i) Request(*old, absl::StatusCode::kOk, 9000);
  Request(*old, absl::StatusCode::kInternal, 1);
  StatisticsWindow window;
  window.Begin({old});
  const auto young = Load("young");
  Request(*old, absl::StatusCode::kOk, 4000);
  Request(*old, absl::StatusCode::kOk, 2000);
  Request(*old, absl::StatusCode::kInternal, 1);
  Request(*young, absl::StatusCode::kOk, 1000);
  const std::vector<v1::Activity> read = window.Read({old, young});
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].successes(), 2u);
  EXPECT_EQ(read[0].failures(), 1u);
  EXPECT_EQ(read[0].inferences(), 6u);
  EXPECT_EQ(read[0].executions(), 2u);
  EXPECT_NEAR(read[0].request_us().mean(), 3, 1e-9);
  EXPECT_NEAR(read[0].request_us().variance(), 2, 1e-9);
  EXPECT_EQ(read[0].kernels(0).launches(), 2u);
  EXPECT_EQ(read[1].successes(), 1u);
  EXPECT_GT(window.age_ns(), 0);
  // Reading changes nothing.
  EXPECT_EQ(window.Read({old})[0].successes(), 2u);
  // Nor does the window change what the model has counted.
  EXPECT_EQ(old->Statistics().success.count(), 7u);
}

TEST(StatisticsWindow, TurnsLoseNothing) {
  const auto model = Load("m");
  StatisticsWindow window;
  window.Begin({model});
  uint64_t seen = 0;
  for (int i = 1; i <= 4; ++i) {
    for (int k = 0; k < i; ++k) Request(*model, absl::StatusCode::kOk, 1000);
    const std::vector<v1::Activity> turn = window.Turn({model});
    EXPECT_EQ(turn[0].successes(), static_cast<uint64_t>(i));
    seen += turn[0].successes();
  }
  EXPECT_EQ(seen, model->Statistics().success.count());
  EXPECT_EQ(window.Turn({model})[0].successes(), 0u);
  EXPECT_EQ(window.Turn({model})[0].request_us().mean(), 0);
}

TEST(StatisticsWindow, KeepsNoModelAlive) {
  auto model = Load("m");
  const std::weak_ptr<const LoadedModel> weak = model;
  StatisticsWindow window;
  window.Begin({model});
  model.reset();
  EXPECT_TRUE(weak.expired());
}

}  // namespace
}  // namespace quern::server
