// SPDX-License-Identifier: Apache-2.0
//
// gRPC owns a connection that it was given, and tells nobody when it ends. So
// the listener keeps a second descriptor of the socket: the kernel reports a
// hang-up on it when either side has shut both directions down, which gRPC does
// before it closes its own.
#include "server/grpc_listener.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <set>
#include <thread>
#include <unistd.h>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"

namespace quern::server {
namespace {

using telemetry::Metric;

constexpr int kEvents = 64;
// Between two tries to accept when there are no file descriptors.
constexpr std::chrono::milliseconds kAcceptPause(100);

// A descriptor that is closed with it.
class File {
 public:
  explicit File(int fd = -1) : fd_(fd) {}
  ~File() { Close(); }
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

absl::Status CannotListen(const std::string& address, const char* reason) {
  return absl::UnavailableError(
      absl::StrCat("--grpc-address: cannot listen at ", address, ": ", reason));
}

absl::StatusOr<File> ListenUnix(const std::string& address) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  const absl::string_view path = absl::StripPrefix(address, "unix:");
  if (path.size() >= sizeof(name.sun_path)) {
    return CannotListen(address, "the path is too long for a socket");
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  // What an earlier daemon left; anything but a socket stays.
  File probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(probe.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) !=
          0 &&
      errno == ECONNREFUSED) {
    unlink(name.sun_path);
  }
  File file(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(file.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0 ||
      listen(file.get(), SOMAXCONN) != 0) {
    return CannotListen(address, std::strerror(errno));
  }
  return file;
}

absl::StatusOr<File> ListenTcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(),
                                &hints, &found);
  if (error != 0) return CannotListen(address, gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found,
                                                             freeaddrinfo);
  File file(
      socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // So that a daemon can follow another at once. It does not let two listen.
  const int yes = 1;
  setsockopt(file.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (bind(file.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(file.get(), SOMAXCONN) != 0) {
    return CannotListen(address, std::strerror(errno));
  }
  return file;
}

std::string WithPort(const std::string& address, int listener) {
  sockaddr_storage name = {};
  socklen_t size = sizeof(name);
  getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size);
  const in_port_t port =
      name.ss_family == AF_INET6
          ? reinterpret_cast<const sockaddr_in6*>(&name)->sin6_port
          : reinterpret_cast<const sockaddr_in*>(&name)->sin_port;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", ntohs(port));
}

class EpollListener final : public GrpcListener {
 public:
  EpollListener(const std::string& address, File listener, int max_connections,
                telemetry::Metrics* metrics)
      : address_(address),
        max_connections_(static_cast<size_t>(max_connections)),
        open_(metrics->GetNumber(Metric::kGrpcConnections)),
        refused_(metrics->GetNumber(Metric::kGrpcRefusedConnections)),
        listener_(std::move(listener)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        stop_(eventfd(0, EFD_CLOEXEC)) {}

  ~EpollListener() override {
    Stop();
    for (int fd : connections_) close(fd);
  }

  const std::string& address() const override { return address_; }

  absl::Status Watch() const {
    if (Add(listener_.get(), EPOLLIN) && Add(stop_.get(), EPOLLIN)) {
      return absl::OkStatus();
    }
    return CannotListen(address_, std::strerror(errno));
  }

  void Serve(std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>
                 acceptor) override {
    acceptor_ = std::move(acceptor);
    thread_ = std::thread([this] { Loop(); });
  }

  void Stop() override {
    if (thread_.joinable()) {
      eventfd_write(stop_.get(), 1);
      thread_.join();
    }
    if (listener_.get() >= 0 && absl::StartsWith(address_, "unix:")) {
      unlink(address_.c_str() + std::strlen("unix:"));
    }
    listener_.Close();
  }

 private:
  // Hang-ups are reported without being asked for.
  [[nodiscard]] bool Add(int fd, uint32_t events) const {
    epoll_event event = {};
    event.events = events;
    event.data.fd = fd;
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  void Loop() {
    epoll_event events[kEvents];
    while (true) {
      const int count = epoll_wait(epoll_.get(), events, kEvents, -1);
      bool came = false;
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == stop_.get()) return;
        if (fd == listener_.get()) {
          came = true;
        } else {
          Forget(fd);
        }
      }
      if (!came) continue;
      const absl::Status accepted = base::NoThrow([&] { return Accept(); });
      if (accepted.ok()) {
        failing_ = false;
        continue;
      }
      if (!std::exchange(failing_, true)) {
        spdlog::error("connections over gRPC have to wait: {}",
                      accepted.ToString());
      }
      std::this_thread::sleep_for(kAcceptPause);
    }
  }

  void Forget(int fd) {
    // Closed only, it would be watched until gRPC closes its own.
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    close(fd);
    connections_.erase(fd);
    open_->Set(static_cast<double>(connections_.size()));
  }

  absl::Status Accept() {
    File connection(accept4(listener_.get(), nullptr, nullptr,
                            SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.get() < 0) {
      // Those who left again while they waited are nobody's failure.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
          errno == ENOMEM) {
        return absl::ResourceExhaustedError(std::strerror(errno));
      }
      return absl::OkStatus();
    }
    if (connections_.size() >= max_connections_) {
      refused_->Add(1);
      return absl::OkStatus();
    }
    File witness(fcntl(connection.get(), F_DUPFD_CLOEXEC, 0));
    if (witness.get() < 0 || !Add(witness.get(), 0)) {
      return absl::ResourceExhaustedError(std::strerror(errno));
    }
    connections_.insert(witness.Release());
    open_->Set(static_cast<double>(connections_.size()));
    const int yes = 1;  // Fails where there is no TCP.
    setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
        given;
    given.fd = connection.Release();
    acceptor_->HandleNewConnection(&given);
    return absl::OkStatus();
  }

  const std::string address_;
  const size_t max_connections_;
  const std::shared_ptr<telemetry::Number> open_;
  const std::shared_ptr<telemetry::Number> refused_;
  File listener_;
  const File epoll_;
  const File stop_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::set<int> connections_;  // The second descriptors, for the thread.
  bool failing_ = false;       // Said once.
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcListener>> GrpcListener::Bind(
    const GrpcListenerOptions& options, telemetry::Metrics* metrics) {
  const std::string& address = options.address;
  const bool is_unix = absl::StartsWith(address, "unix:");
  QUERN_ASSIGN_OR_RETURN(File listener,
                         is_unix ? ListenUnix(address) : ListenTcp(address));
  const std::string bound =
      is_unix ? address : WithPort(address, listener.get());
  auto server = std::make_unique<EpollListener>(
      bound, std::move(listener), options.max_connections, metrics);
  QUERN_RETURN_IF_ERROR(server->Watch());
  return server;
}

}  // namespace quern::server
