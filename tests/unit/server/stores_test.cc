// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <future>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "server/graph_store.h"
#include "server/metrics_exporter.h"
#include "server/model_store.h"
#include "server/work_queue.h"
#include "tests/unit/server/fake_engine.h"

namespace quern::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A model called "m".
std::shared_ptr<const LoadedModel> Loaded(int64_t version) {
  return std::make_shared<const LoadedModel>(
      "m", version, std::make_shared<const graph::Graph>(),
      base::CompileOptions{},
      std::make_shared<EchoModel>(std::vector<TensorSpec>{}),
      inference::ModelConfig());
}

RequestTimes Times(int64_t total_ns, int64_t queue_ns) {
  RequestTimes times;
  times.total_ns = total_ns;
  times[Phase::kQueue] = queue_ns;
  return times;
}

TEST(ModelNames, AreNoPathsAndNoTricks) {
  for (const char* good : {"a", "resnet-50", "m_1.2", "A.b"}) {
    EXPECT_TRUE(CheckModelName(good).ok()) << good;
  }
  for (const char* bad : {"", ".", "..", "../a", "a/b", "a..b", ".hidden",
                          "a b", "a\n", "\xc3\xa4", "a%2e"}) {
    EXPECT_FALSE(CheckModelName(bad).ok()) << bad;
  }
  EXPECT_FALSE(CheckModelName(std::string("a\0b", 3)).ok());
  EXPECT_FALSE(CheckModelName(std::string(129, 'a')).ok());
}

TEST(ModelVersions, ArePositiveNumbersWrittenPlainly) {
  EXPECT_EQ(*ParseVersion("12"), 12);
  for (const char* bad : {"", "0", "-1", "+1", "01", "1.0", " 1", "1 ", "0x1",
                          "99999999999999999999"}) {
    EXPECT_FALSE(ParseVersion(bad).ok()) << bad;
  }
}

TEST(ModelStore, ServesTheGreatestReadyVersionUnlessOneIsNamed) {
  telemetry::Metrics metrics;
  ModelStore store(10, &metrics);
  for (int64_t version : {1, 2, 10}) {
    ASSERT_TRUE(store.BeginLoad("m", version).ok());
  }
  store.EndLoad("m", 1, Loaded(1));
  store.EndLoad("m", 2, Loaded(2));
  store.EndLoad("m", 10, absl::InternalError("no luck"));
  EXPECT_EQ(store.Find("m", "")->version, 2);
  EXPECT_EQ(store.Find("m", "1")->version, 1);
  EXPECT_EQ(
      store.Find("m", "10").status(),
      absl::NotFoundError("model 'm' version 10 could not be loaded: no luck"));
  EXPECT_EQ(store.Find("m", "3").status(),
            absl::NotFoundError("model 'm' has no version '3', it has 1, 2, "
                                "10"));
  EXPECT_EQ(store.Find("n", "").status(),
            absl::NotFoundError("there is no model 'n'"));
}

TEST(ModelStore, AFailedReloadKeepsTheVersionThatServes) {
  telemetry::Metrics metrics;
  ModelStore store(10, &metrics);
  ASSERT_TRUE(store.BeginLoad("m", 1).ok());
  const auto first = Loaded(1);
  store.EndLoad("m", 1, first);
  ASSERT_TRUE(store.BeginLoad("m", 1).ok());
  EXPECT_EQ(store.Find("m", "1")->loaded, first);
  store.EndLoad("m", 1, absl::InternalError("no luck"));
  EXPECT_EQ(store.Find("m", "1")->loaded, first);
}

TEST(ModelStore, RefusesMoreModelsThanItsLimit) {
  telemetry::Metrics metrics;
  ModelStore store(1, &metrics);
  ASSERT_TRUE(store.BeginLoad("m", 1).ok());
  EXPECT_EQ(store.BeginLoad("m", 2).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(
      metrics.GetNumber(telemetry::Metric::kLoadRejects, {"models"})->Get(), 1);
}

TEST(ModelStore, ARemovedModelLeavesTheMetricsAndRunsOn) {
  telemetry::Metrics metrics;
  ModelStore store(10, &metrics);
  ASSERT_TRUE(store.BeginLoad("m", 1).ok());
  store.EndLoad("m", 1, Loaded(1));
  const auto held = store.Find("m", "1")->loaded;
  held->CountRequest(absl::StatusCode::kOk, Times(1000, 10));
  EXPECT_THAT(MetricsText(metrics, [&] { return std::vector{held}; }),
              HasSubstr("quern_requests_total{model=\"m/1\",code=\"OK\"} 1"));
  ASSERT_TRUE(store.Remove("m", 1).ok());
  held->CountRequest(absl::StatusCode::kOk, Times(1000, 10));
  EXPECT_THAT(
      MetricsText(
          metrics,
          [] { return std::vector<std::shared_ptr<const LoadedModel>>{}; }),
      Not(HasSubstr("m/1")));
}

TEST(ModelStore, AReplacedModelHandsItsLabelOver) {
  telemetry::Metrics metrics;
  ModelStore store(10, &metrics);
  std::vector<std::shared_ptr<const LoadedModel>> held;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(store.BeginLoad("m", 1).ok());
    store.EndLoad("m", 1, Loaded(1));
    held.push_back(store.Find("m", "1")->loaded);
    held[i]->CountRequest(absl::StatusCode::kOk, Times(1, 1));
  }
  held[0]->CountRequest(absl::StatusCode::kOk, Times(1, 1));
  EXPECT_THAT(MetricsText(metrics,
                          [&] {
                            std::vector<std::shared_ptr<const LoadedModel>> all;
                            for (const ModelVersion& version : store.List()) {
                              all.push_back(version.loaded);
                            }
                            return all;
                          }),
              HasSubstr("quern_requests_total{model=\"m/1\",code=\"OK\"} 1"));
}

TEST(MetricsText, AddsUpModelsOfOneLabel) {
  telemetry::Metrics metrics;
  const std::vector<std::shared_ptr<const LoadedModel>> both = {Loaded(1),
                                                                Loaded(1)};
  both[0]->CountRequest(absl::StatusCode::kOk, Times(1000, 10));
  both[1]->CountRequest(absl::StatusCode::kOk, Times(3000, 10), 5);
  both[1]->CountRequest(absl::StatusCode::kInternal, Times(2000, 10));
  both[1]->CountExecution({.rows = 5});
  const std::string text = MetricsText(metrics, [&] { return both; });
  for (const char* line :
       {"quern_requests_total{model=\"m/1\",code=\"OK\"} 2",
        "quern_requests_total{model=\"m/1\",code=\"INTERNAL\"} 1",
        "quern_request_duration_seconds_count{model=\"m/1\"} 3",
        "quern_request_phase_seconds_count{model=\"m/1\",phase=\"queue\"} 2",
        "quern_request_phase_mean_seconds{model=\"m/1\",phase=\"total\"} "
        "2e-06",
        "nv_inference_count{model=\"m\",version=\"1\"} 6",
        "nv_inference_exec_count{model=\"m\",version=\"1\"} 1"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsText, HasHistogramMeanVarianceAndCvOfEveryKernel) {
  telemetry::Metrics metrics;
  const auto loaded = Loaded(1);
  const auto& model = loaded->model();
  ASSERT_TRUE(model.Run({}, {}, {}, {}).ok());
  ASSERT_TRUE(model.Run({}, {}, {}, {}).ok());
  const std::string text =
      MetricsText(metrics, [&] { return std::vector{loaded}; });
  const std::string labels = "{model=\"m/1\",device=\"cpu\",kernel=\"echo\"";
  for (const std::string& line :
       {"quern_kernel_duration_seconds_count" + labels + "} 2",
        "quern_kernel_duration_seconds_bucket" + labels + ",le=\"+Inf\"} 2",
        "quern_kernel_duration_mean_seconds" + labels + "} 0.001",
        "quern_kernel_duration_variance_seconds2" + labels + "} 0",
        "quern_kernel_duration_cv" + labels + "} 0",
        "quern_kernel_launches_total" + labels + "} 2"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

std::shared_ptr<const Content> GraphContent(int64_t size) {
  auto content = std::make_shared<Content>();
  content->graph = std::make_shared<const graph::Graph>();
  content->size_bytes = size;
  return content;
}

TEST(GraphStore, ForgetsTheLeastRecentlyUsedContentWhenItIsFull) {
  telemetry::Metrics metrics;
  FakeEngine engine;
  GraphStore store(100, 10, &engine);
  for (const char* key : {"a", "b"}) {
    ASSERT_TRUE(store.Reserve(40).ok());
    store.Add(key, GraphContent(40));
  }
  ASSERT_TRUE(store.Find("a").ok());
  ASSERT_TRUE(store.Reserve(40).ok());
  EXPECT_TRUE(store.Find("a").ok());
  EXPECT_EQ(store.Find("b").status().code(), absl::StatusCode::kNotFound);
}

TEST(GraphStore, RefusesWhatCannotFitBesideWhatIsArriving) {
  telemetry::Metrics metrics;
  FakeEngine engine;
  GraphStore store(100, 10, &engine);
  ASSERT_TRUE(store.Reserve(60).ok());
  EXPECT_EQ(store.Reserve(60).code(), absl::StatusCode::kResourceExhausted);
  store.Release(60);
  EXPECT_TRUE(store.Reserve(60).ok());
}

TEST(GraphStore, LoadsAGraphOnceForEachSetOfOptions) {
  telemetry::Metrics metrics;
  FakeEngine engine;
  GraphStore store(100, 10, &engine);
  ASSERT_TRUE(store.Reserve(1).ok());
  store.Add("a", GraphContent(1));
  const Progress ignore = [](absl::string_view, int, int) {};
  base::CompileOptions options;
  EXPECT_TRUE(store.FindOrLoad("a", options, ignore)->loaded_now);
  EXPECT_FALSE(store.FindOrLoad("a", options, ignore)->loaded_now);
  options.sizes = {{"n", 3}};
  EXPECT_TRUE(store.FindOrLoad("a", options, ignore)->loaded_now);
  EXPECT_EQ(engine.loads, 2);
}

TEST(GraphStore, AFailedLoadCanBeTriedAgain) {
  telemetry::Metrics metrics;
  FakeEngine engine;
  GraphStore store(100, 10, &engine);
  ASSERT_TRUE(store.Reserve(1).ok());
  store.Add("a", GraphContent(1));
  const Progress ignore = [](absl::string_view, int, int) {};
  base::CompileOptions options;
  options.device = "broken";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store.FindOrLoad("a", options, ignore).status(),
              absl::InternalError("the device is broken"));
  }
  EXPECT_EQ(engine.loads, 2);
}

TEST(GraphStore, KeepsNoMoreModelsLoadedThanItsLimit) {
  telemetry::Metrics metrics;
  FakeEngine engine;
  GraphStore store(100, 2, &engine);
  const Progress ignore = [](absl::string_view, int, int) {};
  for (const char* key : {"a", "b", "c"}) {
    ASSERT_TRUE(store.Reserve(1).ok());
    store.Add(key, GraphContent(1));
    ASSERT_TRUE(store.FindOrLoad(key, {}, ignore).ok());
  }
  EXPECT_EQ(store.Loaded().size(), 2u);
  EXPECT_EQ(store.FindLoaded("a", {}), nullptr);
  EXPECT_NE(store.FindLoaded("c", {}), nullptr);
}

TEST(WorkQueue, RefusesMoreThanItsThreadsAndItsLimit) {
  base::Mutex mutex;
  mutex.Lock();
  std::atomic<int> done = 0;
  {
    WorkQueue queue("requests", 1, 1, 1);
    const auto wait = [&] {
      const base::MutexLock lock(&mutex);
      ++done;
    };
    ASSERT_TRUE(queue.Add(nullptr, wait).ok());
    ASSERT_TRUE(queue.Add(nullptr, wait).ok());
    // The first may not have been taken up yet; it counts all the same.
    const absl::Status status = queue.Add(nullptr, wait);
    EXPECT_EQ(status, absl::ResourceExhaustedError(
                          "1 requests wait already, try again later"));
    mutex.Unlock();
  }
  EXPECT_EQ(done, 2);
}

TEST(WorkQueue, RunsWhatItAcceptedAndRefusesTheRestAfterShutdown) {
  std::atomic<int> done = 0;
  WorkQueue queue("requests", 2, 2, 100);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(queue.Add(nullptr, [&] { ++done; }).ok());
  }
  queue.Shutdown();
  EXPECT_EQ(done, 50);
  EXPECT_EQ(queue.Add(nullptr, [&] { ++done; }).code(),
            absl::StatusCode::kUnavailable);
}

TEST(WorkQueue, LeavesTheProcessorToOthersIfItIsToldTo) {
  const int ours = getpriority(PRIO_PROCESS, 0);
  const auto niceness = [](WorkQueue& queue) {
    std::atomic<int> theirs = -1;
    EXPECT_TRUE(
        queue.Add(nullptr, [&] { theirs = getpriority(PRIO_PROCESS, 0); })
            .ok());
    queue.Shutdown();
    return theirs.load();
  };
  WorkQueue requests("requests", 1, 1, 1);
  EXPECT_EQ(niceness(requests), ours);
  WorkQueue loads("loads", 1, 1, 1, 19);
  EXPECT_EQ(niceness(loads), 19);
}

TEST(LoadedModel, IsShortForSizesWhoseRequestsWere) {
  const auto model = Loaded(1);
  EXPECT_FALSE(model->IsShort(1000, 100));
  model->LearnTime(1000, 50);
  EXPECT_TRUE(model->IsShort(1000, 100));
  EXPECT_TRUE(model->IsShort(600, 100));    // Of the same power of two.
  EXPECT_FALSE(model->IsShort(2000, 100));  // Of another.
  // One that was long is remembered for a while.
  model->LearnTime(1000, 1000);
  EXPECT_FALSE(model->IsShort(1000, 100));
  model->LearnTime(1000, 50);
  EXPECT_FALSE(model->IsShort(1000, 100));
  for (int i = 0; i < 100; ++i) model->LearnTime(1000, 50);
  EXPECT_TRUE(model->IsShort(1000, 100));
  for (const int64_t bytes : {int64_t{0}, int64_t{-1}, INT64_MAX}) {
    model->LearnTime(bytes, 0);
    EXPECT_TRUE(model->IsShort(bytes, 100));
  }
}

TEST(WorkQueue, OwnersTakeTurns) {
  std::promise<void> gate;
  std::promise<void> started;
  std::string order;
  const int a = 0, b = 0, c = 0;
  {
    WorkQueue queue("requests", 1, 1, 100);
    ASSERT_TRUE(queue
                    .Add(nullptr,
                         [&] {
                           started.set_value();
                           gate.get_future().wait();
                         })
                    .ok());
    started.get_future().wait();
    const auto add = [&](const int& owner, char letter) {
      ASSERT_TRUE(
          queue.Add(&owner, [&order, letter] { order += letter; }).ok());
    };
    for (int i = 0; i < 4; ++i) add(a, 'a');
    for (int i = 0; i < 2; ++i) add(b, 'b');
    add(c, 'c');
    add(a, 'A');
    gate.set_value();
  }
  EXPECT_EQ(order, "abcabaaA");
}

TEST(WorkQueue, AnOwnerHasNoMoreThanItsPartOfTheThreads) {
  std::promise<void> gate;
  const std::shared_future<void> opened = gate.get_future().share();
  std::promise<void> served;
  std::atomic<int> run = 0;
  const int busy = 0, quiet = 0;
  {
    WorkQueue queue("requests", 3, 2, 100);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(queue
                      .Add(&busy,
                           [&] {
                             ++run;
                             opened.wait();
                           })
                      .ok());
    }
    ASSERT_TRUE(queue.Add(&quiet, [&] { served.set_value(); }).ok());
    served.get_future().wait();
    EXPECT_LE(run, 2);
    gate.set_value();
  }
  EXPECT_EQ(run, 5);
}

TEST(WorkQueue, WhoHasLittleWaitingIsNotRefusedForTheMuchOfOthers) {
  std::promise<void> gate;
  std::promise<void> started;
  std::atomic<int> run = 0;
  const int busy = 0, quiet = 0;
  {
    WorkQueue queue("requests", 1, 1, 10);
    ASSERT_TRUE(queue
                    .Add(nullptr,
                         [&] {
                           started.set_value();
                           gate.get_future().wait();
                         })
                    .ok());
    started.get_future().wait();
    const auto count = [&] { ++run; };
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(queue.Add(&busy, count).ok());
    EXPECT_EQ(queue.Add(&busy, count).code(),
              absl::StatusCode::kResourceExhausted);
    // Half of ten is its part, and no more.
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(queue.Add(&quiet, count).ok());
    EXPECT_EQ(queue.Add(&quiet, count).code(),
              absl::StatusCode::kResourceExhausted);
    gate.set_value();
  }
  EXPECT_EQ(run, 15);
}

}  // namespace
}  // namespace quern::server
