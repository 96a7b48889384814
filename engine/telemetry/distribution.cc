// SPDX-License-Identifier: Apache-2.0
#include "engine/telemetry/distribution.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>

namespace quern::telemetry {
namespace {

constexpr int kSubBits = 4;
static_assert(1 << kSubBits == Distribution::kBucketsPerOctave);

// The least power of two that Prometheus sees; shorter ones are noise of the
// clock.
constexpr int kFirstExportedPower = 7;
constexpr int kLastPower = Distribution::kOctaves + kSubBits;

}  // namespace

int64_t Clock::NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Works on the duration less one, so that upper bounds are inclusive, as those
// of Prometheus are, and fall on powers of two.
int Distribution::BucketOf(int64_t duration_ns) {
  if (duration_ns <= 1) return 0;
  const uint64_t value = static_cast<uint64_t>(duration_ns) - 1;
  if (value < kBucketsPerOctave) return static_cast<int>(value);
  const int shift = static_cast<int>(std::bit_width(value)) - kSubBits - 1;
  const int bucket =
      shift * kBucketsPerOctave + static_cast<int>(value >> shift);
  return std::min(bucket, kBuckets - 1);
}

int64_t Distribution::UpperNs(int bucket) {
  if (bucket < kBucketsPerOctave) return bucket + 1;
  const int shift = bucket / kBucketsPerOctave - 1;
  const int64_t mantissa = bucket % kBucketsPerOctave + kBucketsPerOctave;
  return (mantissa + 1) << shift;
}

void Distribution::Record(int64_t duration_ns) {
  const int64_t value = std::max<int64_t>(duration_ns, 0);
  ++count_;
  const double delta = static_cast<double>(value) - mean_;
  mean_ += delta / static_cast<double>(count_);
  m2_ += delta * (static_cast<double>(value) - mean_);
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  ++buckets_[BucketOf(value)];
}

void Distribution::Merge(const Distribution& other) {
  if (other.count_ == 0) return;
  const double mine = static_cast<double>(count_);
  const double theirs = static_cast<double>(other.count_);
  const double total = mine + theirs;
  const double delta = other.mean_ - mean_;
  mean_ += delta * (theirs / total);
  m2_ += other.m2_ + delta * delta * (mine * (theirs / total));
  count_ += other.count_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  for (int i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
}

Distribution Distribution::Since(const Distribution& earlier) const {
  Distribution part;
  int first = kBuckets;
  int last = 0;
  for (int i = 0; i < kBuckets; ++i) {
    if (buckets_[i] < earlier.buckets_[i]) return *this;
    part.buckets_[i] = buckets_[i] - earlier.buckets_[i];
    if (part.buckets_[i] == 0) continue;
    first = std::min(first, i);
    last = i;
  }
  if (earlier.count_ == 0 || count_ < earlier.count_) return *this;
  part.count_ = count_ - earlier.count_;
  if (part.count_ == 0) return Distribution();
  // Merge, solved for one of the parts.
  const double mine = static_cast<double>(part.count_);
  const double theirs = static_cast<double>(earlier.count_);
  const double delta = (mean_ - earlier.mean_) * ((mine + theirs) / mine);
  part.mean_ = std::max(0., earlier.mean_ + delta);
  part.m2_ =
      std::max(0., m2_ - earlier.m2_ -
                       delta * delta * (mine * theirs / (mine + theirs)));
  const int64_t lower = first == 0 ? 0 : UpperNs(first - 1) + 1;
  const int64_t upper = last == kBuckets - 1 ? max_ : UpperNs(last);
  // A new least or greatest lies in an outermost bucket and is exact.
  part.min_ = std::max(lower, min_);
  part.max_ = std::min(upper, max_);
  return part;
}

double Distribution::sum_ns() const {
  return mean_ * static_cast<double>(count_);
}

double Distribution::variance_ns2() const {
  return count_ < 2 ? 0 : m2_ / static_cast<double>(count_ - 1);
}

double Distribution::stdev_ns() const { return std::sqrt(variance_ns2()); }

double Distribution::cv() const { return mean_ == 0 ? 0 : stdev_ns() / mean_; }

double Distribution::QuantileNs(double q) const {
  if (count_ == 0) return 0;
  if (!(q > 0)) return static_cast<double>(min_);
  if (q >= 1) return static_cast<double>(max_);
  const double rank = std::ceil(q * static_cast<double>(count_));
  double seen = 0;
  for (int i = 0; i < kBuckets - 1; ++i) {
    seen += static_cast<double>(buckets_[i]);
    if (seen >= rank) {
      const double lowest =
          i == 0 ? 0 : static_cast<double>(UpperNs(i - 1) + 1);
      const double middle = (lowest + static_cast<double>(UpperNs(i))) / 2;
      return std::clamp(middle, static_cast<double>(min_),
                        static_cast<double>(max_));
    }
  }
  // The last bucket has no upper end, so its greatest stands for it.
  return static_cast<double>(max_);
}

std::vector<Distribution::Bucket> Distribution::Buckets() const {
  std::vector<Bucket> result;
  for (int i = 0; i < kBuckets; ++i) {
    if (buckets_[i] != 0) result.push_back({UpperNs(i), buckets_[i]});
  }
  return result;
}

std::vector<Distribution::Bucket> Distribution::CumulativeOctaves() const {
  std::vector<Bucket> result;
  uint64_t cumulative = 0;
  int bucket = 0;
  for (int power = kFirstExportedPower; power <= kLastPower; ++power) {
    const int64_t bound = int64_t{1} << power;
    // The last bucket also holds what lies above its bound.
    while (bucket < kBuckets - 1 && UpperNs(bucket) <= bound) {
      cumulative += buckets_[bucket++];
    }
    if (power == kLastPower && max_ <= bound) cumulative = count_;
    result.push_back({bound, cumulative});
  }
  return result;
}

SharedDistribution::SharedDistribution(int shards)
    : shard_count_(std::max(shards, 1)),
      shards_(std::make_unique<Shard[]>(shard_count_)) {}

SharedDistribution::Shard& SharedDistribution::Mine() const {
  if (shard_count_ == 1) return shards_[0];
  static std::atomic<unsigned> next_thread = 0;
  thread_local const unsigned thread =
      next_thread.fetch_add(1, std::memory_order_relaxed);
  return shards_[thread % static_cast<unsigned>(shard_count_)];
}

void SharedDistribution::Record(int64_t duration_ns) {
  Shard& shard = Mine();
  base::MutexLock lock(&shard.mutex);
  shard.distribution.Record(duration_ns);
}

void SharedDistribution::Merge(const Distribution& other) {
  Shard& shard = Mine();
  base::MutexLock lock(&shard.mutex);
  shard.distribution.Merge(other);
}

void SharedDistribution::Reset() {
  for (int i = 0; i < shard_count_; ++i) {
    base::MutexLock lock(&shards_[i].mutex);
    shards_[i].distribution = Distribution();
  }
}

Distribution SharedDistribution::Snapshot() const {
  Distribution result;
  for (int i = 0; i < shard_count_; ++i) {
    base::MutexLock lock(&shards_[i].mutex);
    result.Merge(shards_[i].distribution);
  }
  return result;
}

}  // namespace quern::telemetry
