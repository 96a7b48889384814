// SPDX-License-Identifier: Apache-2.0
//
// The V2 protocol over HTTP: the open inference protocol's routes and Triton's
// extensions. One table says which routes there are and what access each needs;
// the authorizer is asked before a body is read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "server/authorizer.h"
#include "server/http/http_message.h"
#include "server/v2_handlers.h"

namespace quern::server {

struct HttpV2Options {
  int64_t max_message_bytes = 0;  // Of requests with tensors or files.
  int64_t max_json_bytes = 0;     // Of all else.
};

// Routes to the handlers; both outlive the router.
[[nodiscard]] HttpRouter MakeHttpV2Router(V2Handlers* handlers,
                                          const Authorizer* authorizer,
                                          const HttpV2Options& options);

// Every route with its access, for tests: a method and a path in which names
// stand as "{model}".
struct HttpV2Route {
  std::string method;
  std::string path;
  Access access = Access::kAdmin;
};
[[nodiscard]] std::vector<HttpV2Route> HttpV2Routes();

// The status of HTTP for a status: those of Triton where it has them, and for
// the rest what tells the client best whether to try again.
[[nodiscard]] int HttpStatusOf(absl::StatusCode code);

}  // namespace quern::server
