// SPDX-License-Identifier: Apache-2.0
//
// Macros that hand an error to the caller. They are thin, and shaped so that
// Abseil's own (which this version of Abseil lacks) can replace them.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

// Returns from the enclosing function if `expr`, a Status, is not OK.
#define QUERN_RETURN_IF_ERROR(expr)                                 \
  do {                                                              \
    if (absl::Status quern_status_ = (expr); !quern_status_.ok()) { \
      return quern_status_;                                         \
    }                                                               \
  } while (false)

#define QUERN_CONCAT_INNER_(a, b) a##b
#define QUERN_CONCAT_(a, b) QUERN_CONCAT_INNER_(a, b)

// Assigns the value of `expr`, a StatusOr, to `lhs`, or returns its error.
#define QUERN_ASSIGN_OR_RETURN(lhs, expr)                                     \
  QUERN_ASSIGN_OR_RETURN_IMPL_(QUERN_CONCAT_(quern_statusor_, __LINE__), lhs, \
                               expr)
#define QUERN_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr)  \
  auto statusor = (expr);                                  \
  if (!statusor.ok()) return std::move(statusor).status(); \
  lhs = std::move(statusor).value()

// Fails the load or the request, not the process, when a pass broke its own
// promise. `message` is anything that StrCat takes.
#define QUERN_RET_CHECK(condition, ...)                                \
  do {                                                                 \
    if (!(condition)) {                                                \
      return absl::InternalError(                                      \
          absl::StrCat("internal: ", #condition, " does not hold at ", \
                       __FILE__, ":", __LINE__, ": ", ##__VA_ARGS__)); \
    }                                                                  \
  } while (false)
