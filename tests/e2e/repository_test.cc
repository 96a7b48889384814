// SPDX-License-Identifier: Apache-2.0
//
// Models that come, change and go while the real daemon serves.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class RepositoryTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string Path(const std::string& file) const {
    return folder_.path() + "/" + file;
  }

  // Puts a file into place as operators should: by one rename.
  void Place(const std::string& file, const std::string& bytes) const {
    WriteFile(Path(file) + ".new", bytes);
    fs::rename(Path(file) + ".new", Path(file));
  }

  void Start(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.end(), {"--model-repository", folder_.path()});
    daemon_ = std::make_unique<Daemon>(arguments);
    ASSERT_FALSE(daemon_->address().empty());
  }

  grpc::Status Load(const std::string& name,
                    const std::map<std::string, std::string>& files = {},
                    const std::string& config = "") {
    inference::RepositoryModelLoadRequest request;
    request.set_model_name(name);
    if (!config.empty()) {
      (*request.mutable_parameters())["config"].set_string_param(config);
    }
    for (const auto& [file, bytes] : files) {
      (*request.mutable_parameters())[file].set_bytes_param(bytes);
    }
    inference::RepositoryModelLoadResponse response;
    grpc::ClientContext context;
    return daemon_->v2().RepositoryModelLoad(&context, request, &response);
  }

  grpc::Status Unload(const std::string& name) {
    inference::RepositoryModelUnloadRequest request;
    request.set_model_name(name);
    inference::RepositoryModelUnloadResponse response;
    grpc::ClientContext context;
    return daemon_->v2().RepositoryModelUnload(&context, request, &response);
  }

  // "NAME/VERSION STATE REASON" by line.
  std::string Index() {
    inference::RepositoryIndexResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(daemon_->v2().RepositoryIndex(&context, {}, &response).ok());
    std::string text;
    for (const auto& model : response.models()) {
      absl::StrAppend(&text, model.name(), "/", model.version(), " ",
                      model.state(), " ", model.reason(), "\n");
    }
    return text;
  }

  // The product of a row of ones by the weights of a model that MatMulFile
  // made with this many columns; empty if there is no answer.
  std::vector<float> Product() {
    inference::ModelInferRequest request;
    request.set_model_name("m");
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype("FP32");
    input->add_shape(1);
    input->add_shape(4);
    request.add_raw_input_contents(RawFloats({1, 1, 1, 1}));
    const Called called = Infer(*daemon_, request);
    if (!called.status.ok()) return {};
    return FloatsOf(called.response.raw_output_contents(0));
  }

  static bool Eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 200; ++i) {
      if (condition()) return true;
      usleep(50'000);
    }
    return false;
  }

  Folder folder_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(RepositoryTest, ServesTheLatestVersionUnlessThePolicySaysOtherwise) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  WriteFile(Path("m/2/model.onnx"), MatMulFile(4, 5));
  WriteFile(Path("n/1/model.onnx"), MatMulFile(4, 3));
  WriteFile(Path("n/2/model.onnx"), MatMulFile(4, 5));
  WriteFile(Path("n/config.pbtxt"),
            "version_policy { specific { versions: 1 } }");
  Start();
  EXPECT_EQ(Index(), "m/2 READY \nn/1 READY \n");
  EXPECT_EQ(Product().size(), 5u);
}

TEST_F(RepositoryTest, LoadsAndUnloadsOnRequest) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start({"--model-control-mode", "explicit"});
  EXPECT_EQ(Index(), "m/ UNAVAILABLE not loaded\n");
  EXPECT_TRUE(Product().empty());
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Product().size(), 3u);
  EXPECT_TRUE(Unload("m").ok());
  EXPECT_TRUE(Product().empty());
  EXPECT_EQ(Unload("m").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Load("nothing").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(RepositoryTest, TheStartLoadsWhatItIsTold) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  WriteFile(Path("n/1/model.onnx"), MatMulFile(4, 3));
  Start({"--model-control-mode", "explicit", "--load-model", "n"});
  EXPECT_EQ(Index(), "n/1 READY \nm/ UNAVAILABLE not loaded\n");
}

TEST_F(RepositoryTest, AFailedReloadKeepsTheOldVersionAndTellsWhy) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start();
  EXPECT_EQ(Product().size(), 3u);
  Place("m/1/model.onnx", MatMulFile(4, 3).substr(0, 50));
  EXPECT_EQ(Load("m").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Product().size(), 3u);
  EXPECT_THAT(Index(), HasSubstr("m/1 READY the bytes are no ONNX model"));
  Place("m/config.pbtxt", "backend: \"tensorflow\"");
  const grpc::Status status = Load("m");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("backend 'tensorflow'"));
  EXPECT_EQ(Product().size(), 3u);
  fs::remove(Path("m/config.pbtxt"));
  Place("m/1/model.onnx", MatMulFile(4, 6));
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Product().size(), 6u);
  EXPECT_EQ(Index(), "m/1 READY \n");
}

TEST_F(RepositoryTest, LoadsFilesThatComeWithTheRequest) {
  Start();
  const std::string good = MatMulFile(4, 3);
  EXPECT_TRUE(Load("m", {{"file:7/model.onnx", good}}, "{}").ok());
  EXPECT_EQ(Index(), "m/7 READY \n");
  EXPECT_EQ(Product().size(), 3u);
  const std::map<std::string, std::string> bad_names[] = {
      {{"file:../../1/model.onnx", good}}, {{"file:1/../x", good}},
      {{"file:/etc/passwd", good}},        {{"file:1/model.plan", good}},
      {{"file:0/model.onnx", good}},       {{"secret", good}}};
  for (const auto& files : bad_names) {
    const grpc::Status status = Load("m", files, "{}");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("file:VERSION/model.onnx"));
  }
  EXPECT_THAT(Load("m", {{"file:1/model.onnx", good}}).error_message(),
              HasSubstr("needs the parameter \"config\""));
  EXPECT_THAT(Load("m", {{"file:1/model.onnx", good}}, "{\"maxBatchSize\": ")
                  .error_message(),
              HasSubstr("does not parse as JSON"));
  for (const char* name : {"..", "a/b", "", "\x01"}) {
    EXPECT_FALSE(Load(name, {{"file:1/model.onnx", good}}, "{}").ok()) << name;
  }
  EXPECT_EQ(Product().size(), 3u);
}

TEST_F(RepositoryTest, UnderstandsTheMessagesOfKserve) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start({"--model-control-mode", "explicit"});
  // Its model_name has the number of Triton's repository_name.
  inference::RepositoryModelLoadRequest load;
  load.set_repository_name("m");
  inference::RepositoryModelLoadResponse loaded;
  grpc::ClientContext c1;
  ASSERT_TRUE(daemon_->v2().RepositoryModelLoad(&c1, load, &loaded).ok());
  EXPECT_EQ(loaded.model_name(), "m");
  EXPECT_TRUE(loaded.is_loaded());
  inference::RepositoryModelUnloadRequest unload;
  unload.set_repository_name("m");
  inference::RepositoryModelUnloadResponse unloaded;
  grpc::ClientContext c2;
  ASSERT_TRUE(daemon_->v2().RepositoryModelUnload(&c2, unload, &unloaded).ok());
  EXPECT_TRUE(unloaded.is_unloaded());
}

TEST_F(RepositoryTest, AConfigThatContradictsTheModelIsRefused) {
  struct Case {
    const char* config;
    const char* message;
  };
  const Case cases[] = {
      {"input { name: \"y\" }", "has the input 'y', which the model lacks"},
      {"input { name: \"x\" data_type: TYPE_INT64 }", "TYPE_FP32 in the model"},
      {"input { name: \"x\" dims: [ 1, 2, 3 ] }", "in the model"},
      {"name: \"other\"", "expected 'm'"},
      {"max_batch_size: -1", "max_batch_size is -1"},
      {"dynamic_batching { }", "needs a max_batch_size"},
      {"model_transaction_policy { decoupled: true }", "decoupled"},
      {"default_model_filename: \"../../etc/passwd\"", "only model.onnx"},
      {"parameters { key: \"numerics\" value { string_value: \"fast\" } }",
       "expected default or strict"},
      {"parameters { key: \"sizes\" value { string_value: \"n\" } }",
       "expected NAME=SIZE"},
      {"parameters { key: \"device\" value { string_value: \"moon\" } }",
       "no device is called 'moon'"},
      {"parameters { key: \"warmup\" value { string_value: \"zz=4\" } }",
       "the warm-up names the size 'zz'"},
      {"max_batch_size: {", "line 1"},
      {"a { b { c { d { e { f { g { h { i { j { k { l { m { n { o { p { q { r "
       "{ s { t { u { v { } } } } } } } } } } } } } } } } } } } } } }",
       "does not parse"},
  };
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start({"--model-control-mode", "explicit"});
  for (const Case& c : cases) {
    Place("m/config.pbtxt", c.config);
    const grpc::Status status = Load("m");
    EXPECT_FALSE(status.ok()) << c.config;
    EXPECT_THAT(status.error_message(), HasSubstr(c.message)) << c.config;
    EXPECT_THAT(Index(), HasSubstr("UNAVAILABLE")) << c.config;
  }
  Place("m/config.pbtxt", std::string(100 << 20, ' '));
  EXPECT_THAT(Load("m").error_message(), HasSubstr("at most 1048576 are read"));
  Place("m/config.pbtxt",
        "backend: \"onnxruntime\" optimization { } instance_group { count: 2 } "
        "parameters { key: \"warmup\" value { string_value: \"n=4;n=8\" } }");
  EXPECT_TRUE(Load("m").ok());
  EXPECT_EQ(Product().size(), 3u);
}

TEST_F(RepositoryTest, FollowsItsFilesIfItIsPolled) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start({"--model-control-mode", "poll", "--repository-poll-seconds", "1"});
  EXPECT_EQ(Product().size(), 3u);
  EXPECT_EQ(Load("m").error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  Place("m/1/model.onnx", MatMulFile(4, 6));
  EXPECT_TRUE(Eventually([&] { return Product().size() == 6; }));
  WriteFile(Path("n/1/model.onnx"), MatMulFile(4, 3));
  EXPECT_TRUE(Eventually([&] { return Index() == "m/1 READY \nn/1 READY \n"; }))
      << Index();
  fs::remove_all(Path("m"));
  EXPECT_TRUE(Eventually([&] { return Index() == "n/1 READY \n"; })) << Index();
}

TEST_F(RepositoryTest, ReloadsUnderLoadLoseNothingAndGiveNoOldAnswer) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start();
  std::atomic<bool> stop = false;
  std::atomic<int> answers = 0;
  std::atomic<int> failures = 0;
  std::thread client([&] {
    while (!stop) {
      const size_t columns = Product().size();
      (columns == 3 || columns == 6 ? answers : failures) += 1;
    }
  });
  for (int i = 0; i < 20; ++i) {
    const size_t columns = i % 2 == 0 ? 6 : 3;
    Place("m/1/model.onnx", MatMulFile(4, static_cast<int64_t>(columns)));
    EXPECT_TRUE(Load("m").ok());
    EXPECT_EQ(Product().size(), columns);
  }
  stop = true;
  client.join();
  EXPECT_EQ(failures, 0);
  EXPECT_GT(answers, 0);
}

TEST_F(RepositoryTest, RefusesAModelThatDoesNotFitWithTheNumbers) {
  WriteFile(Path("m/1/model.onnx"), MatMulFile(4, 3));
  Start({"--max-device-memory", "100000"});
  EXPECT_EQ(Product().size(), 3u);
  const grpc::Status status =
      Load("big", {{"file:1/model.onnx", MatMulFile(300, 300)}}, "{}");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(),
              ContainsRegex("weights and their packed copies of [0-9]+ bytes"));
  EXPECT_THAT(status.error_message(), HasSubstr("--max-device-memory"));
  EXPECT_EQ(daemon_->Metric("quern_load_rejects_total{reason=\"memory\"}"), 1);
  EXPECT_EQ(Product().size(), 3u);
  EXPECT_TRUE(Unload("m").ok());
  EXPECT_EQ(daemon_->Metric("quern_device_planned_bytes{device=\"cpu\"}"), 0);
}

TEST(RepositoryStart, SaysInOneLineWhatIsWrongAndEndsWithOne) {
  struct Case {
    std::vector<std::string> flags;
    const char* message;
  };
  const Case cases[] = {
      {{"--model-repository", "/no/such/folder"}, "/no/such/folder"},
      {{"--model-control-mode", "poll"}, "needs --model-repository"},
      {{"--load-model", "m"}, "--model-control-mode explicit"},
      {{"--grpc-address", "0.0.0.0:0"}, "--allow-insecure"},
      {{"--tls-cert", "/x"}, "--tls-key"},
      {{"--tls-cert", "/no/c", "--tls-key", "/no/k"}, "cannot read /no/c"},
      {{"--token-file", "/no/t"}, "cannot read /no/t"},
  };
  for (const Case& c : cases) {
    std::vector<std::string> words = {Program("quernd"),
                                      "--grpc-address",
                                      "127.0.0.1:0",
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

}  // namespace
}  // namespace quern::e2e
