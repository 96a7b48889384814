// SPDX-License-Identifier: Apache-2.0
#include "server/net/connection_pool.h"

#include <utility>

namespace quern::server {

std::chrono::steady_clock::time_point TransferDeadline(
    const ListenerOptions& options, std::chrono::steady_clock::time_point begin,
    absl::Duration timeout, int64_t bytes) {
  return begin + absl::ToChronoNanoseconds(timeout) +
         std::chrono::milliseconds(bytes * 1000 /
                                   options.least_bytes_per_second);
}

ConnectionPool::ConnectionPool(int threads, Counts counts)
    : counts_(std::move(counts)) {
  for (int i = 0; i < threads; ++i) {
    // The number of threads that run it.
    loops.push_back(std::make_unique<boost::asio::io_context>(1));
  }
}

void ConnectionPool::Enter(std::weak_ptr<Connection> connection) {
  const base::MutexLock lock(&mutex_);
  connections_.insert(std::move(connection));
  counts_.open->Set(static_cast<double>(connections_.size()));
}

void ConnectionPool::Leave(const std::weak_ptr<Connection>& connection) {
  const base::MutexLock lock(&mutex_);
  connections_.erase(connection);
  counts_.open->Set(static_cast<double>(connections_.size()));
  if (connections_.empty()) left_.SignalAll();
}

int ConnectionPool::connections() const {
  const base::MutexLock lock(&mutex_);
  return static_cast<int>(connections_.size());
}

bool ConnectionPool::AwaitNone(absl::Time deadline) {
  const base::MutexLock lock(&mutex_);
  while (!connections_.empty()) {
    if (!left_.WaitUntil(&mutex_, absl::ToChronoTime(deadline))) {
      return connections_.empty();
    }
  }
  return true;
}

std::vector<std::shared_ptr<Connection>> ConnectionPool::All() const {
  const base::MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& each : connections_) {
    if (auto connection = each.lock()) all.push_back(std::move(connection));
  }
  return all;
}

void ConnectionPool::DrainAll() {
  for (const auto& connection : All()) connection->Drain();
}

void ConnectionPool::AbortAll() {
  for (const auto& connection : All()) connection->Abort();
}

int64_t ConnectionPool::BeginWait(std::weak_ptr<Connection> connection) {
  const base::MutexLock lock(&mutex_);
  waiting_.emplace(next_place_, std::move(connection));
  return next_place_++;
}

void ConnectionPool::EndWait(int64_t place) {
  const base::MutexLock lock(&mutex_);
  waiting_.erase(place);
}

bool ConnectionPool::Evict() {
  std::shared_ptr<Connection> longest;
  {
    const base::MutexLock lock(&mutex_);
    while (longest == nullptr && !waiting_.empty()) {
      longest = waiting_.begin()->second.lock();
      waiting_.erase(waiting_.begin());
    }
  }
  if (longest == nullptr) return false;
  counts_.evicted->Add(1);  // Before it ends, so that its peer can see it.
  longest->GiveWay();
  return true;
}

}  // namespace quern::server
