// SPDX-License-Identifier: Apache-2.0
//
// KernelWatches sends clients, again and again, what happened since the last
// time. A client that does not keep up is told of longer times.
//
// Any thread may call it. One thread of its own serves all clients.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/base/mutex.h"
#include "engine/telemetry/metrics.h"
#include "proto/quern/v1/kernel_service.pb.h"
#include "server/grpc/grpc_method.h"
#include "server/statistics_window.h"

namespace quern::server {

class KernelWatches {
 public:
  using Stream = ResponseStream<v1::WatchKernelsResponse>;
  // What is watched, asked for again at each turn. An error ends the watch.
  using Subjects = std::function<absl::StatusOr<StatisticsWindow::Models>()>;

  // `metrics` outlives it.
  KernelWatches(int max_watches, telemetry::Metrics* metrics);
  ~KernelWatches();
  KernelWatches(const KernelWatches&) = delete;
  KernelWatches& operator=(const KernelWatches&) = delete;

  // Sends a message along `stream` every `period` from now on. Ends the stream
  // when the client has gone, with kUnavailable after Stop, and with
  // kResourceExhausted at once if there are too many.
  void Add(std::shared_ptr<Stream> stream, Subjects subjects,
           std::chrono::nanoseconds period);

  // Ends all watches and takes no more.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Watch {
    std::shared_ptr<Stream> stream;
    Subjects subjects;
    Clock::duration period;
    Clock::time_point next;
    StatisticsWindow window;
  };

  void Loop();
  // Serves a watch whose time has come; why it is to end, if it is.
  static std::optional<absl::Status> Turn(Watch& watch);

  const size_t max_watches_;
  telemetry::Metrics& metrics_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // Only the thread removes any.
  std::vector<std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace quern::server
