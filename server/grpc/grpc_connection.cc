// SPDX-License-Identifier: Apache-2.0
//
// There is at most one read and one write under way. What is to be sent while a
// write is under way goes with the next one, all in one piece.
//
// A peer has a fixed time to say hello, and one in which it may begin no call.
// For what it sends and takes it has a fixed time and what the bytes so far
// take at the least rate.
#include "server/grpc/grpc_connection.h"

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/string_view.h"
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "server/net/expiry.h"

namespace quern::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = GrpcSession::Clock;

constexpr size_t kReadBytes = 65536;
// Between the word that no more calls should come and that none is served, for
// those that are on their way.
constexpr std::chrono::milliseconds kFarewell(100);
// In which a peer is to agree that a connection of TLS has ended.
constexpr std::chrono::seconds kLingerTime(2);

template <typename Stream>
class GrpcConnection final : public Connection, public GrpcHost {
 public:
  static constexpr bool kTls = std::is_same_v<Stream, TlsStream>;

  template <typename... Args>
  explicit GrpcConnection(std::shared_ptr<GrpcConnections> pool, Args&&... args)
      : pool_(std::move(pool)),
        stream_(std::forward<Args>(args)...),
        session_(GrpcSession::Make(&pool_->shared, this)),
        expiry_(stream_.get_executor()),
        farewell_(stream_.get_executor()) {}

  ~GrpcConnection() override {
    EndWait();
    pool_->Leave(weak_);
  }

  void Start() {
    expiry_.Start(weak_from_this(), [this] { OnExpired(); });
    weak_ = std::static_pointer_cast<Connection>(Self());
    pool_->Enter(weak_);
    BeginWait();
    asio::dispatch(stream_.get_executor(), [self = Self()] { self->Begin(); });
  }

  void Drain() override {
    asio::dispatch(stream_.get_executor(), [self = Self()] { self->Leave(); });
  }

  void Abort() override {
    asio::dispatch(stream_.get_executor(), [self = Self()] { self->Close(); });
  }

  void GiveWay() override {
    asio::dispatch(stream_.get_executor(), [self = Self()] {
      if (self->place_ >= 0) self->Close();
    });
  }

  void Dispatch(std::function<void()> work) override {
    if (pool_->stopped.load()) return;
    asio::dispatch(stream_.get_executor(), std::move(work));
  }

  void Flush() override {
    if (receiving_ || writing_ || ending_ || closed_) return;
    while (!writing_) {
      out_.clear();
      session_->Produce(out_);
      if (out_.empty()) break;
      Write();
    }
    if (!writing_ && session_->done()) {
      End();
      return;
    }
    Observe();
  }

 private:
  std::shared_ptr<GrpcConnection> Self() {
    return std::static_pointer_cast<GrpcConnection>(shared_from_this());
  }

  Socket& socket() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  void BeginWait() {
    if (place_ < 0) place_ = pool_->BeginWait(weak_);
  }
  void EndWait() {
    if (place_ >= 0) pool_->EndWait(std::exchange(place_, -1));
  }

  void Begin() {
    if (session_ == nullptr) {
      Close();
      return;
    }
    Observe();
    if constexpr (kTls) {
      stream_.async_handshake(TlsStream::server,
                              [self = Self()](error_code error) {
                                if (error || self->closed_) {
                                  self->Close();
                                } else {
                                  self->Greet();
                                }
                              });
    } else {
      Greet();
    }
  }

  void Greet() {
    open_ = true;
    Read();
    if (pool_->draining.load()) Leave();
    Flush();
  }

  // Sees to the times that the peer has, and whether it waits.
  void Observe() {
    if (ending_ || closed_) return;
    // Who has had a call waits from then on.
    if (!session_->idle() || ended_ != session_->ended()) EndWait();
    ended_ = session_->ended();
    if (session_->idle()) BeginWait();
    const ListenerOptions& options = pool_->listener();
    Clock::time_point deadline = session_->ReadDeadline();
    if (!writing_ && !session_->stuck()) {
      taken_ = 0;
      sending_since_ = Clock::time_point::max();
    } else {
      if (sending_since_ == Clock::time_point::max()) {
        sending_since_ = Clock::now();
      }
      write_deadline_ =
          sending_since_ + absl::ToChronoNanoseconds(options.write_timeout) +
          std::chrono::milliseconds(taken_ * 1000 /
                                    options.least_bytes_per_second);
      deadline = std::min(deadline, write_deadline_);
    }
    expiry_.At(deadline);
  }

  void OnExpired() {
    if (closed_) return;
    if (ending_) {
      Close();
      return;
    }
    const Clock::time_point now = Clock::now();
    const bool sending = sending_since_ != Clock::time_point::max();
    if ((sending && write_deadline_ <= now) || !session_->OnExpired(now)) {
      Close();
      return;
    }
    Flush();
    Observe();
  }

  void Read() {
    stream_.async_read_some(asio::buffer(in_),
                            [self = Self()](error_code error, size_t bytes) {
                              self->OnRead(error, bytes);
                            });
  }

  void OnRead(error_code error, size_t bytes) {
    if (closed_ || ending_) return;
    if (error) {
      Close();
      return;
    }
    receiving_ = true;
    const bool understood =
        session_->Receive(absl::string_view(in_.data(), bytes));
    receiving_ = false;
    if (!understood) {
      Close();
      return;
    }
    Flush();
    if (!closed_ && !ending_) Read();
    Observe();
  }

  // What the socket takes at once costs no turn of the loop.
  void Write() {
    size_t at_once = 0;
    if constexpr (!kTls) {
      error_code error;
      stream_.non_blocking(true, error);
      at_once = stream_.write_some(asio::buffer(out_), error);
      if (at_once == out_.size()) return;
    }
    writing_ = true;
    taken_ += static_cast<int64_t>(at_once);
    asio::async_write(stream_, asio::buffer(out_) + at_once,
                      [self = Self()](error_code error, size_t bytes) {
                        self->OnWritten(error, bytes);
                      });
  }

  void OnWritten(error_code error, size_t bytes) {
    writing_ = false;
    if (closed_) return;
    if (error) {
      Close();
      return;
    }
    taken_ += static_cast<int64_t>(bytes);
    Flush();
  }

  // Asks the peer to go elsewhere, and ends when it has its answers.
  void Leave() {
    if (closed_ || leaving_ || !open_) return;
    leaving_ = true;
    session_->Announce();
    Flush();
    farewell_.expires_after(kFarewell);
    farewell_.async_wait([self = Self()](error_code) {
      if (self->closed_) return;
      self->session_->Drain();
      self->Flush();
    });
  }

  // All is said.
  void End() {
    if (std::exchange(ending_, true)) return;
    if constexpr (kTls) {
      expiry_.At(Clock::now() + kLingerTime);
      error_code ignored;
      socket().cancel(ignored);  // Of the read.
      stream_.async_shutdown([self = Self()](error_code) { self->Close(); });
    } else {
      Close();
    }
  }

  void Close() {
    if (std::exchange(closed_, true)) return;
    EndWait();
    if (session_ != nullptr) session_->End();
    expiry_.Cancel();
    farewell_.cancel();
    error_code ignored;
    socket().close(ignored);
  }

  const std::shared_ptr<GrpcConnections> pool_;
  std::weak_ptr<Connection> weak_;  // This one.
  Stream stream_;
  const std::unique_ptr<GrpcSession> session_;
  Expiry expiry_;
  asio::steady_timer farewell_;
  std::array<char, kReadBytes> in_;
  std::string out_;
  bool open_ = false;  // The handshake of TLS is done.
  bool receiving_ = false;
  bool writing_ = false;
  bool leaving_ = false;
  bool ending_ = false;
  bool closed_ = false;
  int64_t place_ = -1;  // While it waits for a call.
  int64_t ended_ = 0;   // Calls, when it was last looked at.
  // While the peer has not taken all: since when, how much of it, until when.
  Clock::time_point sending_since_ = Clock::time_point::max();
  int64_t taken_ = 0;
  Clock::time_point write_deadline_;
};

}  // namespace

GrpcConnections::GrpcConnections(GrpcServerOptions options, GrpcMethods methods,
                                 telemetry::Metrics* metrics)
    : ConnectionPool(
          options.threads,
          {.open = metrics->GetNumber(telemetry::Metric::kGrpcConnections),
           .evicted =
               metrics->GetNumber(telemetry::Metric::kGrpcEvictedConnections)}),
      shared{.options = std::move(options),
             .methods = std::move(methods),
             .floods =
                 metrics->GetNumber(telemetry::Metric::kGrpcFloodConnections)},
      refused_(metrics->GetNumber(telemetry::Metric::kGrpcRefusedConnections)) {
}

void GrpcConnections::Serve(Socket socket) {
  if (tls.has_value()) {
    std::make_shared<GrpcConnection<TlsStream>>(shared_from_this(),
                                                std::move(socket), *tls)
        ->Start();
  } else {
    std::make_shared<GrpcConnection<Socket>>(shared_from_this(),
                                             std::move(socket))
        ->Start();
  }
}

void GrpcConnections::TurnAway(Socket&) { refused_->Add(1); }

absl::StatusOr<std::unique_ptr<Listener>> StartGrpcServer(
    const GrpcServerOptions& options, GrpcMethods methods,
    telemetry::Metrics* metrics) {
  return Listener::Start(
      std::make_shared<GrpcConnections>(options, std::move(methods), metrics));
}

}  // namespace quern::server
