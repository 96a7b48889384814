// SPDX-License-Identifier: Apache-2.0
//
// Nodes are stored or fused. A fused node is computed where it is read, so
// that the product under a convolution is never stored. What is stored is
// computed by a program made for it: a list of steps, each over a block of up
// to kBlock consecutive points of the iteration domain (for a reduction: the
// result's axes, then the reduced ones).
//
// Movement costs nothing: the position at which an operand is read is a Form,
// a linear function of the point of the domain, and movement changes its
// coefficients. Only what is not linear (a reshape that splits an axis, a
// gather) puts positions in columns of values, and a Form may be linear in
// these too. Inside one block a Form is its value at the block's first point
// plus a Pattern, which is the same for all blocks and computed once.
#include "backends/ref/oracle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "engine/base/status_macros.h"

namespace quern::ref {
namespace {

using ir::Arena;
using ir::DType;
using ir::Id;
using ir::Node;
using ir::Op;

constexpr int64_t kBlock = 1024;
constexpr int kNoRegister = -1;
// Depth of fused nodes, which the compiler follows by recursion.
constexpr int kMaxFused = 200;
constexpr size_t kMaxSteps = 1 << 16;

absl::StatusOr<int64_t> ElementsOf(absl::Span<const int64_t> dims) {
  int64_t elements = 1;
  for (int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(elements, dim, &elements)) {
      return absl::InvalidArgumentError(
          absl::StrCat("impossible shape [", absl::StrJoin(dims, ","), "]"));
    }
  }
  return elements;
}

// A linear function: constant + coefficients * point + columns. `least` and
// `greatest` bound its values where all that it is made of is valid.
struct Form {
  int64_t constant = 0;
  std::vector<int64_t> coefficients;             // By axis of the domain.
  std::vector<std::pair<int, int64_t>> columns;  // Register, coefficient.
  int64_t least = 0;
  int64_t greatest = 0;
  friend bool operator==(const Form&, const Form&) = default;
};

Form Plus(Form a, const Form& b, int64_t times) {
  a.constant += b.constant * times;
  for (size_t i = 0; i < a.coefficients.size(); ++i) {
    a.coefficients[i] += b.coefficients[i] * times;
  }
  for (const auto& [column, coefficient] : b.columns) {
    a.columns.emplace_back(column, coefficient * times);
  }
  a.least += times > 0 ? b.least * times : b.greatest * times;
  a.greatest += times > 0 ? b.greatest * times : b.least * times;
  return a;
}

Form Plus(Form a, int64_t constant) {
  a.constant += constant;
  a.least += constant;
  a.greatest += constant;
  return a;
}

Form Times(const Form& a, int64_t factor) {
  Form zero;
  zero.coefficients.assign(a.coefficients.size(), 0);
  return Plus(zero, a, factor);
}

// One step of a program. Registers hold blocks of values. A position is x, or
// a form without columns where there is no x.
struct Step {
  enum class Kind : uint8_t {
    kConstant,   // value; run once.
    kForm,       // The values of a form.
    kLoad,       // data at a position; 0 where the gate is false.
    kInRange,    // Whether the gate holds and 0 <= position < value.
    kClamp,      // x limited to 0..value - 1.
    kDivide,     // x / value, toward zero.
    kRemainder,  // x - value * (x / value).
    kEvaluate,   // An elementwise operation of x, y, z.
  };
  Kind kind = Kind::kConstant;
  int result = kNoRegister;
  int x = kNoRegister;
  int y = kNoRegister;
  int z = kNoRegister;
  int gate = kNoRegister;
  int64_t value = 0;
  bool is_unsigned = false;  // kClamp: x holds an unsigned integer.
  Form form = {};
  int pattern = 0;  // Of the form, see Layout.
  const std::vector<int64_t>* data = nullptr;
  ir::Evaluator evaluator = {};

  template <typename F>
  void ForEachOperand(F f) {
    for (int* r : {&x, &y, &z, &gate}) {
      if (*r != kNoRegister) f(*r);
    }
    for (auto& column : form.columns) f(column.first);
  }
};

// How a domain is cut into blocks: all axes from `inner` on, and runs of
// `chunk` along the axis before.
struct Layout {
  std::vector<int64_t> dims;
  size_t inner = 0;
  int64_t span = 1;  // Points of the inner axes.
  int64_t chunk = 1;

  explicit Layout(std::vector<int64_t> domain) : dims(std::move(domain)) {
    inner = dims.size();
    while (inner > 0 && span * dims[inner - 1] <= kBlock) {
      span *= dims[--inner];
    }
    if (inner > 0) chunk = std::min(kBlock / span, dims[inner - 1]);
  }

  // The values of a form at the points of a block, less the first one's.
  [[nodiscard]] std::vector<int64_t> PatternOf(const Form& form) const {
    std::vector<int64_t> pattern = {0};
    for (size_t axis = inner == 0 ? 0 : inner - 1; axis < dims.size(); ++axis) {
      const int64_t size = axis + 1 == inner ? chunk : dims[axis];
      std::vector<int64_t> longer;
      longer.reserve(pattern.size() * size);
      for (int64_t before : pattern) {
        for (int64_t i = 0; i < size; ++i) {
          longer.push_back(before + form.coefficients[axis] * i);
        }
      }
      pattern = std::move(longer);
    }
    return pattern;
  }
};

struct Program {
  explicit Program(std::vector<int64_t> domain) : layout(std::move(domain)) {}
  Layout layout;
  std::vector<Step> steps;
  std::vector<std::vector<int64_t>> patterns;
  int registers = 0;
  int result = kNoRegister;
};

// Runs `program` and hands each block of results, with the number of its first
// point, to `take`.
class Runner {
 public:
  explicit Runner(const Program& program)
      : program_(program),
        layout_(program.layout),
        file_(program.registers * kBlock),
        start_(layout_.dims.size(), 0) {}

  template <typename Take>
  void Run(Take take) {
    for (const Step& step : program_.steps) {
      if (step.kind == Step::Kind::kConstant) {
        std::fill_n(At(step.result), kBlock, step.value);
      }
    }
    int64_t first = 0;
    do {
      const int64_t along =
          layout_.inner == 0
              ? 1
              : std::min(layout_.chunk, layout_.dims[layout_.inner - 1] -
                                            start_[layout_.inner - 1]);
      const int64_t count = along * layout_.span;
      for (const Step& step : program_.steps) Execute(step, count);
      take(first, At(program_.result), count);
      first += count;
    } while (Next());
  }

 private:
  int64_t* At(int r) { return r < 0 ? nullptr : file_.data() + r * kBlock; }

  // Moves to the start of the next block.
  bool Next() {
    if (layout_.inner == 0) return false;
    size_t axis = layout_.inner - 1;
    start_[axis] += layout_.chunk;
    while (start_[axis] >= layout_.dims[axis]) {
      if (axis == 0) return false;
      start_[axis--] = 0;
      ++start_[axis];
    }
    return true;
  }

  int64_t BaseOf(const Form& form) const {
    int64_t base = form.constant;
    for (size_t axis = 0; axis < layout_.inner; ++axis) {
      base += form.coefficients[axis] * start_[axis];
    }
    return base;
  }

  void Execute(const Step& step, int64_t count) {
    int64_t* const result = At(step.result);
    const int64_t* const x = At(step.x);
    const int64_t* const gate = At(step.gate);
    const int64_t* const pattern = program_.patterns[step.pattern].data();
    switch (step.kind) {
      case Step::Kind::kConstant:
        return;
      case Step::Kind::kForm: {
        const int64_t base = BaseOf(step.form);
        for (int64_t i = 0; i < count; ++i) result[i] = base + pattern[i];
        for (const auto& [column, coefficient] : step.form.columns) {
          const int64_t* const values = At(column);
          for (int64_t i = 0; i < count; ++i) {
            result[i] += coefficient * values[i];
          }
        }
        return;
      }
      case Step::Kind::kLoad: {
        const int64_t* const data =
            step.data->data() + (x == nullptr ? BaseOf(step.form) : 0);
        const int64_t* const at = x == nullptr ? pattern : x;
        if (gate == nullptr) {
          for (int64_t i = 0; i < count; ++i) result[i] = data[at[i]];
        } else {
          for (int64_t i = 0; i < count; ++i) {
            result[i] = gate[i] != 0 ? data[at[i]] : 0;
          }
        }
        return;
      }
      case Step::Kind::kInRange: {
        const int64_t base = x == nullptr ? BaseOf(step.form) : 0;
        const int64_t* const at = x == nullptr ? pattern : x;
        const auto limit = static_cast<uint64_t>(step.value);
        for (int64_t i = 0; i < count; ++i) {
          result[i] = static_cast<uint64_t>(base + at[i]) < limit;
        }
        if (gate == nullptr) return;
        for (int64_t i = 0; i < count; ++i) result[i] &= gate[i];
        return;
      }
      case Step::Kind::kClamp:
        for (int64_t i = 0; i < count; ++i) {
          const bool huge = step.is_unsigned && x[i] < 0;
          result[i] = huge ? step.value - 1
                           : std::clamp<int64_t>(x[i], 0, step.value - 1);
        }
        return;
      case Step::Kind::kDivide:
        for (int64_t i = 0; i < count; ++i) result[i] = x[i] / step.value;
        return;
      case Step::Kind::kRemainder:
        for (int64_t i = 0; i < count; ++i) result[i] = x[i] % step.value;
        return;
      case Step::Kind::kEvaluate:
        step.evaluator.Run(x, At(step.y), At(step.z), result, count);
        return;
    }
  }

  const Program& program_;
  const Layout& layout_;
  std::vector<int64_t> file_;
  std::vector<int64_t> start_;  // The first point of the block.
};

// Nodes and sizes of one evaluation, as numbers.
class Evaluation {
 public:
  Evaluation(const graph::Graph& graph, absl::Span<const Tensor> inputs,
             const OracleOptions& options)
      : graph_(graph),
        arena_(*graph.arena),
        inputs_(inputs),
        options_(options) {}

  absl::StatusOr<std::vector<Tensor>> Run();

  [[nodiscard]] const Arena& arena() const { return arena_; }
  [[nodiscard]] const OracleOptions& options() const { return options_; }
  [[nodiscard]] bool IsStored(Id id) const { return stored_[id]; }
  [[nodiscard]] const std::vector<int64_t>* ValueOf(Id id) const {
    return values_[id].get();
  }
  absl::StatusOr<int64_t> SizeOf(Id size);
  absl::StatusOr<std::vector<int64_t>> DimsOf(Id id);

  // The operands that are tensors, not sizes.
  [[nodiscard]] absl::Span<const Id> TensorsOf(Id id) const {
    const Node& node = arena_[id];
    const bool sizes_follow = node.op == Op::kPad || node.op == Op::kShrink;
    return sizes_follow ? node.srcs.subspan(0, 1) : node.srcs;
  }

 private:
  absl::Status BindInputs();
  absl::Status FindOrder();
  absl::Status DecideStored();
  absl::Status Store(Id id);
  absl::Status StoreLeaf(Id id, std::vector<int64_t>& values);
  absl::Status Compute(Id id, std::vector<int64_t>& values);
  absl::Status Limit(Id id, absl::string_view what) const {
    return absl::ResourceExhaustedError(
        absl::StrCat("oracle: node ", id, " (", ir::Name(arena_[id].op),
                     ") is over the limit of ", what));
  }

  const graph::Graph& graph_;
  const Arena& arena_;
  const absl::Span<const Tensor> inputs_;
  const OracleOptions options_;
  absl::flat_hash_map<Id, int64_t> sizes_;
  std::vector<Id> order_;        // The tensors to evaluate, operands first.
  std::vector<bool> stored_;     // By node.
  std::vector<Id> last_reader_;  // By node: the last stored node to read it.
  std::vector<std::unique_ptr<std::vector<int64_t>>> values_;
  int64_t live_ = 0;  // Elements in values_.
};

// Makes the program of one stored node.
class Compiler {
 public:
  Compiler(Evaluation& evaluation, std::vector<int64_t> domain)
      : evaluation_(evaluation),
        arena_(evaluation.arena()),
        program_(std::move(domain)) {
    program_.patterns.emplace_back(kBlock, 0);
  }

  // `body` at every point of the domain; the domain's axis axes[i] is the axis
  // i of `body`.
  absl::StatusOr<Program> Run(Id body, absl::Span<const size_t> axes,
                              bool body_is_root) {
    root_ = body_is_root ? body : ir::kNoNode;
    std::vector<Form> at;
    for (size_t axis : axes) at.push_back(AxisForm(axis));
    QUERN_ASSIGN_OR_RETURN(program_.result, Pull(body, at, kNoRegister));
    ReuseRegisters();
    return std::move(program_);
  }

 private:
  using Forms = std::vector<Form>;

  Form ConstantForm(int64_t value) const {
    Form form;
    form.coefficients.assign(program_.layout.dims.size(), 0);
    return Plus(form, value);
  }
  Form AxisForm(size_t axis) const {
    Form form = ConstantForm(0);
    form.coefficients[axis] = 1;
    form.greatest = program_.layout.dims[axis] - 1;
    return form;
  }
  Form ColumnForm(int column, int64_t least, int64_t greatest) const {
    Form form = ConstantForm(0);
    form.columns = {{column, 1}};
    form.least = least;
    form.greatest = greatest;
    return form;
  }

  int Emit(Step step) {
    step.result = program_.registers++;
    program_.steps.push_back(std::move(step));
    return program_.steps.back().result;
  }
  int Constant(int64_t bits) {
    const auto [it, fresh] = constants_.emplace(bits, 0);
    if (fresh)
      it->second = Emit({.kind = Step::Kind::kConstant, .value = bits});
    return it->second;
  }
  int EmitForm(Step step, const Form& form) {
    const bool varies = std::any_of(
        form.coefficients.begin() +
            (program_.layout.inner == 0 ? 0 : program_.layout.inner - 1),
        form.coefficients.end(), [](int64_t c) { return c != 0; });
    if (varies) {
      std::vector<int64_t> pattern = program_.layout.PatternOf(form);
      const auto it = std::find(program_.patterns.begin(),
                                program_.patterns.end(), pattern);
      step.pattern = static_cast<int>(it - program_.patterns.begin());
      if (it == program_.patterns.end()) {
        program_.patterns.push_back(std::move(pattern));
      }
    }
    step.form = form;
    return Emit(std::move(step));
  }
  // The values of `form` in a register.
  int Column(const Form& form) {
    return EmitForm({.kind = Step::Kind::kForm}, form);
  }
  int Load(Id leaf, const Form& at, int gate) {
    const std::vector<int64_t>* data = evaluation_.ValueOf(leaf);
    if (at.columns.empty()) {
      return EmitForm({.kind = Step::Kind::kLoad, .gate = gate, .data = data},
                      at);
    }
    Step step = {.kind = Step::Kind::kLoad, .gate = gate, .data = data};
    step.x = Column(at);
    return Emit(std::move(step));
  }

  // `gate` and 0 <= form < size; `gate` itself where that is known.
  int InRange(const Form& form, int64_t size, int gate) {
    if (form.least >= 0 && form.greatest < size) return gate;
    Step step = {.kind = Step::Kind::kInRange, .gate = gate, .value = size};
    if (form.columns.empty()) return EmitForm(std::move(step), form);
    step.x = Column(form);
    return Emit(std::move(step));
  }

  absl::StatusOr<int> Operate(Op op, DType operand, DType result, int x, int y,
                              int z) {
    Step step = {.kind = Step::Kind::kEvaluate, .x = x, .y = y, .z = z};
    QUERN_ASSIGN_OR_RETURN(
        step.evaluator,
        ir::EvaluatorOf(op, operand, result, evaluation_.options().rounding));
    return Emit(std::move(step));
  }

  // The number of the element at `at` of a tensor with these dims.
  Form Linear(absl::Span<const Form> at, absl::Span<const int64_t> dims) {
    Form form = ConstantForm(0);
    int64_t stride = 1;
    for (size_t i = dims.size(); i-- > 0;) {
      form = Plus(form, at[i], stride);
      stride *= dims[i];
    }
    return form;
  }

  // form = quotient * size + remainder with 0 <= remainder < size.
  std::pair<Form, Form> Split(const Form& form, int64_t size) {
    Form quotient = ConstantForm(0);
    Form remainder = ConstantForm(0);
    const auto add = [&](const Form& part, int64_t times) {
      const bool whole = times % size == 0;
      Form& to = whole ? quotient : remainder;
      to = Plus(to, part, whole ? times / size : times);
    };
    for (size_t axis = 0; axis < form.coefficients.size(); ++axis) {
      if (form.coefficients[axis] != 0) {
        add(AxisForm(axis), form.coefficients[axis]);
      }
    }
    for (const auto& [column, coefficient] : form.columns) {
      const auto& [least, greatest] = column_bounds_.at(column);
      add(ColumnForm(column, least, greatest), coefficient);
    }
    // Rounded down, so that the remainder is not negative.
    const int64_t rest = (form.constant % size + size) % size;
    quotient = Plus(quotient, (form.constant - rest) / size);
    remainder = Plus(remainder, rest);
    if (remainder.least >= 0 && remainder.greatest < size) {
      return {quotient, remainder};
    }
    const int x = Column(form);
    const int q = Emit({.kind = Step::Kind::kDivide, .x = x, .value = size});
    const int r = Emit({.kind = Step::Kind::kRemainder, .x = x, .value = size});
    return {Bounded(q, form.least / size, form.greatest / size),
            Bounded(r, form.least < 0 ? 1 - size : 0, size - 1)};
  }
  Form Bounded(int column, int64_t least, int64_t greatest) {
    column_bounds_[column] = {least, greatest};
    return ColumnForm(column, least, greatest);
  }

  // Positions in `from` of the elements at `at` in `to`, the same elements
  // under another shape. Axes whose sizes agree group by group stay apart.
  Forms Reshaped(const Forms& at, absl::Span<const int64_t> to,
                 absl::Span<const int64_t> from) {
    Forms out(from.size(), ConstantForm(0));
    size_t i = 0;
    size_t k = 0;
    while (i < to.size() || k < from.size()) {
      const size_t i0 = i;
      const size_t k0 = k;
      int64_t a = i < to.size() ? to[i++] : 1;
      int64_t b = k < from.size() ? from[k++] : 1;
      while (a != b) {
        if (a < b) {
          a *= to[i++];
        } else {
          b *= from[k++];
        }
      }
      Form rest = Linear(absl::MakeConstSpan(at).subspan(i0, i - i0),
                         to.subspan(i0, i - i0));
      for (size_t axis = k; axis-- > k0;) {
        const bool last = std::all_of(from.begin() + k0, from.begin() + axis,
                                      [](int64_t size) { return size == 1; });
        if (from[axis] == 1) continue;
        if (last) {
          out[axis] = rest;
          break;
        }
        std::tie(rest, out[axis]) = Split(rest, from[axis]);
      }
    }
    return out;
  }

  // The register of `id` at the positions `at`. Where `gate` is false, nothing
  // is read and the value means nothing.
  absl::StatusOr<int> Pull(Id id, const Forms& at, int gate) {
    if (program_.steps.size() > kMaxSteps) {
      return absl::ResourceExhaustedError(
          "oracle: a node needs too many steps");
    }
    for (const Pulled& pulled : pulled_[id]) {
      if (pulled.gate == gate && pulled.at == at) return pulled.result;
    }
    QUERN_ASSIGN_OR_RETURN(const int result, PullNew(id, at, gate));
    pulled_[id].push_back({at, gate, result});
    return result;
  }

  absl::StatusOr<int> PullNew(Id id, const Forms& at, int gate) {
    const Node& node = arena_[id];
    if (evaluation_.IsStored(id) && id != root_) {
      QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> dims,
                             evaluation_.DimsOf(id));
      return Load(id, Linear(at, dims), gate);
    }
    switch (node.op) {
      case Op::kConst:
        return Constant(node.attr->ints[0]);
      case Op::kVar: {
        QUERN_ASSIGN_OR_RETURN(const int64_t value, evaluation_.SizeOf(id));
        return Constant(value);
      }
      case Op::kIota:
        return Column(at[0]);
      case Op::kCopy:
      case Op::kStage:
        return Pull(node.srcs[0], at, gate);
      case Op::kGather:
        return PullGather(id, at, gate);
      case Op::kConcat:
        return PullConcat(id, at, gate);
      case Op::kPad:
        return PullPad(id, at, gate);
      default:
        break;
    }
    if (ir::IsElementwise(node.op)) return PullElementwise(id, at, gate);
    if (!ir::IsMovement(node.op)) {
      return absl::InvalidArgumentError(
          absl::StrCat("oracle: node ", id, " (", ir::Name(node.op),
                       ") is no operation of the tensor level"));
    }
    QUERN_ASSIGN_OR_RETURN(const Forms moved, Moved(id, at));
    return Pull(node.srcs[0], moved, gate);
  }

  absl::StatusOr<int> PullElementwise(Id id, const Forms& at, int gate) {
    const Node& node = arena_[id];
    int registers[3] = {kNoRegister, kNoRegister, kNoRegister};
    for (size_t i = 0; i < node.srcs.size(); ++i) {
      QUERN_ASSIGN_OR_RETURN(registers[i], Pull(node.srcs[i], at, gate));
    }
    const size_t value = node.op == Op::kWhere ? 1 : 0;
    return Operate(node.op, arena_[node.srcs[value]].dtype, node.dtype,
                   registers[0], registers[1], registers[2]);
  }

  // The positions in operand 0 of the elements at `at`, for movement that
  // needs no gates.
  absl::StatusOr<Forms> Moved(Id id, const Forms& at) {
    const Node& node = arena_[id];
    const std::vector<int64_t>& ints = node.attr->ints;
    QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> dims,
                           evaluation_.DimsOf(id));
    QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> from,
                           evaluation_.DimsOf(node.srcs[0]));
    Forms out = at;
    switch (node.op) {
      case Op::kReshape:
        return Reshaped(at, dims, from);
      case Op::kPermute:
        for (size_t i = 0; i < ints.size(); ++i) out[ints[i]] = at[i];
        return out;
      case Op::kExpand:
        for (size_t i = 0; i < from.size(); ++i) {
          if (from[i] == 1) out[i] = ConstantForm(0);
        }
        return out;
      case Op::kShrink:
        for (size_t i = 0; i < ints.size(); ++i) {
          QUERN_ASSIGN_OR_RETURN(const int64_t begin,
                                 evaluation_.SizeOf(node.srcs[i + 1]));
          out[i] = Plus(Times(at[i], ints[i]), begin);
        }
        return out;
      case Op::kFlip:
        for (int64_t axis : ints) {
          out[axis] = Plus(Times(at[axis], -1), from[axis] - 1);
        }
        return out;
      case Op::kWindow: {
        // {axis, taps, stride, dilation}; the taps are the last axis.
        out.pop_back();
        out[ints[0]] =
            Plus(Times(at[ints[0]], ints[2]), at[from.size()], ints[3]);
        return out;
      }
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("oracle: node ", id, " (", ir::Name(node.op),
                         ") is no movement that is known here"));
    }
  }

  absl::StatusOr<int> PullPad(Id id, const Forms& at, int gate) {
    const Node& node = arena_[id];
    QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> from,
                           evaluation_.DimsOf(node.srcs[0]));
    Forms moved = at;
    int inside = gate;
    for (size_t i = 0; i < from.size(); ++i) {
      QUERN_ASSIGN_OR_RETURN(const int64_t before,
                             evaluation_.SizeOf(node.srcs[i + 1]));
      moved[i] = Plus(at[i], -before);
      inside = InRange(moved[i], from[i], inside);
    }
    QUERN_ASSIGN_OR_RETURN(const int value, Pull(node.srcs[0], moved, inside));
    if (inside == gate) return value;
    return Operate(Op::kWhere, node.dtype, node.dtype, inside, value,
                   Constant(0));
  }

  absl::StatusOr<int> PullConcat(Id id, const Forms& at, int gate) {
    const Node& node = arena_[id];
    const int64_t axis = node.attr->ints[0];
    Form position = at[axis];
    int result = kNoRegister;
    for (Id part : node.srcs) {
      QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> dims,
                             evaluation_.DimsOf(part));
      Forms moved = at;
      moved[axis] = position;
      position = Plus(position, -dims[axis]);
      if (moved[axis].greatest < 0 || moved[axis].least >= dims[axis]) continue;
      const int inside = InRange(moved[axis], dims[axis], gate);
      QUERN_ASSIGN_OR_RETURN(const int value, Pull(part, moved, inside));
      if (result == kNoRegister) {
        result = value;
        continue;
      }
      QUERN_ASSIGN_OR_RETURN(result, Operate(Op::kWhere, node.dtype, node.dtype,
                                             inside, value, result));
    }
    return result == kNoRegister ? Constant(0) : result;
  }

  absl::StatusOr<int> PullGather(Id id, const Forms& at, int gate) {
    const Node& node = arena_[id];
    const int64_t axis = node.attr->ints[0];
    const Id indices = node.srcs[1];
    const int64_t index_rank = arena_.Rank(indices);
    QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> from,
                           evaluation_.DimsOf(node.srcs[0]));
    if (from[axis] == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("oracle: node ", id, " gathers from an empty axis"));
    }
    QUERN_ASSIGN_OR_RETURN(
        const int index,
        Pull(indices, Forms(at.begin() + axis, at.begin() + axis + index_rank),
             gate));
    const int position =
        Emit({.kind = Step::Kind::kClamp,
              .x = index,
              .value = from[axis],
              .is_unsigned = arena_[indices].dtype == DType::kU64});
    Forms moved(at.begin(), at.begin() + axis);
    moved.push_back(Bounded(position, 0, from[axis] - 1));
    moved.insert(moved.end(), at.begin() + axis + index_rank, at.end());
    return Pull(node.srcs[0], moved, gate);
  }

  // Gives registers whose values are read no more to later steps. Constants
  // share theirs with no one, since they are written once, before all blocks.
  void ReuseRegisters() {
    std::vector<size_t> last_use(program_.registers, 0);
    for (size_t i = 0; i < program_.steps.size(); ++i) {
      Step& step = program_.steps[i];
      step.ForEachOperand([&](int r) { last_use[r] = i; });
    }
    for (const Step& step : program_.steps) {
      if (step.kind == Step::Kind::kConstant) last_use[step.result] = SIZE_MAX;
    }
    last_use[program_.result] = SIZE_MAX;
    std::vector<int> place(program_.registers, kNoRegister);
    std::vector<int> free;
    int used = 0;
    for (size_t i = 0; i < program_.steps.size(); ++i) {
      Step& step = program_.steps[i];
      int taken = kNoRegister;
      if (free.empty() || step.kind == Step::Kind::kConstant) {
        taken = used++;
      } else {
        taken = free.back();
        free.pop_back();
      }
      std::vector<int> ended;
      step.ForEachOperand([&](int& r) {
        if (last_use[r] == i) ended.push_back(r);
        r = place[r];
      });
      std::sort(ended.begin(), ended.end());
      ended.erase(std::unique(ended.begin(), ended.end()), ended.end());
      for (int r : ended) free.push_back(place[r]);
      place[step.result] = taken;
      step.result = taken;
    }
    program_.result = place[program_.result];
    program_.registers = used;
  }

  struct Pulled {
    Forms at;
    int gate;
    int result;
  };

  Evaluation& evaluation_;
  const Arena& arena_;
  Program program_;
  Id root_ = ir::kNoNode;  // The node that the program stores.
  absl::flat_hash_map<int64_t, int> constants_;
  absl::flat_hash_map<int, std::pair<int64_t, int64_t>> column_bounds_;
  absl::flat_hash_map<Id, std::vector<Pulled>> pulled_;
};

absl::StatusOr<int64_t> Evaluation::SizeOf(Id size) {
  if (const auto it = sizes_.find(size); it != sizes_.end()) return it->second;
  for (Id id : ir::TopologicalOrder(arena_, {size})) {
    if (sizes_.contains(id)) continue;
    const Node& node = arena_[id];
    if (arena_.IsConst(id)) {
      sizes_[id] = node.attr->ints[0];
      continue;
    }
    if (node.op == Op::kVar) {
      return absl::InvalidArgumentError(
          absl::StrCat("oracle: variable '", node.attr->text,
                       "' is no dimension of any input"));
    }
    std::vector<ir::Scalar> operands;
    for (Id src : node.srcs) {
      operands.push_back({arena_[src].dtype, sizes_.at(src)});
    }
    QUERN_ASSIGN_OR_RETURN(const ir::Scalar value,
                           ir::Evaluate(node.op, node.dtype, operands));
    sizes_[id] = value.bits;
  }
  return sizes_.at(size);
}

absl::StatusOr<std::vector<int64_t>> Evaluation::DimsOf(Id id) {
  std::vector<int64_t> dims;
  for (Id dim : arena_.DimsOf(id)) {
    QUERN_ASSIGN_OR_RETURN(dims.emplace_back(), SizeOf(dim));
  }
  QUERN_RETURN_IF_ERROR(ElementsOf(dims).status());
  return dims;
}

absl::Status Evaluation::BindInputs() {
  if (inputs_.size() != graph_.inputs.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the graph takes ", graph_.inputs.size(), " inputs, got ",
                     inputs_.size()));
  }
  // Variables first: other sizes may be made of them.
  for (const bool variables : {true, false}) {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const graph::Port& port = graph_.inputs[i];
      const Tensor& input = inputs_[i];
      const auto wrong = [&] {
        return absl::InvalidArgumentError(absl::StrCat(
            "input '", port.name, "': got ", ir::Name(input.dtype), "[",
            absl::StrJoin(input.dims, ","), "] with ", input.bits.size(),
            " elements, which does not fit the graph"));
      };
      QUERN_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(input.dims));
      if (input.dtype != port.dtype || input.dims.size() != port.dims.size() ||
          elements != static_cast<int64_t>(input.bits.size())) {
        return wrong();
      }
      for (size_t axis = 0; axis < port.dims.size(); ++axis) {
        const Id dim = port.dims[axis];
        const bool is_variable = arena_[dim].op == Op::kVar;
        if (variables && is_variable) sizes_.emplace(dim, input.dims[axis]);
        if (variables) continue;
        QUERN_ASSIGN_OR_RETURN(const int64_t size, SizeOf(dim));
        if (size != input.dims[axis] || size < arena_[dim].least ||
            size > arena_[dim].greatest) {
          return wrong();
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Evaluation::FindOrder() {
  std::vector<bool> wanted(arena_.size(), false);
  for (const graph::Port& port : graph_.outputs) {
    if (port.node >= arena_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("output '", port.name, "' has no value"));
    }
    wanted[port.node] = true;
  }
  for (Id id = static_cast<Id>(arena_.size()); id-- > 0;) {
    if (!wanted[id]) continue;
    order_.push_back(id);
    for (Id src : TensorsOf(id)) wanted[src] = true;
  }
  std::reverse(order_.begin(), order_.end());
  return absl::OkStatus();
}

absl::Status Evaluation::DecideStored() {
  stored_.assign(arena_.size(), false);
  last_reader_.assign(arena_.size(), 0);
  values_.resize(arena_.size());
  std::vector<std::vector<Id>> readers(arena_.size());
  for (Id id : order_) {
    for (Id src : TensorsOf(id)) readers[src].push_back(id);
  }
  std::vector<bool> is_output(arena_.size(), false);
  for (const graph::Port& port : graph_.outputs) is_output[port.node] = true;
  std::vector<int> depth(arena_.size(), 0);
  for (Id id : order_) {
    const Op op = arena_[id].op;
    for (Id src : TensorsOf(id)) {
      if (!stored_[src]) depth[id] = std::max(depth[id], depth[src] + 1);
    }
    bool store = is_output[id] || op == Op::kInput || op == Op::kWeight ||
                 op == Op::kConstArray || op == Op::kReduce ||
                 depth[id] > kMaxFused;
    if (!store && (ir::IsElementwise(op) || op == Op::kGather)) {
      QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> dims, DimsOf(id));
      QUERN_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(dims));
      // Read once, element by element: no reason to keep it.
      const bool read_once = readers[id].size() == 1 &&
                             (ir::IsElementwise(arena_[readers[id][0]].op) ||
                              arena_[readers[id][0]].op == Op::kReduce);
      store = !read_once && elements <= options_.max_elements / 8;
    }
    stored_[id] = store;
    if (store) depth[id] = 0;
  }
  // Readers come later in the order, so going back each knows its own.
  for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
    if (is_output[*it]) last_reader_[*it] = ir::kNoNode;
    for (Id src : TensorsOf(*it)) {
      const Id reader = stored_[*it] ? *it : last_reader_[*it];
      last_reader_[src] = std::max(last_reader_[src], reader);
    }
  }
  return absl::OkStatus();
}

absl::Status Evaluation::StoreLeaf(Id id, std::vector<int64_t>& values) {
  const Node& node = arena_[id];
  if (node.op == Op::kConstArray) {
    values = node.attr->ints;
    return absl::OkStatus();
  }
  const auto slot = static_cast<size_t>(node.attr->ints[0]);
  if (node.op == Op::kInput) {
    if (slot >= inputs_.size() || inputs_[slot].dtype != node.dtype ||
        inputs_[slot].bits.size() != values.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input slot ", slot, " does not fit node ", id));
    }
    values = inputs_[slot].bits;
    return absl::OkStatus();
  }
  if (slot >= graph_.weights.size() ||
      graph_.weights[slot].dtype != node.dtype ||
      graph_.weights[slot].data.size() !=
          values.size() * ir::ByteSize(node.dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("weight slot ", slot, " does not fit node ", id));
  }
  ir::ReadElements(node.dtype, graph_.weights[slot].data.data(), values.data(),
                   static_cast<int64_t>(values.size()));
  return absl::OkStatus();
}

absl::Status Evaluation::Compute(Id id, std::vector<int64_t>& values) {
  const Node& node = arena_[id];
  QUERN_ASSIGN_OR_RETURN(std::vector<int64_t> domain, DimsOf(id));
  const bool reduces = node.op == Op::kReduce;
  const Id body = reduces ? node.srcs[0] : id;
  std::vector<size_t> axes(arena_.Rank(body));
  const auto op =
      static_cast<Op>(node.attr->ints.empty() ? 0 : node.attr->ints[0]);
  if (reduces) {
    // The axes of the result come first, then those that are reduced.
    QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> from, DimsOf(body));
    const std::vector<int64_t>& ints = node.attr->ints;
    size_t kept = 0;
    for (size_t axis = 0; axis < from.size(); ++axis) {
      const bool reduced = std::find(ints.begin() + 1, ints.end(),
                                     static_cast<int64_t>(axis)) != ints.end();
      axes[axis] = reduced ? domain.size() : kept++;
      if (reduced) domain.push_back(from[axis]);
    }
    std::fill(values.begin(), values.end(),
              ir::IdentityOf(op, node.dtype).bits);
  } else {
    for (size_t axis = 0; axis < axes.size(); ++axis) axes[axis] = axis;
  }
  QUERN_ASSIGN_OR_RETURN(const int64_t points, ElementsOf(domain));
  if (points == 0) return absl::OkStatus();
  QUERN_ASSIGN_OR_RETURN(const Program program,
                         Compiler(*this, std::move(domain))
                             .Run(body, axes, /*body_is_root=*/!reduces));
  int64_t work = 0;
  if (__builtin_mul_overflow(
          points, static_cast<int64_t>(program.steps.size()) + 1, &work) ||
      work > options_.max_work) {
    return Limit(id, "work");
  }
  if (!reduces) {
    Runner(program).Run(
        [&](int64_t first, const int64_t* block, int64_t count) {
          std::copy_n(block, count, values.begin() + first);
        });
    return absl::OkStatus();
  }
  QUERN_ASSIGN_OR_RETURN(const ir::FoldFunction fold,
                         ir::FoldOf(op, node.dtype));
  const int64_t length = points / static_cast<int64_t>(values.size());
  Runner(program).Run([&](int64_t first, const int64_t* block, int64_t count) {
    for (int64_t done = 0; done < count;) {
      const int64_t at = (first + done) / length;
      const int64_t run =
          std::min(count - done, (at + 1) * length - first - done);
      values[at] = fold(values[at], block + done, run);
      done += run;
    }
  });
  if (options_.rounding == ir::Rounding::kAll && ir::IsFloat(node.dtype)) {
    for (int64_t& bits : values) {
      bits = std::bit_cast<int64_t>(
          ir::RoundTo(node.dtype, std::bit_cast<double>(bits)));
    }
  }
  return absl::OkStatus();
}

absl::Status Evaluation::Store(Id id) {
  QUERN_ASSIGN_OR_RETURN(const std::vector<int64_t> dims, DimsOf(id));
  QUERN_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(dims));
  if (elements > options_.max_elements - live_) return Limit(id, "memory");
  live_ += elements;
  auto values = std::make_unique<std::vector<int64_t>>(elements);
  const Op op = arena_[id].op;
  const bool leaf =
      op == Op::kInput || op == Op::kWeight || op == Op::kConstArray;
  QUERN_RETURN_IF_ERROR(leaf ? StoreLeaf(id, *values) : Compute(id, *values));
  values_[id] = std::move(values);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tensor>> Evaluation::Run() {
  QUERN_RETURN_IF_ERROR(BindInputs());
  QUERN_RETURN_IF_ERROR(FindOrder());
  QUERN_RETURN_IF_ERROR(DecideStored());
  absl::flat_hash_map<Id, std::vector<Id>> ends;  // What nobody reads after.
  for (Id id : order_) {
    if (stored_[id] && last_reader_[id] != ir::kNoNode) {
      ends[last_reader_[id]].push_back(id);
    }
  }
  for (Id id : order_) {
    if (!stored_[id]) continue;
    QUERN_RETURN_IF_ERROR(Store(id));
    for (Id ended : ends[id]) {
      live_ -= static_cast<int64_t>(values_[ended]->size());
      values_[ended].reset();
    }
  }
  std::vector<Tensor> outputs;
  for (const graph::Port& port : graph_.outputs) {
    QUERN_ASSIGN_OR_RETURN(std::vector<int64_t> dims, DimsOf(port.node));
    outputs.push_back(
        {arena_[port.node].dtype, std::move(dims), *values_[port.node]});
  }
  return outputs;
}

}  // namespace

absl::StatusOr<Tensor> TensorOf(DType dtype, absl::Span<const int64_t> dims,
                                absl::string_view bytes) {
  QUERN_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(dims));
  const int64_t size = ir::ByteSize(dtype);
  if (size == 0 || static_cast<int64_t>(bytes.size()) % size != 0 ||
      static_cast<int64_t>(bytes.size()) / size != elements) {
    return absl::InvalidArgumentError(
        absl::StrCat(bytes.size(), " bytes do not fill ", ir::Name(dtype), "[",
                     absl::StrJoin(dims, ","), "]"));
  }
  Tensor tensor = {dtype, {dims.begin(), dims.end()}, {}};
  tensor.bits.resize(elements);
  ir::ReadElements(dtype, bytes.data(), tensor.bits.data(), elements);
  return tensor;
}

std::string BytesOf(const Tensor& tensor) {
  std::string bytes(tensor.bits.size() * ir::ByteSize(tensor.dtype), '\0');
  ir::WriteElements(tensor.dtype, tensor.bits.data(), bytes.data(),
                    static_cast<int64_t>(tensor.bits.size()));
  return bytes;
}

absl::StatusOr<std::vector<Tensor>> EvaluateGraph(
    const graph::Graph& graph, absl::Span<const Tensor> inputs,
    const OracleOptions& options) {
  return Evaluation(graph, inputs, options).Run();
}

}  // namespace quern::ref
