// SPDX-License-Identifier: Apache-2.0
//
// The real daemon over HTTP: what is served where, its limits and its end.
#include <atomic>
#include <memory>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/e2e/fixtures.h"
#include "tests/support/raw_client.h"

namespace quern::e2e {
namespace {

using nlohmann::json;
using support::Ask;
using support::HeaderOf;
using support::RawAnswer;
using support::RawClient;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Get(const std::string& path) {
  return absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: h\r\n\r\n");
}

std::string PostInfer(const std::string& body,
                      const std::string& headers = "") {
  return absl::StrCat("POST /v2/models/mlp/infer HTTP/1.1\r\nHost: h\r\n",
                      headers, "Content-Length: ", body.size(), "\r\n\r\n",
                      body);
}

// A request to the perceptron as JSON.
std::string JsonOf(const inference::ModelInferRequest& request) {
  const auto& input = request.inputs(0);
  return json({{"inputs",
                {{{"name", input.name()},
                  {"datatype", input.datatype()},
                  {"shape", input.shape()},
                  {"data", FloatsOf(request.raw_input_contents(0))}}}}})
      .dump();
}

class Http : public ::testing::Test {
 protected:
  void Start(std::vector<std::string> flags = {}) {
    WriteFile(folder_.path() + "/mlp/1/model.onnx", PerceptronFile());
    flags.insert(flags.end(), {"--model-repository", folder_.path()});
    daemon_ = std::make_unique<Daemon>(flags);
    ASSERT_FALSE(daemon_->address().empty());
  }
  const std::string& address() { return daemon_->http_address(); }

  Folder folder_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(Http, AnswersAsGrpcDoes) {
  Start();
  const inference::ModelInferRequest request = PerceptronRequest(3);
  const Called called = Infer(*daemon_, request);
  ASSERT_TRUE(called.status.ok());
  const RawAnswer answer = Ask(address(), PostInfer(JsonOf(request)));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json output = json::parse(answer.body)["outputs"][0];
  EXPECT_EQ(output["shape"], json({3, 10}));
  EXPECT_EQ(output["data"].get<std::vector<float>>(),
            FloatsOf(called.response.raw_output_contents(0)));
  const RawAnswer raw =
      Ask(address(), PostInfer(request.raw_input_contents(0),
                               "Inference-Header-Content-Length: 0\r\n"));
  ASSERT_EQ(raw.status, 200) << raw.body;
  EXPECT_EQ(raw.body.substr(
                std::stoul(HeaderOf(raw, "inference-header-content-length"))),
            called.response.raw_output_contents(0));
}

TEST_F(Http, SpeaksToCurl) {
  Start();
  const std::string base = absl::StrCat("http://", address(), "/v2/models/mlp");
  const auto curl = [](std::vector<std::string> words) {
    words.insert(words.begin(), {"/usr/bin/curl", "-sSf", "--max-time", "60"});
    return RunProgram(words);
  };
  EXPECT_EQ(json::parse(curl({base}).out)["name"], "mlp");
  const std::string body = folder_.path() + "/body.json";
  WriteFile(body, JsonOf(PerceptronRequest(100)));
  const Finished inferred = curl({"-v", base + "/infer", "--data", "@" + body,
                                  "--header", "Expect: 100-continue"});
  EXPECT_THAT(inferred.err, HasSubstr("100 Continue"));
  EXPECT_EQ(json::parse(inferred.out)["outputs"][0]["shape"], json({100, 10}));
  EXPECT_EQ(curl({base + "/nope"}).exit_code, 22);
  EXPECT_EQ(curl({"--head", base}).exit_code, 0);
}

TEST_F(Http, CanBeTurnedOff) {
  Start({"--http-address", "none"});
  EXPECT_THAT(daemon_->ready_line(), Not(HasSubstr("http=")));
  EXPECT_TRUE(Infer(*daemon_, PerceptronRequest(1)).status.ok());
}

TEST_F(Http, HasItsLimitsFromItsFlags) {
  Start({"--http-max-connections", "3", "--http-max-header-bytes", "1024",
         "--http-max-json-bytes", "4096", "--max-message-bytes", "100000",
         "--http-idle-timeout", "1", "--http-read-timeout", "1"});
  EXPECT_EQ(Ask(address(), absl::StrCat("GET /v2/", std::string(2000, 'a'),
                                        " HTTP/1.1\r\nHost: h\r\n\r\n"))
                .status,
            431);
  EXPECT_THAT(Ask(address(), PostInfer(std::string(5000, ' '))).body,
              HasSubstr("4096 bytes (--http-max-json-bytes)"));
  EXPECT_THAT(
      Ask(address(), PostInfer(std::string(100'001, ' '),
                               "Inference-Header-Content-Length: 0\r\n"))
          .body,
      HasSubstr("100000 bytes (--max-message-bytes)"));
  RawClient idle(address());
  EXPECT_TRUE(idle.Ends());
  RawClient slow(address());
  slow.Send("GET /v2 HTTP/1.1\r\n");
  EXPECT_EQ(slow.Read().status, 408);
  slow.Close();
  while (daemon_->Metric("quern_http_connections{listener=\"http\"}") > 0) {
    std::this_thread::yield();
  }
  RawClient one(address());
  RawClient two(address());
  RawClient three(address());
  for (RawClient* client : {&one, &two, &three}) {
    client->Send(Get("/v2"));
    EXPECT_EQ(client->Read().status, 200);
  }
  EXPECT_EQ(Ask(address(), Get("/v2")).status, 200);
  EXPECT_TRUE(one.Ends());
  EXPECT_EQ(daemon_->Metric(
                "quern_http_evicted_connections_total{listener=\"http\"}"),
            1);
}

TEST_F(Http, MetricsHaveAListenerOfTheirOwn) {
  Start();
  const std::string& metrics = daemon_->metrics_address();
  const RawAnswer answer = Ask(metrics, Get("/metrics"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(HeaderOf(answer, "content-type"),
              ::testing::StartsWith("text/plain"));
  EXPECT_THAT(answer.body,
              HasSubstr("quern_http_connections{listener=\"metrics\"} 1"));
  EXPECT_EQ(Ask(metrics, Get("/v2")).status, 404);
  EXPECT_EQ(Ask(address(), Get("/metrics")).status, 404);
  const RawAnswer post =
      Ask(metrics, "POST /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(post.status, 405);
  EXPECT_EQ(HeaderOf(post, "allow"), "GET, HEAD");
  EXPECT_EQ(Ask(metrics,
                "GET /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
                "\r\na")
                .status,
            413);
}

TEST_F(Http, SaysNotReadyServesOnAndDrains) {
  Start({"--shutdown-delay", "1"});
  EXPECT_EQ(Ask(address(), Get("/v2/health/ready")).status, 200);
  const std::string body = JsonOf(PerceptronRequest(1));
  RawClient kept(address());
  kept.Send(PostInfer(body));
  EXPECT_EQ(kept.Read().status, 200);
  kill(daemon_->pid(), SIGTERM);
  int status = 200;
  while (status == 200) status = Ask(address(), Get("/v2/health/ready")).status;
  EXPECT_EQ(status, 400);
  kept.Send(PostInfer(body));
  EXPECT_EQ(kept.Read().status, 200);
  EXPECT_TRUE(kept.Ends());
  EXPECT_EQ(daemon_->Stop(0), 0);
}

// Load on both carriers while the daemon ends: every request is answered or
// refused before it was begun.
TEST_F(Http, NoRequestIsLostAtTheEnd) {
  Start();
  const std::string request = PostInfer(JsonOf(PerceptronRequest(4)));
  std::atomic<int> answered = 0;
  std::atomic<int> broken = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (true) {
        RawClient client(address());
        if (!client.connected()) return;
        if (!client.Send(request)) return;
        const RawAnswer answer = client.Read();
        // Accepted by the system, and never by the daemon.
        if (answer.status == 0) return;
        ++(answer.status == 200 ? answered : broken);
      }
    });
  }
  while (answered < 50) std::this_thread::yield();
  kill(daemon_->pid(), SIGTERM);
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(broken, 0);
  EXPECT_EQ(daemon_->Stop(0), 0);
}

}  // namespace
}  // namespace quern::e2e
