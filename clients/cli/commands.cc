// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/commands.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace quern::cli {

absl::StatusOr<std::unique_ptr<Connection>> OpenConnection(
    const Options& options, bool fresh_cache) {
  if (!options.server.empty()) {
    if (options.has_cache_dir) {
      return absl::InvalidArgumentError(
          "--cache-dir is for a server of this command, not for --server");
    }
    return Connection::To(options.server, options.token, options.tls_ca);
  }
  std::vector<std::string> arguments = {"--max-message-bytes", "2147483647"};
  if (options.threads > 0) {
    arguments.push_back("--threads");
    arguments.push_back(absl::StrCat(options.threads));
  }
  if (options.has_cache_dir || fresh_cache) {
    arguments.push_back("--cache-dir");
    arguments.push_back(options.cache_dir);
  }
  // What is not opened by default is opened when it is asked for.
  const std::string& device = options.device;
  if (!device.empty() && device != "cpu" && device != "ref") {
    arguments.push_back("--devices");
    arguments.push_back(absl::StrCat("cpu,ref,", device));
  }
  return Connection::StartServer(arguments);
}

absl::Status NeedServer(const Options& options) {
  if (!options.server.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "this is for a server that runs: name it by --server or QUERN_SERVER");
}

ProgressLine::ProgressLine(const Options& options)
    : enabled_(options.progress || isatty(STDERR_FILENO) == 1),
      terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressLine::~ProgressLine() { Clear(); }

void ProgressLine::Show(const std::string& text) {
  if (!enabled_) return;
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::Show(const v1::Progress& progress) {
  Show(absl::StrCat(progress.what(), " ", progress.done(), "/", progress.of()));
}

void ProgressLine::Clear() {
  if (shown_ && terminal_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

absl::StatusOr<v1::ExecuteResult> Execute(
    Connection& connection, const v1::Subject& subject,
    const std::vector<v1::NamedTensor>& inputs, ProgressLine& progress) {
  v1::ExecuteRequest request;
  *request.mutable_subject() = subject;
  for (const v1::NamedTensor& input : inputs) *request.add_inputs() = input;
  grpc::ClientContext context;
  const auto reader = connection.graphs().Execute(&context, request);
  v1::ExecuteResult result;
  bool done = false;
  const absl::Status status =
      ReadStream(*reader, progress, [&](v1::ExecuteResponse message) {
        result = std::move(*message.mutable_result());
        done = true;
      });
  if (!status.ok()) return status;
  if (!done) return absl::InternalError("the server sent no result");
  return result;
}

v1::Latency LatencyOf(std::vector<double> values) {
  v1::Latency latency;
  if (values.empty()) return latency;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  double sum = 0;
  for (double value : values) sum += value;
  const double mean = sum / static_cast<double>(n);
  double squares = 0;
  for (double value : values) squares += (value - mean) * (value - mean);
  const double stdev =
      n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0;
  const auto quantile = [&](double q) {
    const double rank = std::ceil(q * static_cast<double>(n));
    return values[std::min(n, static_cast<size_t>(std::max(rank, 1.0))) - 1];
  };
  latency.set_median(n % 2 == 1 ? values[n / 2]
                                : (values[n / 2 - 1] + values[n / 2]) / 2);
  latency.set_mean(mean);
  latency.set_stdev(stdev);
  latency.set_cv(mean > 0 ? stdev / mean : 0);
  latency.set_min(values[0]);
  latency.set_p90(quantile(0.9));
  latency.set_p99(quantile(0.99));
  return latency;
}

}  // namespace quern::cli
