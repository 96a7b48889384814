// SPDX-License-Identifier: Apache-2.0
//
// The KernelService: tells about the kernels of what is loaded, once or again
// and again.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/telemetry/metrics.h"
#include "proto/quern/v1/kernel_service.pb.h"
#include "server/authorizer.h"
#include "server/graph_store.h"
#include "server/grpc/grpc_call.h"
#include "server/kernel_watches.h"
#include "server/model_store.h"
#include "server/statistics_window.h"

namespace quern::server {

// What the service works with; all outlive it.
struct KernelServiceParts {
  const Engine* engine = nullptr;
  const Authorizer* authorizer = nullptr;
  const ModelStore* models = nullptr;
  GraphStore* graphs = nullptr;
  telemetry::Metrics* metrics = nullptr;
  int64_t max_message_bytes = 0;
  int max_watches = 0;
};

inline constexpr char kKernelServiceName[] = "quern.v1.KernelService";

class KernelService {
 public:
  explicit KernelService(const KernelServiceParts& parts);

  // Adds its methods, which it outlives.
  void AddTo(GrpcMethods& methods);

  // Ends the calls that would go on for ever, and takes no more of them.
  void EndWatches() { watches_.Stop(); }

 private:
  absl::Status ListKernels(const v1::ListKernelsRequest& request,
                           v1::ListKernelsResponse& response);
  absl::Status GetKernel(const v1::GetKernelRequest& request,
                         v1::GetKernelResponse& response);
  absl::Status ResetWindow(const v1::ResetWindowRequest& request,
                           v1::ResetWindowResponse& response);
  void WatchKernels(const v1::WatchKernelsRequest& request,
                    std::shared_ptr<KernelWatches::Stream> stream);

  // What is loaded of `subject`, or all that is loaded if there is none.
  // kFailedPrecondition if it is not loaded.
  absl::StatusOr<StatisticsWindow::Models> Loaded(const v1::Subject* subject);

  const KernelServiceParts parts_;
  const std::string default_device_;
  base::Mutex mutex_;
  StatisticsWindow window_ ABSL_GUARDED_BY(mutex_);
  KernelWatches watches_;
};

}  // namespace quern::server
