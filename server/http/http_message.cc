// SPDX-License-Identifier: Apache-2.0
#include "server/http/http_message.h"

#include "server/http/json_writer.h"

namespace quern::server {

absl::string_view HttpRequest::Header(absl::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

void HttpRequest::DropBody() {
  body = {};
  room = nullptr;
}

HttpResponse HttpError(int status, absl::string_view message) {
  HttpResponse response;
  response.status = status;
  response.body = "{\"error\":";
  AppendJsonString(message, response.body);
  response.body += "}";
  if (status == 429 || status == 503) {
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

}  // namespace quern::server
