// SPDX-License-Identifier: Apache-2.0
//
// The GraphService: takes graphs in, compiles, runs, explains and measures
// them, and publishes them as models.
//
// gRPC calls it from its own threads, which only read and write the wire;
// imports, loads and measurements go to one queue, runs to another.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "proto/quern/v1/graph_service.grpc.pb.h"
#include "server/admission.h"
#include "server/authorizer.h"
#include "server/graph_store.h"
#include "server/model_store.h"
#include "server/rpc.h"
#include "server/subject.h"
#include "server/work_queue.h"

namespace quern::server {

// What the service works with; all outlive it.
struct GraphServiceParts {
  Engine* engine = nullptr;
  const Authorizer* authorizer = nullptr;
  Admission* admission = nullptr;
  ModelStore* models = nullptr;
  GraphStore* graphs = nullptr;
  WorkQueue* requests = nullptr;
  WorkQueue* loads = nullptr;
  telemetry::Metrics* metrics = nullptr;
  int64_t max_message_bytes = 0;
  int64_t max_graph_bytes = 0;
  int64_t max_graph_nodes = 0;
};

class GraphService final : public v1::GraphService::CallbackService {
 public:
  explicit GraphService(const GraphServiceParts& parts);

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;
  template <typename Response>
  using StreamPtr = std::shared_ptr<ResponseStream<Response>>;

  grpc::ServerReadReactor<v1::SubmitRequest>* Submit(
      Context* context, v1::SubmitResponse* response) override;
  Reactor* Describe(Context* context, const v1::DescribeRequest* request,
                    v1::DescribeResponse* response) override;
  grpc::ServerWriteReactor<v1::PublishResponse>* Publish(
      Context* context, const v1::PublishRequest* request) override;
  Reactor* Unpublish(Context* context, const v1::UnpublishRequest* request,
                     v1::UnpublishResponse* response) override;
  grpc::ServerWriteReactor<v1::ExecuteResponse>* Execute(
      Context* context, const v1::ExecuteRequest* request) override;
  grpc::ServerWriteReactor<v1::ExplainResponse>* Explain(
      Context* context, const v1::ExplainRequest* request) override;
  grpc::ServerWriteReactor<v1::BenchmarkResponse>* Benchmark(
      Context* context, const v1::BenchmarkRequest* request) override;
  Reactor* ListDevices(Context* context, const v1::ListDevicesRequest* request,
                       v1::ListDevicesResponse* response) override;
  Reactor* DescribeVocabulary(
      Context* context, const v1::DescribeVocabularyRequest* request,
      v1::DescribeVocabularyResponse* response) override;

  // The calls, to their ends. `Response` is the stream's message.
  absl::StatusOr<v1::PublishResult> PublishGraph(
      const v1::PublishRequest& request, const Progress& progress);
  absl::StatusOr<v1::ExecuteResult> Run(const v1::ExecuteRequest& request,
                                        const Call& call,
                                        const Progress& progress);
  absl::StatusOr<std::string> ExplainStage(const v1::ExplainRequest& request,
                                           const Progress& progress);
  absl::StatusOr<v1::BenchmarkReport> Measure(
      const v1::BenchmarkRequest& request, absl::Time deadline,
      const ResponseStream<v1::BenchmarkResponse>& stream,
      const Progress& progress);

  // All of the service is for those who may send graphs.
  absl::Status Allow(const Context& context) const;
  // Answers a call that is allowed by what `answer` says.
  Reactor* Answer(Context* context, absl::FunctionRef<absl::Status()> answer);

  // The subject's model, loaded if need be.
  absl::StatusOr<GraphStore::Load> Load(const v1::Subject& subject,
                                        const Progress& progress);
  absl::StatusOr<Found> FindSubject(const v1::Subject& subject);

  const GraphServiceParts parts_;
  const std::string default_device_;
};

}  // namespace quern::server
