// SPDX-License-Identifier: Apache-2.0
//
// The server's end of one Submit call: reads chunks, checks the hash, imports.
#pragma once

#include <cstdint>
#include <memory>

#include "server/graph_store.h"
#include "server/grpc/grpc_call.h"
#include "server/work_queue.h"

namespace quern::server {

struct SubmissionParts {
  GraphStore* graphs = nullptr;
  WorkQueue* loads = nullptr;
  int64_t max_graph_bytes = 0;
  int64_t max_graph_nodes = 0;
};

// Ends the call with a v1::SubmitResponse, or an error.
[[nodiscard]] std::unique_ptr<GrpcReader> StartSubmission(
    const SubmissionParts& parts, std::shared_ptr<GrpcCall> call);

}  // namespace quern::server
