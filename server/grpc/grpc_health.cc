// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_health.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "server/quoted.h"

namespace quern::server {
namespace {

// Watches at once; each is a call that does not end.
constexpr size_t kMaxWatches = 256;

}  // namespace

GrpcHealth::GrpcHealth(const std::vector<std::string>& services)
    : services_(services) {}

GrpcHealth::Response::ServingStatus GrpcHealth::StatusOf(
    const std::string& service) const {
  if (!service.empty() && std::find(services_.begin(), services_.end(),
                                    service) == services_.end()) {
    return Response::SERVICE_UNKNOWN;
  }
  return serving_ ? Response::SERVING : Response::NOT_SERVING;
}

void GrpcHealth::ForgetGone() {
  std::erase_if(watches_,
                [](const Watching& each) { return each.stream->cancelled(); });
}

void GrpcHealth::SetServing(bool serving) {
  const base::MutexLock lock(&mutex_);
  if (std::exchange(serving_, serving) == serving) return;
  ForgetGone();
  Response response;
  response.set_status(StatusOf(""));
  for (const Watching& each : watches_) {
    if (each.known) each.stream->SendProgress(response);
  }
}

void GrpcHealth::EndWatches() {
  const base::MutexLock lock(&mutex_);
  ended_ = true;
  for (const Watching& each : watches_) {
    each.stream->End(absl::UnavailableError("the server is shutting down"));
  }
  watches_.clear();
}

void GrpcHealth::Watch(const Request& request, Stream stream) {
  const base::MutexLock lock(&mutex_);
  ForgetGone();
  if (ended_ || watches_.size() >= kMaxWatches) {
    stream->End(ended_ ? absl::UnavailableError("the server is shutting down")
                       : absl::ResourceExhaustedError(absl::StrCat(
                             kMaxWatches, " clients watch already")));
    return;
  }
  Response response;
  response.set_status(StatusOf(request.service()));
  stream->Send(response);
  // What is not known does not change, and is not ended either: the protocol
  // has the client wait for it.
  watches_.push_back(
      {std::move(stream), response.status() != Response::SERVICE_UNKNOWN});
}

void GrpcHealth::AddTo(const Authorizer* authorizer, GrpcMethods& methods) {
  methods["/grpc.health.v1.Health/Check"] = UnaryMethod<Request, Response>(
      authorizer, Access::kPublic,
      [this](const Call&, const Request& request, Response& response,
             const Done& done) {
        const base::MutexLock lock(&mutex_);
        response.set_status(StatusOf(request.service()));
        done(response.status() == Response::SERVICE_UNKNOWN
                 ? absl::NotFoundError(absl::StrCat("there is no service ",
                                                    Quoted(request.service())))
                 : absl::OkStatus());
      });
  methods["/grpc.health.v1.Health/Watch"] = StreamMethod<Request, Response>(
      authorizer, Access::kPublic, [this](Request request, Stream stream) {
        Watch(request, std::move(stream));
      });
}

}  // namespace quern::server
