// SPDX-License-Identifier: Apache-2.0
#include "server/http/http_server.h"

#include <utility>

#include "server/http/http_connection.h"

namespace quern::server {

absl::StatusOr<std::unique_ptr<Listener>> StartHttpServer(
    const HttpServerOptions& options, HttpRouter router,
    telemetry::Metrics* metrics) {
  return Listener::Start(
      std::make_shared<HttpConnections>(options, std::move(router), metrics));
}

}  // namespace quern::server
