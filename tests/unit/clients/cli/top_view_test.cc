// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/top_view.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::cli {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

v1::Activity Model(const std::string& label, uint64_t successes,
                   double mean_us) {
  v1::Activity model;
  model.set_label(label);
  model.set_device("cpu");
  model.set_successes(successes);
  model.set_inferences(3 * successes);
  model.mutable_request_us()->set_mean(mean_us);
  model.mutable_request_us()->set_cv(0.25);
  return model;
}

void AddKernel(v1::Activity& model, const std::string& name, double mean_us,
               double cv, double share) {
  v1::KernelStatistics* kernel = model.add_kernels();
  kernel->set_name(name);
  kernel->set_launches(10);
  kernel->mutable_time_us()->set_mean(mean_us);
  kernel->mutable_time_us()->set_cv(cv);
  kernel->set_share(share);
}

v1::WatchKernelsResponse Window(const std::vector<v1::Activity>& models,
                                int64_t seconds = 2) {
  v1::WatchKernelsResponse window;
  window.mutable_window()->set_seconds(seconds);
  for (const v1::Activity& model : models) *window.add_loaded() = model;
  return window;
}

// The lines' text, without what is after the last of their words.
std::vector<std::string> Texts(const TopView& view, int width = 140,
                               int height = 30) {
  std::vector<std::string> texts;
  for (const TopView::Line& line : view.Render(width, height)) {
    texts.push_back(line.text);
  }
  return texts;
}

TEST(TopView, WaitsForTheFirstWindow) {
  const TopView view("here:1", true);
  EXPECT_THAT(Texts(view),
              testing::ElementsAre(HasSubstr("here:1"),
                                   HasSubstr("waiting for the first window")));
}

TEST(TopView, ShowsRatesOfTheWindow) {
  TopView view("here:1", false);
  view.Take(Window({Model("b/1", 100, 1500), Model("a/1", 0, 0)}));
  const std::vector<std::string> texts = Texts(view);
  EXPECT_THAT(texts[0], AllOf(HasSubstr("2 loaded"), HasSubstr("2.0 s")));
  EXPECT_THAT(texts[2], StartsWith("a/1 "));
  EXPECT_THAT(texts[3], AllOf(StartsWith("b/1 "), HasSubstr(" 50.0 "),
                              HasSubstr(" 150.0 "), HasSubstr(" 1500.0 "),
                              HasSubstr(" 25.0% ")));
}

TEST(TopView, DrawsTheHistoryFromZeroToItsGreatest) {
  for (const bool unicode : {false, true}) {
    TopView view("s", unicode);
    for (const double mean : {80., 10., 40.}) {
      view.Take(Window({Model("m/1", 1, mean)}));
    }
    view.Take(Window({Model("m/1", 0, 0)}));  // Nothing happened.
    view.Take(Window({Model("m/1", 1, 0.0)}));
    EXPECT_THAT(Texts(view)[2], EndsWith(unicode ? " █▂▅ ▁" : " #.= _"));
  }
}

TEST(TopView, ShowsTheKernelsOfTheSelectedModelInOrder) {
  v1::Activity a = Model("a/1", 1, 1);
  AddKernel(a, "slow", 100, 0.1, 0.9);
  AddKernel(a, "jittery", 1, 0.9, 0.1);
  AddKernel(a, "once", 1, 1, 1);
  a.mutable_kernels(2)->set_at_load(true);
  v1::Activity b = Model("b/1", 1, 1);
  AddKernel(b, "other", 5, 0, 1);
  TopView view("s", false);
  view.Take(Window({a, b}));
  EXPECT_THAT(Texts(view)[5], HasSubstr("kernel of a/1, by share"));
  EXPECT_THAT(Texts(view)[6], StartsWith("slow "));
  EXPECT_THAT(Texts(view)[7], StartsWith("jittery "));
  EXPECT_EQ(Texts(view).size(), 8u);
  view.NextOrder();  // By mean.
  view.NextOrder();  // By cv.
  EXPECT_THAT(Texts(view)[5], HasSubstr("by cv"));
  EXPECT_THAT(Texts(view)[6], StartsWith("jittery "));
  view.SelectModel(1);
  EXPECT_THAT(Texts(view)[6], StartsWith("other "));
  EXPECT_EQ(view.Render(100, 30)[3].style, TopView::Style::kSelected);
  view.SelectModel(1);  // There is none after it.
  EXPECT_THAT(Texts(view)[6], StartsWith("other "));
  view.SelectModel(-5);
  EXPECT_THAT(Texts(view)[6], StartsWith("jittery "));
  view.ScrollKernels(1);
  EXPECT_THAT(Texts(view)[6], StartsWith("slow "));
  view.ScrollKernels(-100);
  EXPECT_THAT(Texts(view)[6], StartsWith("jittery "));
}

TEST(TopView, SelectsAnotherModelWhenTheSelectedOneIsGone) {
  TopView view("s", false);
  view.Take(Window({Model("a/1", 1, 1), Model("b/1", 1, 1)}));
  view.Take(Window({Model("b/1", 1, 1)}));
  EXPECT_THAT(Texts(view)[4], HasSubstr("kernel of b/1"));
  view.Take(Window({}));
  EXPECT_EQ(Texts(view).size(), 2u);
  view.SelectModel(1);
  view.ScrollKernels(1);
  view.Take(Window({Model("c/1", 1, 1)}));
  EXPECT_THAT(Texts(view)[4], HasSubstr("kernel of c/1"));
}

TEST(TopView, TakesNothingWhilePaused) {
  TopView view("s", false);
  view.Take(Window({Model("a/1", 1, 1)}));
  view.TogglePause();
  view.Take(Window({Model("b/1", 1, 1)}));
  EXPECT_THAT(Texts(view)[0], HasSubstr("PAUSED"));
  EXPECT_THAT(Texts(view)[2], StartsWith("a/1"));
  view.TogglePause();
  view.Take(Window({Model("b/1", 1, 1)}));
  EXPECT_THAT(Texts(view)[2], StartsWith("b/1"));
}

TEST(TopView, MarksModelsThatFail) {
  v1::Activity bad = Model("b/1", 0, 0);
  bad.set_failures(4);
  TopView view("s", false);
  view.Take(Window({Model("a/1", 1, 1), bad}));
  EXPECT_EQ(view.Render(100, 30)[3].style, TopView::Style::kBad);
}

TEST(TopView, FitsEveryScreen) {
  std::vector<v1::Activity> models;
  for (int i = 0; i < 40; ++i) {
    models.push_back(
        Model(absl::StrCat("a_model_with_a_long_name_", i, "/1"), 1, 1e9));
    for (int k = 0; k < 40; ++k) {
      AddKernel(models.back(), absl::StrCat(std::string(60, 'k'), k), 1e9, 1,
                1);
    }
  }
  TopView view("a.server.with.a.long.name:8001", false);
  for (int i = 0; i < 300; ++i) view.Take(Window(models));
  view.SelectModel(39);
  for (const int height : {0, 1, 2, 3, 5, 10, 24, 100}) {
    for (const int width : {0, 1, 10, 79, 80, 200}) {
      const auto lines = view.Render(width, height);
      EXPECT_LE(lines.size(), static_cast<size_t>(std::max(height, 1)));
      for (const TopView::Line& line : lines) {
        EXPECT_LE(line.text.size(), static_cast<size_t>(std::max(width, 1)))
            << line.text;
      }
    }
  }
  // The selected model is on the screen though it is the last one.
  EXPECT_THAT(Texts(view, 140, 24), testing::Contains(HasSubstr("name_9/1")));
  EXPECT_THAT(Texts(view, 140, 24), testing::Contains(HasSubstr("more")));
}

}  // namespace
}  // namespace quern::cli
