// SPDX-License-Identifier: Apache-2.0
//
// The GraphService, spoken to on the real daemon.
#include <set>

#include "absl/strings/str_cat.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/fixtures.h"

namespace quern::e2e {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// stack([1, 2, 3]) * x
constexpr char kStackTimesX[] = R"pb(
  inputs {
    name: "x"
    data_type: DATA_TYPE_F32
    dims { constant: 3 }
  }
  nodes {
    op: "const"
    results: "a"
    attributes {
      key: "value"
      value { int_value: 1 }
    }
  }
  nodes {
    op: "const"
    results: "b"
    attributes {
      key: "value"
      value { int_value: 2 }
    }
  }
  nodes {
    op: "const"
    results: "c"
    attributes {
      key: "value"
      value { int_value: 3 }
    }
  }
  nodes {
    op: "quern.stack@1"
    operands: "a"
    operands: "b"
    operands: "c"
    results: "s"
    attributes {
      key: "axis"
      value { int_value: 0 }
    }
  }
  nodes { op: "mul" operands: "s" operands: "x" results: "y" }
  outputs { name: "y" }
)pb";

// (x + c) on cpu, copied to ref, times c there; c is one large constant.
std::string TwoDeviceGraph() {
  std::string values;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&values, " values: ", i % 7);
  return absl::StrCat(
      "inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: 100 } "
      "device: 'cpu' } "
      "nodes { op: 'const_array' results: 'c' attributes { key: 'values' value "
      "{ floats {",
      values,
      "} } } } "
      "nodes { op: 'add' operands: 'x' operands: 'c' results: 'a' } "
      "nodes { op: 'copy' operands: 'a' results: 'b' attributes { key: "
      "'device' value { string_value: 'ref' } } } "
      "nodes { op: 'mul' operands: 'b' operands: 'c' results: 'y' } "
      "outputs { name: 'y' }");
}

class Graphs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    daemon_ = new Daemon({"--devices", "cpu,ref"});
    ASSERT_FALSE(daemon_->address().empty());
  }
  static void TearDownTestSuite() { delete daemon_; }

  // Submits a graph in text form; its id.
  static std::string SubmitText(const std::string& text) {
    const Submitted submitted = Submit(*daemon_, v1::CONTENT_FORMAT_GRAPH,
                                       GraphFromText(text).SerializeAsString());
    EXPECT_TRUE(submitted.status.ok()) << submitted.status.error_message();
    return submitted.response.graph_id();
  }

  static bool Serves() {
    v1::ExecuteRequest request;
    request.mutable_subject()->set_graph_id(SubmitText(kStackTimesX));
    AddFloats(request, "x", {3}, {1, 1, 1});
    return Execute(*daemon_, request).status.ok();
  }

  static std::vector<v1::KernelStatistics> KernelsOf(
      const std::string& graph_id) {
    v1::ListKernelsRequest request;
    request.mutable_subject()->set_graph_id(graph_id);
    v1::ListKernelsResponse response;
    grpc::ClientContext context;
    const grpc::Status status =
        daemon_->kernels().ListKernels(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (response.loaded_size() != 1) return {};
    return {response.loaded(0).kernels().begin(),
            response.loaded(0).kernels().end()};
  }

  static Daemon* daemon_;
};

Daemon* Graphs::daemon_ = nullptr;

TEST_F(Graphs, AStackOfConstantsTimesAnInputIsOneKernel) {
  const std::string id = SubmitText(kStackTimesX);
  v1::ExecuteRequest request;
  request.mutable_subject()->set_graph_id(id);
  AddFloats(request, "x", {3}, {5, 7, 11});
  const Executed executed = Execute(*daemon_, request);
  ASSERT_TRUE(executed.status.ok()) << executed.status.error_message();
  EXPECT_THAT(FloatsOf(executed.result.outputs(0).tensor().data()),
              ElementsAre(5, 14, 33));
  EXPECT_EQ(KernelsOf(id).size(), 1u);
}

TEST_F(Graphs, OneConstantIsUsedOnTwoDevicesJoinedByACopy) {
  const std::string id = SubmitText(TwoDeviceGraph());
  v1::ExecuteRequest request;
  request.mutable_subject()->set_graph_id(id);
  std::vector<float> x;
  std::vector<float> expected;
  for (int i = 0; i < 100; ++i) {
    const float c = static_cast<float>(i % 7);
    x.push_back(static_cast<float>(i));
    expected.push_back((x.back() + c) * c);
  }
  AddFloats(request, "x", {100}, x);
  const Executed executed = Execute(*daemon_, request);
  ASSERT_TRUE(executed.status.ok()) << executed.status.error_message();
  EXPECT_EQ(FloatsOf(executed.result.outputs(0).tensor().data()), expected);
  std::set<std::string> devices;
  for (const v1::KernelStatistics& kernel : KernelsOf(id)) {
    devices.insert(kernel.device());
  }
  EXPECT_THAT(devices, ElementsAre("cpu", "ref"));
}

TEST_F(Graphs, TheSameContentTwiceCostsOnlyItsHash) {
  const std::string content =
      GraphFromText(
          "inputs { name: 'x' data_type: DATA_TYPE_F32 dims { "
          "constant: 17 } } outputs { name: 'x' }")
          .SerializeAsString();
  v1::SubmitHeader header;
  header.set_sha256(Sha256(content));
  header.set_size_bytes(content.size());
  header.set_format(v1::CONTENT_FORMAT_GRAPH);
  const Submitted asked = SendContent(*daemon_, header, "");
  ASSERT_TRUE(asked.status.ok());
  EXPECT_TRUE(asked.response.content_needed());
  const Submitted sent = SendContent(*daemon_, header, content);
  ASSERT_TRUE(sent.status.ok()) << sent.status.error_message();
  EXPECT_FALSE(sent.response.already_there());
  const Submitted again = SendContent(*daemon_, header, "");
  ASSERT_TRUE(again.status.ok());
  EXPECT_TRUE(again.response.already_there());
  EXPECT_FALSE(again.response.content_needed());
  EXPECT_EQ(again.response.graph_id(), sent.response.graph_id());
  EXPECT_EQ(again.response.inputs(0).dims(0), 17);
}

TEST_F(Graphs, AWeightIsSubmittedOnceAndUsedByHash) {
  const std::string weight = RawFloats({10, 20});
  const Submitted submitted =
      Submit(*daemon_, v1::CONTENT_FORMAT_WEIGHT, weight);
  ASSERT_TRUE(submitted.status.ok()) << submitted.status.error_message();
  v1::Graph graph = GraphFromText(
      "inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: 2 } } "
      "weights { name: 'w' data_type: DATA_TYPE_F32 dims: 2 } "
      "nodes { op: 'add' operands: 'x' operands: 'w' results: 'y' } "
      "outputs { name: 'y' }");
  graph.mutable_weights(0)->set_sha256(Sha256(weight));
  const Submitted made =
      Submit(*daemon_, v1::CONTENT_FORMAT_GRAPH, graph.SerializeAsString());
  ASSERT_TRUE(made.status.ok()) << made.status.error_message();
  v1::ExecuteRequest request;
  request.mutable_subject()->set_graph_id(made.response.graph_id());
  AddFloats(request, "x", {2}, {1, 2});
  EXPECT_THAT(
      FloatsOf(Execute(*daemon_, request).result.outputs(0).tensor().data()),
      ElementsAre(11, 22));
}

TEST_F(Graphs, AModelOfAHundredMegabytesTravelsInChunks) {
  constexpr int64_t kRows = 5000;
  constexpr int64_t kColumns = 5100;
  const std::string file = MatMulFile(kRows, kColumns);
  ASSERT_GT(file.size(), 100'000'000u);
  const Submitted submitted = Submit(*daemon_, v1::CONTENT_FORMAT_ONNX, file);
  ASSERT_TRUE(submitted.status.ok()) << submitted.status.error_message();
  v1::ExecuteRequest request;
  request.mutable_subject()->set_graph_id(submitted.response.graph_id());
  std::vector<float> x(kRows, 0);
  x[4321] = 1;  // Picks a row of the weight.
  AddFloats(request, "x", {1, kRows}, x);
  const Executed executed = Execute(*daemon_, request);
  ASSERT_TRUE(executed.status.ok()) << executed.status.error_message();
  const std::vector<float> y =
      FloatsOf(executed.result.outputs(0).tensor().data());
  ASSERT_EQ(y.size(), static_cast<size_t>(kColumns));
  for (int64_t j = 0; j < kColumns; ++j) {
    ASSERT_EQ(y[j], WeightAt(4321, j)) << j;
  }
}

TEST_F(Graphs, APublishedGraphIsAModelUntilItIsUnpublished) {
  const Submitted submitted =
      Submit(*daemon_, v1::CONTENT_FORMAT_ONNX, PerceptronFile());
  ASSERT_TRUE(submitted.status.ok()) << submitted.status.error_message();
  v1::PublishRequest publish;
  publish.set_graph_id(submitted.response.graph_id());
  publish.mutable_model()->set_name("mlp");
  for (const char* version : {"1", "2"}) {
    grpc::ClientContext context;
    const auto reader = daemon_->graphs().Publish(&context, publish);
    v1::PublishResponse message;
    v1::PublishResult result;
    while (reader->Read(&message)) {
      if (message.has_result()) result = message.result();
    }
    const grpc::Status status = reader->Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(result.model().version(), version);
    EXPECT_GT(result.load().kernels(), 0);
  }
  ASSERT_TRUE(Infer(*daemon_, PerceptronRequest(2)).status.ok());
  EXPECT_THAT(daemon_->Metrics(), HasSubstr("model=\"mlp/2\""));

  v1::UnpublishRequest unpublish;
  unpublish.mutable_model()->set_name("mlp");
  for (const char* version : {"2", "1"}) {
    unpublish.mutable_model()->set_version(version);
    v1::UnpublishResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(
        daemon_->graphs().Unpublish(&context, unpublish, &response).ok());
  }
  EXPECT_EQ(Infer(*daemon_, PerceptronRequest(2)).status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(daemon_->Metrics(), Not(HasSubstr("model=\"mlp/")));
}

TEST_F(Graphs, EveryStageIsExplained) {
  const std::string id = SubmitText(kStackTimesX);
  for (int stage = v1::EXPLAIN_STAGE_GRAPH; stage <= v1::EXPLAIN_STAGE_ASM;
       ++stage) {
    v1::ExplainRequest request;
    request.mutable_subject()->set_graph_id(id);
    request.set_stage(static_cast<v1::ExplainStage>(stage));
    grpc::ClientContext context;
    const auto reader = daemon_->graphs().Explain(&context, request);
    v1::ExplainResponse message;
    std::string text;
    while (reader->Read(&message)) {
      if (message.part_case() == v1::ExplainResponse::kText) {
        text = message.text();
      }
    }
    EXPECT_TRUE(reader->Finish().ok()) << stage;
    EXPECT_FALSE(text.empty()) << stage;
  }
}

TEST_F(Graphs, ABenchmarkReportsColdAndCachedLoadsAndItsKernels) {
  v1::BenchmarkRequest request;
  request.mutable_subject()->set_graph_id(SubmitText(
      "inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: 333 } } "
      "nodes { op: 'quern.gelu@1' operands: 'x' results: 'y' } "
      "outputs { name: 'y' }"));
  v1::ExecuteRequest inputs;
  AddFloats(inputs, "x", {333}, std::vector<float>(333, 0.5F));
  *request.mutable_inputs() = inputs.inputs();
  request.set_warmup(2);
  request.set_runs(20);
  grpc::ClientContext context;
  const auto reader = daemon_->graphs().Benchmark(&context, request);
  v1::BenchmarkResponse message;
  v1::BenchmarkReport report;
  while (reader->Read(&message)) {
    if (message.has_report()) report = message.report();
  }
  const grpc::Status status = reader->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(report.runs(), 20);
  EXPECT_GT(report.engine_ms().median(), 0);
  EXPECT_LE(report.engine_ms().min(), report.engine_ms().median());
  EXPECT_LE(report.engine_ms().median(), report.engine_ms().p99());
  EXPECT_GT(report.cold_load().compiled(), 0);
  EXPECT_EQ(report.cached_load().compiled(), 0);
  ASSERT_GE(report.kernels_size(), 1);
  EXPECT_EQ(report.kernels(0).launches(), 20u);
  double share = 0;
  for (const auto& kernel : report.kernels()) share += kernel.share();
  EXPECT_NEAR(share, 1, 1e-9);
}

TEST_F(Graphs, ATuningThatMakesNoSenseIsRefused) {
  v1::TuneRequest good;
  good.mutable_subject()->set_graph_id(SubmitText(
      "inputs { name: 'x' data_type: DATA_TYPE_F32 dims { constant: 333 } } "
      "nodes { op: 'quern.gelu@1' operands: 'x' results: 'y' } "
      "outputs { name: 'y' }"));
  v1::ExecuteRequest inputs;
  AddFloats(inputs, "x", {333}, std::vector<float>(333, 0.5F));
  *good.mutable_inputs() = inputs.inputs();
  const auto answer = [&](const v1::TuneRequest& request) {
    grpc::ClientContext context;
    const auto reader = daemon_->graphs().Tune(&context, request);
    v1::TuneResponse message;
    while (reader->Read(&message)) {
    }
    return reader->Finish();
  };
  // Nothing can be chosen here, and that is no error.
  EXPECT_TRUE(answer(good).ok());
  v1::TuneRequest too_many = good;
  too_many.set_runs(5000);
  EXPECT_THAT(answer(too_many).error_message(), HasSubstr("at most 1000 runs"));
  v1::TuneRequest nothing = good;
  nothing.clear_inputs();
  EXPECT_EQ(answer(nothing).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::TuneRequest unknown = good;
  unknown.mutable_subject()->mutable_model()->set_name("nope");
  EXPECT_EQ(answer(unknown).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(Graphs, DevicesAndVocabularyAreListed) {
  v1::ListDevicesResponse devices;
  grpc::ClientContext c1;
  ASSERT_TRUE(daemon_->graphs().ListDevices(&c1, {}, &devices).ok());
  ASSERT_EQ(devices.devices_size(), 2);
  EXPECT_EQ(devices.devices(0).name(), "cpu");
  EXPECT_TRUE(devices.devices(0).available());
  v1::DescribeVocabularyResponse vocabulary;
  grpc::ClientContext c2;
  ASSERT_TRUE(daemon_->graphs().DescribeVocabulary(&c2, {}, &vocabulary).ok());
  EXPECT_GT(vocabulary.entries_size(), 80);
}

TEST_F(Graphs, EveryBadSubmissionGetsASentenceAndTheServerServesOn) {
  const std::string content =
      GraphFromText(kStackTimesX).SerializeAsString() + "x";
  struct Case {
    const char* what;
    void (*spoil)(v1::SubmitHeader&, std::string&);
    grpc::StatusCode code;
    const char* message;
  };
  const auto invalid = grpc::StatusCode::INVALID_ARGUMENT;
  const Case cases[] = {
      {"hash", [](auto& h, auto&) { h.set_sha256("abc"); }, invalid,
       "a SHA-256 has 32 bytes, got 3"},
      {"wrong hash", [](auto& h, auto&) { h.set_sha256(std::string(32, 'a')); },
       invalid, "the content does not have the SHA-256 that the header names"},
      {"empty", [](auto& h, auto&) { h.set_size_bytes(0); }, invalid,
       "the content is empty"},
      {"huge", [](auto& h, auto&) { h.set_size_bytes(~uint64_t{0}); },
       grpc::StatusCode::RESOURCE_EXHAUSTED, "--max-graph-bytes"},
      {"short", [](auto& h, auto&) { h.set_size_bytes(h.size_bytes() + 1); },
       invalid, "the content ended after"},
      {"long", [](auto& h, auto&) { h.set_size_bytes(h.size_bytes() - 1); },
       invalid, "the content has more than the"},
      {"no format",
       [](auto& h, auto&) { h.set_format(v1::CONTENT_FORMAT_UNSPECIFIED); },
       invalid, "the format 0 of the content is not known"},
      {"unknown format",
       [](auto& h, auto&) { h.set_format(static_cast<v1::ContentFormat>(99)); },
       invalid, "the format 99 of the content is not known"},
      {"no graph", [](auto&, auto&) {}, invalid, "bytes are no quern.v1.Graph"},
      {"no model",
       [](auto& h, auto&) { h.set_format(v1::CONTENT_FORMAT_ONNX); }, invalid,
       "no ONNX model"},
      {"fixed input of a graph",
       [](auto& h, auto&) { h.add_fixed_inputs()->set_name("x"); }, invalid,
       "inputs can be fixed for ONNX files only"},
      {"fixed input of the wrong size",
       [](auto& h, auto&) {
         h.set_format(v1::CONTENT_FORMAT_ONNX);
         auto* input = h.add_fixed_inputs();
         input->mutable_tensor()->set_data_type(v1::DATA_TYPE_I64);
         input->mutable_tensor()->add_dims(int64_t{1} << 61);
       },
       invalid, "beyond 64 bits"},
  };
  for (const Case& c : cases) {
    v1::SubmitHeader header;
    header.set_sha256(Sha256(content));
    header.set_size_bytes(content.size());
    header.set_format(v1::CONTENT_FORMAT_GRAPH);
    std::string bytes = content;
    c.spoil(header, bytes);
    const Submitted submitted = SendContent(*daemon_, header, bytes);
    EXPECT_EQ(submitted.status.error_code(), c.code) << c.what;
    EXPECT_THAT(submitted.status.error_message(), HasSubstr(c.message))
        << c.what;
    ASSERT_TRUE(Serves()) << c.what;
  }
}

TEST_F(Graphs, MessagesOutOfOrderAreRefused) {
  const auto send = [](std::vector<v1::SubmitRequest> messages) {
    grpc::ClientContext context;
    v1::SubmitResponse response;
    const auto writer = daemon_->graphs().Submit(&context, &response);
    for (const v1::SubmitRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish().error_message();
  };
  v1::SubmitRequest header;
  header.mutable_header()->set_sha256(std::string(32, 'a'));
  header.mutable_header()->set_size_bytes(5);
  header.mutable_header()->set_format(v1::CONTENT_FORMAT_ONNX);
  v1::SubmitRequest chunk;
  chunk.set_chunk("abc");
  EXPECT_EQ(send({}), "there was no header");
  EXPECT_EQ(send({chunk}), "a chunk came before the header");
  EXPECT_EQ(send({header, header}), "a second header");
  EXPECT_EQ(send({v1::SubmitRequest()}),
            "a message with neither a header nor a chunk");
}

TEST_F(Graphs, CutOffAndScrambledFilesNeverStopTheServer) {
  const std::string graph = GraphFromText(TwoDeviceGraph()).SerializeAsString();
  const std::string model = PerceptronFile();
  uint64_t state = 7;
  const auto next = [&state] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state >> 33);
  };
  for (int i = 0; i < 120; ++i) {
    const bool is_graph = i % 2 == 0;
    std::string bytes = is_graph ? graph : model;
    // Tables of a model's file lie behind and before its weights.
    const size_t reach = std::min<size_t>(bytes.size(), 600);
    for (int k = 0; k < 3; ++k) {
      const size_t at = next() % reach;
      const size_t place = next() % 2 == 0 ? at : bytes.size() - 1 - at;
      bytes[place] = static_cast<char>(next());
    }
    if (i % 5 == 0) bytes.resize(1 + next() % bytes.size());
    const Submitted submitted = Submit(
        *daemon_, is_graph ? v1::CONTENT_FORMAT_GRAPH : v1::CONTENT_FORMAT_ONNX,
        bytes);
    // It may happen to be sound; then it must load, or fail with a status.
    if (!submitted.status.ok() || submitted.response.graph_id().empty()) {
      ASSERT_NE(submitted.status.error_code(), grpc::StatusCode::UNAVAILABLE)
          << i;
      continue;
    }
    v1::ExecuteRequest request;
    request.mutable_subject()->set_graph_id(submitted.response.graph_id());
    ASSERT_NE(Execute(*daemon_, request).status.error_code(),
              grpc::StatusCode::UNAVAILABLE)
        << i;
  }
  EXPECT_TRUE(Serves());
}

TEST_F(Graphs, SubjectsAndSettingsThatMakeNoSenseAreNamed) {
  const std::string id = SubmitText(kStackTimesX);
  struct Case {
    void (*make)(v1::Subject&, const std::string& id);
    const char* message;
  };
  const Case cases[] = {
      {[](auto&, auto&) {}, "the subject is neither a graph nor a model"},
      {[](auto& s, auto&) { s.set_graph_id("../../etc/passwd"); },
       "a graph's id has 64 hexadecimal digits, got 16 bytes"},
      {[](auto& s, auto&) { s.set_graph_id(std::string(64, 'f')); },
       "there is no content with the SHA-256"},
      {[](auto& s, auto&) { s.mutable_model()->set_name("nope"); },
       "there is no model 'nope'"},
      {[](auto& s, auto& i) {
         s.set_graph_id(i);
         s.mutable_settings()->set_device("abacus");
       },
       "abacus"},
      {[](auto& s, auto& i) {
         s.set_graph_id(i);
         s.mutable_settings()->set_numerics(
             static_cast<v1::CompileSettings::Numerics>(9));
       },
       "numerics 9 are not known"},
      {[](auto& s, auto& i) {
         s.set_graph_id(i);
         (*s.mutable_settings()->mutable_sizes())["n"] = -1;
       },
       "the size 'n' is -1"},
  };
  for (const Case& c : cases) {
    v1::ExecuteRequest request;
    c.make(*request.mutable_subject(), id);
    AddFloats(request, "x", {3}, {1, 2, 3});
    const Executed executed = Execute(*daemon_, request);
    EXPECT_FALSE(executed.status.ok());
    EXPECT_THAT(executed.status.error_message(), HasSubstr(c.message));
    ASSERT_TRUE(Serves()) << c.message;
  }
}

}  // namespace
}  // namespace quern::e2e
