// SPDX-License-Identifier: Apache-2.0
//
// HTTP requests and responses as the server's routes see them, whatever reads
// and writes them.
//
// Plain data. A reply may be called from any thread, once; one that is dropped
// without a call answers that the request failed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"

namespace quern::server {

struct HttpRequest {
  std::string method;  // As sent: "GET".
  std::string path;    // As sent, with its escapes, without the query.
  // Names in lower case, values without the spaces around them.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::shared_ptr<const void> room;  // Counts the body while it is held.
  int64_t arrival_ns = 0;            // By telemetry::Clock, of the last byte.
  std::function<bool()> cancelled;   // True if the peer is known to be gone.

  // The value of the first header called `name`, empty if there is none.
  [[nodiscard]] absl::string_view Header(absl::string_view name) const;

  // Frees the body and its room.
  void DropBody();
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;  // Others.
  std::string body;
  std::vector<std::string> parts;  // Follow the body, not copied.
};

using HttpReply = std::function<void(HttpResponse)>;

// Where a request goes, found from its head. A longer body is refused before it
// is read, with the name of the flag that would allow it.
struct HttpRoute {
  int64_t max_body_bytes = 0;
  const char* limit_flag = "";
  std::function<void(HttpRequest, HttpReply)> handle;
};

// Judges the head of a request, whose body is not read yet: the route, or the
// answer that ends it here.
using HttpRouter =
    std::function<std::variant<HttpRoute, HttpResponse>(const HttpRequest&)>;

// {"error": "..."} with a status. Those that another try may change (429, 503)
// say so.
[[nodiscard]] HttpResponse HttpError(int status, absl::string_view message);

}  // namespace quern::server
