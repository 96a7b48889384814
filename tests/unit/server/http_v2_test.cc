// SPDX-License-Identifier: Apache-2.0
//
// The V2 protocol over HTTP, with the real handlers and an engine that compiles
// nothing.
#include "server/http/http_v2.h"

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "proto/inference/grpc_service.grpc.pb.h"
#include "server/http/http_infer.h"
#include "server/server.h"
#include "tests/support/model_generator.h"
#include "tests/support/raw_client.h"
#include "tests/support/waiting.h"
#include "tests/unit/server/fake_engine.h"

namespace quern::server {
namespace {

using nlohmann::json;
using support::HeaderOf;
using support::RawAnswer;
using support::RawClient;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kInferToken[] = "inference-token-0123456789";
constexpr char kGraphToken[] = "graph-token-0123456789";
constexpr char kAdminToken[] = "admin-token-0123456789";

class HttpV2Test : public ::testing::Test {
 protected:
  void Start(Config config = {}) {
    grpc_address_ = absl::StrCat("unix:", ::testing::TempDir(),
                                 "/quern-http-test-", getpid());
    config.grpc_address = grpc_address_;
    config.http_address = "127.0.0.1:0";
    config.metrics_address = "none";
    auto server = Server::Start(config, &engine_, &metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->Serve([this] { ready_ = true; });
    while (engine_.well && !ready_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const std::string line = server_->ReadyLine();
    address_ = line.substr(line.find(" http=") + 6);
  }

  RawAnswer Ask(absl::string_view method, absl::string_view path,
                absl::string_view body = "", absl::string_view headers = "") {
    return support::Ask(
        address_,
        absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: h\r\n", headers,
                     "Content-Length: ", body.size(), "\r\n\r\n", body));
  }

  grpc::Status ByGrpc(const inference::ModelInferRequest& request,
                      inference::ModelInferResponse* response) {
    const auto stub = inference::GRPCInferenceService::NewStub(
        grpc::CreateChannel(grpc_address_, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    return stub->ModelInfer(&context, request, response);
  }

  // Serves "echo", version 1, whose input "x" f32 [n] comes back as "out_x".
  void LoadEcho(const std::string& name = "echo") {
    const RawAnswer answer = Ask(
        "POST", absl::StrCat("/v2/repository/models/", name, "/load"),
        absl::StrCat(R"({"parameters":{"config":"{}","file:1/model.onnx":")",
                     absl::Base64Escape(support::IdentityFile()), "\"}}"));
    ASSERT_EQ(answer.status, 200) << answer.body;
  }

  FakeEngine engine_;
  telemetry::Metrics metrics_;
  std::string grpc_address_;
  std::string address_;
  std::atomic<bool> ready_ = false;
  std::unique_ptr<Server> server_;
};

std::string Infer(absl::string_view data = "[1,2.5]",
                  absl::string_view more = "") {
  return absl::StrCat(
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":)", data,
      "}]", more, "}");
}

// The values for the names in a path.
std::string Filled(const std::string& path) {
  return absl::StrReplaceAll(path, {{"{model}", "echo"},
                                    {"{version}", "1"},
                                    {"{repository}", "r"},
                                    {"{region}", "shm"}});
}

TEST_F(HttpV2Test, LiveReadyAndMetadataTellTheTruth) {
  Start();
  LoadEcho();
  EXPECT_EQ(Ask("GET", "/v2/health/live").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/health/ready").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/models/echo/ready").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/models/echo/versions/1/ready").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/models/nope/ready").status, 400);
  EXPECT_EQ(Ask("GET", "/v2/models/echo/versions/2/ready").status, 400);
  EXPECT_EQ(json::parse(Ask("GET", "/v2").body)["name"], "quern");
  EXPECT_EQ(json::parse(Ask("GET", "/v2/models/echo/versions/1").body),
            json::parse(R"({"name":"echo","versions":["1"],"platform":"quern",
          "inputs":[{"name":"x","datatype":"FP32","shape":[-1]}],
          "outputs":[{"name":"out_x","datatype":"FP32","shape":[-1]}],
          "properties":{}})"));
  const json config = json::parse(Ask("GET", "/v2/models/echo/config").body);
  EXPECT_EQ(config["max_batch_size"], 0);
  EXPECT_EQ(config["input"][0]["data_type"], "TYPE_FP32");
}

// Read where the connection is, it would hold up others.
TEST_F(HttpV2Test, ALongBodyIsReadByAThreadOfLoads) {
  Config config;
  config.load_threads = 1;
  config.max_queued_loads = 0;
  const auto gate = std::make_shared<support::Gate>();
  engine_.on_load = [gate] { gate->Wait(); };
  Start(config);
  std::thread loader([this] { LoadEcho(); });
  gate->AwaitOne();
  const std::string spaces(70'000, ' ');
  EXPECT_EQ(Ask("POST", "/v2/logging", "{}").status, 200);
  const RawAnswer answer = Ask("POST", "/v2/logging", spaces + "{}");
  EXPECT_EQ(answer.status, 429);
  EXPECT_THAT(answer.body, HasSubstr("loads wait already"));
  gate->Open();
  loader.join();
  // The answer to a load comes before its thread is free again.
  EXPECT_TRUE(support::Becomes(
      [&] { return Ask("POST", "/v2/logging", spaces + "{}").status == 200; }));
}

TEST_F(HttpV2Test, IsNotReadyWhileADeviceIsNot) {
  engine_.well = false;
  Start();
  EXPECT_EQ(Ask("GET", "/v2/health/live").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/health/ready").status, 400);
}

TEST_F(HttpV2Test, AnInferenceIsAnsweredInTheFormOfItsRequest) {
  Start();
  LoadEcho();
  const RawAnswer answer = Ask("POST", "/v2/models/echo/infer",
                               Infer("[1,2.5]", R"(,"id":"seven")"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(json::parse(answer.body),
            json::parse(R"({"id":"seven","model_name":"echo",
                "model_version":"1","outputs":[{"name":"out_x",
                "datatype":"FP32","shape":[2],"data":[1.0,2.5]}]})"));
  const std::string head =
      R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":)"
      R"({"binary_data_size":4}}],"parameters":{"binary_data_output":true}})";
  const RawAnswer binary =
      Ask("POST", "/v2/models/echo/versions/1/infer", head + "abcd",
          absl::StrCat("inference-header-content-length: ", head.size(),
                       "\r\nX-Request-Id: r-1\r\n"));
  ASSERT_EQ(binary.status, 200) << binary.body;
  size_t length = 0;
  ASSERT_TRUE(absl::SimpleAtoi(
      HeaderOf(binary, "inference-header-content-length"), &length));
  EXPECT_EQ(binary.body.substr(length), "abcd");
  EXPECT_EQ(json::parse(binary.body.substr(0, length))["id"], "r-1");
  EXPECT_EQ(HeaderOf(binary, "x-request-id"), "r-1");
  const RawAnswer raw = Ask("POST", "/v2/models/echo/infer", "abcdefgh",
                            "Inference-Header-Content-Length: 0\r\n");
  ASSERT_EQ(raw.status, 200) << raw.body;
  EXPECT_TRUE(absl::EndsWith(raw.body, "}abcdefgh")) << raw.body;
  const json stats = json::parse(Ask("GET", "/v2/models/echo/stats").body);
  EXPECT_EQ(stats["model_stats"][0]["inference_count"], 3);
  EXPECT_EQ(json::parse(Ask("GET", "/v2/models/stats").body), stats);
}

TEST_F(HttpV2Test, ErrorsAreThoseOfGrpcInJson) {
  Start();
  LoadEcho();
  struct Case {
    int status;
    const char* model;
    std::string body;
  };
  const Case cases[] = {
      {404, "nope", Infer()},
      {400, "echo", absl::StrReplaceAll(Infer("[1,2]"), {{"FP32", "INT32"}})},
      {400, "echo", absl::StrReplaceAll(Infer(), {{"\"x\"", "\"z\""}})},
      {400, "echo", Infer("[1,2]", R"(,"outputs":[{"name":"nope"}])")},
      {501, "echo", Infer("[1,2]", R"(,"parameters":{"sequence_id":7})")},
      {501, "echo",
       Infer("[1,2]", R"(,"outputs":[{"name":"out_x","parameters":)"
                      R"({"classification":1}}])")},
      {501, "echo",
       R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1],)"
       R"("parameters":{"shared_memory_region":"r"}}]})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.body);
    const RawAnswer answer =
        Ask("POST", absl::StrCat("/v2/models/", c.model, "/infer"), c.body);
    EXPECT_EQ(answer.status, c.status);
    inference::ModelInferRequest request;
    WantedForm form;
    ASSERT_TRUE(DecodeInfer(c.body, c.body.size(), request, form).ok());
    request.set_model_name(c.model);
    inference::ModelInferResponse response;
    EXPECT_EQ(json::parse(answer.body)["error"],
              ByGrpc(request, &response).error_message());
  }
}

TEST_F(HttpV2Test, WhatIsNotSupportedSaysSo) {
  Start();
  LoadEcho();
  struct Case {
    const char* path;
    const char* body;
    const char* message;
  };
  const Case cases[] = {
      {"/v2/models/echo/generate", "{}", "streams of inferences"},
      {"/v2/models/echo/versions/1/generate_stream", "{}",
       "streams of inferences"},
      {"/v2/systemsharedmemory/region/r/register", "{}", "shared memory"},
      {"/v2/cudasharedmemory/region/r/register", "{}", "shared memory"},
      {"/v2/trace/setting", R"({"trace_level":["TIMESTAMPS"]})", "traces"},
  };
  for (const Case& c : cases) {
    const RawAnswer answer = Ask("POST", c.path, c.body);
    EXPECT_EQ(answer.status, 501) << c.path;
    EXPECT_THAT(json::parse(answer.body)["error"].get<std::string>(),
                StartsWith(c.message));
  }
  // Clients tidy up before they begin.
  EXPECT_EQ(Ask("POST", "/v2/systemsharedmemory/unregister").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/cudasharedmemory/status").body, "[]");
  EXPECT_EQ(Ask("GET", "/v2/systemsharedmemory/region/r/status").status, 404);
}

TEST_F(HttpV2Test, ModelsComeAndGo) {
  Start();
  LoadEcho();
  EXPECT_EQ(json::parse(Ask("POST", "/v2/repository/index").body),
            json::parse(R"([{"name":"echo","version":"1","state":"READY",
                             "reason":""}])"));
  EXPECT_EQ(Ask("POST", "/v2/repository/index", R"({"ready":7})").status, 400);
  const RawAnswer unload = Ask("POST", "/v2/repository/r/models/echo/unload",
                               R"({"parameters":{"unload_dependents":true}})");
  EXPECT_EQ(unload.status, 200) << unload.body;
  EXPECT_EQ(json::parse(
                Ask("POST", "/v2/repository/index", R"({"ready":true})").body),
            json::array());
  EXPECT_EQ(Ask("POST", "/v2/models/echo/infer", Infer()).status, 404);
  const RawAnswer bad =
      Ask("POST", "/v2/repository/models/echo/load",
          R"({"parameters":{"config":"{}","file:1/model.onnx":"!"}})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_THAT(bad.body, HasSubstr("is no base64"));
}

TEST_F(HttpV2Test, SettingsAreReadAndChanged) {
  Start();
  EXPECT_EQ(Ask("GET", "/v2/trace/setting").body, R"({"trace_level":["OFF"]})");
  const std::string before = Ask("GET", "/v2/logging").body;
  const json changed = json::parse(
      Ask("POST", "/v2/logging", R"({"log_verbose_level":1})").body);
  EXPECT_EQ(changed["log_verbose_level"], 1);
  EXPECT_EQ(json::parse(Ask("GET", "/v2/logging").body), changed);
  EXPECT_EQ(Ask("POST", "/v2/logging", R"({"log_verbose_level":0})").body,
            before);
  EXPECT_EQ(Ask("POST", "/v2/logging", R"({"log_file":"/tmp/x"})").status, 400);
}

// A name that comes with escapes is the name that it means, and follows the
// rules of names.
TEST_F(HttpV2Test, NamesInPathsMayHaveEscapesAndNoTricks) {
  Start();
  LoadEcho();
  EXPECT_EQ(Ask("GET", "/v2/models/%65cho/ready").status, 200);
  EXPECT_EQ(Ask("GET", "/v2/models/echo%2Fready").status, 404);
  for (const char* name :
       {"..%2f..%2fetc", "%2e%2e", "a%00b", "a%20b", "%c3%a4", "a%2fb"}) {
    const RawAnswer answer =
        Ask("POST", absl::StrCat("/v2/repository/models/", name, "/load"));
    EXPECT_EQ(answer.status, 400) << name << answer.body;
    EXPECT_THAT(answer.body, HasSubstr("a model's name has"));
  }
  for (const char* path :
       {"/v2/models//ready", "/v2/models/%ff/ready", "/v2/models/..",
        "/v2/models/%zz/ready", "/v2/models/..", "/v2/", "/v3", "/", "*",
        "/v2/models/echo/versions/1/versions/1"}) {
    EXPECT_EQ(Ask("GET", path).status, 404) << path;
  }
}

TEST_F(HttpV2Test, AWrongMethodIsToldTheRightOnes) {
  Start();
  const RawAnswer infer = Ask("GET", "/v2/models/m/infer");
  EXPECT_EQ(infer.status, 405);
  EXPECT_EQ(HeaderOf(infer, "allow"), "POST");
  EXPECT_EQ(HeaderOf(Ask("DELETE", "/v2/logging"), "allow"), "GET, POST, HEAD");
  EXPECT_EQ(Ask("OPTIONS", "/v2").status, 405);
}

TEST_F(HttpV2Test, PagesInABrowserAreNotServed) {
  Start();
  EXPECT_EQ(Ask("GET", "/v2", "", "Origin: http://evil\r\n").status, 403);
}

// Every route of the table, with every role. The roles are those of gRPC.
TEST_F(HttpV2Test, TokensOpenNoRouteButThoseOfTheirRole) {
  const std::string file =
      absl::StrCat(::testing::TempDir(), "/http-tokens-", getpid());
  std::ofstream(file) << "inference " << kInferToken << "\ngraph "
                      << kGraphToken << "\nadmin " << kAdminToken << "\n";
  Config config;
  config.token_file = file;
  Start(config);
  unlink(file.c_str());
  const std::set<std::string> open = {"/v2/health/live", "/v2/health/ready",
                                      "/v2/models/echo/ready",
                                      "/v2/models/echo/versions/1/ready"};
  int count = 0;
  for (const HttpV2Route& route : HttpV2Routes()) {
    ++count;
    const std::string path = Filled(route.path);
    const bool admin =
        absl::EndsWith(path, "/load") || absl::EndsWith(path, "/unload") ||
        absl::EndsWith(path, "/trace/setting") || path == "/v2/logging";
    const auto ask = [&](absl::string_view token) {
      const RawAnswer answer =
          Ask(route.method, path, "",
              token.empty()
                  ? ""
                  : absl::StrCat("Authorization: Bearer ", token, "\r\n"));
      if (answer.status == 401) {
        EXPECT_EQ(HeaderOf(answer, "www-authenticate"), "Bearer");
      }
      return answer.status;
    };
    SCOPED_TRACE(absl::StrCat(route.method, " ", path));
    for (const char* none : {"", "wrong-token-wrong"}) {
      EXPECT_EQ(ask(none) == 401, !open.contains(path));
    }
    for (const char* weak : {kInferToken, kGraphToken}) {
      EXPECT_EQ(ask(weak) == 403, admin);
    }
    const int status = ask(kAdminToken);
    EXPECT_TRUE(status != 401 && status != 403 && status != 405) << status;
  }
  EXPECT_GE(count, 40);
}

// Nobody may make the server read what it would refuse.
TEST_F(HttpV2Test, ATokenIsAskedForBeforeTheBody) {
  const std::string file =
      absl::StrCat(::testing::TempDir(), "/http-tokens-", getpid());
  std::ofstream(file) << "inference " << kInferToken << "\n";
  Config config;
  config.token_file = file;
  Start(config);
  unlink(file.c_str());
  EXPECT_EQ(support::Ask(address_,
                         "POST /v2/models/echo/infer HTTP/1.1\r\nHost: h\r\n"
                         "Content-Length: 1000000\r\n\r\n")
                .status,
            401);
}

TEST_F(HttpV2Test, BodiesHaveTheLimitOfGrpcAndJsonItsOwn) {
  Config config;
  config.max_message_bytes = 100'000;
  config.http_max_json_bytes = 20'000;
  Start(config);
  LoadEcho();
  const auto infer = [&](size_t bytes, const std::string& headers) {
    return Ask("POST", "/v2/models/echo/infer", std::string(bytes, 'a'),
               headers);
  };
  const RawAnswer json = infer(20'001, "");
  EXPECT_EQ(json.status, 413);
  EXPECT_THAT(json.body, HasSubstr("20000 bytes (--http-max-json-bytes)"));
  EXPECT_EQ(infer(30'000, "Inference-Header-Content-Length: 20001\r\n").status,
            413);
  EXPECT_EQ(infer(90'000, "Inference-Header-Content-Length: 0\r\n").status,
            200);
  const RawAnswer binary =
      infer(100'001, "Inference-Header-Content-Length: 0\r\n");
  EXPECT_EQ(binary.status, 413);
  EXPECT_THAT(binary.body, HasSubstr("100000 bytes (--max-message-bytes)"));
  for (const char* length : {"-1", "x", "", "99999999999999999999"}) {
    EXPECT_EQ(infer(8, absl::StrCat("Inference-Header-Content-Length: ", length,
                                    "\r\n"))
                  .status,
              400)
        << length;
  }
}

// HTTP and gRPC share one account of the bytes in flight.
TEST_F(HttpV2Test, ABodyUnderWayCountsForGrpc) {
  Config config;
  config.max_bytes_in_flight = 1000;
  Start(config);
  LoadEcho();
  RawClient slow(address_);
  slow.Send(absl::StrCat(
      "POST /v2/models/echo/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 2000"
      "\r\n\r\n",
      std::string(990, ' ')));
  const auto taken = [&] {
    return metrics_.GetNumber(telemetry::Metric::kRequestBytesInFlight)->Get();
  };
  for (int i = 0; i < 400 && taken() < 990; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_EQ(taken(), 990);
  inference::ModelInferRequest request;
  request.set_model_name("echo");
  auto* input = request.add_inputs();
  input->set_name("x");
  input->set_datatype("FP32");
  input->add_shape(2);
  request.add_raw_input_contents("abcdefgh");
  inference::ModelInferResponse response;
  EXPECT_EQ(ByGrpc(request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  slow.Close();
  for (int i = 0; i < 400 && taken() > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(ByGrpc(request, &response).ok());
}

TEST_F(HttpV2Test, TooManyRequestsAreToldToTryAgain) {
  std::atomic<bool> open = false;
  std::atomic<int> runs = 0;
  Config config;
  config.max_pending_per_model = 1;
  engine_.on_run = [&] {
    ++runs;
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  Start(config);
  LoadEcho();
  const std::string body = Infer();
  RawClient first(address_);
  first.Send(absl::StrCat(
      "POST /v2/models/echo/infer HTTP/1.1\r\nHost: h\r\nContent-Length: ",
      body.size(), "\r\n\r\n", body));
  while (runs == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const RawAnswer second = Ask("POST", "/v2/models/echo/infer", body);
  EXPECT_EQ(second.status, 429);
  EXPECT_EQ(HeaderOf(second, "retry-after"), "1");
  EXPECT_THAT(second.body, HasSubstr("--max-pending-per-model"));
  open = true;
  EXPECT_EQ(first.Read().status, 200);
}

TEST_F(HttpV2Test, ARequestWhosePeerHasGoneIsNotRun) {
  std::atomic<bool> open = false;
  std::atomic<int> runs = 0;
  engine_.on_run = [&] {
    ++runs;
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  Config config;
  config.request_threads = 1;
  Start(config);
  LoadEcho();
  const std::string body = Infer();
  const std::string request = absl::StrCat(
      "POST /v2/models/echo/infer HTTP/1.1\r\nHost: h\r\nContent-Length: ",
      body.size(), "\r\n\r\n", body);
  RawClient first(address_);
  first.Send(request);
  while (runs == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const auto in_flight = [&] {
    return metrics_.GetNumber(telemetry::Metric::kRequestsInFlight)->Get();
  };
  {
    RawClient gone(address_);
    gone.Send(request);
    while (in_flight() < 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  // The server learns of it a moment after the client.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  open = true;
  EXPECT_EQ(first.Read().status, 200);
  EXPECT_EQ(Ask("POST", "/v2/models/echo/infer", body).status, 200);
  EXPECT_EQ(runs, 2);
}

TEST_F(HttpV2Test, ShutdownAnswersWhatWasAcceptedBefore) {
  std::atomic<bool> open = false;
  std::atomic<int> runs = 0;
  engine_.on_run = [&] {
    ++runs;
    while (!open) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  Start();
  LoadEcho();
  const std::string body = Infer();
  RawClient idle(address_);
  RawClient busy(address_);
  busy.Send(absl::StrCat(
      "POST /v2/models/echo/infer HTTP/1.1\r\nHost: h\r\nContent-Length: ",
      body.size(), "\r\n\r\n", body));
  while (runs == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::thread stopper([&] { server_->Shutdown(); });
  EXPECT_TRUE(idle.Ends());
  open = true;
  const RawAnswer answer = busy.Read();
  stopper.join();
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(HeaderOf(answer, "connection"), "close");
  EXPECT_FALSE(RawClient(address_).connected());
}

// While others still send requests here, they are told, and served.
TEST_F(HttpV2Test, BeforeItDrainsItIsNotReadyAndServes) {
  Config config;
  config.shutdown_delay_s = 1;
  Start(config);
  LoadEcho();
  std::thread stopper([&] { server_->Shutdown(); });
  int status = 200;
  for (int i = 0; i < 100 && status == 200; ++i) {
    status = Ask("GET", "/v2/health/ready").status;
  }
  EXPECT_EQ(status, 400);
  EXPECT_EQ(Ask("POST", "/v2/models/echo/infer", Infer()).status, 200);
  stopper.join();
}

}  // namespace
}  // namespace quern::server
