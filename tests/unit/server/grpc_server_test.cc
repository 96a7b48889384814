// SPDX-License-Identifier: Apache-2.0
//
// The gRPC server on real sockets: with gRPC's own client, and with peers that
// send frames of HTTP/2 as they please.
#include "server/grpc/grpc_server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <sys/resource.h>

#include "engine/base/mutex.h"
#include "proto/inference/grpc_service.grpc.pb.h"
#include "server/admission.h"
#include "server/grpc/grpc_health.h"
#include "server/grpc/grpc_method.h"
#include "server/grpc/grpc_reflection.h"
#include "tests/support/http2_frames.h"
#include "tests/support/raw_client.h"
#include "tests/support/waiting.h"

namespace quern::server {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using support::Becomes;
using support::Field;
using support::Frame;
using support::Hello;
using support::kEndHeaders;
using support::kEndStream;
using support::RawClient;
using support::Word;
using enum support::FrameType;
using telemetry::Metric;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kEcho[] = "/inference.GRPCInferenceService/ModelInfer";

std::string RequestHead(const std::string& path = kEcho,
                        const std::string& more = "") {
  return Field(":method", "POST") + Field(":scheme", "http") +
         Field(":path", path) + Field(":authority", "h") +
         Field("content-type", "application/grpc") + more;
}

// The headers in what a server has sent, a line each.
std::string HeadersIn(absl::string_view bytes) {
  nghttp2_hd_inflater* inflater = nullptr;
  nghttp2_hd_inflate_new(&inflater);
  std::string text;
  while (bytes.size() >= 9) {
    size_t size = 0;
    for (int i = 0; i < 3; ++i) {
      size = size << 8 | static_cast<uint8_t>(bytes[i]);
    }
    const bool is_headers =
        static_cast<support::FrameType>(bytes[3]) == kHeaders;
    absl::string_view block = bytes.substr(9, size);
    bytes.remove_prefix(std::min(9 + size, bytes.size()));
    while (is_headers) {
      nghttp2_nv field = {};
      int flags = 0;
      const ssize_t taken = nghttp2_hd_inflate_hd2(
          inflater, &field, &flags,
          reinterpret_cast<const uint8_t*>(block.data()), block.size(), 1);
      if (taken < 0) break;
      block.remove_prefix(static_cast<size_t>(taken));
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        text.append(reinterpret_cast<char*>(field.name), field.namelen);
        text += ": ";
        text.append(reinterpret_cast<char*>(field.value), field.valuelen);
        text += "\n";
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater);
        break;
      }
    }
  }
  nghttp2_hd_inflate_del(inflater);
  return text;
}

// Whether a server has said which calls it has not served, before it ended.
bool HasGoAway(const std::string& bytes) {
  return bytes.find(std::string("\x07\0\0\0\0\0", 6)) != std::string::npos;
}

class GrpcServerTest : public ::testing::Test {
 protected:
  GrpcServerTest() {
    options_.address = "127.0.0.1:0";
    options_.flag = "--grpc-address";
    options_.max_message_bytes = 1 << 20;
    options_.admission = &admission_;
  }

  ~GrpcServerTest() override { server_.reset(); }

  // Echoes the id; others fail in their ways, or answer when the test does.
  void Start() {
    GrpcMethods methods;
    methods[kEcho] = UnaryMethod<ModelInferRequest, ModelInferResponse>(
        &authorizer_, Access::kPublic,
        [this](const Call& call, const ModelInferRequest& request,
               ModelInferResponse& response, const Done& done) {
          ++handled_;
          if (request.id() == "throw") throw std::bad_alloc();
          if (request.id() == "drop") return;
          response.set_id(request.id());
          for (const std::string& raw : request.raw_input_contents()) {
            response.add_raw_output_contents(raw);
          }
          if (request.id() == "much") {
            response.add_raw_output_contents(std::string(30'000'000, 'x'));
          }
          if (request.id() != "hold") {
            done(request.id() == "fail"
                     ? absl::NotFoundError("no such thing:\n100 %")
                     : absl::OkStatus());
            return;
          }
          const base::MutexLock lock(&mutex_);
          held_ = done;
          held_call_ = call;
        });
    methods["/Stream"] = StreamMethod<ModelInferRequest, ModelInferResponse>(
        &authorizer_, Access::kPublic,
        [](const ModelInferRequest& request,
           const std::shared_ptr<ResponseStream<ModelInferResponse>>& stream) {
          ModelInferResponse response;
          for (size_t i = 0; i < request.id().size(); ++i) {
            response.set_id(request.id().substr(i, 1));
            stream->Send(response);
          }
          stream->End(absl::AbortedError("enough"));
        });
    health_.AddTo(&authorizer_, methods);
    AddReflection(&authorizer_, {"inference.GRPCInferenceService"}, methods);
    auto server = StartGrpcServer(options_, std::move(methods), &metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<inference::GRPCInferenceService::Stub> Stub() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    return inference::GRPCInferenceService::NewStub(grpc::CreateCustomChannel(
        address(), grpc::InsecureChannelCredentials(), arguments));
  }

  grpc::Status Ask(const std::string& id, ModelInferResponse* response,
                   const std::function<void(grpc::ClientContext&)>& set = {},
                   const std::string& raw = "") {
    ModelInferRequest request;
    request.set_id(id);
    if (!raw.empty()) request.add_raw_input_contents(raw);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(20));
    if (set) set(context);
    return Stub()->ModelInfer(&context, request, response);
  }

  // That it serves on, whatever others have done.
  void ExpectToServe() {
    ModelInferResponse response;
    const grpc::Status status = Ask("7", &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.id(), "7");
  }

  bool Holds() {
    return Becomes([this] {
      const base::MutexLock lock(&mutex_);
      return held_ != nullptr;
    });
  }
  void AnswerHeld() {
    Done done;
    {
      const base::MutexLock lock(&mutex_);
      done = std::exchange(held_, nullptr);
    }
    done(absl::OkStatus());
  }

  static std::string Message(const std::string& id) {
    ModelInferRequest request;
    request.set_id(id);
    const std::string bytes = request.SerializeAsString();
    return std::string(1, '\0') + Word(static_cast<uint32_t>(bytes.size())) +
           bytes;
  }
  static std::string Call1(const std::string& id, uint32_t stream = 1) {
    return Frame(kHeaders, kEndHeaders, stream, RequestHead()) +
           Frame(kData, kEndStream, stream, Message(id));
  }

  double Count(Metric metric) { return metrics_.GetNumber(metric)->Get(); }
  bool BecomesOpen(double count) {
    return Becomes([&] { return Count(Metric::kGrpcConnections) == count; });
  }
  const std::string& address() const { return server_->address(); }

  telemetry::Metrics metrics_;
  Admission admission_{{.pending_per_model = 10, .bytes_in_flight = 10'000'000},
                       &metrics_};
  Authorizer authorizer_;
  GrpcHealth health_{{"inference.GRPCInferenceService"}};
  GrpcServerOptions options_;
  std::atomic<int> handled_ = 0;
  base::Mutex mutex_;
  Done held_;
  Call held_call_;
  std::unique_ptr<Listener> server_;
};

TEST_F(GrpcServerTest, AnswersWithMessagesOfAnySize) {
  Start();
  for (const size_t size : {0, 1, 4096, 100'000, 1'000'000}) {
    ModelInferResponse response;
    const std::string raw(size, 'r');
    const grpc::Status status = Ask("7", &response, {}, raw);
    ASSERT_TRUE(status.ok()) << size << status.error_message();
    EXPECT_EQ(response.raw_output_contents_size(), size > 0 ? 1 : 0);
    if (size > 0) {
      EXPECT_EQ(response.raw_output_contents(0), raw);
    }
  }
  ModelInferResponse response;
  ASSERT_TRUE(Ask("much", &response).ok());
  EXPECT_EQ(response.raw_output_contents(0).size(), 30'000'000u);
}

TEST_F(GrpcServerTest, ErrorsKeepTheirCodesAndTheirWords) {
  Start();
  ModelInferResponse response;
  const grpc::Status failed = Ask("fail", &response);
  EXPECT_EQ(failed.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(failed.error_message(), "no such thing:\n100 %");
  EXPECT_EQ(Ask("throw", &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Ask("drop", &response).error_code(), grpc::StatusCode::INTERNAL);
  const grpc::Status large =
      Ask("7", &response, {}, std::string(2'000'000, 'r'));
  EXPECT_EQ(large.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(large.error_message(), HasSubstr("--max-message-bytes"));
  grpc::ClientContext context;
  inference::ServerLiveResponse live;
  const grpc::Status unknown = Stub()->ServerLive(&context, {}, &live);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(unknown.error_message(), HasSubstr("ServerLive"));
  ExpectToServe();
}

TEST_F(GrpcServerTest, ReadsWhatClientsCompress) {
  Start();
  for (const grpc_compression_algorithm algorithm :
       {GRPC_COMPRESS_GZIP, GRPC_COMPRESS_DEFLATE}) {
    ModelInferResponse response;
    const std::string raw(100'000, 'r');
    const grpc::Status status = Ask(
        "7", &response,
        [&](grpc::ClientContext& c) { c.set_compression_algorithm(algorithm); },
        raw);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.raw_output_contents(0), raw);
  }
}

TEST_F(GrpcServerTest, AStreamEndsWithItsStatusBehindItsMessages) {
  Start();
  grpc::GenericStub stub(
      grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/Stream", &queue);
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(next());
  ModelInferRequest request;
  request.set_id("abc");
  const grpc::Slice slice(request.SerializeAsString());
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  ASSERT_TRUE(next());
  int messages = 0;
  grpc::ByteBuffer message;
  for (call->Read(&message, nullptr); next(); call->Read(&message, nullptr)) {
    ++messages;
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  EXPECT_EQ(messages, 3);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "enough");
}

TEST_F(GrpcServerTest, ACallKnowsItsDeadlineAndThatItsClientHasGone) {
  Start();
  ModelInferResponse response;
  grpc::Status status;
  const absl::Time begin = absl::Now();
  status = Ask("hold", &response, [](grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(300));
  });
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(Holds());
  {
    const base::MutexLock lock(&mutex_);
    EXPECT_LT(held_call_.deadline, begin + absl::Seconds(2));
    EXPECT_GT(held_call_.deadline, begin);
  }
  EXPECT_TRUE(Becomes([this] {
    const base::MutexLock lock(&mutex_);
    return held_call_.cancelled();
  }));
  AnswerHeld();  // Goes nowhere.
  ExpectToServe();
}

TEST_F(GrpcServerTest, AServerThatIsStoppedAnswersFirst) {
  Start();
  ModelInferResponse response;
  grpc::Status status;
  std::thread client([&] { status = Ask("hold", &response); });
  ASSERT_TRUE(Holds());
  std::thread stopper([&] { server_->Stop(absl::Now() + absl::Seconds(20)); });
  EXPECT_TRUE(Becomes([&] { return !RawClient(address()).connected(); }));
  AnswerHeld();
  stopper.join();
  client.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.id(), "hold");
}

TEST_F(GrpcServerTest, WhatIsNotDoneInTimeIsCutOff) {
  Start();
  ModelInferResponse response;
  grpc::Status status;
  std::thread client([&] { status = Ask("hold", &response); });
  ASSERT_TRUE(Holds());
  server_->Stop(absl::Now() + absl::Milliseconds(200));
  client.join();
  EXPECT_FALSE(status.ok());
  AnswerHeld();
}

TEST_F(GrpcServerTest, HealthIsToldOnceAndWhenItChanges) {
  Start();
  using grpc::health::v1::HealthCheckRequest;
  using grpc::health::v1::HealthCheckResponse;
  const auto channel =
      grpc::CreateChannel(address(), grpc::InsecureChannelCredentials());
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  const auto status = [&] {
    grpc::ByteBuffer message;
    call->Read(&message, nullptr);
    EXPECT_TRUE(next());
    grpc::Slice slice;
    EXPECT_TRUE(message.DumpToSingleSlice(&slice).ok());
    HealthCheckResponse response;
    EXPECT_TRUE(
        response.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    return response.status();
  };
  call->StartCall(nullptr);
  ASSERT_TRUE(next());
  HealthCheckRequest request;
  request.set_service("inference.GRPCInferenceService");
  const grpc::Slice slice(request.SerializeAsString());
  call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  ASSERT_TRUE(next());
  EXPECT_EQ(status(), HealthCheckResponse::NOT_SERVING);
  health_.SetServing(true);
  EXPECT_EQ(status(), HealthCheckResponse::SERVING);
  health_.SetServing(false);
  EXPECT_EQ(status(), HealthCheckResponse::NOT_SERVING);
  health_.EndWatches();
  grpc::Status end;
  call->Finish(&end, nullptr);
  next();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTest, APeerThatSpeaksSomethingElseIsClosed) {
  Start();
  const std::vector<std::string> openings = {
      "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
      std::string(support::kPreface) + Frame(kData, 0, 1, "x"),
      std::string(support::kPreface) + std::string(100, '\xff'),
      Hello() + Frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"),
      Hello() + Frame(kHeaders, kEndHeaders, 2, RequestHead()),
      Hello() + Frame(kSettings, 0, 0, "abc"),
      Hello() + Frame(kWindowUpdate, 0, 0, Word(0)),
      Hello() + Frame(kContinuation, kEndHeaders, 1, RequestHead()),
  };
  for (const std::string& bytes : openings) {
    RawClient client(address());
    client.Send(bytes);
    const std::string answer = client.ReadAll();
    EXPECT_THAT(answer, Not(HasSubstr("HTTP/1")));
  }
  EXPECT_TRUE(BecomesOpen(0));
  EXPECT_EQ(handled_, 0);
  ExpectToServe();
}

TEST_F(GrpcServerTest, OneThatCutsOffAnywhereCostsNothing) {
  Start();
  const std::string all = Hello() + Call1("7");
  for (size_t size = 0; size < all.size(); ++size) {
    RawClient client(address());
    client.Send(absl::string_view(all).substr(0, size));
  }
  EXPECT_TRUE(BecomesOpen(0));
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(Count(Metric::kRequestBytesInFlight), 0);
  ExpectToServe();
}

TEST_F(GrpcServerTest, HeadsThatAreNoCallGetTheirStatus) {
  Start();
  const auto answer = [&](const std::string& head) {
    RawClient client(address());
    // In two pieces: a frame has 16 KiB at most.
    client.Send(Hello() +
                Frame(kHeaders, kEndStream, 1, head.substr(0, 16'000)) +
                Frame(kContinuation, kEndHeaders, 1,
                      head.substr(std::min<size_t>(head.size(), 16'000))) +
                Frame(kGoAway, 0, 0, Word(0) + Word(0)));
    return HeadersIn(client.ReadAll());
  };
  EXPECT_THAT(answer(RequestHead("/a/b")),
              HasSubstr("there is no method /a/b"));
  EXPECT_THAT(answer(RequestHead(kEcho, Field("grpc-timeout", "soon"))),
              HasSubstr("grpc-timeout"));
  EXPECT_THAT(answer(RequestHead(kEcho, Field("grpc-encoding", "zip"))),
              HasSubstr("grpc-encoding"));
  EXPECT_THAT(answer(RequestHead()), HasSubstr("there was no message"));
  EXPECT_THAT(
      answer(RequestHead(kEcho, Field("x", std::string(15'000, 'a')) +
                                    Field("y", std::string(3'000, 'a')))),
      HasSubstr("the metadata has"));
  EXPECT_THAT(answer(Field(":method", "GET") + Field(":scheme", "http") +
                     Field(":path", kEcho) + Field(":authority", "h")),
              AllOf(HasSubstr(":status: 405"), HasSubstr("expected POST")));
  EXPECT_THAT(answer(Field(":method", "POST") + Field(":scheme", "http") +
                     Field(":path", kEcho) + Field(":authority", "h") +
                     Field("content-type", "application/json")),
              HasSubstr(":status: 415"));
  EXPECT_EQ(handled_, 0);
  ExpectToServe();
}

TEST_F(GrpcServerTest, ControlFramesWithoutCallsEndAConnection) {
  Start();
  const std::string floods[] = {
      Frame(kSettings, 0, 0, ""),
      Frame(kPing, 0, 0, std::string(8, 'p')),
      Frame(kPriority, 0, 1, Word(0) + "\x10"),
      Frame(kWindowUpdate, 0, 0, Word(1)),
  };
  double ended = 0;
  for (const std::string& frame : floods) {
    RawClient client(address());
    std::string bytes = Hello();
    for (int i = 0; i < 2000; ++i) bytes += frame;
    client.Send(bytes);
    (void)client.ReadAll();
    EXPECT_TRUE(Becomes(
        [&] { return Count(Metric::kGrpcFloodConnections) == ended + 1; }));
    ended = Count(Metric::kGrpcFloodConnections);
  }
  // Calls that are taken back as soon as they are made.
  RawClient client(address());
  std::string bytes = Hello();
  for (uint32_t i = 0; i < 2000; ++i) {
    bytes += Call1("7", 2 * i + 1) + Frame(kReset, 0, 2 * i + 1, Word(8));
  }
  client.Send(bytes);
  (void)client.ReadAll();
  EXPECT_TRUE(Becomes(
      [&] { return Count(Metric::kGrpcFloodConnections) == ended + 1; }));
  EXPECT_LT(handled_, 1000);
  ExpectToServe();
}

// As deadlines do that pass under load.
TEST_F(GrpcServerTest, CallsThatAreTakenBackAfterAWhileDoNot) {
  Start();
  RawClient client(address());
  std::string calls = Hello();
  std::string resets;
  constexpr uint32_t kCalls = 1000;
  for (uint32_t i = 0; i < kCalls; ++i) {
    calls += Frame(kHeaders, kEndHeaders, 2 * i + 1, RequestHead());
    resets += Frame(kReset, 0, 2 * i + 1, Word(8));
  }
  client.Send(calls);
  absl::SleepFor(absl::Milliseconds(200));
  client.Send(resets + Call1("fail", 2 * kCalls + 1) +
              Frame(kGoAway, 0, 0, Word(0) + Word(0)));
  EXPECT_THAT(HeadersIn(client.ReadAll()), HasSubstr("no such thing"));
  EXPECT_EQ(Count(Metric::kGrpcFloodConnections), 0);
}

TEST_F(GrpcServerTest, LongMessagesAreParsedWhereTheyHoldUpNobody) {
  std::atomic<int> deferred = 0;
  bool full = false;
  options_.defer = [&](const void* owner, std::function<void()> work) {
    EXPECT_NE(owner, nullptr);
    if (full) return absl::ResourceExhaustedError("it is full");
    ++deferred;
    std::thread(std::move(work)).detach();
    return absl::OkStatus();
  };
  Start();
  ModelInferResponse response;
  EXPECT_TRUE(Ask("7", &response, {}, std::string(100'000, 'r')).ok());
  EXPECT_EQ(deferred, 0);
  const std::string raw(900'000, 'r');
  EXPECT_TRUE(Ask("7", &response, {}, raw).ok());
  EXPECT_EQ(deferred, 1);
  EXPECT_EQ(response.raw_output_contents(0), raw);
  // What is small may be large when it is inflated.
  const auto pack = [](grpc::ClientContext& context) {
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  };
  EXPECT_TRUE(Ask("7", &response, pack, raw).ok());
  EXPECT_EQ(deferred, 2);
  full = true;
  EXPECT_EQ(Ask("7", &response, {}, raw).error_message(), "it is full");
}

TEST_F(GrpcServerTest, APeerThatIsSlowToSendIsRefused) {
  options_.handshake_timeout = absl::Milliseconds(300);
  options_.idle_timeout = absl::Milliseconds(600);
  options_.read_timeout = absl::Milliseconds(300);
  Start();
  RawClient silent(address());
  (void)silent.ReadAll();  // Ends.
  RawClient idle(address());
  idle.Send(Hello());
  EXPECT_TRUE(HasGoAway(idle.ReadAll()));
  RawClient slow(address());
  slow.Send(Hello() + Frame(kHeaders, kEndHeaders, 1, RequestHead()) +
            Frame(kData, 0, 1, Message("7").substr(0, 3)));
  EXPECT_THAT(HeadersIn(slow.ReadAll()), HasSubstr("did not arrive in time"));
  EXPECT_TRUE(BecomesOpen(0));
  EXPECT_EQ(handled_, 0);
}

TEST_F(GrpcServerTest, APeerThatIsSlowToTakeItsAnswerIsClosed) {
  options_.write_timeout = absl::Milliseconds(300);
  // What the system's buffers take counts as taken.
  options_.least_bytes_per_second = 100'000'000;
  Start();
  // By the socket's buffers, and by a window of HTTP/2 that stays closed.
  for (const bool window : {false, true}) {
    RawClient client(address(), 4096);
    // SETTINGS_INITIAL_WINDOW_SIZE.
    const std::string settings =
        std::string("\0\x04", 2) + Word(window ? 0 : 0x7fffffff);
    client.Send(std::string(support::kPreface) +
                Frame(kSettings, 0, 0, settings) +
                Frame(kWindowUpdate, 0, 0, Word(0x7fff0000)) + Call1("much"));
    EXPECT_TRUE(Becomes([this] { return handled_ > 0; }));
    EXPECT_TRUE(BecomesOpen(0));
    handled_ = 0;
  }
  ExpectToServe();
}

TEST_F(GrpcServerTest, OneThatTalksAndTakesNothingIsClosedAllTheSame) {
  options_.write_timeout = absl::Milliseconds(500);
  Start();
  RawClient client(address());
  const std::string no_window = std::string("\0\x04", 2) + Word(0);
  client.Send(std::string(support::kPreface) +
              Frame(kSettings, 0, 0, no_window) + Call1("7"));
  ASSERT_TRUE(BecomesOpen(1));
  for (int i = 0; i < 40 && Count(Metric::kGrpcConnections) > 0; ++i) {
    client.Send(Frame(kPing, 0, 0, std::string(8, 'p')));
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_EQ(Count(Metric::kGrpcConnections), 0);
  EXPECT_EQ(Count(Metric::kGrpcFloodConnections), 0);
}

TEST_F(GrpcServerTest, WhoHasNoCallGivesWayAtTheLimit) {
  options_.max_connections = 2;
  Start();
  RawClient busy(address());
  busy.Send(Hello() + Call1("hold"));
  ASSERT_TRUE(Holds());
  RawClient idle(address());
  idle.Send(Hello());
  ASSERT_TRUE(BecomesOpen(2));
  ExpectToServe();
  EXPECT_TRUE(HasGoAway(idle.ReadAll()));
  EXPECT_GE(Count(Metric::kGrpcEvictedConnections), 1);
  AnswerHeld();
}

TEST_F(GrpcServerTest, WhoHasJustHadACallHasNotWaitedLong) {
  options_.max_connections = 2;
  Start();
  const auto stub = Stub();
  const auto infer = [&] {
    ModelInferResponse response;
    grpc::ClientContext context;
    return stub->ModelInfer(&context, ModelInferRequest(), &response).ok();
  };
  ASSERT_TRUE(infer());  // Its connection is the oldest.
  RawClient idle(address());
  idle.Send(Hello());
  ASSERT_TRUE(BecomesOpen(2));
  ASSERT_TRUE(infer());
  RawClient third(address());
  third.Send(Hello());
  (void)idle.ReadAll();  // Ends.
  EXPECT_TRUE(infer());
  EXPECT_EQ(Count(Metric::kGrpcEvictedConnections), 1);
}

TEST_F(GrpcServerTest, TurnsAwayConnectionsOverTheLimitIfAllHaveCalls) {
  options_.max_connections = 1;
  Start();
  RawClient busy(address());
  busy.Send(Hello() + Call1("hold"));
  ASSERT_TRUE(Holds());
  RawClient late(address());
  EXPECT_TRUE(late.Ends());
  EXPECT_EQ(Count(Metric::kGrpcRefusedConnections), 1);
  AnswerHeld();
}

TEST_F(GrpcServerTest, LivesOnWithoutFileDescriptors) {
  Start();
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  const int next = dup(0);
  close(next);
  // Room for the client's socket, and none for the server's.
  const rlimit few = {.rlim_cur = static_cast<rlim_t>(next) + 1,
                      .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  RawClient late(address());
  EXPECT_TRUE(late.connected());
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_EQ(Count(Metric::kGrpcConnections), 0);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(BecomesOpen(1));
}

TEST_F(GrpcServerTest, ASocketOfTheFileSystemIsTakenFromTheDeadOnly) {
  options_.address =
      absl::StrCat("unix:", ::testing::TempDir(), "/grpc-server-", getpid());
  Start();
  EXPECT_EQ(address(), options_.address);
  ExpectToServe();
  const auto second = StartGrpcServer(options_, {}, &metrics_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("--grpc-address"));
  server_ = nullptr;
  Start();
  ExpectToServe();
}

TEST_F(GrpcServerTest, SaysWhichAddressItCannotHave) {
  Start();
  for (const std::string& taken :
       {address(), std::string("256.0.0.1:1"), std::string("a.invalid:1"),
        absl::StrCat("unix:/", std::string(200, 'a'))}) {
    options_.address = taken;
    const auto second = StartGrpcServer(options_, {}, &metrics_);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(second.status().message(), HasSubstr(taken));
  }
}

}  // namespace
}  // namespace quern::server
