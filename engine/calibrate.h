// SPDX-License-Identifier: Apache-2.0
//
// Measures what a device can do at most, with kernels of the engine's own:
// the yardstick for "percent of roofline".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/runtime/backend.h"

namespace quern {

// Bytes per second of reading again and again a set of `bytes`.
struct Bandwidth {
  double bytes = 0;
  double per_second = 0;
};

// With all threads of the device at work.
struct Peaks {
  double flops = 0;  // f32 multiply-adds, two operations each, per second.
  std::vector<Bandwidth> read;  // By size of the set, ascending.

  // The least seconds in which `flops` operations on `bytes` bytes can be
  // done: the roofline of Williams, Waterman and Patterson, "Roofline: an
  // insightful visual performance model", 2009, with the bandwidth of the
  // smallest measured set that holds the bytes. 0 if nothing was measured.
  [[nodiscard]] double LeastSeconds(double operations, double bytes) const;

  // In steps of 5 %, so that noise does not make two machines of one.
  [[nodiscard]] Peaks Rounded() const;

  [[nodiscard]] std::string ToText() const;
  [[nodiscard]] static absl::StatusOr<Peaks> FromText(const std::string& text);
};

// Gives the blob of a kernel, from a cache for instance.
using Assembling = std::function<absl::StatusOr<std::string>(
    const runtime::KernelSource& source)>;

// A kernel that nothing but the device bounds, to be launched again and again.
// The device outlives it.
class Yardstick {
 public:
  // Multiply-adds on registers; its work is operations. Without `assemble` it
  // is assembled here.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Yardstick>> Flops(
      runtime::Device& device, const runtime::Codegen& codegen,
      const Assembling& assemble = nullptr);

  // Reads of a set of about `bytes`, as often as make 32 MiB; its work is
  // bytes.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Yardstick>> Read(
      runtime::Device& device, const runtime::Codegen& codegen, int64_t bytes);

  // What one launch does.
  [[nodiscard]] double work() const { return work_; }

  [[nodiscard]] absl::Status Launch();

 private:
  explicit Yardstick(runtime::Device& device) : device_(device) {}

  runtime::Device& device_;
  std::unique_ptr<runtime::LoadedKernel> kernel_;
  std::unique_ptr<runtime::Buffer> sums_;  // One for each chunk.
  std::unique_ptr<runtime::Buffer> data_;  // What is read; may be null.
  std::vector<int64_t> vars_;
  int64_t chunks_ = 0;
  double work_ = 0;
};

// Measures `device`; takes a quarter of a second, more where others use it as
// well. Each figure is the best of many launches of a yardstick.
[[nodiscard]] absl::StatusOr<Peaks> Calibrate(runtime::Device& device,
                                              const runtime::Codegen& codegen);

// True if the device does more operations a second than `peaks` says, by more
// than the steps of Rounded: they were measured while it was kept from work.
// Takes a few milliseconds.
[[nodiscard]] absl::StatusOr<bool> DoesMoreThan(const Peaks& peaks,
                                                runtime::Device& device,
                                                const runtime::Codegen& codegen,
                                                const Assembling& assemble);

}  // namespace quern
