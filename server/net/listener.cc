// SPDX-License-Identifier: Apache-2.0
#include "server/net/listener.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <openssl/ssl.h>
#include <spdlog/spdlog.h>

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"

namespace quern::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using asio::local::stream_protocol;
using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

constexpr char kUnix[] = "unix:";
// Time for connections that were closed to notice it.
constexpr absl::Duration kAbortTime = absl::Seconds(1);
// Between two tries to accept when there are no file descriptors.
constexpr std::chrono::milliseconds kAcceptPause(100);

absl::Status Unusable(const char* flag, const std::string& path,
                      const error_code& error) {
  const bool found = access(path.c_str(), R_OK) == 0;
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": cannot ", found ? "use " : "read ", path, ": ",
                   found ? error.message() : std::strerror(errno)));
}

// Chooses the protocol `argument`, as ALPN writes it (RFC 7301), for a client
// that offers it.
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* size,
                   const unsigned char* offered, unsigned offered_size,
                   void* argument) {
  const auto& protocol = *static_cast<const std::string*>(argument);
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(
          &found, size, reinterpret_cast<const unsigned char*>(protocol.data()),
          static_cast<unsigned>(protocol.size()), offered,
          offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

// `options` outlive `tls`.
absl::Status SetUpTls(const ListenerOptions& options,
                      std::optional<asio::ssl::context>& tls) {
  if (options.tls_cert.empty()) return absl::OkStatus();
  error_code error;
  tls.emplace(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  // Clients that come back may resume, also those with certificates.
  constexpr unsigned char kSessions[] = "quernd";
  SSL_CTX_set_session_id_context(tls->native_handle(), kSessions,
                                 sizeof(kSessions) - 1);
  if (!options.tls_protocol.empty()) {
    SSL_CTX_set_alpn_select_cb(tls->native_handle(), ChooseProtocol,
                               const_cast<std::string*>(&options.tls_protocol));
  }
  tls->set_options(asio::ssl::context::default_workarounds |
                       asio::ssl::context::single_dh_use |
                       asio::ssl::context::no_compression,
                   error);
  tls->use_certificate_chain_file(options.tls_cert, error);
  if (error) return Unusable("--tls-cert", options.tls_cert, error);
  tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, error);
  if (error) return Unusable("--tls-key", options.tls_key, error);
  if (options.tls_client_ca.empty()) return absl::OkStatus();
  tls->load_verify_file(options.tls_client_ca, error);
  if (error) return Unusable("--tls-client-ca", options.tls_client_ca, error);
  tls->set_verify_mode(
      asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, error);
  return absl::OkStatus();
}

class AsioListener final : public Listener {
 public:
  explicit AsioListener(std::shared_ptr<ConnectionPool> pool)
      : pool_(std::move(pool)),
        acceptor_(*pool_->loops[0]),
        pause_(*pool_->loops[0]) {}

  ~AsioListener() override { Stop(absl::InfinitePast()); }

  absl::Status Listen() {
    const ListenerOptions& options = pool_->listener();
    QUERN_RETURN_IF_ERROR(SetUpTls(options, pool_->tls));
    const error_code error = absl::StartsWith(options.address, kUnix)
                                 ? BindUnix(options.address)
                                 : BindTcp(options.address);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat(options.flag, ": cannot listen at ", options.address,
                       ": ", error.message()));
    }
    asio::dispatch(acceptor_.get_executor(), [this] { Accept(); });
    for (const auto& loop : pool_->loops) {
      // What it needs of the system it takes with its first socket.
      const Socket first(*loop);
      work_.emplace_back(loop->get_executor());
      threads_.emplace_back([this, &loop = *loop] { Run(loop); });
    }
    return absl::OkStatus();
  }

  const std::string& address() const override { return address_; }

  void Drain() override {
    if (pool_->draining.exchange(true)) return;
    asio::dispatch(acceptor_.get_executor(), [this] {
      error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
    });
    pool_->DrainAll();
  }

  void Stop(absl::Time deadline) override {
    if (pool_->stopped.load()) return;
    Drain();
    if (!pool_->AwaitNone(deadline)) {
      pool_->AbortAll();
      pool_->AwaitNone(absl::Now() + kAbortTime);
    }
    pool_->stopped.store(true);
    work_.clear();
    for (const auto& loop : pool_->loops) loop->stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    if (absl::StartsWith(address_, kUnix)) {
      unlink(address_.c_str() + sizeof(kUnix) - 1);
    }
  }

 private:
  error_code BindTcp(const std::string& address) {
    const size_t colon = address.rfind(':');
    const std::string host = address.substr(0, colon);
    std::string name = host;
    if (absl::StartsWith(name, "[") && absl::EndsWith(name, "]")) {
      name = name.substr(1, name.size() - 2);
    }
    error_code error;
    tcp::resolver resolver(*pool_->loops[0]);
    const auto found = resolver.resolve(name, address.substr(colon + 1),
                                        tcp::resolver::passive, error);
    if (error) return error;
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (error) return error;
    // So that a daemon can follow another at once. It does not let two listen.
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) error = BindAndListen(endpoint);
    if (error) return error;
    tcp::endpoint bound;
    const auto local = acceptor_.local_endpoint(error);
    bound.resize(local.size());
    std::memcpy(bound.data(), local.data(), local.size());
    address_ = absl::StrCat(host, ":", bound.port());
    return error;
  }

  error_code BindUnix(const std::string& address) {
    const std::string path(absl::StripPrefix(address, kUnix));
    error_code error = asio::error::name_too_long;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) return error;
    const stream_protocol::endpoint endpoint(path);
    // What an earlier daemon left goes; anything but a socket stays.
    stream_protocol::socket probe(*pool_->loops[0]);
    probe.connect(endpoint, error);
    if (error == asio::error::connection_refused) unlink(path.c_str());
    acceptor_.open(endpoint.protocol(), error);
    if (!error) error = BindAndListen(endpoint);
    if (!error) address_ = address;
    return error;
  }

  error_code BindAndListen(const Acceptor::endpoint_type& endpoint) {
    error_code error;
    acceptor_.bind(endpoint, error);
    if (!error) {
      acceptor_.listen(asio::socket_base::max_listen_connections, error);
    }
    return error;
  }

  void Accept() {
    if (pool_->draining.load()) return;
    // By turns.
    next_ = (next_ + 1) % pool_->loops.size();
    acceptor_.async_accept(*pool_->loops[next_],
                           [this](error_code error, Socket socket) {
                             OnAccept(error, std::move(socket));
                           });
  }

  void OnAccept(error_code error, Socket socket) {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (error) {
      // No descriptors, most likely: some will be closed.
      pause_.expires_after(kAcceptPause);
      pause_.async_wait([this](error_code cancelled) {
        if (!cancelled) Accept();
      });
      return;
    }
    const absl::Status served = base::NoThrow([&] {
      Serve(std::move(socket));
      return absl::OkStatus();
    });
    if (!served.ok()) {
      spdlog::error("a connection at {} was lost: {}", address_,
                    served.ToString());
    }
    Accept();
  }

  void Serve(Socket socket) {
    error_code ignored;  // There may be no TCP below it.
    socket.set_option(tcp::no_delay(true), ignored);
    if (pool_->connections() < pool_->listener().max_connections ||
        pool_->Evict()) {
      pool_->Serve(std::move(socket));
    } else {
      pool_->TurnAway(socket);
    }
  }

  void Run(asio::io_context& loop) {
    while (!pool_->stopped.load()) {
      try {
        loop.run();
        return;
      } catch (const std::exception& error) {
        // The connection that it came from ends; others go on.
        spdlog::error("a connection at {} failed: {}", address_, error.what());
      }
    }
  }

  const std::shared_ptr<ConnectionPool> pool_;
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> work_;
  Acceptor acceptor_;
  asio::steady_timer pause_;
  size_t next_ = 0;  // Loop of a connection.
  std::string address_;
  std::vector<std::thread> threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(
    std::shared_ptr<ConnectionPool> pool) {
  const ListenerOptions& options = pool->listener();
  // The library reports some failures of the system by exceptions.
  try {
    auto listener = std::make_unique<AsioListener>(pool);
    QUERN_RETURN_IF_ERROR(listener->Listen());
    return listener;
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat(options.flag, ": cannot serve at ", options.address, ": ",
                     error.what()));
  }
}

}  // namespace quern::server
