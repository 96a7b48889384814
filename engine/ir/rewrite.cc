// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/rewrite.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/status_macros.h"

namespace quern::ir {
namespace {

// Depth-first with a stack of its own, since graphs may be deep. A frame
// brings one node to its fixed point: first its operands, then rules, then the
// operands of what a rule made, and so on.
class Rewriter {
 public:
  Rewriter(Arena& arena, absl::Span<const Rule> rules,
           const RewriteOptions& options)
      : arena_(arena), options_(options), first_new_(arena.size()) {
    for (const Rule& rule : rules) {
      rules_[static_cast<int>(rule.op)].push_back(&rule);
    }
  }

  absl::StatusOr<Id> Run(Id root) {
    if (!final_.contains(root)) QUERN_RETURN_IF_ERROR(Push(root, {}));
    while (!stack_.empty()) QUERN_RETURN_IF_ERROR(Step());
    return final_.at(root);
  }

 private:
  struct Frame {
    Id original;
    Id current;
    std::vector<const char*> applied;  // Names of the rules, in order.
  };

  absl::Status Push(Id id, std::vector<const char*> applied) {
    if (!open_.insert(id).second) {
      return Runaway("a rule gives a node that contains what it replaces",
                     stack_.back().applied);
    }
    stack_.push_back({id, id, std::move(applied)});
    return absl::OkStatus();
  }

  absl::Status Step() {
    const size_t at = stack_.size() - 1;
    const Id current = stack_[at].current;
    if (const auto it = final_.find(current); it != final_.end()) {
      const Id result = it->second;
      final_[stack_[at].original] = result;
      open_.erase(stack_[at].original);
      stack_.pop_back();
      return absl::OkStatus();
    }
    std::vector<Id> srcs(arena_[current].srcs.begin(),
                         arena_[current].srcs.end());
    for (Id& src : srcs) {
      const auto it = final_.find(src);
      if (it == final_.end()) {
        // Nodes that rules made share the fuel of the node they replace, or a
        // rule could nest new nodes without end.
        return Push(src, src >= first_new_ ? stack_[at].applied
                                           : std::vector<const char*>());
      }
      src = it->second;
    }
    if (const Id rebuilt = WithSources(arena_, current, srcs);
        rebuilt != current) {
      stack_[at].current = rebuilt;
      return absl::OkStatus();
    }
    return ApplyRules(stack_[at]);
  }

  absl::Status ApplyRules(Frame& frame) {
    for (const Rule* rule :
         rules_[static_cast<int>(arena_[frame.current].op)]) {
      const Id next = rule->apply(arena_, frame.current);
      if (next == kNoNode || next == frame.current) continue;
      frame.applied.push_back(rule->name);
      if (options_.trace != nullptr) {
        options_.trace->push_back({rule->name, frame.current, next});
      }
      if (static_cast<int>(frame.applied.size()) > options_.fuel) {
        return Runaway(
            absl::StrCat("no end after ", options_.fuel, " rewrites"),
            frame.applied);
      }
      frame.current = next;
      return absl::OkStatus();
    }
    final_[frame.current] = frame.current;
    return absl::OkStatus();
  }

  static absl::Status Runaway(absl::string_view what,
                              absl::Span<const char* const> applied) {
    constexpr size_t kShown = 8;
    const absl::Span<const char* const> last =
        applied.subspan(applied.size() - std::min(kShown, applied.size()));
    return absl::InternalError(absl::StrCat(
        "rewrite: ", what, ", last rules: ", absl::StrJoin(last, "; ")));
  }

  Arena& arena_;
  const RewriteOptions& options_;
  const Id first_new_;
  std::array<std::vector<const Rule*>, kNumOps> rules_;
  std::vector<Frame> stack_;
  absl::flat_hash_set<Id> open_;       // The originals on the stack.
  absl::flat_hash_map<Id, Id> final_;  // Fixed points map to themselves.
};

}  // namespace

absl::StatusOr<std::vector<Id>> Rewrite(Arena& arena,
                                        absl::Span<const Id> roots,
                                        absl::Span<const Rule> rules,
                                        const RewriteOptions& options) {
  Rewriter rewriter(arena, rules, options);
  std::vector<Id> results;
  results.reserve(roots.size());
  for (Id root : roots) {
    QUERN_ASSIGN_OR_RETURN(results.emplace_back(), rewriter.Run(root));
  }
  return results;
}

}  // namespace quern::ir
