// SPDX-License-Identifier: Apache-2.0
#include "server/v2_service.h"

#include "server/rpc.h"

namespace quern::server {
namespace {

// Answers a stream once, with an error.
class RefusedStream final
    : public grpc::ServerBidiReactor<inference::ModelInferRequest,
                                     inference::ModelStreamInferResponse> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

#define QUERN_V2_METHOD(method, access)                                  \
  grpc::ServerUnaryReactor* V2Service::method(                           \
      Context* context, const inference::method##Request* request,       \
      inference::method##Response* response) {                           \
    return Unary(                                                        \
        context, authorizer_, access, [&](const Call& call, Done done) { \
          handlers_.method(call, *request, *response, std::move(done));  \
        });                                                              \
  }
QUERN_V2_METHOD(ServerLive, Access::kPublic)
QUERN_V2_METHOD(ServerReady, Access::kPublic)
QUERN_V2_METHOD(ModelReady, Access::kPublic)
QUERN_V2_METHOD(ServerMetadata, Access::kInference)
QUERN_V2_METHOD(ModelMetadata, Access::kInference)
QUERN_V2_METHOD(ModelInfer, Access::kInference)
QUERN_V2_METHOD(ModelConfig, Access::kInference)
QUERN_V2_METHOD(ModelStatistics, Access::kInference)
QUERN_V2_METHOD(RepositoryIndex, Access::kInference)
QUERN_V2_METHOD(RepositoryModelLoad, Access::kAdmin)
QUERN_V2_METHOD(RepositoryModelUnload, Access::kAdmin)
QUERN_V2_METHOD(SystemSharedMemoryStatus, Access::kInference)
QUERN_V2_METHOD(SystemSharedMemoryRegister, Access::kInference)
QUERN_V2_METHOD(SystemSharedMemoryUnregister, Access::kInference)
QUERN_V2_METHOD(CudaSharedMemoryStatus, Access::kInference)
QUERN_V2_METHOD(CudaSharedMemoryRegister, Access::kInference)
QUERN_V2_METHOD(CudaSharedMemoryUnregister, Access::kInference)
QUERN_V2_METHOD(TraceSetting, Access::kAdmin)
QUERN_V2_METHOD(LogSettings, Access::kAdmin)
#undef QUERN_V2_METHOD

grpc::ServerBidiReactor<inference::ModelInferRequest,
                        inference::ModelStreamInferResponse>*
V2Service::ModelStreamInfer(Context* context) {
  const absl::Status status =
      Authorize(*context, authorizer_, Access::kInference);
  return new RefusedStream(
      status.ok() ? absl::UnimplementedError(
                        "streams of inferences are not supported by this "
                        "version, send each request by ModelInfer")
                  : status);
}

}  // namespace quern::server
