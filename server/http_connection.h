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
};

// The status line and the headers of an answer.
[[nodiscard]] std::string HeadOf(const HttpResponse& response, bool keep_alive);

// Serves a socket that was accepted, whose executor is a strand of its own.
void ServeConnection(const std::shared_ptr<HttpShared>& shared,
                     boost::asio::ip::tcp::socket socket);

}  // namespace quern::server
