// SPDX-License-Identifier: Apache-2.0
//
// The V2 inference protocol, whatever carries it: each method answers one
// message with another. gRPC and HTTP translate their wires to these messages
// and know nothing else of the protocol.
//
// Any thread may call it. Methods return at once; what takes long is done on
// the queues, and `done` is called from there. Inputs are read where they lie
// in the request, outputs are written into the response.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"

#include "engine/telemetry/metrics.h"
#include "proto/inference/grpc_service.pb.h"
#include "server/admission.h"
#include "server/batcher.h"
#include "server/call.h"
#include "server/model_store.h"
#include "server/repository.h"
#include "server/work_queue.h"

namespace quern::server {

// What the handlers work with; all outlive them.
struct V2Parts {
  ModelStore* models = nullptr;
  Repository* repository = nullptr;
  Admission* admission = nullptr;
  WorkQueue* decodes = nullptr;  // Of long messages.
  WorkQueue* requests = nullptr;
  WorkQueue* loads = nullptr;
  telemetry::Metrics* metrics = nullptr;
  int64_t max_message_bytes = 0;
  bool loads_allowed = true;  // False where the repository is polled.
};

class V2Handlers {
 public:
  explicit V2Handlers(const V2Parts& parts);

  // Whether ServerReady says yes.
  void SetReady(bool ready) { ready_.store(ready); }
  [[nodiscard]] bool ready() const { return ready_.load(); }

#define QUERN_V2_METHOD(method, access)                                    \
  void method(const Call& call, const inference::method##Request& request, \
              inference::method##Response& response, Done done);
#include "server/v2_methods.inc"
#undef QUERN_V2_METHOD

  // Runs `work`, which must not throw, on a thread of decodes, by turns with
  // those of other models: what is long before there is a request to run. Fails
  // as ModelInfer does for a model that is not there, or if too much waits;
  // `work` is not called then.
  [[nodiscard]] absl::Status Defer(const std::string& model,
                                   const std::string& version,
                                   std::function<void()> work);

  // The same on a thread of loads, for what is long and no request.
  [[nodiscard]] absl::Status DeferLoad(std::function<void()> work);

  // The error of those who ask for a stream of answers.
  [[nodiscard]] static absl::Status NoStreams();

 private:
  // One inference of a model that was found, from its arrival to its answer.
  // Whoever works on it holds it.
  struct Inference;

  // The model that a request asks for; one that is not there is counted.
  absl::StatusOr<ModelVersion> FindAsked(const std::string& model,
                                         const std::string& version);
  // Has `work` for a model wait for its turn.
  absl::Status Queue(WorkQueue& queue, const LoadedModel& model,
                     std::function<void()> work);

  // True if it may run on the thread that brought it: it is expected to be
  // short, nothing that it would wait for is under way, and no other does so.
  // LeaveFastLane must follow.
  bool EnterFastLane(const Inference& inference);
  void LeaveFastLane() { fast_lane_.clear(std::memory_order_release); }

  // Runs it, alone or joined with others.
  void Infer(const std::shared_ptr<Inference>& inference);
  // Decodes the request and makes places for its outputs in the response.
  absl::StatusOr<BatchItem> MakeReady(Inference& inference) const;
  // Completes the answer and the statistics of one that was run.
  static void Complete(Inference& inference, const BatchReport& report);
  // Counts it and answers.
  void End(Inference& inference, const absl::Status& status);

  // Runs a load or unload of the model that a request names. KServe's SDK puts
  // the name where Triton has that of the repository.
  void Control(const std::string& repository_name,
               const std::string& model_name, Done done,
               std::function<absl::Status(const std::string& name)> work);

  const V2Parts parts_;
  std::atomic<bool> ready_ = false;
  std::atomic_flag fast_lane_;
  std::shared_ptr<telemetry::Number> in_flight_;
};

}  // namespace quern::server
