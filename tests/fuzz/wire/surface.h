// SPDX-License-Identifier: Apache-2.0
//
// A Surface is a place where bytes from outside come in: what reads them, what
// must hold whatever they are, what good ones look like, and how to change
// them so that the change gets past the first check.
//
// fuzzer_main.cc makes a libFuzzer program of one; wire_test.cc replays all of
// them in normal builds. Called from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quern::fuzz {

// An input to begin with; the name is that of a file.
struct Seed {
  std::string name;
  std::string bytes;
};

// Changes the `size` bytes at `data`, which has room for `max_size`; the new
// size. libFuzzer's own, or one that stands in for it.
using MutateBytes = size_t (*)(uint8_t* data, size_t size, size_t max_size);

struct Surface {
  // Reads `bytes`; ends the process if what must hold does not.
  void (*read)(absl::string_view bytes) = nullptr;
  std::vector<Seed> (*seeds)() = nullptr;
  // Bytes a little other than `bytes`, the same for the same seed, and not
  // longer than `max_size`.
  std::string (*mutate)(absl::string_view bytes, size_t max_size, uint64_t seed,
                        MutateBytes mutate_bytes) = nullptr;
};

// A quern.v1.Graph: the importer, then the compiler.
[[nodiscard]] Surface GraphSurface();
// A file of the compile cache.
[[nodiscard]] Surface CacheSurface();
// A config.pbtxt, or the JSON of a load request.
[[nodiscard]] Surface ConfigSurface();
// A connection of gRPC, after its greeting.
[[nodiscard]] Surface GrpcSurface();
// A connection of HTTP, and the JSON of an inference.
[[nodiscard]] Surface HttpSurface();
// The text of nodes.
[[nodiscard]] Surface IrSurface();
// The text of a kernel's instructions, as a compiler's process gets it.
[[nodiscard]] Surface LinearSurface();
// An ONNX file: the importer, then the compiler.
[[nodiscard]] Surface OnnxSurface();
// A ModelInferRequest: what becomes views of its tensors.
[[nodiscard]] Surface RequestSurface();

struct NamedSurface {
  const char* name;
  Surface surface;
};
[[nodiscard]] std::vector<NamedSurface> AllSurfaces();

// A Surface::mutate for what is not a message: as bytes.
[[nodiscard]] std::string MutatedBytes(absl::string_view bytes, size_t max_size,
                                       uint64_t seed, MutateBytes mutate_bytes);

}  // namespace quern::fuzz
