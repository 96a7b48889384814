// SPDX-License-Identifier: Apache-2.0
//
// A Distribution is what is kept of many durations: count, mean, sum of
// squared deviations, least, greatest, and how many fell into each of 544
// buckets. Two merge into what one would be that had seen all the durations.
//
// The buckets are log-linear: 16 equal ones for each power of two, from 1 ns
// to 137 s, so that a quantile read from them is off by at most 1/32. Below
// 32 ns they are exact; above 137 s all fall into the last one.
//
// A Distribution is a value of 4.4 KB for one thread. A SharedDistribution is
// for any number of writers: a few Distributions, each behind a lock of its
// own, merged when read.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "engine/base/mutex.h"

namespace quern::telemetry {

struct Clock {
  // Nanoseconds of the steady clock; only differences mean anything.
  [[nodiscard]] static int64_t NowNs();
};

class Distribution {
 public:
  static constexpr int kBucketsPerOctave = 16;
  static constexpr int kOctaves = 33;
  static constexpr int kBuckets = (kOctaves + 1) * kBucketsPerOctave;

  // The durations in (upper of the one before, upper_ns], and their number.
  struct Bucket {
    int64_t upper_ns;
    uint64_t count;
    friend bool operator==(const Bucket&, const Bucket&) = default;
  };

  // Takes one duration; a negative one counts as 0. No allocation, no lock.
  void Record(int64_t duration_ns);

  // Takes all that `other` has seen. Counts, least, greatest and buckets are
  // exact in any order; mean and squares are within rounding.
  // Method: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise
  // Algorithm for Computing Sample Variances", 1979.
  void Merge(const Distribution& other);

  // What was taken since this was `earlier`: counts and buckets exactly, mean
  // and squares within the rounding of the whole, least and greatest as far as
  // the buckets tell. All of it if `earlier` is no earlier state of this.
  [[nodiscard]] Distribution Since(const Distribution& earlier) const;

  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] double mean_ns() const { return mean_; }
  [[nodiscard]] double m2_ns2() const { return m2_; }
  [[nodiscard]] int64_t min_ns() const { return count_ == 0 ? 0 : min_; }
  [[nodiscard]] int64_t max_ns() const { return max_; }
  [[nodiscard]] double sum_ns() const;

  // Of a sample: divided by count - 1; 0 for fewer than two durations.
  [[nodiscard]] double variance_ns2() const;
  [[nodiscard]] double stdev_ns() const;
  // Standard deviation over mean; 0 if the mean is 0.
  [[nodiscard]] double cv() const;

  // The duration that a share `q` in [0, 1] of all does not exceed, within
  // 1/32 of the true one; 0 if there is none.
  [[nodiscard]] double QuantileNs(double q) const;

  // The buckets that are not empty, in ascending order.
  [[nodiscard]] std::vector<Bucket> Buckets() const;

  // For Prometheus: one bucket for each power of two from 128 ns to 137 s,
  // each with the number of durations at or below its bound. What lies above
  // the last is in count() alone.
  [[nodiscard]] std::vector<Bucket> CumulativeOctaves() const;

  // The bucket of a duration and its greatest duration.
  [[nodiscard]] static int BucketOf(int64_t duration_ns);
  [[nodiscard]] static int64_t UpperNs(int bucket);

 private:
  uint64_t count_ = 0;
  double mean_ = 0;
  double m2_ = 0;
  int64_t min_ = INT64_MAX;
  int64_t max_ = 0;
  std::array<uint64_t, kBuckets> buckets_ = {};
};

class SharedDistribution {
 public:
  // One shard is enough where writers seldom meet; threads that record all
  // the time need one each. A shard is 4.5 KB.
  explicit SharedDistribution(int shards = 1);

  // Takes one duration under the lock of this thread's shard.
  void Record(int64_t duration_ns);
  void Merge(const Distribution& other);
  // Forgets everything.
  void Reset();

  // All that was recorded before the call, and perhaps some of what was
  // recorded during it.
  [[nodiscard]] Distribution Snapshot() const;

 private:
  struct alignas(64) Shard {
    mutable base::Mutex mutex;
    Distribution distribution ABSL_GUARDED_BY(mutex);
  };
  Shard& Mine() const;

  int shard_count_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace quern::telemetry
