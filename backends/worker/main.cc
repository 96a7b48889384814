// SPDX-License-Identifier: Apache-2.0
//
// quern-compile: runs compilers for the daemon, one job after the other. Reads
// requests from standard input, writes replies to standard output, and ends
// when its input does. What it says on standard error ends up in the error of
// the job during which it died.
//
// Nothing that a compiler does may hurt the daemon or the machine: memory and
// CPU time are limited, other files are closed, no core is dumped, and the
// process dies with the thread that started it.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <new>
#include <optional>
#include <signal.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include <sys/prctl.h>
#include <sys/resource.h>

#include "backends/register_all.h"
#include "backends/worker/protocol.h"
#include "backends/worker/worker_exit.h"

namespace quern::worker {
namespace {

// A failure to act out, to see how the daemon takes it.
struct Injection {
  std::string kind;  // "crash", "hang", "spin" or "memory".
  int64_t job = 0;   // Counted from 1.
};

struct Options {
  int64_t memory_bytes = 0;  // 0: no limit.
  int64_t cpu_seconds = 0;   // For each job; 0: no limit.
  std::optional<Injection> injection;
};

constexpr int kNiceness = 10;

constexpr char kUsage[] =
    "quern-compile [--memory BYTES] [--cpu-seconds N]\n"
    "              [--inject crash|hang|spin|memory:JOB]\n"
    "Compiles kernels for quernd, which starts it. Not for use by hand.\n"
    "  --memory       bytes of address space; default: no limit\n"
    "  --cpu-seconds  CPU time for one job; default: no limit\n"
    "  --inject       fail in this way in job number JOB, to test the daemon\n";

std::optional<Injection> ParseInjection(absl::string_view text) {
  for (const char* kind : {"crash", "hang", "spin", "memory"}) {
    absl::string_view rest = text;
    Injection injection{kind, 0};
    if (absl::ConsumePrefix(&rest, kind) && absl::ConsumePrefix(&rest, ":") &&
        absl::SimpleAtoi(rest, &injection.job) && injection.job > 0) {
      return injection;
    }
  }
  return std::nullopt;
}

std::optional<Options> ParseOptions(int argc, char** argv) {
  Options options;
  for (int a = 1; a < argc; a += 2) {
    const absl::string_view flag = argv[a];
    if (a + 1 == argc) return std::nullopt;
    const absl::string_view value = argv[a + 1];
    bool good = false;
    if (flag == "--memory") {
      good = absl::SimpleAtoi(value, &options.memory_bytes) &&
             options.memory_bytes > 0;
    } else if (flag == "--cpu-seconds") {
      good = absl::SimpleAtoi(value, &options.cpu_seconds) &&
             options.cpu_seconds > 0;
    } else if (flag == "--inject") {
      options.injection = ParseInjection(value);
      good = options.injection.has_value();
    }
    if (!good) return std::nullopt;
  }
  return options;
}

// Ends the process in a way that the daemon takes for "out of memory".
[[noreturn]] void DieOutOfMemory() {
  constexpr char kWords[] = "quern-compile: out of memory\n";
  // Whether anybody reads it does not matter any more.
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, kWords, sizeof(kWords) - 1);
  _exit(kExitOutOfMemory);
}

void SetLimit(int resource, int64_t limit) {
  const rlimit both = {static_cast<rlim_t>(limit), static_cast<rlim_t>(limit)};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0) {
    std::fprintf(stderr, "quern-compile: cannot set a limit: %s\n",
                 std::strerror(errno));
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

void Confine(const Options& options) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close_range(STDERR_FILENO + 1, ~0U, 0);
  SetLimit(RLIMIT_CORE, 0);
  // Requests go before compiles. That it may fail does no harm.
  setpriority(PRIO_PROCESS, 0, kNiceness);
  std::set_new_handler(DieOutOfMemory);
  // Sanitizers reserve terabytes of addresses.
  if (options.memory_bytes > 0 && !kSanitized) {
    SetLimit(RLIMIT_AS, options.memory_bytes);
  }
}

// Gives the next job its CPU time on top of what has been used: only the soft
// limit moves, and at it the process gets SIGXCPU, which ends it.
void ArmCpuLimit(int64_t seconds) {
  if (seconds <= 0) return;
  rusage used = {};
  getrusage(RUSAGE_SELF, &used);
  rlimit limit = {};
  getrlimit(RLIMIT_CPU, &limit);
  limit.rlim_cur = std::min(
      limit.rlim_max, static_cast<rlim_t>(used.ru_utime.tv_sec +
                                          used.ru_stime.tv_sec + 1 + seconds));
  setrlimit(RLIMIT_CPU, &limit);
}

[[noreturn]] void Act(const Injection& injection) {
  std::fprintf(stderr, "quern-compile: injected %s\n", injection.kind.c_str());
  if (injection.kind == "crash") std::abort();
  if (injection.kind == "memory") {
    while (true) {
      constexpr size_t kStep = 16 << 20;
      // Touched, so that it is memory and not only addresses.
      std::memset(new char[kStep], 1, kStep);
    }
  }
  volatile uint64_t turns = 0;
  while (true) {
    if (injection.kind == "hang") {
      pause();
    } else {
      turns = turns + 1;
    }
  }
}

// Exactly `size` bytes; false at the end of the input.
bool ReadAll(char* data, size_t size) {
  while (size > 0) {
    const ssize_t got = read(STDIN_FILENO, data, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    data += got;
    size -= got;
  }
  return true;
}

bool WriteAll(int file, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t put = write(file, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    data.remove_prefix(put);
  }
  return true;
}

// The next request without its length; nullopt at the end of the input.
std::optional<std::string> ReadFrame() {
  std::string header(kFrameHeaderBytes, '\0');
  if (!ReadAll(header.data(), header.size())) return std::nullopt;
  const absl::StatusOr<uint32_t> length = FrameLength(header);
  if (!length.ok()) return std::nullopt;
  std::string body(*length, '\0');
  if (!ReadAll(body.data(), body.size())) return std::nullopt;
  return body;
}

absl::StatusOr<std::string> Assemble(
    const std::vector<std::unique_ptr<runtime::Backend>>& backends,
    const std::string& body) {
  const absl::StatusOr<Request> request = DecodeRequest(body);
  if (!request.ok()) return request.status();
  for (const std::unique_ptr<runtime::Backend>& backend : backends) {
    if (backend->name() == request->backend) {
      return backend->codegen().Assemble(request->source, request->target);
    }
  }
  return absl::NotFoundError(absl::StrCat(
      "there is no backend '", request->backend, "' to assemble for"));
}

int Main(int argc, char** argv) {
  const std::optional<Options> options = ParseOptions(argc, argv);
  if (!options.has_value()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  Confine(*options);
  // Replies go where nothing else can write; a compiler that prints to the
  // standard output prints to the standard error.
  const int replies = dup(STDOUT_FILENO);
  if (replies < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return 1;
  const std::vector<std::unique_ptr<runtime::Backend>> backends =
      MakeAllBackends();
  int64_t job = 0;
  while (const std::optional<std::string> body = ReadFrame()) {
    ArmCpuLimit(options->cpu_seconds);
    if (options->injection.has_value() && ++job == options->injection->job) {
      Act(*options->injection);
    }
    const absl::StatusOr<std::string> blob = Assemble(backends, *body);
    absl::StatusOr<std::string> reply = EncodeReply(blob);
    if (!reply.ok()) reply = EncodeReply(reply.status());
    if (!reply.ok() || !WriteAll(replies, *reply)) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace quern::worker

int main(int argc, char** argv) { return quern::worker::Main(argc, argv); }
