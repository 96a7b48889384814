// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "engine/base/status_macros.h"
#include "engine/ir/builder.h"
#include "engine/ir/eval.h"

namespace quern::ir {
namespace {

constexpr std::array<absl::string_view, 3> kLevels = {"register", "tile",
                                                      "global"};
constexpr std::array<absl::string_view, 4> kRangeKinds = {"serial", "grid",
                                                          "unroll", "vector"};
constexpr uint64_t kPlainNaN = 0x7ff8000000000000;

// Expressions with more nodes than this get lines of their own.
constexpr int kMaxInline = 40;
// Nesting of parentheses that the parser follows.
constexpr int kMaxDepth = 100;

// What binds weaker stands in parentheses inside what binds stronger.
enum Binding {
  kOrLevel,
  kAndLevel,
  kCompareLevel,
  kSumLevel,
  kProductLevel,
  kAtomLevel
};

// The words that stand for the numbers at `position` of the attributes of
// `op`; empty for none.
absl::Span<const absl::string_view> WordsAt(Op op, size_t position) {
  if (op == Op::kStage && position == 0) return kLevels;
  if (op == Op::kRange && position == 1) return kRangeKinds;
  return {};
}

// Attr::ints that other code reads without asking.
size_t LeastInts(Op op) {
  switch (op) {
    case Op::kWindow:
      return 4;
    case Op::kVar:
    case Op::kRange:
    case Op::kStage:
      return 2;
    case Op::kConst:
    case Op::kWeight:
    case Op::kInput:
    case Op::kConcat:
    case Op::kGather:
    case Op::kReduce:
    case Op::kParam:
    case Op::kSink:
      return 1;
    default:
      return 0;
  }
}

bool IsIdentifier(absl::string_view text) {
  if (text.empty() || absl::ascii_isdigit(text[0])) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

bool IsRangeName(absl::string_view text) {
  return text.size() > 1 && text[0] == 'r' &&
         std::all_of(text.begin() + 1, text.end(), absl::ascii_isdigit);
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::CEscape(text), "\"");
}

// A client's name where names of our own may stand as well.
std::string SymbolText(absl::string_view name) {
  const bool ours = name == "min" || name == "max" || name == "true" ||
                    name == "false" || name == "return" || IsRangeName(name);
  return IsIdentifier(name) && !ours ? std::string(name) : Quoted(name);
}

std::string ValueText(DType dtype, int64_t bits) {
  if (dtype == DType::kU64) return absl::StrCat(static_cast<uint64_t>(bits));
  if (!IsFloat(dtype)) return absl::StrCat(bits);
  const double value = std::bit_cast<double>(bits);
  if (std::isnan(value)) {
    if (static_cast<uint64_t>(bits) == kPlainNaN) return "nan";
    return absl::StrCat("nan:", absl::Hex(bits));
  }
  char text[40];
  return std::string(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

// ------------------------------------------------------------------ Printing.

class Printer {
 public:
  explicit Printer(const Arena& arena) : arena_(arena) {}

  std::string Print(absl::Span<const Id> roots) {
    FindInline(roots);
    for (Id root : roots) Emit(root);
    absl::StrAppend(&out_, "return");
    for (Id root : roots) absl::StrAppend(&out_, " ", Operand(root));
    return absl::StrCat(out_, "\n");
  }

 private:
  // Everything that `id` needs, dimensions included.
  template <typename F>
  void ForEachNeed(Id id, F f) const {
    for (Id dim : arena_.DimsOf(id)) f(dim);
    for (Id src : arena_[id].srcs) f(src);
  }

  // Sets inline_ to the size of the expression, 0 for nodes with own lines.
  void FindInline(absl::Span<const Id> roots) {
    inline_.assign(arena_.size(), -1);
    for (Id root : roots) inline_[root] = 0;
    for (Id id = static_cast<Id>(arena_.size()); id-- > 0;) {
      if (inline_[id] < 0) continue;
      ForEachNeed(id, [&](Id need) { inline_[need] = 0; });
    }
    for (Id id = 0; id < arena_.size(); ++id) {
      if (inline_[id] == 0) inline_[id] = InlineSize(id);
    }
  }

  int InlineSize(Id id) const {
    const Node& node = arena_[id];
    if (node.shape != kScalarShape || !node.attr->text.empty()) return 0;
    if (node.op == Op::kConst) {
      if (node.attr->ints.size() != 1) return 0;
      const int64_t value = node.attr->ints[0];
      const bool truth =
          node.dtype == DType::kBool && (value == 0 || value == 1);
      return node.dtype == DType::kWeakInt || truth ? 1 : 0;
    }
    if (!node.attr->ints.empty() || !IsSymbolic(node)) return 0;
    int size = 1;
    for (Id src : node.srcs) {
      if (arena_[src].shape != kScalarShape) return 0;
      size += std::max(inline_[src], 1);
    }
    return size > kMaxInline ? 0 : size;
  }

  bool IsSymbolic(const Node& node) const {
    const auto src = [&](int i) { return arena_[node.srcs[i]].dtype; };
    switch (node.op) {
      case Op::kAdd:
      case Op::kMul:
      case Op::kIDiv:
      case Op::kMod:
      case Op::kMin:
      case Op::kMax:
        return node.dtype == DType::kWeakInt && src(0) == DType::kWeakInt &&
               src(1) == DType::kWeakInt;
      case Op::kCmpLt:
      case Op::kCmpEq:
        return node.dtype == DType::kBool && src(0) == DType::kWeakInt &&
               src(1) == DType::kWeakInt;
      case Op::kAnd:
      case Op::kOr:
        return node.dtype == DType::kBool && src(0) == DType::kBool &&
               src(1) == DType::kBool;
      default:
        return false;
    }
  }

  // The name under which a variable or range is known to expressions; empty
  // if it has none of its own.
  std::string NameFor(const Node& node) const {
    if (node.shape != kScalarShape || node.dtype != DType::kWeakInt) return "";
    if (node.attr->ints.size() != 2) return "";
    if (node.op == Op::kVar) return SymbolText(node.attr->text);
    if (node.op == Op::kRange && node.attr->ints[0] >= 0 &&
        node.attr->text.empty()) {
      return absl::StrCat("r", node.attr->ints[0]);
    }
    return "";
  }

  // Prints the lines of `root` and of all that it needs, operands first.
  void Emit(Id root) {
    std::vector<std::pair<Id, bool>> stack = {{root, false}};
    while (!stack.empty()) {
      const auto [id, expanded] = stack.back();
      stack.pop_back();
      if (expanded) {
        Line(id);
        continue;
      }
      if (!seen_.insert(id).second) continue;
      stack.emplace_back(id, true);
      std::vector<Id> needs;
      ForEachNeed(id, [&](Id need) { needs.push_back(need); });
      for (auto it = needs.rbegin(); it != needs.rend(); ++it) {
        stack.emplace_back(*it, false);
      }
    }
  }

  void Line(Id id) {
    if (inline_[id] > 0) return;
    const Node& node = arena_[id];
    std::string symbol = NameFor(node);
    const bool named = !symbol.empty() && taken_.emplace(symbol, id).second;
    if (named) {
      absl::StrAppend(&out_, symbol, " = ", Name(node.op));
      names_[id] = std::move(symbol);
    } else {
      names_[id] = absl::StrCat("%", next_);
      absl::StrAppend(&out_, "%", next_++, " = ", Name(node.op), " ",
                      Name(node.dtype));
      if (node.shape != kScalarShape) {
        absl::StrAppend(&out_, "[",
                        absl::StrJoin(arena_.Dims(node.shape), ",",
                                      [&](std::string* out, Id dim) {
                                        out->append(Expression(dim, kOrLevel));
                                      }),
                        "]");
      }
    }
    for (Id src : node.srcs) absl::StrAppend(&out_, " ", Operand(src));
    Attributes(node, named);
    out_ += '\n';
  }

  // The name says a variable's text and a range's number.
  void Attributes(const Node& node, bool named) {
    const std::vector<int64_t>& ints = node.attr->ints;
    if (node.op == Op::kConst && ints.size() == 1) {
      absl::StrAppend(&out_, " ", ValueText(node.dtype, ints[0]));
    } else if (!ints.empty()) {
      const size_t first = named && node.op == Op::kRange ? 1 : 0;
      std::vector<std::string> items;
      for (size_t i = first; i < ints.size(); ++i) {
        items.push_back(ItemText(node, i));
      }
      absl::StrAppend(&out_, " {", absl::StrJoin(items, ","), "}");
    }
    const std::string& text = node.attr->text;
    if (text.empty() || named) return;
    absl::StrAppend(&out_, " @", IsIdentifier(text) ? text : Quoted(text));
  }

  static std::string ItemText(const Node& node, size_t i) {
    const int64_t value = node.attr->ints[i];
    if (node.op == Op::kReduce && i == 0 && value >= 0 && value < kNumOps) {
      return Name(static_cast<Op>(value));
    }
    const absl::Span<const absl::string_view> words = WordsAt(node.op, i);
    if (value >= 0 && static_cast<size_t>(value) < words.size()) {
      return std::string(words[value]);
    }
    const bool is_value = node.op == Op::kConst || node.op == Op::kConstArray;
    return is_value ? ValueText(node.dtype, value) : absl::StrCat(value);
  }

  // Names the node where operands stand.
  std::string Operand(Id id) {
    const bool plain = inline_[id] == 0 && names_.at(id)[0] == '%';
    return plain ? names_.at(id)
                 : absl::StrCat("[", Expression(id, kOrLevel), "]");
  }

  std::string Expression(Id id, int level) {
    if (inline_[id] == 0) return names_.at(id);
    const Node& node = arena_[id];
    const auto src = [&](int i, int at) {
      return Expression(node.srcs[i], at);
    };
    const auto infix = [&](absl::string_view sign, int own) {
      // Chains lean to the left, comparisons do not chain.
      const int left = own == kCompareLevel ? own + 1 : own;
      std::string text = absl::StrCat(src(0, left), sign, src(1, own + 1));
      return own < level ? absl::StrCat("(", text, ")") : text;
    };
    switch (node.op) {
      case Op::kConst:
        if (node.dtype == DType::kBool) {
          return node.attr->ints[0] != 0 ? "true" : "false";
        }
        return absl::StrCat(node.attr->ints[0]);
      case Op::kAdd: {
        const std::string text =
            absl::StrCat(src(0, kSumLevel), Addend(node.srcs[1]));
        return kSumLevel < level ? absl::StrCat("(", text, ")") : text;
      }
      case Op::kMul:
        return infix("*", kProductLevel);
      case Op::kIDiv:
        return infix("/", kProductLevel);
      case Op::kMod:
        return infix("%", kProductLevel);
      case Op::kCmpLt:
        return infix("<", kCompareLevel);
      case Op::kCmpEq:
        return infix("==", kCompareLevel);
      case Op::kAnd:
        return infix("&", kAndLevel);
      case Op::kOr:
        return infix("|", kOrLevel);
      default:
        return absl::StrCat(Name(node.op), "(", src(0, kOrLevel), ",",
                            src(1, kOrLevel), ")");
    }
  }

  bool IsConst(Id id) const {
    return inline_[id] > 0 && arena_[id].op == Op::kConst;
  }

  // "+x", or "-x" where that reads back as the same nodes: a minus makes the
  // constant at the end of the term negative, or adds a factor of -1.
  std::string Addend(Id id) {
    const Node& node = arena_[id];
    const bool product = inline_[id] > 0 && node.op == Op::kMul;
    const Id number = product ? node.srcs[1] : id;
    if (IsConst(number) && arena_.IntValue(number) < 0 &&
        arena_.IntValue(number) != INT64_MIN) {
      const int64_t value = -arena_.IntValue(number);
      if (!product) return absl::StrCat("-", value);
      const Id rest = node.srcs[0];
      const std::string text = Expression(rest, kProductLevel);
      if (value != 1) return absl::StrCat("-", text, "*", value);
      const bool ends_in_number =
          IsConst(rest) || (inline_[rest] > 0 && arena_[rest].op == Op::kMul &&
                            IsConst(arena_[rest].srcs[1]));
      if (!ends_in_number) return absl::StrCat("-", text);
    }
    return absl::StrCat("+", Expression(id, kProductLevel));
  }

  const Arena& arena_;
  std::string out_;
  int next_ = 0;
  std::vector<int> inline_;  // By id; -1: not reachable.
  absl::flat_hash_set<Id> seen_;
  absl::flat_hash_map<Id, std::string> names_;
  absl::flat_hash_map<std::string, Id> taken_;
};

// ------------------------------------------------------------------- Parsing.

// Reads one line at a time; `at_` is the next character of it.
class Parser {
 public:
  explicit Parser(Arena& arena) : arena_(arena) {}

  absl::StatusOr<std::vector<Id>> Run(absl::string_view text) {
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      line_ = line;
      at_ = 0;
      ++number_;
      if (AtEnd()) continue;
      if (returned_) return Expected("nothing after 'return'");
      QUERN_RETURN_IF_ERROR(Line());
    }
    at_ = 0;
    line_ = "";
    if (!returned_) return Expected("'return'");
    return roots_;
  }

 private:
  // ------------------------------------------------------------ Characters.
  void SkipSpace() {
    while (at_ < line_.size() && absl::ascii_isspace(line_[at_])) ++at_;
    if (line_.substr(at_, 2) == "//") at_ = line_.size();
  }
  bool AtEnd() {
    SkipSpace();
    return at_ == line_.size();
  }
  [[nodiscard]] char Peek() const {
    return at_ < line_.size() ? line_[at_] : '\0';
  }
  bool Accept(absl::string_view token) {
    SkipSpace();
    if (line_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }

  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", number_, ", column ", at_ + 1, ": ", message));
  }
  absl::Status Expected(absl::string_view what) {
    SkipSpace();
    const absl::string_view got = line_.substr(at_, 20);
    return Error(absl::StrCat(
        "expected ", what, ", got ",
        got.empty() ? "the end" : absl::StrCat("'", absl::CEscape(got), "'")));
  }
  absl::Status Expect(absl::string_view token) {
    if (Accept(token)) return absl::OkStatus();
    return Expected(absl::StrCat("'", token, "'"));
  }

  absl::string_view Word() {
    SkipSpace();
    const size_t begin = at_;
    while (absl::ascii_isalnum(Peek()) || Peek() == '_') ++at_;
    return line_.substr(begin, at_ - begin);
  }

  absl::StatusOr<std::string> QuotedText() {
    const size_t begin = ++at_;
    while (Peek() != '"') {
      if (at_ == line_.size()) return Expected("'\"'");
      at_ += Peek() == '\\' ? 2 : 1;
      at_ = std::min(at_, line_.size());
    }
    std::string text;
    std::string error;
    if (!absl::CUnescape(line_.substr(begin, at_ - begin), &text, &error)) {
      return Error(error);
    }
    ++at_;
    return text;
  }

  absl::StatusOr<int64_t> Integer() {
    SkipSpace();
    const size_t begin = at_;
    if (Peek() == '-') ++at_;
    while (absl::ascii_isdigit(Peek())) ++at_;
    int64_t value = 0;
    if (!absl::SimpleAtoi(line_.substr(begin, at_ - begin), &value)) {
      at_ = begin;
      return Expected("an integer of 64 bits");
    }
    return value;
  }

  absl::StatusOr<int64_t> Number(DType dtype) {
    if (dtype != DType::kU64) return Integer();
    const size_t begin = at_;
    while (absl::ascii_isdigit(Peek())) ++at_;
    uint64_t value = 0;
    if (!absl::SimpleAtoi(line_.substr(begin, at_ - begin), &value)) {
      at_ = begin;
      return Expected("an unsigned integer of 64 bits");
    }
    return static_cast<int64_t>(value);
  }

  // The bits of a constant.
  absl::StatusOr<int64_t> Value(DType dtype) {
    SkipSpace();
    const size_t begin = at_;
    if (!IsFloat(dtype)) {
      QUERN_ASSIGN_OR_RETURN(const int64_t value, Number(dtype));
      if (Scalar::OfInt(dtype, value).bits == value) return value;
      at_ = begin;
      return Expected(absl::StrCat("a value of ", Name(dtype)));
    }
    while (absl::ascii_isalnum(Peek()) || Peek() == '-' || Peek() == '+' ||
           Peek() == '.' || Peek() == ':') {
      ++at_;
    }
    absl::string_view text = line_.substr(begin, at_ - begin);
    if (text == "nan") return static_cast<int64_t>(kPlainNaN);
    if (uint64_t bits = 0; absl::ConsumePrefix(&text, "nan:") &&
                           absl::SimpleHexAtoi(text, &bits)) {
      return static_cast<int64_t>(bits);
    }
    double value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() ||
        end != text.data() + text.size()) {
      at_ = begin;
      return Expected(absl::StrCat("a value of ", Name(dtype)));
    }
    return std::bit_cast<int64_t>(value);
  }

  // ------------------------------------------------------------------ Lines.
  absl::Status Line() {
    const size_t begin = at_;
    if (Word() == "return") {
      while (!AtEnd()) {
        QUERN_ASSIGN_OR_RETURN(roots_.emplace_back(), Operand());
      }
      returned_ = true;
      return absl::OkStatus();
    }
    at_ = begin;
    if (!Accept("%")) return SymbolLine();
    QUERN_ASSIGN_OR_RETURN(const int64_t number, Integer());
    if (numbered_.contains(number)) {
      return Error(absl::StrCat("%", number, " is there already"));
    }
    QUERN_RETURN_IF_ERROR(Expect("="));
    QUERN_ASSIGN_OR_RETURN(const Op op, OpName());
    QUERN_ASSIGN_OR_RETURN(const DType dtype, DTypeName());
    ShapeId shape = kScalarShape;
    if (Peek() == '[') {
      ++at_;
      QUERN_ASSIGN_OR_RETURN(shape, Shape());
    }
    QUERN_ASSIGN_OR_RETURN(numbered_[number], Rest(op, dtype, shape, {}));
    return absl::OkStatus();
  }

  // "n = var {1,64}" and "r0 = range [n] {grid}".
  absl::Status SymbolLine() {
    const bool quoted = Peek() == '"';
    std::string name;
    if (quoted) {
      QUERN_ASSIGN_OR_RETURN(name, QuotedText());
    } else {
      name = std::string(Word());
    }
    const bool range = !quoted && IsRangeName(name);
    if (!quoted && name.empty()) return Expected("'%', a name or 'return'");
    auto& table = range ? ranges_ : vars_;
    if (table.contains(name)) {
      return Error(
          absl::StrCat("'", absl::CEscape(name), "' is there already"));
    }
    QUERN_RETURN_IF_ERROR(Expect("="));
    QUERN_ASSIGN_OR_RETURN(const Op op, OpName());
    if (op != (range ? Op::kRange : Op::kVar)) {
      return Error(absl::StrCat("'", absl::CEscape(name), "' names a ",
                                Name(range ? Op::kRange : Op::kVar), ", not a ",
                                Name(op)));
    }
    Attr attr;
    if (!range) attr.text = name;
    if (range) {
      int64_t number = 0;
      if (!absl::SimpleAtoi(absl::string_view(name).substr(1), &number)) {
        return Error("the number of the range is too great");
      }
      attr.ints.push_back(number);
    }
    QUERN_ASSIGN_OR_RETURN(
        table[name], Rest(op, DType::kWeakInt, kScalarShape, std::move(attr)));
    return absl::OkStatus();
  }

  absl::StatusOr<Op> OpName() {
    SkipSpace();
    const size_t begin = at_;
    const absl::StatusOr<Op> op = ParseOp(Word());
    if (op.ok()) return op;
    at_ = begin;
    return Error(op.status().message());
  }

  absl::StatusOr<DType> DTypeName() {
    SkipSpace();
    const size_t begin = at_;
    const absl::StatusOr<DType> dtype = ParseDType(Word());
    if (dtype.ok()) return dtype;
    at_ = begin;
    return Error(dtype.status().message());
  }

  absl::StatusOr<ShapeId> Shape() {
    std::vector<Id> dims;
    do {
      QUERN_ASSIGN_OR_RETURN(dims.emplace_back(), Expression(kSumLevel, 0));
      QUERN_RETURN_IF_ERROR(CheckIs(dims.back(), DType::kWeakInt));
    } while (Accept(","));
    QUERN_RETURN_IF_ERROR(Expect("]"));
    if (dims.size() > static_cast<size_t>(kMaxRank)) {
      return Error(absl::StrCat("rank ", dims.size(), " is over the limit of ",
                                kMaxRank));
    }
    return arena_.MakeShape(dims);
  }

  // Operands and attributes up to the end of the line, and the node of it all.
  absl::StatusOr<Id> Rest(Op op, DType dtype, ShapeId shape, Attr attr) {
    std::vector<Id> srcs;
    while (!AtEnd() && (Peek() == '%' || Peek() == '[')) {
      QUERN_ASSIGN_OR_RETURN(srcs.emplace_back(), Operand());
    }
    if (op == Op::kConst && !AtEnd() && Peek() != '{') {
      QUERN_ASSIGN_OR_RETURN(attr.ints.emplace_back(), Value(dtype));
    } else if (Accept("{")) {
      do {
        QUERN_ASSIGN_OR_RETURN(attr.ints.emplace_back(),
                               Item(op, dtype, attr.ints.size()));
      } while (Accept(","));
      QUERN_RETURN_IF_ERROR(Expect("}"));
    }
    if (Accept("@")) {
      if (Peek() == '"') {
        QUERN_ASSIGN_OR_RETURN(attr.text, QuotedText());
      } else {
        attr.text = std::string(Word());
      }
      if (attr.text.empty()) return Expected("a name");
    }
    if (!AtEnd()) return Expected("the end of the line");
    const int arity = InfoOf(op).arity;
    if (arity >= 0 && static_cast<int>(srcs.size()) != arity) {
      return Error(absl::StrCat(Name(op), " has ", srcs.size(),
                                " operands, expected ", arity));
    }
    if (attr.ints.size() < LeastInts(op)) {
      return Error(absl::StrCat(Name(op), " has ", attr.ints.size(),
                                " attributes, expected ", LeastInts(op)));
    }
    return arena_.Make(op, dtype, srcs, std::move(attr), shape);
  }

  absl::StatusOr<int64_t> Item(Op op, DType dtype, size_t position) {
    SkipSpace();
    if (op == Op::kConst || op == Op::kConstArray) return Value(dtype);
    if (!absl::ascii_isalpha(Peek())) return Integer();
    const size_t begin = at_;
    const absl::string_view word = Word();
    if (op == Op::kReduce && position == 0) {
      if (const absl::StatusOr<Op> named = ParseOp(word); named.ok()) {
        return static_cast<int64_t>(*named);
      }
    }
    const absl::Span<const absl::string_view> words = WordsAt(op, position);
    const auto it = std::find(words.begin(), words.end(), word);
    if (it != words.end()) return it - words.begin();
    at_ = begin;
    return Expected("an attribute");
  }

  absl::StatusOr<Id> Operand() {
    SkipSpace();
    if (Peek() == '%') return Numbered();
    QUERN_RETURN_IF_ERROR(Expect("["));
    QUERN_ASSIGN_OR_RETURN(const Id id, Expression(kOrLevel, 0));
    QUERN_RETURN_IF_ERROR(Expect("]"));
    return id;
  }

  absl::StatusOr<Id> Numbered() {
    const size_t begin = at_;
    QUERN_RETURN_IF_ERROR(Expect("%"));
    QUERN_ASSIGN_OR_RETURN(const int64_t number, Integer());
    const auto it = numbered_.find(number);
    if (it != numbered_.end()) return it->second;
    at_ = begin;
    return Error(absl::StrCat("%", number, " is not there yet"));
  }

  // ------------------------------------------------------------ Expressions.
  absl::Status CheckIs(Id id, DType dtype) const {
    if (arena_[id].dtype == dtype && arena_[id].shape == kScalarShape) {
      return absl::OkStatus();
    }
    return Error(absl::StrCat("expected a scalar of ", Name(dtype),
                              " before this place, got ",
                              Name(arena_[id].dtype)));
  }

  absl::StatusOr<Id> Join(Op op, Id a, Id b) {
    const bool logical = op == Op::kAnd || op == Op::kOr;
    const bool compares = op == Op::kCmpLt || op == Op::kCmpEq;
    const DType operand = logical ? DType::kBool : DType::kWeakInt;
    QUERN_RETURN_IF_ERROR(CheckIs(a, operand));
    QUERN_RETURN_IF_ERROR(CheckIs(b, operand));
    return arena_.Make(op, compares ? DType::kBool : operand, {a, b});
  }

  // The sign of an infix operation of this level, if one comes next.
  absl::StatusOr<Op> AcceptSign(int level) {
    switch (level) {
      case kOrLevel:
        if (Accept("|")) return Op::kOr;
        break;
      case kAndLevel:
        if (Accept("&")) return Op::kAnd;
        break;
      case kCompareLevel:
        if (Accept("<")) return Op::kCmpLt;
        if (Accept("==")) return Op::kCmpEq;
        break;
      case kSumLevel:
        if (Accept("+")) return Op::kAdd;
        if (Accept("-")) return Op::kSub;
        break;
      default:
        if (Accept("*")) return Op::kMul;
        if (Accept("/")) return Op::kIDiv;
        if (Accept("%")) return Op::kMod;
        break;
    }
    return absl::NotFoundError("");
  }

  absl::StatusOr<Id> Expression(int level, int depth) {
    if (level == kAtomLevel) return Atom(depth);
    QUERN_ASSIGN_OR_RETURN(Id id, Expression(level + 1, depth));
    while (true) {
      const absl::StatusOr<Op> sign = AcceptSign(level);
      if (!sign.ok()) return id;
      QUERN_ASSIGN_OR_RETURN(Id other, Expression(level + 1, depth));
      if (*sign == Op::kSub) {
        QUERN_RETURN_IF_ERROR(CheckIs(other, DType::kWeakInt));
        other = Negated(other);
      }
      QUERN_ASSIGN_OR_RETURN(
          id, Join(*sign == Op::kSub ? Op::kAdd : *sign, id, other));
    }
  }

  // See Printer::Addend.
  Id Negated(Id id) {
    const auto negated = [&](Id number) {
      const auto value = static_cast<uint64_t>(arena_.IntValue(number));
      return arena_.Int(static_cast<int64_t>(-value));
    };
    const Node node = arena_[id];
    if (node.op == Op::kConst) return negated(id);
    if (node.op == Op::kMul && arena_.IsConst(node.srcs[1])) {
      const Id number = negated(node.srcs[1]);
      return arena_.Make(Op::kMul, DType::kWeakInt, {node.srcs[0], number});
    }
    return arena_.Make(Op::kMul, DType::kWeakInt, {id, arena_.Int(-1)});
  }

  absl::StatusOr<Id> Atom(int depth) {
    if (depth > kMaxDepth) return Error("parentheses are nested too deeply");
    SkipSpace();
    if (Peek() == '%') return Numbered();
    if (absl::ascii_isdigit(Peek()) || Peek() == '-') {
      QUERN_ASSIGN_OR_RETURN(const int64_t value, Integer());
      return arena_.Int(value);
    }
    if (Accept("(")) {
      QUERN_ASSIGN_OR_RETURN(const Id id, Expression(kOrLevel, depth + 1));
      QUERN_RETURN_IF_ERROR(Expect(")"));
      return id;
    }
    const size_t begin = at_;
    if (Peek() == '"') {
      QUERN_ASSIGN_OR_RETURN(const std::string name, QuotedText());
      return Symbol(vars_, name, begin);
    }
    const std::string name(Word());
    if (name == "true" || name == "false") {
      return arena_.IntConst(DType::kBool, name == "true" ? 1 : 0);
    }
    if (name == "min" || name == "max") {
      QUERN_RETURN_IF_ERROR(Expect("("));
      QUERN_ASSIGN_OR_RETURN(const Id a, Expression(kOrLevel, depth + 1));
      QUERN_RETURN_IF_ERROR(Expect(","));
      QUERN_ASSIGN_OR_RETURN(const Id b, Expression(kOrLevel, depth + 1));
      QUERN_RETURN_IF_ERROR(Expect(")"));
      return Join(name == "min" ? Op::kMin : Op::kMax, a, b);
    }
    if (name.empty()) return Expected("an expression");
    return Symbol(IsRangeName(name) ? ranges_ : vars_, name, begin);
  }

  using Symbols = absl::flat_hash_map<std::string, Id>;
  absl::StatusOr<Id> Symbol(const Symbols& table, const std::string& name,
                            size_t begin) {
    const auto it = table.find(name);
    if (it != table.end()) return it->second;
    at_ = begin;
    return Error(absl::StrCat("'", absl::CEscape(name), "' is not there yet"));
  }

  Arena& arena_;
  absl::string_view line_;
  size_t at_ = 0;
  int number_ = 0;
  bool returned_ = false;
  std::vector<Id> roots_;
  absl::flat_hash_map<int64_t, Id> numbered_;
  Symbols vars_;
  Symbols ranges_;
};

}  // namespace

std::string ToText(const Arena& arena, absl::Span<const Id> roots) {
  return Printer(arena).Print(roots);
}

absl::StatusOr<std::vector<Id>> Parse(Arena& arena, absl::string_view text) {
  return Parser(arena).Run(text);
}

}  // namespace quern::ir
