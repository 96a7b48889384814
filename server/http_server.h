// SPDX-License-Identifier: Apache-2.0
//
// An HttpServer listens at one address, reads HTTP/1.1 requests, hands them to
// its routes and writes the answers, with TLS if it has a certificate.
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
#include "absl/time/time.h"

#include "engine/telemetry/metrics.h"
#include "server/http_message.h"

namespace quern::server {

class Admission;  // server/admission.h

struct HttpServerOptions {
  std::string address;   // HOST:PORT; port 0 picks a free one.
  std::string listener;  // The metrics' label of that name.
  std::string flag;      // That says the address, for messages.
  int threads = 2;
  // One beyond takes the place of the one that has waited longest for a
  // request; if none waits, it gets status 503.
  int max_connections = 1024;
  int64_t max_header_bytes = 16384;
  // Counts the bodies with all other requests, and outlives the server. May be
  // null where no route takes a body.
  Admission* admission = nullptr;

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
};

class HttpServer {
 public:
  // `metrics` outlives the server. kUnavailable, with the flag, if the address
  // cannot be had, kInvalidArgument if a certificate cannot be used.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<HttpServer>> Start(
      const HttpServerOptions& options, HttpRouter router,
      telemetry::Metrics* metrics);
  virtual ~HttpServer() = default;  // Stops it.

  // Where it listens, with the port that was picked.
  [[nodiscard]] virtual const std::string& address() const = 0;

  // Takes no new connections, closes those that are idle, and lets the others
  // answer what they have begun. Returns at once.
  virtual void Drain() = 0;

  // Drains, waits until all connections are closed, at most until `deadline`,
  // and closes the rest. No route is called after it.
  virtual void Stop(absl::Time deadline) = 0;
};

}  // namespace quern::server
