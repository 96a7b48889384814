// SPDX-License-Identifier: Apache-2.0
#include "server/reports.h"

#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::server {
namespace {

TEST(Reports, LatencyIsThatOfTheSample) {
  const v1::Latency latency = LatencyOf({4, 1, 2, 3});
  EXPECT_DOUBLE_EQ(latency.median(), 2.5);
  EXPECT_DOUBLE_EQ(latency.mean(), 2.5);
  EXPECT_DOUBLE_EQ(latency.stdev(), std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(latency.cv(), std::sqrt(5.0 / 3) / 2.5);
  EXPECT_DOUBLE_EQ(latency.min(), 1);
  EXPECT_DOUBLE_EQ(latency.p90(), 4);
  EXPECT_DOUBLE_EQ(latency.p99(), 4);
  EXPECT_DOUBLE_EQ(latency.p999(), 4);
  EXPECT_DOUBLE_EQ(latency.max(), 4);
  EXPECT_DOUBLE_EQ(latency.variance(), 5.0 / 3);
}

TEST(Reports, LatencyOfADistributionIsInTheUnitAskedFor) {
  telemetry::Distribution time;
  for (int64_t us : {4, 1, 2, 3}) time.Record(us * 1000);
  const v1::Latency latency = LatencyOf(time, 1e3);
  EXPECT_DOUBLE_EQ(latency.mean(), 2.5);
  EXPECT_DOUBLE_EQ(latency.variance(), 5.0 / 3);
  EXPECT_DOUBLE_EQ(latency.stdev(), std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(latency.min(), 1);
  EXPECT_DOUBLE_EQ(latency.max(), 4);
  EXPECT_NEAR(latency.median(), 2, 2 / 32.);
  EXPECT_NEAR(latency.p999(), 4, 4 / 32.);
}

TEST(Reports, SharesOfKernelsSumToOneAndLeaveOutTheLoad) {
  const auto kernel = [](const char* name, int launches, int64_t ns) {
    KernelReport report;
    report.name = name;
    report.launches = launches;
    report.time.Record(ns);
    return report;
  };
  const KernelReport first = kernel("a", 2, 1000);
  const KernelReport second = kernel("b", 1, 6000);
  KernelReport load = kernel("c", 1, 1'000'000);
  load.at_load = true;
  const std::vector<Note> notes = {{"split", "b", "it is large"},
                                   {"budget", "", "of the whole"}};
  const auto kernels = ToProto({first, second, load}, notes);
  ASSERT_EQ(kernels.size(), 3u);
  EXPECT_EQ(kernels[0].name(), "b");
  EXPECT_DOUBLE_EQ(kernels[0].share(), 0.75);
  EXPECT_DOUBLE_EQ(kernels[1].share(), 0.25);
  EXPECT_DOUBLE_EQ(kernels[2].share(), 0);
  EXPECT_THAT(kernels[0].notes(), testing::ElementsAre("it is large"));
  EXPECT_THAT(kernels[1].notes(), testing::IsEmpty());
}

}  // namespace
}  // namespace quern::server
