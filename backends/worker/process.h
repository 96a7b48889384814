// SPDX-License-Identifier: Apache-2.0
//
// One compile worker process, seen from the daemon: started, spoken to under a
// deadline, and asked after its death what it died of.
//
// Used by one thread, the one that starts it: the process dies with it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include <sys/types.h>

namespace quern::worker {

// What a process may use, and the names under which the operator sets it.
struct Limits {
  std::chrono::milliseconds time{60'000};   // --compile-timeout, for one job.
  int64_t memory_bytes = int64_t{4} << 30;  // --compile-memory.
};

class Process {
 public:
  // Starts `program` with `arguments` and those that set `limits`;
  // kUnavailable if that fails. Nothing but its three standard files is
  // passed on to it.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<Process>> Start(
      const std::string& program, const std::vector<std::string>& arguments,
      const Limits& limits);

  // Kills it if it lives.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // False if it has ended.
  [[nodiscard]] bool Alive();

  // Sends a frame and gives the body of the one that comes back.
  //
  // After an error the process is dead. kResourceExhausted, naming the limit,
  // if it met one; kInternal with its last words if it died of something
  // else; kDataLoss if its answer makes no sense.
  [[nodiscard]] absl::StatusOr<std::string> Exchange(const std::string& frame);

 private:
  using Clock = std::chrono::steady_clock;

  // How a step of an exchange ended, other than well.
  enum class Trouble { kNone, kDied, kTimedOut };

  Process(pid_t pid, int socket, int errors, const Limits& limits);

  Trouble Send(absl::string_view data, Clock::time_point deadline);
  Trouble Receive(char* data, size_t size, Clock::time_point deadline);
  Trouble WaitFor(short events, Clock::time_point deadline);
  void DrainErrors();
  void End();
  absl::Status ErrorOf(Trouble trouble);
  std::string LastWords() const;

  const pid_t pid_;
  const int socket_;  // Its standard input and output.
  const int errors_;  // Its standard error.
  const Limits limits_;
  std::string tail_;    // The end of what it said on errors_.
  bool ended_ = false;  // Waited for; status_ is what it ended with.
  int status_ = 0;
};

}  // namespace quern::worker
