// SPDX-License-Identifier: Apache-2.0
//
// The GraphService: takes graphs in, compiles, runs, explains and measures
// them, and publishes them as models.
//
// It is called on threads that only read and write the wire; imports, loads and
// measurements go to one queue, runs to another.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "proto/quern/v1/graph_service.pb.h"
#include "server/admission.h"
#include "server/authorizer.h"
#include "server/graph_store.h"
#include "server/grpc/grpc_method.h"
#include "server/model_store.h"
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
  WorkQueue* measurements = nullptr;
  telemetry::Metrics* metrics = nullptr;
  int64_t max_message_bytes = 0;
  int64_t max_graph_bytes = 0;
  int64_t max_graph_nodes = 0;
};

inline constexpr char kGraphServiceName[] = "quern.v1.GraphService";

class GraphService {
 public:
  explicit GraphService(const GraphServiceParts& parts);

  // Adds its methods, which it outlives. All of it is for those who may send
  // graphs.
  void AddTo(GrpcMethods& methods);

 private:
  template <typename Response>
  using StreamPtr = std::shared_ptr<ResponseStream<Response>>;

  absl::Status Describe(const v1::DescribeRequest& request,
                        v1::DescribeResponse& response);
  absl::Status Unpublish(const v1::UnpublishRequest& request,
                         v1::UnpublishResponse& response);
  absl::Status ListDevices(const v1::ListDevicesRequest& request,
                           v1::ListDevicesResponse& response);
  absl::Status DescribeVocabulary(const v1::DescribeVocabularyRequest& request,
                                  v1::DescribeVocabularyResponse& response);
  void Publish(v1::PublishRequest request,
               const StreamPtr<v1::PublishResponse>& stream);
  void Execute(v1::ExecuteRequest request,
               const StreamPtr<v1::ExecuteResponse>& stream);
  void Explain(v1::ExplainRequest request,
               const StreamPtr<v1::ExplainResponse>& stream);
  void Benchmark(v1::BenchmarkRequest request,
                 const StreamPtr<v1::BenchmarkResponse>& stream);
  void Tune(v1::TuneRequest request, const StreamPtr<v1::TuneResponse>& stream);
  absl::Status ExportTuning(const v1::ExportTuningRequest& request,
                            v1::ExportTuningResponse& response);
  absl::Status ImportTuning(const v1::ImportTuningRequest& request,
                            v1::ImportTuningResponse& response);

  // The calls, to their ends.
  absl::StatusOr<v1::PublishResult> PublishGraph(
      const v1::PublishRequest& request, const Progress& progress);
  absl::StatusOr<v1::ExecuteResult> Run(const v1::ExecuteRequest& request,
                                        const Call& call,
                                        const Progress& progress);
  absl::StatusOr<std::string> ExplainStage(const v1::ExplainRequest& request,
                                           const Progress& progress);
  absl::StatusOr<v1::BenchmarkReport> Measure(
      const v1::BenchmarkRequest& request,
      const ResponseStream<v1::BenchmarkResponse>& stream,
      const Progress& progress);
  absl::StatusOr<v1::TuneReport> TuneKernels(
      const v1::TuneRequest& request,
      const ResponseStream<v1::TuneResponse>& stream, const Progress& progress);

  // The subject's model, loaded if need be.
  absl::StatusOr<GraphStore::Load> Load(const v1::Subject& subject,
                                        const Progress& progress);
  absl::StatusOr<Found> FindSubject(const v1::Subject& subject);

  const GraphServiceParts parts_;
  const std::string default_device_;
};

}  // namespace quern::server
