// SPDX-License-Identifier: Apache-2.0
#include "server/digest.h"

#include <openssl/evp.h>

#include "engine/base/check.h"

namespace quern::server {
namespace {

EVP_MD_CTX* Context(void* context) { return static_cast<EVP_MD_CTX*>(context); }

}  // namespace

Digest::Digest() : context_(EVP_MD_CTX_new()) {
  // Only a lack of memory can make these fail.
  QUERN_CHECK(context_ != nullptr);
  QUERN_CHECK(EVP_DigestInit_ex(Context(context_), EVP_sha256(), nullptr) == 1);
}

Digest::~Digest() { EVP_MD_CTX_free(Context(context_)); }

void Digest::Add(absl::string_view bytes) {
  QUERN_CHECK(EVP_DigestUpdate(Context(context_), bytes.data(), bytes.size()) ==
              1);
}

std::string Digest::Finish() {
  std::string digest(kDigestBytes, '\0');
  unsigned int size = 0;
  QUERN_CHECK(EVP_DigestFinal_ex(
                  Context(context_),
                  reinterpret_cast<unsigned char*>(digest.data()), &size) == 1);
  return digest;
}

}  // namespace quern::server
