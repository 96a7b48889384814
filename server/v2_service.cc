// SPDX-License-Identifier: Apache-2.0
#include "server/v2_service.h"

#include "server/rpc.h"

namespace quern::server {
namespace {

// Answers a stream once, with an error.
class Refusal final
    : public grpc::ServerBidiReactor<inference::ModelInferRequest,
                                     inference::ModelStreamInferResponse> {
 public:
  explicit Refusal(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

#define QUERN_V2_METHOD(method, access)                            \
  grpc::ServerUnaryReactor* V2Service::method(                     \
      Context* context, const inference::method##Request* request, \
      inference::method##Response* response) {                     \
    return Unary(context, authorizer_, Access::access,             \
                 [&](const Call& call, Done done) {                \
                   handlers_.method(call, *request, *response,     \
                                    std::move(done));              \
                 });                                               \
  }
#include "server/v2_methods.inc"
#undef QUERN_V2_METHOD

grpc::ServerBidiReactor<inference::ModelInferRequest,
                        inference::ModelStreamInferResponse>*
V2Service::ModelStreamInfer(Context* context) {
  const absl::Status status =
      Authorize(*context, authorizer_, Access::kInference);
  return new Refusal(status.ok() ? V2Handlers::NoStreams() : status);
}

}  // namespace quern::server
