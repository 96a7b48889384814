// SPDX-License-Identifier: Apache-2.0
//
// A Listener accepts the connections of a pool at its address, with TLS if
// there is a certificate, and runs them on threads of its own.
//
// Without file descriptors it waits for some; what a connection throws ends
// that connection.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "server/net/connection_pool.h"

namespace quern::server {

class Listener {
 public:
  // kUnavailable, with the flag, if the address cannot be had,
  // kInvalidArgument if a certificate cannot be read or used.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Listener>> Start(
      std::shared_ptr<ConnectionPool> pool);
  virtual ~Listener() = default;  // Stops it.

  // Where it listens, with the port that was picked.
  [[nodiscard]] virtual const std::string& address() const = 0;

  // Takes no new connections, closes those that are idle, and lets the others
  // answer what they have begun. Returns at once.
  virtual void Drain() = 0;

  // Drains, waits until all connections are closed, at most until `deadline`,
  // and closes the rest. Nothing runs after it.
  virtual void Stop(absl::Time deadline) = 0;
};

}  // namespace quern::server
