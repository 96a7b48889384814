// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/json.h"

#include <cstdio>

namespace quern::cli {

using nlohmann::ordered_json;

void PrintJson(const ordered_json& out) {
  std::printf(
      "%s\n",
      out.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

ordered_json KernelJson(const v1::KernelStatistics& kernel) {
  return {{"name", kernel.name()},
          {"device", kernel.device()},
          {"summary", kernel.summary()},
          {"at_load", kernel.at_load()},
          {"launches_per_run", kernel.launches_per_run()},
          {"launches", kernel.launches()},
          {"median_us", kernel.time_us().median()},
          {"mean_us", kernel.time_us().mean()},
          {"stdev_us", kernel.time_us().stdev()},
          {"variance_us2", kernel.time_us().variance()},
          {"cv", kernel.time_us().cv()},
          {"min_us", kernel.time_us().min()},
          {"p90_us", kernel.time_us().p90()},
          {"p99_us", kernel.time_us().p99()},
          {"p999_us", kernel.time_us().p999()},
          {"max_us", kernel.time_us().max()},
          {"share", kernel.share()},
          {"roofline", kernel.roofline()},
          {"compile_ms", kernel.compile_ms()},
          {"cache", kernel.cache()}};
}

namespace {

ordered_json TimeJson(const v1::Latency& time) {
  return {{"mean_us", time.mean()}, {"variance_us2", time.variance()},
          {"cv", time.cv()},        {"median_us", time.median()},
          {"p99_us", time.p99()},   {"max_us", time.max()}};
}

ordered_json ActivityJson(const v1::Activity& model) {
  ordered_json phases = ordered_json::object();
  for (const v1::PhaseStatistics& phase : model.phases()) {
    phases[phase.phase()] = TimeJson(phase.time_us());
  }
  ordered_json kernels = ordered_json::array();
  for (const v1::KernelStatistics& kernel : model.kernels()) {
    kernels.push_back(KernelJson(kernel));
  }
  return {{"model", model.label()},
          {"device", model.device()},
          {"successes", model.successes()},
          {"failures", model.failures()},
          {"inferences", model.inferences()},
          {"executions", model.executions()},
          {"pending", model.pending()},
          {"request", TimeJson(model.request_us())},
          {"phases", phases},
          {"kernels", kernels}};
}

}  // namespace

ordered_json WindowJson(const v1::WatchKernelsResponse& window) {
  ordered_json loaded = ordered_json::array();
  for (const v1::Activity& model : window.loaded()) {
    loaded.push_back(ActivityJson(model));
  }
  return {{"window_s", static_cast<double>(window.window().seconds()) +
                           static_cast<double>(window.window().nanos()) * 1e-9},
          {"loaded", loaded}};
}

}  // namespace quern::cli
