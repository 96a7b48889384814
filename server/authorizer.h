// SPDX-License-Identifier: Apache-2.0
//
// The Authorizer decides who may call what: the one place that every listener
// asks, before anything else is done for a call.
//
// Immutable; any thread may use it. Tokens are kept and compared as digests,
// in a time that tells nothing of them.
#pragma once

#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quern::server {

// What a call is for. Each includes those before it.
enum class Access {
  kPublic,     // Is the server there and ready?
  kInference,  // Use of models, and reading of what describes them.
  kGraph,      // Graphs of the caller's own, kernels and their code.
  kAdmin,      // Loading, unloading, settings of the server.
};

class Authorizer {
 public:
  // Everybody may do everything.
  Authorizer() = default;

  // By the lines "ROLE TOKEN" of a file, where ROLE is inference, graph or
  // admin; empty lines and those that begin with '#' do not count. Without a
  // line for inference everybody may infer. kInvalidArgument, with the line's
  // number but never its text, if one is malformed or a token is shorter than
  // 16 characters; kNotFound if there is no such file.
  [[nodiscard]] static absl::StatusOr<Authorizer> FromFile(
      const std::string& path);

  // `authorization` is the header of that name, "Bearer TOKEN", or empty.
  // kUnauthenticated if a token is needed and none that is known came,
  // kPermissionDenied if that token is for less.
  [[nodiscard]] absl::Status Check(Access access,
                                   absl::string_view authorization) const;

  [[nodiscard]] bool enabled() const { return enabled_; }

 private:
  bool enabled_ = false;
  Access free_ = Access::kAdmin;           // What needs no token.
  std::map<std::string, Access> granted_;  // By SHA-256 of the token.
};

}  // namespace quern::server
