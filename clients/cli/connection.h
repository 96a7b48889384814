// SPDX-License-Identifier: Apache-2.0
//
// A Connection is the way to a server: one that runs somewhere, or one that is
// started for this command and stopped at its end.
//
// The started server listens on a unix socket in a folder that only this user
// can enter. It ends when its standard input does, so that it never outlives
// the command, however that ends.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include "proto/inference/grpc_service.grpc.pb.h"
#include "proto/quern/v1/graph_service.grpc.pb.h"
#include "proto/quern/v1/kernel_service.grpc.pb.h"

namespace quern::cli {

// A gRPC status in our own form.
[[nodiscard]] absl::Status FromGrpc(const grpc::Status& status);

class Connection {
 public:
  // A server at HOST:PORT or unix:PATH. Nothing is sent yet. Each call carries
  // `token` unless it is empty; with `tls_ca`, a PEM file, the connection is by
  // TLS to a server with a certificate of that authority, kNotFound if it
  // cannot be read.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Connection>> To(
      const std::string& address, const std::string& token,
      const std::string& tls_ca);

  // Starts the quernd that lies beside this program with `arguments` and waits
  // until it is ready. kNotFound if there is none, kUnavailable, with the
  // server's exit code, if it ends instead.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Connection>> StartServer(
      const std::vector<std::string>& arguments);

  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] v1::GraphService::Stub& graphs() { return *graphs_; }
  [[nodiscard]] v1::KernelService::Stub& kernels() { return *kernels_; }
  [[nodiscard]] inference::GRPCInferenceService::Stub& v2() { return *v2_; }

  // True for a server of this command.
  [[nodiscard]] bool started() const { return pid_ > 0; }
  // False if the server of this command has ended.
  [[nodiscard]] bool Alive();

 private:
  Connection() = default;
  void Connect(const std::string& address, const std::string& token,
               const std::shared_ptr<grpc::ChannelCredentials>& credentials);
  absl::Status Spawn(const std::vector<std::string>& arguments);
  absl::StatusOr<std::string> WaitForReadyLine(int stdout_fd);

  std::unique_ptr<v1::GraphService::Stub> graphs_;
  std::unique_ptr<v1::KernelService::Stub> kernels_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> v2_;
  std::string folder_;  // Of the socket; empty if none was made.
  pid_t pid_ = -1;      // Of the started server.
  int stdin_fd_ = -1;   // Our end of its standard input.
  int exit_code_ = -1;  // Of the server, once it has ended.
};

// Blocks SIGINT and SIGTERM and ends the process on them after the folder of a
// started server is removed. To be called first in main, before threads exist.
void CleanUpOnSignals();

// What to do before the process ends on a signal; null for nothing.
void AtSignal(std::function<void()> work);

}  // namespace quern::cli
