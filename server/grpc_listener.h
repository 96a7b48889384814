// SPDX-License-Identifier: Apache-2.0
//
// A GrpcListener accepts the connections of gRPC and hands them over, up to a
// limit. What gRPC itself listens with has no limit, and stops for ever when a
// file descriptor is not to be had (CVE-2023-4785, in gRPC before 1.53).
//
// It has a thread of its own. Connections that gRPC was given live on when it
// is stopped.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include <grpcpp/server_builder.h>

#include "engine/telemetry/metrics.h"

namespace quern::server {

struct GrpcListenerOptions {
  std::string address;         // HOST:PORT or unix:PATH; port 0: a free one.
  int max_connections = 1024;  // Those beyond are closed.
};

class GrpcListener {
 public:
  // Nothing is accepted before Serve. kUnavailable, with the flag, if the
  // address cannot be had. `metrics` outlives the listener.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<GrpcListener>> Bind(
      const GrpcListenerOptions& options, telemetry::Metrics* metrics);
  virtual ~GrpcListener() = default;  // Stops it.

  // Where it listens, with the port that was picked.
  [[nodiscard]] virtual const std::string& address() const = 0;

  // Gives what comes to `acceptor`, whose server has started. To be called
  // once.
  virtual void Serve(
      std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>
          acceptor) = 0;

  // Closes the socket: nobody comes in any more.
  virtual void Stop() = 0;
};

}  // namespace quern::server
