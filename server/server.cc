// SPDX-License-Identifier: Apache-2.0
#include "server/server.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "engine/base/status_macros.h"
#include "server/graph_service.h"
#include "server/graph_store.h"
#include "server/metrics_exporter.h"
#include "server/model_store.h"
#include "server/repository.h"
#include "server/v2_service.h"
#include "server/version.h"
#include "server/work_queue.h"

namespace quern::server {
namespace {

constexpr char kV2ServiceName[] = "inference.GRPCInferenceService";
constexpr char kGraphServiceName[] = "quern.v1.GraphService";

std::string FirstDevice(const Engine& engine) {
  const std::vector<DeviceReport> devices = engine.Devices();
  return devices.empty() ? "" : devices[0].name;
}

class GrpcServer final : public Server {
 public:
  GrpcServer(const Config& config, Engine* engine, telemetry::Metrics* metrics)
      : config_(config),
        engine_(*engine),
        metrics_(*metrics),
        requests_("requests", config.request_threads,
                  config.max_queued_requests),
        loads_("loads", config.load_threads, config.max_queued_loads),
        models_(config.max_loaded_models, metrics),
        graphs_(config.max_stored_bytes, config.max_loaded_models, engine,
                metrics),
        v2_service_(&models_, &requests_, metrics, config.max_message_bytes),
        graph_service_({.engine = engine,
                        .models = &models_,
                        .graphs = &graphs_,
                        .requests = &requests_,
                        .loads = &loads_,
                        .metrics = metrics,
                        .max_message_bytes = config.max_message_bytes,
                        .max_graph_bytes = config.max_graph_bytes,
                        .max_graph_nodes = config.max_graph_nodes}) {
    metrics_.Set(telemetry::Metric::kBuildInfo, {kVersion}, 1);
  }

  ~GrpcServer() override { Shutdown(); }

  absl::Status Listen() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(config_.grpc_address,
                             grpc::InsecureServerCredentials(), &port);
    // Two servers at one port would each get a part of the requests.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(config_.max_message_bytes));
    builder.SetMaxSendMessageSize(static_cast<int>(config_.max_message_bytes));
    builder.RegisterService(&v2_service_);
    builder.RegisterService(&graph_service_);
    grpc_ = builder.BuildAndStart();
    if (grpc_ == nullptr || port == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen at ", config_.grpc_address));
    }
    grpc_address_ = absl::StartsWith(config_.grpc_address, "unix:")
                        ? config_.grpc_address
                        : absl::StrCat(config_.grpc_address.substr(
                                           0, config_.grpc_address.rfind(':')),
                                       ":", port);
    SetReady(false);
    if (config_.metrics_address == "none") return absl::OkStatus();
    QUERN_ASSIGN_OR_RETURN(
        exporter_, MetricsExporter::Start(config_.metrics_address, &metrics_,
                                          [this] { return Loaded(); }));
    return absl::OkStatus();
  }

  absl::Status LoadRepository() override {
    if (config_.model_repository.empty()) return absl::OkStatus();
    QUERN_ASSIGN_OR_RETURN(const RepositoryListing listing,
                           ListRepository(config_.model_repository));
    server::LoadRepository(listing,
                           {.device = FirstDevice(engine_),
                            .max_graph_bytes = config_.max_graph_bytes,
                            .max_graph_nodes = config_.max_graph_nodes},
                           engine_, models_, metrics_);
    return absl::OkStatus();
  }

  void SetReady(bool ready) override {
    v2_service_.SetReady(ready);
    grpc::HealthCheckServiceInterface* health = grpc_->GetHealthCheckService();
    if (health == nullptr) return;
    health->SetServingStatus(ready);
    health->SetServingStatus("", ready);
    health->SetServingStatus(kV2ServiceName, ready);
    health->SetServingStatus(kGraphServiceName, ready);
  }

  void Shutdown() override {
    if (grpc_ != nullptr) {
      SetReady(false);
      // Waits for the calls in flight; at the deadline they are cancelled.
      grpc_->Shutdown(std::chrono::system_clock::now() +
                      std::chrono::seconds(config_.shutdown_timeout_s));
      requests_.Shutdown();
      loads_.Shutdown();
      grpc_->Wait();
      grpc_.reset();
    }
    exporter_.reset();
  }

  std::string ReadyLine() const override {
    std::string line = absl::StrCat("quernd ready grpc=", grpc_address_);
    if (exporter_ != nullptr) {
      absl::StrAppend(&line, " metrics=", exporter_->address());
    }
    return line;
  }

 private:
  std::vector<std::shared_ptr<const LoadedModel>> Loaded() const {
    std::vector<std::shared_ptr<const LoadedModel>> all = graphs_.Loaded();
    for (ModelVersion& version : models_.List()) {
      if (version.loaded != nullptr) all.push_back(std::move(version.loaded));
    }
    return all;
  }

  const Config config_;
  Engine& engine_;
  telemetry::Metrics& metrics_;
  WorkQueue requests_;
  WorkQueue loads_;
  ModelStore models_;
  GraphStore graphs_;
  V2Service v2_service_;
  GraphService graph_service_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<MetricsExporter> exporter_;
  std::string grpc_address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const Config& config, Engine* engine, telemetry::Metrics* metrics) {
  auto server = std::make_unique<GrpcServer>(config, engine, metrics);
  QUERN_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace quern::server
