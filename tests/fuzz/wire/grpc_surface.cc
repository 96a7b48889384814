// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/inference/grpc_service.pb.h"
#include "server/admission.h"
#include "server/authorizer.h"
#include "server/grpc/grpc_method.h"
#include "server/grpc/grpc_reflection.h"
#include "server/grpc/grpc_session.h"
#include "tests/fuzz/wire/expect.h"
#include "tests/fuzz/wire/surface.h"
#include "tests/support/http2_frames.h"

namespace quern::fuzz {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using support::Field;
using support::Frame;
using support::FrameType;
using support::Word;

constexpr char kEcho[] = "/e";
constexpr char kStream[] = "/s";
constexpr size_t kFrameHead = 9;
constexpr size_t kMaxFrame = 16384;

// A server without sockets, with a method that answers or holds, and one with
// as many answers as its message says.
class Served {
 public:
  Served() {
    shared_.options.max_message_bytes = 100'000;
    shared_.options.admission = &admission_;
    shared_.methods[kEcho] =
        server::UnaryMethod<ModelInferRequest, ModelInferResponse>(
            &authorizer_, server::Access::kPublic,
            [this](const server::Call&, const ModelInferRequest& request,
                   ModelInferResponse& response, const server::Done& done) {
              response.set_id(request.id());
              if (request.id() == "hold") {
                held.push_back(done);
              } else {
                done(absl::OkStatus());
              }
            });
    shared_.methods[kStream] =
        server::StreamMethod<ModelInferRequest, ModelInferResponse>(
            &authorizer_, server::Access::kPublic,
            [](const ModelInferRequest& request,
               const std::shared_ptr<
                   server::ResponseStream<ModelInferResponse>>& stream) {
              ModelInferResponse response;
              for (const char c : request.id()) {
                response.set_id(std::string(1000, c));
                stream->SendProgress(response);
              }
              stream->End(absl::AbortedError("enough"));
            });
    server::AddReflection(&authorizer_, {"inference.GRPCInferenceService"},
                          shared_.methods);
    shared_.floods =
        metrics_.GetNumber(telemetry::Metric::kGrpcFloodConnections);
  }

  const server::GrpcShared& shared() const { return shared_; }
  double bytes_in_flight() {
    return metrics_.GetNumber(telemetry::Metric::kRequestBytesInFlight)->Get();
  }

  std::vector<server::Done> held;

 private:
  telemetry::Metrics metrics_;
  server::Admission admission_{
      {.pending_per_model = 10, .bytes_in_flight = 1'000'000}, &metrics_};
  server::Authorizer authorizer_;
  server::GrpcShared shared_;
};

Served& TheServer() {
  static auto* const served = new Served;
  return *served;
}

class Host final : public server::GrpcHost,
                   public std::enable_shared_from_this<Host> {
 public:
  std::shared_ptr<server::GrpcHost> Share() override {
    return shared_from_this();
  }
  void Dispatch(std::function<void()> work) override { work(); }
  void Flush() override {}
};

// Whole frames that every client takes.
void CheckFrames(absl::string_view bytes) {
  while (!bytes.empty()) {
    Expect(bytes.size() >= kFrameHead, "a frame");
    size_t size = 0;
    for (int i = 0; i < 3; ++i) {
      size = size << 8 | static_cast<unsigned char>(bytes[i]);
    }
    Expect(size <= kMaxFrame, "a frame of at most 16 KiB");
    Expect(bytes.size() >= kFrameHead + size, "a whole frame");
    bytes.remove_prefix(kFrameHead + size);
  }
}

// A connection that says hello, sends `bytes` in pieces of `step`, and ends.
void ReadInPieces(absl::string_view bytes, size_t step) {
  Served& served = TheServer();
  const auto host = std::make_shared<Host>();
  const auto session = server::GrpcSession::Make(&served.shared(), host.get());
  Expect(session != nullptr, "a session");
  std::string out;
  bool going = session->Receive(support::Hello());
  Expect(going, "a client that says hello");
  for (size_t at = 0; at < bytes.size() && going && !session->done();
       at += step) {
    going = session->Receive(bytes.substr(at, step));
    session->Produce(out);
  }
  static_cast<void>(session->OnExpired(server::GrpcSession::Clock::now()));
  session->Announce();
  session->Produce(out);
  // Some answers come while it is there, and some too late.
  for (size_t i = 0; i < served.held.size() / 2; ++i) {
    served.held[i](absl::OkStatus());
  }
  session->Drain();
  session->Produce(out);
  CheckFrames(out);
  session->End();
  for (const server::Done& done : served.held) done(absl::OkStatus());
  served.held.clear();
  Expect(served.bytes_in_flight() == 0, "no bytes in flight");
  Expect(host.use_count() == 1, "no call that outlives its connection");
}

void Read(absl::string_view bytes) {
  ReadInPieces(bytes, std::max<size_t>(bytes.size(), 1));
  ReadInPieces(bytes, bytes.size() % 7 + 1);
}

std::string Head(const std::string& path, const std::string& more = "") {
  return Field(":method", "POST") + Field(":scheme", "http") +
         Field(":path", path) + Field(":authority", "h") +
         Field("content-type", "application/grpc") + more;
}

std::string Message(const std::string& id) {
  ModelInferRequest request;
  request.set_id(id);
  const std::string bytes = request.SerializeAsString();
  return std::string(1, '\0') + Word(static_cast<uint32_t>(bytes.size())) +
         bytes;
}

std::string CallOf(const std::string& path, const std::string& id,
                   uint32_t stream = 1) {
  return Frame(FrameType::kHeaders, support::kEndHeaders, stream, Head(path)) +
         Frame(FrameType::kData, support::kEndStream, stream, Message(id));
}

std::vector<Seed> Seeds() {
  const std::string settings = std::string("\0\x04\0\0\0\x05", 6);
  const std::string list = {'\0', '\0', '\0', '\0', 2, 0x3a, 0};
  return {
      {"echo", CallOf(kEcho, "7")},
      {"hold", CallOf(kEcho, "hold") + Frame(FrameType::kReset, 0, 1, Word(8))},
      {"stream", CallOf(kStream, "abc")},
      {"window", Frame(FrameType::kSettings, 0, 0, settings) +
                     CallOf(kStream, "abc") +
                     Frame(FrameType::kWindowUpdate, 0, 1, Word(100))},
      {"timeout", Frame(FrameType::kHeaders, support::kEndHeaders, 1,
                        Head(kEcho, Field("grpc-timeout", "5m") +
                                        Field("grpc-encoding", "gzip"))) +
                      Frame(FrameType::kData, 0, 1, Message("a").substr(0, 3)) +
                      Frame(FrameType::kData, support::kEndStream, 1,
                            Message("a").substr(3))},
      {"reflection", Frame(FrameType::kHeaders, support::kEndHeaders, 1,
                           Head("/grpc.reflection.v1.ServerReflection/"
                                "ServerReflectionInfo")) +
                         Frame(FrameType::kData, support::kEndStream, 1, list)},
      {"two", CallOf(kEcho, "1", 1) + CallOf(kStream, "2", 3) +
                  Frame(FrameType::kPing, 0, 0, "12345678")},
      {"continued",
       Frame(FrameType::kHeaders, 0, 1, Head(kEcho).substr(0, 20)) +
           Frame(FrameType::kContinuation, support::kEndHeaders, 1,
                 Head(kEcho).substr(20)) +
           Frame(FrameType::kGoAway, 0, 0, Word(0) + Word(0))},
  };
}

}  // namespace

Surface GrpcSurface() {
  return {.read = Read, .seeds = Seeds, .mutate = MutatedBytes};
}

}  // namespace quern::fuzz
