// SPDX-License-Identifier: Apache-2.0
//
// A StatisticsWindow tells what models have counted since it began. Nothing is
// reset for it: it keeps what they had counted then.
//
// For one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "proto/quern/v1/statistics.pb.h"
#include "server/loaded_model.h"

namespace quern::server {

class StatisticsWindow {
 public:
  using Models = std::vector<std::shared_ptr<const LoadedModel>>;

  // Begins now. Before the first call, it has been open for ever. What models
  // that are not among `models` have counted or will count is in it.
  void Begin(const Models& models);

  // What each of `models` has counted since.
  [[nodiscard]] std::vector<v1::Activity> Read(const Models& models) const;

  // Read, then Begin, without a gap between them.
  [[nodiscard]] std::vector<v1::Activity> Turn(const Models& models);

  // Nanoseconds since it began; 0 if it has been open for ever.
  [[nodiscard]] int64_t age_ns() const;

 private:
  // What a model had counted: its kernels in the order of Model::Kernels().
  struct Snapshot {
    ModelStatistics requests;
    std::vector<KernelReport> kernels;
  };
  static Snapshot TakeSnapshot(const LoadedModel& model);
  v1::Activity ActivityOf(const std::shared_ptr<const LoadedModel>& model,
                          Snapshot now) const;

  // Does not keep models in memory.
  std::map<std::weak_ptr<const LoadedModel>, Snapshot, std::owner_less<>>
      before_;
  int64_t begin_ns_ = 0;
};

}  // namespace quern::server
