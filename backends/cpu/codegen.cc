// SPDX-License-Identifier: Apache-2.0
//
// How the text is shaped, and why.
//
// Registers of the linear level are allocas of the entry block; LLVM's sroa
// makes phis of them. Loops are written already rotated (a guard, then a body
// that tests at its end), because the pass list has no loop-rotate and LICM
// hoists loads only out of such loops.
//
// An index is taken apart into sum(leaf * factor) + constant. The pointer is
// built from the outermost leaf to the innermost, so that LICM hoists a prefix,
// and the constant comes last, as a byte offset: instruction selection folds
// it into the addressing mode, and the accesses of an unrolled body share one
// pointer register.
//
// f16 and bf16 live in registers as their 16 bits. They are moved, and
// converted from and to f32; nothing computes with them.
#include "backends/cpu/codegen.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

#include "backends/cpu/isa.h"
#include "backends/cpu/jit.h"
#include "engine/base/status_macros.h"
#include "engine/ir/eval.h"

namespace quern::cpu {
namespace {

using ir::DType;
using ir::DTypeKind;
using ir::Op;
using kernel::Instruction;
using kernel::Program;

bool IsHalf(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16;
}

bool IsSigned(DType dtype) { return ir::KindOf(dtype) == DTypeKind::kSigned; }

// Bits of a lane in a register.
int Bits(DType dtype) {
  return dtype == DType::kBool ? 1 : static_cast<int>(8 * ir::ByteSize(dtype));
}

std::string IntType(int bits) { return absl::StrCat("i", bits); }

// The LLVM type of one lane.
std::string LaneType(DType dtype) {
  if (dtype == DType::kF32) return "float";
  if (dtype == DType::kF64) return "double";
  return IntType(Bits(dtype));
}

std::string Vector(const std::string& lane, int lanes) {
  return lanes == 1 ? lane : absl::StrCat("<", lanes, " x ", lane, ">");
}

std::string Splat(const std::string& lane, int lanes,
                  const std::string& literal) {
  return lanes == 1 ? literal
                    : absl::StrCat("splat (", lane, " ", literal, ")");
}

// The part of an intrinsic's name: "v16f32", "f32".
std::string Suffix(const std::string& lane, int lanes) {
  std::string name = lane;
  if (lane == "float") name = "f32";
  if (lane == "double") name = "f64";
  return lanes == 1 ? name : absl::StrCat("v", lanes, name);
}

// The literal of one lane of a constant; `bits` as in Instruction::imm.
std::string Literal(DType dtype, int64_t bits) {
  const double value = std::bit_cast<double>(bits);
  const auto hex = [](double v) {
    return absl::StrCat(
        "0x", absl::Hex(std::bit_cast<uint64_t>(v), absl::kZeroPad16));
  };
  switch (dtype) {
    case DType::kBool:
      return bits != 0 ? "true" : "false";
    case DType::kI8:
    case DType::kU8:
      return absl::StrCat(static_cast<int8_t>(bits));
    case DType::kI16:
    case DType::kU16:
      return absl::StrCat(static_cast<int16_t>(bits));
    case DType::kI32:
    case DType::kU32:
      return absl::StrCat(static_cast<int32_t>(bits));
    case DType::kF16:
    case DType::kBF16: {
      int16_t element = 0;
      ir::WriteElement(dtype, bits, &element);
      return absl::StrCat(element);
    }
    case DType::kF32:
      return hex(static_cast<float>(value));
    case DType::kF64:
      return hex(value);
    default:
      return absl::StrCat(bits);
  }
}

// An index as sum(leaf * factor) + constant, modulo 2^64.
struct Affine {
  std::map<int32_t, uint64_t> terms;  // Position of the leaf -> factor.
  uint64_t constant = 0;
};

class Renderer {
 public:
  Renderer(const Program& program, const base::Target& target, const Isa& isa)
      : program_(program),
        target_(target),
        isa_(isa),
        flags_(program.contract ? " contract " : " ") {}

  absl::StatusOr<std::string> Render() {
    const size_t count = program_.code.size();
    values_.resize(count);
    affine_.resize(count);
    depth_.resize(count);
    pointers_.emplace_back();
    for (at_ = 0; at_ < static_cast<int32_t>(count); ++at_) {
      depth_[at_] = DepthOf(program_.code[at_]);
      QUERN_RETURN_IF_ERROR(Emit(program_.code[at_]));
    }
    return Assembled();
  }

 private:
  // ------------------------------------------------------------ The frame.

  std::string Assembled() const {
    std::string text = absl::StrCat(
        "; kernel ", program_.name, "\n", "target triple = \"", isa_.triple,
        "\"\n\n", "@zero = private unnamed_addr constant i64 0, align 8\n");
    for (size_t t = 0; t < program_.tables.size(); ++t) {
      const kernel::Table& table = program_.tables[t];
      const std::string lane = MemoryLane(table.dtype);
      std::vector<std::string> items;
      for (const int64_t bits : table.bits) {
        std::string literal = Literal(table.dtype, bits);
        if (table.dtype == DType::kBool) literal = bits != 0 ? "1" : "0";
        items.push_back(absl::StrCat(lane, " ", literal));
      }
      absl::StrAppend(&text, "@table", t, " = private unnamed_addr constant [",
                      items.size(), " x ", lane, "] [",
                      absl::StrJoin(items, ", "), "], align 64\n");
    }
    absl::StrAppend(&text, "\ndefine void @", program_.name,
                    "(ptr noalias %buffers, ptr noalias %vars, "
                    "ptr noalias %scratch, i64 %begin, i64 %end) #0 {\n"
                    "entry:\n");
    for (size_t p = 0; p < program_.params.size(); ++p) {
      absl::StrAppend(&text, "  %slot", p,
                      " = getelementptr i8, ptr %buffers, ", "i64 ", 8 * p,
                      "\n  %p", p, " = load ptr, ptr %slot", p,
                      ", align 8, !invariant.load !0\n");
    }
    for (int v = 0; v < program_.num_vars; ++v) {
      absl::StrAppend(&text, "  %varslot", v,
                      " = getelementptr i8, ptr %vars, ", "i64 ", 8 * v,
                      "\n  %var", v, " = load i64, ptr %varslot", v,
                      ", align 8, !invariant.load !0\n");
    }
    absl::StrAppend(
        &text, allocas_,
        "  %some = icmp slt i64 %begin, %end\n"
        "  br i1 %some, label %chunks, label %done\n"
        "chunks:\n  br label %chunk\n"
        "chunk:\n"
        "  %grid = phi i64 [ %begin, %chunks ], [ %grid.next, %chunk.latch ]\n",
        body_,
        "  br label %chunk.latch\n"
        "chunk.latch:\n"
        "  %grid.next = add nsw i64 %grid, 1\n"
        "  %more = icmp slt i64 %grid.next, %end\n"
        "  br i1 %more, label %chunk, label %done\n"
        "done:\n");
    // Such stores of x86 are in no order with what tells that they are done.
    const bool fence = past_caches_ && isa_.arch == "x86_64";
    if (fence) text += "  call void @llvm.x86.sse.sfence()\n";
    absl::StrAppend(&text,
                    "  ret void\n}\n\nattributes #0 = { nofree norecurse ",
                    fence ? "" : "nosync ", "nounwind ",
                    "\"target-features\"=\"", isa_.features, "\"");
    if (target_.vector_bytes == 64) text += " \"prefer-vector-width\"=\"512\"";
    text += " }\n\n";
    AppendAliasScopes(text);
    return text;
  }

  // One alias scope for each param and one for the scratch. A written param
  // overlaps nothing; the scratch overlaps no param.
  void AppendAliasScopes(std::string& text) const {
    const size_t params = program_.params.size();
    const size_t scratch = params;
    absl::StrAppend(&text, "!0 = !{}\n!1 = distinct !{!1}\n");
    for (size_t s = 0; s <= scratch; ++s) {
      absl::StrAppend(&text, "!", ScopeId(s), " = distinct !{!", ScopeId(s),
                      ", !1}\n");
    }
    for (size_t s = 0; s <= scratch; ++s) {
      std::vector<std::string> others;
      const bool writes = s == scratch || program_.params[s].written;
      for (size_t o = 0; o <= scratch; ++o) {
        const bool written = o == scratch || program_.params[o].written;
        if (o != s && (writes || written)) {
          others.push_back(absl::StrCat("!", ScopeId(o)));
        }
      }
      absl::StrAppend(&text, "!", ScopeId(s) + 1, " = !{!", ScopeId(s), "}\n!",
                      ScopeId(s) + 2, " = !{", absl::StrJoin(others, ", "),
                      "}\n");
    }
    if (past_caches_) {
      absl::StrAppend(&text, "!", NontemporalId(), " = !{i32 1}\n");
    }
  }

  static size_t ScopeId(size_t scope) { return 2 + 3 * scope; }
  // Behind all scopes, of which the last is that of the scratch.
  size_t NontemporalId() const { return ScopeId(program_.params.size() + 1); }

  std::string Metadata(const Instruction& base) const {
    if (base.op == Op::kConstArray) return "";
    const size_t scope =
        base.op == Op::kParam ? base.imm : program_.params.size();
    return absl::StrCat(", !alias.scope !", ScopeId(scope) + 1, ", !noalias !",
                        ScopeId(scope) + 2);
  }

  // ---------------------------------------------------------- Small pieces.

  template <typename... Args>
  absl::Status Refuse(const Args&... args) const {
    return absl::InternalError(
        absl::StrCat("kernel ", program_.name, ": %", at_, " = ",
                     ir::Name(program_.code[at_].op), ": ", args...));
  }

  template <typename... Args>
  void Line(const Args&... args) {
    absl::StrAppend(&body_, "  ", args..., "\n");
  }
  void Label(const std::string& name) { absl::StrAppend(&body_, name, ":\n"); }

  // Emits `%tN = <args>` and returns the name.
  template <typename... Args>
  std::string Let(const Args&... args) {
    std::string name = absl::StrCat("%t", temporaries_++);
    Line(name, " = ", args...);
    return name;
  }

  const std::string& Value(const Instruction& i, int n) const {
    return values_[i.srcs[n]];
  }
  const Instruction& Source(const Instruction& i, int n) const {
    return program_.code[i.srcs[n]];
  }

  static std::string TypeOf(DType dtype, int lanes) {
    return Vector(LaneType(dtype), lanes);
  }
  static std::string TypeOf(const Instruction& i) {
    return TypeOf(i.dtype, i.lanes);
  }
  // A bool is a byte in memory.
  static std::string MemoryLane(DType dtype) {
    return dtype == DType::kBool ? "i8" : LaneType(dtype);
  }

  // An integer in all lanes of iBITS.
  static std::string Int(int bits, int lanes, int64_t value) {
    return Splat(IntType(bits), lanes, absl::StrCat(value));
  }

  std::string Intrinsic(const std::string& name, const std::string& type,
                        const std::string& arguments) {
    return Let("call ", type, " @llvm.", name, "(", arguments, ")");
  }

  bool IsConstant(int32_t n) const {
    const Instruction& i = program_.code[n];
    return i.op == Op::kConst || (i.op == Op::kSplat && IsConstant(i.srcs[0]));
  }
  int64_t ConstantOf(int32_t n) const {
    const Instruction& i = program_.code[n];
    return i.op == Op::kConst ? i.imm : ConstantOf(i.srcs[0]);
  }

  // ------------------------------------------------------------- Addresses.

  void NoteAffine(const Instruction& i) {
    if (i.dtype != DType::kI64 || i.lanes != 1) return;
    Affine& result = affine_[at_];
    const auto add = [&result](const Affine& other, uint64_t factor) {
      for (const auto& [leaf, f] : other.terms) {
        if ((result.terms[leaf] += f * factor) == 0) result.terms.erase(leaf);
      }
      result.constant += other.constant * factor;
    };
    const auto src = [&](int n) -> const Affine& { return affine_[i.srcs[n]]; };
    if (i.op == Op::kConst) {
      result.constant = static_cast<uint64_t>(i.imm);
    } else if (i.op == Op::kAdd || i.op == Op::kSub) {
      add(src(0), 1);
      add(src(1), i.op == Op::kAdd ? 1 : ~uint64_t{0});
    } else if (i.op == Op::kNeg) {
      add(src(0), ~uint64_t{0});
    } else if (i.op == Op::kMul && src(1).terms.empty()) {
      add(src(0), src(1).constant);
    } else if (i.op == Op::kMul && src(0).terms.empty()) {
      add(src(1), src(0).constant);
    } else if (i.op == Op::kShl && src(1).terms.empty() &&
               src(1).constant < 64) {
      add(src(0), uint64_t{1} << src(1).constant);
    } else {
      result.terms[at_] = 1;
    }
    constexpr size_t kMostTerms = 8;
    if (result.terms.size() > kMostTerms) {
      result = {};
      result.terms[at_] = 1;
    }
  }

  // The number of blocks in which the value of `i` may vary.
  int DepthOf(const Instruction& i) const {
    if (i.op == Op::kGrid) return 1;
    if (!ir::IsElementwise(i.op) && i.op != Op::kConst && i.op != Op::kVar) {
      return static_cast<int>(pointers_.size());
    }
    int depth = 0;
    for (const int32_t src : i.srcs) depth = std::max(depth, depth_[src]);
    return depth;
  }

  std::string BasePointer(const Instruction& i) const {
    const Instruction& base = Source(i, 0);
    if (base.op == Op::kParam) return absl::StrCat("%p", base.imm);
    if (base.op == Op::kConstArray) return absl::StrCat("@table", base.imm);
    return Value(i, 0);
  }

  // `rhs` as a pointer; the same text in an open block gives the same name.
  std::string Pointer(const std::string& rhs) {
    for (const auto& open : pointers_) {
      if (const auto it = open.find(rhs); it != open.end()) return it->second;
    }
    return pointers_.back()[rhs] = Let(rhs);
  }

  // The pointer of the access `i`; a vector of them if the index is a vector.
  std::string Address(const Instruction& i) {
    const std::string lane = MemoryLane(i.dtype);
    std::string pointer = BasePointer(i);
    const Instruction& index = Source(i, 1);
    if (index.lanes > 1) {
      return Let("getelementptr ", lane, ", ptr ", pointer, ", ", TypeOf(index),
                 " ", Value(i, 1));
    }
    const Affine& affine = affine_[i.srcs[1]];
    std::vector<std::pair<int32_t, uint64_t>> terms(affine.terms.begin(),
                                                    affine.terms.end());
    std::sort(terms.begin(), terms.end(), [this](const auto& a, const auto& b) {
      return std::pair(depth_[a.first], a.first) <
             std::pair(depth_[b.first], b.first);
    });
    for (const auto& [leaf, factor] : terms) {
      std::string offset = values_[leaf];
      if (factor != 1) {
        offset = Pointer(absl::StrCat("mul i64 ", offset, ", ",
                                      static_cast<int64_t>(factor)));
      }
      pointer = Pointer(absl::StrCat("getelementptr ", lane, ", ptr ", pointer,
                                     ", i64 ", offset));
    }
    const uint64_t bytes = affine.constant * ir::ByteSize(i.dtype);
    if (bytes == 0) return pointer;
    return Pointer(absl::StrCat("getelementptr i8, ptr ", pointer, ", i64 ",
                                static_cast<int64_t>(bytes)));
  }

  static std::string Align(DType dtype) {
    return absl::StrCat(ir::ByteSize(dtype));
  }

  void EmitLoad(const Instruction& i) {
    const std::string lane = MemoryLane(i.dtype);
    const std::string type = Vector(lane, i.lanes);
    const std::string metadata = Metadata(Source(i, 0));
    const bool masked = i.srcs.size() == 3;
    const bool gather = Source(i, 1).lanes > 1;
    std::string pointer = Address(i);
    std::string result;
    if (i.imm == 2) {
      result = EverySecond(i, pointer, metadata);
    } else if (i.lanes == 1 && !gather) {
      if (masked) {
        // Reads zeros instead: no branch, and the value is already 0.
        pointer =
            Let("select i1 ", Value(i, 2), ", ptr ", pointer, ", ptr @zero");
      }
      result = Let("load ", type, ", ptr ", pointer, ", align ", Align(i.dtype),
                   metadata);
    } else if (!gather && !masked) {
      result = Let("load ", type, ", ptr ", pointer, ", align ", Align(i.dtype),
                   metadata);
    } else {
      const std::string mask =
          absl::StrCat(Vector("i1", i.lanes), " ",
                       masked ? Value(i, 2) : Splat("i1", i.lanes, "true"));
      const std::string name =
          gather ? absl::StrCat("masked.gather.", Suffix(lane, i.lanes), ".v",
                                i.lanes, "p0")
                 : absl::StrCat("masked.load.", Suffix(lane, i.lanes), ".p0");
      result = Let("call ", type, " @llvm.", name, "(",
                   Vector("ptr", gather ? i.lanes : 1), " ", pointer, ", i32 ",
                   Align(i.dtype), ", ", mask, ", ", type, " zeroinitializer)",
                   metadata);
    }
    if (i.dtype == DType::kBool) {
      result = Let("icmp ne ", type, " ", result, ", ", Int(8, i.lanes, 0));
    }
    values_[at_] = result;
  }

  // A load of every second element: two loads of neighbours that end with the
  // last element wanted, and their even and odd lanes put together. Far
  // cheaper than a gather, and nothing outside is touched.
  std::string EverySecond(const Instruction& i, const std::string& pointer,
                          const std::string& metadata) {
    const std::string lane = MemoryLane(i.dtype);
    const std::string type = Vector(lane, i.lanes);
    const std::string mask_type = Vector("i1", i.lanes);
    const bool masked = i.srcs.size() == 3;
    const int lanes = i.lanes;
    // Lane j of half h holds element h * (lanes - 1) + j.
    const auto load = [&](int half) {
      const std::string at = half == 0 ? pointer
                                       : Let("getelementptr ", lane, ", ptr ",
                                             pointer, ", i64 ", lanes - 1);
      if (!masked) {
        return Let("load ", type, ", ptr ", at, ", align ", Align(i.dtype),
                   metadata);
      }
      std::string spread;
      for (int j = 0; j < lanes; ++j) {
        const int element = half * (lanes - 1) + j;
        const int wanted = element % 2 == 0 ? element / 2 : lanes;
        absl::StrAppend(&spread, j == 0 ? "" : ", ", "i32 ", wanted);
      }
      const std::string mask =
          Let("shufflevector ", mask_type, " ", Value(i, 2), ", ", mask_type,
              " zeroinitializer, <", lanes, " x i32> <", spread, ">");
      return Let("call ", type, " @llvm.masked.load.", Suffix(lane, lanes),
                 ".p0(ptr ", at, ", i32 ", Align(i.dtype), ", ", mask_type, " ",
                 mask, ", ", type, " zeroinitializer)", metadata);
    };
    const std::string low = load(0);
    const std::string high = load(1);
    std::string picked;
    for (int l = 0; l < lanes; ++l) {
      const int from = l < lanes / 2 ? 2 * l : 2 * l + 1;
      absl::StrAppend(&picked, l == 0 ? "" : ", ", "i32 ", from);
    }
    return Let("shufflevector ", type, " ", low, ", ", type, " ", high, ", <",
               lanes, " x i32> <", picked, ">");
  }

  void EmitStore(const Instruction& i) {
    const std::string lane = MemoryLane(i.dtype);
    const std::string type = Vector(lane, i.lanes);
    const std::string metadata = Metadata(Source(i, 0));
    const bool masked = i.srcs.size() == 4;
    const bool scatter = Source(i, 1).lanes > 1;
    const std::string pointer = Address(i);
    std::string value = Value(i, 2);
    if (i.dtype == DType::kBool) {
      value = Let("zext ", Vector("i1", i.lanes), " ", value, " to ", type);
    }
    if (i.lanes == 1 && !scatter && masked) {
      const std::string then = absl::StrCat("store", at_);
      const std::string after = absl::StrCat("stored", at_);
      Line("br i1 ", Value(i, 3), ", label %", then, ", label %", after);
      Label(then);
      Line("store ", type, " ", value, ", ptr ", pointer, ", align ",
           Align(i.dtype), metadata);
      Line("br label %", after);
      Label(after);
    } else if (!scatter && !masked) {
      const std::string store = absl::StrCat("store ", type, " ", value,
                                             ", ptr ", pointer, ", align ");
      const std::string ordinary =
          absl::StrCat(store, Align(i.dtype), metadata);
      const int64_t bytes = i.lanes * ir::ByteSize(i.dtype);
      if (i.imm == 1 && IsWholeVector(bytes)) {
        StorePastCaches(pointer, bytes, absl::StrCat(store, bytes, metadata),
                        ordinary);
      } else {
        Line(ordinary);
      }
    } else {
      const std::string mask =
          absl::StrCat(Vector("i1", i.lanes), " ",
                       masked ? Value(i, 3) : Splat("i1", i.lanes, "true"));
      const std::string name =
          scatter ? absl::StrCat("masked.scatter.", Suffix(lane, i.lanes), ".v",
                                 i.lanes, "p0")
                  : absl::StrCat("masked.store.", Suffix(lane, i.lanes), ".p0");
      Line("call void @llvm.", name, "(", type, " ", value, ", ",
           Vector("ptr", scatter ? i.lanes : 1), " ", pointer, ", i32 ",
           Align(i.dtype), ", ", mask, ")", metadata);
    }
  }

  // True if one instruction stores so many bytes at an address that is a
  // multiple of them.
  bool IsWholeVector(int64_t bytes) const {
    return bytes >= 16 && bytes <= target_.vector_bytes &&
           (bytes & (bytes - 1)) == 0;
  }

  // Where the `bytes` at `pointer` are a whole vector of memory, stores them
  // without a read of their line, by `aligned`; else by `ordinary`.
  void StorePastCaches(const std::string& pointer, int64_t bytes,
                       const std::string& aligned,
                       const std::string& ordinary) {
    const std::string address = Let("ptrtoint ptr ", pointer, " to i64");
    const std::string offset = Let("and i64 ", address, ", ", bytes - 1);
    const std::string is_aligned = Let("icmp eq i64 ", offset, ", 0");
    const std::string past = absl::StrCat("past", at_);
    const std::string through = absl::StrCat("through", at_);
    const std::string after = absl::StrCat("stored", at_);
    Line("br i1 ", is_aligned, ", label %", past, ", label %", through);
    Label(past);
    Line(aligned, ", !nontemporal !", NontemporalId());
    Line("br label %", after);
    Label(through);
    Line(ordinary);
    Line("br label %", after);
    Label(after);
    past_caches_ = true;
  }

  // ----------------------------------------------------------- Conversions.

  // The f32 bits (i32) nearest to a f64, where an inexact result gets an odd
  // last bit: rounding it once more to 16 bits rounds as if only once.
  std::string OddF32Bits(int lanes, const std::string& value) {
    const std::string f64 = Vector("double", lanes);
    const std::string f32 = Vector("float", lanes);
    const std::string i32 = Vector("i32", lanes);
    const std::string i1 = Vector("i1", lanes);
    const std::string fabs = absl::StrCat("fabs.", Suffix("double", lanes));
    const std::string near = Let("fptrunc ", f64, " ", value, " to ", f32);
    const std::string back = Let("fpext ", f32, " ", near, " to ", f64);
    const std::string inexact = Let("fcmp one ", f64, " ", back, ", ", value);
    const std::string far =
        Let("fcmp ogt ", f64, " ",
            Intrinsic(fabs, f64, absl::StrCat(f64, " ", back)), ", ",
            Intrinsic(fabs, f64, absl::StrCat(f64, " ", value)));
    const std::string bits = Let("bitcast ", f32, " ", near, " to ", i32);
    const std::string one = Let("zext ", i1, " ", far, " to ", i32);
    const std::string toward = Let("sub ", i32, " ", bits, ", ", one);
    const std::string odd = Let("zext ", i1, " ", inexact, " to ", i32);
    return Let("or ", i32, " ", toward, ", ", odd);
  }

  // f32 bits (i32) -> f16 bits (i16), to nearest even. Method: F. Giesen,
  // "float->half variants", float_to_half_fast3_rtne; a NaN keeps the upper
  // part of its payload and becomes quiet, as vcvtps2ph does it.
  std::string F16FromBits(int lanes, const std::string& bits) {
    const std::string i32 = Vector("i32", lanes);
    const std::string i1 = Vector("i1", lanes);
    const std::string f32 = Vector("float", lanes);
    const auto op = [&](const char* name, const std::string& a, int64_t b) {
      return Let(name, " ", i32, " ", a, ", ", Int(32, lanes, b));
    };
    const auto select = [&](const std::string& c, const std::string& a,
                            const std::string& b) {
      return Let("select ", i1, " ", c, ", ", i32, " ", a, ", ", i32, " ", b);
    };
    const std::string magnitude = op("and", bits, 0x7fffffff);
    const std::string sign = op("and", op("lshr", bits, 16), 0x8000);
    const std::string payload = op("and", op("lshr", magnitude, 13), 0x3ff);
    const std::string nan = op("or", payload, 0x7e00);
    const std::string is_nan = op("icmp ugt", magnitude, 0x7f800000);
    const std::string big = select(is_nan, nan, Int(32, lanes, 0x7c00));
    // Adding 0.5 moves the bits of a result below 2^-14 to the end of the
    // mantissa and rounds them there.
    const std::string half = Splat("float", lanes, "0x3FE0000000000000");
    const std::string sum =
        Let("fadd ", f32, " ",
            Let("bitcast ", i32, " ", magnitude, " to ", f32), ", ", half);
    const std::string tiny =
        op("sub", Let("bitcast ", f32, " ", sum, " to ", i32), 0x3f000000);
    const std::string odd = op("and", op("lshr", magnitude, 13), 1);
    const std::string biased =
        op("add", magnitude, (int64_t{15 - 127} << 23) + 0xfff);
    const std::string usual =
        op("lshr", Let("add ", i32, " ", biased, ", ", odd), 13);
    const std::string is_tiny = op("icmp ult", magnitude, 113 << 23);
    const std::string is_big = op("icmp uge", magnitude, 143 << 23);
    const std::string result =
        select(is_big, big, select(is_tiny, tiny, usual));
    const std::string whole = Let("or ", i32, " ", result, ", ", sign);
    return Let("trunc ", i32, " ", whole, " to ", Vector("i16", lanes));
  }

  // f32 bits (i32) -> bf16 bits (i16), to nearest even; a NaN becomes quiet.
  std::string BF16FromBits(int lanes, const std::string& bits) {
    const std::string i32 = Vector("i32", lanes);
    const auto op = [&](const char* name, const std::string& a, int64_t b) {
      return Let(name, " ", i32, " ", a, ", ", Int(32, lanes, b));
    };
    const std::string top = op("lshr", bits, 16);
    const std::string odd = op("and", top, 1);
    const std::string bias = op("add", odd, 0x7fff);
    const std::string rounded =
        op("lshr", Let("add ", i32, " ", bits, ", ", bias), 16);
    const std::string is_nan =
        op("icmp ugt", op("and", bits, 0x7fffffff), 0x7f800000);
    const std::string quiet = op("or", top, 0x40);
    const std::string result =
        Let("select ", Vector("i1", lanes), " ", is_nan, ", ", i32, " ", quiet,
            ", ", i32, " ", rounded);
    return Let("trunc ", i32, " ", result, " to ", Vector("i16", lanes));
  }

  // f16 or bf16 bits (i16) -> f32.
  std::string F32FromHalf(DType from, int lanes, const std::string& value) {
    const std::string i16 = Vector("i16", lanes);
    const std::string i32 = Vector("i32", lanes);
    const std::string f32 = Vector("float", lanes);
    if (from == DType::kF16 && target_.f16_conversion) {
      const std::string half = Vector("half", lanes);
      return Let("fpext ", half, " ",
                 Let("bitcast ", i16, " ", value, " to ", half), " to ", f32);
    }
    const std::string wide = Let("zext ", i16, " ", value, " to ", i32);
    const auto op = [&](const char* name, const std::string& a, int64_t b) {
      return Let(name, " ", i32, " ", a, ", ", Int(32, lanes, b));
    };
    if (from == DType::kBF16) {
      return Let("bitcast ", i32, " ", op("shl", wide, 16), " to ", f32);
    }
    // Method: F. Giesen, "half_to_float"; a NaN becomes quiet.
    const auto select = [&](const std::string& c, const std::string& a,
                            const std::string& b) {
      return Let("select ", Vector("i1", lanes), " ", c, ", ", i32, " ", a,
                 ", ", i32, " ", b);
    };
    const std::string shifted = op("shl", op("and", wide, 0x7fff), 13);
    const std::string exponent = op("and", shifted, 0x7c00 << 13);
    const std::string usual = op("add", shifted, (127 - 15) << 23);
    const std::string top = op("add", usual, (128 - 16) << 23);
    const std::string is_nan = op("icmp ugt", shifted, 0x7c00 << 13);
    const std::string special = select(is_nan, op("or", top, 1 << 22), top);
    const std::string magic = Splat("float", lanes, "0x3F10000000000000");
    const std::string raised =
        Let("bitcast ", i32, " ", op("add", usual, 1 << 23), " to ", f32);
    const std::string tiny =
        Let("bitcast ", f32, " ", Let("fsub ", f32, " ", raised, ", ", magic),
            " to ", i32);
    const std::string is_tiny = op("icmp eq", exponent, 0);
    const std::string is_special = op("icmp eq", exponent, 0x7c00 << 13);
    const std::string magnitude =
        select(is_special, special, select(is_tiny, tiny, usual));
    const std::string sign = op("shl", op("and", wide, 0x8000), 16);
    return Let("bitcast ", i32, " ",
               Let("or ", i32, " ", magnitude, ", ", sign), " to ", f32);
  }

  // f32 or f64 -> f16 or bf16 bits (i16), rounded once.
  std::string HalfFromFloat(DType from, DType to, int lanes,
                            const std::string& value) {
    const std::string i32 = Vector("i32", lanes);
    const std::string f32 = Vector("float", lanes);
    std::string bits;
    if (from == DType::kF64) bits = OddF32Bits(lanes, value);
    if (to == DType::kF16 && target_.f16_conversion) {
      const std::string half = Vector("half", lanes);
      const std::string single =
          bits.empty() ? value : Let("bitcast ", i32, " ", bits, " to ", f32);
      return Let("bitcast ", half, " ",
                 Let("fptrunc ", f32, " ", single, " to ", half), " to ",
                 Vector("i16", lanes));
    }
    if (bits.empty()) bits = Let("bitcast ", f32, " ", value, " to ", i32);
    return to == DType::kF16 ? F16FromBits(lanes, bits)
                             : BF16FromBits(lanes, bits);
  }

  // An integer or bool -> f32 or f64.
  std::string FloatFromInt(DType from, DType to, int lanes,
                           const std::string& value) {
    return Let(IsSigned(from) ? "sitofp " : "uitofp ", TypeOf(from, lanes), " ",
               value, " to ", TypeOf(to, lanes));
  }

  // An integer or bool -> f16 or bf16, rounded once.
  std::string HalfFromInt(DType from, DType to, int lanes,
                          const std::string& value) {
    // f32 holds every integer that is finite in f16; above, both round to
    // infinity.
    if (to == DType::kF16 || Bits(from) <= 16) {
      return HalfFromFloat(DType::kF32, to, lanes,
                           FloatFromInt(from, DType::kF32, lanes, value));
    }
    std::string exact = value;
    if (Bits(from) == 64) {
      // f64 does not hold 64 bits. Beyond 2^53 the last 11 bits shrink to one
      // that says whether any was set, which is all that rounding asks.
      const std::string i64 = Vector("i64", lanes);
      const auto op = [&](const char* name, const std::string& a, int64_t b) {
        return Let(name, " ", i64, " ", a, ", ", Int(64, lanes, b));
      };
      const std::string low = op("icmp ne", op("and", value, 0x7ff), 0);
      const std::string sticky =
          Let("select ", Vector("i1", lanes), " ", low, ", ", i64, " ",
              Int(64, lanes, 0x800), ", ", i64, " ", Int(64, lanes, 0));
      const std::string kept = op("and", value, ~int64_t{0x7ff});
      const std::string odd = Let("or ", i64, " ", kept, ", ", sticky);
      std::string large;
      if (IsSigned(from)) {
        const std::string moved = op("add", value, int64_t{1} << 53);
        large = op("icmp ugt", moved, int64_t{1} << 54);
      } else {
        large = op("icmp ugt", value, int64_t{1} << 53);
      }
      exact = Let("select ", Vector("i1", lanes), " ", large, ", ", i64, " ",
                  odd, ", ", i64, " ", value);
    }
    return HalfFromFloat(DType::kF64, to, lanes,
                         FloatFromInt(from, DType::kF64, lanes, exact));
  }

  std::string Cast(DType from, DType to, int lanes, const std::string& value) {
    if (from == to) return value;
    const std::string source = TypeOf(from, lanes);
    const std::string result = TypeOf(to, lanes);
    if (to == DType::kBool) {
      if (IsHalf(from)) {
        const std::string magnitude =
            Let("and ", source, " ", value, ", ", Int(16, lanes, 0x7fff));
        return Let("icmp ne ", source, " ", magnitude, ", ", Int(16, lanes, 0));
      }
      if (ir::IsFloat(from)) {
        return Let("fcmp une ", source, " ", value, ", ",
                   Splat(LaneType(from), lanes, Literal(from, 0)));
      }
      return Let("icmp ne ", source, " ", value, ", ",
                 Int(Bits(from), lanes, 0));
    }
    if (ir::IsFloat(from) && ir::IsFloat(to)) {
      if (IsHalf(from)) {
        const std::string single = F32FromHalf(from, lanes, value);
        return Cast(DType::kF32, to, lanes, single);
      }
      if (IsHalf(to)) return HalfFromFloat(from, to, lanes, value);
      return Let(to == DType::kF64 ? "fpext " : "fptrunc ", source, " ", value,
                 " to ", result);
    }
    if (ir::IsFloat(from)) {
      if (IsHalf(from)) {
        return Cast(DType::kF32, to, lanes, F32FromHalf(from, lanes, value));
      }
      return Intrinsic(absl::StrCat(IsSigned(to) ? "fptosi" : "fptoui", ".sat.",
                                    Suffix(LaneType(to), lanes), ".",
                                    Suffix(LaneType(from), lanes)),
                       result, absl::StrCat(source, " ", value));
    }
    if (ir::IsFloat(to)) {
      return IsHalf(to) ? HalfFromInt(from, to, lanes, value)
                        : FloatFromInt(from, to, lanes, value);
    }
    if (Bits(from) == Bits(to)) return value;
    const char* name = Bits(from) > Bits(to) ? "trunc "
                       : IsSigned(from)      ? "sext "
                                             : "zext ";
    return Let(name, source, " ", value, " to ", result);
  }

  std::string Bitcast(DType from, DType to, int lanes,
                      const std::string& value) {
    const std::string source = TypeOf(from, lanes);
    const std::string result = TypeOf(to, lanes);
    if (source == result) return value;
    if (from == DType::kBool) {
      return Let("zext ", source, " ", value, " to ", result);
    }
    if (to == DType::kBool) {
      return Let("icmp ne ", source, " ", value, ", ", Int(8, lanes, 0));
    }
    return Let("bitcast ", source, " ", value, " to ", result);
  }

  // ------------------------------------------------------------ Arithmetic.

  // Operations that are one LLVM instruction on floats and one on integers.
  std::string Binary(const char* on_floats, const char* on_integers,
                     DType dtype, int lanes, const std::string& a,
                     const std::string& b) {
    if (ir::IsFloat(dtype)) {
      return Let(on_floats, flags_, TypeOf(dtype, lanes), " ", a, ", ", b);
    }
    return Let(on_integers, " ", TypeOf(dtype, lanes), " ", a, ", ", b);
  }

  // The greater or lesser. On floats `compare(a, b) ? a : b` is one maxps or
  // minps and gives b if either is NaN; so only a NaN in a needs a fix, and
  // none if a is known not to be one.
  std::string Extreme(bool greater, DType dtype, int lanes,
                      const std::string& a, const std::string& b,
                      bool a_is_number) {
    const std::string type = TypeOf(dtype, lanes);
    const std::string i1 = Vector("i1", lanes);
    if (dtype == DType::kBool) {
      return Let(greater ? "or " : "and ", type, " ", a, ", ", b);
    }
    if (!ir::IsFloat(dtype)) {
      const char* name = IsSigned(dtype) ? (greater ? "smax." : "smin.")
                                         : (greater ? "umax." : "umin.");
      return Intrinsic(absl::StrCat(name, Suffix(LaneType(dtype), lanes)), type,
                       absl::StrCat(type, " ", a, ", ", type, " ", b));
    }
    const std::string first =
        Let("fcmp ", greater ? "ogt " : "olt ", type, " ", a, ", ", b);
    const std::string extreme =
        Let("select ", i1, " ", first, ", ", type, " ", a, ", ", type, " ", b);
    if (a_is_number) return extreme;
    const std::string is_nan = Let("fcmp uno ", type, " ", a, ", ", a);
    return Let("select ", i1, " ", is_nan, ", ", type, " ", a, ", ", type, " ",
               extreme);
  }

  bool IsNumber(int32_t n) const {
    return IsConstant(n) && !std::isnan(std::bit_cast<double>(ConstantOf(n)));
  }

  // Division that no operand makes trap.
  std::string Divide(const Instruction& i) {
    const bool division = i.op == Op::kIDiv;
    const std::string type = TypeOf(i);
    const std::string i1 = Vector("i1", i.lanes);
    const int bits = Bits(i.dtype);
    const std::string& x = Value(i, 0);
    const std::string& y = Value(i, 1);
    const bool is_signed = IsSigned(i.dtype);
    const char* name = division ? (is_signed ? "sdiv " : "udiv ")
                                : (is_signed ? "srem " : "urem ");
    if (IsConstant(i.srcs[1])) {
      // By the bits that the dtype keeps, not by those of the immediate.
      const uint64_t mask = ~uint64_t{0} >> (64 - bits);
      const uint64_t divisor = ConstantOf(i.srcs[1]) & mask;
      if (divisor != 0 && (divisor != mask || !is_signed)) {
        return Let(name, type, " ", x, ", ", y);
      }
    }
    const std::string zero = Int(bits, i.lanes, 0);
    const std::string one = Int(bits, i.lanes, 1);
    const auto select = [&](const std::string& c, const std::string& a,
                            const std::string& b) {
      return Let("select ", i1, " ", c, ", ", type, " ", a, ", ", type, " ", b);
    };
    const std::string by_zero = Let("icmp eq ", type, " ", y, ", ", zero);
    std::string divisor = select(by_zero, one, y);
    std::string negated;
    std::string by_minus_one;
    if (is_signed) {
      // The least integer divided by -1 traps; 0 - x is what it wraps to.
      by_minus_one =
          Let("icmp eq ", type, " ", y, ", ", Int(bits, i.lanes, -1));
      divisor = select(by_minus_one, one, divisor);
      negated = division ? Let("sub ", type, " ", zero, ", ", x) : zero;
    }
    std::string result = Let(name, type, " ", x, ", ", divisor);
    if (is_signed) result = select(by_minus_one, negated, result);
    return select(by_zero, zero, result);
  }

  std::string Shift(const Instruction& i) {
    const std::string type = TypeOf(i);
    const std::string i1 = Vector("i1", i.lanes);
    const int bits = Bits(i.dtype);
    const std::string& x = Value(i, 0);
    const std::string& y = Value(i, 1);
    const std::string inside =
        Let("icmp ult ", type, " ", y, ", ", Int(bits, i.lanes, bits));
    const auto select = [&](const std::string& a, const std::string& b) {
      return Let("select ", i1, " ", inside, ", ", type, " ", a, ", ", type,
                 " ", b);
    };
    if (i.op == Op::kShr && IsSigned(i.dtype)) {
      const std::string by = select(y, Int(bits, i.lanes, bits - 1));
      return Let("ashr ", type, " ", x, ", ", by);
    }
    const std::string by = select(y, Int(bits, i.lanes, 0));
    const std::string shifted =
        Let(i.op == Op::kShl ? "shl " : "lshr ", type, " ", x, ", ", by);
    return select(shifted, Int(bits, i.lanes, 0));
  }

  std::string Compare(const Instruction& i) {
    const Instruction& source = Source(i, 0);
    const DType dtype = source.dtype;
    const char* how = nullptr;
    if (ir::IsFloat(dtype)) {
      how = i.op == Op::kCmpLt   ? "fcmp olt "
            : i.op == Op::kCmpEq ? "fcmp oeq "
                                 : "fcmp une ";
    } else if (i.op == Op::kCmpLt) {
      how = IsSigned(dtype) ? "icmp slt " : "icmp ult ";
    } else {
      how = i.op == Op::kCmpEq ? "icmp eq " : "icmp ne ";
    }
    return Let(how, TypeOf(source), " ", Value(i, 0), ", ", Value(i, 1));
  }

  // `op` is one of add, mul, max, min.
  std::string Combine(Op op, DType dtype, int lanes, const std::string& a,
                      const std::string& b) {
    switch (op) {
      case Op::kAdd:
        return Binary("fadd", "add", dtype, lanes, a, b);
      case Op::kMul:
        return Binary("fmul", "mul", dtype, lanes, a, b);
      default:
        return Extreme(op == Op::kMax, dtype, lanes, a, b, false);
    }
  }

  std::string ReduceLanes(const Instruction& i) {
    int lanes = Source(i, 0).lanes;
    std::string value = Value(i, 0);
    if (lanes == 1) return value;
    while (lanes > 1) {
      const std::string type = TypeOf(i.dtype, lanes);
      const auto half = [&](int first) {
        std::vector<std::string> picks;
        for (int l = 0; l < lanes / 2; ++l) {
          picks.push_back(absl::StrCat("i32 ", first + l));
        }
        return Let("shufflevector ", type, " ", value, ", ", type, " poison, <",
                   lanes / 2, " x i32> <", absl::StrJoin(picks, ", "), ">");
      };
      std::string low = half(0);
      std::string high = half(lanes / 2);
      lanes /= 2;
      if (lanes == 1) {
        // A vector of one lane: from here on a scalar.
        const std::string one = absl::StrCat("<1 x ", LaneType(i.dtype), "> ");
        low = Let("extractelement ", one, low, ", i32 0");
        high = Let("extractelement ", one, high, ", i32 0");
      }
      value = Combine(static_cast<Op>(i.imm), i.dtype, lanes, low, high);
    }
    return value;
  }

  absl::Status EmitElementwise(const Instruction& i) {
    const std::string type = TypeOf(i);
    const bool moves =
        i.op == Op::kWhere || i.op == Op::kCast || i.op == Op::kBitcast;
    const DType operand = Source(i, i.op == Op::kWhere ? 1 : 0).dtype;
    if (!moves && IsHalf(operand)) {
      return Refuse("computes in ", ir::Name(operand),
                    ", which is to be done in f32");
    }
    std::string& result = values_[at_];
    switch (i.op) {
      case Op::kAdd:
      case Op::kMul:
        result = Combine(i.op, i.dtype, i.lanes, Value(i, 0), Value(i, 1));
        return absl::OkStatus();
      case Op::kSub:
        result =
            Binary("fsub", "sub", i.dtype, i.lanes, Value(i, 0), Value(i, 1));
        return absl::OkStatus();
      case Op::kDiv:
        result = Let("fdiv ", type, " ", Value(i, 0), ", ", Value(i, 1));
        return absl::OkStatus();
      case Op::kIDiv:
      case Op::kMod:
        result = Divide(i);
        return absl::OkStatus();
      case Op::kMax:
      case Op::kMin: {
        const bool swap = IsNumber(i.srcs[1]);
        result =
            Extreme(i.op == Op::kMax, i.dtype, i.lanes, Value(i, swap ? 1 : 0),
                    Value(i, swap ? 0 : 1), swap || IsNumber(i.srcs[0]));
        return absl::OkStatus();
      }
      case Op::kCmpLt:
      case Op::kCmpEq:
      case Op::kCmpNe:
        result = Compare(i);
        return absl::OkStatus();
      case Op::kAnd:
      case Op::kOr:
      case Op::kXor:
        result =
            Let(ir::Name(i.op), " ", type, " ", Value(i, 0), ", ", Value(i, 1));
        return absl::OkStatus();
      case Op::kShl:
      case Op::kShr:
        result = Shift(i);
        return absl::OkStatus();
      case Op::kWhere:
        result = Let("select ", Vector("i1", i.lanes), " ", Value(i, 0), ", ",
                     type, " ", Value(i, 1), ", ", type, " ", Value(i, 2));
        return absl::OkStatus();
      case Op::kNeg:
        result =
            ir::IsFloat(i.dtype)
                ? Let("fneg ", type, " ", Value(i, 0))
                : Let("sub ", type, " ",
                      Splat(LaneType(i.dtype), i.lanes, Literal(i.dtype, 0)),
                      ", ", Value(i, 0));
        return absl::OkStatus();
      case Op::kSqrt:
      case Op::kTrunc:
        result = Intrinsic(absl::StrCat(ir::Name(i.op), ".",
                                        Suffix(LaneType(i.dtype), i.lanes)),
                           type, absl::StrCat(type, " ", Value(i, 0)));
        return absl::OkStatus();
      case Op::kFma:
        // Of f64 it is the C library's where there is no instruction.
        if (!target_.fused_multiply_add && i.dtype != DType::kF64) {
          return Refuse("the target has no fused multiply-add");
        }
        result = Intrinsic(
            absl::StrCat("fma.", Suffix(LaneType(i.dtype), i.lanes)), type,
            absl::StrCat(type, " ", Value(i, 0), ", ", type, " ", Value(i, 1),
                         ", ", type, " ", Value(i, 2)));
        return absl::OkStatus();
      case Op::kCast:
        result = Cast(operand, i.dtype, i.lanes, Value(i, 0));
        return absl::OkStatus();
      case Op::kBitcast:
        result = Bitcast(operand, i.dtype, i.lanes, Value(i, 0));
        return absl::OkStatus();
      default:
        return Refuse("is to be decomposed before it reaches a CPU");
    }
  }

  // ------------------------------------------------------------- Structure.

  void EmitLoop(const Instruction& i) {
    const std::string n = absl::StrCat(at_);
    const std::string guard =
        Let("icmp slt i64 ", Value(i, 0), ", ", Value(i, 1));
    Line("br i1 ", guard, ", label %loop", n, ".pre, label %loop", n, ".end");
    Label(absl::StrCat("loop", n, ".pre"));
    Line("br label %loop", n);
    Label(absl::StrCat("loop", n));
    values_[at_] = absl::StrCat("%v", n);
    Line("%v", n, " = phi i64 [ ", Value(i, 0), ", %loop", n, ".pre ], [ %v", n,
         ".next, %loop", n, ".latch ]");
    pointers_.emplace_back();
    depth_[at_] = static_cast<int>(pointers_.size());
  }

  void EmitEndLoop(const Instruction& i) {
    const Instruction& loop = Source(i, 0);
    const std::string n = absl::StrCat(i.srcs[0]);
    Line("br label %loop", n, ".latch");
    Label(absl::StrCat("loop", n, ".latch"));
    Line("%v", n, ".next = add nsw i64 %v", n, ", ", loop.imm);
    Line("%v", n, ".more = icmp slt i64 %v", n, ".next, ",
         values_[loop.srcs[1]]);
    Line("br i1 %v", n, ".more, label %loop", n, ", label %loop", n, ".end");
    Label(absl::StrCat("loop", n, ".end"));
    pointers_.pop_back();
  }

  absl::Status Emit(const Instruction& i) {
    switch (i.op) {
      case Op::kConst:
        values_[at_] =
            Splat(LaneType(i.dtype), i.lanes, Literal(i.dtype, i.imm));
        break;
      case Op::kConstArray:
      case Op::kParam:
        break;
      case Op::kVar:
        values_[at_] = absl::StrCat("%var", i.imm);
        break;
      case Op::kScratch:
        values_[at_] = Let("getelementptr i8, ptr %scratch, i64 ", Value(i, 0));
        break;
      case Op::kGrid:
        values_[at_] = "%grid";
        break;
      case Op::kLoop:
        EmitLoop(i);
        break;
      case Op::kEndLoop:
        EmitEndLoop(i);
        break;
      case Op::kIf:
        Line("br i1 ", Value(i, 0), ", label %if", at_, ", label %if", at_,
             ".end");
        Label(absl::StrCat("if", at_));
        pointers_.emplace_back();
        break;
      case Op::kEndIf:
        Line("br label %if", i.srcs[0], ".end");
        Label(absl::StrCat("if", i.srcs[0], ".end"));
        pointers_.pop_back();
        break;
      case Op::kLoad:
        EmitLoad(i);
        break;
      case Op::kPrefetch:
        // For reading, into the second cache.
        Line("call void @llvm.prefetch.p0(ptr ", Address(i),
             ", i32 0, i32 2, i32 1)");
        break;
      case Op::kStore:
        EmitStore(i);
        break;
      case Op::kRegister:
        absl::StrAppend(&allocas_, "  %r", at_, " = alloca ", TypeOf(i), "\n");
        Line("store ", TypeOf(i), " ", Value(i, 0), ", ptr %r", at_);
        break;
      case Op::kGet:
        values_[at_] = Let("load ", TypeOf(i), ", ptr %r", i.srcs[0]);
        break;
      case Op::kSet:
        Line("store ", TypeOf(Source(i, 1)), " ", Value(i, 1), ", ptr %r",
             i.srcs[0]);
        break;
      case Op::kSplat:
        values_[at_] = EmitSplat(i);
        break;
      case Op::kLanes: {
        std::vector<std::string> lanes;
        for (int l = 0; l < i.lanes; ++l) {
          lanes.push_back(
              absl::StrCat(LaneType(i.dtype), " ", Literal(i.dtype, l)));
        }
        values_[at_] = i.lanes == 1
                           ? "0"
                           : absl::StrCat("<", absl::StrJoin(lanes, ", "), ">");
        break;
      }
      case Op::kReduceLanes:
        if (IsHalf(i.dtype)) {
          return Refuse("computes in ", ir::Name(i.dtype),
                        ", which is to be done in f32");
        }
        values_[at_] = ReduceLanes(i);
        break;
      default:
        QUERN_RETURN_IF_ERROR(EmitElementwise(i));
        break;
    }
    NoteAffine(i);
    return absl::OkStatus();
  }

  std::string EmitSplat(const Instruction& i) {
    if (i.lanes == 1) return Value(i, 0);
    const std::string lane = LaneType(i.dtype);
    if (IsConstant(i.srcs[0])) {
      return Splat(lane, i.lanes, Literal(i.dtype, ConstantOf(i.srcs[0])));
    }
    const std::string type = TypeOf(i);
    const std::string first = Let("insertelement ", type, " poison, ", lane,
                                  " ", Value(i, 0), ", i32 0");
    return Let("shufflevector ", type, " ", first, ", ", type, " poison, <",
               i.lanes, " x i32> zeroinitializer");
  }

  const Program& program_;
  const base::Target& target_;
  const Isa& isa_;
  const char* const flags_;  // Fast-math flags of fadd, fsub and fmul.
  int32_t at_ = 0;
  int temporaries_ = 0;
  std::string allocas_;
  std::string body_;
  bool past_caches_ = false;         // Some stores are.
  std::vector<std::string> values_;  // Of each instruction, as an operand.
  std::vector<Affine> affine_;       // Of each scalar i64.
  std::vector<int> depth_;           // As DepthOf.
  // For each open block, the address computations emitted in it.
  std::vector<std::map<std::string, std::string>> pointers_;
};

constexpr absl::string_view kBlobPrefix = "quern cpu ";

class CpuCodegen final : public runtime::Codegen {
 public:
  std::string Version() const override { return AssemblerVersion(); }

  absl::StatusOr<std::string> Render(
      const Program& program, const base::Target& target) const override {
    return RenderLlvm(program, target);
  }

  absl::StatusOr<std::string> Assemble(
      const runtime::KernelSource& source,
      const base::Target& target) const override {
    QUERN_ASSIGN_OR_RETURN(const Isa isa, ParseIsa(target.isa));
    QUERN_ASSIGN_OR_RETURN(const std::string object,
                           CompileToObject(source.text, isa));
    return MakeBlob(target.isa, object);
  }

  absl::StatusOr<std::string> Disassemble(const std::string& blob,
                                          const base::Target&) const override {
    QUERN_ASSIGN_OR_RETURN(const BlobParts parts, SplitBlob(blob));
    QUERN_ASSIGN_OR_RETURN(const Isa isa, ParseIsa(parts.isa));
    return DisassembleObject(parts.object, isa);
  }
};

}  // namespace

absl::StatusOr<std::string> RenderLlvm(const Program& program,
                                       const base::Target& target) {
  QUERN_RETURN_IF_ERROR(kernel::Verify(program));
  QUERN_ASSIGN_OR_RETURN(const Isa isa, ParseIsa(target.isa));
  return Renderer(program, target, isa).Render();
}

std::string MakeBlob(absl::string_view isa, absl::string_view object) {
  return absl::StrCat(kBlobPrefix, isa, "\n", object);
}

absl::StatusOr<BlobParts> SplitBlob(absl::string_view blob) {
  const size_t end = blob.find('\n');
  if (!absl::StartsWith(blob, kBlobPrefix) || end == absl::string_view::npos) {
    return absl::DataLossError("not a blob of the cpu backend");
  }
  return BlobParts{blob.substr(kBlobPrefix.size(), end - kBlobPrefix.size()),
                   blob.substr(end + 1)};
}

std::unique_ptr<runtime::Codegen> MakeCpuCodegen() {
  return std::make_unique<CpuCodegen>();
}

}  // namespace quern::cpu
