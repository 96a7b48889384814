// SPDX-License-Identifier: Apache-2.0
//
// The connections of an HTTP server: each reads a request, hands it to its
// route, writes the answer, and so on until either side has enough.
//
// A connection lives as long as something is under way for it: a read, a write,
// or a route that has not answered.
#pragma once

#include "engine/telemetry/metrics.h"
#include "server/http/http_message.h"
#include "server/http/http_server.h"
#include "server/net/connection_pool.h"

namespace quern::server {

class HttpConnections final
    : public ConnectionPool,
      public std::enable_shared_from_this<HttpConnections> {
 public:
  HttpConnections(HttpServerOptions options, HttpRouter router,
                  telemetry::Metrics* metrics);

  const HttpServerOptions options;
  const HttpRouter router;

  [[nodiscard]] const ListenerOptions& listener() const override {
    return options;
  }
  void Serve(Socket socket) override;
  void TurnAway(Socket& socket) override;

  // Counts an answer.
  void CountAnswer(int status);

 private:
  telemetry::Metrics& metrics_;
};

}  // namespace quern::server
