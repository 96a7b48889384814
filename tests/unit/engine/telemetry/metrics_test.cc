// SPDX-License-Identifier: Apache-2.0
#include "engine/telemetry/metrics.h"

#include <cmath>
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
    EXPECT_TRUE(absl::StartsWith(name, "quern_")) << name;
    EXPECT_TRUE(absl::EndsWith(info.help, ".")) << name;
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

TEST(Registry, StartsEmpty) { EXPECT_THAT(Registry().Snapshot(), IsEmpty()); }

TEST(Registry, AddsUpPerLabelSet) {
  Registry registry;
  registry.Add(Metric::kCompileCacheHits, {"memory"});
  registry.Add(Metric::kCompileCacheHits, {"disk"}, 2);
  registry.Add(Metric::kCompileCacheHits, {"memory"}, 3);
  const auto samples = registry.Snapshot();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_THAT(samples[0].labels, ElementsAre("disk"));
  EXPECT_EQ(samples[0].value, 2);
  EXPECT_THAT(samples[1].labels, ElementsAre("memory"));
  EXPECT_EQ(samples[1].value, 4);
}

TEST(Registry, GaugesKeepTheLastValue) {
  Registry registry;
  registry.Set(Metric::kModelsLoaded, {}, 3);
  registry.Set(Metric::kModelsLoaded, {}, 2);
  EXPECT_EQ(registry.GetNumber(Metric::kModelsLoaded)->Get(), 2);
}

TEST(Registry, DerivesMomentsFromTheDurationsOfAKernel) {
  Registry registry;
  auto durations =
      registry.GetDistribution(Metric::kKernelDuration, {"m", "cpu", "k0"});
  durations->Record(1'000'000'000);
  durations->Record(3'000'000'000);
  double cv = 0, mean = 0, variance = 0, launches = 0;
  for (const Registry::Sample& sample : registry.Snapshot()) {
    EXPECT_THAT(sample.labels, ElementsAre("m", "cpu", "k0"));
    if (sample.metric == Metric::kKernelDurationCv) cv = sample.value;
    if (sample.metric == Metric::kKernelDurationMean) mean = sample.value;
    if (sample.metric == Metric::kKernelDurationVariance) {
      variance = sample.value;
    }
    if (sample.metric == Metric::kKernelLaunches) launches = sample.value;
  }
  EXPECT_DOUBLE_EQ(mean, 2);
  EXPECT_DOUBLE_EQ(variance, 2);
  EXPECT_DOUBLE_EQ(cv, std::sqrt(2.0) / 2);
  EXPECT_EQ(launches, 2);
}

TEST(Registry, ForgetsAnUnloadedModel) {
  Registry registry;
  registry.Add(Metric::kRequests, {"a", "OK"});
  registry.Add(Metric::kRequests, {"b", "OK"});
  registry.Add(Metric::kNotes, {"a", "split"});
  registry.GetDistribution(Metric::kKernelDuration, {"a", "cpu", "k"})
      ->Record(1);
  registry.Remove("model", "a");
  const auto samples = registry.Snapshot();
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_THAT(samples[0].labels, ElementsAre("b", "OK"));
}

TEST(Registry, AHeldCellOutlivesItsRemoval) {
  Registry registry;
  auto durations = registry.GetDistribution(Metric::kRequestDuration, {"a"});
  registry.Remove("model", "a");
  durations->Record(5);
  EXPECT_EQ(durations->Snapshot().count(), 1u);
  EXPECT_THAT(registry.Snapshot(), IsEmpty());
}

TEST(Registry, BoundsTheLabelSetsOfAMetric) {
  Registry registry;
  for (size_t i = 0; i < Registry::kMaxLabelSets + 10; ++i) {
    registry.Add(Metric::kRequests, {absl::StrCat("m", i), "OK"});
  }
  const auto samples = registry.Snapshot();
  EXPECT_EQ(samples.size(), Registry::kMaxLabelSets + 1);
  EXPECT_EQ(registry.GetNumber(Metric::kRequests, {"_other", "_other"})->Get(),
            10);
}

TEST(Registry, CountsEveryAdditionOfManyThreads) {
  Registry registry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) {
        registry.Add(Metric::kCompileCacheMisses, {});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry.GetNumber(Metric::kCompileCacheMisses)->Get(), 40000);
}

}  // namespace
}  // namespace quern::telemetry
