// SPDX-License-Identifier: Apache-2.0
//
// The V2 protocol over gRPC: each method asks the authorizer and hands its
// message to the handlers.
#pragma once

#include "server/authorizer.h"
#include "server/grpc/grpc_call.h"
#include "server/v2_handlers.h"

namespace quern::server {

inline constexpr char kV2ServiceName[] = "inference.GRPCInferenceService";

// Both outlive the methods.
void AddV2Service(V2Handlers* handlers, const Authorizer* authorizer,
                  GrpcMethods& methods);

}  // namespace quern::server
