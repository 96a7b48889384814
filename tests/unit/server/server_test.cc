// SPDX-License-Identifier: Apache-2.0
//
// The server on a real socket, with an engine that compiles nothing.
#include "server/server.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <thread>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "proto/inference/grpc_service.grpc.pb.h"
#include "proto/quern/v1/graph.pb.h"
#include "proto/quern/v1/graph_service.grpc.pb.h"
#include "server/codec.h"
#include "server/digest.h"
#include "tests/support/waiting.h"
#include "tests/unit/server/fake_engine.h"

namespace quern::server {
namespace {

using support::Gate;
using ::testing::HasSubstr;

class ServerTest : public ::testing::Test {
 protected:
  void Start(Config config = {}) {
    config.grpc_address = absl::StrCat("unix:", ::testing::TempDir(),
                                       "/quern-server-test-", getpid());
    config.http_address = "none";
    config.metrics_address = "none";
    auto server = Server::Start(config, &engine_, &metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    const auto channel = grpc::CreateChannel(
        config.grpc_address, grpc::InsecureChannelCredentials());
    v2_ = inference::GRPCInferenceService::NewStub(channel);
    graphs_ = v1::GraphService::NewStub(channel);
  }

  // Serves a model with one input "x" of `dtype`.
  void PublishEcho(ir::DType dtype, const std::string& name = "echo") {
    v1::Graph graph;
    v1::GraphInput* input = graph.add_inputs();
    input->set_name("x");
    input->set_data_type(ToProto(dtype));
    input->add_dims()->set_variable("n");
    graph.add_outputs()->set_name("x");
    const std::string bytes = graph.SerializeAsString();
    Digest digest;
    digest.Add(bytes);
    v1::SubmitRequest message;
    message.mutable_header()->set_sha256(digest.Finish());
    message.mutable_header()->set_size_bytes(bytes.size());
    message.mutable_header()->set_format(v1::CONTENT_FORMAT_GRAPH);
    grpc::ClientContext submit_context;
    v1::SubmitResponse submitted;
    const auto writer = graphs_->Submit(&submit_context, &submitted);
    writer->Write(message);
    message.set_chunk(bytes);
    writer->Write(message);
    writer->WritesDone();
    grpc::Status status = writer->Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
    v1::PublishRequest publish;
    publish.set_graph_id(submitted.graph_id());
    publish.mutable_model()->set_name(name);
    publish.mutable_model()->set_version("1");
    grpc::ClientContext publish_context;
    const auto reader = graphs_->Publish(&publish_context, publish);
    v1::PublishResponse response;
    while (reader->Read(&response)) {
    }
    status = reader->Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  static inference::ModelInferRequest Request(ir::DType dtype,
                                              const std::string& raw) {
    inference::ModelInferRequest request;
    request.set_model_name("echo");
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype(V2Name(dtype));
    input->add_shape(static_cast<int64_t>(raw.size()) / ir::ByteSize(dtype));
    request.add_raw_input_contents(raw);
    return request;
  }

  grpc::Status Infer(const inference::ModelInferRequest& request,
                     inference::ModelInferResponse* response) {
    grpc::ClientContext context;
    return v2_->ModelInfer(&context, request, response);
  }

  // Starts with a model "echo" whose runs wait until `gate_` is opened.
  void StartGated(const Config& config = {}) {
    engine_.on_run = [gate = gate_] { gate->Wait(); };
    Start(config);
    PublishEcho(ir::DType::kI8);
  }

  // A request that is under way from the start to Finish.
  class Held {
   public:
    Held(ServerTest* test, const std::string& raw)
        : gate_(test->gate_), client_([this, test, raw] {
            status_ = test->Infer(Request(ir::DType::kI8, raw), &response_);
          }) {
      gate_->AwaitOne();
    }
    ~Held() { Finish(); }
    const inference::ModelInferResponse& response() const { return response_; }

    grpc::Status Finish() {
      gate_->Open();
      if (client_.joinable()) client_.join();
      return status_;
    }

   private:
    const std::shared_ptr<Gate> gate_;
    grpc::Status status_;
    inference::ModelInferResponse response_;
    std::thread client_;
  };

  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  FakeEngine engine_;
  telemetry::Metrics metrics_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> v2_;
  std::unique_ptr<v1::GraphService::Stub> graphs_;
};

TEST_F(ServerTest, EveryTypePassesThroughUnchanged) {
  Start();
  for (ir::DType dtype :
       {ir::DType::kBool, ir::DType::kI8, ir::DType::kI16, ir::DType::kI32,
        ir::DType::kI64, ir::DType::kU8, ir::DType::kU16, ir::DType::kU32,
        ir::DType::kU64, ir::DType::kF16, ir::DType::kBF16, ir::DType::kF32,
        ir::DType::kF64}) {
    PublishEcho(dtype);
    std::string raw;
    for (int i = 0; i < 3 * ir::ByteSize(dtype); ++i) {
      raw.push_back(
          static_cast<char>(dtype == ir::DType::kBool ? i % 2 : 200 + i));
    }
    inference::ModelInferResponse response;
    const grpc::Status status = Infer(Request(dtype, raw), &response);
    ASSERT_TRUE(status.ok()) << V2Name(dtype) << status.error_message();
    EXPECT_EQ(response.outputs(0).datatype(), V2Name(dtype));
    EXPECT_EQ(response.raw_output_contents(0), raw) << V2Name(dtype);
  }
}

TEST_F(ServerTest, IsReadyWhenItServesAndItsDevicesAreWell) {
  engine_.well = false;
  Start();
  inference::ServerLiveResponse live;
  grpc::ClientContext c1;
  EXPECT_TRUE(v2_->ServerLive(&c1, {}, &live).ok() && live.live());
  const auto ready = [&] {
    inference::ServerReadyResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(v2_->ServerReady(&context, {}, &response).ok());
    return response.ready();
  };
  EXPECT_FALSE(ready());
  std::atomic<int> first = 0;
  server_->Serve([&] { ++first; });
  EXPECT_FALSE(ready());
  EXPECT_EQ(first, 0);
  engine_.well = true;
  for (int i = 0; i < 100 && !ready(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(ready());
  EXPECT_EQ(first, 1);
}

TEST_F(ServerTest, ARequestThatFindsTheQueueFullIsRefused) {
  Config config;
  config.request_threads = 1;
  config.max_queued_requests = 0;
  StartGated(config);
  Held first(this, "abc");
  inference::ModelInferResponse response;
  const grpc::Status second = Infer(Request(ir::DType::kI8, "abc"), &response);
  EXPECT_EQ(second.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(second.error_message(), HasSubstr("requests wait already"));
  EXPECT_TRUE(first.Finish().ok());
}

TEST_F(ServerTest, ShortRequestsDoNotStandInTheQueue) {
  Config config;
  config.request_threads = 1;
  config.max_queued_requests = 0;
  Start(config);
  PublishEcho(ir::DType::kI8, "short");
  inference::ModelInferRequest request = Request(ir::DType::kI8, "abc");
  request.set_model_name("short");
  inference::ModelInferResponse response;
  // Its time is not known yet, so it is run as any other.
  ASSERT_TRUE(Infer(request, &response).ok());
  engine_.on_run = [gate = gate_] { gate->Wait(); };
  PublishEcho(ir::DType::kI8);
  Held first(this, "abc");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Infer(request, &response).ok());
    EXPECT_EQ(response.raw_output_contents(0), "abc");
  }
  // What such a size takes is not known.
  request = Request(ir::DType::kI8, std::string(5000, 'a'));
  request.set_model_name("short");
  EXPECT_EQ(Infer(request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(first.Finish().ok());
}

TEST_F(ServerTest, AModelHasNoMoreRequestsUnderWayThanItsLimit) {
  Config config;
  config.max_pending_per_model = 1;
  StartGated(config);
  Held first(this, "abc");
  inference::ModelInferResponse response;
  const grpc::Status second = Infer(Request(ir::DType::kI8, "abc"), &response);
  EXPECT_EQ(second.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(second.error_message(), HasSubstr("--max-pending-per-model"));
  EXPECT_THAT(second.error_message(), HasSubstr("try again later"));
  EXPECT_TRUE(first.Finish().ok());
  EXPECT_TRUE(Infer(Request(ir::DType::kI8, "abc"), &response).ok());
}

TEST_F(ServerTest, RequestsUnderWayHaveNoMoreBytesThanTheLimit) {
  Config config;
  config.max_bytes_in_flight = 1000;
  StartGated(config);
  // One that is alone may be larger: no request is refused for ever.
  Held first(this, std::string(5000, 'a'));
  inference::ModelInferResponse response;
  const grpc::Status second = Infer(Request(ir::DType::kI8, "abc"), &response);
  EXPECT_EQ(second.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(second.error_message(), HasSubstr("--max-bytes-in-flight"));
  EXPECT_TRUE(first.Finish().ok());
  EXPECT_TRUE(Infer(Request(ir::DType::kI8, "abc"), &response).ok());
}

TEST_F(ServerTest, TheFilesOfALoadCountAmongThem) {
  Config config;
  config.max_bytes_in_flight = 1000;
  StartGated(config);
  const auto load = [this] {
    inference::RepositoryModelLoadRequest request;
    request.set_model_name("other");
    auto& parameters = *request.mutable_parameters();
    parameters["config"].set_string_param("{}");
    parameters["file:1/model.onnx"].set_bytes_param(std::string(2000, 'a'));
    grpc::ClientContext context;
    inference::RepositoryModelLoadResponse response;
    return v2_->RepositoryModelLoad(&context, request, &response);
  };
  Held first(this, "abc");
  EXPECT_THAT(load().error_message(), HasSubstr("--max-bytes-in-flight"));
  EXPECT_TRUE(first.Finish().ok());
  EXPECT_EQ(load().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, WhatThrowsFailsOneRequestAndNothingElse) {
  engine_.on_run = [] { throw std::bad_alloc(); };
  Start();
  PublishEcho(ir::DType::kI8);
  inference::ModelInferResponse response;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Infer(Request(ir::DType::kI8, "abc"), &response).error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  engine_.on_run = nullptr;
  PublishEcho(ir::DType::kI8);
  EXPECT_TRUE(Infer(Request(ir::DType::kI8, "abc"), &response).ok());
}

TEST_F(ServerTest, ACancelledRequestIsNotRun) {
  std::atomic<int> runs = 0;
  engine_.on_run = [gate = gate_, &runs] {
    ++runs;
    gate->Wait();
  };
  Config config;
  config.request_threads = 1;
  Start(config);
  PublishEcho(ir::DType::kI8);
  Held first(this, "abc");
  grpc::ClientContext context;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    context.TryCancel();
  });
  inference::ModelInferResponse response;
  EXPECT_EQ(v2_->ModelInfer(&context, Request(ir::DType::kI8, "abc"), &response)
                .error_code(),
            grpc::StatusCode::CANCELLED);
  canceller.join();
  // The server learns of it a moment after the client.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(first.Finish().ok());
  // The one after it shows that its turn has passed.
  EXPECT_TRUE(Infer(Request(ir::DType::kI8, "abc"), &response).ok());
  EXPECT_EQ(runs, 2);
}

TEST_F(ServerTest, ShutdownAnswersWhatWasAcceptedBefore) {
  StartGated();
  Held accepted(this, "abc");
  std::thread stopper([&] { server_->Shutdown(); });
  // Time for the shutdown to begin; the answer must be the same without it.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const grpc::Status status = accepted.Finish();
  stopper.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(accepted.response().raw_output_contents(0), "abc");
}

TEST_F(ServerTest, ADrainingServerRefusesByTheRightWord) {
  StartGated();
  Held accepted(this, "abc");
  std::thread stopper([&] { server_->Shutdown(); });
  // One that comes in before the shutdown begins waits behind the gate.
  grpc::Status refused;
  do {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(200));
    inference::ModelInferResponse response;
    refused =
        v2_->ModelInfer(&context, Request(ir::DType::kI8, "abc"), &response);
  } while (refused.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(refused.error_message(), HasSubstr("ask another one"));
  const grpc::Status status = accepted.Finish();
  stopper.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(ServerTest, ADeadlineThatPassedInTheQueueEndsTheRequest) {
  Start();
  PublishEcho(ir::DType::kI8);
  inference::ModelInferRequest request = Request(ir::DType::kI8, "abc");
  (*request.mutable_parameters())["timeout"].set_int64_param(60'000'000);
  inference::ModelInferResponse response;
  EXPECT_TRUE(Infer(request, &response).ok());
  engine_.on_run = [gate = gate_] { gate->Wait(); };
  PublishEcho(ir::DType::kI8);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(50));
  const grpc::Status status =
      v2_->ModelInfer(&context, Request(ir::DType::kI8, "abc"), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  gate_->Open();
}

TEST_F(ServerTest, AMessageOverTheLimitReachesNoModel) {
  std::atomic<int> runs = 0;
  engine_.on_run = [&] { ++runs; };
  Config config;
  config.max_message_bytes = 4096;
  Start(config);
  PublishEcho(ir::DType::kI8);
  inference::ModelInferResponse response;
  EXPECT_TRUE(
      Infer(Request(ir::DType::kI8, std::string(3000, 'a')), &response).ok());
  EXPECT_EQ(runs, 1);
  const grpc::Status status =
      Infer(Request(ir::DType::kI8, std::string(5000, 'a')), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(runs, 1);
}

TEST_F(ServerTest, AChunkThatIsTooLongIsRefused) {
  Start();
  for (const bool is_packed : {false, true}) {
    grpc::ClientContext context;
    if (is_packed) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    v1::SubmitResponse submitted;
    const auto writer = graphs_->Submit(&context, &submitted);
    v1::SubmitRequest message;
    message.mutable_header()->set_sha256(std::string(32, 'a'));
    message.mutable_header()->set_size_bytes(5 << 20);
    message.mutable_header()->set_format(v1::CONTENT_FORMAT_WEIGHT);
    writer->Write(message);
    message.set_chunk(std::string(5 << 20, 'a'));
    writer->Write(message);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(status.error_message(), HasSubstr("the message has"));
  }
}

TEST_F(ServerTest, AFailedPublishKeepsItsReason) {
  Start();
  PublishEcho(ir::DType::kI8);
  v1::PublishRequest publish;
  publish.set_graph_id(std::string(64, 'a'));
  publish.mutable_model()->set_name("echo");
  const auto call = [&] {
    grpc::ClientContext context;
    const auto reader = graphs_->Publish(&context, publish);
    v1::PublishResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  };
  EXPECT_EQ(call().error_code(), grpc::StatusCode::NOT_FOUND);
  publish.mutable_model()->set_name("../echo");
  EXPECT_THAT(call().error_message(), HasSubstr("a model's name has"));
  publish.mutable_model()->set_name("echo");
  publish.mutable_model()->set_version("one");
  EXPECT_THAT(call().error_message(), HasSubstr("a version is a positive"));
}

}  // namespace
}  // namespace quern::server
