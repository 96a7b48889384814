// SPDX-License-Identifier: Apache-2.0
//
// gRPC's health checking protocol. Any thread may use it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "engine/base/mutex.h"
#include "proto/grpc/health.pb.h"
#include "server/authorizer.h"
#include "server/grpc/grpc_call.h"
#include "server/grpc/grpc_method.h"

namespace quern::server {

class GrpcHealth {
 public:
  // Of these services and the server as a whole, none of which serves yet.
  explicit GrpcHealth(const std::vector<std::string>& services);

  // Tells those who ask, and those who watch.
  void SetServing(bool serving);

  // Ends the watches, and takes no more of them.
  void EndWatches();

  // Its methods outlive neither it nor the authorizer.
  void AddTo(const Authorizer* authorizer, GrpcMethods& methods);

 private:
  using Request = grpc::health::v1::HealthCheckRequest;
  using Response = grpc::health::v1::HealthCheckResponse;
  using Stream = std::shared_ptr<ResponseStream<Response>>;

  struct Watching {
    Stream stream;
    bool known = false;  // Whether it is of a service that there is.
  };

  // Of a service, by its name.
  Response::ServingStatus StatusOf(const std::string& service) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetGone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch(const Request& request, Stream stream);

  const std::vector<std::string> services_;
  base::Mutex mutex_;
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Watching> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quern::server
