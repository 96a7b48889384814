// SPDX-License-Identifier: Apache-2.0
//
// A Target says what a device can do, as data. Passes read it; none asks for
// a backend's name. It is part of a kernel's key, so everything in it is
// either a fact of the instruction set or a measurement handed in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quern::base {

struct Target {
  std::string backend;       // The backend that renders for it: "cpu".
  std::string isa;           // What the backend's assembler needs to know, for
                             // instance "x86_64 +avx2,+fma,...".
  bool interpreted = false;  // Takes kernel-level IR; no schedule, no text of
                             // a language.
  int vector_bytes = 16;     // Width of a vector register; 0 is none.
  int vector_registers = 16;
  bool masked_vectors = false;  // Masked loads and stores are cheap.
  bool fused_multiply_add = false;
  bool f16_conversion = false;   // Converts f16 to f32 and back by itself.
  int64_t l1_bytes = 32 << 10;   // Per thread.
  int64_t l2_bytes = 256 << 10;  // Per thread.
  int64_t l3_bytes = 8 << 20;    // Of all threads.
  int max_arguments = 64;        // Buffers of one kernel.
  // Of one constant array in a kernel's code; a larger one is a buffer.
  int64_t max_table_bytes = 4096;
  int64_t max_scratch_bytes = 8 << 20;  // Tile stages of one thread.

  // The budget of one kernel after linearization; hard limits.
  int64_t max_operations = 4000;
  int64_t max_live_vectors = 40;

  // Measured on the device, rounded to 5 %; 0 if not measured.
  double peak_flops = 0;      // f32, one thread, operations per second.
  double read_bandwidth = 0;  // One thread, bytes per second.

  // Everything above as text, in a fixed order: a part of cache keys.
  [[nodiscard]] std::string ToString() const;
};

}  // namespace quern::base
