// SPDX-License-Identifier: Apache-2.0
//
// The Server is everything between the wire and the engine: the services, the
// queues behind them, the stores, health, reflection and metrics.
//
// Start listens at once and answers that it is not ready; Serve changes that,
// as long as the devices are well; Shutdown takes no new work, waits for what
// was accepted, and stops.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "server/config.h"

namespace quern::server {

class Server {
 public:
  // `engine` and `metrics` outlive the server. kUnavailable if an address
  // cannot be had, kNotFound if a file or folder of the config cannot be read.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Server>> Start(
      const Config& config, Engine* engine, telemetry::Metrics* metrics);
  virtual ~Server() = default;

  // Loads the models that the config wants at the start; one that fails does
  // not stop the others.
  virtual void LoadModels() = 0;

  // Watches the devices and says that the server is ready when all are well.
  // Returns when that was found out once. Calls `at_first` when it is ready for
  // the first time, before it returns if nothing is wrong.
  virtual void Serve(std::function<void()> at_first) = 0;

  // Ends the service within the configured time.
  virtual void Shutdown() = 0;

  // "quernd ready grpc=HOST:PORT http=HOST:PORT metrics=HOST:PORT": what is
  // served, where.
  [[nodiscard]] virtual std::string ReadyLine() const = 0;
};

}  // namespace quern::server
