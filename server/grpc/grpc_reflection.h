// SPDX-License-Identifier: Apache-2.0
//
// gRPC's server reflection: clients that have no .proto files ask for them.
#pragma once

#include <string>
#include <vector>

#include "server/authorizer.h"
#include "server/grpc/grpc_call.h"

namespace quern::server {

// Adds the methods that tell of `services`, whose descriptors are linked in.
// The authorizer outlives them.
void AddReflection(const Authorizer* authorizer,
                   const std::vector<std::string>& services,
                   GrpcMethods& methods);

}  // namespace quern::server
