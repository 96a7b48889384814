// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/connection.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <signal.h>
#include <spawn.h>
#include <thread>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include <grpcpp/support/client_interceptor.h>
#include <sys/wait.h>

extern char** environ;

namespace quern::cli {
namespace {

// Adds the token to every call.
class TokenAdder final : public grpc::experimental::Interceptor {
 public:
  explicit TokenAdder(std::string token) : token_(std::move(token)) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* batch) override {
    if (batch->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::
                PRE_SEND_INITIAL_METADATA)) {
      batch->GetSendInitialMetadata()->emplace("authorization",
                                               absl::StrCat("Bearer ", token_));
    }
    batch->Proceed();
  }

 private:
  const std::string token_;
};

class TokenAdderFactory final
    : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenAdderFactory(std::string token) : token_(std::move(token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new TokenAdder(token_);  // gRPC owns it.
  }

 private:
  const std::string token_;
};

namespace fs = std::filesystem;

constexpr auto kTimeToEnd = std::chrono::seconds(40);

// What to do when a signal ends the process.
struct Cleanup {
  std::mutex mutex;
  std::string folder;          // To remove.
  std::function<void()> work;  // To call; may be null.
};

Cleanup& TheCleanup() {
  static Cleanup* const cleanup = new Cleanup;
  return *cleanup;
}

void SetCleanup(const std::string& folder) {
  const std::lock_guard<std::mutex> lock(TheCleanup().mutex);
  TheCleanup().folder = folder;
}

std::string ErrorText(int error) { return std::strerror(error); }

absl::StatusOr<std::string> ServerProgram() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  const fs::path program = self.parent_path() / "quernd";
  if (error || !fs::exists(program, error)) {
    return absl::NotFoundError(absl::StrCat(
        "there is no server at ", program.string(), "; name one by --server"));
  }
  return program.string();
}

// A pipe whose ends are closed in other programs.
struct Pipe {
  int read_fd = -1;
  int write_fd = -1;
};

absl::StatusOr<Pipe> MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot make a pipe: ", ErrorText(errno)));
  }
  return Pipe{ends[0], ends[1]};
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

void CleanUpOnSignals() {
  static sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  std::thread([] {
    int number = 0;
    sigwait(&signals, &number);
    const std::lock_guard<std::mutex> lock(TheCleanup().mutex);
    std::error_code error;
    if (!TheCleanup().folder.empty()) {
      fs::remove_all(TheCleanup().folder, error);
    }
    if (TheCleanup().work != nullptr) TheCleanup().work();
    std::_Exit(128 + number);
  }).detach();
}

void AtSignal(std::function<void()> work) {
  const std::lock_guard<std::mutex> lock(TheCleanup().mutex);
  TheCleanup().work = std::move(work);
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::To(
    const std::string& address, const std::string& token,
    const std::string& tls_ca) {
  std::shared_ptr<grpc::ChannelCredentials> credentials =
      grpc::InsecureChannelCredentials();
  if (!tls_ca.empty()) {
    std::ifstream file(tls_ca, std::ios::binary);
    if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", tls_ca));
    grpc::SslCredentialsOptions options;
    options.pem_root_certs.assign(std::istreambuf_iterator<char>(file),
                                  std::istreambuf_iterator<char>());
    credentials = grpc::SslCredentials(options);
  }
  std::unique_ptr<Connection> connection(new Connection);
  connection->Connect(address, token, credentials);
  return connection;
}

void Connection::Connect(
    const std::string& address, const std::string& token,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  std::vector<
      std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>
      interceptors;
  if (!token.empty()) {
    interceptors.push_back(std::make_unique<TokenAdderFactory>(token));
  }
  const auto channel = grpc::experimental::CreateCustomChannelWithInterceptors(
      address, credentials, arguments, std::move(interceptors));
  graphs_ = v1::GraphService::NewStub(channel);
  kernels_ = v1::KernelService::NewStub(channel);
  v2_ = inference::GRPCInferenceService::NewStub(channel);
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::StartServer(
    const std::vector<std::string>& arguments) {
  std::unique_ptr<Connection> connection(new Connection);
  const absl::Status status = connection->Spawn(arguments);
  if (!status.ok()) return status;
  return connection;
}

absl::Status Connection::Spawn(const std::vector<std::string>& arguments) {
  const absl::StatusOr<std::string> program = ServerProgram();
  if (!program.ok()) return program.status();
  std::error_code error;
  std::string pattern = (fs::temp_directory_path(error) / "quern-XXXXXX");
  if (error || mkdtemp(pattern.data()) == nullptr) {  // Mode 0700.
    return absl::UnavailableError("cannot make a folder for the server");
  }
  folder_ = pattern;
  SetCleanup(folder_);
  const std::string address = absl::StrCat("unix:", folder_, "/quernd.sock");

  const absl::StatusOr<Pipe> in = MakePipe();
  if (!in.ok()) return in.status();
  const absl::StatusOr<Pipe> out = MakePipe();
  if (!out.ok()) return out.status();
  stdin_fd_ = in->write_fd;

  std::vector<std::string> words = {*program,      "--grpc-address",
                                    address,       "--http-address",
                                    "none",        "--metrics-address",
                                    "none",        "--stop-on-stdin-eof",
                                    "--log-level", "error"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in->read_fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out->write_fd, STDOUT_FILENO);
  // The server handles its signals itself; a process group of its own keeps
  // the terminal's from it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  const int failed = posix_spawn(&pid_, program->c_str(), &actions, &attributes,
                                 argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(in->read_fd);
  close(out->write_fd);
  if (failed != 0) {
    pid_ = -1;
    close(out->read_fd);
    return absl::UnavailableError(
        absl::StrCat("cannot start ", *program, ": ", ErrorText(failed)));
  }
  const absl::StatusOr<std::string> line = WaitForReadyLine(out->read_fd);
  close(out->read_fd);
  if (!line.ok()) return line.status();
  Connect(address, "", grpc::InsecureChannelCredentials());
  return absl::OkStatus();
}

absl::StatusOr<std::string> Connection::WaitForReadyLine(int stdout_fd) {
  std::string line;
  while (!absl::StrContains(line, "\n")) {
    char byte = 0;
    const ssize_t n = read(stdout_fd, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    line.push_back(byte);
  }
  if (absl::StartsWith(line, "quernd ready ")) return line;
  static_cast<void>(Alive());  // Collects the exit code.
  return absl::UnavailableError(absl::StrCat(
      "the server did not start",
      exit_code_ < 0 ? "" : absl::StrCat(", exit code ", exit_code_)));
}

bool Connection::Alive() {
  if (pid_ <= 0) return exit_code_ < 0;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == 0) return true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  pid_ = -1;
  return false;
}

Connection::~Connection() {
  // An open channel would make the server wait for it.
  graphs_.reset();
  kernels_.reset();
  v2_.reset();
  // The end of its input tells the server to end.
  if (stdin_fd_ >= 0) close(stdin_fd_);
  const auto deadline = std::chrono::steady_clock::now() + kTimeToEnd;
  while (pid_ > 0 && Alive()) {
    if (std::chrono::steady_clock::now() > deadline) kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  if (folder_.empty()) return;
  std::error_code error;
  fs::remove_all(folder_, error);
  SetCleanup("");
}

}  // namespace quern::cli
