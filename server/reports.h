// SPDX-License-Identifier: Apache-2.0
//
// What the engine and the statistics report, as messages.
#pragma once

#include <cstdint>
#include <vector>

#include "google/protobuf/duration.pb.h"

#include "engine/engine.h"
#include "engine/telemetry/distribution.h"
#include "engine/tuner.h"
#include "proto/quern/v1/graph_service.pb.h"
#include "proto/quern/v1/statistics.pb.h"

namespace quern::server {

[[nodiscard]] v1::TensorSpec ToProto(const TensorSpec& spec);
[[nodiscard]] v1::LoadReport ToProto(const CompileReport& report);
[[nodiscard]] v1::Note ToProto(const Note& note);
[[nodiscard]] v1::Device ToProto(const DeviceReport& report);
// Without the device.
[[nodiscard]] v1::TuneReport ToProto(const TuneReport& report);

// The kernels, those that take the most time first, with their shares of the
// time of a run, their places under the roofline of their device, and those of
// `notes` that are about them.
[[nodiscard]] std::vector<v1::KernelStatistics> ToProto(
    const std::vector<KernelReport>& kernels, const std::vector<Note>& notes);

// What is to be said about durations, in units of `unit_ns` nanoseconds.
[[nodiscard]] v1::Latency LatencyOf(const telemetry::Distribution& time,
                                    double unit_ns);
// The same for measured ones, in the unit of `values`.
[[nodiscard]] v1::Latency LatencyOf(std::vector<double> values);

[[nodiscard]] google::protobuf::Duration DurationOf(int64_t ns);

}  // namespace quern::server
