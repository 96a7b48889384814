// SPDX-License-Identifier: Apache-2.0
//
// The commands of quern. Each works on a connection, prints its result on the
// standard output, or tells why it cannot.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "clients/cli/connection.h"
#include "clients/cli/tensor.h"

namespace quern::cli {

// What the command line says, for all commands.
struct Options {
  std::string server;  // Empty: start one.
  std::string token;   // For a server with --token-file.
  std::string tls_ca;  // PEM file; the server speaks TLS.
  std::string device;  // Empty: the server's default.
  std::string model;   // MODEL; may be empty where the command allows it.
  std::vector<std::string> folders;  // Of check.
  std::string inputs;                // "random", a folder, or empty.
  std::string output;                // A folder for the outputs of run.
  std::string stage = "notes";       // Of explain.
  std::string kernel;                // Of explain.
  std::string file;                  // Of load; empty: the repository's.
  int64_t version = 1;               // Of load with a file.
  std::map<std::string, std::string> settings;  // Of load.
  std::map<std::string, int64_t> sizes;         // Of free dimensions, by name.
  Tolerance tolerance;
  uint64_t seed = 1;
  int threads = 0;
  int warmup = 10;
  int runs = 100;
  int tune_runs = 20;
  int candidates = 10;         // Of tune.
  std::string export_file;     // Of tune.
  std::string import_file;     // Of tune.
  std::string cache_dir;       // Of a started server.
  bool has_cache_dir = false;  // Otherwise the server's default.
  double period_s = 1;         // Of top.
  int windows = 0;             // Of top with JSON; 0: no end.
  bool json = false;
  bool progress = false;  // Show progress though stderr is no terminal.
};

// Opens the connection that the options ask for. `fresh_cache`: a server that
// is started has no cache on disk, unless one is named.
[[nodiscard]] absl::StatusOr<std::unique_ptr<Connection>> OpenConnection(
    const Options& options, bool fresh_cache);

// kInvalidArgument for a command that makes sense only with a server that runs,
// if none is named.
[[nodiscard]] absl::Status NeedServer(const Options& options);

// Shows how far something is on one line of the terminal, or not at all.
class ProgressLine {
 public:
  explicit ProgressLine(const Options& options);
  ~ProgressLine();
  void Show(const std::string& text);
  void Show(const v1::Progress& progress);
  void Clear();

 private:
  bool enabled_;
  bool terminal_;
  bool shown_ = false;
};

// Reads the stream of a call to its end, shows progress, and hands every other
// message to `take`.
template <typename Response, typename Take>
[[nodiscard]] absl::Status ReadStream(grpc::ClientReader<Response>& reader,
                                      ProgressLine& progress, Take take) {
  Response message;
  while (reader.Read(&message)) {
    if (message.has_progress()) {
      progress.Show(message.progress());
    } else {
      take(std::move(message));
    }
  }
  const grpc::Status status = reader.Finish();
  return status.ok() ? absl::OkStatus() : FromGrpc(status);
}

// One run.
[[nodiscard]] absl::StatusOr<v1::ExecuteResult> Execute(
    Connection& connection, const v1::Subject& subject,
    const std::vector<v1::NamedTensor>& inputs, ProgressLine& progress);

// What is said about durations; the proto's doc has the meanings.
[[nodiscard]] v1::Latency LatencyOf(std::vector<double> values);

[[nodiscard]] absl::Status Run(const Options& options);
[[nodiscard]] absl::Status Bench(const Options& options);
[[nodiscard]] absl::Status Tune(const Options& options);
[[nodiscard]] absl::Status Explain(const Options& options);
[[nodiscard]] absl::Status ListModels(const Options& options);
[[nodiscard]] absl::Status ListDevices(const Options& options);
[[nodiscard]] absl::Status ListKernels(const Options& options);
[[nodiscard]] absl::Status Load(const Options& options);
[[nodiscard]] absl::Status Unload(const Options& options);
[[nodiscard]] absl::Status Stats(const Options& options);
[[nodiscard]] absl::Status Top(const Options& options);

// Returns whether no test failed.
[[nodiscard]] absl::StatusOr<bool> Check(const Options& options);

}  // namespace quern::cli
