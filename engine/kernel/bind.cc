// SPDX-License-Identifier: Apache-2.0
//
// One walk from operands to users. A weak node has no one dtype, so each node
// has up to three forms, and a user takes the one that it needs. Forms that
// nobody takes are dead nodes of the arena.
#include "engine/kernel/bind.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "engine/base/status_macros.h"
#include "engine/ir/eval.h"
#include "engine/ir/symbolic.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Id;
using ir::kNoNode;
using ir::Op;

// What a node became.
struct Forms {
  // The value: strong; f32 of a 16-bit or weak float, i64 of a weak integer.
  // Of what is no value (a base, a range, a store) its new self.
  Id value = kNoNode;
  Id wide = kNoNode;   // Of a weak float: the value computed in f64.
  Id index = kNoNode;  // Of a weak integer: the value as an index.
};

bool Is16Bit(DType dtype) {
  return ir::IsFloat(dtype) && ir::ByteSize(dtype) == 2;
}

bool IsComparison(Op op) {
  return (ir::InfoOf(op).traits & ir::kComparison) != 0;
}

class Binder {
 public:
  Binder(ir::Arena& arena, bool widens) : arena_(arena), widens_(widens) {}

  absl::StatusOr<Id> Run(Id sink) {
    forms_.resize(arena_.size());
    for (Id id : ir::TopologicalOrder(arena_, {sink})) {
      QUERN_ASSIGN_OR_RETURN(forms_[id], Bound(id));
    }
    return forms_[sink].value;
  }

 private:
  absl::StatusOr<Forms> Bound(Id id) {
    const ir::Node node = arena_[id];
    switch (node.op) {
      case Op::kConst:
        return Constant(id);
      case Op::kVar:
        return Index(id);
      case Op::kRange:
        return Index(ir::WithSources(arena_, id, {IndexOf(node.srcs[0])}));
      case Op::kParam:
        QUERN_RET_CHECK(!ir::IsWeak(node.dtype), "a parameter is weak");
        return Forms{.value = id};
      case Op::kConstArray:
        return Array(id);
      case Op::kLoad:
        return Load(id);
      case Op::kPrefetch:
        return Prefetch(id);
      case Op::kStore:
        return Store(id);
      case Op::kReduce:
        return Reduce(id);
      case Op::kStage:
        return Stage(id);
      case Op::kSink: {
        std::vector<Id> srcs;
        for (Id src : node.srcs) srcs.push_back(AsIs(src));
        return Forms{.value = ir::WithSources(arena_, id, srcs)};
      }
      case Op::kCast:
        return Cast(id);
      case Op::kBitcast: {
        const Id src = node.srcs[0];
        const Id exact = Exactly(src, ir::Strong(arena_[src].dtype));
        QUERN_RET_CHECK(!ir::IsWeak(node.dtype), "a bitcast to a weak type");
        return Value(ir::WithSources(arena_, id, {exact}));
      }
      default:
        break;
    }
    if (!ir::IsElementwise(node.op)) {
      return absl::InternalError(absl::StrCat(
          "bind: ", ir::Name(node.op), " is no operation of the kernel level"));
    }
    if (IsComparison(node.op)) return Comparison(id);
    return Elementwise(id);
  }

  // ------------------------------------------------------------ What is taken.

  Id IndexOf(Id src) const { return forms_[src].index; }

  // A range or a store, which are what they are.
  Id AsIs(Id src) const {
    const Forms& forms = forms_[src];
    return arena_[src].op == Op::kRange ? forms.index : forms.value;
  }

  // The value of `src` in `dtype`, which is strong.
  Id As(Id src, DType dtype) {
    const DType from = arena_[src].dtype;
    if (ir::IsWeak(from) && arena_.IsConst(src)) {
      return ir::IsFloat(dtype) ? Float(dtype, arena_.FloatValue(src))
                                : ConvertedInt(src, dtype);
    }
    if (from == DType::kWeakFloat && dtype == DType::kF64) {
      return forms_[src].wide;
    }
    return Converted(forms_[src].value, dtype);
  }

  // As above, rounded if `dtype` is a 16-bit float: what memory holds.
  Id Exactly(Id src, DType dtype) {
    if (!widens_ || !Is16Bit(dtype)) return As(src, dtype);
    const Id value = As(src, DType::kF32);
    if (arena_.IsConst(value)) return Float(dtype, arena_.FloatValue(value));
    if (arena_[value].op == Op::kCast &&
        arena_[arena_[value].srcs[0]].dtype == dtype) {
      return arena_[value].srcs[0];  // It was this before it was widened.
    }
    return Converted(value, dtype);
  }

  Id Converted(Id value, DType dtype) {
    if (arena_[value].dtype == dtype) return value;
    return arena_.Make(Op::kCast, dtype, {value});
  }

  Id Float(DType dtype, double value) {
    return arena_.FloatConst(dtype, ir::RoundTo(dtype, value));
  }

  // A weak constant as an integer or bool.
  Id ConvertedInt(Id id, DType dtype) {
    if (arena_[id].dtype == DType::kWeakFloat || dtype == DType::kBool) {
      return Converted(forms_[id].value, dtype);
    }
    return arena_.IntConst(dtype,
                           ir::Scalar::OfInt(dtype, arena_.IntValue(id)).bits);
  }

  // The dtype in which values of a strong `dtype` are computed.
  DType Computed(DType dtype) const {
    return widens_ && Is16Bit(dtype) ? DType::kF32 : dtype;
  }

  // ------------------------------------------------------------- What is made.

  // Forms of a strong value.
  Forms Value(Id id) {
    return {.value = Converted(id, Computed(arena_[id].dtype))};
  }

  // Forms of index arithmetic.
  Forms Index(Id id) {
    const Id value = arena_.IsConst(id)
                         ? arena_.IntConst(DType::kI64, arena_.IntValue(id))
                         : Converted(id, DType::kI64);
    return {.value = value, .index = id};
  }

  // Forms of an i64 that an address may need.
  Forms WeakInteger(Id value) {
    return {.value = value, .index = Converted(value, DType::kWeakInt)};
  }

  absl::StatusOr<Forms> Constant(Id id) {
    const DType dtype = arena_[id].dtype;
    if (dtype == DType::kWeakInt) return Index(id);
    if (!ir::IsFloat(dtype)) return Forms{.value = id};
    const double value = arena_.FloatValue(id);
    if (dtype == DType::kWeakFloat) {
      return Forms{.value = Float(DType::kF32, value),
                   .wide = Float(DType::kF64, value)};
    }
    // A constant of a 16-bit type has that type's precision.
    return Forms{.value = Float(Computed(dtype), ir::RoundTo(dtype, value))};
  }

  // Weak arrays, in the dtypes in which they may be read.
  absl::StatusOr<Forms> Array(Id id) {
    const ir::Node node = arena_[id];
    const auto in = [&](DType dtype) {
      ir::Attr attr = *node.attr;
      if (ir::IsFloat(dtype)) {
        for (int64_t& bits : attr.ints) {
          const ir::Scalar held = {DType::kF64, bits};
          bits = ir::Scalar::OfFloat(DType::kF64,
                                     ir::RoundTo(dtype, held.AsDouble()))
                     .bits;
        }
      }
      return arena_.Make(Op::kConstArray, dtype, {}, std::move(attr),
                         node.shape);
    };
    Forms forms = {.value = in(ir::Strong(node.dtype))};
    if (node.dtype == DType::kWeakFloat) forms.wide = in(DType::kF64);
    return forms;
  }

  absl::StatusOr<Forms> Load(Id id) {
    const ir::Node node = arena_[id];
    std::vector<Id> srcs = {kNoNode, IndexOf(node.srcs[1])};
    QUERN_RET_CHECK(srcs[1] != kNoNode, "the index of a load is no weak int");
    if (node.srcs.size() > 2) srcs.push_back(forms_[node.srcs[2]].value);
    const auto from = [&](Id base) {
      srcs[0] = base;
      return arena_.Make(Op::kLoad, arena_[base].dtype, srcs, *node.attr);
    };
    const Forms base = forms_[node.srcs[0]];
    const Forms forms = Value(from(base.value));
    if (node.dtype == DType::kWeakInt) return WeakInteger(forms.value);
    if (node.dtype != DType::kWeakFloat) return forms;
    return Forms{.value = forms.value,
                 .wide = base.wide != kNoNode
                             ? from(base.wide)
                             : Converted(forms.value, DType::kF64)};
  }

  absl::StatusOr<Forms> Prefetch(Id id) {
    const ir::Node node = arena_[id];
    const Id index = IndexOf(node.srcs[2]);
    QUERN_RET_CHECK(index != kNoNode, "the index of a prefetch is no weak int");
    QUERN_RET_CHECK(!ir::IsWeak(node.dtype), "a prefetch of a weak value");
    return Value(ir::WithSources(
        arena_, id,
        {forms_[node.srcs[0]].value, forms_[node.srcs[1]].value, index}));
  }

  absl::StatusOr<Forms> Store(Id id) {
    const ir::Node node = arena_[id];
    const Id base = forms_[node.srcs[0]].value;
    std::vector<Id> srcs = {base, IndexOf(node.srcs[1]),
                            Exactly(node.srcs[2], arena_[base].dtype)};
    QUERN_RET_CHECK(srcs[1] != kNoNode, "the index of a store is no weak int");
    if (node.srcs.size() > 3) srcs.push_back(forms_[node.srcs[3]].value);
    const DType dtype =
        ir::IsWeak(node.dtype) ? arena_[base].dtype : node.dtype;
    return Forms{.value = arena_.Make(Op::kStore, dtype, srcs, *node.attr)};
  }

  absl::StatusOr<Forms> Reduce(Id id) {
    const ir::Node node = arena_[id];
    std::vector<Id> srcs = {kNoNode};
    for (Id range : node.srcs.subspan(1)) srcs.push_back(IndexOf(range));
    const auto in = [&](DType dtype) {
      srcs[0] = As(node.srcs[0], dtype);
      return arena_.Make(Op::kReduce, dtype, srcs, *node.attr);
    };
    if (node.dtype == DType::kWeakInt) return WeakInteger(in(DType::kI64));
    if (node.dtype == DType::kWeakFloat) {
      return Forms{.value = in(DType::kF32), .wide = in(DType::kF64)};
    }
    return Forms{.value = in(Computed(node.dtype))};
  }

  // Memory: it keeps its dtype. Its operands after the value are indices.
  absl::StatusOr<Forms> Stage(Id id) {
    const ir::Node node = arena_[id];
    const DType dtype = ir::Strong(node.dtype);
    std::vector<Id> srcs = {Exactly(node.srcs[0], dtype)};
    for (Id src : node.srcs.subspan(1)) srcs.push_back(IndexOf(src));
    return Forms{.value = arena_.Make(Op::kStage, dtype, srcs, *node.attr)};
  }

  absl::StatusOr<Forms> Cast(Id id) {
    const ir::Node node = arena_[id];
    const Id src = node.srcs[0];
    const DType from = arena_[src].dtype;
    if (node.dtype == DType::kWeakInt) {
      if (from == DType::kWeakInt) return forms_[src];
      // The rounding of a float to an integer must not depend on the use.
      const Id value = Converted(forms_[src].value, DType::kI64);
      return WeakInteger(value);
    }
    if (node.dtype == DType::kWeakFloat) {
      return Forms{.value = As(src, DType::kF32), .wide = As(src, DType::kF64)};
    }
    // A cast to a 16-bit type rounds, whatever follows.
    if (Is16Bit(node.dtype)) {
      if (ir::IsWeak(from) && arena_.IsConst(src)) {
        const double value = ir::RoundTo(node.dtype, arena_.FloatValue(src));
        return Forms{.value = Float(Computed(node.dtype), value)};
      }
      return Value(Converted(forms_[src].value, node.dtype));
    }
    return Forms{.value = As(src, node.dtype)};
  }

  absl::StatusOr<Forms> Comparison(Id id) {
    const ir::Node node = arena_[id];
    const DType a = arena_[node.srcs[0]].dtype;
    const DType b = arena_[node.srcs[1]].dtype;
    std::vector<Id> srcs;
    if (a == DType::kWeakInt && b == DType::kWeakInt) {
      srcs = {IndexOf(node.srcs[0]), IndexOf(node.srcs[1])};
    } else {
      const DType common = Computed(ir::Strong(ir::Promote(a, b)));
      srcs = {As(node.srcs[0], common), As(node.srcs[1], common)};
    }
    return Forms{.value = ir::WithSources(arena_, id, srcs)};
  }

  absl::StatusOr<Forms> Elementwise(Id id) {
    const ir::Node node = arena_[id];
    const size_t first = node.op == Op::kWhere ? 1 : 0;
    std::vector<Id> srcs(node.srcs.begin(), node.srcs.end());
    if (first == 1) srcs[0] = forms_[node.srcs[0]].value;
    const auto in = [&](DType dtype) {
      for (size_t i = first; i < srcs.size(); ++i) {
        srcs[i] = As(node.srcs[i], dtype);
      }
      if (dtype == node.dtype) return ir::WithSources(arena_, id, srcs);
      return arena_.Make(node.op, dtype, srcs, *node.attr);
    };
    if (node.dtype == DType::kWeakInt) {
      const Id value = in(DType::kI64);
      for (size_t i = first; i < srcs.size(); ++i) {
        srcs[i] = IndexOf(node.srcs[i]);
        QUERN_RET_CHECK(srcs[i] != kNoNode, "an operand of a weak ",
                        ir::Name(node.op), " is no weak integer");
      }
      const Id index = ir::WithSources(arena_, id, srcs);
      if (ir::IsSymbolic(arena_, id)) return Index(index);
      return Forms{.value = value, .index = index};
    }
    if (node.dtype == DType::kWeakFloat) {
      const Id value = in(DType::kF32);
      return Forms{.value = value, .wide = in(DType::kF64)};
    }
    return Forms{.value = in(Computed(node.dtype))};
  }

  ir::Arena& arena_;
  const bool widens_;  // Computes on 16-bit floats in f32.
  std::vector<Forms> forms_;
};

}  // namespace

absl::StatusOr<Id> Bind(ir::Arena& arena, Id sink, const base::Target& target) {
  return Binder(arena, !target.interpreted).Run(sink);
}

}  // namespace quern::kernel
