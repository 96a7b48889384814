// SPDX-License-Identifier: Apache-2.0
#include "server/rpc.h"

#include <string>

#include "absl/strings/str_cat.h"

#include "engine/telemetry/distribution.h"

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

Call CallOf(const grpc::CallbackServerContext& context) {
  Call call;
  call.deadline = DeadlineOf(context);
  call.arrival_ns = telemetry::Clock::NowNs();
  call.cancelled = [&context] { return context.IsCancelled(); };
  return call;
}

absl::Status Authorize(const grpc::CallbackServerContext& context,
                       const Authorizer& authorizer, Access access) {
  if (!authorizer.enabled()) return absl::OkStatus();
  const auto& metadata = context.client_metadata();
  const auto header = metadata.find("authorization");
  return authorizer.Check(
      access,
      header == metadata.end()
          ? absl::string_view()
          : absl::string_view(header->second.data(), header->second.size()));
}

grpc::ServerUnaryReactor* Unary(
    grpc::CallbackServerContext* context, const Authorizer& authorizer,
    Access access, absl::FunctionRef<void(const Call&, Done)> handle) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status allowed = Authorize(*context, authorizer, access);
  if (!allowed.ok()) {
    reactor->Finish(ToGrpc(allowed));
    return reactor;
  }
  handle(CallOf(*context), [reactor](const absl::Status& status) {
    reactor->Finish(ToGrpc(status));
  });
  return reactor;
}

}  // namespace quern::server
