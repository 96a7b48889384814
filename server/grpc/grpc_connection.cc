// SPDX-License-Identifier: Apache-2.0
//
// There is at most one read and one write under way. What is to be sent while a
// write is under way goes with the next one, all in one piece.
//
// A peer has a fixed time to say hello, and one in which it may begin no call;
// for what it sends and takes it has that of a transfer (TransferDeadline).
#include "server/grpc/grpc_connection.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "server/net/socket_connection.h"

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
class GrpcConnection final : public SocketConnection<Stream>, public GrpcHost {
 public:
  template <typename... Args>
  explicit GrpcConnection(const std::shared_ptr<GrpcConnections>& pool,
                          Args&&... args)
      : SocketConnection<Stream>(pool, std::forward<Args>(args)...),
        pool_(*pool),
        session_(GrpcSession::Make(&pool_.shared, this)),
        farewell_(stream().get_executor()) {}

  std::shared_ptr<GrpcHost> Share() override { return Self(); }

  void Dispatch(std::function<void()> work) override {
    if (!pool_.stopped.load()) this->OnLoop(std::move(work));
  }

  void Flush() override {
    if (receiving_ || ending_ || closed_) return;
    while (!writing_) {
      out_.clear();
      session_->Produce(out_);
      if (out_.empty()) break;
      Write();
    }
    if (!writing_ && session_->done()) {
      End();
    } else {
      Observe();
    }
  }

 private:
  using Base = SocketConnection<Stream>;
  using Base::BeginWait;
  using Base::EndWait;
  using Base::expiry;
  using Base::kTls;
  using Base::socket;
  using Base::stream;

  std::shared_ptr<GrpcConnection> Self() {
    return std::static_pointer_cast<GrpcConnection>(this->shared_from_this());
  }

  void Begin() override {
    if (session_ == nullptr) {
      Close();
      return;
    }
    Observe();
    if constexpr (kTls) {
      stream().async_handshake(TlsStream::server,
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
    error_code ignored;
    socket().non_blocking(true, ignored);  // What Write sends at once.
    Read();
    if (pool_.draining.load()) OnDrain();
    Flush();
  }

  // Sees to the times that the peer has, and whether it waits.
  void Observe() {
    // Who has had a call waits from then on.
    if (!session_->idle() || ended_ != session_->ended()) EndWait();
    ended_ = session_->ended();
    if (session_->idle()) BeginWait();
    if (!writing_ && !session_->stuck()) {
      taken_ = 0;
      write_deadline_ = Clock::time_point::max();
    } else {
      if (write_deadline_ == Clock::time_point::max()) {
        sending_since_ = Clock::now();
      }
      write_deadline_ =
          TransferDeadline(pool_.shared.options, sending_since_,
                           pool_.shared.options.write_timeout, taken_);
    }
    expiry().At(std::min(session_->ReadDeadline(), write_deadline_));
  }

  void OnExpired() override {
    if (closed_) return;
    const Clock::time_point now = Clock::now();
    if (ending_ || write_deadline_ <= now) {
      Close();
    } else if (session_->OnExpired(now)) {
      Flush();
    } else {
      OnGiveWay();
    }
  }

  void Read() {
    stream().async_read_some(asio::buffer(in_),
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
  }

  // What the socket takes at once costs no turn of the loop.
  void Write() {
    size_t at_once = 0;
    if constexpr (!kTls) {
      error_code error;
      at_once = stream().write_some(asio::buffer(out_), error);
      if (at_once == out_.size()) return;
    }
    writing_ = true;
    taken_ += static_cast<int64_t>(at_once);
    asio::async_write(stream(), asio::buffer(out_) + at_once,
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
  void OnDrain() override {
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

  // A call that is on its way is known not to have been served: its client may
  // send it again, elsewhere.
  void OnGiveWay() override {
    if (open_ && !closed_) {
      session_->Drain();
      Flush();
    }
    // Still there if it does not take that.
    if (!ending_) Close();
  }

  // All is said.
  void End() {
    ending_ = true;
    if constexpr (kTls) {
      expiry().At(Clock::now() + kLingerTime);
      error_code ignored;
      socket().cancel(ignored);  // Of the read.
      stream().async_shutdown([self = Self()](error_code) { self->Close(); });
    } else {
      Close();
    }
  }

  void Close() override {
    if (std::exchange(closed_, true)) return;
    EndWait();
    if (session_ != nullptr) session_->End();
    expiry().Cancel();
    farewell_.cancel();
    error_code ignored;
    socket().close(ignored);
  }

  GrpcConnections& pool_;
  const std::unique_ptr<GrpcSession> session_;
  asio::steady_timer farewell_;
  std::array<char, kReadBytes> in_;
  std::string out_;
  bool open_ = false;  // The handshake of TLS is done.
  bool receiving_ = false;
  bool writing_ = false;
  bool leaving_ = false;
  bool ending_ = false;
  bool closed_ = false;
  int64_t ended_ = 0;  // Calls, when it was last looked at.
  // While the peer has not taken all: since when, how much of it, until when.
  Clock::time_point sending_since_;
  int64_t taken_ = 0;
  Clock::time_point write_deadline_ = Clock::time_point::max();
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
  ServeSocket<GrpcConnection>(shared_from_this(), std::move(socket));
}

void GrpcConnections::TurnAway(Socket&) { refused_->Add(1); }

absl::StatusOr<std::unique_ptr<Listener>> StartGrpcServer(
    const GrpcServerOptions& options, GrpcMethods methods,
    telemetry::Metrics* metrics) {
  return Listener::Start(
      std::make_shared<GrpcConnections>(options, std::move(methods), metrics));
}

}  // namespace quern::server
