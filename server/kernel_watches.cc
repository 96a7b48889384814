// SPDX-License-Identifier: Apache-2.0
#include "server/kernel_watches.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "engine/base/no_throw.h"
#include "server/reports.h"

namespace quern::server {
namespace {

// How long a client that has gone takes up a place at most.
constexpr std::chrono::seconds kLook{1};

}  // namespace

KernelWatches::KernelWatches(int max_watches, telemetry::Metrics* metrics)
    : max_watches_(static_cast<size_t>(max_watches)),
      metrics_(*metrics),
      thread_([this] { Loop(); }) {
  metrics_.Set(telemetry::Metric::kWatches, {}, 0);
}

KernelWatches::~KernelWatches() {
  Stop();
  thread_.join();
}

void KernelWatches::Add(std::shared_ptr<Stream> stream, Subjects subjects,
                        std::chrono::nanoseconds period) {
  auto watch = std::make_shared<Watch>();
  watch->stream = stream;
  watch->period = std::chrono::duration_cast<Clock::duration>(period);
  watch->next = Clock::now() + watch->period;
  absl::Status refused = base::NoThrow([&]() -> absl::Status {
    const absl::StatusOr<StatisticsWindow::Models> models = subjects();
    if (models.ok()) watch->window.Begin(*models);
    return models.status();
  });
  watch->subjects = std::move(subjects);
  if (refused.ok()) {
    base::MutexLock lock(&mutex_);
    if (stopped_) {
      refused = absl::UnavailableError("the server is shutting down");
    } else if (watches_.size() >= max_watches_) {
      metrics_.Add(telemetry::Metric::kRejectedRequests, {"limit"});
      refused = absl::ResourceExhaustedError(
          absl::StrCat(max_watches_, " clients watch already (--max-watches)"));
    } else {
      watches_.push_back(std::move(watch));
      metrics_.Set(telemetry::Metric::kWatches, {},
                   static_cast<double>(watches_.size()));
      changed_.Signal();
    }
  }
  if (!refused.ok()) stream->End(refused);
}

void KernelWatches::Stop() {
  base::MutexLock lock(&mutex_);
  stopped_ = true;
  changed_.Signal();
}

void KernelWatches::Loop() {
  base::MutexLock lock(&mutex_);
  while (true) {
    const Clock::time_point now = Clock::now();
    std::vector<std::pair<std::shared_ptr<Watch>, absl::Status>> ended;
    for (size_t i = 0; i < watches_.size(); ++i) {
      const std::shared_ptr<Watch> watch = watches_[i];
      std::optional<absl::Status> end;
      if (stopped_) {
        end = absl::UnavailableError("the server is shutting down");
      } else if (watch->stream->cancelled()) {
        end = absl::CancelledError("the client has gone");
      } else if (watch->next <= now) {
        mutex_.Unlock();
        end = Turn(*watch);
        mutex_.Lock();
      }
      if (end.has_value()) ended.emplace_back(watch, *std::move(end));
    }
    for (const auto& [watch, status] : ended) {
      std::erase(watches_, watch);
      watch->stream->End(status);
    }
    if (!ended.empty()) {
      metrics_.Set(telemetry::Metric::kWatches, {},
                   static_cast<double>(watches_.size()));
    }
    if (stopped_) return;
    if (watches_.empty()) {
      changed_.Wait(&mutex_);
      continue;
    }
    Clock::time_point next = Clock::now() + kLook;
    for (const auto& watch : watches_) next = std::min(next, watch->next);
    changed_.WaitUntil(&mutex_, next);
  }
}

std::optional<absl::Status> KernelWatches::Turn(Watch& watch) {
  watch.next = std::max(watch.next + watch.period, Clock::now());
  // The next message is about this time too.
  if (!watch.stream->idle()) return std::nullopt;
  const auto sent = base::NoThrow([&]() -> absl::Status {
    const absl::StatusOr<StatisticsWindow::Models> models = watch.subjects();
    if (!models.ok()) return models.status();
    v1::WatchKernelsResponse message;
    *message.mutable_window() = DurationOf(watch.window.age_ns());
    for (v1::Activity& activity : watch.window.Turn(*models)) {
      *message.add_loaded() = std::move(activity);
    }
    watch.stream->Send(std::move(message));
    return absl::OkStatus();
  });
  if (sent.ok()) return std::nullopt;
  return sent;
}

}  // namespace quern::server
