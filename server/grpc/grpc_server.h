// SPDX-License-Identifier: Apache-2.0
//
// A gRPC server: listens at one address, reads calls, hands them to their
// methods and writes what they answer.
//
// It has threads of its own, on which methods are called; they must not wait.
// Whatever a peer sends or fails to send costs a bounded amount of memory and
// time: there are limits for connections, calls, metadata, messages, all
// messages together, for how long each may take, and for what a peer may send
// beside its calls. Nothing from the wire ends the process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "engine/telemetry/metrics.h"
#include "server/grpc/grpc_call.h"
#include "server/net/listener.h"

namespace quern::server {

class Admission;  // server/admission.h

struct GrpcServerOptions : ListenerOptions {
  int max_streams = 1024;  // Calls at once on a connection.
  int64_t max_message_bytes = 0;
  // Names and values of a call's metadata.
  int64_t max_metadata_bytes = 16384;
  // In which a peer is to say hello.
  absl::Duration handshake_timeout = absl::Seconds(20);
  // Counts messages that come with all other requests, and outlives the server.
  // May be null.
  Admission* admission = nullptr;
  // Runs work that takes a while, by turns for each owner; those that are read
  // are long messages. On the spot if it is null.
  std::function<absl::Status(const void* owner, std::function<void()> work)>
      defer;
};

// `metrics` outlives the server. Fails as Listener::Start does. No method is
// called once it is stopped.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Listener>> StartGrpcServer(
    const GrpcServerOptions& options, GrpcMethods methods,
    telemetry::Metrics* metrics);

}  // namespace quern::server
