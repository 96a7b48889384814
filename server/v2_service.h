// SPDX-License-Identifier: Apache-2.0
//
// The V2 inference protocol: translates requests for models of the store.
//
// gRPC calls it from its own threads, which do no more than hand inferences to
// the queue. Inputs are read where they lie in the request, outputs are written
// into the response.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"

#include "engine/telemetry/metrics.h"
#include "proto/inference/grpc_service.grpc.pb.h"
#include "server/model_store.h"
#include "server/work_queue.h"

namespace quern::server {

class V2Service final
    : public inference::GRPCInferenceService::CallbackService {
 public:
  // All outlive the service.
  V2Service(const ModelStore* models, WorkQueue* requests,
            telemetry::Metrics* metrics, int64_t max_message_bytes);

  // Whether ServerReady says yes.
  void SetReady(bool ready) { ready_.store(ready); }

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* ServerLive(Context* context,
                      const inference::ServerLiveRequest* request,
                      inference::ServerLiveResponse* response) override;
  Reactor* ServerReady(Context* context,
                       const inference::ServerReadyRequest* request,
                       inference::ServerReadyResponse* response) override;
  Reactor* ModelReady(Context* context,
                      const inference::ModelReadyRequest* request,
                      inference::ModelReadyResponse* response) override;
  Reactor* ServerMetadata(Context* context,
                          const inference::ServerMetadataRequest* request,
                          inference::ServerMetadataResponse* response) override;
  Reactor* ModelMetadata(Context* context,
                         const inference::ModelMetadataRequest* request,
                         inference::ModelMetadataResponse* response) override;
  Reactor* ModelInfer(Context* context,
                      const inference::ModelInferRequest* request,
                      inference::ModelInferResponse* response) override;
  Reactor* RepositoryIndex(
      Context* context, const inference::RepositoryIndexRequest* request,
      inference::RepositoryIndexResponse* response) override;

  // What this version does not have answers so.
  grpc::ServerBidiReactor<inference::ModelInferRequest,
                          inference::ModelStreamInferResponse>*
  ModelStreamInfer(Context* context) override;
#define QUERN_UNIMPLEMENTED(method)                                    \
  Reactor* method(Context* context, const inference::method##Request*, \
                  inference::method##Response*) override
  QUERN_UNIMPLEMENTED(ModelConfig);
  QUERN_UNIMPLEMENTED(ModelStatistics);
  QUERN_UNIMPLEMENTED(RepositoryModelLoad);
  QUERN_UNIMPLEMENTED(RepositoryModelUnload);
  QUERN_UNIMPLEMENTED(SystemSharedMemoryStatus);
  QUERN_UNIMPLEMENTED(SystemSharedMemoryRegister);
  QUERN_UNIMPLEMENTED(SystemSharedMemoryUnregister);
  QUERN_UNIMPLEMENTED(CudaSharedMemoryStatus);
  QUERN_UNIMPLEMENTED(CudaSharedMemoryRegister);
  QUERN_UNIMPLEMENTED(CudaSharedMemoryUnregister);
  QUERN_UNIMPLEMENTED(TraceSetting);
  QUERN_UNIMPLEMENTED(LogSettings);
#undef QUERN_UNIMPLEMENTED

  // One inference, to its end.
  absl::Status Infer(const Context& context, int64_t arrival_ns,
                     const inference::ModelInferRequest& request,
                     inference::ModelInferResponse& response);

  const ModelStore& models_;
  WorkQueue& requests_;
  telemetry::Metrics& metrics_;
  const int64_t max_message_bytes_;
  std::atomic<bool> ready_ = false;
  std::shared_ptr<telemetry::Number> in_flight_;
};

}  // namespace quern::server
