// SPDX-License-Identifier: Apache-2.0
#include "engine/telemetry/metrics.h"

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::telemetry {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(MetricTable, HasEachNameOnceAndEachRowAtItsIndex) {
  std::set<std::string> names;
  for (const MetricInfo& info : AllMetrics()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(&Info(info.metric), &info) << info.name;
  }
}

TEST(MetricTable, FollowsTheConventionsOfPrometheus) {
  for (const MetricInfo& info : AllMetrics()) {
    const std::string name = info.name;
    EXPECT_TRUE(absl::EndsWith(info.help, ".")) << name;
    // Triton's names are as they are.
    if (absl::StartsWith(name, "nv_")) continue;
    EXPECT_TRUE(absl::StartsWith(name, "quern_")) << name;
    if (info.type == MetricType::kCounter) {
      EXPECT_TRUE(absl::EndsWith(name, "_total")) << name;
    }
    if (info.type == MetricType::kHistogram) {
      EXPECT_TRUE(absl::EndsWith(name, "_seconds")) << name;
    }
    for (const std::string& label : info.labels) {
      EXPECT_NE(label, "le") << name;
    }
  }
}

TEST(Metrics, StartsEmpty) { EXPECT_THAT(Metrics().Snapshot(), IsEmpty()); }

TEST(Metrics, AddsUpPerLabelSet) {
  Metrics metrics;
  metrics.Add(Metric::kCompileCacheHits, {"memory"});
  metrics.Add(Metric::kCompileCacheHits, {"disk"}, 2);
  metrics.Add(Metric::kCompileCacheHits, {"memory"}, 3);
  const auto samples = metrics.Snapshot();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_THAT(samples[0].labels, ElementsAre("disk"));
  EXPECT_EQ(samples[0].value, 2);
  EXPECT_THAT(samples[1].labels, ElementsAre("memory"));
  EXPECT_EQ(samples[1].value, 4);
}

TEST(Metrics, GaugesKeepTheLastValue) {
  Metrics metrics;
  metrics.Set(Metric::kModelsLoaded, {}, 3);
  metrics.Set(Metric::kModelsLoaded, {}, 2);
  EXPECT_EQ(metrics.GetNumber(Metric::kModelsLoaded)->Get(), 2);
}

TEST(Metrics, BoundsTheLabelSetsOfAMetric) {
  Metrics metrics;
  for (size_t i = 0; i < Metrics::kMaxLabelSets + 10; ++i) {
    metrics.Add(Metric::kRequests, {absl::StrCat("m", i), "OK"});
  }
  const auto samples = metrics.Snapshot();
  EXPECT_EQ(samples.size(), Metrics::kMaxLabelSets + 1);
  EXPECT_EQ(metrics.GetNumber(Metric::kRequests, {"_other", "_other"})->Get(),
            10);
}

TEST(Metrics, CountsEveryAdditionOfManyThreads) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        metrics.Add(Metric::kCompileCacheMisses, {});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(metrics.GetNumber(Metric::kCompileCacheMisses)->Get(), 40000);
}

}  // namespace
}  // namespace quern::telemetry
