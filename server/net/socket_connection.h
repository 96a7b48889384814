// SPDX-License-Identifier: Apache-2.0
//
// A SocketConnection is what connections have in common, whatever they speak:
// the socket, with TLS or without, their place among those that wait for a
// request, and the time that the peer has.
//
// All of it happens on the thread of its loop, but for what a Connection offers
// to any. It lives as long as something is under way for it.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include <boost/asio/dispatch.hpp>

#include "server/net/connection_pool.h"
#include "server/net/expiry.h"

namespace quern::server {

// `Stream` is a Socket or a TlsStream.
template <typename Stream>
class SocketConnection : public Connection {
 public:
  ~SocketConnection() override {
    EndWait();
    pool_->Leave(weak_from_this());
  }

  // Begins; to be called once.
  void Start() {
    expiry_.Start(weak_from_this(), [this] { OnExpired(); });
    pool_->Enter(weak_from_this());
    BeginWait();
    OnLoop([this] { Begin(); });
  }

  void Drain() override {
    OnLoop([this] { OnDrain(); });
  }
  void Abort() override {
    OnLoop([this] { Close(); });
  }
  void GiveWay() override {
    OnLoop([this] {
      if (waits()) OnGiveWay();
    });
  }

 protected:
  static constexpr bool kTls = std::is_same_v<Stream, TlsStream>;

  template <typename... Args>
  explicit SocketConnection(std::shared_ptr<ConnectionPool> pool,
                            Args&&... args)
      : pool_(std::move(pool)),
        stream_(std::forward<Args>(args)...),
        expiry_(stream_.get_executor()) {}

  // The first thing that it does.
  virtual void Begin() = 0;
  virtual void OnDrain() = 0;
  // It waits for a request, and another one needs its place.
  virtual void OnGiveWay() = 0;
  // The time that was set has passed.
  virtual void OnExpired() = 0;
  // Ends it at once. May be called again.
  virtual void Close() = 0;

  // Runs `work` on the loop, now if this is its thread. From any thread.
  template <typename Work>
  void OnLoop(Work work) {
    boost::asio::dispatch(stream_.get_executor(),
                          [self = shared_from_this(),
                           work = std::move(work)]() mutable { work(); });
  }

  [[nodiscard]] ConnectionPool& pool() const { return *pool_; }
  [[nodiscard]] Stream& stream() { return stream_; }
  [[nodiscard]] Socket& socket() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }
  [[nodiscard]] Expiry& expiry() { return expiry_; }

  // From when it has no request until it has one.
  void BeginWait() {
    if (!waits()) place_ = pool_->BeginWait(weak_from_this());
  }
  void EndWait() {
    if (waits()) pool_->EndWait(std::exchange(place_, -1));
  }
  [[nodiscard]] bool waits() const { return place_ >= 0; }

 private:
  const std::shared_ptr<ConnectionPool> pool_;
  Stream stream_;
  Expiry expiry_;
  int64_t place_ = -1;  // Among those that wait.
};

// Serves a socket of `pool` by a Served, with TLS if there is a certificate.
template <template <typename> class Served, typename Pool>
void ServeSocket(const std::shared_ptr<Pool>& pool, Socket socket) {
  if (pool->tls.has_value()) {
    std::make_shared<Served<TlsStream>>(pool, std::move(socket), *pool->tls)
        ->Start();
  } else {
    std::make_shared<Served<Socket>>(pool, std::move(socket))->Start();
  }
}

}  // namespace quern::server
