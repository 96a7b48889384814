// SPDX-License-Identifier: Apache-2.0
#include "engine/kernel/linear.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace quern::kernel {
namespace {

using ir::DType;
using ir::Op;

bool IsBase(Op op) {
  return op == Op::kParam || op == Op::kScratch || op == Op::kConstArray;
}

// ---------------------------------------------------------------- Text form.

// The bits of a constant: a decimal number, or for a float dtype the shortest
// decimal that gives the same double, or hexadecimal bits for a NaN.
std::string ValueText(DType dtype, int64_t bits) {
  if (!ir::IsFloat(dtype)) return absl::StrCat(bits);
  const double value = std::bit_cast<double>(bits);
  if (std::isnan(value)) return absl::StrCat("0x", absl::Hex(bits));
  char text[40];
  const std::to_chars_result end =
      std::to_chars(text, text + sizeof(text), value);
  return std::string(text, end.ptr);
}

absl::StatusOr<int64_t> ParseValue(DType dtype, absl::string_view text) {
  if (ir::IsFloat(dtype)) {
    uint64_t bits = 0;
    if (absl::ConsumePrefix(&text, "0x")) {
      if (absl::SimpleHexAtoi(text, &bits)) return static_cast<int64_t>(bits);
    } else {
      double value = 0;
      const std::from_chars_result end =
          std::from_chars(text.data(), text.data() + text.size(), value);
      if (end.ec == std::errc() && end.ptr == text.data() + text.size()) {
        return std::bit_cast<int64_t>(value);
      }
    }
  } else if (int64_t value = 0; absl::SimpleAtoi(text, &value)) {
    return value;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expected a value of ", ir::Name(dtype), ", got ", base::Quoted(text)));
}

std::string ImmediateText(const Instruction& i) {
  if (i.op == Op::kReduceLanes) {
    if (i.imm >= 0 && i.imm < ir::kNumOps) {
      return ir::Name(static_cast<Op>(i.imm));
    }
    return absl::StrCat(i.imm);
  }
  if (i.op == Op::kConst) return ValueText(i.dtype, i.imm);
  return absl::StrCat(i.imm);
}

absl::StatusOr<int64_t> ParseImmediate(const Instruction& i,
                                       absl::string_view text) {
  if (i.op == Op::kConst) return ParseValue(i.dtype, text);
  if (i.op == Op::kReduceLanes) {
    if (absl::StatusOr<Op> op = ir::ParseOp(text); op.ok()) {
      return static_cast<int64_t>(*op);
    }
  }
  return ParseValue(DType::kI64, text);
}

// "name=3" -> 3.
absl::StatusOr<int64_t> ParseField(absl::string_view word,
                                   absl::string_view name) {
  int64_t value = 0;
  if (!absl::ConsumePrefix(&word, name) || !absl::ConsumePrefix(&word, "=") ||
      !absl::SimpleAtoi(word, &value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", name, "=NUMBER, got ", base::Quoted(word)));
  }
  return value;
}

// "load.f32x8" -> op, dtype, lanes.
absl::StatusOr<Instruction> ParseHead(absl::string_view word) {
  Instruction i;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(word, absl::MaxSplits('.', 1));
  QUERN_ASSIGN_OR_RETURN(i.op, ir::ParseOp(parts.first));
  if (parts.second.empty()) return i;
  const std::pair<absl::string_view, absl::string_view> type =
      absl::StrSplit(parts.second, absl::MaxSplits('x', 1));
  QUERN_ASSIGN_OR_RETURN(i.dtype, ir::ParseDType(type.first));
  if (!type.second.empty()) {
    uint32_t lanes = 0;
    if (!absl::SimpleAtoi(type.second, &lanes) ||
        lanes > std::numeric_limits<uint16_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "expected a number of lanes, got ", base::Quoted(type.second)));
    }
    i.lanes = static_cast<uint16_t>(lanes);
  }
  return i;
}

// "%3 = load.f32x8 %0 %2" of the instruction at `position`.
absl::StatusOr<Instruction> ParseInstruction(
    const std::vector<absl::string_view>& words, size_t position) {
  if (words.size() < 3 || words[0] != absl::StrCat("%", position) ||
      words[1] != "=") {
    return absl::InvalidArgumentError(
        absl::StrCat("expected '%", position, " = '"));
  }
  QUERN_ASSIGN_OR_RETURN(Instruction i, ParseHead(words[2]));
  for (size_t w = 3; w < words.size(); ++w) {
    absl::string_view word = words[w];
    int32_t src = 0;
    if (absl::ConsumePrefix(&word, "#")) {
      QUERN_ASSIGN_OR_RETURN(i.imm, ParseImmediate(i, word));
    } else if (absl::ConsumePrefix(&word, "%") &&
               absl::SimpleAtoi(word, &src)) {
      i.srcs.push_back(src);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("expected an operand, got ", base::Quoted(words[w])));
    }
  }
  return i;
}

absl::Status ParseHeader(const std::vector<absl::string_view>& words,
                         Program& program) {
  if (words.size() != 4) {
    return absl::InvalidArgumentError(
        "expected 'kernel NAME contract=N vars=N'");
  }
  program.name = std::string(words[1]);
  QUERN_ASSIGN_OR_RETURN(const int64_t contract,
                         ParseField(words[2], "contract"));
  QUERN_ASSIGN_OR_RETURN(const int64_t vars, ParseField(words[3], "vars"));
  if (vars < 0 || vars > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("number of vars out of range: ", vars));
  }
  program.contract = contract != 0;
  program.num_vars = static_cast<int>(vars);
  return absl::OkStatus();
}

absl::Status ParseLine(const std::vector<absl::string_view>& words,
                       Program& program) {
  if (words[0] == "kernel") return ParseHeader(words, program);
  if (words[0] == "param" || words[0] == "table") {
    if (words.size() < 2) return absl::InvalidArgumentError("expected a dtype");
    QUERN_ASSIGN_OR_RETURN(const DType dtype, ir::ParseDType(words[1]));
    if (words[0] == "param") {
      const bool written = words.size() == 3 && words[2] == "written";
      if (words.size() != (written ? 3 : 2)) {
        return absl::InvalidArgumentError("expected 'param DTYPE [written]'");
      }
      program.params.push_back({dtype, written});
      return absl::OkStatus();
    }
    Table table{dtype, {}};
    for (size_t w = 2; w < words.size(); ++w) {
      QUERN_ASSIGN_OR_RETURN(const int64_t bits, ParseValue(dtype, words[w]));
      table.bits.push_back(bits);
    }
    program.tables.push_back(std::move(table));
    return absl::OkStatus();
  }
  QUERN_ASSIGN_OR_RETURN(Instruction i,
                         ParseInstruction(words, program.code.size()));
  program.code.push_back(std::move(i));
  return absl::OkStatus();
}

// ------------------------------------------------------------- Verification.

// Checks one program from its first instruction to its last, with the stack
// of open blocks.
class Verifier {
 public:
  explicit Verifier(const Program& program) : program_(program) {}

  absl::Status Run() {
    QUERN_RETURN_IF_ERROR(Header());
    block_of_.assign(program_.code.size(), 0);
    blocks_ = {{.opener = -1, .id = 0}};
    for (at_ = 0; at_ < static_cast<int32_t>(program_.code.size()); ++at_) {
      const Instruction& i = program_.code[at_];
      QUERN_RETURN_IF_ERROR(Operands(i));
      QUERN_RETURN_IF_ERROR(Check(i));
    }
    if (blocks_.size() != 1) {
      return absl::InternalError(
          absl::StrCat("kernel ", program_.name, ": the block that %",
                       blocks_.back().opener, " opens is not closed"));
    }
    return absl::OkStatus();
  }

 private:
  struct Block {
    int32_t opener;
    int32_t id;
  };

  template <typename... Args>
  absl::Status Broken(const Args&... args) const {
    const Instruction& i = program_.code[at_];
    return absl::InternalError(absl::StrCat("kernel ", program_.name, ": %",
                                            at_, " = ", ir::Name(i.op), ": ",
                                            args...));
  }

  static std::string Type(DType dtype, int lanes) {
    return absl::StrCat(ir::Name(dtype),
                        lanes > 1 ? absl::StrCat("x", lanes) : "");
  }
  static std::string Type(const Instruction& i) {
    return Type(i.dtype, i.lanes);
  }

  const Instruction& Src(int n) const {
    return program_.code[program_.code[at_].srcs[n]];
  }

  absl::Status Header() const {
    bool good = !program_.name.empty() && program_.name.size() <= 200;
    for (const char c : program_.name) {
      good = good &&
             ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_');
    }
    if (!good) {
      return absl::InternalError(
          "kernel name is not of 1 to 200 characters of [a-z0-9_]");
    }
    if (program_.num_vars < 0) {
      return absl::InternalError("number of vars is negative");
    }
    for (const Param& p : program_.params) {
      if (ir::IsWeak(p.dtype)) {
        return absl::InternalError(absl::StrCat("kernel ", program_.name,
                                                ": a param has a weak dtype"));
      }
    }
    for (const Table& t : program_.tables) {
      if (ir::IsWeak(t.dtype) || t.bits.empty()) {
        return absl::InternalError(
            absl::StrCat("kernel ", program_.name,
                         ": a table is empty or has a weak dtype"));
      }
    }
    return absl::OkStatus();
  }

  // Every operand comes earlier and is visible: its block is still open.
  absl::Status Operands(const Instruction& i) {
    block_of_[at_] = blocks_.back().id;
    if (ir::IsWeak(i.dtype)) return Broken("the dtype is weak");
    if (i.lanes < 1 || i.lanes > kMaxLanes) {
      return Broken("has ", i.lanes, " lanes, expected 1 to ", kMaxLanes);
    }
    for (const int32_t src : i.srcs) {
      if (src < 0 || src >= at_) {
        return Broken("operand %", src, " does not come earlier");
      }
      bool visible = false;
      for (const Block& block : blocks_) {
        visible = visible || block.id == block_of_[src];
      }
      if (!visible) return Broken("operand %", src, " is in a closed block");
    }
    return absl::OkStatus();
  }

  absl::Status Count(size_t least, size_t most) const {
    const size_t count = program_.code[at_].srcs.size();
    if (count >= least && count <= most) return absl::OkStatus();
    return Broken("has ", count, " operands, expected ", least,
                  least == most ? "" : absl::StrCat(" to ", most));
  }

  // Operand `n` is a value (not a base, block or store) of this type.
  absl::Status IsValue(int n, DType dtype, int lanes) const {
    const Instruction& s = Src(n);
    const bool value = !IsBase(s.op) && s.op != Op::kStore &&
                       s.op != Op::kSet && s.op != Op::kEndLoop &&
                       s.op != Op::kIf && s.op != Op::kEndIf &&
                       s.op != Op::kRegister;
    if (!value) {
      return Broken("operand ", n, " is ", ir::Name(s.op), ", not a value");
    }
    if (s.dtype == dtype && s.lanes == lanes) return absl::OkStatus();
    return Broken("operand ", n, " is ", Type(s), ", expected ",
                  Type(dtype, lanes));
  }

  absl::Status Is(int n, Op op) const {
    if (Src(n).op == op) return absl::OkStatus();
    return Broken("operand ", n, " is ", ir::Name(Src(n).op), ", expected ",
                  ir::Name(op));
  }

  absl::Status ScalarIndex(const Instruction& i) const {
    if (i.dtype == DType::kI64 && i.lanes == 1) return absl::OkStatus();
    return Broken("is ", Type(i), ", expected i64");
  }

  absl::Status InRange(size_t size, const char* what) const {
    const int64_t imm = program_.code[at_].imm;
    if (imm >= 0 && static_cast<uint64_t>(imm) < size) return absl::OkStatus();
    return Broken("there is no ", what, " ", imm, " of ", size);
  }

  // A load or store of `i.dtype` through operand 0 at operand 1.
  absl::Status Access(const Instruction& i, bool store) const {
    const Instruction& base = Src(0);
    if (!IsBase(base.op)) {
      return Broken("operand 0 is ", ir::Name(base.op), ", not a base");
    }
    DType held = i.dtype;
    if (base.op == Op::kParam) {
      const Param& param = program_.params[base.imm];
      if (param.written != store) {
        return Broken(store ? "stores to a param that is read"
                            : "loads from a param that is written");
      }
      held = param.dtype;
    } else if (base.op == Op::kConstArray) {
      if (store) return Broken("stores to a constant array");
      held = program_.tables[base.imm].dtype;
    }
    if (held != i.dtype) {
      return Broken("has ", ir::Name(i.dtype), " elements, the base has ",
                    ir::Name(held));
    }
    const Instruction& index = Src(1);
    const bool even = index.lanes == 1 && i.lanes % 2 == 0;
    if (!store && i.imm != 0 && (i.imm != 2 || !even)) {
      return Broken("has the step ", i.imm, " for ", i.lanes, " lanes");
    }
    if (index.lanes == 1) return IsValue(1, DType::kI64, 1);
    if (index.dtype != DType::kI32 && index.dtype != DType::kI64) {
      return Broken("the index is ", Type(index), ", expected i32 or i64");
    }
    return IsValue(1, index.dtype, i.lanes);
  }

  absl::Status Elementwise(const Instruction& i) const {
    const ir::OpInfo& info = ir::InfoOf(i.op);
    QUERN_RETURN_IF_ERROR(Count(info.arity, info.arity));
    if (i.op == Op::kCast || i.op == Op::kBitcast) {
      QUERN_RETURN_IF_ERROR(IsValue(0, Src(0).dtype, i.lanes));
      if (i.op == Op::kBitcast &&
          ir::ByteSize(i.dtype) != ir::ByteSize(Src(0).dtype)) {
        return Broken("changes the size: ", ir::Name(Src(0).dtype), " to ",
                      ir::Name(i.dtype));
      }
      return absl::OkStatus();
    }
    if (i.op == Op::kWhere) {
      QUERN_RETURN_IF_ERROR(IsValue(0, DType::kBool, i.lanes));
      QUERN_RETURN_IF_ERROR(IsValue(1, i.dtype, i.lanes));
      return IsValue(2, i.dtype, i.lanes);
    }
    DType operand = i.dtype;
    if ((info.traits & ir::kComparison) != 0) {
      if (i.dtype != DType::kBool) {
        return Broken("is ", ir::Name(i.dtype), ", expected bool");
      }
      operand = Src(0).dtype;
    }
    if ((info.traits & ir::kFloatOnly) != 0 && !ir::IsFloat(operand)) {
      return Broken("is of ", ir::Name(operand), ", expected a float dtype");
    }
    if ((info.traits & ir::kIntegerOnly) != 0 && ir::IsFloat(operand)) {
      return Broken("is of ", ir::Name(operand),
                    ", expected an integer dtype or bool");
    }
    if (operand == DType::kBool && !DefinedOnBool(i.op)) {
      return Broken("is not defined on bool");
    }
    for (int n = 0; n < info.arity; ++n) {
      QUERN_RETURN_IF_ERROR(IsValue(n, operand, i.lanes));
    }
    return absl::OkStatus();
  }

  static bool DefinedOnBool(Op op) {
    return (ir::InfoOf(op).traits & ir::kComparison) != 0 || op == Op::kAnd ||
           op == Op::kOr || op == Op::kXor || op == Op::kMax || op == Op::kMin;
  }

  absl::Status Close(Op opener) {
    QUERN_RETURN_IF_ERROR(Count(1, 1));
    QUERN_RETURN_IF_ERROR(Is(0, opener));
    if (blocks_.back().opener != program_.code[at_].srcs[0]) {
      return Broken("closes %", program_.code[at_].srcs[0],
                    ", which is not the innermost block");
    }
    blocks_.pop_back();
    block_of_[at_] = blocks_.back().id;
    return absl::OkStatus();
  }

  // The opener belongs to the block it opens: a loop's index is of its body.
  void Open() {
    blocks_.push_back({.opener = at_, .id = at_ + 1});
    block_of_[at_] = at_ + 1;
  }

  absl::Status Check(const Instruction& i) {
    switch (i.op) {
      case Op::kConst:
        return Count(0, 0);
      case Op::kConstArray:
        QUERN_RETURN_IF_ERROR(Count(0, 0));
        return InRange(program_.tables.size(), "table");
      case Op::kParam:
        QUERN_RETURN_IF_ERROR(Count(0, 0));
        return InRange(program_.params.size(), "param");
      case Op::kVar:
        QUERN_RETURN_IF_ERROR(Count(0, 0));
        QUERN_RETURN_IF_ERROR(ScalarIndex(i));
        return InRange(program_.num_vars, "var");
      case Op::kGrid:
        QUERN_RETURN_IF_ERROR(Count(0, 0));
        return ScalarIndex(i);
      case Op::kScratch:
        QUERN_RETURN_IF_ERROR(Count(1, 1));
        return IsValue(0, DType::kI64, 1);
      case Op::kLoop:
        QUERN_RETURN_IF_ERROR(Count(2, 2));
        QUERN_RETURN_IF_ERROR(ScalarIndex(i));
        QUERN_RETURN_IF_ERROR(IsValue(0, DType::kI64, 1));
        QUERN_RETURN_IF_ERROR(IsValue(1, DType::kI64, 1));
        if (i.imm <= 0) return Broken("the step is ", i.imm, ", expected > 0");
        Open();
        return absl::OkStatus();
      case Op::kEndLoop:
        return Close(Op::kLoop);
      case Op::kIf:
        QUERN_RETURN_IF_ERROR(Count(1, 1));
        QUERN_RETURN_IF_ERROR(IsValue(0, DType::kBool, 1));
        Open();
        return absl::OkStatus();
      case Op::kEndIf:
        return Close(Op::kIf);
      case Op::kLoad:
        QUERN_RETURN_IF_ERROR(Count(2, 3));
        QUERN_RETURN_IF_ERROR(Access(i, /*store=*/false));
        if (i.srcs.size() == 3) return IsValue(2, DType::kBool, i.lanes);
        return absl::OkStatus();
      case Op::kPrefetch:
        QUERN_RETURN_IF_ERROR(Count(2, 2));
        QUERN_RETURN_IF_ERROR(Is(0, Op::kParam));
        return IsValue(1, DType::kI64, 1);
      case Op::kStore:
        QUERN_RETURN_IF_ERROR(Count(3, 4));
        QUERN_RETURN_IF_ERROR(Access(i, /*store=*/true));
        QUERN_RETURN_IF_ERROR(IsValue(2, i.dtype, i.lanes));
        QUERN_RETURN_IF_ERROR(InRange(2, "way to store"));
        if (i.srcs.size() == 4) return IsValue(3, DType::kBool, i.lanes);
        return absl::OkStatus();
      case Op::kRegister:
        QUERN_RETURN_IF_ERROR(Count(1, 1));
        return IsValue(0, i.dtype, i.lanes);
      case Op::kGet:
      case Op::kSet: {
        const int count = i.op == Op::kGet ? 1 : 2;
        QUERN_RETURN_IF_ERROR(Count(count, count));
        QUERN_RETURN_IF_ERROR(Is(0, Op::kRegister));
        const Instruction& variable = Src(0);
        if (i.op == Op::kSet) return IsValue(1, variable.dtype, variable.lanes);
        if (i.dtype == variable.dtype && i.lanes == variable.lanes) {
          return absl::OkStatus();
        }
        return Broken("is ", Type(i), ", the variable is ", Type(variable));
      }
      case Op::kSplat:
        QUERN_RETURN_IF_ERROR(Count(1, 1));
        return IsValue(0, i.dtype, 1);
      case Op::kLanes:
        QUERN_RETURN_IF_ERROR(Count(0, 0));
        if (!ir::IsInteger(i.dtype)) {
          return Broken("is ", ir::Name(i.dtype),
                        ", expected an integer dtype");
        }
        return absl::OkStatus();
      case Op::kReduceLanes: {
        QUERN_RETURN_IF_ERROR(Count(1, 1));
        const int lanes = Src(0).lanes;
        QUERN_RETURN_IF_ERROR(IsValue(0, i.dtype, lanes));
        if (i.lanes != 1) return Broken("has ", i.lanes, " lanes, expected 1");
        if (!std::has_single_bit(static_cast<unsigned>(lanes))) {
          return Broken("the vector has ", lanes,
                        " lanes, expected a power of two");
        }
        for (const Op op : {Op::kAdd, Op::kMul, Op::kMax, Op::kMin}) {
          if (i.imm != static_cast<int64_t>(op)) continue;
          if (i.dtype != DType::kBool || DefinedOnBool(op)) {
            return absl::OkStatus();
          }
        }
        return Broken("combines with operation ", i.imm,
                      ", expected add, mul, max or min, of bool max or min");
      }
      default:
        if (ir::IsElementwise(i.op)) return Elementwise(i);
        return Broken("is not an operation of the linear level");
    }
  }

  const Program& program_;
  int32_t at_ = 0;
  std::vector<Block> blocks_;
  std::vector<int32_t> block_of_;  // Block id of each instruction.
};

}  // namespace

std::string ToText(const Program& program) {
  std::string text =
      absl::StrCat("kernel ", program.name, " contract=", program.contract,
                   " vars=", program.num_vars, "\n");
  for (const Param& p : program.params) {
    absl::StrAppend(&text, "param ", ir::Name(p.dtype),
                    p.written ? " written\n" : "\n");
  }
  for (const Table& t : program.tables) {
    absl::StrAppend(&text, "table ", ir::Name(t.dtype));
    for (const int64_t bits : t.bits) {
      absl::StrAppend(&text, " ", ValueText(t.dtype, bits));
    }
    text += '\n';
  }
  int depth = 0;
  for (size_t at = 0; at < program.code.size(); ++at) {
    const Instruction& i = program.code[at];
    if ((i.op == Op::kEndLoop || i.op == Op::kEndIf) && depth > 0) --depth;
    absl::StrAppend(&text, std::string(2 * depth, ' '), "%", at, " = ",
                    ir::Name(i.op));
    if (i.op == Op::kLoop || i.op == Op::kIf) ++depth;
    if (i.dtype != DType::kI64 || i.lanes != 1) {
      absl::StrAppend(&text, ".", ir::Name(i.dtype));
      if (i.lanes != 1) absl::StrAppend(&text, "x", i.lanes);
    }
    if (i.imm != 0 || i.op == Op::kConst) {
      absl::StrAppend(&text, " #", ImmediateText(i));
    }
    for (const int32_t src : i.srcs) absl::StrAppend(&text, " %", src);
    text += '\n';
  }
  return text;
}

absl::StatusOr<Program> ParseProgram(absl::string_view text) {
  Program program;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    if (words.empty()) continue;
    if (program.name.empty() && words[0] != "kernel") {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": expected 'kernel NAME', got ",
                       base::Quoted(words[0])));
    }
    if (absl::Status status = ParseLine(words, program); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", status.message()));
    }
  }
  if (program.name.empty()) {
    return absl::InvalidArgumentError("a kernel's text is empty");
  }
  return program;
}

absl::Status Verify(const Program& program) { return Verifier(program).Run(); }

}  // namespace quern::kernel
