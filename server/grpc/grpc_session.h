// SPDX-License-Identifier: Apache-2.0
//
// A GrpcSession is one connection of gRPC without its socket: bytes go in,
// methods are called, and bytes come out. HTTP/2 is spoken by nghttp2.
//
// All happens on one thread, its host's. Calls hold the host, so that they may
// answer from any thread; once the session has ended they go nowhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

#include "engine/telemetry/metrics.h"
#include "server/grpc/grpc_call.h"
#include "server/grpc/grpc_server.h"

namespace quern::server {

// What a session lives in.
class GrpcHost {
 public:
  virtual ~GrpcHost() = default;
  // For those who may outlive the session.
  virtual std::shared_ptr<GrpcHost> Share() = 0;
  // Runs `work` on the thread, now if this is the one. From any thread.
  virtual void Dispatch(std::function<void()> work) = 0;
  // There may be something to send.
  virtual void Flush() = 0;
};

// What the sessions of a server share.
struct GrpcShared {
  GrpcServerOptions options;
  GrpcMethods methods;
  // Sessions that were ended since the peer sent little but control frames.
  std::shared_ptr<telemetry::Number> floods;
};

class GrpcSession {
 public:
  using Clock = std::chrono::steady_clock;

  // `shared` outlives the session and its calls, `host` the session. Null if
  // there is no memory.
  [[nodiscard]] static std::unique_ptr<GrpcSession> Make(
      const GrpcShared* shared, GrpcHost* host);
  virtual ~GrpcSession() = default;

  // Takes what the peer has sent. False if it does not speak the protocol.
  [[nodiscard]] virtual bool Receive(absl::string_view bytes) = 0;

  // Appends what is to be sent, until there is nothing more or `out` has some
  // hundred KiB.
  virtual void Produce(std::string& out) = 0;

  // True if there is nothing left to be said by either side.
  [[nodiscard]] virtual bool done() const = 0;
  // True if no call is under way.
  [[nodiscard]] virtual bool idle() const = 0;
  // Calls that have ended.
  [[nodiscard]] virtual int64_t ended() const = 0;
  // True if answers wait that the peer does not take.
  [[nodiscard]] virtual bool stuck() const = 0;

  // When the peer will have been too slow to send, or idle for too long.
  [[nodiscard]] virtual Clock::time_point ReadDeadline() const = 0;
  // Refuses the calls that are too slow, at `now`. False if none is the reason,
  // and the peer is to go.
  [[nodiscard]] virtual bool OnExpired(Clock::time_point now) = 0;

  // Asks the peer to begin no more calls.
  virtual void Announce() = 0;
  // Serves no more calls than have come, and tells the peer so.
  virtual void Drain() = 0;

  // The connection has ended: so have all calls.
  virtual void End() = 0;
};

}  // namespace quern::server
