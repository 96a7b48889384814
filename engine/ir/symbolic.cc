// SPDX-License-Identifier: Apache-2.0
#include "engine/ir/symbolic.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace quern::ir {
namespace {

constexpr int64_t kLow = std::numeric_limits<int64_t>::min();
constexpr int64_t kHigh = std::numeric_limits<int64_t>::max();

int64_t SatAdd(int64_t a, int64_t b) {
  if (a == kLow || b == kLow) return kLow;
  if (a == kHigh || b == kHigh) return kHigh;
  int64_t r = 0;
  if (__builtin_add_overflow(a, b, &r)) return a < 0 ? kLow : kHigh;
  return r;
}

int64_t SatMul(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  const bool negative = (a < 0) != (b < 0);
  if (a == kLow || b == kLow || a == kHigh || b == kHigh) {
    return negative ? kLow : kHigh;
  }
  int64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r)) return negative ? kLow : kHigh;
  return r;
}

Bounds Products(Bounds a, Bounds b) {
  const int64_t p[] = {SatMul(a.least, b.least), SatMul(a.least, b.greatest),
                       SatMul(a.greatest, b.least),
                       SatMul(a.greatest, b.greatest)};
  return {*std::min_element(p, p + 4), *std::max_element(p, p + 4)};
}

// coefficient * product of factors; factors sorted, none a constant.
struct Term {
  std::vector<Id> factors;
  int64_t coefficient = 0;
};
using Polynomial = std::vector<Term>;  // Sorted by factors, no zeros.

// Products with more terms than this stay products: a graph from outside must
// not make a size explode.
constexpr size_t kMaxTerms = 1024;
constexpr size_t kMaxDegree = 64;

// What is larger, unfolded, is an atom, so that each operation is done in
// bounded time.
constexpr uint32_t kMaxUnfolded = 4096;

// As a division truncates; the quotient of the least number by -1 saturates.
int64_t SatDiv(int64_t a, int64_t b) { return b == -1 ? SatMul(a, -1) : a / b; }
bool IsMultiple(int64_t a, int64_t b) { return b == -1 || a % b == 0; }

// The greatest common divisor; 1 for numbers that are no longer exact.
int64_t Gcd(int64_t a, int64_t b) {
  return a == kLow || b == kLow ? 1 : std::gcd(a, b);
}

int OrderOf(Op op) {
  if (op == Op::kRange) return 0;
  if (op == Op::kVar) return 1;
  return 2;
}

// A total order of atoms that does not depend on the arena.
bool AtomBefore(const Arena& arena, Id a, Id b) {
  if (a == b) return false;
  const Node& x = arena[a];
  const Node& y = arena[b];
  if (OrderOf(x.op) != OrderOf(y.op)) return OrderOf(x.op) < OrderOf(y.op);
  if (x.op == Op::kRange && x.attr->ints[0] != y.attr->ints[0]) {
    return x.attr->ints[0] < y.attr->ints[0];
  }
  if (x.op == Op::kVar && x.attr->text != y.attr->text) {
    return x.attr->text < y.attr->text;
  }
  if (x.hash != y.hash) return x.hash < y.hash;
  return a < b;
}

bool FactorsBefore(const Arena& arena, const std::vector<Id>& a,
                   const std::vector<Id>& b) {
  // The constant term, without factors, comes last.
  if (a.empty() || b.empty()) return !a.empty() && b.empty();
  return std::lexicographical_compare(
      a.begin(), a.end(), b.begin(), b.end(),
      [&](Id x, Id y) { return AtomBefore(arena, x, y); });
}

Polynomial Normalized(const Arena& arena, Polynomial p) {
  std::sort(p.begin(), p.end(), [&](const Term& a, const Term& b) {
    return FactorsBefore(arena, a.factors, b.factors);
  });
  Polynomial out;
  for (Term& term : p) {
    if (!out.empty() && out.back().factors == term.factors) {
      out.back().coefficient = SatAdd(out.back().coefficient, term.coefficient);
    } else {
      out.push_back(std::move(term));
    }
    if (out.back().coefficient == 0) out.pop_back();
  }
  return out;
}

Polynomial Multiplied(const Arena& arena, const Polynomial& a,
                      const Polynomial& b) {
  Polynomial out;
  for (const Term& x : a) {
    for (const Term& y : b) {
      Term term;
      term.coefficient = SatMul(x.coefficient, y.coefficient);
      term.factors = x.factors;
      term.factors.insert(term.factors.end(), y.factors.begin(),
                          y.factors.end());
      std::sort(term.factors.begin(), term.factors.end(),
                [&](Id p, Id q) { return AtomBefore(arena, p, q); });
      out.push_back(std::move(term));
    }
  }
  return Normalized(arena, std::move(out));
}

size_t Degree(const Polynomial& p) {
  size_t degree = 0;
  for (const Term& term : p) degree = std::max(degree, term.factors.size());
  return degree;
}

// Whether the product of both is kept in normal form.
bool MayMultiply(const Polynomial& a, const Polynomial& b) {
  return a.size() * b.size() <= kMaxTerms &&
         Degree(a) + Degree(b) <= kMaxDegree;
}

Polynomial PolynomialOf(const Arena& arena, Id id);

// Adds the terms of `id`, of which equal ones may be several, to `out`.
void Collect(const Arena& arena, Id id, Polynomial& out) {
  const Node& node = arena[id];
  if (node.dtype == DType::kWeakInt && node.unfolded <= kMaxUnfolded) {
    switch (node.op) {
      case Op::kConst:
        if (node.attr->ints[0] != 0) out.push_back({{}, node.attr->ints[0]});
        return;
      case Op::kAdd:
        Collect(arena, node.srcs[0], out);
        Collect(arena, node.srcs[1], out);
        return;
      case Op::kMul: {
        const Polynomial p = PolynomialOf(arena, node.srcs[0]);
        const Polynomial q = PolynomialOf(arena, node.srcs[1]);
        if (!MayMultiply(p, q)) break;
        const Polynomial product = Multiplied(arena, p, q);
        out.insert(out.end(), product.begin(), product.end());
        return;
      }
      default:
        break;
    }
  }
  out.push_back({{id}, 1});
}

Polynomial PolynomialOf(const Arena& arena, Id id) {
  Polynomial p;
  Collect(arena, id, p);
  return Normalized(arena, std::move(p));
}

void Scale(Polynomial& p, int64_t by) {
  for (Term& term : p) term.coefficient = SatMul(term.coefficient, by);
}

Id NodeOfTerm(Arena& arena, const Term& term) {
  if (term.factors.empty()) return arena.Int(term.coefficient);
  Id id = term.factors[0];
  for (size_t i = 1; i < term.factors.size(); ++i) {
    id = arena.Make(Op::kMul, DType::kWeakInt, {id, term.factors[i]});
  }
  if (term.coefficient != 1) {
    id = arena.Make(Op::kMul, DType::kWeakInt,
                    {id, arena.Int(term.coefficient)});
  }
  return id;
}

Id NodeOf(Arena& arena, const Polynomial& p) {
  if (p.empty()) return arena.Int(0);
  Id id = NodeOfTerm(arena, p[0]);
  for (size_t i = 1; i < p.size(); ++i) {
    id = arena.Make(Op::kAdd, DType::kWeakInt, {id, NodeOfTerm(arena, p[i])});
  }
  return id;
}

// The factors of `a` without those of `b`; false if `b` has others.
bool Divides(const Arena& arena, const Term& b, const Term& a, Term* quotient) {
  if (!IsMultiple(a.coefficient, b.coefficient)) return false;
  quotient->coefficient = SatDiv(a.coefficient, b.coefficient);
  quotient->factors = a.factors;
  for (Id factor : b.factors) {
    auto it =
        std::find(quotient->factors.begin(), quotient->factors.end(), factor);
    if (it == quotient->factors.end()) return false;
    quotient->factors.erase(it);
  }
  (void)arena;
  return true;
}

// a = quotient * b + remainder, by division of the leading terms.
struct Division {
  Polynomial quotient;
  Polynomial remainder;
};
Division Divide(const Arena& arena, Polynomial a, const Polynomial& b) {
  Division out;
  const Term& lead = b.front();
  for (int step = 0; step < 64; ++step) {
    bool found = false;
    for (const Term& term : a) {
      Term q;
      if (!Divides(arena, lead, term, &q)) continue;
      // A constant divisor takes whole multiples only; others take terms that
      // contain them.
      Polynomial product = Multiplied(arena, {q}, b);
      Scale(product, -1);
      out.quotient.push_back(q);
      a.insert(a.end(), product.begin(), product.end());
      a = Normalized(arena, std::move(a));
      found = true;
      break;
    }
    if (!found) break;
  }
  if (b.size() == 1 && b[0].factors.empty()) {
    // Coefficients above the divisor are split: 7x / 4 = x + 3x / 4.
    const int64_t d = b[0].coefficient;
    for (Term& term : a) {
      const int64_t q = term.coefficient / d;
      if (q != 0 && term.coefficient > 0) {
        out.quotient.push_back({term.factors, q});
        term.coefficient -= q * d;
      }
    }
    a = Normalized(arena, std::move(a));
  }
  out.quotient = Normalized(arena, std::move(out.quotient));
  out.remainder = std::move(a);
  return out;
}

// b * (x / b) + x mod b = x, for each remainder whose quotient is there too.
Polynomial Recombined(const Arena& arena, Polynomial p) {
  for (size_t i = 0; i < p.size(); ++i) {
    for (Id factor : p[i].factors) {
      if (arena[factor].op != Op::kMod) continue;
      const Id x = arena[factor].srcs[0];
      const Polynomial b = PolynomialOf(arena, arena[factor].srcs[1]);
      if (b.size() != 1) continue;
      Term rest = p[i];
      rest.factors.erase(
          std::find(rest.factors.begin(), rest.factors.end(), factor));
      for (size_t j = 0; j < p.size(); ++j) {
        const auto quotient =
            std::find_if(p[j].factors.begin(), p[j].factors.end(), [&](Id f) {
              return arena[f].op == Op::kIDiv && arena[f].srcs[0] == x &&
                     arena[f].srcs[1] == arena[factor].srcs[1];
            });
        if (quotient == p[j].factors.end()) continue;
        Polynomial wanted = Multiplied(arena, {rest}, b);
        wanted = Multiplied(arena, wanted, {{{*quotient}, 1}});
        if (wanted.size() != 1 || wanted[0].factors != p[j].factors ||
            wanted[0].coefficient != p[j].coefficient) {
          continue;
        }
        Polynomial whole = Multiplied(arena, {rest}, PolynomialOf(arena, x));
        p.erase(p.begin() + std::max(i, j));
        p.erase(p.begin() + std::min(i, j));
        p.insert(p.end(), whole.begin(), whole.end());
        return Recombined(arena, Normalized(arena, std::move(p)));
      }
    }
  }
  return p;
}

bool NonNegative(const Arena& arena, Id id) { return arena[id].least >= 0; }

// The greatest (or least) value of `p` over its ranges, as a polynomial
// without them, where every other factor is known not to be negative.
Id ExtremeOverRanges(Arena& arena, Id id, bool greatest) {
  for (int round = 0; round < 4; ++round) {
    Polynomial p = PolynomialOf(arena, id);
    Polynomial out;
    bool changed = false;
    for (const Term& term : p) {
      Polynomial product = {{{}, term.coefficient}};
      const bool up = (term.coefficient > 0) == greatest;
      bool signs_known = true;
      for (Id f : term.factors) signs_known &= NonNegative(arena, f);
      for (Id f : term.factors) {
        if (arena[f].op == Op::kRange && signs_known) {
          changed = true;
          const Id extreme =
              up ? Add(arena, arena[f].srcs[0], arena.Int(-1)) : arena.Int(0);
          product = Multiplied(arena, product, PolynomialOf(arena, extreme));
        } else {
          product = Multiplied(arena, product, {{{f}, 1}});
        }
      }
      out.insert(out.end(), product.begin(), product.end());
    }
    id = NodeOf(arena, Normalized(arena, std::move(out)));
    if (!changed) break;
  }
  return id;
}

}  // namespace

Id Add(Arena& arena, Id a, Id b) {
  if (arena.IsInt(a, 0)) return b;
  if (arena.IsInt(b, 0)) return a;
  Polynomial p = PolynomialOf(arena, a);
  Polynomial q = PolynomialOf(arena, b);
  p.insert(p.end(), q.begin(), q.end());
  return NodeOf(arena, Recombined(arena, Normalized(arena, std::move(p))));
}

Id Sub(Arena& arena, Id a, Id b) {
  return Add(arena, a, Mul(arena, b, arena.Int(-1)));
}

Id Mul(Arena& arena, Id a, Id b) {
  if (arena.IsInt(a, 1)) return b;
  if (arena.IsInt(b, 1)) return a;
  const Polynomial p = PolynomialOf(arena, a);
  const Polynomial q = PolynomialOf(arena, b);
  if (!MayMultiply(p, q)) {
    return arena.Make(Op::kMul, DType::kWeakInt, {a, b});
  }
  return NodeOf(arena, Multiplied(arena, p, q));
}

Id IDiv(Arena& arena, Id a, Id b) {
  if (arena.IsInt(b, 1)) return a;
  if (arena.IsConst(a) && arena.IsConst(b)) {
    const int64_t d = arena.IntValue(b);
    return arena.Int(d == 0 ? 0 : SatDiv(arena.IntValue(a), d));
  }
  const auto plain = [&] {
    return arena.Make(Op::kIDiv, DType::kWeakInt, {a, b});
  };
  if (!NonNegative(arena, a) || arena[b].least <= 0) return plain();
  if (ProvablyLess(arena, a, b)) return arena.Int(0);
  Polynomial divisor = PolynomialOf(arena, b);
  Division d = Divide(arena, PolynomialOf(arena, a), divisor);
  if (!d.quotient.empty()) {
    const Id quotient = NodeOf(arena, d.quotient);
    const Id remainder = NodeOf(arena, d.remainder);
    if (NonNegative(arena, remainder) && NonNegative(arena, quotient)) {
      return Add(arena, quotient, IDiv(arena, remainder, b));
    }
    return plain();
  }
  if (!arena.IsConst(b)) return plain();
  const int64_t by = arena.IntValue(b);
  if (arena[a].op == Op::kIDiv && arena.IsConst(arena[a].srcs[1])) {
    return IDiv(arena, arena[a].srcs[0],
                arena.Int(SatMul(arena.IntValue(arena[a].srcs[1]), by)));
  }
  if (arena[a].op == Op::kMod && arena.IsConst(arena[a].srcs[1])) {
    // (x mod kc) / c = (x / c) mod k.
    const int64_t m = arena.IntValue(arena[a].srcs[1]);
    if (m % by == 0) {
      return Mod(arena, IDiv(arena, arena[a].srcs[0], b), arena.Int(m / by));
    }
  }
  // (g x + c) / (g d) = (x + c / g) / d for 0 <= c.
  Polynomial p = PolynomialOf(arena, a);
  int64_t g = by;
  int64_t constant = 0;
  bool has_terms = false;
  for (const Term& term : p) {
    if (term.factors.empty()) {
      constant = term.coefficient;
    } else {
      g = Gcd(g, term.coefficient);
      has_terms = true;
    }
  }
  if (g > 1 && has_terms && constant >= 0) {
    for (Term& term : p) term.coefficient /= g;
    p = Normalized(arena, std::move(p));
    const Id reduced = NodeOf(arena, p);
    if (NonNegative(arena, reduced)) {
      return IDiv(arena, reduced, arena.Int(by / g));
    }
  }
  return plain();
}

Id Mod(Arena& arena, Id a, Id b) {
  if (arena.IsInt(b, 1)) return arena.Int(0);
  if (arena.IsConst(a) && arena.IsConst(b)) {
    const int64_t d = arena.IntValue(b);
    return arena.Int(d == 0 || d == -1 ? 0 : arena.IntValue(a) % d);
  }
  const auto plain = [&](Id x) {
    return arena.Make(Op::kMod, DType::kWeakInt, {x, b});
  };
  if (!NonNegative(arena, a) || arena[b].least <= 0) return plain(a);
  if (ProvablyLess(arena, a, b)) return a;
  Polynomial divisor = PolynomialOf(arena, b);
  Division d = Divide(arena, PolynomialOf(arena, a), divisor);
  const Id remainder = NodeOf(arena, d.remainder);
  if (!d.quotient.empty()) {
    if (!NonNegative(arena, remainder)) return plain(a);
    return Mod(arena, remainder, b);
  }
  if (!arena.IsConst(b)) return plain(a);
  const int64_t by = arena.IntValue(b);
  if (arena[a].op == Op::kMod && arena.IsConst(arena[a].srcs[1]) &&
      arena.IntValue(arena[a].srcs[1]) % by == 0) {
    return Mod(arena, arena[a].srcs[0], b);
  }
  Polynomial p = PolynomialOf(arena, a);
  int64_t g = by;
  for (const Term& term : p) g = Gcd(g, term.coefficient);
  if (g > 1) {
    for (Term& term : p) term.coefficient /= g;
    const Id reduced = Mod(arena, NodeOf(arena, p), arena.Int(by / g));
    return Mul(arena, reduced, arena.Int(g));
  }
  return plain(a);
}

Id CeilDiv(Arena& arena, Id a, Id b) {
  return IDiv(arena, Add(arena, a, Add(arena, b, arena.Int(-1))), b);
}

Id Min(Arena& arena, Id a, Id b) {
  if (a == b) return a;
  if (arena[a].greatest <= arena[b].least) return a;
  if (arena[b].greatest <= arena[a].least) return b;
  if (AtomBefore(arena, b, a)) std::swap(a, b);
  return arena.Make(Op::kMin, DType::kWeakInt, {a, b});
}

Id Max(Arena& arena, Id a, Id b) {
  if (a == b) return a;
  if (arena[a].least >= arena[b].greatest) return a;
  if (arena[b].least >= arena[a].greatest) return b;
  if (AtomBefore(arena, b, a)) std::swap(a, b);
  return arena.Make(Op::kMax, DType::kWeakInt, {a, b});
}

Id Less(Arena& arena, Id a, Id b) {
  if (ProvablyLess(arena, a, b)) return arena.IntConst(DType::kBool, 1);
  if (ProvablyLess(arena, b, Add(arena, a, arena.Int(1)))) {
    return arena.IntConst(DType::kBool, 0);
  }
  // Constants stand on the right, so that equal conditions are equal nodes.
  Polynomial p = PolynomialOf(arena, a);
  int64_t constant = 0;
  if (!p.empty() && p.back().factors.empty()) {
    constant = p.back().coefficient;
    p.pop_back();
  }
  if (constant != 0 && !p.empty()) {
    a = NodeOf(arena, p);
    b = Add(arena, b, arena.Int(SatMul(constant, -1)));
  }
  return arena.Make(Op::kCmpLt, DType::kBool, {a, b});
}

Id Equal(Arena& arena, Id a, Id b) {
  if (a == b) return arena.IntConst(DType::kBool, 1);
  if (arena[a].greatest < arena[b].least ||
      arena[b].greatest < arena[a].least) {
    return arena.IntConst(DType::kBool, 0);
  }
  if (AtomBefore(arena, b, a)) std::swap(a, b);
  return arena.Make(Op::kCmpEq, DType::kBool, {a, b});
}

Id And(Arena& arena, Id a, Id b) {
  if (a == b) return a;
  if (arena.IsConst(a)) return arena.IntValue(a) != 0 ? b : a;
  if (arena.IsConst(b)) return arena.IntValue(b) != 0 ? a : b;
  // Do not repeat a condition that the other side already has.
  for (Id x = a; arena[x].op == Op::kAnd; x = arena[x].srcs[0]) {
    if (arena[x].srcs[1] == b || arena[x].srcs[0] == b) return a;
  }
  return arena.Make(Op::kAnd, DType::kBool, {a, b});
}

Id Or(Arena& arena, Id a, Id b) {
  if (a == b) return a;
  if (arena.IsConst(a)) return arena.IntValue(a) != 0 ? a : b;
  if (arena.IsConst(b)) return arena.IntValue(b) != 0 ? b : a;
  return arena.Make(Op::kOr, DType::kBool, {a, b});
}

Id Product(Arena& arena, absl::Span<const Id> sizes) {
  Id product = arena.Int(1);
  for (Id size : sizes) product = Mul(arena, product, size);
  return product;
}

bool ProvablyEqual(Arena& arena, Id a, Id b) {
  return a == b || arena.IsInt(Sub(arena, a, b), 0);
}

bool ProvablyLess(Arena& arena, Id a, Id b) {
  if (arena[a].greatest < arena[b].least) return true;
  if (arena[a].least >= arena[b].greatest) return false;
  // b - a >= 1 at its least.
  const Id gap = Sub(arena, b, a);
  if (arena[gap].least >= 1) return true;
  return arena[ExtremeOverRanges(arena, gap, false)].least >= 1;
}

bool IsSymbolic(const Arena& arena, Id id) {
  const Node& node = arena[id];
  if (node.shape != kScalarShape) return false;
  switch (node.op) {
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kIDiv:
    case Op::kMod:
    case Op::kMin:
    case Op::kMax:
      return node.dtype == DType::kWeakInt;
    case Op::kCmpLt:
    case Op::kCmpEq:
      return arena[node.srcs[0]].dtype == DType::kWeakInt &&
             arena[node.srcs[1]].dtype == DType::kWeakInt;
    case Op::kAnd:
    case Op::kOr:
      return node.dtype == DType::kBool;
    default:
      return false;
  }
}

Id Simplified(Arena& arena, Op op, absl::Span<const Id> srcs) {
  const Id a = srcs[0];
  const Id b = srcs[1];
  switch (op) {
    case Op::kAdd:
      return Add(arena, a, b);
    case Op::kSub:
      return Sub(arena, a, b);
    case Op::kMul:
      return Mul(arena, a, b);
    case Op::kIDiv:
      return IDiv(arena, a, b);
    case Op::kMod:
      return Mod(arena, a, b);
    case Op::kMin:
      return Min(arena, a, b);
    case Op::kMax:
      return Max(arena, a, b);
    case Op::kCmpLt:
      return Less(arena, a, b);
    case Op::kCmpEq:
      return Equal(arena, a, b);
    case Op::kAnd:
      return And(arena, a, b);
    default:
      return Or(arena, a, b);
  }
}

Bounds BoundsFor(const Arena& arena, const Node& node) {
  if (IsFloat(node.dtype)) return {};
  if (node.dtype == DType::kBool && node.op != Op::kConst) return {0, 1};
  const auto of = [&](int i) {
    return Bounds{arena[node.srcs[i]].least, arena[node.srcs[i]].greatest};
  };
  switch (node.op) {
    case Op::kConst:
      return {node.attr->ints[0], node.attr->ints[0]};
    case Op::kVar:
      return {node.attr->ints[0], node.attr->ints[1]};
    case Op::kRange: {
      const int64_t extent = of(0).greatest;
      return {0, extent == kHigh ? kHigh : std::max<int64_t>(extent, 1) - 1};
    }
    default:
      break;
  }
  if (node.dtype != DType::kWeakInt) return {};
  switch (node.op) {
    case Op::kAdd:
      return {SatAdd(of(0).least, of(1).least),
              SatAdd(of(0).greatest, of(1).greatest)};
    case Op::kMul:
      return Products(of(0), of(1));
    case Op::kIDiv: {
      const Bounds a = of(0);
      const Bounds b = of(1);
      if (a.least < 0 || b.least <= 0) return {};
      return {b.greatest == kHigh ? 0 : a.least / b.greatest,
              a.greatest == kHigh ? kHigh : a.greatest / b.least};
    }
    case Op::kMod: {
      const Bounds a = of(0);
      const Bounds b = of(1);
      if (a.least < 0 || b.least <= 0) return {};
      return {0, std::min(a.greatest,
                          b.greatest == kHigh ? kHigh : b.greatest - 1)};
    }
    case Op::kMin:
      return {std::min(of(0).least, of(1).least),
              std::min(of(0).greatest, of(1).greatest)};
    case Op::kMax:
      return {std::max(of(0).least, of(1).least),
              std::max(of(0).greatest, of(1).greatest)};
    case Op::kWhere:
      return {std::min(of(1).least, of(2).least),
              std::max(of(1).greatest, of(2).greatest)};
    default:
      return {};
  }
}

Affine AffineIn(Arena& arena, Id index, Id variable) {
  Polynomial rest;
  Polynomial coefficient;
  for (Term& term : PolynomialOf(arena, index)) {
    int uses = 0;
    for (Id f : term.factors) {
      if (f == variable) {
        ++uses;
      } else if (Contains(arena, f, variable)) {
        return {};
      }
    }
    if (uses > 1) return {};
    if (uses == 0) {
      rest.push_back(std::move(term));
    } else {
      term.factors.erase(
          std::find(term.factors.begin(), term.factors.end(), variable));
      coefficient.push_back(std::move(term));
    }
  }
  return {NodeOf(arena, Normalized(arena, std::move(coefficient))),
          NodeOf(arena, Normalized(arena, std::move(rest)))};
}

std::vector<Id> TermsOf(const Arena& arena, Id id) {
  std::vector<Id> terms;
  while (arena[id].op == Op::kAdd && arena[id].dtype == DType::kWeakInt) {
    terms.push_back(arena[id].srcs[1]);
    id = arena[id].srcs[0];
  }
  terms.push_back(id);
  std::reverse(terms.begin(), terms.end());
  return terms;
}

std::vector<Id> Substitute(Arena& arena, absl::Span<const Id> roots,
                           const Substitution& substitution) {
  absl::flat_hash_map<Id, Id> done = substitution;
  std::vector<Id> srcs;
  for (Id id : TopologicalOrder(arena, roots)) {
    if (done.contains(id)) continue;
    // A copy: making nodes moves the table of nodes.
    const absl::Span<const Id> old_srcs = arena[id].srcs;
    bool changed = false;
    srcs.clear();
    for (Id src : old_srcs) {
      srcs.push_back(done.at(src));
      changed |= srcs.back() != src;
    }
    done[id] = changed ? WithSources(arena, id, srcs) : id;
  }
  std::vector<Id> out;
  out.reserve(roots.size());
  for (Id root : roots) out.push_back(done.at(root));
  return out;
}

Id Substitute(Arena& arena, Id root, const Substitution& substitution) {
  return Substitute(arena, absl::MakeConstSpan(&root, 1), substitution)[0];
}

bool Contains(const Arena& arena, Id id, Id what) {
  std::vector<Id> work = {id};
  absl::flat_hash_set<Id> seen;
  while (!work.empty()) {
    const Id at = work.back();
    work.pop_back();
    if (at == what) return true;
    if (at < what) continue;  // Operands have smaller ids.
    for (Id src : arena[at].srcs) {
      if (src >= what && seen.insert(src).second) work.push_back(src);
    }
  }
  return false;
}

}  // namespace quern::ir
