// SPDX-License-Identifier: Apache-2.0
//
// A Graph is a model at tensor level: inputs, outputs, weights, and the arena
// of nodes between them. It names no device unless a client did, and is kept
// as long as the model, so that it can be compiled again for other shapes and
// devices.
//
// Immutable once built; any thread may read it. Compiles copy what they need
// into an arena of their own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

#include "engine/ir/dtype.h"
#include "engine/ir/node.h"

namespace quern::graph {

// Bytes that several owners share, for instance a part of a model file.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::string data);
  // A view into `owner`, which is kept alive.
  Bytes(std::shared_ptr<const void> owner, const char* data, size_t size)
      : owner_(std::move(owner)), data_(data), size_(size) {}
  [[nodiscard]] const char* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] const std::shared_ptr<const void>& owner() const {
    return owner_;
  }

 private:
  std::shared_ptr<const void> owner_;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// An input or output. `dims` are sizes in the graph's arena.
struct Port {
  std::string name;  // The client's; for messages and the wire only.
  ir::DType dtype = ir::DType::kF32;
  std::vector<ir::Id> dims;
  ir::Id node = ir::kNoNode;
};

// The content of one weight slot: row-major elements, little-endian.
struct Weight {
  std::string name;
  ir::DType dtype = ir::DType::kF32;
  std::vector<int64_t> dims;
  Bytes data;
};

// A condition on the free sizes beside their own bounds: `size` is at most
// `at_most`. The model means nothing for sizes that break it.
struct SizeLimit {
  ir::Id size = ir::kNoNode;
  int64_t at_most = 0;
  std::string reason;  // "node 'x' (Slice, opset 13): ..", for messages.
};

struct Graph {
  std::unique_ptr<ir::Arena> arena = std::make_unique<ir::Arena>();
  std::vector<Port> inputs;  // By slot of kInput.
  std::vector<Port> outputs;
  std::vector<Weight> weights;    // By slot of kWeight.
  std::vector<SizeLimit> limits;  // To be checked for every request.
};

// Checks what every consumer relies on: each kInput and kWeight has its slot,
// each weight has the bytes of its shape, outputs have strong dtypes and
// exist, every variable is a dimension of some input. kInvalidArgument with
// the port or weight named.
[[nodiscard]] absl::Status Validate(const Graph& graph);

}  // namespace quern::graph
