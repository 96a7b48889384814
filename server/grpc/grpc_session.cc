// SPDX-License-Identifier: Apache-2.0
//
// nghttp2 keeps the states of HTTP/2's streams, its windows and its queue of
// frames; here lies what gRPC makes of them. Its callbacks come from within
// Receive and Produce, one at a time, and may submit frames but not send them.
#include "server/grpc/grpc_session.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <nghttp2/nghttp2.h>

#include "engine/base/no_throw.h"
#include "engine/telemetry/distribution.h"
#include "server/grpc/grpc_message.h"

namespace quern::server {
namespace {

using Clock = GrpcSession::Clock;

// What a peer may send before we have read it.
constexpr int32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 1 << 23;
// What is sent at a time.
constexpr size_t kSendBytes = 256 << 10;

// A peer has so many control frames that go with no call; they come back with
// time, and with what it is sent and answered. Clients ping to learn how fast
// the line is, and acknowledge what they are sent. Calls that are taken back as
// soon as they are made count too; those whose client has waited do not, or
// deadlines that pass under load would end the connection.
constexpr double kFirstFrames = 250;
constexpr double kMostFrames = 4096;
constexpr double kFramesPerSecond = 50;
constexpr double kFramesPerCall = 4;
constexpr double kFramesPerData = 2;
constexpr std::chrono::milliseconds kAtOnce(20);

constexpr char kContentType[] = "application/grpc";

nghttp2_nv Header(absl::string_view name, absl::string_view value) {
  const auto bytes = [](absl::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

class Session;

class Stream final : public GrpcCall,
                     public std::enable_shared_from_this<Stream> {
 public:
  Stream(Session* session, std::shared_ptr<GrpcHost> host, int32_t id,
         const GrpcShared& shared)
      : session_(session),
        host_(std::move(host)),
        id_(id),
        shared_(shared),
        messages_({.max_bytes = shared.options.max_message_bytes,
                   .admission = shared.options.admission}) {}

  absl::Status Defer(std::function<void()> work) override {
    // Connections take turns.
    if (shared_.options.defer != nullptr) {
      return shared_.options.defer(host_.get(), std::move(work));
    }
    work();
    return absl::OkStatus();
  }

  // Of the peer.
  void OnHeader(absl::string_view name, absl::string_view value);
  void OnHeaders();
  void OnData(absl::string_view bytes);
  void OnEndOfStream();
  void OnClosed();

  // When the peer will have been too slow to send.
  [[nodiscard]] Clock::time_point Deadline() const;

  // The next bytes of the answer.
  ssize_t Read(uint8_t* buffer, size_t size, uint32_t* flags);

  [[nodiscard]] int32_t id() const { return id_; }
  // True until the client has sent all.
  [[nodiscard]] bool receiving() const { return receiving_; }
  [[nodiscard]] Clock::duration age() const { return Clock::now() - begin_; }

 private:
  void Write(std::string frame) override {
    host_->Dispatch(
        [self = shared_from_this(), frame = std::move(frame)]() mutable {
          self->OnWrite(std::move(frame));
        });
  }
  void WriteEnd(const absl::Status& status) override {
    host_->Dispatch(
        [self = shared_from_this(), status] { self->OnEnd(status); });
  }

  void OnWrite(std::string frame);
  void OnEnd(const absl::Status& status);
  // Why the call cannot be served, as HTTP says it; 200 if it can.
  [[nodiscard]] int HttpStatus() const;
  absl::Status Begin();
  void Refuse(const absl::Status& status);
  void BeginAnswer();
  // There is more of the answer.
  void Resume();
  void SubmitStatus();

  Session* session_;  // Null when the stream has been closed.
  const std::shared_ptr<GrpcHost> host_;
  const int32_t id_;
  const GrpcShared& shared_;
  const Clock::time_point begin_ = Clock::now();

  // What the client said.
  int64_t metadata_bytes_ = 0;
  std::string method_;
  std::string path_;
  std::string content_type_;
  std::string encoding_;
  std::string timeout_;

  // What it sends.
  std::unique_ptr<GrpcReader> reader_;
  GrpcMessageReader messages_;
  bool receiving_ = true;
  Clock::time_point since_ = begin_;  // Of the message, or the pause.
  bool any_ = false;                  // Whether a message has come.

  // What it is sent.
  std::deque<std::string> frames_;
  size_t sent_ = 0;  // Of the first frame.
  bool answering_ = false;
  bool deferred_ = false;  // The library waits to be told that there is more.
  std::optional<absl::Status> end_;
};

class Session final : public GrpcSession {
 public:
  Session(const GrpcShared* shared, GrpcHost* host)
      : shared_(*shared), host_(*host) {}

  ~Session() override {
    End();
    nghttp2_session_del(session_);
  }

  bool Start();

  bool Receive(absl::string_view bytes) override {
    return nghttp2_session_mem_recv(
               session_, reinterpret_cast<const uint8_t*>(bytes.data()),
               bytes.size()) >= 0;
  }

  void Produce(std::string& out) override {
    const uint8_t* bytes = nullptr;
    while (out.size() < kSendBytes) {
      const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
      broken_ = broken_ || size < 0;
      if (size <= 0) return;
      out.append(reinterpret_cast<const char*>(bytes),
                 static_cast<size_t>(size));
    }
  }

  bool done() const override {
    return broken_ || (nghttp2_session_want_read(session_) == 0 &&
                       nghttp2_session_want_write(session_) == 0);
  }
  bool idle() const override { return streams_.empty(); }
  int64_t ended() const override { return ended_; }
  bool stuck() const override { return unsent_ > 0; }

  Clock::time_point ReadDeadline() const override {
    if (!greeted_) {
      return since_ +
             absl::ToChronoNanoseconds(shared_.options.handshake_timeout);
    }
    if (streams_.empty()) {
      return since_ + absl::ToChronoNanoseconds(shared_.options.idle_timeout);
    }
    Clock::time_point first = Clock::time_point::max();
    for (const Stream* stream : reading_) {
      first = std::min(first, stream->Deadline());
    }
    return first;
  }

  bool OnExpired(Clock::time_point now) override {
    if (!greeted_ || streams_.empty()) return ReadDeadline() > now;
    const std::set<Stream*> reading = reading_;
    for (Stream* stream : reading) {
      if (stream->Deadline() > now) continue;
      reading_.erase(stream);
      stream->End(
          absl::DeadlineExceededError("the request did not arrive in time"));
    }
    return true;
  }

  void Announce() override { nghttp2_submit_shutdown_notice(session_); }

  void Drain() override {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session_),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  }

  void End() override {
    reading_.clear();
    const auto streams = std::exchange(streams_, {});
    for (const auto& [id, stream] : streams) stream->OnClosed();
  }

  // For streams.

  [[nodiscard]] nghttp2_session* library() const { return session_; }
  void Flush() { host_.Flush(); }
  void AddUnsent(int64_t bytes) { unsent_ += bytes; }

 private:
  Stream* Find(int32_t id) const {
    const auto stream = streams_.find(id);
    return stream == streams_.end() ? nullptr : stream->second.get();
  }

  // A peer has sent a frame that goes with no call.
  void Spend() {
    const Clock::time_point now = Clock::now();
    Earn(kFramesPerSecond *
         std::chrono::duration<double>(now - earned_at_).count());
    earned_at_ = now;
    if (--frames_ >= 0 || flooded_) return;
    flooded_ = true;
    shared_.floods->Add(1);
    nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
  }
  void Earn(double frames) {
    frames_ = std::min(std::max(frames_, 0.0) + frames, kMostFrames);
  }

  void OnBeginHeaders(const nghttp2_frame& frame);
  void OnFrame(const nghttp2_frame& frame);
  void OnSent(const nghttp2_frame& frame);
  void OnStreamClosed(int32_t id);

  // Runs a callback's work; what it throws ends the session.
  template <typename Work>
  static int Guard(Work work) {
    const absl::Status done = base::NoThrow([&] {
      work();
      return absl::OkStatus();
    });
    return done.ok() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  const GrpcShared& shared_;
  GrpcHost& host_;
  nghttp2_session* session_ = nullptr;
  bool broken_ = false;  // The library has no memory, or a callback threw.
  bool greeted_ = false;
  Clock::time_point since_ = Clock::now();  // It began, or the last call ended.
  std::map<int32_t, std::shared_ptr<Stream>> streams_;
  std::set<Stream*> reading_;  // Whose clients have not sent all in time.
  int64_t unsent_ = 0;         // Bytes of answers that the library has not had.
  int64_t ended_ = 0;
  double frames_ = kFirstFrames;
  Clock::time_point earned_at_ = Clock::now();
  bool flooded_ = false;
};

// A call.

void Stream::OnHeader(absl::string_view name, absl::string_view value) {
  metadata_bytes_ += static_cast<int64_t>(name.size() + value.size());
  if (metadata_bytes_ > shared_.options.max_metadata_bytes) return;
  const std::pair<absl::string_view, std::string*> kept[] = {
      {":method", &method_},
      {":path", &path_},
      {"content-type", &content_type_},
      {"grpc-encoding", &encoding_},
      {"grpc-timeout", &timeout_},
      {"authorization", &authorization_},
  };
  for (const auto& [header, place] : kept) {
    if (name == header) *place = std::string(value);
  }
}

void Stream::OnHeaders() {
  call_.cancelled = [weak = weak_from_this()] {
    const auto self = weak.lock();
    return self == nullptr || self->cancelled();
  };
  const absl::Status begun = base::NoThrow([&] { return Begin(); });
  if (!begun.ok()) Refuse(begun);
}

int Stream::HttpStatus() const {
  if (method_ != "POST") return 405;
  const absl::string_view type = content_type_;
  if (!absl::StartsWith(type, kContentType)) return 415;
  const absl::string_view rest = type.substr(sizeof(kContentType) - 1);
  return rest.empty() || rest[0] == ';' || absl::StartsWith(rest, "+proto")
             ? 200
             : 415;
}

absl::Status Stream::Begin() {
  if (metadata_bytes_ > shared_.options.max_metadata_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the metadata has ", metadata_bytes_, " bytes, allowed are ",
        shared_.options.max_metadata_bytes));
  }
  if (HttpStatus() != 200) {
    return absl::UnknownError(
        absl::StrCat("expected POST with the content type ", kContentType));
  }
  const auto method = shared_.methods.find(path_);
  if (method == shared_.methods.end()) {
    return absl::UnimplementedError(
        absl::StrCat("there is no method ", path_.substr(0, 200)));
  }
  const std::optional<GrpcEncoding> encoding = ParseGrpcEncoding(encoding_);
  if (!encoding.has_value()) {
    return absl::UnimplementedError(
        absl::StrCat("expected one of ", kGrpcEncodings, " as grpc-encoding"));
  }
  messages_.SetEncoding(*encoding);
  if (!timeout_.empty()) {
    const std::optional<absl::Duration> timeout = ParseGrpcTimeout(timeout_);
    if (!timeout.has_value()) {
      return absl::InvalidArgumentError("grpc-timeout is malformed");
    }
    call_.deadline = absl::Now() + *timeout;
  }
  reader_ = method->second(shared_from_this());
  return absl::OkStatus();
}

void Stream::OnData(absl::string_view bytes) {
  if (reader_ == nullptr) return;
  const absl::Status taken = base::NoThrow([&] {
    return messages_.Take(bytes, [&](GrpcMessage message) {
      any_ = true;
      since_ = Clock::now();
      // What is thrown fails the call.
      if (reader_ != nullptr) reader_->OnMessage(std::move(message));
    });
  });
  if (!taken.ok()) Refuse(taken);
}

void Stream::OnEndOfStream() {
  receiving_ = false;
  call_.arrival_ns = telemetry::Clock::NowNs();
  if (reader_ == nullptr) return;
  if (messages_.inside()) {
    Refuse(absl::InvalidArgumentError("the last message is not whole"));
    return;
  }
  const absl::Status ended = base::NoThrow([&] {
    reader_->OnEnd();
    return absl::OkStatus();
  });
  if (!ended.ok()) Refuse(ended);
}

void Stream::Refuse(const absl::Status& status) {
  reader_ = nullptr;
  End(status);
}

void Stream::OnClosed() {
  int64_t unsent = -static_cast<int64_t>(sent_);
  for (const std::string& frame : frames_) {
    unsent += static_cast<int64_t>(frame.size());
  }
  std::exchange(session_, nullptr)->AddUnsent(-unsent);
  cancelled_.store(true);
  reader_ = nullptr;
  frames_.clear();
  pending_.store(0);
}

Clock::time_point Stream::Deadline() const {
  const GrpcServerOptions& options = shared_.options;
  if (any_ && !messages_.inside()) {
    return since_ + absl::ToChronoNanoseconds(options.idle_timeout);
  }
  return TransferDeadline(options, since_, options.read_timeout,
                          messages_.seen());
}

void Stream::OnWrite(std::string frame) {
  if (session_ == nullptr || end_.has_value()) return;
  session_->AddUnsent(static_cast<int64_t>(frame.size()));
  frames_.push_back(std::move(frame));
  if (answering_) {
    Resume();
  } else {
    BeginAnswer();
  }
  session_->Flush();
}

void Stream::OnEnd(const absl::Status& status) {
  if (session_ == nullptr) return;
  end_ = status;
  if (answering_) {
    Resume();
  } else {
    SubmitStatus();
  }
  session_->Flush();
}

void Stream::Resume() {
  if (std::exchange(deferred_, false)) {
    nghttp2_session_resume_data(session_->library(), id_);
  }
}

void Stream::BeginAnswer() {
  answering_ = true;
  const nghttp2_nv headers[] = {Header(":status", "200"),
                                Header("content-type", kContentType),
                                Header("grpc-accept-encoding", kGrpcEncodings)};
  nghttp2_data_provider provider;
  provider.source.ptr = this;  // Lives until the stream is closed.
  provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* buffer,
                              size_t size, uint32_t* flags,
                              nghttp2_data_source* source, void*) {
    return static_cast<Stream*>(source->ptr)->Read(buffer, size, flags);
  };
  nghttp2_submit_response(session_->library(), id_, headers, std::size(headers),
                          &provider);
}

ssize_t Stream::Read(uint8_t* buffer, size_t size, uint32_t* flags) {
  size_t taken = 0;
  while (taken < size && !frames_.empty()) {
    const std::string& frame = frames_.front();
    const size_t part = std::min(size - taken, frame.size() - sent_);
    std::memcpy(buffer + taken, frame.data() + sent_, part);
    taken += part;
    sent_ += part;
    if (sent_ < frame.size()) continue;
    frames_.pop_front();
    sent_ = 0;
    pending_.fetch_sub(1);
  }
  session_->AddUnsent(-static_cast<int64_t>(taken));
  if (frames_.empty() && end_.has_value()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    SubmitStatus();
  } else if (taken == 0) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<ssize_t>(taken);
}

// The status: behind the messages, or alone if there was none.
void Stream::SubmitStatus() {
  const std::string code = absl::StrCat(static_cast<int>(end_->code()));
  const std::string message = EncodeGrpcMessage(end_->message());
  const std::string http = absl::StrCat(HttpStatus());
  std::vector<nghttp2_nv> headers;
  if (!answering_) {
    headers = {Header(":status", http), Header("content-type", kContentType),
               Header("grpc-accept-encoding", kGrpcEncodings)};
  }
  headers.push_back(Header("grpc-status", code));
  if (!message.empty()) headers.push_back(Header("grpc-message", message));
  if (answering_) {
    nghttp2_submit_trailer(session_->library(), id_, headers.data(),
                           headers.size());
  } else {
    nghttp2_submit_headers(session_->library(), NGHTTP2_FLAG_END_STREAM, id_,
                           nullptr, headers.data(), headers.size(), nullptr);
  }
}

// The session.

bool Session::Start() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0 ||
      nghttp2_option_new(&option) != 0) {
    return false;
  }
  nghttp2_session_callbacks_set_on_begin_headers_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        return Guard(
            [&] { static_cast<Session*>(self)->OnBeginHeaders(*frame); });
      });
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame,
                    const uint8_t* name, size_t name_size, const uint8_t* value,
                    size_t value_size, uint8_t, void* user) {
        return Guard([&] {
          const auto* self = static_cast<Session*>(user);
          Stream* stream = self->Find(frame->hd.stream_id);
          if (stream == nullptr) return;
          stream->OnHeader({reinterpret_cast<const char*>(name), name_size},
                           {reinterpret_cast<const char*>(value), value_size});
        });
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes,
                    size_t size, void* self) {
        return Guard([&] {
          Stream* stream = static_cast<Session*>(self)->Find(id);
          if (stream == nullptr) return;
          stream->OnData({reinterpret_cast<const char*>(bytes), size});
        });
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        return Guard([&] { static_cast<Session*>(self)->OnFrame(*frame); });
      });
  nghttp2_session_callbacks_set_on_frame_send_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
        return Guard([&] { static_cast<Session*>(self)->OnSent(*frame); });
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(
      callbacks, [](nghttp2_session*, int32_t id, uint32_t, void* self) {
        return Guard([&] { static_cast<Session*>(self)->OnStreamClosed(id); });
      });
  // Streams that are closed are not kept for the sake of priorities.
  nghttp2_option_set_no_closed_streams(option, 1);
  // Resets are counted with the other frames, in Spend.
  nghttp2_option_set_stream_reset_rate_limit(option, 1 << 20, 1 << 20);
  const int made =
      nghttp2_session_server_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  if (made != 0) return false;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
       static_cast<uint32_t>(shared_.options.max_streams)},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<uint32_t>(shared_.options.max_metadata_bytes)},
  };
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings,
                                 std::size(settings)) == 0 &&
         nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                               kConnectionWindow) == 0;
}

void Session::OnBeginHeaders(const nghttp2_frame& frame) {
  if (frame.headers.cat != NGHTTP2_HCAT_REQUEST) return;
  const int32_t id = frame.hd.stream_id;
  auto stream = std::make_shared<Stream>(this, host_.Share(), id, shared_);
  reading_.insert(stream.get());
  streams_.emplace(id, std::move(stream));
}

void Session::OnFrame(const nghttp2_frame& frame) {
  const bool acknowledges = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
  Stream* const stream = Find(frame.hd.stream_id);
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
      break;
    case NGHTTP2_SETTINGS:
      if (!greeted_) {
        greeted_ = true;
        since_ = Clock::now();
      }
      if (!acknowledges) Spend();
      return;
    case NGHTTP2_PING:
      if (!acknowledges) Spend();
      return;
    case NGHTTP2_RST_STREAM:
      if (stream == nullptr || stream->age() < kAtOnce) Spend();
      return;
    default:
      Spend();
      return;
  }
  const bool ends = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame.hd.type == NGHTTP2_DATA && frame.hd.length == 0 && !ends) Spend();
  if (stream == nullptr) return;
  if (frame.hd.type == NGHTTP2_HEADERS &&
      frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
    stream->OnHeaders();
  }
  if (ends) {
    reading_.erase(stream);
    stream->OnEndOfStream();
  }
}

void Session::OnSent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_DATA) Earn(kFramesPerData);
  if (frame.hd.type != NGHTTP2_HEADERS ||
      (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
    return;
  }
  Earn(kFramesPerCall);
  // Nobody reads what the client would still send.
  const Stream* const stream = Find(frame.hd.stream_id);
  if (stream != nullptr && stream->receiving()) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id(),
                              NGHTTP2_NO_ERROR);
  }
}

void Session::OnStreamClosed(int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  const std::shared_ptr<Stream> stream = std::move(found->second);
  streams_.erase(found);
  reading_.erase(stream.get());
  stream->OnClosed();
  ++ended_;
  if (streams_.empty()) since_ = Clock::now();
}

}  // namespace

std::unique_ptr<GrpcSession> GrpcSession::Make(const GrpcShared* shared,
                                               GrpcHost* host) {
  auto session = std::make_unique<Session>(shared, host);
  if (!session->Start()) return nullptr;
  return session;
}

}  // namespace quern::server
