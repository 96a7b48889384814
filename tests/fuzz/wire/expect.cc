// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/wire/expect.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"

#include "backends/null/null_backend.h"
#include "engine/compile.h"

namespace quern::fuzz {
namespace {

// A compile that takes longer ends with kDeadlineExceeded; libFuzzer's own
// limit is for what does not look at the clock.
constexpr int64_t kCompileMs = 2000;

// Lines of text: names from outside are escaped.
bool IsPrintable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c == '\n' || (c >= 0x20 && c != 0x7f);
  });
}

}  // namespace

void Expect(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "expected %s\n", what.c_str());
  std::abort();
}

void ExpectNoFault(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kDeadlineExceeded:
      return;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnimplemented:
      Expect(!status.message().empty() && IsPrintable(status.message()),
             absl::StrCat("a message in printable words, got ",
                          status.ToString()));
      return;
    default:
      Expect(false,
             absl::StrCat("an error of the sender, got ", status.ToString()));
  }
}

void ExpectCompiles(const graph::Graph& graph) {
  static const auto* const backend =
      new std::unique_ptr<runtime::Backend>(null::MakeNullBackend());
  // Two devices under names that graphs in the seeds say.
  const runtime::Codegen* codegen = &(*backend)->codegen();
  const CompileDevice devices[] = {
      {"cpu", null::MakeTarget(null::Shape::kAvx2), codegen},
      {"ref", null::MakeTarget(null::Shape::kScalar), codegen}};
  base::CompileOptions options;
  options.keep_stages = false;
  options.timeout_ms = kCompileMs;
  ExpectNoFault(Compile(graph, options, devices).status());
}

}  // namespace quern::fuzz
