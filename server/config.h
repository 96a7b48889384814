// SPDX-License-Identifier: Apache-2.0
//
// Config is what the operator set: flags of the command line over the lines of
// a file over defaults. Read once at start, by the only code of the server that
// looks at the environment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quern::server {

struct Config {
  // Where to listen: HOST:PORT or unix:PATH; port 0 picks a free one.
  std::string grpc_address = "127.0.0.1:8001";
  std::string metrics_address = "127.0.0.1:8002";  // "none": not served.
  std::string http_address = "127.0.0.1:8000";     // "none": not served.

  // Who may call.
  std::string tls_cert;  // PEM files; empty: no TLS.
  std::string tls_key;
  std::string tls_client_ca;  // Clients need a certificate by it; empty: none.
  std::string token_file;     // Empty: everybody may do everything.
  bool allow_insecure = false;  // Beyond loopback without TLS or tokens.

  // Models.
  std::string model_repository;  // Empty: none.
  std::string model_control_mode = "none";
  std::vector<std::string> load_models;  // At the start, if explicit.
  int repository_poll_s = 15;
  std::string cache_dir;  // Empty: no disk cache.
  std::vector<std::string> devices = {"auto"};

  // How much at a time.
  int threads = 0;               // Of a device; 0: by affinity and quota.
  std::string cpu_isa = "auto";  // As in runtime::DeviceOptions.
  int contexts = 4;              // Requests of a model that run at once.
  int request_threads = 16;      // Requests that are worked on or wait to run.
  int max_queued_requests = 1024;
  int load_threads = 2;  // Loads and the like at once.
  int max_queued_loads = 64;
  int max_pending_per_model = 1024;  // Requests accepted, not yet answered.
  int64_t max_bytes_in_flight = int64_t{4} << 30;  // Of all of them.

  // How much at most.
  int64_t max_message_bytes = int64_t{512} << 20;
  int64_t max_graph_bytes = int64_t{2} << 30;
  int64_t max_stored_bytes = int64_t{8} << 30;  // Submitted content in all.
  int64_t max_graph_nodes = 1'000'000;
  int64_t max_arena_bytes = int64_t{8} << 30;
  int64_t cache_bytes = int64_t{2} << 30;
  int max_loaded_models = 256;
  int max_watches = 64;          // Of kernels, by clients of the KernelService.
  int64_t max_device_bytes = 0;  // Of models on one device; 0: by the machine.

  // Of gRPC: what a peer may take up.
  int grpc_max_connections = 1024;
  int grpc_max_streams = 1024;  // Requests at once on a connection.
  int grpc_handshake_timeout_s = 20;
  int grpc_idle_timeout_s = 600;
  int grpc_read_timeout_s = 20;
  int grpc_write_timeout_s = 30;

  // Of HTTP: what a peer may take up.
  int http_max_connections = 1024;
  int http_max_header_bytes = 16384;
  int64_t http_max_json_bytes = int64_t{16} << 20;
  int http_idle_timeout_s = 60;
  int http_read_timeout_s = 20;
  int http_write_timeout_s = 30;

  // Compilers.
  int compile_workers = 0;  // 0: in this process.
  int compile_timeout_s = 60;
  int64_t compile_memory_bytes = int64_t{4} << 30;
  std::string jit_in_request = "forbid";

  int canary_timeout_s = 10;  // Not ready without a good canary for so long.
  int shutdown_delay_s = 0;   // Serves on after SIGTERM, and says not ready.
  int shutdown_timeout_s = 30;
  bool stop_on_stdin_eof = false;
  std::string log_level = "info";
  std::string log_format = "text";
  bool triton_metrics = true;  // The nv_* names too.
};

// What a command line says; `message` is set if the process should print it
// and end with `exit_code` instead of serving (help, version, an error).
struct ParsedConfig {
  Config config;
  std::string message;
  int exit_code = 0;
};

[[nodiscard]] ParsedConfig ParseConfig(int argc, const char* const* argv);

// The host and port of "HOST:PORT" or the text of "unix:PATH".
[[nodiscard]] absl::Status CheckAddress(const std::string& address,
                                        bool allow_unix);

}  // namespace quern::server
