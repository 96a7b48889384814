// SPDX-License-Identifier: Apache-2.0
//
// Computes scalar nodes in the arithmetic of their dtypes: an f32 addition is
// one float addition. (The oracle computes in double; these tests are about
// roundings.) Nodes become a flat list of loops over blocks of values, so that
// millions of arguments take a second.
//
// Values of f16 and bf16 are held as the floats they are equal to.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/node.h"

namespace quern::kernel {

class ScalarEvaluator {
 public:
  static constexpr int kBlock = 512;

  // `arguments` are nodes whose values are given; `root` depends on no others
  // but constants. kInvalidArgument if a node has no value or a dtype that is
  // not computed here, or if a constant is no value of its dtype.
  static absl::StatusOr<ScalarEvaluator> Make(
      const ir::Arena& arena, absl::Span<const ir::Id> arguments, ir::Id root);

  // Where the values of an argument are to be put, and those of the root are
  // found: kBlock elements of float for the 16-bit types, of bytes for bool,
  // of the type itself otherwise.
  template <typename T>
  T* Argument(int i) {
    return reinterpret_cast<T*>(slots_[i].bytes);
  }
  template <typename T>
  const T* Result() const {
    return reinterpret_cast<const T*>(slots_[root_].bytes);
  }

  void Run();

  // Number of operations, constants not counted.
  [[nodiscard]] int size() const { return static_cast<int>(steps_.size()); }

 private:
  struct Slot {
    alignas(64) unsigned char bytes[kBlock * 8];
  };
  using Function = void (*)(const void* x, const void* y, const void* z,
                            void* out);
  struct Step {
    Function function = nullptr;
    int srcs[3] = {0, 0, 0};
    int slot = 0;
  };

  std::vector<Slot> slots_;
  std::vector<Step> steps_;
  int root_ = 0;
};

}  // namespace quern::kernel
