// SPDX-License-Identifier: Apache-2.0
#include "server/kernel_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "server/grpc/grpc_method.h"
#include "server/quoted.h"
#include "server/reports.h"
#include "server/subject.h"

namespace quern::server {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kDefaultPeriod = std::chrono::seconds(1);
constexpr nanoseconds kLeastPeriod = std::chrono::milliseconds(100);
constexpr nanoseconds kGreatestPeriod = std::chrono::hours(1);

absl::StatusOr<nanoseconds> PeriodOf(const v1::WatchKernelsRequest& request) {
  if (!request.has_period()) return kDefaultPeriod;
  const int64_t seconds = request.period().seconds();
  const nanoseconds rest(request.period().nanos());
  // Compared in seconds first: in nanoseconds they might overflow.
  if (seconds >= 0 &&
      seconds <= std::chrono::seconds(std::chrono::hours(1)).count()) {
    const nanoseconds period = std::chrono::seconds(seconds) + rest;
    if (period >= kLeastPeriod && period <= kGreatestPeriod) return period;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a watch has a period of 0.1 s to 1 h, got ", seconds,
                   " s and ", request.period().nanos(), " ns"));
}

}  // namespace

KernelService::KernelService(const KernelServiceParts& parts)
    : parts_(parts),
      default_device_(DefaultDevice(*parts.engine)),
      watches_(parts.max_watches, parts.metrics) {}

void KernelService::AddTo(GrpcMethods& methods) {
  const Authorizer* authorizer = parts_.authorizer;
  const auto path = [](const char* method) {
    return absl::StrCat("/", kKernelServiceName, "/", method);
  };
  methods[path("ListKernels")] = AnswerMethod(authorizer, Access::kGraph, this,
                                              &KernelService::ListKernels);
  methods[path("GetKernel")] =
      AnswerMethod(authorizer, Access::kGraph, this, &KernelService::GetKernel);
  methods[path("ResetWindow")] = AnswerMethod(authorizer, Access::kGraph, this,
                                              &KernelService::ResetWindow);
  methods[path("WatchKernels")] =
      StreamMethod<v1::WatchKernelsRequest, v1::WatchKernelsResponse>(
          authorizer, Access::kGraph,
          [this](const v1::WatchKernelsRequest& request,
                 std::shared_ptr<KernelWatches::Stream> stream) {
            WatchKernels(request, std::move(stream));
          });
}

absl::StatusOr<StatisticsWindow::Models> KernelService::Loaded(
    const v1::Subject* subject) {
  if (subject == nullptr) return AllLoaded(*parts_.models, *parts_.graphs);
  QUERN_ASSIGN_OR_RETURN(
      Found found,
      FindSubject(*subject, default_device_, *parts_.models, *parts_.graphs));
  if (found.model == nullptr) {
    return absl::FailedPreconditionError(
        "the graph is not loaded, execute it first");
  }
  return StatisticsWindow::Models{std::move(found.model)};
}

absl::Status KernelService::ListKernels(const v1::ListKernelsRequest& request,
                                        v1::ListKernelsResponse& response) {
  QUERN_ASSIGN_OR_RETURN(
      const StatisticsWindow::Models models,
      Loaded(request.has_subject() ? &request.subject() : nullptr));
  std::vector<v1::Activity> activities;
  if (request.in_window()) {
    base::MutexLock lock(&mutex_);
    activities = window_.Read(models);
    *response.mutable_window() = DurationOf(window_.age_ns());
  } else {
    activities = StatisticsWindow().Read(models);
  }
  for (v1::Activity& activity : activities) {
    *response.add_loaded() = std::move(activity);
  }
  return absl::OkStatus();
}

absl::Status KernelService::GetKernel(const v1::GetKernelRequest& request,
                                      v1::GetKernelResponse& response) {
  QUERN_ASSIGN_OR_RETURN(const StatisticsWindow::Models models,
                         Loaded(&request.subject()));
  const Model& model = models.front()->model();
  response.set_label(models.front()->label());
  for (v1::KernelStatistics& kernel : ToProto(model.Kernels(), model.notes())) {
    if (kernel.name() == request.kernel()) {
      *response.mutable_statistics() = std::move(kernel);
    }
  }
  if (!response.has_statistics()) {
    return absl::NotFoundError(absl::StrCat(
        models.front()->label(), " has no kernel ", Quoted(request.kernel()),
        "; ListKernels tells those it has"));
  }
  const auto explain = [&](Stage stage) {
    return model.Explain(stage, request.kernel());
  };
  QUERN_ASSIGN_OR_RETURN(*response.mutable_loops(), explain(Stage::kKernel));
  QUERN_ASSIGN_OR_RETURN(*response.mutable_source(), explain(Stage::kSource));
  QUERN_ASSIGN_OR_RETURN(*response.mutable_assembly(), explain(Stage::kAsm));
  const auto size = static_cast<int64_t>(response.ByteSizeLong());
  if (size > parts_.max_message_bytes) {
    response.Clear();
    return absl::ResourceExhaustedError(
        absl::StrCat("the answer has ", size, " bytes, allowed are ",
                     parts_.max_message_bytes, " (--max-message-bytes)"));
  }
  return absl::OkStatus();
}

absl::Status KernelService::ResetWindow(const v1::ResetWindowRequest&,
                                        v1::ResetWindowResponse&) {
  base::MutexLock lock(&mutex_);
  window_.Begin(AllLoaded(*parts_.models, *parts_.graphs));
  return absl::OkStatus();
}

void KernelService::WatchKernels(
    const v1::WatchKernelsRequest& request,
    std::shared_ptr<KernelWatches::Stream> stream) {
  const absl::StatusOr<nanoseconds> period = PeriodOf(request);
  if (!period.ok()) {
    stream->End(period.status());
    return;
  }
  watches_.Add(
      std::move(stream),
      [this, subject = request.has_subject()
                           ? std::make_shared<v1::Subject>(request.subject())
                           : nullptr] { return Loaded(subject.get()); },
      *period);
}

}  // namespace quern::server
