// SPDX-License-Identifier: Apache-2.0
//
// The V2 protocol, spoken to the real daemon.
#include <atomic>
#include <fstream>
#include <signal.h>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A repository with a perceptron, twice, and what is no model.
class Repository {
 public:
  Repository() {
    const std::string file = PerceptronFile();
    WriteFile(path() + "/mlp/1/model.onnx", file);
    WriteFile(path() + "/mlp/3/model.onnx", file);
    WriteFile(path() + "/mlp/config.pbtxt",
              "version_policy { all { } } instance_group { count: 2 }");
    WriteFile(path() + "/broken/1/model.onnx", file.substr(0, 100));
    WriteFile(path() + "/..odd/1/model.onnx", file);
  }
  [[nodiscard]] const std::string& path() const { return folder_.path(); }

 private:
  Folder folder_;
};

class V2 : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    repository_ = new Repository;
    daemon_ = new Daemon({"--model-repository", repository_->path(),
                          "--max-message-bytes", "1000000"});
    ASSERT_FALSE(daemon_->address().empty());
  }
  static void TearDownTestSuite() {
    delete daemon_;
    delete repository_;
  }

  static bool Serves() {
    const Called called = Infer(*daemon_, PerceptronRequest(2));
    return called.status.ok() && called.response.outputs_size() == 1;
  }

  static Repository* repository_;
  static Daemon* daemon_;
};

Repository* V2::repository_ = nullptr;
Daemon* V2::daemon_ = nullptr;

TEST_F(V2, TheReadyLineNamesWhatIsServed) {
  EXPECT_THAT(
      daemon_->ready_line(),
      ::testing::MatchesRegex("quernd ready grpc=127\\.0\\.0\\.1:[0-9]+ "
                              "http=127\\.0\\.0\\.1:[0-9]+ "
                              "metrics=127\\.0\\.0\\.1:[0-9]+"));
}

TEST_F(V2, LiveReadyAndMetadataTellTheTruth) {
  inference::ServerLiveResponse live;
  grpc::ClientContext c1;
  ASSERT_TRUE(daemon_->v2().ServerLive(&c1, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  grpc::ClientContext c2;
  ASSERT_TRUE(daemon_->v2().ServerReady(&c2, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ModelMetadataRequest request;
  request.set_name("mlp");
  inference::ModelMetadataResponse metadata;
  grpc::ClientContext c3;
  ASSERT_TRUE(daemon_->v2().ModelMetadata(&c3, request, &metadata).ok());
  EXPECT_THAT(metadata.versions(), ::testing::ElementsAre("1", "3"));
  ASSERT_EQ(metadata.inputs_size(), 1);
  EXPECT_EQ(metadata.inputs(0).name(), "features");
  EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");
  EXPECT_THAT(metadata.inputs(0).shape(), ::testing::ElementsAre(-1, 64));
}

TEST_F(V2, ABrokenModelSaysWhyAndStopsNobodyElse) {
  inference::ModelReadyRequest request;
  request.set_name("broken");
  inference::ModelReadyResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(daemon_->v2().ModelReady(&context, request, &response).ok());
  EXPECT_FALSE(response.ready());
  inference::ModelInferRequest infer = PerceptronRequest(1);
  infer.set_model_name("broken");
  const grpc::Status status = Infer(*daemon_, infer).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(),
              HasSubstr("model 'broken' version 1 could not be loaded: "));
  EXPECT_TRUE(Serves());
}

TEST_F(V2, AnAnswerIsRawComplete_AndEchoesTheId) {
  inference::ModelInferRequest request = PerceptronRequest(3);
  request.set_id("request-7");
  const Called called = Infer(*daemon_, request);
  ASSERT_TRUE(called.status.ok()) << called.status.error_message();
  EXPECT_EQ(called.response.id(), "request-7");
  EXPECT_EQ(called.response.model_version(), "3");
  ASSERT_EQ(called.response.outputs_size(), 1);
  EXPECT_FALSE(called.response.outputs(0).has_contents());
  EXPECT_THAT(called.response.outputs(0).shape(),
              ::testing::ElementsAre(3, 10));
  const std::vector<float> values =
      FloatsOf(called.response.raw_output_contents(0));
  ASSERT_EQ(values.size(), 30u);
  for (int row = 0; row < 3; ++row) {
    float sum = 0;
    for (int i = 0; i < 10; ++i) sum += values[row * 10 + i];
    EXPECT_NEAR(sum, 1, 1e-5);  // It ends in a softmax.
  }
}

TEST_F(V2, TypedContentsGiveTheSameAnswerAsRawOnes) {
  inference::ModelInferRequest raw = PerceptronRequest(2);
  inference::ModelInferRequest typed = raw;
  typed.clear_raw_input_contents();
  for (float value : FloatsOf(raw.raw_input_contents(0))) {
    typed.mutable_inputs(0)->mutable_contents()->add_fp32_contents(value);
  }
  const Called a = Infer(*daemon_, raw);
  const Called b = Infer(*daemon_, typed);
  ASSERT_TRUE(a.status.ok() && b.status.ok());
  EXPECT_EQ(a.response.raw_output_contents(0),
            b.response.raw_output_contents(0));
}

TEST_F(V2, EveryBatchIsServedWithoutCompilingForIt) {
  const double before = daemon_->Metric("quern_kernel_compiles_total");
  EXPECT_GT(before, 0);
  for (int64_t batch : {1, 2, 3, 5, 8, 13, 21, 34, 55, 89}) {
    const Called called = Infer(*daemon_, PerceptronRequest(batch));
    ASSERT_TRUE(called.status.ok()) << called.status.error_message();
    EXPECT_EQ(called.response.raw_output_contents(0).size(), batch * 40);
  }
  EXPECT_EQ(daemon_->Metric("quern_kernel_compiles_total"), before);
}

struct BadRequest {
  const char* what;
  void (*spoil)(inference::ModelInferRequest&);
  grpc::StatusCode code;
  const char* message;
};

TEST_F(V2, EveryBadRequestGetsASentenceAndTheServerServesOn) {
  const auto invalid = grpc::StatusCode::INVALID_ARGUMENT;
  const auto not_found = grpc::StatusCode::NOT_FOUND;
  const BadRequest cases[] = {
      {"no name", [](auto& r) { r.clear_model_name(); }, not_found,
       "there is no model ''"},
      {"wrong name", [](auto& r) { r.set_model_name("../mlp"); }, not_found,
       "there is no model '../mlp'"},
      {"wrong version", [](auto& r) { r.set_model_version("2"); }, not_found,
       "model 'mlp' has no version '2', it has 1, 3"},
      {"no version", [](auto& r) { r.set_model_version("latest"); }, not_found,
       "model 'mlp' has no version 'latest', it has 1, 3"},
      {"no input",
       [](auto& r) {
         r.clear_inputs();
         r.clear_raw_input_contents();
       },
       invalid, "input 'features' is missing"},
      {"wrong input", [](auto& r) { r.mutable_inputs(0)->set_name("pixels"); },
       invalid, "the model has no input 'pixels', its inputs are 'features'"},
      {"wrong type", [](auto& r) { r.mutable_inputs(0)->set_datatype("FP64"); },
       invalid, "input 'features': expected datatype FP32, got FP64"},
      {"wrong rank", [](auto& r) { r.mutable_inputs(0)->add_shape(1); },
       invalid, "features"},
      {"wrong size",
       [](auto& r) {
         r.mutable_inputs(0)->set_shape(0, 4);
         r.mutable_inputs(0)->set_shape(1, 32);
       },
       invalid, "features"},
      {"wrong length",
       [](auto& r) { r.mutable_raw_input_contents(0)->pop_back(); }, invalid,
       "input 'features': expected 512 bytes for its shape and datatype, got "
       "511"},
      {"negative", [](auto& r) { r.mutable_inputs(0)->set_shape(0, -2); },
       invalid, "input 'features': a dimension is negative: -2"},
      {"overflow",
       [](auto& r) {
         r.mutable_inputs(0)->set_shape(0, int64_t{1} << 62);
         r.mutable_inputs(0)->set_shape(1, int64_t{1} << 62);
       },
       invalid,
       "input 'features': the product of the dimensions is beyond 64 bits"},
      {"mixed",
       [](auto& r) {
         r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
       },
       invalid, "has contents, and the request raw_input_contents"},
      {"half a contents",
       [](auto& r) {
         r.clear_raw_input_contents();
         r.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
       },
       invalid, "expected 128 elements in fp32_contents, got 1"},
      {"wrong output", [](auto& r) { r.add_outputs()->set_name("logits"); },
       invalid,
       "the model has no output 'logits', its outputs are 'probabilities'"},
      {"a sequence",
       [](auto& r) {
         (*r.mutable_parameters())["sequence_id"].set_int64_param(4);
       },
       grpc::StatusCode::UNIMPLEMENTED, "sequence_id"},
  };
  for (const BadRequest& c : cases) {
    inference::ModelInferRequest request = PerceptronRequest(2);
    c.spoil(request);
    const Called called = Infer(*daemon_, request);
    EXPECT_EQ(called.status.error_code(), c.code) << c.what;
    EXPECT_THAT(called.status.error_message(), HasSubstr(c.message)) << c.what;
    ASSERT_TRUE(Serves()) << c.what;
  }
}

TEST_F(V2, AMessageOverTheLimitIsRefusedAndTheServerServesOn) {
  inference::ModelInferRequest request = PerceptronRequest(2);
  request.mutable_raw_input_contents(0)->resize(1'000'001);
  const Called called = Infer(*daemon_, request);
  EXPECT_EQ(called.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Serves());
}

// A call of any method with bytes that need be no message.
grpc::Status CallRaw(Daemon& daemon, const std::string& method,
                     const std::string& bytes, std::string* answer = nullptr) {
  grpc::GenericStub stub(daemon.channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (answer != nullptr && status.ok()) {
    std::vector<grpc::Slice> slices;
    (void)response.Dump(&slices);
    for (const grpc::Slice& part : slices) {
      answer->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

TEST_F(V2, BytesThatAreNoMessageAreRefusedAndTheServerServesOn) {
  const std::string whole = PerceptronRequest(2).SerializeAsString();
  const std::string method = "/inference.GRPCInferenceService/ModelInfer";
  for (size_t length = 1; length < whole.size(); length += 37) {
    EXPECT_FALSE(CallRaw(*daemon_, method, whole.substr(0, length)).ok());
  }
  uint64_t state = 1;
  for (int i = 0; i < 200; ++i) {
    std::string bytes = whole;
    for (int k = 0; k < 4; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      // The head, where names, shapes and lengths are.
      bytes[(state >> 33) % 80] = static_cast<char>(state >> 56);
    }
    (void)CallRaw(*daemon_, method, bytes);
  }
  EXPECT_TRUE(Serves());
}

TEST_F(V2, HealthIsServedForTheWholeServer) {
  std::string answer;
  ASSERT_TRUE(
      CallRaw(*daemon_, "/grpc.health.v1.Health/Check", "", &answer).ok());
  EXPECT_EQ(answer, std::string("\x08\x01", 2));  // Field 1: SERVING.
}

TEST_F(V2, ReflectionNamesTheServices) {
  grpc::GenericStub stub(daemon_->channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  const auto call = stub.PrepareCall(
      &context,
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice slice(std::string("\x3a\x00", 2));  // list_services
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  queue.Next(&tag, &ok);
  ASSERT_TRUE(ok);
  std::vector<grpc::Slice> slices;
  (void)response.Dump(&slices);
  std::string text;
  for (const grpc::Slice& part : slices) {
    text.append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  EXPECT_THAT(text, HasSubstr("inference.GRPCInferenceService"));
  EXPECT_THAT(text, HasSubstr("quern.v1.GraphService"));
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
}

TEST_F(V2, WhatIsNotThereAnswersUnimplementedWithASentence) {
  for (const char* method : {"SystemSharedMemoryRegister",
                             "CudaSharedMemoryRegister", "ModelStreamInfer"}) {
    const grpc::Status status = CallRaw(
        *daemon_, absl::StrCat("/inference.GRPCInferenceService/", method), "");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
    EXPECT_THAT(status.error_message(), HasSubstr("not supported")) << method;
  }
}

TEST_F(V2, TheConfigIsCompleteAndStatisticsCount) {
  inference::ModelConfigRequest config_request;
  config_request.set_name("mlp");
  inference::ModelConfigResponse config;
  grpc::ClientContext c1;
  ASSERT_TRUE(daemon_->v2().ModelConfig(&c1, config_request, &config).ok());
  EXPECT_EQ(config.config().name(), "mlp");
  EXPECT_EQ(config.config().max_batch_size(), 0);
  EXPECT_TRUE(config.config().version_policy().has_all());
  ASSERT_EQ(config.config().input_size(), 1);
  EXPECT_EQ(config.config().input(0).data_type(), inference::TYPE_FP32);
  EXPECT_THAT(config.config().input(0).dims(), ::testing::ElementsAre(-1, 64));

  const auto statistics = [&] {
    inference::ModelStatisticsRequest request;
    request.set_name("mlp");
    request.set_version("3");
    inference::ModelStatisticsResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(
        daemon_->v2().ModelStatistics(&context, request, &response).ok());
    EXPECT_EQ(response.model_stats_size(), 1);
    return response.model_stats(0);
  };
  const auto before = statistics();
  ASSERT_TRUE(Serves());
  inference::ModelInferRequest bad = PerceptronRequest(1);
  bad.mutable_inputs(0)->set_datatype("FP64");
  EXPECT_FALSE(Infer(*daemon_, bad).status.ok());
  const auto after = statistics();
  EXPECT_EQ(after.inference_count(), before.inference_count() + 1);
  EXPECT_EQ(after.execution_count(), before.execution_count() + 1);
  EXPECT_EQ(after.inference_stats().success().count(),
            before.inference_stats().success().count() + 1);
  EXPECT_EQ(after.inference_stats().fail().count(),
            before.inference_stats().fail().count() + 1);
  EXPECT_GT(after.inference_stats().compute_infer().ns(),
            before.inference_stats().compute_infer().ns());
  EXPECT_GT(after.last_inference(), 0u);
  EXPECT_EQ(daemon_->Metric("nv_inference_request_success{model=\"mlp\","
                            "version=\"3\"}"),
            static_cast<double>(after.inference_stats().success().count()));
  for (const char* phase : {"queue", "input", "execute", "output", "total"}) {
    EXPECT_GT(daemon_->Metric(absl::StrCat(
                  "quern_request_phase_mean_seconds{model=\"mlp/3\",phase=\"",
                  phase, "\"}")),
              0)
        << phase;
  }
}

TEST_F(V2, ARequestGetsItsOwnBreakdownIfItAsks) {
  inference::ModelInferRequest request = PerceptronRequest(8);
  EXPECT_EQ(Infer(*daemon_, request).response.parameters_size(), 0);
  (*request.mutable_parameters())["quern_timing"].set_bool_param(true);
  const Called called = Infer(*daemon_, request);
  ASSERT_TRUE(called.status.ok()) << called.status.error_message();
  const auto& parameters = called.response.parameters();
  for (const char* name : {"quern_queue_ns", "quern_input_ns",
                           "quern_execute_ns", "quern_output_ns"}) {
    ASSERT_TRUE(parameters.contains(name)) << name;
    EXPECT_GE(parameters.at(name).int64_param(), 0) << name;
  }
  EXPECT_GT(parameters.at("quern_execute_ns").int64_param(), 0);
  EXPECT_THAT(parameters.at("quern_kernels").string_param(),
              ::testing::MatchesRegex("[a-z0-9_]+ [0-9]+(, [a-z0-9_]+ "
                                      "[0-9]+)*"));
}

TEST_F(V2, SixteenClientsAtOnceAllGetTheRightAnswer) {
  std::vector<std::string> expected;
  for (int64_t batch = 1; batch <= 4; ++batch) {
    const Called called = Infer(*daemon_, PerceptronRequest(batch));
    ASSERT_TRUE(called.status.ok());
    expected.push_back(called.response.raw_output_contents(0));
  }
  std::atomic<int> wrong = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < 16; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 50; ++i) {
        const int64_t batch = (c + i) % 4 + 1;
        const Called called = Infer(*daemon_, PerceptronRequest(batch));
        if (!called.status.ok() ||
            called.response.raw_output_contents(0) != expected[batch - 1]) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(V2, MetricsTellOfRequestsAndOfEachKernel) {
  ASSERT_TRUE(Serves());
  const std::string text = daemon_->Metrics();
  for (const char* line :
       {"quern_requests_total{model=\"mlp/3\",code=\"OK\"} ",
        "quern_kernel_duration_seconds_bucket{model=\"mlp/3\",device=\"cpu\"",
        "quern_kernel_duration_mean_seconds{model=\"mlp/3\"",
        "quern_kernel_duration_variance_seconds2{model=\"mlp/3\"",
        "quern_kernel_duration_cv{model=\"mlp/3\"",
        "quern_kernel_launches_total{model=\"mlp/3\"",
        "quern_kernel_compile_seconds_total ", "quern_models_loaded 2"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Daemon, ASecondStartWithTheSameCacheCompilesNothing) {
  const Repository repository;
  const Folder cache;
  const std::vector<std::string> arguments = {"--model-repository",
                                              repository.path(), "--cache-dir",
                                              cache.path() + "/kernels"};
  {
    Daemon first(arguments);
    EXPECT_GT(first.Metric("quern_kernel_compiles_total"), 0);
    EXPECT_EQ(first.Stop(SIGTERM), 0);
  }
  Daemon second(arguments);
  EXPECT_TRUE(Infer(second, PerceptronRequest(1)).status.ok());
  EXPECT_EQ(second.Metric("quern_kernel_compiles_total"), 0);
  EXPECT_GT(second.Metric("quern_compile_cache_hits_total{tier=\"disk\"}"), 0);
}

TEST(Daemon, EndsWithZeroOnEitherSignal) {
  for (int signal : {SIGTERM, SIGINT}) {
    Daemon daemon({});
    ASSERT_FALSE(daemon.address().empty());
    EXPECT_EQ(daemon.Stop(signal), 0);
  }
}

TEST(Daemon, RefusesToStartWithASentenceForWhatIsWrong) {
  Daemon daemon({});
  struct Case {
    std::vector<std::string> flags;
    const char* message;
  };
  const Case cases[] = {
      {{"--grpc-address", daemon.address()}, "cannot listen at 127.0.0.1:"},
      {{"--grpc-address", "nowhere"},
       "--grpc-address: expected HOST:PORT or unix:PATH, got 'nowhere'"},
      {{"--grpc-address", "127.0.0.1:70000"}, "expected HOST:PORT"},
      {{"--grpc-address", "127.0.0.1:0", "--model-repository", "/nonexistent"},
       "cannot read the folder /nonexistent"},
      {{"--grpc-address", "127.0.0.1:0", "--devices", "abacus"}, "abacus"},
      {{"--frobnicate"}, "frobnicate"},
      {{"--contexts", "0"}, "contexts"},
  };
  for (const Case& c : cases) {
    std::vector<std::string> words = {Program("quernd"),
                                      "--http-address",
                                      "none",
                                      "--metrics-address",
                                      "none",
                                      "--cache-dir",
                                      ""};
    words.insert(words.end(), c.flags.begin(), c.flags.end());
    const Finished finished = RunProgram(words);
    EXPECT_EQ(finished.exit_code, 1) << c.message;
    EXPECT_THAT(finished.err, HasSubstr(c.message));
    EXPECT_EQ(finished.out, "");
  }
}

TEST(Daemon, ReadsItsFlagsFromAFile) {
  const Folder folder;
  WriteFile(folder.path() + "/quernd.conf",
            "metrics-address=none\nmax-message-bytes=2000\n");
  Daemon daemon({"--config", folder.path() + "/quernd.conf"});
  // A flag wins over the file.
  EXPECT_THAT(daemon.ready_line(), HasSubstr("metrics="));
  inference::ModelInferRequest request;
  request.set_model_name(std::string(3000, 'a'));
  EXPECT_EQ(Infer(daemon, request).status.error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace quern::e2e
