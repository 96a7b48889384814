// SPDX-License-Identifier: Apache-2.0
//
// serving-client: sends one request again and again from a number of clients,
// each with a connection of its own and each when its last answer has come, and
// prints a JSON line: how many answers in how many seconds, and for each answer
// how long it took and how long the engine was at work for it, in nanoseconds.
//
// The engine's time is what the answer says about itself (quern_execute_ns),
// so the rest is client, transport and server together.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <latch>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <grpcpp/grpcpp.h>
#include <nlohmann/json.hpp>

#include "engine/base/status_macros.h"
#include "proto/inference/grpc_service.grpc.pb.h"
#include "tests/support/raw_client.h"

namespace quern {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr char kExecute[] = "quern_execute_ns";
// For each client: connections, pools and caches are warm afterwards.
constexpr int kWarmUps = 20;
constexpr std::chrono::seconds kPatience{20};

struct Flags {
  std::string transport = "grpc";
  std::string address;
  std::string model;
  std::string input;
  std::vector<int64_t> shape;
  std::string data;
  std::string save;
  int clients = 1;
  double seconds = 1;
};

struct Answer {
  int64_t total_ns = 0;
  int64_t engine_ns = 0;
  std::string output;  // The bytes of the first one.
};

int64_t Since(Clock::time_point begin) {
  return std::chrono::nanoseconds(Clock::now() - begin).count();
}

class Client {
 public:
  virtual ~Client() = default;
  // Sends the request and takes the answer.
  [[nodiscard]] virtual absl::StatusOr<Answer> Infer() = 0;
};

class GrpcClient : public Client {
 public:
  GrpcClient(const Flags& flags, const std::string& data) {
    grpc::ChannelArguments arguments;
    // Or all clients would share a connection.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = inference::GRPCInferenceService::NewStub(grpc::CreateCustomChannel(
        flags.address, grpc::InsecureChannelCredentials(), arguments));
    request_.set_model_name(flags.model);
    auto* input = request_.add_inputs();
    input->set_name(flags.input);
    input->set_datatype("FP32");
    for (const int64_t dim : flags.shape) input->add_shape(dim);
    request_.add_raw_input_contents(data);
    (*request_.mutable_parameters())["quern_timing"].set_bool_param(true);
  }

  absl::StatusOr<Answer> Infer() override {
    grpc::ClientContext context;
    // gRPC 1.51 takes a connection under way for a failed one if something that
    // runs after connect() changes errno, and tries again a second later:
    // within the warm-up, which is not timed.
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    response_.Clear();
    const Clock::time_point begin = Clock::now();
    const grpc::Status status =
        stub_->ModelInfer(&context, request_, &response_);
    Answer answer;
    answer.total_ns = Since(begin);
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    const auto execute = response_.parameters().find(kExecute);
    if (execute == response_.parameters().end() ||
        response_.raw_output_contents_size() == 0) {
      return absl::InternalError(absl::StrCat(
          "expected ", kExecute, " and raw contents in the answer"));
    }
    answer.engine_ns = execute->second.int64_param();
    answer.output = response_.raw_output_contents(0);
    return answer;
  }

 private:
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
  inference::ModelInferRequest request_;
  inference::ModelInferResponse response_;
};

// HTTP with tensors as bytes after the JSON, on a connection that stays open.
class HttpClient : public Client {
 public:
  HttpClient(const Flags& flags, const std::string& data)
      : connection_(flags.address) {
    const std::string head =
        json({{"parameters",
               {{"quern_timing", true}, {"binary_data_output", true}}},
              {"inputs",
               {{{"name", flags.input},
                 {"datatype", "FP32"},
                 {"shape", flags.shape},
                 {"parameters", {{"binary_data_size", data.size()}}}}}}})
            .dump();
    request_ = absl::StrCat("POST /v2/models/", flags.model,
                            "/infer HTTP/1.1\r\nHost: bench\r\n",
                            "Inference-Header-Content-Length: ", head.size(),
                            "\r\nContent-Length: ", head.size() + data.size(),
                            "\r\n\r\n", head, data);
  }

  absl::StatusOr<Answer> Infer() override {
    const Clock::time_point begin = Clock::now();
    if (!connection_.Send(request_)) {
      return absl::UnavailableError("the connection has ended");
    }
    const support::RawAnswer raw = connection_.Read();
    Answer answer;
    answer.total_ns = Since(begin);
    size_t head = 0;
    if (raw.status != 200 ||
        !absl::SimpleAtoi(
            support::HeaderOf(raw, "inference-header-content-length"), &head) ||
        head > raw.body.size()) {
      return absl::UnavailableError(
          absl::StrCat("expected an answer with bytes, got status ", raw.status,
                       ": ", raw.body.substr(0, 200)));
    }
    const json said = json::parse(raw.body.substr(0, head), nullptr, false);
    const json::json_pointer execute(absl::StrCat("/parameters/", kExecute));
    if (!said.contains(execute)) {
      return absl::InternalError(
          absl::StrCat("expected ", kExecute, " in the answer"));
    }
    answer.engine_ns = said[execute].get<int64_t>();
    answer.output = raw.body.substr(head);
    return answer;
  }

 private:
  support::RawClient connection_;
  std::string request_;
};

// What one client saw.
struct Share {
  absl::Status status;
  std::vector<int64_t> total_ns;
  std::vector<int64_t> engine_ns;
  std::string output;
};

absl::Status Loop(Client& client, std::latch& warm, double seconds,
                  Share& share) {
  absl::Status status;
  for (int i = 0; i < kWarmUps && status.ok(); ++i) {
    status = client.Infer().status();
  }
  warm.arrive_and_wait();
  QUERN_RETURN_IF_ERROR(status);
  const Clock::time_point begin = Clock::now();
  const int64_t limit_ns = static_cast<int64_t>(seconds * 1e9);
  while (Since(begin) < limit_ns) {
    QUERN_ASSIGN_OR_RETURN(Answer answer, client.Infer());
    share.total_ns.push_back(answer.total_ns);
    share.engine_ns.push_back(answer.engine_ns);
    share.output = std::move(answer.output);
  }
  return absl::OkStatus();
}

absl::StatusOr<json> Measure(const Flags& flags, const std::string& data) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < flags.clients; ++i) {
    if (flags.transport == "http") {
      clients.push_back(std::make_unique<HttpClient>(flags, data));
    } else {
      clients.push_back(std::make_unique<GrpcClient>(flags, data));
    }
  }
  std::vector<Share> shares(flags.clients);
  std::latch warm(flags.clients + 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < flags.clients; ++i) {
    threads.emplace_back([&, i] {
      shares[i].status = Loop(*clients[i], warm, flags.seconds, shares[i]);
    });
  }
  warm.arrive_and_wait();
  const Clock::time_point begin = Clock::now();
  for (std::thread& thread : threads) thread.join();
  const double seconds = static_cast<double>(Since(begin)) * 1e-9;
  std::vector<int64_t> total_ns;
  std::vector<int64_t> engine_ns;
  for (const Share& share : shares) {
    QUERN_RETURN_IF_ERROR(share.status);
    total_ns.insert(total_ns.end(), share.total_ns.begin(),
                    share.total_ns.end());
    engine_ns.insert(engine_ns.end(), share.engine_ns.begin(),
                     share.engine_ns.end());
  }
  if (!flags.save.empty()) {
    std::ofstream(flags.save, std::ios::binary) << shares[0].output;
  }
  return json({{"seconds", seconds},
               {"answers", total_ns.size()},
               {"total_ns", total_ns},
               {"engine_ns", engine_ns}});
}

int Main(const Flags& flags) {
  std::ifstream file(flags.data, std::ios::binary);
  std::stringstream data;
  data << file.rdbuf();
  const absl::StatusOr<json> measured = Measure(flags, data.str());
  if (!measured.ok()) {
    std::fprintf(stderr, "serving-client: %s\n",
                 std::string(measured.status().message()).c_str());
    return 1;
  }
  std::printf("%s\n", measured->dump().c_str());
  return 0;
}

}  // namespace
}  // namespace quern

int main(int argc, char** argv) {
  CLI::App app("Times one request from a number of clients.");
  quern::Flags flags;
  app.add_option("--transport", flags.transport, "grpc or http")
      ->check(CLI::IsMember({"grpc", "http"}));
  app.add_option("--address", flags.address, "HOST:PORT")->required();
  app.add_option("--model", flags.model, "The model's name")->required();
  app.add_option("--input", flags.input, "The name of its input, of f32")
      ->required();
  app.add_option("--shape", flags.shape, "The input's sizes")
      ->delimiter(',')
      ->required();
  app.add_option("--data", flags.data, "The file with the input's bytes")
      ->check(CLI::ExistingFile)
      ->required();
  app.add_option("--save", flags.save, "Where the first output's bytes go");
  app.add_option("--clients", flags.clients, "How many")
      ->check(CLI::Range(1, 1024));
  app.add_option("--seconds", flags.seconds, "For how long")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  return quern::Main(flags);
}
