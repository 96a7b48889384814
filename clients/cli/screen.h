// SPDX-License-Identifier: Apache-2.0
//
// The terminal as one screen, by ncurses, from its opening to its end.
//
// There is one at a time, for one thread.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "clients/cli/top_view.h"

namespace quern::cli {

class Screen {
 public:
  enum class Key {
    kNone,
    kUp,
    kDown,
    kPageUp,
    kPageDown,
    kOrder,
    kPause,
    kEnd
  };

  // kUnavailable if the terminal is of a kind that is not known.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Screen>> Open();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Makes the terminal what it was, for a process that ends at once.
  static void Restore();

  // Whether the terminal takes UTF-8.
  [[nodiscard]] bool is_unicode() const { return is_unicode_; }

  // Draws the view in the size that the terminal has now.
  void Show(const TopView& view);

  // Waits for a key for a twentieth of a second.
  [[nodiscard]] Key NextKey();

 private:
  explicit Screen(void* screen);

  void* const screen_;  // ncurses'.
  bool is_unicode_ = false;
};

}  // namespace quern::cli
