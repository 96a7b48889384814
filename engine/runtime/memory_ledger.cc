// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/memory_ledger.h"

#include "absl/strings/str_cat.h"

namespace quern::runtime {

absl::Status MemoryLedger::Take(const std::string& device, int64_t bytes,
                                absl::string_view what) {
  base::MutexLock lock(&mutex_);
  int64_t& taken = taken_[device];
  if (bytes > limit_ - taken) {
    if (metrics_ != nullptr) {
      metrics_->Add(telemetry::Metric::kLoadRejects, {"memory"});
    }
    return absl::ResourceExhaustedError(absl::StrCat(
        what, " on ", device, " need ", bytes, " bytes, ", limit_ - taken,
        " of the ", limit_,
        " of --max-device-memory are free; unload a model, or raise it"));
  }
  taken += bytes;
  if (metrics_ != nullptr) {
    metrics_->Set(telemetry::Metric::kPlannedBytes, {device},
                  static_cast<double>(taken));
  }
  return absl::OkStatus();
}

void MemoryLedger::GiveBack(const std::string& device, int64_t bytes) {
  base::MutexLock lock(&mutex_);
  int64_t& taken = taken_[device];
  taken -= bytes;
  if (metrics_ != nullptr) {
    metrics_->Set(telemetry::Metric::kPlannedBytes, {device},
                  static_cast<double>(taken));
  }
}

}  // namespace quern::runtime
