// SPDX-License-Identifier: Apache-2.0
//
// The check for a broken invariant of memory or locking: the process dies at
// once, loudly. Never for anything that a request, a file or a device can
// cause; those are Status values.
#pragma once

#include <cstdio>
#include <cstdlib>

#define QUERN_CHECK(condition)                                               \
  do {                                                                       \
    if (!(condition)) {                                                      \
      std::fprintf(stderr, "quern: check failed: %s at %s:%d\n", #condition, \
                   __FILE__, __LINE__);                                      \
      std::abort();                                                          \
    }                                                                        \
  } while (false)
