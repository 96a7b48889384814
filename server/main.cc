// SPDX-License-Identifier: Apache-2.0
//
// quernd: the daemon. The only place that sees both the engine and the
// backends.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <signal.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <spdlog/spdlog.h>

#include "backends/register_all.h"
#include "backends/worker/pool.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "server/config.h"
#include "server/log.h"
#include "server/server.h"
#include "server/version.h"

namespace quern::server {
namespace {

// For cancelled requests to see that they are, beyond --shutdown-timeout.
constexpr std::chrono::seconds kEndGrace{3};

// The devices to open: those named, or for "auto" all that can be opened, the
// null device excepted, which computes nothing.
std::vector<std::string> DevicesOf(
    const Config& config,
    const std::vector<std::unique_ptr<runtime::Backend>>& backends,
    const runtime::DeviceOptions& options) {
  if (config.devices != std::vector<std::string>{"auto"}) {
    return config.devices;
  }
  std::vector<std::string> devices;
  for (const auto& backend : backends) {
    if (backend->name() == "null") continue;
    const absl::Status status = backend->Open(0, options).status();
    if (status.ok()) {
      devices.push_back(backend->name());
    } else {
      spdlog::info("device {} is not available: {}", backend->name(),
                   std::string(status.message()));
    }
  }
  return devices;
}

absl::StatusOr<std::unique_ptr<runtime::Assembler>> MakeAssembler(
    const Config& config,
    const std::vector<std::unique_ptr<runtime::Backend>>& backends,
    telemetry::Metrics& metrics) {
  if (config.compile_workers == 0) {
    std::vector<const runtime::Backend*> all;
    for (const auto& backend : backends) all.push_back(backend.get());
    return runtime::MakeInProcessAssembler(
        std::move(all),
        std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  }
  worker::WorkerPoolOptions options;
  options.program = worker::ProgramBesideThis();
  options.workers = config.compile_workers;
  options.limits.time = std::chrono::seconds(config.compile_timeout_s);
  options.limits.memory_bytes = config.compile_memory_bytes;
  options.on_replacement = [&metrics] {
    metrics.Add(telemetry::Metric::kCompileWorkerReplacements, {});
    spdlog::warn("a compile worker was replaced");
  };
  return worker::MakeWorkerPool(options);
}

// Sends this process SIGTERM when the standard input ends.
void StopOnStdinEof() {
  std::thread([] {
    char byte = 0;
    while (true) {
      const ssize_t n = read(STDIN_FILENO, &byte, 1);
      if (n > 0 || (n < 0 && errno == EINTR)) continue;
      kill(getpid(), SIGTERM);
      return;
    }
  }).detach();
}

// Waits for a signal to end; a second one ends the process at once.
void WaitForSignal(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("signal {}: no new work is taken", signal);
  std::thread([signals] {
    int again = 0;
    sigwait(&signals, &again);
    spdlog::warn("signal {} again: ending at once", again);
    std::_Exit(128 + again);
  }).detach();
}

// Ends the process if it has not ended after `limit`: what hangs, as a kernel
// may, must not keep it for ever.
void EndWithin(std::chrono::seconds limit) {
  std::thread([limit] {
    std::this_thread::sleep_for(limit);
    spdlog::error("still at work {} s after the signal: ending now",
                  limit.count());
    std::_Exit(1);
  }).detach();
}

absl::Status Serve(const Config& config, const sigset_t& signals) {
  telemetry::Metrics metrics;
  std::vector<std::unique_ptr<runtime::Backend>> backends = MakeAllBackends();
  QUERN_ASSIGN_OR_RETURN(std::unique_ptr<runtime::Assembler> assembler,
                         MakeAssembler(config, backends, metrics));
  EngineOptions options;
  options.device_options.threads = config.threads;
  options.device_options.isa = config.cpu_isa;
  options.devices = DevicesOf(config, backends, options.device_options);
  options.cache_dir = config.cache_dir;
  options.cache_bytes = config.cache_bytes;
  options.contexts_per_model = config.contexts;
  options.max_graph_nodes = config.max_graph_nodes;
  options.max_arena_bytes = config.max_arena_bytes;
  options.max_device_bytes = config.max_device_bytes;
  options.calibrate = true;
  QUERN_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                         Engine::Create(options, std::move(backends),
                                        std::move(assembler), &metrics));
  QUERN_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                         Server::Start(config, engine.get(), &metrics));
  server->LoadModels();
  server->Serve([line = server->ReadyLine()] {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  });
  if (config.stop_on_stdin_eof) StopOnStdinEof();
  WaitForSignal(signals);
  EndWithin(std::chrono::seconds(config.shutdown_delay_s +
                                 config.shutdown_timeout_s) +
            kEndGrace);
  server->Shutdown();
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  const ParsedConfig parsed = ParseConfig(argc, argv);
  if (!parsed.message.empty()) {
    std::fputs(parsed.message.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  signal(SIGPIPE, SIG_IGN);
  // Blocked here, before there are threads, so that all of them inherit it and
  // only the main thread takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  StartLog(parsed.config.log_format, parsed.config.log_level);
  const absl::Status status = Serve(parsed.config, signals);
  if (status.ok()) {
    spdlog::info("ended");
    return 0;
  }
  spdlog::error("{}", std::string(status.message()));
  return 1;
}

}  // namespace
}  // namespace quern::server

int main(int argc, char** argv) { return quern::server::Main(argc, argv); }
