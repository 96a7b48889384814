// SPDX-License-Identifier: Apache-2.0
//
// The V2 protocol over gRPC: each method asks the authorizer and hands its
// message to the handlers.
#pragma once

#include "proto/inference/grpc_service.grpc.pb.h"
#include "server/authorizer.h"
#include "server/v2_handlers.h"

namespace quern::server {

class V2Service final
    : public inference::GRPCInferenceService::CallbackService {
 public:
  // Both outlive the service.
  V2Service(V2Handlers* handlers, const Authorizer* authorizer)
      : handlers_(*handlers), authorizer_(*authorizer) {}

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

#define QUERN_V2_METHOD(method, access)                                        \
  Reactor* method(Context* context, const inference::method##Request* request, \
                  inference::method##Response* response) override;
#include "server/v2_methods.inc"
#undef QUERN_V2_METHOD
  grpc::ServerBidiReactor<inference::ModelInferRequest,
                          inference::ModelStreamInferResponse>*
  ModelStreamInfer(Context* context) override;

  V2Handlers& handlers_;
  const Authorizer& authorizer_;
};

}  // namespace quern::server
