// SPDX-License-Identifier: Apache-2.0
#include "server/config.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <CLI/CLI.hpp>

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

void AddFlags(CLI::App& app, Config& c) {
  app.add_option("--grpc-address", c.grpc_address,
                 "HOST:PORT or unix:PATH for gRPC; port 0 picks a free one")
      ->capture_default_str();
  app.add_option("--metrics-address", c.metrics_address,
                 "HOST:PORT for Prometheus, or none")
      ->capture_default_str();
  app.add_option("--model-repository", c.model_repository,
                 "folder with NAME/VERSION/model.onnx");
  app.add_option("--devices", c.devices,
                 "devices to open, the first is the default: auto, or names as "
                 "cpu,ref")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--cache-dir", c.cache_dir,
                 "folder for compiled kernels; empty for none")
      ->capture_default_str();
  app.add_option("--cache-bytes", c.cache_bytes, "size of that folder at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", c.threads,
                 "threads of a device; 0: as many as this process may use")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--contexts", c.contexts,
                 "requests of a model that run at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--request-threads", c.request_threads,
                 "requests that run or wait for a context at once")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--max-queued-requests", c.max_queued_requests,
                 "requests that wait at most; more are refused")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--load-threads", c.load_threads,
                 "loads, benchmarks and explanations at once")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--max-queued-loads", c.max_queued_loads,
                 "loads and the like that wait at most")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-message-bytes", c.max_message_bytes,
                 "size of a message at most, received or sent")
      ->check(CLI::Range(int64_t{1024}, int64_t{2147483647}))
      ->capture_default_str();
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
  app.add_option("--shutdown-timeout", c.shutdown_timeout_s,
                 "seconds that requests have to end after SIGTERM")
      ->check(CLI::Range(0, 86'400))
      ->capture_default_str();
  app.add_flag("--stop-on-stdin-eof", c.stop_on_stdin_eof,
               "end when the standard input ends");
  app.add_option("--log-level", c.log_level, "how much is logged")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
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
  app.add_option("--http-address", c.http_address,
                 "accepted and not served by this version");
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
  absl::Status status;
  if (auto bad = CheckAddress(c.grpc_address, true); !bad.ok()) {
    status = absl::InvalidArgumentError(
        absl::StrCat("--grpc-address: ", bad.message()));
  } else if (c.metrics_address != "none") {
    if (auto bad = CheckAddress(c.metrics_address, false); !bad.ok()) {
      status = absl::InvalidArgumentError(
          absl::StrCat("--metrics-address: ", bad.message()));
    }
  }
  if (!status.ok()) {
    parsed.message = absl::StrCat("quernd: ", status.message(), "\n");
    parsed.exit_code = 1;
  }
  return parsed;
}

}  // namespace quern::server
