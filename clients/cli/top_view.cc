// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/top_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quern::cli {
namespace {

constexpr size_t kHistory = 240;
constexpr int kLeastSparkline = 8;

const char* NameOf(TopView::Order order) {
  switch (order) {
    case TopView::Order::kShare:
      return "share";
    case TopView::Order::kMean:
      return "mean";
    case TopView::Order::kCv:
      return "cv";
    case TopView::Order::kP99:
      return "p99";
    case TopView::Order::kLaunches:
      return "launches";
  }
  return "";
}

double KeyOf(TopView::Order order, const v1::KernelStatistics& kernel) {
  switch (order) {
    case TopView::Order::kShare:
      return kernel.share();
    case TopView::Order::kMean:
      return kernel.time_us().mean();
    case TopView::Order::kCv:
      return kernel.time_us().cv();
    case TopView::Order::kP99:
      return kernel.time_us().p99();
    case TopView::Order::kLaunches:
      return static_cast<double>(kernel.launches());
  }
  return 0;
}

// `text` in ASCII, cut to `width`, with a mark where it was cut.
std::string Cut(std::string text, int width) {
  const auto room = static_cast<size_t>(std::max(width, 1));
  if (text.size() <= room) return text;
  text.resize(room);
  text.back() = '>';
  return text;
}

// The first column takes what the others leave, up to what it needs; the rest
// is for the history.
int NameWidth(int width, int others, int wanted) {
  return std::clamp(width - others - kLeastSparkline - 1, 8, wanted);
}

constexpr char kModelHeading[] = "%-*s %-6s %9s %9s %7s %5s %10s %7s %10s %9s";
constexpr char kModelRow[] =
    "%-*s %-6s %9.1f %9.1f %7.1f %5d %10.1f %6.1f%% %10.1f %9.1f";
constexpr int kModelOthers = 82;
constexpr int kModelName = 32;

constexpr char kKernelHeading[] = "%-*s %10s %10s %10s %7s %10s %6s %6s";
constexpr char kKernelRow[] =
    "%-*s %10.1f %10.2f %10.2f %6.1f%% %10.2f %5.1f%% %5.1f%%";
constexpr int kKernelOthers = 66;
constexpr int kKernelName = 44;

}  // namespace

TopView::TopView(std::string title, bool unicode)
    : title_(std::move(title)), unicode_(unicode) {}

void TopView::Take(const v1::WatchKernelsResponse& window) {
  if (paused_) return;
  last_ = window;
  window_s_ = static_cast<double>(window.window().seconds()) +
              static_cast<double>(window.window().nanos()) * 1e-9;
  ++windows_;
  std::sort(last_.mutable_loaded()->pointer_begin(),
            last_.mutable_loaded()->pointer_end(),
            [](const v1::Activity* a, const v1::Activity* b) {
              return a->label() < b->label();
            });
  // What is no longer loaded has no history.
  std::map<std::pair<std::string, std::string>, History> history;
  const auto append = [&](const std::string& label, const std::string& kernel,
                          bool happened, const v1::Latency& time) {
    History& mine = history[{label, kernel}];
    const auto before = history_.find({label, kernel});
    if (before != history_.end()) mine = std::move(before->second);
    mine.push_back(happened ? time.mean() : -1);
    if (mine.size() > kHistory) mine.pop_front();
  };
  for (const v1::Activity& model : last_.loaded()) {
    append(model.label(), "", model.successes() > 0, model.request_us());
    for (const v1::KernelStatistics& kernel : model.kernels()) {
      append(model.label(), kernel.name(), kernel.launches() > 0,
             kernel.time_us());
    }
  }
  history_ = std::move(history);
  if (Selected() == nullptr) {
    selected_ = last_.loaded_size() > 0 ? last_.loaded(0).label() : "";
    first_kernel_ = 0;
  }
}

const v1::Activity* TopView::Selected() const {
  for (const v1::Activity& model : last_.loaded()) {
    if (model.label() == selected_) return &model;
  }
  return nullptr;
}

void TopView::SelectModel(int by) {
  for (int i = 0; i < last_.loaded_size(); ++i) {
    if (last_.loaded(i).label() != selected_) continue;
    const int to = std::clamp(i + by, 0, last_.loaded_size() - 1);
    selected_ = last_.loaded(to).label();
    first_kernel_ = 0;
    return;
  }
}

void TopView::ScrollKernels(int by) {
  const v1::Activity* model = Selected();
  if (model == nullptr) return;
  const int last = std::max(model->kernels_size() - 1, 0);
  first_kernel_ = static_cast<size_t>(
      std::clamp(static_cast<int>(first_kernel_) + by, 0, last));
}

void TopView::NextOrder() {
  order_ = order_ == Order::kLaunches
               ? Order::kShare
               : static_cast<Order>(static_cast<int>(order_) + 1);
}

std::vector<const v1::KernelStatistics*> TopView::Kernels() const {
  std::vector<const v1::KernelStatistics*> kernels;
  const v1::Activity* model = Selected();
  if (model == nullptr) return kernels;
  for (const v1::KernelStatistics& kernel : model->kernels()) {
    // What runs once, at load, never runs in a window.
    if (!kernel.at_load()) kernels.push_back(&kernel);
  }
  std::stable_sort(kernels.begin(), kernels.end(),
                   [&](const auto* a, const auto* b) {
                     return KeyOf(order_, *a) > KeyOf(order_, *b);
                   });
  return kernels;
}

std::string TopView::Sparkline(const History& history, int width) const {
  static constexpr const char* kBlocks[] = {"▁", "▂", "▃", "▄",
                                            "▅", "▆", "▇", "█"};
  static constexpr const char* kAscii[] = {"_", ".", ":", "-",
                                           "=", "+", "*", "#"};
  constexpr int kLevels = 8;
  const size_t count =
      std::min(history.size(), static_cast<size_t>(std::max(width, 0)));
  double most = 0;
  for (size_t i = history.size() - count; i < history.size(); ++i) {
    most = std::max(most, history[i]);
  }
  std::string line;
  for (size_t i = history.size() - count; i < history.size(); ++i) {
    if (history[i] < 0) {
      line += ' ';
      continue;
    }
    const double part = most > 0 ? history[i] / most : 0;
    const int level =
        std::clamp(static_cast<int>(part * kLevels), 0, kLevels - 1);
    line += unicode_ ? kBlocks[level] : kAscii[level];
  }
  return line;
}

std::string TopView::ModelRow(const v1::Activity& model, int width) const {
  const double seconds = window_s_ > 0 ? window_s_ : 1;
  double queue_us = 0;
  for (const v1::PhaseStatistics& phase : model.phases()) {
    if (phase.phase() == "queue") queue_us = phase.time_us().mean();
  }
  const int name = NameWidth(width, kModelOthers, kModelName);
  std::string row =
      Cut(absl::StrFormat(
              kModelRow, name, Cut(model.label(), name), Cut(model.device(), 6),
              static_cast<double>(model.successes()) / seconds,
              static_cast<double>(model.inferences()) / seconds,
              static_cast<double>(model.failures()) / seconds, model.pending(),
              model.request_us().mean(), model.request_us().cv() * 100,
              model.request_us().p99(), queue_us),
          width);
  const int rest = width - static_cast<int>(row.size()) - 1;
  if (rest > 0) {
    absl::StrAppend(&row, " ",
                    Sparkline(history_.at({model.label(), ""}), rest));
  }
  return row;
}

std::string TopView::KernelRow(const v1::Activity& model,
                               const v1::KernelStatistics& kernel,
                               int width) const {
  const double seconds = window_s_ > 0 ? window_s_ : 1;
  const v1::Latency& time = kernel.time_us();
  const int name = NameWidth(width, kKernelOthers, kKernelName);
  std::string row = Cut(
      absl::StrFormat(kKernelRow, name, Cut(kernel.name(), name),
                      static_cast<double>(kernel.launches()) / seconds,
                      time.mean(), time.stdev(), time.cv() * 100, time.p99(),
                      kernel.share() * 100, kernel.roofline() * 100),
      width);
  const int rest = width - static_cast<int>(row.size()) - 1;
  if (rest > 0) {
    absl::StrAppend(
        &row, " ",
        Sparkline(history_.at({model.label(), kernel.name()}), rest));
  }
  return row;
}

std::vector<TopView::Line> TopView::Render(int width, int height) const {
  width = std::max(width, 1);
  const auto room = static_cast<size_t>(std::max(height, 1));
  std::vector<Line> lines;
  const auto add = [&](std::string text, Style style) {
    if (lines.size() < room) lines.push_back({std::move(text), style});
  };
  add(Cut(absl::StrFormat("quern top  %s  %d loaded  window %.1f s%s", title_,
                          last_.loaded_size(), window_s_,
                          paused_ ? "  PAUSED" : ""),
          width),
      Style::kTitle);
  if (windows_ == 0) {
    add(Cut("waiting for the first window", width), Style::kPlain);
    return lines;
  }
  add(Cut(absl::StrFormat(kModelHeading,
                          NameWidth(width, kModelOthers, kModelName), "model",
                          "device", "req/s", "inf/s", "fail/s", "pend",
                          "mean us", "cv", "p99 us", "queue us") +
              " mean us",
          width),
      Style::kHeading);
  const v1::Activity* selected = Selected();
  // Half of the screen is for models; the selected one is among them.
  const int shown = std::max(1, std::min(last_.loaded_size(), height / 2 - 2));
  int first = 0;
  for (int i = 0; i < last_.loaded_size(); ++i) {
    if (&last_.loaded(i) == selected) first = std::max(0, i - shown + 1);
  }
  for (int i = first; i < std::min(last_.loaded_size(), first + shown); ++i) {
    const v1::Activity& model = last_.loaded(i);
    add(ModelRow(model, width), &model == selected     ? Style::kSelected
                                : model.failures() > 0 ? Style::kBad
                                                       : Style::kPlain);
  }
  if (last_.loaded_size() > shown) {
    add(Cut(absl::StrFormat("  %d more", last_.loaded_size() - shown), width),
        Style::kPlain);
  }
  if (selected == nullptr) return lines;
  add("", Style::kPlain);
  add(Cut(absl::StrFormat(kKernelHeading,
                          NameWidth(width, kKernelOthers, kKernelName),
                          absl::StrCat("kernel of ", selected->label(), ", by ",
                                       NameOf(order_)),
                          "launches/s", "mean us", "stdev us", "cv", "p99 us",
                          "share", "roof") +
              " mean us",
          width),
      Style::kHeading);
  const std::vector<const v1::KernelStatistics*> kernels = Kernels();
  for (size_t i = first_kernel_; i < kernels.size(); ++i) {
    add(KernelRow(*selected, *kernels[i], width), Style::kPlain);
  }
  return lines;
}

}  // namespace quern::cli
