// SPDX-License-Identifier: Apache-2.0
//
// What the services share: statuses on the wire, deadlines, and streams of
// answers that are written from any thread.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include <grpcpp/grpcpp.h>

#include "engine/base/mutex.h"
#include "server/authorizer.h"
#include "server/call.h"

namespace quern::server {

// The status as gRPC sends it; long messages are cut, since they travel in
// headers, which are limited.
[[nodiscard]] grpc::Status ToGrpc(const absl::Status& status);

// When the client stops waiting.
[[nodiscard]] absl::Time DeadlineOf(const grpc::CallbackServerContext& context);

// What a call of gRPC tells a handler. The context outlives the call.
[[nodiscard]] Call CallOf(const grpc::CallbackServerContext& context);

// Whether the caller may do what needs `access`, by its metadata.
[[nodiscard]] absl::Status Authorize(const grpc::CallbackServerContext& context,
                                     const Authorizer& authorizer,
                                     Access access);

// Answers a call by `handle`, which gets the call and what ends it, if the
// caller may have `access`.
[[nodiscard]] grpc::ServerUnaryReactor* Unary(
    grpc::CallbackServerContext* context, const Authorizer& authorizer,
    Access access, absl::FunctionRef<void(const Call&, Done)> handle);

// A stream of answers. Messages and the end may come from any thread; gRPC gets
// them one after the other. The stream keeps itself alive until gRPC is done
// with it, and whoever writes into it holds it as well.
template <typename Response>
class ResponseStream final : public grpc::ServerWriteReactor<Response> {
 public:
  [[nodiscard]] static std::shared_ptr<ResponseStream> Make() {
    std::shared_ptr<ResponseStream> stream(new ResponseStream);
    stream->self_ = stream;
    return stream;
  }

  // Sends a message that may be dropped when the client is slow.
  void SendProgress(Response message) {
    base::MutexLock lock(&mutex_);
    if (queue_.size() < kMaxProgress) Push(std::move(message));
  }

  void Send(Response message) {
    base::MutexLock lock(&mutex_);
    Push(std::move(message));
  }

  // Ends the stream after what was sent. To be called once.
  void End(const absl::Status& status) {
    base::MutexLock lock(&mutex_);
    end_ = ToGrpc(status);
    if (!writing_) Next();
  }

  [[nodiscard]] bool cancelled() const { return cancelled_.load(); }

  // True if all that was sent has gone.
  [[nodiscard]] bool idle() {
    base::MutexLock lock(&mutex_);
    return queue_.empty();
  }

  void OnCancel() override { cancelled_.store(true); }

  void OnWriteDone(bool ok) override {
    base::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) {
      cancelled_.store(true);
      queue_.clear();
    } else {
      queue_.pop_front();
    }
    Next();
  }

  void OnDone() override { const auto self = std::move(self_); }

 private:
  static constexpr size_t kMaxProgress = 16;

  ResponseStream() = default;

  void Push(Response message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (cancelled_.load()) return;
    queue_.push_back(std::move(message));
    if (!writing_) Next();
  }

  void Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!queue_.empty()) {
      writing_ = true;
      this->StartWrite(&queue_.front());
    } else if (end_.has_value()) {
      const grpc::Status status = *std::exchange(end_, std::nullopt);
      this->Finish(status);
    }
  }

  std::shared_ptr<ResponseStream> self_;
  std::atomic<bool> cancelled_ = false;
  base::Mutex mutex_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Response> queue_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
};

// A stream that ended before it began.
template <typename Response>
grpc::ServerWriteReactor<Response>* RefusedStream(const absl::Status& status) {
  auto stream = ResponseStream<Response>::Make();
  stream->End(status);
  return stream.get();
}

}  // namespace quern::server
