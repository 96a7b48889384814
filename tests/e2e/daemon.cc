// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/daemon.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <signal.h>
#include <spawn.h>
#include <sstream>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include <sys/wait.h>

#include "tests/support/raw_client.h"

extern char** environ;

namespace quern::e2e {
namespace {

namespace fs = std::filesystem;

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Starts a program; its output goes to files, or to a pipe for -1.
pid_t Spawn(const std::vector<std::string>& words, const std::string& out_path,
            const std::string& err_path, int out_fd, int in_fd) {
  std::vector<std::string> copy = words;
  std::vector<char*> argv;
  for (std::string& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (in_fd >= 0) {
    posix_spawn_file_actions_adddup2(&actions, in_fd, 0);
  } else {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  }
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  if (out_fd >= 0) {
    posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
  } else {
    posix_spawn_file_actions_addopen(&actions, 1, out_path.c_str(), kFlags,
                                     0600);
  }
  posix_spawn_file_actions_addopen(&actions, 2, err_path.c_str(), kFlags, 0600);
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? pid : -1;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Field(const std::string& line, const std::string& name) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  for (const std::string& word : words) {
    if (absl::StartsWith(word, name + "=")) {
      return word.substr(name.size() + 1);
    }
  }
  return "";
}

}  // namespace

Folder::Folder() {
  std::string pattern = fs::temp_directory_path() / "quern-e2e-XXXXXX";
  path_ = mkdtemp(pattern.data()) == nullptr ? "" : pattern;
}

Folder::~Folder() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

void WriteFile(const std::string& path, const std::string& bytes) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string Program(const std::string& name) {
  return fs::read_symlink("/proc/self/exe").parent_path() / name;
}

Finished RunProgram(const std::vector<std::string>& words) {
  const Folder folder;
  Finished finished;
  const std::string out = folder.path() + "/out";
  const std::string err = folder.path() + "/err";
  const pid_t pid = Spawn(words, out, err, -1, -1);
  int status = 0;
  if (pid > 0 && waitpid(pid, &status, 0) == pid) {
    finished.exit_code = ExitCode(status);
  }
  finished.out = ReadAll(out);
  finished.err = ReadAll(err);
  return finished;
}

Daemon::Daemon(const std::vector<std::string>& arguments,
               const std::string& program) {
  std::vector<std::string> words = {
      program,          "--grpc-address", "127.0.0.1:0",
      "--http-address", "127.0.0.1:0",    "--metrics-address",
      "127.0.0.1:0",    "--cache-dir",    folder_.path() + "/cache"};
  // What is given again counts from its last place.
  words.insert(words.end(), arguments.begin(), arguments.end());
  int ends[2];
  int in_ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0 || pipe2(in_ends, O_CLOEXEC) != 0) return;
  pid_ = Spawn(words, "", folder_.path() + "/err", ends[1], in_ends[0]);
  close(ends[1]);
  close(in_ends[0]);
  // Open as long as this test runs, however it ends.
  stdin_fd_ = in_ends[1];
  char byte = 0;
  while (read(ends[0], &byte, 1) == 1 && byte != '\n') {
    ready_line_.push_back(byte);
  }
  close(ends[0]);
  address_ = Field(ready_line_, "grpc");
  http_address_ = Field(ready_line_, "http");
  metrics_address_ = Field(ready_line_, "metrics");
  grpc::ChannelArguments channel_arguments;
  channel_arguments.SetMaxReceiveMessageSize(-1);
  channel_arguments.SetMaxSendMessageSize(-1);
  // Channels with the same arguments would share a connection.
  channel_arguments.SetInt("quern.test.pid", pid_);
  channel_ = grpc::CreateCustomChannel(
      address_, grpc::InsecureChannelCredentials(), channel_arguments);
  v2_ = inference::GRPCInferenceService::NewStub(channel_);
  graphs_ = v1::GraphService::NewStub(channel_);
  kernels_ = v1::KernelService::NewStub(channel_);
}

Daemon::~Daemon() { Stop(SIGTERM); }

int Daemon::Stop(int signal) {
  if (pid_ <= 0) return -1;
  v2_.reset();
  graphs_.reset();
  kernels_.reset();
  channel_.reset();
  kill(pid_, signal);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  close(stdin_fd_);
  return ExitCode(status);
}

std::string Daemon::Metrics() const {
  return support::Ask(metrics_address_,
                      "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
      .body;
}

double Daemon::Metric(const std::string& line_begin) const {
  const std::vector<std::string> lines = absl::StrSplit(Metrics(), '\n');
  for (const std::string& line : lines) {
    if (!absl::StartsWith(line, line_begin)) continue;
    double value = 0;
    if (absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) {
      return value;
    }
  }
  return 0;
}

}  // namespace quern::e2e
