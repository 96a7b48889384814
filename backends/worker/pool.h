// SPDX-License-Identifier: Apache-2.0
//
// A pool of compile worker processes as an Assembler: each job runs in a
// process that may crash, hang or eat memory without harm to anything but that
// job. A worker that does is replaced.
//
// Any thread may call it. Each worker has a thread of the pool that starts it,
// speaks to it and replaces it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "backends/worker/process.h"
#include "engine/runtime/compile_service.h"

namespace quern::worker {

struct WorkerPoolOptions {
  std::string program;  // quern-compile; see ProgramBesideThis.
  int workers = 1;
  Limits limits;
  std::vector<std::string> arguments;  // More ones for `program`.
  // Called for each worker that had to be replaced, by a thread of the pool.
  std::function<void()> on_replacement = [] {};
};

// The path of quern-compile in the folder of the running program.
[[nodiscard]] std::string ProgramBesideThis();

// Starts the workers; they get ready while the caller goes on. kNotFound if
// there is no such program. Destroy the pool after its last job.
[[nodiscard]] absl::StatusOr<std::unique_ptr<runtime::Assembler>>
MakeWorkerPool(const WorkerPoolOptions& options);

}  // namespace quern::worker
