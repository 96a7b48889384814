// SPDX-License-Identifier: Apache-2.0
//
// All of a connection happens on one thread, so it needs no lock. At any time
// it is in one stage; what a completed read or an expired timer means depends
// on the stage alone. There is at most one read and one write under way.
//
// While a route works, the connection goes on reading: the end of the stream
// tells that the client has gone, and what else comes is the next request,
// which waits in the buffer. Nothing more is read before that one's turn.
//
// A peer has a fixed time for the head of a request, and that of a transfer
// (TransferDeadline) for bodies, its own and ours.
#include "server/http/http_connection.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <spdlog/spdlog.h>

#include "engine/base/no_throw.h"
#include "engine/telemetry/distribution.h"
#include "server/admission.h"
#include "server/http/http_body.h"
#include "server/net/socket_connection.h"

namespace quern::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

constexpr size_t kReadBytes = 65536;
// How long what a peer still sends is thrown away before the connection ends:
// ended at once, it might not see our last answer.
constexpr std::chrono::seconds kLingerTime(2);
// Headers of which a second one would be another opinion.
constexpr const char* kOnce[] = {
    "authorization", "content-encoding", "content-length",
    "expect",        "origin",           "inference-header-content-length",
};
constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";

absl::string_view ReasonOf(int status) {
  if (status == 499) return "Client Closed Request";
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  return {reason.data(), reason.size()};
}

// The status line and the headers of an answer.
std::string HeadOf(const HttpResponse& response, bool keep_alive) {
  size_t length = response.body.size();
  for (const std::string& part : response.parts) length += part.size();
  std::string head =
      absl::StrCat("HTTP/1.1 ", response.status, " ", ReasonOf(response.status),
                   "\r\nDate: ",
                   absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(),
                                    absl::UTCTimeZone()),
                   "\r\nContent-Type: ", response.content_type,
                   "\r\nContent-Length: ", length, "\r\n");
  for (const auto& [name, value] : response.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  // Clients of HTTP/1.0 that want to go on wait to be told.
  absl::StrAppend(&head, "Connection: ", keep_alive ? "keep-alive" : "close",
                  "\r\n\r\n");
  return head;
}

// Sends a route's answer to its connection, once.
class Reply {
 public:
  explicit Reply(std::function<void(HttpResponse)> send)
      : send_(std::move(send)) {}
  ~Reply() { Send(HttpError(500, "the request got no answer")); }
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  void Send(HttpResponse response) {
    if (sent_.exchange(true)) return;
    // Here may be any thread, and whoever called has no use for exceptions.
    const absl::Status sent = base::NoThrow([&] {
      send_(std::move(response));
      return absl::OkStatus();
    });
    if (!sent.ok()) {
      spdlog::error("an answer over HTTP was lost: {}", sent.ToString());
    }
  }

 private:
  std::atomic<bool> sent_ = false;
  const std::function<void(HttpResponse)> send_;
};

template <typename Stream>
class HttpConnection final : public SocketConnection<Stream> {
 public:
  template <typename... Args>
  explicit HttpConnection(std::shared_ptr<HttpConnections> shared,
                          Args&&... args)
      : SocketConnection<Stream>(shared, std::forward<Args>(args)...),
        shared_(*shared) {}

 private:
  using Base = SocketConnection<Stream>;
  using Base::BeginWait;
  using Base::EndWait;
  using Base::expiry;
  using Base::kTls;
  using Base::socket;
  using Base::stream;

  enum class Stage {
    // It waits for a request.
    kHandshake,  // Of TLS.
    kIdle,       // Between requests.
    kHead,
    // It has one.
    kContinue,  // The peer is told to send the body.
    kBody,
    kRoute,  // Someone works on the answer.
    kWrite,
    kLinger,  // All is said; what comes is thrown away.
    kClosed,
  };

  std::shared_ptr<HttpConnection> Self() {
    return std::static_pointer_cast<HttpConnection>(this->shared_from_this());
  }

  void OnDrain() override {
    keep_alive_ = false;
    if (stage_ == Stage::kIdle) Close();
  }

  void OnGiveWay() override { Close(); }

  // Time.

  void ExpireAfter(absl::Duration duration) {
    expiry().At(SteadyClock::now() + absl::ToChronoNanoseconds(duration));
  }

  void ExpireTransfer(SteadyClock::time_point begin, absl::Duration timeout,
                      int64_t bytes) {
    expiry().At(TransferDeadline(shared_.options, begin, timeout, bytes));
  }

  void OnExpired() override {
    if (stage_ == Stage::kClosed) return;
    if (stage_ == Stage::kHead || stage_ == Stage::kBody) {
      Refuse(HttpError(408, "the request did not arrive in time"));
    } else {
      Close();
    }
  }

  // Reading.

  void Begin() override {
    if constexpr (kTls) {
      ExpireAfter(shared_.options.read_timeout);
      stream().async_handshake(TlsStream::server,
                               [self = Self()](error_code error) {
                                 if (error || self->stage_ == Stage::kClosed) {
                                   self->Close();
                                 } else {
                                   self->NextRequest();
                                 }
                               });
    } else {
      NextRequest();
    }
  }

  void NextRequest() {
    if (shared_.draining.load()) {
      Close();
      return;
    }
    parser_.emplace();
    parser_->header_limit(
        static_cast<std::uint32_t>(shared_.options.max_header_bytes));
    // Set when the route is known.
    parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
    request_ = {};
    body_seen_ = 0;
    BeginWait();
    if (buffer_.size() > 0) {
      BeginHead();
      return;
    }
    stage_ = Stage::kIdle;
    ExpireAfter(shared_.options.idle_timeout);
    Read();
  }

  void Read() {
    if (reading_) return;
    reading_ = true;
    stream().async_read_some(buffer_.prepare(kReadBytes),
                             [self = Self()](error_code error, size_t bytes) {
                               self->OnRead(error, bytes);
                             });
  }

  void OnRead(error_code error, size_t bytes) {
    reading_ = false;
    buffer_.commit(bytes);
    if (stage_ == Stage::kClosed) return;
    if (error) {
      OnEndOfStream();
      return;
    }
    switch (stage_) {
      case Stage::kIdle:
        BeginHead();
        return;
      case Stage::kHead:
        ReadHead();
        return;
      case Stage::kBody:
        ReadBody();
        return;
      case Stage::kLinger:
        buffer_.clear();
        Read();
        return;
      default:
        return;  // The next request waits for its turn.
    }
  }

  void OnEndOfStream() {
    if (stage_ == Stage::kRoute || stage_ == Stage::kWrite) {
      // It may have closed its half only, and still wait for the answer.
      keep_alive_ = false;
      gone_->store(true);
    } else if (kTls && stage_ == Stage::kLinger) {
      EndTls();
    } else {
      Close();
    }
  }

  void BeginHead() {
    stage_ = Stage::kHead;
    ExpireAfter(shared_.options.read_timeout);
    ReadHead();
  }

  // Feeds the parser with what has come.
  error_code Parse() {
    error_code error;
    try {
      buffer_.consume(parser_->put(buffer_.data(), error));
    } catch (const std::exception&) {
      error = http::error::bad_alloc;  // The body's memory.
    }
    return error;
  }

  void ReadHead() {
    const error_code error = Parse();
    if (parser_->is_header_done()) {
      OnHead();
    } else if (error == http::error::header_limit) {
      Refuse(
          HttpError(431, absl::StrCat("the head of the request has more than ",
                                      shared_.options.max_header_bytes,
                                      " bytes (--http-max-header-bytes)")));
    } else if (!error || error == http::error::need_more) {
      Read();
    } else {
      Refuse(HttpError(
          400, absl::StrCat("the request is no HTTP/1.1: ", error.message())));
    }
  }

  // The head as routes see it.
  void FillRequest() {
    const auto& head = parser_->get();
    const auto text = [](beast::string_view view) {
      return std::string(view.data(), view.size());
    };
    request_.method = text(head.method_string());
    request_.path = text(head.target());
    // A proxy may ask for http://HOST/PATH.
    for (const char* scheme : {"http://", "https://"}) {
      if (!absl::StartsWithIgnoreCase(request_.path, scheme)) continue;
      const size_t slash = request_.path.find('/', std::strlen(scheme));
      request_.path =
          slash == std::string::npos ? "/" : request_.path.substr(slash);
    }
    request_.path.resize(
        std::min(request_.path.find_first_of("?#"), request_.path.size()));
    for (const auto& field : head) {
      request_.headers.emplace_back(
          absl::AsciiStrToLower(text(field.name_string())),
          text(field.value()));
    }
  }

  int CountHeaders(absl::string_view name) const {
    int count = 0;
    for (const auto& header : request_.headers) count += header.first == name;
    return count;
  }

  // What is wrong with a head, whatever its route: where two readers of one
  // request could differ in opinion, it is refused.
  std::optional<HttpResponse> CheckHead() const {
    const unsigned version = parser_->get().version();
    if (version != 10 && version != 11) {
      return HttpError(505, "expected HTTP/1.1");
    }
    if (version == 11 && CountHeaders("host") != 1) {
      return HttpError(400, "expected one header Host");
    }
    if (CountHeaders("transfer-encoding") > 0 &&
        (version == 10 || CountHeaders("transfer-encoding") > 1 ||
         !absl::EqualsIgnoreCase(request_.Header("transfer-encoding"),
                                 "chunked"))) {
      return HttpError(400, "expected no Transfer-Encoding but chunked");
    }
    for (const char* name : kOnce) {
      if (CountHeaders(name) <= 1) continue;
      return HttpError(400,
                       absl::StrCat("expected the header ", name, " once"));
    }
    // The library takes "1, 1" for 1.
    const absl::string_view length = request_.Header("content-length");
    if (!std::all_of(length.begin(), length.end(), absl::ascii_isdigit)) {
      return HttpError(400, "expected one number as Content-Length");
    }
    const absl::string_view encoding = request_.Header("content-encoding");
    if (!encoding.empty() && !absl::EqualsIgnoreCase(encoding, "identity")) {
      return HttpError(415, absl::StrCat("Content-Encoding ", encoding,
                                         " is not supported, send the body "
                                         "as it is"));
    }
    const absl::string_view expect = request_.Header("expect");
    if (!expect.empty() && !absl::EqualsIgnoreCase(expect, "100-continue")) {
      return HttpError(417, "expected no Expect but 100-continue");
    }
    return std::nullopt;
  }

  void OnHead() {
    EndWait();
    FillRequest();
    keep_alive_ = parser_->get().keep_alive() && !shared_.draining.load();
    if (std::optional<HttpResponse> bad = CheckHead()) {
      // Where this request ends is a matter of opinion, too.
      keep_alive_ = false;
      linger_ = true;
      Refuse(*std::move(bad));
      return;
    }
    std::variant<HttpRoute, HttpResponse> routed = shared_.router(request_);
    if (auto* refusal = std::get_if<HttpResponse>(&routed)) {
      Refuse(std::move(*refusal));
      return;
    }
    route_ = std::move(std::get<HttpRoute>(routed));
    const auto length = parser_->content_length();
    if (length.has_value() &&
        *length > static_cast<uint64_t>(route_.max_body_bytes)) {
      RefuseLength();
      return;
    }
    if (!CouldHold(static_cast<int64_t>(length.value_or(0)))) return;
    parser_->body_limit(static_cast<uint64_t>(route_.max_body_bytes));
    parser_->eager(true);
    stage_ = Stage::kBody;
    begin_ = SteadyClock::now();
    if (absl::EqualsIgnoreCase(request_.Header("expect"), "100-continue") &&
        !parser_->is_done() && buffer_.size() == 0 &&
        parser_->get().version() == 11) {
      WriteContinue();
    } else {
      ReadBody();
    }
  }

  void RefuseLength() {
    Refuse(HttpError(
        413, absl::StrCat("the body has more than ", route_.max_body_bytes,
                          " bytes (", route_.limit_flag, ")")));
  }

  // Refuses before it is sent what could not be held now. A body that is only
  // announced takes nothing away from others.
  bool CouldHold(int64_t bytes) {
    if (bytes == 0) return true;
    return Held(Admission::Bytes(shared_.options.admission).Take(bytes));
  }

  // Counts what has come of the body.
  bool HoldBody() {
    const auto size = static_cast<int64_t>(parser_->get().body().size());
    if (size == 0) return true;
    if (room_ == nullptr) {
      room_ = std::make_shared<Admission::Bytes>(shared_.options.admission);
    }
    return Held(room_->Take(size - room_->taken()));
  }

  bool Held(const absl::Status& taken) {
    if (!taken.ok()) Refuse(HttpError(429, taken.message()));
    return taken.ok();
  }

  void ReadBody() {
    while (!parser_->is_done() && buffer_.size() > 0) {
      const size_t before = buffer_.size();
      const error_code error = Parse();
      body_seen_ += static_cast<int64_t>(before - buffer_.size());
      if (error == http::error::need_more) break;
      if (error == http::error::body_limit) {
        RefuseLength();
        return;
      }
      if (error == http::error::bad_alloc) {
        Refuse(HttpError(503, "there is no memory for the body"));
        return;
      }
      if (error) {
        Refuse(HttpError(
            400, absl::StrCat("the body is malformed: ", error.message())));
        return;
      }
    }
    if (!HoldBody()) return;
    if (parser_->is_done()) {
      Route();
      return;
    }
    ExpireTransfer(begin_, shared_.options.read_timeout, body_seen_);
    Read();
  }

  // The route.

  void Route() {
    stage_ = Stage::kRoute;
    expiry().Never();
    request_.body = std::move(parser_->get().body());
    request_.room = std::move(room_);
    request_.arrival_ns = telemetry::Clock::NowNs();
    gone_ = std::make_shared<std::atomic<bool>>(false);
    request_.cancelled = [gone = gone_] { return gone->load(); };
    head_only_ = request_.method == "HEAD";
    const auto reply =
        std::make_shared<Reply>([self = Self()](HttpResponse response) {
          self->Answer(std::move(response));
        });
    // Where the next request has begun to come, no more is read before this
    // one is answered.
    if (buffer_.size() == 0) Read();
    const absl::Status handled = base::NoThrow([&] {
      route_.handle(std::move(request_), [reply](HttpResponse response) {
        reply->Send(std::move(response));
      });
      return absl::OkStatus();
    });
    if (!handled.ok()) reply->Send(HttpError(500, handled.message()));
  }

  // From any thread.
  void Answer(HttpResponse response) {
    if (shared_.stopped.load()) return;
    this->OnLoop([this, response = std::move(response)]() mutable {
      if (stage_ == Stage::kRoute) Write(std::move(response));
    });
  }

  // Writing.

  // Answers instead of a route. What of the request is still to come would be
  // taken for the next one, so the connection ends.
  void Refuse(HttpResponse response) {
    if (!parser_->is_done()) {
      keep_alive_ = false;
      linger_ = true;
    }
    parser_->get().body() = {};
    room_ = nullptr;
    head_only_ = request_.method == "HEAD";
    Write(std::move(response));
  }

  void Write(HttpResponse response) {
    stage_ = Stage::kWrite;
    if (gone_ == nullptr) gone_ = std::make_shared<std::atomic<bool>>(false);
    shared_.CountAnswer(response.status);
    keep_alive_ = keep_alive_ && !shared_.draining.load();
    response_ = std::move(response);
    head_ = HeadOf(response_, keep_alive_);
    pending_.clear();
    pending_.push_back(asio::buffer(head_));
    if (!head_only_) {
      pending_.push_back(asio::buffer(response_.body));
      for (const std::string& part : response_.parts) {
        pending_.push_back(asio::buffer(part));
      }
    }
    begin_ = SteadyClock::now();
    written_ = 0;
    WriteSome();
  }

  void WriteSome() {
    ExpireTransfer(begin_, shared_.options.write_timeout, written_);
    stream().async_write_some(pending_,
                              [self = Self()](error_code error, size_t bytes) {
                                self->OnWritten(error, bytes);
                              });
  }

  void OnWritten(error_code error, size_t bytes) {
    if (stage_ != Stage::kWrite) return;
    if (error) {
      Close();
      return;
    }
    written_ += static_cast<int64_t>(bytes);
    size_t whole = 0;
    while (whole < pending_.size() && bytes >= pending_[whole].size()) {
      bytes -= pending_[whole++].size();
    }
    pending_.erase(pending_.begin(),
                   pending_.begin() + static_cast<std::ptrdiff_t>(whole));
    if (pending_.empty()) {
      OnAnswered();
      return;
    }
    pending_[0] += bytes;
    WriteSome();
  }

  void OnAnswered() {
    response_ = {};
    gone_ = nullptr;
    if (keep_alive_) {
      NextRequest();
    } else {
      End();
    }
  }

  void WriteContinue() {
    stage_ = Stage::kContinue;
    ExpireTransfer(begin_, shared_.options.read_timeout, 0);
    asio::async_write(stream(), asio::buffer(kContinue, sizeof(kContinue) - 1),
                      [self = Self()](error_code error, size_t) {
                        if (self->stage_ != Stage::kContinue) return;
                        if (error) {
                          self->Close();
                          return;
                        }
                        self->stage_ = Stage::kBody;
                        self->ReadBody();
                      });
  }

  // The end.

  void End() {
    stage_ = Stage::kLinger;
    expiry().At(SteadyClock::now() + kLingerTime);
    if (kTls && !linger_) {
      EndTls();
      return;
    }
    if (!linger_) {
      Close();
      return;
    }
    error_code ignored;
    socket().shutdown(Socket::shutdown_send, ignored);
    Read();
  }

  // Tells the peer that nothing was cut off. The read that is under way, if
  // any, is ended first.
  void EndTls() {
    if constexpr (kTls) {
      if (ending_) return;
      if (reading_) {
        error_code ignored;
        socket().cancel(ignored);
        return;  // OnEndOfStream comes back here.
      }
      ending_ = true;
      stream().async_shutdown([self = Self()](error_code) { self->Close(); });
    }
  }

  void Close() override {
    if (stage_ == Stage::kClosed) return;
    stage_ = Stage::kClosed;
    EndWait();
    if (gone_ != nullptr) gone_->store(true);
    expiry().Cancel();
    error_code ignored;
    socket().close(ignored);
  }

  HttpConnections& shared_;
  Stage stage_ = Stage::kHandshake;
  beast::flat_buffer buffer_;
  bool reading_ = false;
  bool ending_ = false;
  bool keep_alive_ = true;
  bool linger_ = false;

  // The request under way.
  std::optional<http::request_parser<HttpBody>> parser_;
  HttpRequest request_;
  HttpRoute route_;
  bool head_only_ = false;
  SteadyClock::time_point begin_;  // Of a body, then of the answer.
  int64_t body_seen_ = 0;
  std::shared_ptr<Admission::Bytes> room_;  // Of the body so far.
  std::shared_ptr<std::atomic<bool>> gone_;

  // The answer under way.
  HttpResponse response_;
  std::string head_;
  std::vector<asio::const_buffer> pending_;
  int64_t written_ = 0;
};

}  // namespace

HttpConnections::HttpConnections(HttpServerOptions server_options,
                                 HttpRouter server_router,
                                 telemetry::Metrics* metrics)
    : ConnectionPool(
          server_options.threads,
          {.open = metrics->GetNumber(telemetry::Metric::kHttpConnections,
                                      {server_options.listener}),
           .evicted =
               metrics->GetNumber(telemetry::Metric::kHttpEvictedConnections,
                                  {server_options.listener})}),
      options(std::move(server_options)),
      router(std::move(server_router)),
      metrics_(*metrics) {}

void HttpConnections::CountAnswer(int status) {
  metrics_.Add(telemetry::Metric::kHttpRequests,
               {options.listener, absl::StrCat(status)});
}

void HttpConnections::Serve(Socket socket) {
  ServeSocket<HttpConnection>(shared_from_this(), std::move(socket));
}

void HttpConnections::TurnAway(Socket& socket) {
  const HttpResponse answer = HttpError(
      503,
      absl::StrCat("there are ", options.max_connections,
                   " connections, the limit of --http-max-connections; try "
                   "again later"));
  CountAnswer(answer.status);
  if (tls.has_value()) return;
  const std::string text = HeadOf(answer, false) + answer.body;
  error_code ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(asio::buffer(text), ignored);
  socket.shutdown(Socket::shutdown_send, ignored);
}

}  // namespace quern::server
