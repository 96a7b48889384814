// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/screen.h"

#include <clocale>
#include <cstdlib>
#include <cstring>
#include <langinfo.h>
#include <ncurses.h>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace quern::cli {
namespace {

constexpr int kControlC = 3;
constexpr int kPollMs = 50;

attr_t AttributeOf(TopView::Style style) {
  switch (style) {
    case TopView::Style::kTitle:
    case TopView::Style::kBad:
      return A_BOLD;
    case TopView::Style::kHeading:
      return A_UNDERLINE;
    case TopView::Style::kSelected:
      return A_REVERSE;
    case TopView::Style::kPlain:
      break;
  }
  return A_NORMAL;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Screen>> Screen::Open() {
  std::setlocale(LC_ALL, "");
  SCREEN* screen = newterm(nullptr, stdout, stdin);
  if (screen == nullptr) {
    const char* term = std::getenv("TERM");
    return absl::UnavailableError(
        absl::StrCat("cannot draw on a terminal of the kind '",
                     term == nullptr ? "" : term, "' (TERM)"));
  }
  return std::unique_ptr<Screen>(new Screen(screen));
}

Screen::Screen(void* screen) : screen_(screen) {
  set_term(static_cast<SCREEN*>(screen_));
  raw();
  noecho();
  curs_set(0);
  keypad(stdscr, TRUE);
  timeout(kPollMs);
  is_unicode_ = std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

Screen::~Screen() {
  endwin();
  delscreen(static_cast<SCREEN*>(screen_));
}

void Screen::Restore() { endwin(); }

void Screen::Show(const TopView& view) {
  erase();
  const std::vector<TopView::Line> lines = view.Render(COLS, LINES);
  for (size_t i = 0; i < lines.size(); ++i) {
    attrset(AttributeOf(lines[i].style));
    mvaddstr(static_cast<int>(i), 0, lines[i].text.c_str());
  }
  attrset(A_NORMAL);
  refresh();
}

Screen::Key Screen::NextKey() {
  switch (getch()) {
    case 'q':
    case kControlC:
      return Key::kEnd;
    case 's':
      return Key::kOrder;
    case ' ':
      return Key::kPause;
    case KEY_UP:
      return Key::kUp;
    case KEY_DOWN:
      return Key::kDown;
    case KEY_PPAGE:
      return Key::kPageUp;
    case KEY_NPAGE:
      return Key::kPageDown;
    default:
      return Key::kNone;
  }
}

}  // namespace quern::cli
