// SPDX-License-Identifier: Apache-2.0
//
// An HTTP server listens at one address, reads HTTP/1.1 requests, hands them to
// its routes and writes the answers.
//
// It has threads of its own, on which routes are called; they must not wait.
// Whatever a peer sends or fails to send costs a bounded amount of memory and
// time: there are limits for connections, heads, bodies, all bodies together,
// and for how long each may take. Nothing from the wire ends the process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "engine/telemetry/metrics.h"
#include "server/http/http_message.h"
#include "server/net/listener.h"

namespace quern::server {

class Admission;  // server/admission.h

struct HttpServerOptions : ListenerOptions {
  std::string listener;  // The metrics' label of that name.
  int64_t max_header_bytes = 16384;
  // Counts the bodies with all other requests, and outlives the server. May be
  // null where no route takes a body.
  Admission* admission = nullptr;
};

// `metrics` outlives the server. Fails as Listener::Start does. No route is
// called once it is stopped.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Listener>> StartHttpServer(
    const HttpServerOptions& options, HttpRouter router,
    telemetry::Metrics* metrics);

}  // namespace quern::server
