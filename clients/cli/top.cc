// SPDX-License-Identifier: Apache-2.0
//
// The command top: models and kernels as they run, on a terminal or as JSON.
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>
#include <unistd.h>
#include <utility>

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/screen.h"
#include "clients/cli/top_view.h"

namespace quern::cli {
namespace {

// Kernels that a page is.
constexpr int kPage = 10;

using Reader = grpc::ClientReader<v1::WatchKernelsResponse>;

// Does what a key asks for; false if it asks for the end.
bool Obey(Screen::Key key, TopView& view) {
  switch (key) {
    case Screen::Key::kNone:
      break;
    case Screen::Key::kEnd:
      return false;
    case Screen::Key::kOrder:
      view.NextOrder();
      break;
    case Screen::Key::kPause:
      view.TogglePause();
      break;
    case Screen::Key::kUp:
      view.SelectModel(-1);
      break;
    case Screen::Key::kDown:
      view.SelectModel(1);
      break;
    case Screen::Key::kPageUp:
      view.ScrollKernels(-kPage);
      break;
    case Screen::Key::kPageDown:
      view.ScrollKernels(kPage);
      break;
  }
  return true;
}

// Shows windows until the user or the server ends it; the call's status.
absl::StatusOr<grpc::Status> ShowWindows(const Options& options,
                                         grpc::ClientContext& context,
                                         Reader& reader) {
  auto screen = Screen::Open();
  if (!screen.ok()) {
    context.TryCancel();
    static_cast<void>(reader.Finish());
    return screen.status();
  }
  // A signal must not leave the terminal as it is.
  AtSignal(Screen::Restore);
  TopView view(options.server, (*screen)->is_unicode());
  std::mutex mutex;
  std::optional<v1::WatchKernelsResponse> next;
  bool ended = false;
  std::thread reads([&] {
    v1::WatchKernelsResponse window;
    while (reader.Read(&window)) {
      const std::lock_guard<std::mutex> lock(mutex);
      next = std::move(window);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    ended = true;
  });
  bool wanted = true;
  while (wanted) {
    (*screen)->Show(view);
    // Waits for a key for a while.
    wanted = Obey((*screen)->NextKey(), view);
    const std::lock_guard<std::mutex> lock(mutex);
    if (next.has_value()) view.Take(*std::exchange(next, std::nullopt));
    if (ended) break;
  }
  AtSignal(nullptr);
  context.TryCancel();
  reads.join();
  const grpc::Status status = reader.Finish();
  // It was cancelled here.
  if (!wanted) return grpc::Status::OK;
  return status;
}

// Prints windows as lines of JSON.
grpc::Status PrintWindows(const Options& options, grpc::ClientContext& context,
                          Reader& reader) {
  v1::WatchKernelsResponse window;
  int count = 0;
  while (reader.Read(&window)) {
    PrintJson(WindowJson(window));
    std::fflush(stdout);
    if (++count == options.windows) {
      context.TryCancel();
      static_cast<void>(reader.Finish());
      return grpc::Status::OK;
    }
  }
  return reader.Finish();
}

}  // namespace

absl::Status Top(const Options& options) {
  if (auto status = NeedServer(options); !status.ok()) return status;
  if (!options.json &&
      (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)) {
    return absl::FailedPreconditionError(
        "top needs a terminal; --json prints windows");
  }
  const auto connection = OpenConnection(options, false);
  if (!connection.ok()) return connection.status();
  v1::WatchKernelsRequest request;
  if (!options.model.empty()) {
    request.mutable_subject()->mutable_model()->set_name(options.model);
  }
  const auto period = static_cast<int64_t>(options.period_s * 1e9);
  constexpr int64_t kNsPerSecond = 1'000'000'000;
  request.mutable_period()->set_seconds(period / kNsPerSecond);
  request.mutable_period()->set_nanos(
      static_cast<int32_t>(period % kNsPerSecond));
  grpc::ClientContext context;
  const auto reader = (*connection)->kernels().WatchKernels(&context, request);
  if (options.json) return FromGrpc(PrintWindows(options, context, *reader));
  const auto status = ShowWindows(options, context, *reader);
  return status.ok() ? FromGrpc(*status) : status.status();
}

}  // namespace quern::cli
