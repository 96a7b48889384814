// SPDX-License-Identifier: Apache-2.0
//
// The connections of a gRPC server: a GrpcSession each, with its socket and the
// times that its peer has.
#pragma once

#include <memory>

#include "engine/telemetry/metrics.h"
#include "server/grpc/grpc_server.h"
#include "server/grpc/grpc_session.h"
#include "server/net/connection_pool.h"

namespace quern::server {

class GrpcConnections final
    : public ConnectionPool,
      public std::enable_shared_from_this<GrpcConnections> {
 public:
  GrpcConnections(GrpcServerOptions options, GrpcMethods methods,
                  telemetry::Metrics* metrics);

  const GrpcShared shared;

  [[nodiscard]] const ListenerOptions& listener() const override {
    return shared.options;
  }
  void Serve(Socket socket) override;
  void TurnAway(Socket& socket) override;

 private:
  const std::shared_ptr<telemetry::Number> refused_;
};

}  // namespace quern::server
