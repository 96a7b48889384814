// SPDX-License-Identifier: Apache-2.0
#include "backends/worker/process.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include <sys/socket.h>
#include <sys/wait.h>

#include "backends/worker/protocol.h"
#include "backends/worker/worker_exit.h"
#include "engine/base/status_macros.h"

namespace quern::worker {
namespace {

constexpr size_t kTailBytes = 2000;

// A file descriptor that is closed at the end of the scope.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::Status CannotStart(const std::string& program, int error) {
  return absl::UnavailableError(absl::StrCat(
      "cannot start the compile worker ", program, ": ", std::strerror(error)));
}

// Starts `argv` with `socket` as standard input and output and `errors` as
// standard error. Signals are as by default and the process group is its own,
// so that a ^C in the daemon's terminal does not end it during a job.
int Spawn(const std::vector<char*>& argv, int socket, int errors, pid_t* pid) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, socket, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, socket, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t defaults;
  sigemptyset(&defaults);
  for (const int signal : {SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXCPU}) {
    sigaddset(&defaults, signal);
  }
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF |
                                            POSIX_SPAWN_SETPGROUP);
  const int error =
      posix_spawn(pid, argv[0], &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(
    const std::string& program, const std::vector<std::string>& arguments,
    const Limits& limits) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return CannotStart(program, errno);
  }
  File ours(pair[0]);
  const File theirs(pair[1]);
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC) != 0) return CannotStart(program, errno);
  File errors(pipe[0]);
  const File their_errors(pipe[1]);
  fcntl(errors.get(), F_SETFL, O_NONBLOCK);

  // The clock of the daemon strikes first; CPU time is for when it is gone.
  const int64_t seconds =
      std::max<int64_t>(1, (limits.time.count() + 999) / 1000) + 1;
  std::vector<std::string> words = {program, "--memory",
                                    absl::StrCat(limits.memory_bytes),
                                    "--cpu-seconds", absl::StrCat(seconds)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  pid_t pid = 0;
  if (const int error = Spawn(argv, theirs.get(), their_errors.get(), &pid);
      error != 0) {
    return CannotStart(program, error);
  }
  return std::unique_ptr<Process>(
      new Process(pid, ours.release(), errors.release(), limits));
}

Process::Process(pid_t pid, int socket, int errors, const Limits& limits)
    : pid_(pid), socket_(socket), errors_(errors), limits_(limits) {}

Process::~Process() {
  End();
  close(socket_);
  close(errors_);
}

bool Process::Alive() {
  if (!ended_ && waitpid(pid_, &status_, WNOHANG) != 0) ended_ = true;
  return !ended_;
}

absl::StatusOr<std::string> Process::Exchange(const std::string& frame) {
  const Clock::time_point deadline = Clock::now() + limits_.time;
  tail_.clear();
  std::string header(kFrameHeaderBytes, '\0');
  Trouble trouble = Send(frame, deadline);
  if (trouble == Trouble::kNone) {
    trouble = Receive(header.data(), header.size(), deadline);
  }
  if (trouble != Trouble::kNone) return ErrorOf(trouble);
  const absl::StatusOr<uint32_t> length = FrameLength(header);
  if (!length.ok()) {
    End();
    return length.status();
  }
  std::string body(*length, '\0');
  trouble = Receive(body.data(), body.size(), deadline);
  if (trouble != Trouble::kNone) return ErrorOf(trouble);
  return body;
}

Process::Trouble Process::Send(absl::string_view data,
                               Clock::time_point deadline) {
  while (!data.empty()) {
    const Trouble trouble = WaitFor(POLLOUT, deadline);
    if (trouble != Trouble::kNone) return trouble;
    const ssize_t sent =
        send(socket_, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      return Trouble::kDied;
    }
    data.remove_prefix(sent);
  }
  return Trouble::kNone;
}

Process::Trouble Process::Receive(char* data, size_t size,
                                  Clock::time_point deadline) {
  while (size > 0) {
    const Trouble trouble = WaitFor(POLLIN, deadline);
    if (trouble != Trouble::kNone) return trouble;
    const ssize_t got = recv(socket_, data, size, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return Trouble::kDied;
    data += got;
    size -= got;
  }
  return Trouble::kNone;
}

// Waits until `events` can happen on socket_, and meanwhile reads errors_: a
// worker that says much must not block on that.
Process::Trouble Process::WaitFor(short events, Clock::time_point deadline) {
  bool errors_open = true;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return Trouble::kTimedOut;
    pollfd files[2] = {{socket_, events, 0},
                       {errors_open ? errors_ : -1, POLLIN, 0}};
    constexpr int64_t kLongest = 60'000;
    const int ready =
        poll(files, 2, static_cast<int>(std::min(left.count(), kLongest)));
    if (ready < 0 && errno != EINTR) return Trouble::kDied;
    if (ready <= 0) continue;
    if (files[1].revents != 0) {
      DrainErrors();
      if ((files[1].revents & POLLIN) == 0) errors_open = false;
    }
    if (files[0].revents != 0) return Trouble::kNone;
  }
}

void Process::DrainErrors() {
  char buffer[4096];
  while (true) {
    const ssize_t got = read(errors_, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    tail_.append(buffer, got);
    if (tail_.size() > 2 * kTailBytes) {
      tail_.erase(0, tail_.size() - kTailBytes);
    }
  }
}

void Process::End() {
  if (ended_) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
  ended_ = true;
}

absl::Status Process::ErrorOf(Trouble trouble) {
  if (trouble == Trouble::kTimedOut) {
    End();
    return absl::ResourceExhaustedError(
        absl::StrCat("the compiler took longer than ", limits_.time.count(),
                     " ms (--compile-timeout)"));
  }
  // It has closed its end, so it is ending; a moment for that, so that how it
  // ends is not that it was killed.
  for (int wait = 0; wait < 200 && Alive(); ++wait) usleep(5'000);
  End();
  DrainErrors();
  const bool exited = WIFEXITED(status_);
  const int signal = WIFSIGNALED(status_) ? WTERMSIG(status_) : 0;
  if ((exited && WEXITSTATUS(status_) == kExitOutOfMemory) ||
      absl::StrContains(tail_, "out of memory")) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the compiler wants more than ", limits_.memory_bytes,
                     " bytes of memory (--compile-memory)"));
  }
  if (signal == SIGXCPU) {
    return absl::ResourceExhaustedError(
        "the compiler used up its CPU time (--compile-timeout)");
  }
  if (signal == SIGKILL) {
    return absl::ResourceExhaustedError(
        "the compiler was killed from outside, as the system does when memory "
        "runs out");
  }
  return absl::InternalError(absl::StrCat(
      "the compiler died of ",
      exited ? absl::StrCat("exit code ", WEXITSTATUS(status_))
             : absl::StrCat("signal ", signal, " (", strsignal(signal), ")"),
      "; its last words: ", LastWords()));
}

// Printable ASCII, since it goes into messages to clients and logs.
std::string Process::LastWords() const {
  std::string words =
      tail_.substr(tail_.size() - std::min(tail_.size(), kTailBytes));
  for (char& c : words) {
    if (c < ' ' || c > '~') c = c == '\n' ? ' ' : '?';
  }
  absl::StripAsciiWhitespace(&words);
  return words.empty() ? "none" : words;
}

}  // namespace quern::worker
