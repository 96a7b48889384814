// SPDX-License-Identifier: Apache-2.0
//
// What was measured to be best, kept over restarts: for each device and kernel
// the choice that won, with the times that it won by.
//
// A table is a file of lines, the oldest first, that may be copied from one
// machine to another: a device's lines count only on devices of its kind.
// Several processes may share a file. Any thread may call it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "engine/base/compile_options.h"
#include "engine/base/mutex.h"

namespace quern {

// Of the launches of a kernel, in nanoseconds.
struct MeasuredTime {
  int64_t count = 0;
  double median = 0;
  double mean = 0;
  double stdev = 0;  // Of the sample.
};

struct TunedChoice {
  std::string device;  // The kind of device, as DeviceKind says.
  std::string kernel;  // Its identity, see KernelPlan.
  std::string choice;
  MeasuredTime estimated;  // Of what would be chosen without a table.
  MeasuredTime chosen;
};

class TuningTable {
 public:
  // The table in the file `path`, which need not exist; an empty path is a
  // table that ends with the process. kDataLoss, naming the line, for a file
  // that is no table.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<TuningTable>> Open(
      const std::string& path);

  // What holds for devices of this kind, as of now.
  [[nodiscard]] std::shared_ptr<const base::Choices> ChoicesFor(
      const std::string& device) const;

  // Takes choices over what is there, and what others have written since.
  // kResourceExhausted, and none is taken, for more than 64 MiB of text.
  [[nodiscard]] absl::Status Add(const std::vector<TunedChoice>& choices);

  // All of it, for Import elsewhere.
  [[nodiscard]] std::string Export() const;
  // Adds what Export gave; the number of choices. kInvalidArgument, naming the
  // line, for any other text, of which nothing is taken then.
  [[nodiscard]] absl::StatusOr<int> Import(absl::string_view text);

 private:
  using Rows = std::map<std::pair<std::string, std::string>, TunedChoice>;

  explicit TuningTable(std::string path) : path_(std::move(path)) {}
  static absl::Status Parse(absl::string_view text, Rows& rows);
  static std::string TextOf(const Rows& rows);
  absl::StatusOr<Rows> ReadFile() const;

  const std::string path_;
  mutable base::Mutex mutex_;
  Rows rows_ ABSL_GUARDED_BY(mutex_);  // By device and kernel.
};

}  // namespace quern
