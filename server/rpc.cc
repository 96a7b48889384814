// SPDX-License-Identifier: Apache-2.0
#include "server/rpc.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace quern::server {
namespace {

// Clients refuse headers of more than 8 KiB by default, and bytes that are no
// printable ASCII take three.
constexpr size_t kMaxMessageBytes = 2000;

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message());
  if (message.size() > kMaxMessageBytes) {
    message = absl::StrCat(message.substr(0, kMaxMessageBytes), "...");
  }
  // The numbers of the codes are the same by design.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) {
    return absl::InfiniteFuture();
  }
  return absl::FromChrono(deadline);
}

}  // namespace quern::server
