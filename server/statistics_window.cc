// SPDX-License-Identifier: Apache-2.0
#include "server/statistics_window.h"

#include <utility>

#include "server/reports.h"

namespace quern::server {
namespace {

constexpr double kNsPerUs = 1e3;

}  // namespace

StatisticsWindow::Snapshot StatisticsWindow::TakeSnapshot(
    const LoadedModel& model) {
  return {model.Statistics(), model.model().Kernels()};
}

v1::Activity StatisticsWindow::ActivityOf(
    const std::shared_ptr<const LoadedModel>& model, Snapshot now) const {
  const auto before = before_.find(model);
  if (before != before_.end()) {
    now.requests = now.requests.Since(before->second.requests);
    for (size_t i = 0; i < now.kernels.size(); ++i) {
      now.kernels[i].time =
          now.kernels[i].time.Since(before->second.kernels[i].time);
    }
  }
  v1::Activity activity;
  activity.set_label(model->label());
  activity.set_device(model->model().device());
  activity.set_successes(now.requests.success.count());
  activity.set_failures(now.requests.failure.count());
  activity.set_inferences(now.requests.inferences);
  activity.set_executions(now.requests.executions);
  activity.set_pending(model->pending());
  *activity.mutable_request_us() = LatencyOf(now.requests.success, kNsPerUs);
  for (size_t i = 0; i < kPhases; ++i) {
    v1::PhaseStatistics* phase = activity.add_phases();
    phase->set_phase(NameOf(static_cast<Phase>(i)));
    *phase->mutable_time_us() = LatencyOf(now.requests.phase[i], kNsPerUs);
  }
  for (v1::KernelStatistics& kernel :
       ToProto(now.kernels, model->model().notes())) {
    *activity.add_kernels() = std::move(kernel);
  }
  return activity;
}

void StatisticsWindow::Begin(const Models& models) {
  before_.clear();
  begin_ns_ = telemetry::Clock::NowNs();
  for (const auto& model : models) before_[model] = TakeSnapshot(*model);
}

std::vector<v1::Activity> StatisticsWindow::Read(const Models& models) const {
  std::vector<v1::Activity> activities;
  for (const auto& model : models) {
    activities.push_back(ActivityOf(model, TakeSnapshot(*model)));
  }
  return activities;
}

std::vector<v1::Activity> StatisticsWindow::Turn(const Models& models) {
  std::vector<v1::Activity> activities;
  decltype(before_) now;
  for (const auto& model : models) {
    Snapshot snapshot = TakeSnapshot(*model);
    activities.push_back(ActivityOf(model, snapshot));
    now[model] = std::move(snapshot);
  }
  before_ = std::move(now);
  begin_ns_ = telemetry::Clock::NowNs();
  return activities;
}

int64_t StatisticsWindow::age_ns() const {
  return begin_ns_ == 0 ? 0 : telemetry::Clock::NowNs() - begin_ns_;
}

}  // namespace quern::server
