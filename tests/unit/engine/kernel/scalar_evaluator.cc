// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/kernel/scalar_evaluator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "engine/ir/eval.h"

// The loops are compiled for machines with and without fused operations; the
// right one is chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define QUERN_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define QUERN_CLONES
#endif

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Op;

constexpr int kCount = ScalarEvaluator::kBlock;
using Function = void (*)(const void*, const void*, const void*, void*);

template <typename R, typename A, auto kScalar>
QUERN_CLONES void Loop1(const void* x, const void*, const void*, void* out) {
  const A* a = static_cast<const A*>(x);
  R* r = static_cast<R*>(out);
  for (int i = 0; i < kCount; ++i) r[i] = kScalar(a[i]);
}

template <typename R, typename A, auto kScalar>
QUERN_CLONES void Loop2(const void* x, const void* y, const void*, void* out) {
  const A* a = static_cast<const A*>(x);
  const A* b = static_cast<const A*>(y);
  R* r = static_cast<R*>(out);
  for (int i = 0; i < kCount; ++i) r[i] = kScalar(a[i], b[i]);
}

template <typename T>
QUERN_CLONES void FmaLoop(const void* x, const void* y, const void* z,
                          void* out) {
  const T* a = static_cast<const T*>(x);
  const T* b = static_cast<const T*>(y);
  const T* c = static_cast<const T*>(z);
  T* r = static_cast<T*>(out);
  for (int i = 0; i < kCount; ++i) r[i] = std::fma(a[i], b[i], c[i]);
}

template <typename T>
QUERN_CLONES void WhereLoop(const void* x, const void* y, const void* z,
                            void* out) {
  const uint8_t* c = static_cast<const uint8_t*>(x);
  const T* a = static_cast<const T*>(y);
  const T* b = static_cast<const T*>(z);
  T* r = static_cast<T*>(out);
  for (int i = 0; i < kCount; ++i) r[i] = c[i] != 0 ? a[i] : b[i];
}

template <typename T>
using Wrapping = std::conditional_t<
    std::is_integral_v<T>,
    std::make_unsigned<std::conditional_t<std::is_integral_v<T>, T, int>>,
    std::type_identity<T>>::type;

template <typename T>
Function ArithmeticOf(Op op) {
  using W = Wrapping<T>;
  switch (op) {
    case Op::kAdd:
      return Loop2<T, T, [](T a, T b) { return T(W(a) + W(b)); }>;
    case Op::kSub:
      return Loop2<T, T, [](T a, T b) { return T(W(a) - W(b)); }>;
    case Op::kMul:
      return Loop2<T, T, [](T a, T b) { return T(W(a) * W(b)); }>;
    case Op::kNeg:
      return Loop1<T, T, [](T a) { return T(-W(a)); }>;
    case Op::kMax:
      return Loop2<T, T, [](T a, T b) { return b < a || a != a ? a : b; }>;
    case Op::kMin:
      return Loop2<T, T, [](T a, T b) { return a < b || a != a ? a : b; }>;
    case Op::kCmpLt:
      return Loop2<uint8_t, T, [](T a, T b) -> uint8_t { return a < b; }>;
    case Op::kCmpEq:
      return Loop2<uint8_t, T, [](T a, T b) -> uint8_t { return a == b; }>;
    case Op::kCmpNe:
      return Loop2<uint8_t, T, [](T a, T b) -> uint8_t { return a != b; }>;
    case Op::kWhere:
      return WhereLoop<T>;
    default:
      return nullptr;
  }
}

template <typename T>
Function FloatOf(Op op) {
  switch (op) {
    case Op::kDiv:
      return Loop2<T, T, [](T a, T b) { return a / b; }>;
    case Op::kSqrt:
      return Loop1<T, T, [](T a) { return std::sqrt(a); }>;
    case Op::kTrunc:
      return Loop1<T, T, [](T a) { return std::trunc(a); }>;
    case Op::kFma:
      return FmaLoop<T>;
    default:
      return ArithmeticOf<T>(op);
  }
}

template <typename T>
Function IntegerOf(Op op) {
  constexpr T kWidth = sizeof(T) * 8;
  switch (op) {
    case Op::kAnd:
      return Loop2<T, T, [](T a, T b) { return T(a & b); }>;
    case Op::kOr:
      return Loop2<T, T, [](T a, T b) { return T(a | b); }>;
    case Op::kXor:
      return Loop2<T, T, [](T a, T b) { return T(a ^ b); }>;
    case Op::kShl:
      return Loop2<T, T, [](T a, T b) {
        return b >= 0 && b < kWidth ? T(Wrapping<T>(a) << b) : T(0);
      }>;
    case Op::kShr:
      return Loop2<T, T, [](T a, T b) {
        return T(a >> (b >= 0 && b < kWidth - 1 ? b : T(kWidth - 1)) >>
                 (b >= 0 && b < kWidth ? 0 : 1));
      }>;
    default:
      return ArithmeticOf<T>(op);
  }
}

Function BoolOf(Op op) {
  using T = uint8_t;
  switch (op) {
    case Op::kAnd:
      return Loop2<T, T, [](T a, T b) { return T(a & b); }>;
    case Op::kOr:
      return Loop2<T, T, [](T a, T b) { return T(a | b); }>;
    case Op::kXor:
      return Loop2<T, T, [](T a, T b) { return T(a ^ b); }>;
    default:
      return nullptr;
  }
}

Function FunctionOf(Op op, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return FloatOf<float>(op);
    case DType::kF64:
      return FloatOf<double>(op);
    case DType::kI32:
      return IntegerOf<int32_t>(op);
    case DType::kU32:
      return IntegerOf<uint32_t>(op);
    case DType::kI64:
      return IntegerOf<int64_t>(op);
    case DType::kU64:
      return IntegerOf<uint64_t>(op);
    case DType::kBool:
      return BoolOf(op);
    default:
      return nullptr;
  }
}

template <typename T, DType kTo>
Function RoundFrom() {
  return Loop1<float, T, [](T v) {
    return static_cast<float>(ir::RoundTo(kTo, static_cast<double>(v)));
  }>;
}

// Not a lambda below: clang 19 refuses one inside a generic lambda.
template <typename To, typename From>
To Converted(From value) {
  return static_cast<To>(value);
}

template <typename From>
Function CastFrom(DType to) {
  const auto plain = []<typename To>(To) -> Function {
    return Loop1<To, From, Converted<To, From>>;
  };
  switch (to) {
    case DType::kF32:
      return plain(float());
    case DType::kF64:
      return plain(double());
    // Only what rounds once: from 64 bits, RoundTo would round twice.
    case DType::kF16:
      return sizeof(From) == 4 ? RoundFrom<From, DType::kF16>() : nullptr;
    case DType::kBF16:
      return sizeof(From) == 4 ? RoundFrom<From, DType::kBF16>() : nullptr;
    case DType::kI32:
      return std::is_integral_v<From> ? plain(int32_t()) : nullptr;
    case DType::kU32:
      return std::is_integral_v<From> ? plain(uint32_t()) : nullptr;
    case DType::kI64:
      return std::is_integral_v<From> ? plain(int64_t()) : nullptr;
    case DType::kU64:
      return std::is_integral_v<From> ? plain(uint64_t()) : nullptr;
    default:
      return nullptr;
  }
}

Function CastOf(DType from, DType to) {
  switch (from) {
    case DType::kF16:
    case DType::kBF16:
    case DType::kF32:
      return CastFrom<float>(to);
    case DType::kF64:
      return CastFrom<double>(to);
    case DType::kI32:
      return CastFrom<int32_t>(to);
    case DType::kU32:
      return CastFrom<uint32_t>(to);
    case DType::kI64:
      return CastFrom<int64_t>(to);
    case DType::kU64:
      return CastFrom<uint64_t>(to);
    default:
      return nullptr;
  }
}

Function BitcastOf(DType from, DType to) {
  if (ir::ByteSize(from) != ir::ByteSize(to)) return nullptr;
  if (ir::ByteSize(from) == 4) {
    return Loop1<uint32_t, uint32_t, [](uint32_t v) { return v; }>;
  }
  if (ir::ByteSize(from) == 8) {
    return Loop1<uint64_t, uint64_t, [](uint64_t v) { return v; }>;
  }
  return nullptr;
}

template <typename T>
void Fill(unsigned char* bytes, T value) {
  std::fill_n(reinterpret_cast<T*>(bytes), kCount, value);
}

bool FillConstant(const ir::Arena& arena, ir::Id id, unsigned char* bytes) {
  switch (arena[id].dtype) {
    case DType::kF32: {
      const double value = arena.FloatValue(id);
      Fill(bytes, static_cast<float>(value));
      return std::isnan(value) || static_cast<float>(value) == value;
    }
    case DType::kF64:
      Fill(bytes, arena.FloatValue(id));
      return true;
    case DType::kI32:
      Fill(bytes, static_cast<int32_t>(arena.IntValue(id)));
      return static_cast<int32_t>(arena.IntValue(id)) == arena.IntValue(id);
    case DType::kU32:
      Fill(bytes, static_cast<uint32_t>(arena.IntValue(id)));
      return static_cast<uint32_t>(arena.IntValue(id)) == arena.IntValue(id);
    case DType::kI64:
    case DType::kU64:
      Fill(bytes, arena.IntValue(id));
      return true;
    case DType::kBool:
      Fill(bytes, static_cast<uint8_t>(arena.IntValue(id)));
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<ScalarEvaluator> ScalarEvaluator::Make(
    const ir::Arena& arena, absl::Span<const ir::Id> arguments, ir::Id root) {
  ScalarEvaluator result;
  absl::flat_hash_map<ir::Id, int> slot_of;
  for (ir::Id argument : arguments) {
    slot_of[argument] = static_cast<int>(slot_of.size());
  }
  result.slots_.resize(arguments.size());
  for (ir::Id id : ir::TopologicalOrder(arena, {root})) {
    if (slot_of.contains(id)) continue;
    const ir::Node& node = arena[id];
    const bool reachable =
        std::all_of(node.srcs.begin(), node.srcs.end(),
                    [&](ir::Id src) { return slot_of.contains(src); });
    // What only leads to an argument (its base, its index) is not computed.
    if (!reachable || node.op == Op::kParam || node.op == Op::kRange ||
        node.dtype == DType::kWeakInt) {
      continue;
    }
    const int slot = static_cast<int>(result.slots_.size());
    result.slots_.emplace_back();
    slot_of[id] = slot;
    if (node.op == Op::kConst) {
      if (!FillConstant(arena, id, result.slots_[slot].bytes)) {
        return absl::InvalidArgumentError(
            absl::StrCat("constant ", arena.FloatValue(id), " is no ",
                         ir::Name(node.dtype)));
      }
      continue;
    }
    Step step;
    step.slot = slot;
    for (size_t i = 0; i < node.srcs.size() && i < 3; ++i) {
      step.srcs[i] = slot_of.at(node.srcs[i]);
    }
    const DType from =
        node.srcs.empty() ? node.dtype : arena[node.srcs[0]].dtype;
    if (node.op == Op::kCast) {
      step.function = CastOf(from, node.dtype);
    } else if (node.op == Op::kBitcast) {
      step.function = BitcastOf(from, node.dtype);
    } else {
      const bool compares = node.op == Op::kCmpLt || node.op == Op::kCmpEq ||
                            node.op == Op::kCmpNe;
      step.function = FunctionOf(node.op, compares ? from : node.dtype);
    }
    if (step.function == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("no arithmetic for ", ir::Name(node.op), " from ",
                       ir::Name(from), " to ", ir::Name(node.dtype)));
    }
    result.steps_.push_back(step);
  }
  if (!slot_of.contains(root)) {
    return absl::InvalidArgumentError("the root depends on other nodes");
  }
  result.root_ = slot_of[root];
  return result;
}

void ScalarEvaluator::Run() {
  for (const Step& step : steps_) {
    step.function(slots_[step.srcs[0]].bytes, slots_[step.srcs[1]].bytes,
                  slots_[step.srcs[2]].bytes, slots_[step.slot].bytes);
  }
}

}  // namespace quern::kernel
