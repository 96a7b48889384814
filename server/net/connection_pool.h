// SPDX-License-Identifier: Apache-2.0
//
// A ConnectionPool is what the connections of one listener share, whatever they
// speak: limits, the loop of events, and the list of those that are open.
//
// Any thread may use it. It outlives its connections, each of which holds it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "engine/base/mutex.h"
#include "engine/telemetry/metrics.h"

namespace quern::server {

using Socket = boost::asio::generic::stream_protocol::socket;
using TlsStream = boost::asio::ssl::stream<Socket>;

struct ListenerOptions {
  std::string address;  // HOST:PORT, port 0 picks a free one; or unix:PATH.
  std::string flag;     // That says the address, for messages.
  int threads = 2;
  // One beyond takes the place of the one that has waited longest for a
  // request; if none waits, it is turned away.
  int max_connections = 1024;

  // A peer that sends nothing between two requests.
  absl::Duration idle_timeout = absl::Seconds(60);
  // One that is slow to send a head; and a body beyond the time that it takes
  // at the least rate.
  absl::Duration read_timeout = absl::Seconds(20);
  // One that is slow to take the answer, beyond the time at the least rate.
  absl::Duration write_timeout = absl::Seconds(30);
  int64_t least_bytes_per_second = 16384;

  // PEM files, empty for none. With an authority, clients need a certificate.
  std::string tls_cert;
  std::string tls_key;
  std::string tls_client_ca;
  // What TLS is asked to carry, as ALPN writes it (RFC 7301): "\x02h2". Empty
  // if that is not asked.
  std::string tls_protocol;
};

// When a transfer that began at `begin` and has moved `bytes` takes too long: a
// fixed time, and what the bytes take at the least rate. One that sends or
// takes a byte now and then is cut off, a long body on a slow line is not.
[[nodiscard]] std::chrono::steady_clock::time_point TransferDeadline(
    const ListenerOptions& options, std::chrono::steady_clock::time_point begin,
    absl::Duration timeout, int64_t bytes);

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  virtual ~Connection() = default;
  // Closes it if it is idle, else after the answers that are under way.
  virtual void Drain() = 0;
  // Closes it at once.
  virtual void Abort() = 0;
  // Closes it if it still waits for a request.
  virtual void GiveWay() = 0;
};

class ConnectionPool {
 public:
  // What is counted of connections.
  struct Counts {
    std::shared_ptr<telemetry::Number> open;
    std::shared_ptr<telemetry::Number> evicted;
  };

  // With a loop of events for each of `threads`: a connection stays on one of
  // them, so that all of it happens on one thread.
  ConnectionPool(int threads, Counts counts);
  virtual ~ConnectionPool() = default;

  [[nodiscard]] virtual const ListenerOptions& listener() const = 0;
  // Serves a socket that was accepted, whose executor is one of the loops.
  virtual void Serve(Socket socket) = 0;
  // There is no room. What can be told without waiting may be.
  virtual void TurnAway(Socket& socket) = 0;

  std::vector<std::unique_ptr<boost::asio::io_context>> loops;
  std::optional<boost::asio::ssl::context> tls;
  std::atomic<bool> draining = false;
  std::atomic<bool> stopped = false;  // Nothing runs on the loops any more.

  // Connections come and, from their destructors, go.
  void Enter(std::weak_ptr<Connection> connection);
  void Leave(const std::weak_ptr<Connection>& connection);
  [[nodiscard]] int connections() const;
  // Waits until there is none; false if the deadline passed before.
  bool AwaitNone(absl::Time deadline);
  void DrainAll();
  void AbortAll();

  // A connection begins to wait for a request, until it has one: its place
  // among those that wait.
  [[nodiscard]] int64_t BeginWait(std::weak_ptr<Connection> connection);
  void EndWait(int64_t place);
  // Closes the connection that has waited longest; false if none waits.
  bool Evict();

 private:
  std::vector<std::shared_ptr<Connection>> All() const;

  const Counts counts_;
  mutable base::Mutex mutex_;
  base::CondVar left_;
  std::set<std::weak_ptr<Connection>, std::owner_less<>> connections_
      ABSL_GUARDED_BY(mutex_);
  // By their places: who has waited longest is the first.
  std::map<int64_t, std::weak_ptr<Connection>> waiting_ ABSL_GUARDED_BY(mutex_);
  int64_t next_place_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quern::server
