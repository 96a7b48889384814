// SPDX-License-Identifier: Apache-2.0
#include "server/v2_service.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/grpc/grpc_method.h"

namespace quern::server {

void AddV2Service(V2Handlers* handlers, const Authorizer* authorizer,
                  GrpcMethods& methods) {
  const auto path = [](const char* method) {
    return absl::StrCat("/", kV2ServiceName, "/", method);
  };
#define QUERN_V2_METHOD(method, access)                                     \
  methods[path(#method)] =                                                  \
      UnaryMethod<inference::method##Request, inference::method##Response>( \
          authorizer, Access::access,                                       \
          [handlers](const Call& call,                                      \
                     const inference::method##Request& request,             \
                     inference::method##Response& response, Done done) {    \
            handlers->method(call, request, response, std::move(done));     \
          });
#include "server/v2_methods.inc"
#undef QUERN_V2_METHOD
  methods[path("ModelStreamInfer")] = Authorized(
      authorizer, Access::kInference,
      [](const std::shared_ptr<GrpcCall>& call) -> std::unique_ptr<GrpcReader> {
        call->End(V2Handlers::NoStreams());
        return nullptr;
      });
}

}  // namespace quern::server
