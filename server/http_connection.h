// SPDX-License-Identifier: Apache-2.0
//
// One connection of an HttpServer: reads a request, hands it to its route,
// writes the answer, and so on until either side has enough.
//
// A connection lives as long as something is under way for it: a read, a write,
// a timer, or a route that has not answered.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include "engine/base/mutex.h"
#include "engine/telemetry/metrics.h"
#include "server/http_message.h"
#include "server/http_server.h"

namespace quern::server {

class HttpConnection {
 public:
  virtual ~HttpConnection() = default;
  // Closes it if it is idle, else after the answer that is under way.
  virtual void Drain() = 0;
  // Closes it at once.
  virtual void Abort() = 0;
  // Closes it if it still waits for a request.
  virtual void GiveWay() = 0;
};

// What the connections of one server share. It outlives them.
class HttpShared {
 public:
  HttpShared(HttpServerOptions options, HttpRouter router,
             telemetry::Metrics* metrics);

  const HttpServerOptions options;
  const HttpRouter router;
  boost::asio::io_context io;
  std::optional<boost::asio::ssl::context> tls;
  std::atomic<bool> draining = false;
  std::atomic<bool> stopped = false;  // Nothing runs on `io` any more.

  // Connections come and go.
  void Enter(std::weak_ptr<HttpConnection> connection);
  void Leave();
  [[nodiscard]] int connections() const;
  // Waits until there is none; false if the deadline passed before.
  bool AwaitNone(absl::Time deadline);
  void DrainAll();
  void AbortAll();

  // A connection begins to wait for a request, until its head is whole: its
  // place among those that wait.
  [[nodiscard]] int64_t BeginWait(std::weak_ptr<HttpConnection> connection);
  void EndWait(int64_t place);
  // Closes the connection that has waited longest; false if none waits.
  bool Evict();

  // Counts an answer.
  void CountAnswer(int status);

 private:
  std::vector<std::shared_ptr<HttpConnection>> All() const;

  telemetry::Metrics& metrics_;
  const std::shared_ptr<telemetry::Number> open_;
  mutable base::Mutex mutex_;
  base::CondVar left_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::weak_ptr<HttpConnection>, std::owner_less<>> connections_
      ABSL_GUARDED_BY(mutex_);
  // By their places: who has waited longest is the first.
  std::map<int64_t, std::weak_ptr<HttpConnection>> waiting_
      ABSL_GUARDED_BY(mutex_);
  int64_t next_place_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The status line and the headers of an answer.
[[nodiscard]] std::string HeadOf(const HttpResponse& response, bool keep_alive);

// Serves a socket that was accepted, whose executor is a strand of its own.
void ServeConnection(const std::shared_ptr<HttpShared>& shared,
                     boost::asio::ip::tcp::socket socket);

}  // namespace quern::server
