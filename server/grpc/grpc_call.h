// SPDX-License-Identifier: Apache-2.0
//
// A GrpcCall is one call over gRPC as the method that serves it sees it, a
// GrpcReader is what the method does with the messages of the client.
//
// The wire is that of gRPC over HTTP/2 (the protocol's document
// PROTOCOL-HTTP2): messages with their lengths before them, and a status after
// them.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"

#include "server/call.h"
#include "server/grpc/grpc_message.h"

namespace quern::server {

// Any thread may call it. It lives as long as someone holds it; what is sent
// when the client has gone is dropped.
class GrpcCall {
 public:
  virtual ~GrpcCall() = default;

  // What a handler needs to know of it.
  [[nodiscard]] const Call& call() const { return call_; }
  // The metadata of that name, or empty.
  [[nodiscard]] const std::string& authorization() const {
    return authorization_;
  }
  // True if the client has gone.
  [[nodiscard]] bool cancelled() const { return cancelled_.load(); }
  // Messages that were sent and have not gone to the client.
  [[nodiscard]] int pending() const { return pending_.load(); }

  // Runs `work`, which must not throw, on a thread that may be kept busy. Fails
  // if too much waits; `work` is not called then.
  [[nodiscard]] virtual absl::Status Defer(std::function<void()> work) = 0;

  void Send(const google::protobuf::MessageLite& message);
  // Ends the call after what was sent. Counts once.
  void End(const absl::Status& status);
  // Ends it with an error if nobody has: whoever had to has forgotten it.
  void EndForgotten();

 protected:
  // A message with its length before it.
  virtual void Write(std::string frame) = 0;
  virtual void WriteEnd(const absl::Status& status) = 0;

  Call call_;
  std::string authorization_;
  std::atomic<bool> cancelled_ = false;
  std::atomic<int> pending_ = 0;

 private:
  std::atomic<bool> ended_ = false;
};

// Called by one thread at a time; destroyed when the client has gone, or has
// its answer.
class GrpcReader {
 public:
  virtual ~GrpcReader() = default;
  // A short one lives until it returns, others as long as one likes.
  virtual void OnMessage(GrpcMessage message) = 0;
  // The client has sent all of its messages.
  virtual void OnEnd() = 0;
};

// Begins a call, before its messages have come; null if it has ended it.
using GrpcMethod =
    std::function<std::unique_ptr<GrpcReader>(std::shared_ptr<GrpcCall>)>;

// By the paths, "/package.Service/Method".
using GrpcMethods = std::map<std::string, GrpcMethod, std::less<>>;

}  // namespace quern::server
