// SPDX-License-Identifier: Apache-2.0
//
// A TopView is what `quern top` shows, as lines of text: the models with their
// rates and times, the kernels of the one that is selected, and how both came
// along. It knows no terminal.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proto/quern/v1/kernel_service.pb.h"

namespace quern::cli {

class TopView {
 public:
  enum class Style { kPlain, kTitle, kHeading, kSelected, kBad };
  struct Line {
    std::string text;  // UTF-8, of at most the width's characters.
    Style style = Style::kPlain;
  };
  // What kernels are ordered by, greatest first.
  enum class Order { kShare, kMean, kCv, kP99, kLaunches };

  // `title` names the server. Without `unicode`, lines of history are drawn
  // with ASCII.
  TopView(std::string title, bool unicode);

  // Takes what happened in a window.
  void Take(const v1::WatchKernelsResponse& window);

  // Selects the model before or after the one that is selected.
  void SelectModel(int by);
  // Leaves out so many more of the first kernels.
  void ScrollKernels(int by);
  void NextOrder();
  // While paused, windows are not taken.
  void TogglePause() { paused_ = !paused_; }

  // The screen. A width or height below 1 counts as 1.
  [[nodiscard]] std::vector<Line> Render(int width, int height) const;

 private:
  // One value a window; negative where nothing happened.
  using History = std::deque<double>;

  [[nodiscard]] const v1::Activity* Selected() const;
  [[nodiscard]] std::vector<const v1::KernelStatistics*> Kernels() const;
  [[nodiscard]] std::string ModelRow(const v1::Activity& model,
                                     int width) const;
  [[nodiscard]] std::string KernelRow(const v1::Activity& model,
                                      const v1::KernelStatistics& kernel,
                                      int width) const;
  // The end of a history in `width` characters, from 0 to its greatest.
  [[nodiscard]] std::string Sparkline(const History& history, int width) const;

  const std::string title_;
  const bool unicode_;
  bool paused_ = false;
  Order order_ = Order::kShare;
  std::string selected_;  // A label.
  size_t first_kernel_ = 0;
  size_t windows_ = 0;
  double window_s_ = 0;
  v1::WatchKernelsResponse last_;
  // By label and kernel; an empty kernel is the model.
  std::map<std::pair<std::string, std::string>, History> history_;
};

}  // namespace quern::cli
