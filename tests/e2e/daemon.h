// SPDX-License-Identifier: Apache-2.0
//
// Runs the real programs for tests: quernd as a daemon of its own with its own
// folder, quern to its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include "proto/inference/grpc_service.grpc.pb.h"
#include "proto/quern/v1/graph_service.grpc.pb.h"
#include "proto/quern/v1/kernel_service.grpc.pb.h"

namespace quern::e2e {

// A folder that goes away with its owner.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Writes a file, making its folders.
void WriteFile(const std::string& path, const std::string& bytes);

// The path of a program beside the test's own.
[[nodiscard]] std::string Program(const std::string& name);

struct Finished {
  int exit_code = -1;  // 128 + the signal, if one ended it.
  std::string out;
  std::string err;
};
// Runs a program to its end with an empty standard input.
[[nodiscard]] Finished RunProgram(const std::vector<std::string>& words);

class Daemon {
 public:
  // Starts quernd, or this copy of it, on free loopback ports with `arguments`,
  // and waits until it is ready or has ended.
  explicit Daemon(const std::vector<std::string>& arguments,
                  const std::string& program = Program("quernd"));
  // Ends it by SIGTERM.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  [[nodiscard]] const std::string& ready_line() const { return ready_line_; }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& http_address() const {
    return http_address_;
  }
  [[nodiscard]] const std::string& metrics_address() const {
    return metrics_address_;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] inference::GRPCInferenceService::Stub& v2() { return *v2_; }
  [[nodiscard]] v1::GraphService::Stub& graphs() { return *graphs_; }
  [[nodiscard]] v1::KernelService::Stub& kernels() { return *kernels_; }
  [[nodiscard]] const std::shared_ptr<grpc::Channel>& channel() const {
    return channel_;
  }

  // The text at /metrics.
  [[nodiscard]] std::string Metrics() const;
  // The value of the metric that a line of it begins with; 0 if there is none.
  [[nodiscard]] double Metric(const std::string& line_begin) const;

  // Sends `signal` and waits; the exit code.
  int Stop(int signal);

 private:
  Folder folder_;
  pid_t pid_ = -1;
  int stdin_fd_ = -1;  // Its end tells the daemon to end.
  std::string ready_line_;
  std::string address_;
  std::string http_address_;
  std::string metrics_address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> v2_;
  std::unique_ptr<v1::GraphService::Stub> graphs_;
  std::unique_ptr<v1::KernelService::Stub> kernels_;
};

}  // namespace quern::e2e
