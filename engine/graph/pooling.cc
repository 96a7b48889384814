// SPDX-License-Identifier: Apache-2.0
#include "engine/graph/pooling.h"

#include <limits>

#include "absl/strings/str_cat.h"

#include "engine/graph/movement.h"
#include "engine/graph/tensor_ops.h"
#include "engine/ir/symbolic.h"

namespace quern::graph {
namespace {

using ir::Builder;
using ir::DType;
using ir::kNoNode;
using ir::Op;

// Windows times taps that are counted here rather than at run time.
constexpr int64_t kMaxCounts = int64_t{1} << 20;

bool Failed(const Builder& b, Id x) { return !b.ok() || x == kNoNode; }

// A pooling whose windows all lie in the padded tensor: `after` includes what
// ceil_mode adds, `declared` does not.
struct Plan {
  PoolOptions options;
  std::vector<Id> before;  // Per axis of x.
  std::vector<Id> after;
  std::vector<Id> declared;  // The padding after that the model asks for.
};

// The element distance between the first and the last tap, or an error.
int64_t Reach(Builder& b, int64_t taps, int64_t stride, int64_t dilation) {
  int64_t reach = 0;
  if (taps < 1 || stride < 1 || dilation < 1 || taps > ir::kMaxElements ||
      stride > ir::kMaxElements ||
      __builtin_mul_overflow(taps - 1, dilation, &reach) ||
      reach > ir::kMaxElements) {
    b.Invalid(absl::StrCat("pooling over ", taps, " taps with stride ", stride,
                           " and dilation ", dilation));
    return 0;
  }
  return reach;
}

Plan MakePlan(Builder& b, Id x, const PoolOptions& options) {
  Plan plan{options, {}, {}, {}};
  if (Failed(b, x)) return plan;
  ir::Arena& arena = b.arena();
  const size_t spatial = options.taps.size();
  if (b.Rank(x) < 3 || static_cast<size_t>(b.Rank(x)) != spatial + 2) {
    b.Invalid(
        absl::StrCat("pooling over ", spatial, " axes of ", b.ShapeText(x)));
    return plan;
  }
  Windows& w = plan.options.windows;
  if (w.strides.empty()) w.strides.assign(spatial, 1);
  if (w.dilations.empty()) w.dilations.assign(spatial, 1);
  if (w.pads_before.empty()) w.pads_before.assign(spatial, b.Int(0));
  if (w.pads_after.empty()) w.pads_after.assign(spatial, b.Int(0));
  if (w.strides.size() != spatial || w.dilations.size() != spatial ||
      w.pads_before.size() != spatial || w.pads_after.size() != spatial) {
    b.Invalid(absl::StrCat("strides, dilations and pads of a pooling over ",
                           spatial, " axes"));
    return plan;
  }
  const std::vector<Id> dims = b.Dims(x);
  plan.before.assign(2, b.Int(0));
  plan.after.assign(2, b.Int(0));
  plan.declared.assign(2, b.Int(0));
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t reach =
        Reach(b, options.taps[i], w.strides[i], w.dilations[i]);
    if (!b.ok()) return plan;
    const Id before = w.pads_before[i];
    Id after = w.pads_after[i];
    plan.declared.push_back(after);
    if (options.ceil_mode && w.strides[i] > 1) {
      const Id size = dims[i + 2];
      const Id stride = b.Int(w.strides[i]);
      const Id padded = ir::Add(arena, size, ir::Add(arena, before, after));
      const Id room = ir::Sub(arena, padded, b.Int(reach + 1));
      // Windows beyond the first, rounded up; the last one must begin in the
      // tensor or in the padding before it.
      Id more = ir::CeilDiv(arena, room, stride);
      const Id begins = ir::Add(arena, size, before);
      more = ir::Min(arena, more,
                     ir::IDiv(arena, ir::Sub(arena, begins, b.Int(1)), stride));
      const Id needed =
          ir::Add(arena, ir::Mul(arena, more, stride), b.Int(reach + 1));
      const Id lack = ir::Sub(arena, needed, padded);
      after = ir::Add(arena, after, ir::Max(arena, lack, b.Int(0)));
    }
    plan.before.push_back(before);
    plan.after.push_back(after);
  }
  return plan;
}

// [batch, channels, positions.., taps..], and the axes of the taps.
struct View {
  Id node = kNoNode;
  std::vector<int64_t> taps;
};

View WindowsOf(Builder& b, Id padded, const PoolOptions& options) {
  View view{padded, {}};
  const int64_t rank = b.Rank(padded);
  for (size_t i = 0; i < options.taps.size(); ++i) {
    view.node =
        b.Window(view.node, static_cast<int64_t>(2 + i), options.taps[i],
                 options.windows.strides[i], options.windows.dilations[i]);
    view.taps.push_back(rank + static_cast<int64_t>(i));
  }
  return view;
}

Id PooledSum(Builder& b, Id x, const Plan& plan) {
  const Id padded =
      PadWith(b, x, plan.before, plan.after, PadMode::kConstant, b.Int(0));
  const View view = WindowsOf(b, padded, plan.options);
  return b.Reduce(Op::kAdd, view.node, view.taps);
}

// The least value of a type, which a maximum ignores.
Id Lowest(Builder& b, DType dtype) {
  if (ir::IsFloat(dtype)) {
    return b.Scalar(dtype, -std::numeric_limits<double>::infinity());
  }
  if (ir::KindOf(dtype) != ir::DTypeKind::kSigned) {
    return b.arena().IntConst(dtype, 0);
  }
  const int64_t bits = 8 * ir::ByteSize(dtype);
  return b.arena().IntConst(dtype,
                            std::numeric_limits<int64_t>::min() >> (64 - bits));
}

// How many elements of axis `i` the windows hold: [1,..,positions,..,1].
Id CountsOf(Builder& b, const Plan& plan, Id size, size_t i, int rank,
            DType dtype) {
  const PoolOptions& o = plan.options;
  ir::Arena& arena = b.arena();
  const Id zero = b.Int(0);
  const size_t axis = i + 2;
  Id counted = size;
  Id before = plan.before[axis];
  Id after = plan.after[axis];
  if (o.count_padding) {
    // Declared padding counts like elements, what ceil_mode adds does not.
    counted =
        ir::Add(arena, counted, ir::Add(arena, before, plan.declared[axis]));
    before = zero;
    after = ir::Sub(arena, after, plan.declared[axis]);
  }
  std::vector<Id> dims(rank, b.Int(1));
  if (arena.IsInt(before, 0) && arena.IsInt(after, 0)) {
    return b.Reshape(b.Cast(b.Int(o.taps[i]), dtype), dims);
  }
  const int64_t reach = (o.taps[i] - 1) * o.windows.dilations[i];
  const Id room = ir::Add(arena, ir::Sub(arena, counted, b.Int(reach + 1)),
                          ir::Add(arena, before, after));
  const Id work =
      ir::Mul(arena, ir::IDiv(arena, room, b.Int(o.windows.strides[i])),
              b.Int(o.taps[i]));
  if (arena.IsConst(counted) && arena.IsConst(before) && arena.IsConst(after) &&
      arena[work].greatest < kMaxCounts) {
    const int64_t low = arena.IntValue(before);
    const int64_t high = low + arena.IntValue(counted);
    const int64_t total = high + arena.IntValue(after);
    std::vector<int64_t> counts;
    for (int64_t p = 0; p + reach < total; p += o.windows.strides[i]) {
      int64_t n = 0;
      for (int64_t t = 0; t < o.taps[i]; ++t) {
        const int64_t at = p + t * o.windows.dilations[i];
        n += at >= low && at < high ? 1 : 0;
      }
      counts.push_back(n);
    }
    dims[axis] = b.Int(static_cast<int64_t>(counts.size()));
    const Id list = b.ConstArray(DType::kI32, counts, dims);
    return b.Cast(list, dtype);
  }
  // Free or great sizes: a window over ones, with zeros for what does not
  // count.
  const Id ones = b.Expand(b.Cast(b.Int(1), dtype), {counted});
  const Id padded = b.Pad(ones, {before}, {after});
  const Id windows = b.Window(padded, 0, o.taps[i], o.windows.strides[i],
                              o.windows.dilations[i]);
  const Id counts = b.Reduce(Op::kAdd, windows, {1});
  if (Failed(b, counts)) return kNoNode;
  dims[axis] = b.Dim(counts, 0);
  return b.Reshape(counts, dims);
}

}  // namespace

Id MaxPool(Builder& b, Id x, const PoolOptions& options) {
  const Plan plan = MakePlan(b, x, options);
  if (Failed(b, x)) return kNoNode;
  const Id padded = PadWith(b, x, plan.before, plan.after, PadMode::kConstant,
                            Lowest(b, b.DTypeOf(x)));
  const View view = WindowsOf(b, padded, plan.options);
  return b.Reduce(Op::kMax, view.node, view.taps);
}

Id AveragePool(Builder& b, Id x, const PoolOptions& options) {
  const Plan plan = MakePlan(b, x, options);
  if (Failed(b, x)) return kNoNode;
  const Id v = Widened(b, x);
  const Id sum = PooledSum(b, v, plan);
  // Sizes that make no tensor have no sums to count with.
  if (Failed(b, sum)) return kNoNode;
  const DType dtype = TypeOf(b, v);
  const std::vector<Id> dims = b.Dims(x);
  Id count = kNoNode;
  double known = 1;  // The part of the count that is a constant.
  for (size_t i = 0; i < options.taps.size(); ++i) {
    const Id counts = CountsOf(b, plan, dims[i + 2], i, b.Rank(x), dtype);
    if (Failed(b, counts)) return kNoNode;
    const ir::Node& node = b.arena()[counts];
    if (node.op == Op::kReshape && b.arena().IsConst(node.srcs[0])) {
      known *= b.arena().FloatValue(node.srcs[0]);
    } else {
      count = count == kNoNode ? counts : b.Mul(count, counts);
    }
  }
  Id divisor = b.Scalar(dtype, known);
  if (count != kNoNode) {
    divisor = known == 1 ? count : b.Mul(count, divisor);
  }
  return b.Cast(b.Div(sum, divisor), b.DTypeOf(x));
}

Id LpPool(Builder& b, Id x, int64_t p, const PoolOptions& options) {
  const Plan plan = MakePlan(b, x, options);
  if (Failed(b, x)) return kNoNode;
  if (p < 1) return b.Invalid(absl::StrCat("pooling by the ", p, "-norm"));
  const Id v = Abs(b, Widened(b, x));
  const Id sum = PooledSum(b, Pow(b, v, b.Float(static_cast<double>(p))), plan);
  return b.Cast(Pow(b, sum, b.Float(1.0 / static_cast<double>(p))),
                b.DTypeOf(x));
}

Id MaxPoolPositions(Builder& b, Id x, const PoolOptions& options,
                    bool column_major) {
  const Plan plan = MakePlan(b, x, options);
  if (Failed(b, x)) return kNoNode;
  ir::Arena& arena = b.arena();
  const DType dtype = b.DTypeOf(x);
  const int rank = b.Rank(x);
  const std::vector<Id> dims = b.Dims(x);
  // The flat position of every element, in the order asked for.
  std::vector<Id> strides(rank, b.Int(1));
  Id stride = b.Int(1);
  for (int n = 2; n < rank; ++n) {
    const int axis = column_major ? n : rank + 1 - n;
    strides[axis] = stride;
    stride = ir::Mul(arena, stride, dims[axis]);
  }
  strides[1] = stride;
  strides[0] = ir::Mul(arena, stride, dims[1]);
  Id at = b.Cast(b.Int(0), DType::kI64);
  for (int i = 0; i < rank; ++i) {
    at = b.Add(at,
               b.Mul(Positions(b, dims[i], i, rank, DType::kI64), strides[i]));
  }
  const Id none = b.Int(std::numeric_limits<int64_t>::max());
  const View values = WindowsOf(b,
                                PadWith(b, x, plan.before, plan.after,
                                        PadMode::kConstant, Lowest(b, dtype)),
                                plan.options);
  const View places = WindowsOf(b,
                                PadWith(b, b.Expand(at, dims), plan.before,
                                        plan.after, PadMode::kConstant, none),
                                plan.options);
  const Id best =
      Unsqueeze(b, b.Reduce(Op::kMax, values.node, values.taps), values.taps);
  const Id hit = b.Equal(values.node, best);
  return b.Reduce(Op::kMin, b.Where(hit, places.node, none), values.taps);
}

Id LocalResponseNormalize(Builder& b, Id x, const ResponseOptions& options) {
  if (Failed(b, x)) return kNoNode;
  if (b.Rank(x) < 2 || options.size < 1 || options.size > ir::kMaxElements) {
    return b.Invalid(absl::StrCat("local response normalization over ",
                                  options.size, " channels of ",
                                  b.ShapeText(x)));
  }
  const Id v = Widened(b, x);
  std::vector<Id> before(b.Rank(x), b.Int(0));
  std::vector<Id> after = before;
  before[1] = b.Int((options.size - 1) / 2);
  after[1] = b.Int(options.size / 2);
  const Id windows =
      b.Window(b.Pad(Square(b, v), before, after), 1, options.size, 1, 1);
  const Id sum = b.Reduce(Op::kAdd, windows, {-1});
  const double share = options.alpha / static_cast<double>(options.size);
  const Id base = b.Add(b.Mul(sum, b.Float(share)), b.Float(options.bias));
  return b.Cast(b.Div(v, Pow(b, base, b.Float(options.beta))), b.DTypeOf(x));
}

}  // namespace quern::graph
