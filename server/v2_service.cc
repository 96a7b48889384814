// SPDX-License-Identifier: Apache-2.0
#include "server/v2_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "server/codec.h"
#include "server/inference.h"
#include "server/rpc.h"
#include "server/version.h"

namespace quern::server {
namespace {

grpc::ServerUnaryReactor* Done(grpc::CallbackServerContext* context,
                               const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

void Describe(const TensorSpec& spec,
              inference::ModelMetadataResponse::TensorMetadata* metadata) {
  metadata->set_name(spec.name);
  metadata->set_datatype(V2Name(spec.dtype));
  for (int64_t dim : spec.dims) metadata->add_shape(dim);
}

// The earlier of the client's deadline and the request's own "timeout", which
// is in microseconds.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context,
                      const inference::ModelInferRequest& request) {
  absl::Time deadline = server::DeadlineOf(context);
  const auto timeout = request.parameters().find("timeout");
  if (timeout != request.parameters().end() &&
      timeout->second.int64_param() > 0) {
    deadline = std::min(
        deadline,
        absl::Now() + absl::Microseconds(timeout->second.int64_param()));
  }
  return deadline;
}

// Answers a stream once, with an error.
class RefusedStream final
    : public grpc::ServerBidiReactor<inference::ModelInferRequest,
                                     inference::ModelStreamInferResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

V2Service::V2Service(const ModelStore* models, WorkQueue* requests,
                     telemetry::Metrics* metrics, int64_t max_message_bytes)
    : models_(*models),
      requests_(*requests),
      metrics_(*metrics),
      max_message_bytes_(max_message_bytes),
      in_flight_(metrics->GetNumber(telemetry::Metric::kRequestsInFlight)) {}

grpc::ServerUnaryReactor* V2Service::ServerLive(
    Context* context, const inference::ServerLiveRequest*,
    inference::ServerLiveResponse* response) {
  response->set_live(true);
  return Done(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* V2Service::ServerReady(
    Context* context, const inference::ServerReadyRequest*,
    inference::ServerReadyResponse* response) {
  response->set_ready(ready_.load());
  return Done(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* V2Service::ModelReady(
    Context* context, const inference::ModelReadyRequest* request,
    inference::ModelReadyResponse* response) {
  const auto model = models_.Find(request->name(), request->version());
  response->set_ready(model.ok());
  // A model that is loading is known and not ready; that is an answer.
  if (absl::IsUnavailable(model.status())) {
    return Done(context, absl::OkStatus());
  }
  return Done(context, model.status());
}

grpc::ServerUnaryReactor* V2Service::ServerMetadata(
    Context* context, const inference::ServerMetadataRequest*,
    inference::ServerMetadataResponse* response) {
  response->set_name(kServerName);
  response->set_version(kVersion);
  return Done(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* V2Service::ModelMetadata(
    Context* context, const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  const auto found = models_.Find(request->name(), request->version());
  if (!found.ok()) return Done(context, found.status());
  response->set_name(found->name);
  for (const ModelVersion& version : models_.List()) {
    if (version.name == found->name && version.loaded != nullptr) {
      response->add_versions(absl::StrCat(version.version));
    }
  }
  response->set_platform("quern");
  const Model& model = found->loaded->model();
  for (const TensorSpec& spec : model.inputs()) {
    Describe(spec, response->add_inputs());
  }
  for (const TensorSpec& spec : model.outputs()) {
    Describe(spec, response->add_outputs());
  }
  return Done(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* V2Service::ModelInfer(
    Context* context, const inference::ModelInferRequest* request,
    inference::ModelInferResponse* response) {
  const int64_t arrival_ns = telemetry::Clock::NowNs();
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  in_flight_->Add(1);
  const absl::Status accepted = requests_.Add([=, this] {
    const absl::Status status =
        Infer(*context, arrival_ns, *request, *response);
    in_flight_->Add(-1);
    reactor->Finish(ToGrpc(status));
  });
  if (!accepted.ok()) {
    in_flight_->Add(-1);
    metrics_.Add(telemetry::Metric::kRejectedRequests,
                 {absl::IsUnavailable(accepted) ? "draining" : "limit"});
    reactor->Finish(ToGrpc(accepted));
  }
  return reactor;
}

absl::Status V2Service::Infer(const Context& context, int64_t arrival_ns,
                              const inference::ModelInferRequest& request,
                              inference::ModelInferResponse& response) {
  const absl::StatusOr<ModelVersion> found =
      models_.Find(request.model_name(), request.model_version());
  if (!found.ok()) {
    // Names that clients make up are no labels.
    metrics_.Add(telemetry::Metric::kRequests,
                 {"_unknown", CodeName(found.status().code())});
    return found.status();
  }
  const Model& model = found->loaded->model();
  RunTimes times;
  const absl::Status status = [&]() -> absl::Status {
    if (context.IsCancelled()) {
      return absl::CancelledError("the client has gone");
    }
    const absl::Time deadline = DeadlineOf(context, request);
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(
          "the deadline passed before the request was run");
    }
    QUERN_RETURN_IF_ERROR(CheckParameters(request));
    QUERN_ASSIGN_OR_RETURN(const Inputs inputs,
                           DecodeInputs(request, model.inputs()));
    std::vector<std::string> names;
    for (const auto& output : request.outputs()) {
      names.push_back(output.name());
    }
    QUERN_ASSIGN_OR_RETURN(std::vector<int> selected,
                           SelectOutputs(names, model.outputs()));
    QUERN_ASSIGN_OR_RETURN(
        const PreparedRun run,
        Prepare(model, inputs.views, std::move(selected), max_message_bytes_));
    std::vector<std::string*> targets;
    for (int index : run.selected) {
      const TensorSpec& spec = model.outputs()[index];
      inference::ModelInferResponse::InferOutputTensor* output =
          response.add_outputs();
      output->set_name(spec.name);
      output->set_datatype(V2Name(spec.dtype));
      for (int64_t dim : run.binding.output_dims[index]) {
        output->add_shape(dim);
      }
      targets.push_back(response.add_raw_output_contents());
    }
    QUERN_ASSIGN_OR_RETURN(
        times, RunInto(model, run, inputs.views, targets, deadline));
    response.set_model_name(found->name);
    response.set_model_version(absl::StrCat(found->version));
    response.set_id(request.id());
    return absl::OkStatus();
  }();
  found->loaded->CountRequest(
      status.code(), telemetry::Clock::NowNs() - arrival_ns, times.queue_ns);
  return status;
}

grpc::ServerUnaryReactor* V2Service::RepositoryIndex(
    Context* context, const inference::RepositoryIndexRequest* request,
    inference::RepositoryIndexResponse* response) {
  for (const ModelVersion& version : models_.List()) {
    if (request->ready() && version.loaded == nullptr) continue;
    inference::RepositoryIndexResponse::ModelIndex* model =
        response->add_models();
    model->set_name(version.name);
    model->set_version(absl::StrCat(version.version));
    model->set_state(version.state);
    model->set_reason(version.reason);
  }
  return Done(context, absl::OkStatus());
}

grpc::ServerBidiReactor<inference::ModelInferRequest,
                        inference::ModelStreamInferResponse>*
V2Service::ModelStreamInfer(Context*) {
  return new RefusedStream(absl::UnimplementedError(
      "streams of inferences are not supported by this version, send each "
      "request by ModelInfer"));
}

#define QUERN_UNIMPLEMENTED(method, sentence)                 \
  grpc::ServerUnaryReactor* V2Service::method(                \
      Context* context, const inference::method##Request*,    \
      inference::method##Response*) {                         \
    return Done(context, absl::UnimplementedError(sentence)); \
  }
QUERN_UNIMPLEMENTED(ModelConfig,
                    "model settings are not supported by this version, "
                    "ModelMetadata describes the inputs and outputs")
QUERN_UNIMPLEMENTED(ModelStatistics,
                    "statistics in this form are not supported by this "
                    "version, see the metrics and GraphService.ListKernels")
QUERN_UNIMPLEMENTED(RepositoryModelLoad,
                    "loading by this call is not supported by this version, "
                    "use GraphService.Submit and GraphService.Publish")
QUERN_UNIMPLEMENTED(RepositoryModelUnload,
                    "unloading by this call is not supported by this version, "
                    "use GraphService.Unpublish")
QUERN_UNIMPLEMENTED(SystemSharedMemoryStatus,
                    "shared memory is not supported by this version")
QUERN_UNIMPLEMENTED(SystemSharedMemoryRegister,
                    "shared memory is not supported by this version")
QUERN_UNIMPLEMENTED(SystemSharedMemoryUnregister,
                    "shared memory is not supported by this version")
QUERN_UNIMPLEMENTED(CudaSharedMemoryStatus,
                    "CUDA memory is not supported by this version")
QUERN_UNIMPLEMENTED(CudaSharedMemoryRegister,
                    "CUDA memory is not supported by this version")
QUERN_UNIMPLEMENTED(CudaSharedMemoryUnregister,
                    "CUDA memory is not supported by this version")
QUERN_UNIMPLEMENTED(TraceSetting, "traces are not supported by this version")
QUERN_UNIMPLEMENTED(LogSettings,
                    "log settings cannot be changed by this version, start "
                    "the server with --log-level")
#undef QUERN_UNIMPLEMENTED

}  // namespace quern::server
