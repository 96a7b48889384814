// SPDX-License-Identifier: Apache-2.0
//
// A client of HTTP that sends exactly the bytes that it is told to, for tests
// of what no well-behaved client does.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace quern::support {

struct RawAnswer {
  int status = 0;    // 0 if the connection ended before an answer.
  std::string head;  // Status line and headers.
  std::string body;
};

// The value of a header of an answer, empty if there is none; `name` in lower
// case.
[[nodiscard]] std::string HeaderOf(const RawAnswer& answer,
                                   absl::string_view name);

class RawClient {
 public:
  // `address` is 127.0.0.1:PORT; `receive_bytes`, if not 0, bounds what the
  // system takes in for a client that does not read.
  explicit RawClient(const std::string& address, int receive_bytes = 0);
  ~RawClient() { Close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }

  // False if the peer has closed.
  bool Send(absl::string_view bytes);

  // Says that nothing more will be sent.
  void EndSending();

  void Close();

  // The next answer. One to HEAD, and one that is not the last, has no body.
  RawAnswer Read(bool head_only = false);

  // All that comes until the end.
  [[nodiscard]] std::string ReadAll();

  // Receives at most so many bytes and forgets them; false at the end.
  bool Take(size_t bytes);

  // Whether the peer ends the connection without a word more.
  bool Ends();

 private:
  // Receives more; false at the end, or after 20 seconds.
  bool More();

  int fd_;
  bool connected_ = false;
  bool timed_out_ = false;
  std::string seen_;  // Received and not yet read.
};

// The answer to one request on a connection of its own.
[[nodiscard]] RawAnswer Ask(const std::string& address,
                            absl::string_view request);

}  // namespace quern::support
