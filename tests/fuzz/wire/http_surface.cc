// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "proto/inference/grpc_service.pb.h"
#include "server/http/http_infer.h"
#include "server/server.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/surface.h"
#include "tests/support/model_generator.h"
#include "tests/support/raw_client.h"
#include "tests/unit/server/fake_engine.h"

namespace quern::fuzz {
namespace {

using support::RawAnswer;
using support::RawClient;

std::string Post(absl::string_view path, absl::string_view body,
                 absl::string_view headers = "") {
  return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: h\r\n", headers,
                      "Content-Length: ", body.size(), "\r\n\r\n", body);
}

// A server of a model "m" that gives its inputs back.
class Served {
 public:
  Served() {
    server::Config config;
    config.grpc_address = "127.0.0.1:0";
    config.http_address = "127.0.0.1:0";
    config.metrics_address = "none";
    auto started = server::Server::Start(config, &engine_, &metrics_);
    Expect(started.ok(), "a server");
    server_ = *std::move(started);
    std::atomic<bool> ready = false;
    server_->Serve([&ready] { ready = true; });
    while (!ready) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::string line = server_->ReadyLine();
    address_ = line.substr(line.find(" http=") + 6);
    const RawAnswer loaded = support::Ask(
        address_,
        Post("/v2/repository/models/m/load",
             absl::StrCat(
                 R"({"parameters":{"config":"{}",)", R"("file:1/model.onnx":")",
                 absl::Base64Escape(support::IdentityFile()), "\"}}")));
    Expect(loaded.status == 200, "a model, not " + loaded.body);
  }
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  server::FakeEngine engine_;
  telemetry::Metrics metrics_;
  std::unique_ptr<server::Server> server_;
  std::string address_;
};

const std::string& Address() {
  static const auto* const served = new Served;
  return served->address();
}

// All that a client sends before it hangs up. Whatever it was, the server
// lives, and what it answers is HTTP.
void ReadConnection(absl::string_view bytes) {
  RawClient client(Address());
  Expect(client.connected(),
         absl::StrCat("a connection, got ", std::strerror(errno)));
  client.Send(bytes);
  client.EndSending();
  const std::string answers = client.ReadAll();
  Expect(answers.empty() || absl::StartsWith(answers, "HTTP/1."),
         "an answer of HTTP");
  const RawAnswer live = support::Ask(
      Address(),
      "GET /v2/health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  Expect(live.status == 200,
         absl::StrCat("a server that lives, got status ", live.status, ": ",
                      live.head, ", ", std::strerror(errno)));
}

// The body of an inference, as if its head had been right.
void ReadBody(absl::string_view bytes) {
  for (const size_t json_bytes : {bytes.size(), bytes.size() / 2}) {
    inference::ModelInferRequest request;
    server::WantedForm form;
    const absl::Status status =
        server::DecodeInfer(bytes, json_bytes, request, form);
    ExpectNoFault(status);
    if (!status.ok()) continue;
    Expect(request.raw_input_contents_size() == request.inputs_size(),
           "the bytes of each input");
  }
}

void Read(absl::string_view bytes) {
  ReadConnection(bytes);
  const size_t head = bytes.find("\r\n\r\n");
  ReadBody(head == absl::string_view::npos ? bytes : bytes.substr(head + 4));
}

std::vector<Seed> Seeds() {
  constexpr absl::string_view kInfer = "/v2/models/m/infer";
  const std::string json =
      R"({"id":"7","parameters":{"binary_data_output":true,"timeout":9},)"
      R"("inputs":[{"name":"x","shape":[4],"datatype":"FP32",)"
      R"("data":[[1,2.5e0],[-3,NaN]]}],"outputs":[{"name":"x",)"
      R"("parameters":{"binary_data":false}}]})";
  const std::string binary =
      R"({"inputs":[{"name":"x","shape":[2],"datatype":"FP32",)"
      R"("parameters":{"binary_data_size":8}}]})";
  const std::string chunked = absl::StrCat(
      "POST ", kInfer, " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked",
      "\r\n\r\n5\r\n{\"inp\r\n0\r\n\r\n");
  std::string both = "GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n";
  both += "GET /v2/health/ready HTTP/1.0\r\n\r\n";
  return {
      {"json", Post(kInfer, json)},
      {"binary", Post(kInfer, absl::StrCat(binary, "12345678"),
                      absl::StrCat("Inference-Header-Content-Length: ",
                                   binary.size(), "\r\n"))},
      {"raw", Post(kInfer, "1234", "Inference-Header-Content-Length: 0\r\n")},
      {"chunked", chunked},
      {"pipelined", both},
      {"expect", Post(kInfer, json, "Expect: 100-continue\r\n")},
      {"index", Post("/v2/repository/index", "{\"ready\":true}")},
      {"load",
       Post("/v2/repository/models/m/load",
            R"({"parameters":{"config":"{}","file:1/model.onnx":"AAAA"}})")},
      {"logging", Post("/v2/logging", R"({"log_verbose_level":1})")},
      {"escapes",
       "GET /v2/models/%6d/versions/1/stats HTTP/1.1\r\nHost: h"
       "\r\nConnection: close\r\n\r\n"}};
}

}  // namespace

Surface HttpSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedBytes};
}

}  // namespace quern::fuzz
