// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/grpc_call.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quern::server {

void GrpcCall::Send(const google::protobuf::MessageLite& message) {
  if (cancelled()) return;
  const size_t size = message.ByteSizeLong();
  if (size > static_cast<size_t>(std::numeric_limits<int>::max())) {
    End(absl::ResourceExhaustedError(
        absl::StrCat("the answer has ", size, " bytes, more than a message")));
    return;
  }
  std::string frame(kGrpcPrefixBytes + size, '\0');
  auto* bytes = reinterpret_cast<uint8_t*>(frame.data());
  PutGrpcPrefix(size, frame.data());
  message.SerializeWithCachedSizesToArray(bytes + kGrpcPrefixBytes);
  pending_.fetch_add(1);
  Write(std::move(frame));
}

void GrpcCall::End(const absl::Status& status) {
  if (!ended_.exchange(true)) WriteEnd(status);
}

void GrpcCall::EndForgotten() {
  if (!ended_.load()) End(absl::InternalError("the request got no answer"));
}

}  // namespace quern::server
