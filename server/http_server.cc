// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <openssl/ssl.h>
#include <spdlog/spdlog.h>

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "server/http_connection.h"

namespace quern::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Time for connections that were closed to notice it.
constexpr absl::Duration kAbortTime = absl::Seconds(1);
// Between two tries to accept when there are no file descriptors.
constexpr std::chrono::milliseconds kAcceptPause(100);

absl::Status Unusable(const char* flag, const std::string& path,
                      const error_code& error) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": cannot use ", path, ": ", error.message()));
}

absl::Status SetUpTls(const HttpServerOptions& options,
                      std::optional<asio::ssl::context>& tls) {
  if (options.tls_cert.empty()) return absl::OkStatus();
  error_code error;
  tls.emplace(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  // Clients that come back may resume, also those with certificates.
  constexpr unsigned char kSessions[] = "quernd";
  SSL_CTX_set_session_id_context(tls->native_handle(), kSessions,
                                 sizeof(kSessions) - 1);
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

class AsioServer final : public HttpServer {
 public:
  AsioServer(const HttpServerOptions& options, HttpRouter router,
             telemetry::Metrics* metrics)
      : shared_(
            std::make_shared<HttpShared>(options, std::move(router), metrics)),
        work_(shared_->io.get_executor()),
        strand_(asio::make_strand(shared_->io)),
        acceptor_(strand_),
        pause_(strand_) {}

  ~AsioServer() override { Stop(absl::InfinitePast()); }

  absl::Status Listen() {
    QUERN_RETURN_IF_ERROR(SetUpTls(shared_->options, shared_->tls));
    const std::string& address = shared_->options.address;
    const size_t colon = address.rfind(':');
    const std::string host = address.substr(0, colon);
    const error_code error = Bind(host, address.substr(colon + 1));
    if (error) {
      return absl::UnavailableError(absl::StrCat(shared_->options.flag,
                                                 ": cannot listen at ", address,
                                                 ": ", error.message()));
    }
    address_ = absl::StrCat(host, ":", acceptor_.local_endpoint().port());
    asio::dispatch(strand_, [this] { Accept(); });
    for (int i = 0; i < shared_->options.threads; ++i) {
      threads_.emplace_back([this] { Run(); });
    }
    return absl::OkStatus();
  }

  const std::string& address() const override { return address_; }

  void Drain() override {
    if (shared_->draining.exchange(true)) return;
    asio::dispatch(strand_, [this] {
      error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
    });
    shared_->DrainAll();
  }

  void Stop(absl::Time deadline) override {
    if (shared_->stopped.load()) return;
    Drain();
    if (!shared_->AwaitNone(deadline)) {
      shared_->AbortAll();
      shared_->AwaitNone(absl::Now() + kAbortTime);
    }
    shared_->stopped.store(true);
    work_.reset();
    shared_->io.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  error_code Bind(std::string host, const std::string& port) {
    if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
      host = host.substr(1, host.size() - 2);
    }
    error_code error;
    tcp::resolver resolver(shared_->io);
    const auto found =
        resolver.resolve(host, port, tcp::resolver::passive, error);
    if (error) return error;
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (error) return error;
    // So that a daemon can follow another at once. It does not let two listen.
    acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error)
      acceptor_.listen(asio::socket_base::max_listen_connections, error);
    return error;
  }

  void Accept() {
    if (shared_->draining.load()) return;
    acceptor_.async_accept(asio::make_strand(shared_->io),
                           [this](error_code error, tcp::socket socket) {
                             OnAccept(error, std::move(socket));
                           });
  }

  void OnAccept(error_code error, tcp::socket socket) {
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
      spdlog::error("a connection over HTTP was lost: {}", served.ToString());
    }
    Accept();
  }

  void Serve(tcp::socket socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    if (shared_->connections() < shared_->options.max_connections ||
        shared_->Evict()) {
      ServeConnection(shared_, std::move(socket));
    } else {
      TurnAway(socket);
    }
  }

  // Tells a peer that there is no room, if that can be done without waiting.
  void TurnAway(tcp::socket& socket) {
    const HttpResponse answer = HttpError(
        503, absl::StrCat("there are ", shared_->options.max_connections,
                          " connections, the limit of "
                          "--http-max-connections; try again later"));
    shared_->CountAnswer(answer.status);
    if (shared_->tls.has_value()) return;
    const std::string text = HeadOf(answer, false) + answer.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  void Run() {
    while (!shared_->stopped.load()) {
      try {
        shared_->io.run();
        return;
      } catch (const std::exception& error) {
        // The connection that it came from ends; others go on.
        spdlog::error("a connection over HTTP failed: {}", error.what());
      }
    }
  }

  const std::shared_ptr<HttpShared> shared_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::strand<asio::io_context::executor_type> strand_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::string address_;
  std::vector<std::thread> threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const HttpServerOptions& options, HttpRouter router,
    telemetry::Metrics* metrics) {
  // The library reports some failures of the system by exceptions.
  try {
    auto server =
        std::make_unique<AsioServer>(options, std::move(router), metrics);
    QUERN_RETURN_IF_ERROR(server->Listen());
    return server;
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat(options.flag, ": cannot serve at ", options.address, ": ",
                     error.what()));
  }
}

}  // namespace quern::server
