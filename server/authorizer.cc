// SPDX-License-Identifier: Apache-2.0
#include "server/authorizer.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <openssl/crypto.h>

#include "server/digest.h"

namespace quern::server {
namespace {

constexpr size_t kLeastTokenBytes = 16;

std::string DigestOf(absl::string_view token) {
  Digest digest;
  digest.Add(std::string(token));
  return digest.Finish();
}

std::optional<Access> RoleOf(absl::string_view name) {
  if (name == "inference") return Access::kInference;
  if (name == "graph") return Access::kGraph;
  if (name == "admin") return Access::kAdmin;
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Authorizer> Authorizer::FromFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(absl::StrCat("cannot read ", path));
  }
  Authorizer authorizer;
  authorizer.enabled_ = true;
  authorizer.free_ = Access::kInference;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty() || text[0] == '#') continue;
    const std::vector<std::string> words =
        absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    const std::optional<Access> role = RoleOf(words[0]);
    if (words.size() != 2 || !role.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " line ", number,
          ": expected \"ROLE TOKEN\" with inference, graph or admin as ROLE"));
    }
    if (words[1].size() < kLeastTokenBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " line ", number, ": the token has ", words[1].size(),
          " characters, expected at least ", kLeastTokenBytes));
    }
    if (*role == Access::kInference) authorizer.free_ = Access::kPublic;
    authorizer.granted_[DigestOf(words[1])] = *role;
  }
  if (authorizer.granted_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no token, so nobody could do anything"));
  }
  return authorizer;
}

absl::Status Authorizer::Check(Access access,
                               absl::string_view authorization) const {
  if (!enabled_ || access <= free_) return absl::OkStatus();
  constexpr char kHint[] =
      "send the header \"authorization: Bearer TOKEN\" with a token of the "
      "server's --token-file";
  constexpr size_t kScheme = 7;
  if (!absl::StartsWithIgnoreCase(authorization, "bearer ")) {
    return absl::UnauthenticatedError(
        absl::StrCat("this call needs a token: ", kHint));
  }
  const std::string digest =
      DigestOf(absl::StripAsciiWhitespace(authorization.substr(kScheme)));
  std::optional<Access> granted;
  // All are compared, so that the time does not tell which came close.
  for (const auto& [known, role] : granted_) {
    if (CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0) {
      granted = role;
    }
  }
  if (!granted.has_value()) {
    return absl::UnauthenticatedError(
        absl::StrCat("the token is not known: ", kHint));
  }
  if (*granted < access) {
    return absl::PermissionDeniedError(
        "the token is known and does not allow this call");
  }
  return absl::OkStatus();
}

}  // namespace quern::server
