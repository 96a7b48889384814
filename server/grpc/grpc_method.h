// SPDX-License-Identifier: Apache-2.0
//
// Methods of gRPC made of functions on messages: one answer, or a stream of
// them. Each asks the authorizer first.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "engine/base/no_throw.h"
#include "server/authorizer.h"
#include "server/call.h"
#include "server/grpc/grpc_call.h"

namespace quern::server {

// Reads the one message of a client, then calls `handle` with it, which must
// see to it that the call ends.
template <typename Request>
class OneMessage final : public GrpcReader {
 public:
  using Handle = std::function<void(const std::shared_ptr<GrpcCall>&, Request)>;

  OneMessage(std::shared_ptr<GrpcCall> call, const Handle* handle)
      : call_(std::move(call)), handle_(*handle) {}

  void OnMessage(GrpcMessage message) override {
    if (std::exchange(any_, true)) {
      Refuse(absl::InvalidArgumentError("expected one message, got another"));
    } else if (message.is_short()) {
      const absl::Status parsed = message.Parse(request_);
      if (!parsed.ok()) Refuse(parsed);
    } else {
      long_ = std::make_shared<GrpcMessage>(std::move(message));
    }
  }

  void OnEnd() override {
    if (!any_) Refuse(absl::InvalidArgumentError("there was no message"));
    if (refused_) return;
    if (long_ == nullptr) {
      handle_(call_, std::move(request_));
      return;
    }
    const absl::Status accepted =
        call_->Defer([call = call_, message = std::move(long_),
                      handle = &handle_]() mutable {
          const absl::Status handled = base::NoThrow([&]() -> absl::Status {
            Request request;
            if (absl::Status parsed = message->Parse(request); !parsed.ok()) {
              return parsed;
            }
            message = nullptr;
            (*handle)(call, std::move(request));
            return absl::OkStatus();
          });
          if (!handled.ok()) call->End(handled);
        });
    if (!accepted.ok()) Refuse(accepted);
  }

 private:
  void Refuse(const absl::Status& status) {
    refused_ = true;
    call_->End(status);
  }

  const std::shared_ptr<GrpcCall> call_;
  const Handle& handle_;
  Request request_;
  std::shared_ptr<GrpcMessage> long_;
  bool any_ = false;
  bool refused_ = false;
};

// A method whose readers are made by `begin` for those who may call it. The
// authorizer outlives it.
inline GrpcMethod Authorized(const Authorizer* authorizer, Access access,
                             GrpcMethod begin) {
  return [=](const std::shared_ptr<GrpcCall>& call)
             -> std::unique_ptr<GrpcReader> {
    const absl::Status allowed =
        authorizer->Check(access, call->authorization());
    if (allowed.ok()) return begin(call);
    call->End(allowed);
    return nullptr;
  };
}

// A method that gets one message and ends the call itself.
template <typename Request>
GrpcMethod OneMessageMethod(const Authorizer* authorizer, Access access,
                            typename OneMessage<Request>::Handle handle) {
  // Readers of one call refer to what all calls share.
  const auto shared =
      std::make_shared<const typename OneMessage<Request>::Handle>(
          std::move(handle));
  return Authorized(
      authorizer, access, [shared](const std::shared_ptr<GrpcCall>& call) {
        return std::make_unique<OneMessage<Request>>(call, shared.get());
      });
}

// One message for another. `handle` gets what ends the call; request and
// response live until then.
template <typename Request, typename Response>
GrpcMethod UnaryMethod(
    const Authorizer* authorizer, Access access,
    std::function<void(const Call&, const Request&, Response&, Done)> handle) {
  // Whoever holds what ends the call holds it.
  struct Exchange {
    std::shared_ptr<GrpcCall> call;
    Request request;
    Response response;
    ~Exchange() { call->EndForgotten(); }
  };
  return OneMessageMethod<Request>(
      authorizer, access,
      [handle = std::move(handle)](const std::shared_ptr<GrpcCall>& call,
                                   Request request) {
        const std::shared_ptr<Exchange> exchange(
            new Exchange{call, std::move(request), {}});
        const absl::Status handled = base::NoThrow([&] {
          handle(call->call(), exchange->request, exchange->response,
                 [exchange](const absl::Status& status) {
                   if (status.ok()) exchange->call->Send(exchange->response);
                   exchange->call->End(status);
                 });
          return absl::OkStatus();
        });
        if (!handled.ok()) call->End(handled);
      });
}

// One message for another, by a function of `service` that returns at once.
template <typename Service, typename Request, typename Response>
GrpcMethod AnswerMethod(const Authorizer* authorizer, Access access,
                        Service* service,
                        absl::Status (Service::*answer)(const Request&,
                                                        Response&)) {
  return UnaryMethod<Request, Response>(
      authorizer, access,
      [=](const Call&, const Request& request, Response& response,
          const Done& done) {
        done(base::NoThrow(
            [&] { return (service->*answer)(request, response); }));
      });
}

// A stream of answers. Messages and the end may come from any thread.
template <typename Response>
class ResponseStream {
 public:
  explicit ResponseStream(std::shared_ptr<GrpcCall> call)
      : call_(std::move(call)) {}
  ~ResponseStream() { call_->EndForgotten(); }
  ResponseStream(const ResponseStream&) = delete;
  ResponseStream& operator=(const ResponseStream&) = delete;

  [[nodiscard]] const Call& call() const { return call_->call(); }

  // Sends a message that may be dropped when the client is slow.
  void SendProgress(const Response& message) {
    if (call_->pending() < kMaxProgress) call_->Send(message);
  }
  void Send(const Response& message) { call_->Send(message); }

  // Ends the stream after what was sent. To be called once.
  void End(const absl::Status& status) { call_->End(status); }

  // True if the client has gone, or waits no longer.
  [[nodiscard]] bool cancelled() const {
    return call_->cancelled() || absl::Now() >= call().deadline;
  }

  // True if all that was sent has gone.
  [[nodiscard]] bool idle() const { return call_->pending() == 0; }

 private:
  static constexpr int kMaxProgress = 16;

  const std::shared_ptr<GrpcCall> call_;
};

// One message for a stream of answers, which ends when nobody holds it.
template <typename Request, typename Response>
GrpcMethod StreamMethod(
    const Authorizer* authorizer, Access access,
    std::function<void(Request, std::shared_ptr<ResponseStream<Response>>)>
        handle) {
  return OneMessageMethod<Request>(
      authorizer, access,
      [handle = std::move(handle)](const std::shared_ptr<GrpcCall>& call,
                                   Request request) {
        handle(std::move(request),
               std::make_shared<ResponseStream<Response>>(call));
      });
}

}  // namespace quern::server
