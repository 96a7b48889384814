// SPDX-License-Identifier: Apache-2.0
//
// The server's end of one Submit call: reads chunks, checks the hash, imports.
#pragma once

#include <cstdint>

#include <grpcpp/grpcpp.h>

#include "proto/quern/v1/graph_service.pb.h"
#include "server/graph_store.h"
#include "server/work_queue.h"

namespace quern::server {

struct SubmissionParts {
  GraphStore* graphs = nullptr;
  WorkQueue* loads = nullptr;
  int64_t max_graph_bytes = 0;
  int64_t max_graph_nodes = 0;
};

// A reactor that owns itself until gRPC is done with it. `response` is filled
// before the call ends.
[[nodiscard]] grpc::ServerReadReactor<v1::SubmitRequest>* StartSubmission(
    const SubmissionParts& parts, v1::SubmitResponse* response);

// One that ends with this error.
[[nodiscard]] grpc::ServerReadReactor<v1::SubmitRequest>* RefuseSubmission(
    const absl::Status& status);

}  // namespace quern::server
