// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/runtime/executable.h"

namespace quern::runtime {
namespace {

// Calls visit(buffer) for every buffer of a command.
template <typename Visit>
void ForEachBuffer(const Command& command, Visit visit) {
  if (const auto* launch = std::get_if<LaunchCommand>(&command)) {
    for (int buffer : launch->buffers) visit(buffer);
  } else {
    visit(std::get<CopyCommand>(command).from);
    visit(std::get<CopyCommand>(command).to);
  }
}

}  // namespace

void PlanMemory(Executable& executable, const std::vector<double>& estimate) {
  const size_t count = executable.buffers.size();
  std::vector<int> first(count, -1);
  std::vector<int> last(count, -1);
  int time = 0;
  for (const Segment& segment : executable.segments) {
    for (const Command& command : segment.commands) {
      ForEachBuffer(command, [&](int buffer) {
        if (first[buffer] < 0) first[buffer] = time;
        last[buffer] = time;
      });
      ++time;
    }
  }

  struct Place {
    double bytes = 0;
    int free_from = 0;  // The first time at which a new life may begin.
  };
  std::vector<std::vector<Place>> places(executable.devices.size());
  std::vector<int> order;
  for (size_t i = 0; i < count; ++i) {
    if (executable.buffers[i].kind == ExecBuffer::Kind::kTemporary &&
        first[i] >= 0) {
      order.push_back(static_cast<int>(i));
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return first[a] < first[b]; });
  for (int buffer : order) {
    std::vector<Place>& own = places[executable.buffers[buffer].device];
    // The free place that wastes or grows least.
    int best = -1;
    double best_cost = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < own.size(); ++i) {
      if (own[i].free_from > first[buffer]) continue;
      const double cost = std::abs(own[i].bytes - estimate[buffer]);
      if (cost < best_cost) {
        best_cost = cost;
        best = static_cast<int>(i);
      }
    }
    if (best < 0) {
      best = static_cast<int>(own.size());
      own.push_back({});
    }
    own[best].bytes = std::max(own[best].bytes, estimate[buffer]);
    own[best].free_from = last[buffer] + 1;
    executable.buffers[buffer].slot = best;
  }
  executable.arenas.resize(executable.devices.size());
  for (size_t i = 0; i < places.size(); ++i) {
    executable.arenas[i].places = static_cast<int>(places[i].size());
  }
}

}  // namespace quern::runtime
