// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <malloc.h>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "server/admission.h"
#include "server/authorizer.h"
#include "server/graph_service.h"
#include "server/graph_store.h"
#include "server/grpc/grpc_health.h"
#include "server/grpc/grpc_reflection.h"
#include "server/grpc/grpc_server.h"
#include "server/health.h"
#include "server/http/http_server.h"
#include "server/http/http_v2.h"
#include "server/kernel_service.h"
#include "server/metrics_exporter.h"
#include "server/model_store.h"
#include "server/periodic.h"
#include "server/repository.h"
#include "server/subject.h"
#include "server/v2_handlers.h"
#include "server/v2_service.h"
#include "server/version.h"
#include "server/work_queue.h"

namespace quern::server {
namespace {

// Requests go before the reading of long ones, and before loads, as before the
// processes that compile for them.
constexpr int kDecodeNiceness = 5;
constexpr int kLoadNiceness = 10;
// How long a client takes to send again what was just answered or refused.
constexpr absl::Duration kFarewell = absl::Milliseconds(100);
// A burst of requests is over when this long no more than this many bytes of
// them were in flight.
constexpr absl::Duration kQuiet = absl::Seconds(10);
constexpr int64_t kBurstBytes = int64_t{64} << 20;

// Of those that read and write the wire; requests are worked on elsewhere.
int WireThreads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 4,
                    2, 8);
}

// What the listeners of requests have in common.
template <typename Options>
Options ListenerOptionsOf(const Config& config) {
  Options options;
  options.threads = WireThreads();
  options.tls_cert = config.tls_cert;
  options.tls_key = config.tls_key;
  options.tls_client_ca = config.tls_client_ca;
  return options;
}

GrpcServerOptions GrpcOptionsOf(const Config& config, Admission* admission,
                                WorkQueue* decodes) {
  auto options = ListenerOptionsOf<GrpcServerOptions>(config);
  options.address = config.grpc_address;
  options.flag = "--grpc-address";
  options.tls_protocol = "\x02h2";
  options.max_connections = config.grpc_max_connections;
  options.max_streams = config.grpc_max_streams;
  options.max_message_bytes = config.max_message_bytes;
  options.admission = admission;
  options.defer = [decodes](const void* owner, std::function<void()> work) {
    return decodes->Add(owner, std::move(work));
  };
  options.handshake_timeout = absl::Seconds(config.grpc_handshake_timeout_s);
  options.idle_timeout = absl::Seconds(config.grpc_idle_timeout_s);
  options.read_timeout = absl::Seconds(config.grpc_read_timeout_s);
  options.write_timeout = absl::Seconds(config.grpc_write_timeout_s);
  return options;
}

HttpServerOptions HttpOptionsOf(const Config& config, Admission* admission) {
  auto options = ListenerOptionsOf<HttpServerOptions>(config);
  options.address = config.http_address;
  options.listener = "http";
  options.flag = "--http-address";
  options.max_connections = config.http_max_connections;
  options.max_header_bytes = config.http_max_header_bytes;
  options.admission = admission;
  options.idle_timeout = absl::Seconds(config.http_idle_timeout_s);
  options.read_timeout = absl::Seconds(config.http_read_timeout_s);
  options.write_timeout = absl::Seconds(config.http_write_timeout_s);
  return options;
}

class DaemonServer final : public Server {
 public:
  DaemonServer(const Config& config, Engine* engine,
               telemetry::Metrics* metrics, Authorizer authorizer,
               std::unique_ptr<ModelStore> models,
               std::unique_ptr<Repository> repository)
      : config_(config),
        engine_(*engine),
        metrics_(*metrics),
        decodes_("long messages", WireThreads(), WireThreads(),
                 config.max_queued_requests, kDecodeNiceness),
        // Those of a model that have no context read and write tensors.
        requests_("requests", config.request_threads, 2 * config.contexts,
                  config.max_queued_requests),
        loads_("loads", config.load_threads, config.load_threads,
               config.max_queued_loads, kLoadNiceness),
        measurements_("measurements", 1, 1, config.max_queued_loads),
        models_(std::move(models)),
        graphs_(config.max_stored_bytes, config.max_loaded_models, engine),
        admission_({.pending_per_model = config.max_pending_per_model,
                    .bytes_in_flight = config.max_bytes_in_flight},
                   metrics),
        authorizer_(std::move(authorizer)),
        repository_(std::move(repository)),
        v2_handlers_({.models = models_.get(),
                      .repository = repository_.get(),
                      .admission = &admission_,
                      .decodes = &decodes_,
                      .requests = &requests_,
                      .loads = &loads_,
                      .metrics = metrics,
                      .max_message_bytes = config.max_message_bytes,
                      .loads_allowed = config.model_control_mode != "poll"}),
        graph_service_({.engine = engine,
                        .authorizer = &authorizer_,
                        .admission = &admission_,
                        .models = models_.get(),
                        .graphs = &graphs_,
                        .requests = &requests_,
                        .loads = &loads_,
                        .measurements = &measurements_,
                        .metrics = metrics,
                        .max_message_bytes = config.max_message_bytes,
                        .max_graph_bytes = config.max_graph_bytes,
                        .max_graph_nodes = config.max_graph_nodes}),
        kernel_service_({.engine = engine,
                         .authorizer = &authorizer_,
                         .models = models_.get(),
                         .graphs = &graphs_,
                         .metrics = metrics,
                         .max_message_bytes = config.max_message_bytes,
                         .max_watches = config.max_watches}) {
    metrics_.Set(telemetry::Metric::kBuildInfo, {kVersion}, 1);
  }

  ~DaemonServer() override { Shutdown(); }

  absl::Status Listen() {
    GrpcMethods methods;
    AddV2Service(&v2_handlers_, &authorizer_, methods);
    graph_service_.AddTo(methods);
    kernel_service_.AddTo(methods);
    grpc_health_.AddTo(&authorizer_, methods);
    AddReflection(&authorizer_, Services(), methods);
    QUERN_ASSIGN_OR_RETURN(
        grpc_, StartGrpcServer(GrpcOptionsOf(config_, &admission_, &decodes_),
                               std::move(methods), &metrics_));
    if (config_.http_address != "none") QUERN_RETURN_IF_ERROR(ListenHttp());
    if (config_.metrics_address == "none") return absl::OkStatus();
    QUERN_ASSIGN_OR_RETURN(exporter_,
                           MetricsExporter::Start(
                               config_.metrics_address, &metrics_,
                               [this] { return AllLoaded(*models_, graphs_); },
                               config_.triton_metrics));
    return absl::OkStatus();
  }

  void LoadModels() override {
    if (config_.model_repository.empty()) return;
    const bool is_explicit = config_.model_control_mode == "explicit";
    if (!is_explicit || !config_.load_models.empty()) {
      repository_->LoadAll(config_.load_models);
    }
    if (config_.model_control_mode == "poll") {
      poller_ =
          std::make_unique<Periodic>(absl::Seconds(config_.repository_poll_s),
                                     [this] { repository_->Poll(); });
    }
  }

  // Ready from now on, as long as the devices are well.
  void Serve(std::function<void()> at_first) override {
    housekeeping_ = std::make_unique<Periodic>(kQuiet, [this] { TrimHeap(); });
    {
      base::MutexLock lock(&ready_mutex_);
      at_first_ready_ = std::move(at_first);
    }
    health_ = std::make_unique<HealthMonitor>(
        &engine_, &metrics_, absl::Seconds(config_.canary_timeout_s),
        [this](bool healthy) { SetHealthy(healthy); });
  }

  void Shutdown() override {
    if (grpc_ != nullptr) {
      // Nobody comes to what was never ready.
      if (SetDraining()) {
        absl::SleepFor(absl::Seconds(config_.shutdown_delay_s));
      }
      const absl::Time deadline =
          absl::Now() + absl::Seconds(config_.shutdown_timeout_s);
      // HTTP needs no farewell: what it has read, it answers.
      if (http_ != nullptr) http_->Stop(deadline);
      ServeOut(deadline);
      kernel_service_.EndWatches();
      grpc_health_.EndWatches();
      // Waits for the calls in flight; at the deadline they are cancelled.
      grpc_->Stop(deadline);
      decodes_.Shutdown();
      requests_.Shutdown();
      loads_.Shutdown();
      measurements_.Shutdown();
      // Both wait for a turn, which takes as long as a load or a device does.
      poller_.reset();
      housekeeping_.reset();
      health_.reset();
      grpc_.reset();
    }
    exporter_.reset();
  }

  std::string ReadyLine() const override {
    std::string line = absl::StrCat("quernd ready grpc=", grpc_->address());
    if (http_ != nullptr) absl::StrAppend(&line, " http=", http_->address());
    if (exporter_ != nullptr) {
      absl::StrAppend(&line, " metrics=", exporter_->address());
    }
    return line;
  }

 private:
  static std::vector<std::string> Services() {
    return {kV2ServiceName, kGraphServiceName, kKernelServiceName,
            "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"};
  }

  absl::Status ListenHttp() {
    HttpRouter router = MakeHttpV2Router(
        &v2_handlers_, &authorizer_,
        {.max_message_bytes = config_.max_message_bytes,
         .max_json_bytes =
             std::min(config_.http_max_json_bytes, config_.max_message_bytes)});
    QUERN_ASSIGN_OR_RETURN(http_,
                           StartHttpServer(HttpOptionsOf(config_, &admission_),
                                           std::move(router), &metrics_));
    return absl::OkStatus();
  }

  // What a burst of requests has left in the heap goes back to the system once
  // it is over: not before, since what comes next needs it again.
  void TrimHeap() {
    const bool burst = admission_.TakeMostBytes() > kBurstBytes;
    if (!burst && after_burst_) malloc_trim(0);
    after_burst_ = burst;
  }

  void SetHealthy(bool healthy) {
    base::MutexLock lock(&ready_mutex_);
    healthy_ = healthy;
    TellReady();
  }

  // A client whose connection ends may not know whether its request was begun.
  // So requests are refused with the right word first, until those who have one
  // under way have been told.
  void ServeOut(absl::Time deadline) {
    admission_.Close();
    while (admission_.entered() > 0 && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    absl::SleepFor(kFarewell);
  }

  // Whether the devices were well.
  bool SetDraining() {
    base::MutexLock lock(&ready_mutex_);
    draining_ = true;
    TellReady();
    return healthy_;
  }

  // Ready is who is well and is not asked to end, whichever came last.
  void TellReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(ready_mutex_) {
    const bool ready = healthy_ && !draining_;
    v2_handlers_.SetReady(ready);
    grpc_health_.SetServing(ready);
    if (ready && at_first_ready_ != nullptr) {
      std::exchange(at_first_ready_, nullptr)();
    }
  }

  const Config config_;
  Engine& engine_;
  telemetry::Metrics& metrics_;
  WorkQueue decodes_;
  WorkQueue requests_;
  WorkQueue loads_;
  WorkQueue measurements_;
  const std::unique_ptr<ModelStore> models_;
  GraphStore graphs_;
  Admission admission_;
  const Authorizer authorizer_;
  const std::unique_ptr<Repository> repository_;
  V2Handlers v2_handlers_;
  GraphService graph_service_;
  KernelService kernel_service_;
  GrpcHealth grpc_health_{Services()};
  std::unique_ptr<Listener> grpc_;
  std::unique_ptr<Listener> http_;
  std::unique_ptr<MetricsExporter> exporter_;
  base::Mutex ready_mutex_;
  bool healthy_ ABSL_GUARDED_BY(ready_mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(ready_mutex_) = false;
  std::function<void()> at_first_ready_ ABSL_GUARDED_BY(ready_mutex_);
  std::unique_ptr<Periodic> poller_;
  bool after_burst_ = false;  // At the last turn of the housekeeping.
  std::unique_ptr<Periodic> housekeeping_;
  std::unique_ptr<HealthMonitor> health_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const Config& config, Engine* engine, telemetry::Metrics* metrics) {
  Authorizer authorizer;
  if (!config.token_file.empty()) {
    QUERN_ASSIGN_OR_RETURN(authorizer, Authorizer::FromFile(config.token_file));
  }
  auto models = std::make_unique<ModelStore>(config.max_loaded_models, metrics);
  QUERN_ASSIGN_OR_RETURN(
      std::unique_ptr<Repository> repository,
      Repository::Open({.folder = config.model_repository,
                        .device = DefaultDevice(*engine),
                        .max_graph_bytes = config.max_graph_bytes,
                        .max_graph_nodes = config.max_graph_nodes,
                        .threads = config.load_threads},
                       engine, models.get()));
  auto server = std::make_unique<DaemonServer>(
      config, engine, metrics, std::move(authorizer), std::move(models),
      std::move(repository));
  QUERN_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace quern::server
