// SPDX-License-Identifier: Apache-2.0
#include "tests/support/raw_client.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <poll.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace quern::support {
namespace {

// One of many addresses of loopback, another each time: a port from which the
// server parted first is not free for a minute, and each address has 28,000.
sockaddr_in NextSource() {
  constexpr uint32_t kSources = 1 << 16;
  static std::atomic<uint32_t> next = 1;
  sockaddr_in from = {};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + next++ % kSources);
  return from;
}

// What a call gives that no signal has interrupted; a fuzzer has a timer.
template <typename Work>
ssize_t Uninterrupted(Work work) {
  ssize_t result = -1;
  do {
    result = work();
  } while (result < 0 && errno == EINTR);
  return result;
}

bool Connect(int fd, const sockaddr_in& to) {
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) {
    return true;
  }
  if (errno != EINTR) return false;
  // It goes on connecting.
  pollfd ready = {.fd = fd, .events = POLLOUT, .revents = 0};
  Uninterrupted([&] { return poll(&ready, 1, -1); });
  socklen_t size = sizeof(errno);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &errno, &size) == 0 && errno == 0;
}

}  // namespace

std::string HeaderOf(const RawAnswer& answer, absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(answer.head);
  const size_t at = lower.find(absl::StrCat("\r\n", name, ": "));
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 4;
  return answer.head.substr(begin, answer.head.find("\r\n", begin) - begin);
}

RawClient::RawClient(const std::string& address, int receive_bytes)
    : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_bytes > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
               sizeof(receive_bytes));
  }
  const timeval patience = {.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(static_cast<uint16_t>(
      std::atoi(address.substr(address.rfind(':') + 1).c_str())));
  const int later = 1;  // The port is chosen when the peer is known.
  setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &later, sizeof(later));
  const sockaddr_in from = NextSource();
  bind(fd_, reinterpret_cast<const sockaddr*>(&from), sizeof(from));
  connected_ = Connect(fd_, to);
}

bool RawClient::Send(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = Uninterrupted(
        [&] { return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); });
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void RawClient::EndSending() { shutdown(fd_, SHUT_WR); }

void RawClient::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

RawAnswer RawClient::Read(bool head_only) {
  RawAnswer answer;
  size_t end = std::string::npos;
  while ((end = seen_.find("\r\n\r\n")) == std::string::npos) {
    if (!More()) return answer;
  }
  answer.head = seen_.substr(0, end + 4);
  seen_.erase(0, end + 4);
  size_t length = 0;
  if (!absl::StartsWith(answer.head, "HTTP/1.1 ") ||
      !absl::SimpleAtoi(answer.head.substr(9, 3), &answer.status) ||
      head_only ||
      !absl::SimpleAtoi(HeaderOf(answer, "content-length"), &length)) {
    return answer;
  }
  while (seen_.size() < length) {
    if (!More()) return {};
  }
  answer.body = seen_.substr(0, length);
  seen_.erase(0, length);
  return answer;
}

std::string RawClient::ReadAll() {
  while (More()) {
  }
  return std::move(seen_);
}

bool RawClient::Take(size_t bytes) {
  std::string taken(bytes, '\0');
  return recv(fd_, taken.data(), taken.size(), 0) > 0;
}

bool RawClient::Ends() {
  if (!seen_.empty()) return false;
  return !More() && !timed_out_;
}

bool RawClient::More() {
  char buffer[65536];
  const ssize_t got =
      Uninterrupted([&] { return recv(fd_, buffer, sizeof(buffer), 0); });
  timed_out_ = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  if (got <= 0) return false;
  seen_.append(buffer, static_cast<size_t>(got));
  return true;
}

RawAnswer Ask(const std::string& address, absl::string_view request) {
  RawClient client(address);
  client.Send(request);
  return client.Read();
}

}  // namespace quern::support
