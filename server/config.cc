// SPDX-License-Identifier: Apache-2.0
#include "server/config.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <netinet/in.h>

#include "server/version.h"

namespace quern::server {
namespace {

std::string DefaultCacheDir() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return absl::StrCat(cache, "/quern");
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') {
    return absl::StrCat(home, "/.cache/quern");
  }
  return "";
}

// One worker per core that requests do not need, at least one.
int DefaultCompileWorkers() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores - 1, 1, 8);
}

void AddGrpcLimits(CLI::App& app, Config& c) {
  app.add_option("--grpc-max-connections", c.grpc_max_connections,
                 "connections over gRPC at most; one more takes the place of "
                 "one without a request, or is closed")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--grpc-max-streams", c.grpc_max_streams,
                 "requests at once on a connection over gRPC; clients keep "
                 "back what is more")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--grpc-handshake-timeout", c.grpc_handshake_timeout_s,
                 "seconds in which a connection over gRPC is to say hello")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--grpc-idle-timeout", c.grpc_idle_timeout_s,
                 "seconds that a connection over gRPC may lie idle")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--grpc-read-timeout", c.grpc_read_timeout_s,
                 "seconds for a message over gRPC to come, beside what 16 KiB "
                 "a second take")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--grpc-write-timeout", c.grpc_write_timeout_s,
                 "seconds in which a client over gRPC takes its answers, "
                 "beside what 16 KiB a second take")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
}

void AddHttpLimits(CLI::App& app, Config& c) {
  app.add_option("--http-max-connections", c.http_max_connections,
                 "connections over HTTP at most; more are turned away")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--http-max-header-bytes", c.http_max_header_bytes,
                 "size of the head of a request over HTTP at most")
      ->check(CLI::Range(1024, 1 << 20))
      ->capture_default_str();
  app.add_option("--http-max-json-bytes", c.http_max_json_bytes,
                 "size of the JSON of a request over HTTP at most, files of a "
                 "load excepted")
      ->check(CLI::Range(int64_t{1024}, int64_t{2147483647}))
      ->capture_default_str();
  app.add_option("--http-idle-timeout", c.http_idle_timeout_s,
                 "seconds that a connection over HTTP may lie idle")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option(
         "--http-read-timeout", c.http_read_timeout_s,
         "seconds for the head of a request over HTTP, and for its body "
         "beside what 16 KiB a second take")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--http-write-timeout", c.http_write_timeout_s,
                 "seconds in which an answer over HTTP is to be taken, beside "
                 "what 16 KiB a second take")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
}

void AddFlags(CLI::App& app, Config& c) {
  app.add_option("--grpc-address", c.grpc_address,
                 "HOST:PORT or unix:PATH for gRPC; port 0 picks a free one")
      ->capture_default_str();
  app.add_option("--metrics-address", c.metrics_address,
                 "HOST:PORT for Prometheus, or none; whoever reaches it may "
                 "read the metrics")
      ->capture_default_str();
  app.add_option("--http-address", c.http_address,
                 "HOST:PORT for the V2 protocol over HTTP, or none")
      ->capture_default_str();
  app.add_option("--tls-cert", c.tls_cert,
                 "PEM file of the server's certificate: gRPC and HTTP use TLS");
  app.add_option("--tls-key", c.tls_key, "PEM file of its key");
  app.add_option("--tls-client-ca", c.tls_client_ca,
                 "PEM file of the authority that clients' certificates need");
  app.add_option("--token-file", c.token_file,
                 "file with lines \"ROLE TOKEN\", where ROLE is inference, "
                 "graph or admin: who may do what");
  app.add_flag("--allow-insecure", c.allow_insecure,
               "listen beyond loopback without TLS or tokens");
  app.add_option("--model-repository", c.model_repository,
                 "folder with NAME/VERSION/model.onnx");
  app.add_option("--model-control-mode", c.model_control_mode,
                 "none: all models are loaded at the start; explicit: only "
                 "those of --load-model; poll: as files come, change and go")
      ->check(CLI::IsMember({"none", "explicit", "poll"}))
      ->capture_default_str();
  app.add_option("--load-model", c.load_models,
                 "model to load at the start, if loads are explicit")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--repository-poll-seconds", c.repository_poll_s,
                 "time between two looks at the repository")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--devices", c.devices,
                 "devices to open, the first is the default: auto, or names as "
                 "cpu,ref; null computes nothing, so it is never ready")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--cache-dir", c.cache_dir,
                 "folder for compiled kernels; empty for none")
      ->capture_default_str();
  app.add_option("--cache-bytes", c.cache_bytes, "size of that folder at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", c.threads,
                 "threads of a device, and requests that it works on at once; "
                 "0: as many as this process may use")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option(
         "--cpu-isa", c.cpu_isa,
         "instructions that kernels on the CPU may use: auto for all "
         "that it has, or at most avx512, avx2 or sse4; of AArch64 neon")
      ->check(CLI::IsMember({"auto", "avx512", "avx2", "sse4", "neon"}))
      ->capture_default_str();
  app.add_option("--contexts", c.contexts,
                 "requests of a model that run at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--request-threads", c.request_threads,
                 "requests that run or wait for a context at once")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option(
         "--max-queued-requests", c.max_queued_requests,
         "requests that wait at most, and long messages that wait to be "
         "read; more are refused")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--load-threads", c.load_threads,
                 "loads and explanations at once; a benchmark runs beside them")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--max-queued-loads", c.max_queued_loads,
                 "loads and the like that wait at most, and benchmarks")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-pending-per-model", c.max_pending_per_model,
                 "requests of a model accepted and not yet answered at most")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-bytes-in-flight", c.max_bytes_in_flight,
                 "size of all requests accepted and not yet answered at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-device-memory", c.max_device_bytes,
                 "bytes that models may take on a device; 0: 80 % of the "
                 "memory of the machine or the container")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-message-bytes", c.max_message_bytes,
                 "size of a message at most, received or sent")
      ->check(CLI::Range(int64_t{1024}, int64_t{2147483647}))
      ->capture_default_str();
  AddGrpcLimits(app, c);
  AddHttpLimits(app, c);
  app.add_option("--max-graph-bytes", c.max_graph_bytes,
                 "size of a model file or graph at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-stored-bytes", c.max_stored_bytes,
                 "submitted content kept at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-graph-nodes", c.max_graph_nodes,
                 "nodes of a graph at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-arena-bytes", c.max_arena_bytes,
                 "memory for the temporaries of a request at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-loaded-models", c.max_loaded_models,
                 "models served at most, and graphs kept loaded at most")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-watches", c.max_watches,
                 "clients that are sent the times of kernels at most")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--compile-workers", c.compile_workers,
                 "compiler processes; 0 compiles in this process")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--compile-timeout", c.compile_timeout_s,
                 "seconds for one kernel's compiler")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--compile-memory", c.compile_memory_bytes,
                 "bytes of memory for a compiler process")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--jit-in-request", c.jit_in_request,
                 "allow or forbid compiling for a request; this version never "
                 "does")
      ->check(CLI::IsMember({"allow", "forbid"}))
      ->capture_default_str();
  app.add_option("--canary-timeout", c.canary_timeout_s,
                 "seconds without a right canary kernel of a device after "
                 "which the server is not ready")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--shutdown-delay", c.shutdown_delay_s,
                 "seconds after SIGTERM in which the server says that it is "
                 "not ready and still takes requests")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  app.add_option("--shutdown-timeout", c.shutdown_timeout_s,
                 "seconds that requests have to end after SIGTERM")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  app.add_flag("--stop-on-stdin-eof", c.stop_on_stdin_eof,
               "end when the standard input ends");
  app.add_option("--log-level", c.log_level, "how much is logged")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  app.add_option("--log-format", c.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--triton-metrics", c.triton_metrics,
                 "whether the metrics have Triton's nv_* names too")
      ->capture_default_str();
}

// True if what listens at `address` can be reached from this machine only. A
// name other than localhost may mean any address.
bool IsLocal(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const std::string host = address.substr(0, address.rfind(':'));
  in_addr v4 = {};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  return host == "localhost" || host == "[::1]";
}

// What is wrong with the settings taken together.
absl::Status CheckTogether(const Config& c) {
  const auto addresses = {
      std::make_pair("--grpc-address", c.grpc_address),
      std::make_pair("--http-address", c.http_address),
      std::make_pair("--metrics-address", c.metrics_address)};
  for (const auto& [flag, address] : addresses) {
    const bool grpc = absl::string_view(flag) == "--grpc-address";
    if (!grpc && address == "none") continue;
    if (const absl::Status bad = CheckAddress(address, grpc); !bad.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": ", bad.message()));
    }
    const bool open =
        c.tls_client_ca.empty() && c.token_file.empty() && c.tls_cert.empty();
    if (open && !c.allow_insecure && !IsLocal(address) &&
        absl::string_view(flag) != "--metrics-address") {
      return absl::InvalidArgumentError(absl::StrCat(
          flag, " ", address,
          " is open to others, who could run graphs of theirs here: give "
          "--token-file or --tls-cert, or --allow-insecure if something else "
          "keeps them out"));
    }
  }
  if (c.tls_cert.empty() != c.tls_key.empty()) {
    return absl::InvalidArgumentError(
        "--tls-cert and --tls-key need each other");
  }
  if (!c.tls_client_ca.empty() && c.tls_cert.empty()) {
    return absl::InvalidArgumentError("--tls-client-ca needs --tls-cert");
  }
  if (c.model_control_mode != "none" && c.model_repository.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--model-control-mode ", c.model_control_mode,
                     " needs --model-repository"));
  }
  if (!c.load_models.empty() && c.model_control_mode != "explicit") {
    return absl::InvalidArgumentError(
        "--load-model needs --model-control-mode explicit");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAddress(const std::string& address, bool allow_unix) {
  if (absl::StartsWith(address, "unix:")) {
    if (allow_unix && address.size() > 5) return absl::OkStatus();
  } else {
    const size_t colon = address.rfind(':');
    int port = -1;
    if (colon != std::string::npos && colon > 0 &&
        absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= 0 &&
        port <= 65535) {
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expected HOST:PORT", allow_unix ? " or unix:PATH" : "",
                   ", got '", address, "'"));
}

ParsedConfig ParseConfig(int argc, const char* const* argv) {
  ParsedConfig parsed;
  Config& c = parsed.config;
  c.cache_dir = DefaultCacheDir();
  c.compile_workers = DefaultCompileWorkers();
  CLI::App app("quernd serves compiled graphs", "quernd");
  // As elsewhere on command lines, the last one of two counts.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.set_version_flag("--version", absl::StrCat("quernd ", kVersion));
  app.set_config("--config", "", "file with lines \"flag=value\"");
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddFlags(app, c);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    // Help and version.
    parsed.message = dynamic_cast<const CLI::CallForVersion*>(&success)
                         ? absl::StrCat(success.what(), "\n")
                         : app.help();
    return parsed;
  } catch (const CLI::ParseError& error) {
    parsed.message = absl::StrCat("quernd: ", error.what(), "\n");
    parsed.exit_code = 1;
    return parsed;
  }
  const absl::Status status = CheckTogether(c);
  if (!status.ok()) {
    parsed.message = absl::StrCat("quernd: ", status.message(), "\n");
    parsed.exit_code = 1;
  }
  return parsed;
}

}  // namespace quern::server
