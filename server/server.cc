// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "server/admission.h"
#include "server/authorizer.h"
#include "server/graph_service.h"
#include "server/graph_store.h"
#include "server/grpc_listener.h"
#include "server/health.h"
#include "server/http_server.h"
#include "server/http_v2.h"
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

// How long a client takes to send again what was just answered or refused.
constexpr absl::Duration kFarewell = absl::Milliseconds(100);
constexpr char kV2ServiceName[] = "inference.GRPCInferenceService";
constexpr char kGraphServiceName[] = "quern.v1.GraphService";
constexpr char kKernelServiceName[] = "quern.v1.KernelService";

absl::StatusOr<std::string> ReadPem(const char* flag, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)),
                   std::istreambuf_iterator<char>());
  if (!file.good() && text.empty()) {
    return absl::NotFoundError(absl::StrCat(flag, ": cannot read ", path));
  }
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> CredentialsOf(
    const Config& config) {
  if (config.tls_cert.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  QUERN_ASSIGN_OR_RETURN(pair.cert_chain,
                         ReadPem("--tls-cert", config.tls_cert));
  QUERN_ASSIGN_OR_RETURN(pair.private_key,
                         ReadPem("--tls-key", config.tls_key));
  options.pem_key_cert_pairs.push_back(std::move(pair));
  if (!config.tls_client_ca.empty()) {
    QUERN_ASSIGN_OR_RETURN(options.pem_root_certs,
                           ReadPem("--tls-client-ca", config.tls_client_ca));
    options.client_certificate_request =
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return grpc::SslServerCredentials(options);
}

// What a peer over gRPC may take up.
void AddLimits(const Config& config, grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             config.grpc_max_streams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             config.grpc_handshake_timeout_s * 1000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             config.grpc_idle_timeout_s * 1000);
}

HttpServerOptions HttpOptionsOf(const Config& config, Admission* admission) {
  HttpServerOptions options;
  options.address = config.http_address;
  options.listener = "http";
  options.flag = "--http-address";
  // They parse and copy; requests are worked on elsewhere.
  options.threads = std::clamp(
      static_cast<int>(std::thread::hardware_concurrency()) / 4, 2, 8);
  options.max_connections = config.http_max_connections;
  options.max_header_bytes = config.http_max_header_bytes;
  options.admission = admission;
  options.idle_timeout = absl::Seconds(config.http_idle_timeout_s);
  options.read_timeout = absl::Seconds(config.http_read_timeout_s);
  options.write_timeout = absl::Seconds(config.http_write_timeout_s);
  options.tls_cert = config.tls_cert;
  options.tls_key = config.tls_key;
  options.tls_client_ca = config.tls_client_ca;
  return options;
}

class GrpcServer final : public Server {
 public:
  GrpcServer(const Config& config, Engine* engine, telemetry::Metrics* metrics,
             Authorizer authorizer, std::unique_ptr<ModelStore> models,
             std::unique_ptr<Repository> repository)
      : config_(config),
        engine_(*engine),
        metrics_(*metrics),
        // Those of a model that have no context read and write tensors.
        requests_("requests", config.request_threads, 2 * config.contexts,
                  config.max_queued_requests),
        loads_("loads", config.load_threads, config.load_threads,
               config.max_queued_loads),
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
                      .requests = &requests_,
                      .loads = &loads_,
                      .metrics = metrics,
                      .max_message_bytes = config.max_message_bytes,
                      .loads_allowed = config.model_control_mode != "poll"}),
        v2_service_(&v2_handlers_, &authorizer_),
        graph_service_({.engine = engine,
                        .authorizer = &authorizer_,
                        .admission = &admission_,
                        .models = models_.get(),
                        .graphs = &graphs_,
                        .requests = &requests_,
                        .loads = &loads_,
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

  ~GrpcServer() override { Shutdown(); }

  absl::Status Listen() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    QUERN_ASSIGN_OR_RETURN(
        const std::shared_ptr<grpc::ServerCredentials> credentials,
        CredentialsOf(config_));
    QUERN_ASSIGN_OR_RETURN(
        grpc_listener_,
        GrpcListener::Bind({.address = config_.grpc_address,
                            .max_connections = config_.grpc_max_connections},
                           &metrics_));
    auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        credentials);
    AddLimits(config_, builder);
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(config_.max_message_bytes));
    builder.SetMaxSendMessageSize(static_cast<int>(config_.max_message_bytes));
    builder.RegisterService(&v2_service_);
    builder.RegisterService(&graph_service_);
    builder.RegisterService(&kernel_service_);
    grpc_ = builder.BuildAndStart();
    if (grpc_ == nullptr) {
      return absl::UnavailableError(
          absl::StrCat("cannot serve at ", config_.grpc_address));
    }
    grpc_listener_->Serve(std::move(acceptor));
    SetHealthy(false);
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
      grpc_listener_->Stop();
      // Waits for the calls in flight; at the deadline they are cancelled.
      grpc_->Shutdown(absl::ToChronoTime(deadline));
      requests_.Shutdown();
      loads_.Shutdown();
      // Both wait for a turn, which takes as long as a load or a device does.
      poller_.reset();
      health_.reset();
      grpc_->Wait();
      grpc_.reset();
    }
    exporter_.reset();
  }

  std::string ReadyLine() const override {
    std::string line =
        absl::StrCat("quernd ready grpc=", grpc_listener_->address());
    if (http_ != nullptr) absl::StrAppend(&line, " http=", http_->address());
    if (exporter_ != nullptr) {
      absl::StrAppend(&line, " metrics=", exporter_->address());
    }
    return line;
  }

 private:
  absl::Status ListenHttp() {
    HttpRouter router = MakeHttpV2Router(
        &v2_handlers_, &authorizer_,
        {.max_message_bytes = config_.max_message_bytes,
         .max_json_bytes =
             std::min(config_.http_max_json_bytes, config_.max_message_bytes)});
    QUERN_ASSIGN_OR_RETURN(
        http_, HttpServer::Start(HttpOptionsOf(config_, &admission_),
                                 std::move(router), &metrics_));
    return absl::OkStatus();
  }

  void SetHealthy(bool healthy) {
    base::MutexLock lock(&ready_mutex_);
    healthy_ = healthy;
    TellReady();
  }

  // gRPC says "cancelled" to a call that comes in the moment in which it shuts
  // down, and no client takes that for an invitation to go elsewhere. So
  // requests are refused with the right word first, until those who have one
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
    if (auto* health = grpc_->GetHealthCheckService(); health != nullptr) {
      health->SetServingStatus(ready);
      health->SetServingStatus("", ready);
      health->SetServingStatus(kV2ServiceName, ready);
      health->SetServingStatus(kGraphServiceName, ready);
      health->SetServingStatus(kKernelServiceName, ready);
    }
    if (ready && at_first_ready_ != nullptr) {
      std::exchange(at_first_ready_, nullptr)();
    }
  }

  const Config config_;
  Engine& engine_;
  telemetry::Metrics& metrics_;
  WorkQueue requests_;
  WorkQueue loads_;
  const std::unique_ptr<ModelStore> models_;
  GraphStore graphs_;
  Admission admission_;
  const Authorizer authorizer_;
  const std::unique_ptr<Repository> repository_;
  V2Handlers v2_handlers_;
  V2Service v2_service_;
  GraphService graph_service_;
  KernelService kernel_service_;
  std::unique_ptr<GrpcListener> grpc_listener_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<MetricsExporter> exporter_;
  base::Mutex ready_mutex_;
  bool healthy_ ABSL_GUARDED_BY(ready_mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(ready_mutex_) = false;
  std::function<void()> at_first_ready_ ABSL_GUARDED_BY(ready_mutex_);
  std::unique_ptr<Periodic> poller_;
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
  auto server = std::make_unique<GrpcServer>(
      config, engine, metrics, std::move(authorizer), std::move(models),
      std::move(repository));
  QUERN_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace quern::server
