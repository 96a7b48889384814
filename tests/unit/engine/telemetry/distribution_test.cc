// SPDX-License-Identifier: Apache-2.0
#include "engine/telemetry/distribution.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quern::telemetry {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// Durations that spread over the whole range, log-uniformly.
std::vector<int64_t> Durations(int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> exponent(std::log(100.0),
                                                  std::log(100e9));
  std::vector<int64_t> result;
  for (int i = 0; i < count; ++i) {
    result.push_back(static_cast<int64_t>(std::exp(exponent(random))));
  }
  return result;
}

Distribution Of(const std::vector<int64_t>& durations) {
  Distribution result;
  for (int64_t duration : durations) result.Record(duration);
  return result;
}

void ExpectSame(const Distribution& a, const Distribution& b) {
  EXPECT_EQ(a.count(), b.count());
  EXPECT_EQ(a.min_ns(), b.min_ns());
  EXPECT_EQ(a.max_ns(), b.max_ns());
  EXPECT_EQ(a.Buckets(), b.Buckets());
  EXPECT_NEAR(a.mean_ns(), b.mean_ns(), 1e-12 * b.mean_ns());
  EXPECT_NEAR(a.m2_ns2(), b.m2_ns2(), 1e-12 * b.m2_ns2());
}

TEST(Distribution, OfNothingIsZero) {
  const Distribution empty;
  EXPECT_EQ(empty.count(), 0u);
  EXPECT_EQ(empty.min_ns(), 0);
  EXPECT_EQ(empty.cv(), 0);
  EXPECT_EQ(empty.QuantileNs(0.5), 0);
  EXPECT_THAT(empty.Buckets(), SizeIs(0));
}

TEST(Distribution, KnowsTheMomentsOfASmallSample) {
  const Distribution d = Of({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_EQ(d.count(), 8u);
  EXPECT_DOUBLE_EQ(d.mean_ns(), 5);
  EXPECT_DOUBLE_EQ(d.m2_ns2(), 32);
  EXPECT_DOUBLE_EQ(d.variance_ns2(), 32.0 / 7);
  EXPECT_DOUBLE_EQ(d.cv(), std::sqrt(32.0 / 7) / 5);
  EXPECT_DOUBLE_EQ(d.sum_ns(), 40);
  EXPECT_EQ(d.min_ns(), 2);
  EXPECT_EQ(d.max_ns(), 9);
}

TEST(Distribution, HasNoVarianceWithOneDuration) {
  EXPECT_EQ(Of({123}).variance_ns2(), 0);
}

TEST(Distribution, CountsANegativeDurationAsZero) {
  const Distribution d = Of({-5});
  EXPECT_EQ(d.min_ns(), 0);
  EXPECT_EQ(d.max_ns(), 0);
  EXPECT_THAT(d.Buckets(), ElementsAre(Distribution::Bucket{1, 1}));
}

TEST(Distribution, KeepsSmallVarianceBesideALargeMean) {
  Distribution d;
  for (int i = 0; i < 1000; ++i) d.Record(10'000'000'000 + i % 2);
  EXPECT_NEAR(d.m2_ns2(), 250, 1e-3);
}

TEST(Distribution, BucketsCoverEveryDurationWithoutGapOrOverlap) {
  for (int i = 0; i < Distribution::kBuckets; ++i) {
    const int64_t upper = Distribution::UpperNs(i);
    EXPECT_EQ(Distribution::BucketOf(upper), i);
    EXPECT_EQ(Distribution::BucketOf(upper + 1),
              std::min(i + 1, Distribution::kBuckets - 1));
  }
  EXPECT_GE(Distribution::UpperNs(Distribution::kBuckets - 1), 100'000'000'000);
  EXPECT_EQ(Distribution::BucketOf(INT64_MAX), Distribution::kBuckets - 1);
}

TEST(Distribution, MergedEqualsOneThatSawAll) {
  for (int seed = 0; seed < 20; ++seed) {
    const std::vector<int64_t> all = Durations(2000, seed);
    std::mt19937 random(seed);
    std::vector<Distribution> parts(1 + seed % 7);
    for (int64_t duration : all) {
      parts[random() % parts.size()].Record(duration);
    }
    Distribution merged;
    for (const Distribution& part : parts) merged.Merge(part);
    ExpectSame(merged, Of(all));
  }
}

TEST(Distribution, MergesInAnyOrder) {
  const Distribution a = Of(Durations(10, 1));
  const Distribution b = Of(Durations(1000, 2));
  const Distribution c = Of(Durations(333, 3));
  Distribution left = a;
  left.Merge(b);
  left.Merge(c);
  Distribution right = c;
  right.Merge(b);
  right.Merge(a);
  ExpectSame(left, right);
}

TEST(Distribution, SinceAnEarlierStateIsWhatCameAfterIt) {
  const std::vector<int64_t> all = Durations(3000, 5);
  for (const int at : {1, 1000, 2999}) {
    const Distribution earlier = Of({all.begin(), all.begin() + at});
    const Distribution after = Of({all.begin() + at, all.end()});
    const Distribution since = Of(all).Since(earlier);
    EXPECT_EQ(since.count(), after.count());
    EXPECT_EQ(since.Buckets(), after.Buckets());
    EXPECT_NEAR(since.mean_ns(), after.mean_ns(), 1e-9 * Of(all).mean_ns());
    EXPECT_NEAR(since.m2_ns2(), after.m2_ns2(), 1e-9 * Of(all).m2_ns2());
    // As far as the buckets tell.
    EXPECT_EQ(Distribution::BucketOf(since.min_ns()),
              Distribution::BucketOf(after.min_ns()));
    EXPECT_EQ(Distribution::BucketOf(since.max_ns()),
              Distribution::BucketOf(after.max_ns()));
    EXPECT_LE(since.min_ns(), after.min_ns());
    EXPECT_GE(since.max_ns(), after.max_ns());
  }
}

TEST(Distribution, SinceKnowsANewLeastOrGreatest) {
  const Distribution earlier = Of({1000, 2000});
  const Distribution since = Of({1000, 2000, 77777, 123}).Since(earlier);
  EXPECT_EQ(since.min_ns(), 123);
  EXPECT_EQ(since.max_ns(), 77777);
}

TEST(Distribution, SinceNothingOrTheSameOrAnotherIsAllOrNothing) {
  const Distribution d = Of({100, 300});
  ExpectSame(d.Since(Distribution()), d);
  EXPECT_EQ(d.Since(d).count(), 0u);
  EXPECT_EQ(d.Since(d).max_ns(), 0);
  // Statistics that were reset in between have seen less.
  ExpectSame(d.Since(Of({5, 5, 5})), d);
}

TEST(Distribution, IsUnchangedByMergingNothing) {
  Distribution d = Of({5, 7});
  d.Merge(Distribution());
  ExpectSame(d, Of({5, 7}));
}

TEST(Distribution, QuantilesAreWithinFivePercentFrom100NsTo100S) {
  for (int seed = 0; seed < 10; ++seed) {
    std::vector<int64_t> durations = Durations(1001, seed);
    const Distribution d = Of(durations);
    std::sort(durations.begin(), durations.end());
    for (double q : {0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999}) {
      const size_t rank = static_cast<size_t>(std::ceil(q * 1001));
      const double truth = static_cast<double>(durations[rank - 1]);
      EXPECT_NEAR(d.QuantileNs(q), truth, truth / 32) << "q = " << q;
    }
    EXPECT_EQ(d.QuantileNs(0), durations.front());
    EXPECT_EQ(d.QuantileNs(1), durations.back());
  }
}

TEST(Distribution, QuantileOfEqualDurationsIsThatDuration) {
  EXPECT_EQ(Of({1'000'003, 1'000'003}).QuantileNs(0.5), 1'000'003);
}

TEST(Distribution, QuantileBeyondTheLastBucketIsTheGreatest) {
  EXPECT_EQ(Of({500'000'000'000}).QuantileNs(0.5), 500'000'000'000);
}

TEST(Distribution, CumulativeOctavesCountWhatIsAtOrBelowTheirBound) {
  const std::vector<int64_t> durations = Durations(5000, 7);
  Distribution d = Of(durations);
  d.Record(128);
  d.Record(129);
  d.Record(int64_t{1} << 37);
  d.Record((int64_t{1} << 37) + 1);
  const auto octaves = d.CumulativeOctaves();
  EXPECT_EQ(octaves.front().upper_ns, 128);
  EXPECT_EQ(octaves.back().upper_ns, int64_t{1} << 37);
  for (const Distribution::Bucket& octave : octaves) {
    auto at_or_below = [&](int64_t v) { return v <= octave.upper_ns; };
    uint64_t expected =
        std::count_if(durations.begin(), durations.end(), at_or_below);
    expected += 1 + (octave.upper_ns >= 129);
    if (octave.upper_ns == int64_t{1} << 37) continue;
    EXPECT_EQ(octave.count, expected) << octave.upper_ns;
  }
}

TEST(Distribution, TheLastOctaveIsExactWhenNothingIsAboveIt) {
  EXPECT_EQ(Of({int64_t{1} << 37}).CumulativeOctaves().back().count, 1u);
  EXPECT_EQ(Of({(int64_t{1} << 37) + 1}).CumulativeOctaves().back().count, 0u);
}

TEST(SharedDistribution, LosesNothingOfManyWriters) {
  for (int shards : {1, 4}) {
    SharedDistribution shared(shards);
    const std::vector<int64_t> all = Durations(8000, 11);
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = t; i < all.size(); i += 8) shared.Record(all[i]);
      });
    }
    uint64_t seen = 0;
    while (seen < all.size()) {
      const uint64_t now = shared.Snapshot().count();
      ASSERT_GE(now, seen);
      seen = now;
    }
    for (std::thread& thread : threads) thread.join();
    ExpectSame(shared.Snapshot(), Of(all));
  }
}

TEST(SharedDistribution, TakesAWholeDistribution) {
  SharedDistribution shared;
  shared.Record(5);
  shared.Merge(Of({6, 7}));
  ExpectSame(shared.Snapshot(), Of({5, 6, 7}));
}

TEST(Clock, NeverGoesBack) {
  int64_t last = Clock::NowNs();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = Clock::NowNs();
    ASSERT_GE(now, last);
    last = now;
  }
}

}  // namespace
}  // namespace quern::telemetry
