// SPDX-License-Identifier: Apache-2.0
//
// The functions of the vocabulary: the engine's compositions under a name and
// a version. A row is the promise that clients build on; an improvement that
// changes results is a new row with the next version.
#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"

#include "engine/base/quoted.h"
#include "engine/graph/contraction.h"
#include "engine/graph/movement.h"
#include "engine/graph/reduction.h"
#include "engine/graph/tensor_ops.h"
#include "server/import/graph/vocabulary.h"

namespace quern::graph_import {
namespace {

using ir::Builder;
using ir::Id;
using Operands = absl::Span<const Id>;
using Results = std::vector<Id>;
using P = ParameterType;

template <Id (*function)(Builder&, Id)>
Results Unary(Builder& b, Operands x, const Attributes&) {
  return {function(b, x[0])};
}

template <Id (*function)(Builder&, Id, Id)>
Results Binary(Builder& b, Operands x, const Attributes&) {
  return {function(b, x[0], x[1])};
}

template <graph::Reduction kind>
Results Reduce(Builder& b, Operands x, const Attributes& a) {
  std::vector<int64_t> axes = a["axes"].integers;
  if (!a.Has("axes")) {
    for (int i = 0; i < b.Rank(x[0]); ++i) axes.push_back(i);
  }
  return {graph::ReduceBy(b, kind, x[0], axes, a.Bool("keep"))};
}

template <bool greatest>
Results ArgReduce(Builder& b, Operands x, const Attributes& a) {
  graph::ArgOptions options;
  options.greatest = greatest;
  options.last = a.Bool("last");
  options.keep = a.Bool("keep");
  return {graph::ArgReduce(b, x[0], a.Int("axis"), options)};
}

Id Optional(Operands x, size_t i) { return i < x.size() ? x[i] : ir::kNoNode; }

graph::Windows WindowsOf(const Attributes& a) {
  return {.strides = a["strides"].integers,
          .dilations = a["dilations"].integers,
          .pads_before = a["pads_before"].sizes,
          .pads_after = a["pads_after"].sizes};
}

Results Conv(Builder& b, Operands x, const Attributes& a) {
  return {graph::Convolution(b, x[0], x[1], Optional(x, 2), a.Int("groups", 1),
                             WindowsOf(a))};
}

Results ConvTransposed(Builder& b, Operands x, const Attributes& a) {
  return {graph::TransposedConvolution(b, x[0], x[1], Optional(x, 2),
                                       a.Int("groups", 1), WindowsOf(a),
                                       a["extra"].integers)};
}

Results Gemm(Builder& b, Operands x, const Attributes& a) {
  graph::GemmOptions options;
  options.transpose_x = a.Bool("transpose_x");
  options.transpose_y = a.Bool("transpose_y");
  options.alpha = a.Float("alpha", 1);
  options.beta = a.Float("beta", 1);
  return {graph::Gemm(b, x[0], x[1], Optional(x, 2), options)};
}

Results Clip(Builder& b, Operands x, const Attributes& a) {
  const auto bound = [&](const char* name) {
    if (!a.Has(name)) return ir::kNoNode;
    const Value& value = a[name];
    return value.is_real ? b.Float(value.real) : b.Int(value.integer);
  };
  const Id least = bound("least");
  const Id greatest = bound("greatest");
  return {graph::Clip(b, x[0], least, greatest)};
}

Results Softmax(Builder& b, Operands x, const Attributes& a) {
  return {graph::Softmax(b, x[0], a["axes"].integers)};
}

Results LogSoftmax(Builder& b, Operands x, const Attributes& a) {
  return {graph::LogSoftmax(b, x[0], a["axes"].integers)};
}

// `value` rounded to the type of `like`, times the scale and plus the bias that
// follow it among the operands.
Id ScaledAs(Builder& b, Id value, Operands x) {
  if (x.size() > 1) value = b.Mul(value, x[1]);
  if (x.size() > 2) value = b.Add(value, x[2]);
  return b.Cast(value, graph::TypeOf(b, x[0]));
}

Results LayerNorm(Builder& b, Operands x, const Attributes& a) {
  const Id value =
      graph::Normalize(b, x[0], a["axes"].integers, a.Float("epsilon", 1e-5))
          .value;
  return {ScaledAs(b, value, x)};
}

Results RmsNorm(Builder& b, Operands x, const Attributes& a) {
  const Id value = graph::NormalizeByRootMeanSquare(b, x[0], a["axes"].integers,
                                                    a.Float("epsilon", 1e-5))
                       .value;
  return {ScaledAs(b, value, x)};
}

Results BatchNorm(Builder& b, Operands x, const Attributes& a) {
  return {graph::BatchNormalize(b, x[0], x[1], x[2], x[3], x[4],
                                a.Float("epsilon", 1e-5))};
}

Results GroupNorm(Builder& b, Operands x, const Attributes& a) {
  return {graph::GroupNormalize(b, x[0], x[1], x[2], a.Int("groups"),
                                a.Float("epsilon", 1e-5))};
}

Results Elu(Builder& b, Operands x, const Attributes& a) {
  return {graph::Elu(b, x[0], a.Float("alpha", 1))};
}

Results HardSigmoid(Builder& b, Operands x, const Attributes& a) {
  return {
      graph::HardSigmoid(b, x[0], a.Float("alpha", 0.2), a.Float("beta", 0.5))};
}

Results Swish(Builder& b, Operands x, const Attributes& a) {
  return {graph::Swish(b, x[0], a.Float("alpha", 1))};
}

Results Squeeze(Builder& b, Operands x, const Attributes& a) {
  return {graph::Squeeze(b, x[0], a["axes"].integers)};
}

Results Unsqueeze(Builder& b, Operands x, const Attributes& a) {
  return {graph::Unsqueeze(b, x[0], a["axes"].integers)};
}

Results Flatten(Builder& b, Operands x, const Attributes& a) {
  return {graph::Flatten(b, x[0], a.Int("axis", 1))};
}

Results BroadcastTo(Builder& b, Operands x, const Attributes& a) {
  return {graph::BroadcastTo(b, x[0], a["dims"].sizes)};
}

Results Tile(Builder& b, Operands x, const Attributes& a) {
  return {graph::Tile(b, x[0], a["repeats"].sizes)};
}

Results Slice(Builder& b, Operands x, const Attributes& a) {
  const std::vector<int64_t>& axes = a["axes"].integers;
  const std::vector<Id>& begins = a["begins"].sizes;
  const std::vector<Id>& ends = a["ends"].sizes;
  const std::vector<int64_t>& steps = a["steps"].integers;
  if (begins.size() != axes.size() || ends.size() != axes.size() ||
      (a.Has("steps") && steps.size() != axes.size())) {
    return {b.Invalid(absl::StrCat("a slice of ", axes.size(), " axes has ",
                                   begins.size(), " begins, ", ends.size(),
                                   " ends and ", steps.size(), " steps"))};
  }
  std::vector<graph::SliceAxis> slices;
  for (size_t i = 0; i < axes.size(); ++i) {
    slices.push_back({.axis = axes[i],
                      .begin = begins[i],
                      .end = ends[i],
                      .step = steps.empty() ? 1 : steps[i]});
  }
  return {graph::Slice(b, x[0], slices)};
}

Results Split(Builder& b, Operands x, const Attributes& a) {
  Results parts;
  Id begin = b.Int(0);
  for (Id size : a["sizes"].sizes) {
    parts.push_back(graph::Narrow(b, x[0], a.Int("axis"), begin, size));
    begin = b.Add(begin, size);
  }
  return parts;
}

// Scalar constants side by side, as one array of the type to which all promote.
Id StackOfConstants(Builder& b, Operands x) {
  const ir::Arena& arena = b.arena();
  ir::DType dtype = arena[x[0]].dtype;
  for (Id part : x) dtype = ir::Promote(dtype, arena[part].dtype);
  std::vector<int64_t> bits;
  for (Id part : x) {
    bits.push_back(ir::IsFloat(dtype)
                       ? std::bit_cast<int64_t>(arena.FloatValue(part))
                       : arena.IntValue(part));
  }
  const Id size = b.Int(static_cast<int64_t>(x.size()));
  return b.ConstArray(dtype, bits, {size});
}

Results Stack(Builder& b, Operands x, const Attributes& a) {
  const auto is_constant = [&](Id part) {
    return part != ir::kNoNode && b.arena().IsConst(part);
  };
  if (std::all_of(x.begin(), x.end(), is_constant)) {
    if (b.Axis(a.Int("axis"), 1) != 0) return {ir::kNoNode};
    return {StackOfConstants(b, x)};
  }
  std::vector<Id> parts;
  const std::vector<int64_t> axis = {a.Int("axis")};
  for (Id part : x) parts.push_back(graph::Unsqueeze(b, part, axis));
  return {b.Concat(parts, axis[0])};
}

Results PadWith(Builder& b, Operands x, const Attributes& a) {
  static constexpr struct {
    const char* name;
    graph::PadMode mode;
  } kModes[] = {{"constant", graph::PadMode::kConstant},
                {"edge", graph::PadMode::kEdge},
                {"reflect", graph::PadMode::kReflect},
                {"wrap", graph::PadMode::kWrap}};
  const std::string& name = a["mode"].text;
  const std::vector<Id>& before = a["before"].sizes;
  const std::vector<Id>& after = a["after"].sizes;
  if (static_cast<int>(before.size()) != b.Rank(x[0]) ||
      static_cast<int>(after.size()) != b.Rank(x[0])) {
    return {b.Invalid(absl::StrCat("padding has ", before.size(), " and ",
                                   after.size(), " sizes for rank ",
                                   b.Rank(x[0])))};
  }
  const Value& fill = a["value"];
  const Id value = fill.is_real ? b.Float(fill.real) : b.Int(fill.integer);
  for (const auto& row : kModes) {
    if (name == row.name) {
      return {graph::PadWith(b, x[0], before, after, row.mode, value)};
    }
  }
  return {b.Invalid(
      absl::StrCat("padding mode is constant, edge, reflect or wrap, got ",
                   base::Quoted(name)))};
}

Results Take(Builder& b, Operands x, const Attributes& a) {
  return {graph::Take(b, x[0], x[1], a.Int("axis"))};
}

Results GatherElements(Builder& b, Operands x, const Attributes& a) {
  return {graph::GatherElements(b, x[0], x[1], a.Int("axis"))};
}

Results OneHot(Builder& b, Operands x, const Attributes& a) {
  return {graph::OneHot(b, x[0], a["depth"].sizes[0], a.Int("axis", -1), x[1],
                        x[2])};
}

Results Triangle(Builder& b, Operands x, const Attributes& a) {
  return {graph::Triangle(b, x[0], b.Int(a.Int("diagonal")), a.Bool("upper"))};
}

Results Cumulative(Builder& b, Operands x, const Attributes& a) {
  graph::CumulativeOptions options;
  options.product = a.Bool("product");
  options.exclusive = a.Bool("exclusive");
  options.reverse = a.Bool("reverse");
  return {graph::Cumulative(b, x[0], a.Int("axis"), options)};
}

std::vector<Parameter> With(std::vector<Parameter> parameters,
                            Parameter another) {
  parameters.push_back(another);
  return parameters;
}

}  // namespace

std::vector<Entry> FunctionEntries() {
  using graph::Reduction;
  const std::vector<Parameter> axes = {{"axes", P::kInts}};
  const std::vector<Parameter> axis = {{"axis", P::kInt}};
  const std::vector<Parameter> reduced = {{"axes", P::kInts, true},
                                          {"keep", P::kBool, true}};
  const std::vector<Parameter> searched = {
      {"axis", P::kInt}, {"keep", P::kBool, true}, {"last", P::kBool, true}};
  const std::vector<Parameter> windows = {{"dilations", P::kInts, true},
                                          {"groups", P::kInt, true},
                                          {"pads_after", P::kSizes, true},
                                          {"pads_before", P::kSizes, true},
                                          {"strides", P::kInts, true}};
  const std::vector<Parameter> normalized = {{"axes", P::kInts},
                                             {"epsilon", P::kFloat, true}};
  // op, meaning, least and greatest operands, one result, parameters, function
  return {
      {"quern.abs@1", "the absolute value", 1, 1, true, {}, Unary<graph::Abs>},
      {"quern.acos@1", "inverse cosine", 1, 1, true, {}, Unary<graph::Acos>},
      {"quern.acosh@1",
       "inverse hyperbolic cosine",
       1,
       1,
       true,
       {},
       Unary<graph::Acosh>},
      {"quern.argmax@1", "the position of the greatest element of `axis`, i64",
       1, 1, true, searched, ArgReduce<true>},
      {"quern.argmin@1", "the position of the least element of `axis`, i64", 1,
       1, true, searched, ArgReduce<false>},
      {"quern.asin@1", "inverse sine", 1, 1, true, {}, Unary<graph::Asin>},
      {"quern.asinh@1",
       "inverse hyperbolic sine",
       1,
       1,
       true,
       {},
       Unary<graph::Asinh>},
      {"quern.atan@1", "inverse tangent", 1, 1, true, {}, Unary<graph::Atan>},
      {"quern.atanh@1",
       "inverse hyperbolic tangent",
       1,
       1,
       true,
       {},
       Unary<graph::Atanh>},
      {"quern.batch_norm@1",
       "x of [batch, channels, ..] normalized by known scale, bias, mean and "
       "variance of [channels]; `epsilon` is 1e-5 if left out",
       5,
       5,
       true,
       {{"epsilon", P::kFloat, true}},
       BatchNorm},
      {"quern.broadcast_to@1",
       "NumPy's broadcast to `dims`",
       1,
       1,
       true,
       {{"dims", P::kSizes}},
       BroadcastTo},
      {"quern.ceil@1",
       "the least integer that is no less",
       1,
       1,
       true,
       {},
       Unary<graph::Ceil>},
      {"quern.clip@1",
       "x between bounds that are numbers",
       1,
       1,
       true,
       {{"greatest", P::kNumber, true}, {"least", P::kNumber, true}},
       Clip},
      {"quern.conv@1",
       "x of [batch, channels, spatial..] convolved with filters of [filters, "
       "channels / groups, taps..], plus a bias of [filters] if there is one",
       2, 3, true, windows, Conv},
      {"quern.conv_transposed@1",
       "the transposed convolution with filters of [channels, filters / "
       "groups, taps..]; `extra` elements follow each spatial axis",
       2, 3, true, With(windows, {"extra", P::kInts, true}), ConvTransposed},
      {"quern.cos@1", "cosine of radians", 1, 1, true, {}, Unary<graph::Cos>},
      {"quern.cosh@1", "hyperbolic cosine", 1, 1, true, {}, Unary<graph::Cosh>},
      {"quern.cumulative@1",
       "the sum, or the `product`, of all elements up to each one of `axis`",
       1,
       1,
       true,
       {{"axis", P::kInt},
        {"exclusive", P::kBool, true},
        {"product", P::kBool, true},
        {"reverse", P::kBool, true}},
       Cumulative},
      {"quern.divide@1",
       "x / y; of integers toward zero",
       2,
       2,
       true,
       {},
       Binary<graph::Divide>},
      {"quern.elu@1",
       "x, or `alpha` (exp(x) - 1) where x is negative",
       1,
       1,
       true,
       {{"alpha", P::kFloat, true}},
       Elu},
      {"quern.exp@1", "e^x", 1, 1, true, {}, Unary<graph::Exp>},
      {"quern.flatten@1",
       "axes before `axis` merged, and those from it on",
       1,
       1,
       true,
       {{"axis", P::kInt, true}},
       Flatten},
      {"quern.floor@1",
       "the greatest integer that is no greater",
       1,
       1,
       true,
       {},
       Unary<graph::Floor>},
      {"quern.floor_mod@1",
       "the remainder with the sign of y",
       2,
       2,
       true,
       {},
       Binary<graph::FloorMod>},
      {"quern.gather_elements@1",
       "x with the coordinate of `axis` replaced by the indices", 2, 2, true,
       axis, GatherElements},
      {"quern.gelu@1",
       "x times the normal distribution's integral up to x",
       1,
       1,
       true,
       {},
       Unary<graph::Gelu>},
      {"quern.gelu_tanh@1",
       "the approximation of gelu by tanh",
       1,
       1,
       true,
       {},
       Unary<graph::GeluTanh>},
      {"quern.gemm@1",
       "`alpha` x y + `beta` c of matrices, x and y transposed if asked",
       2,
       3,
       true,
       {{"alpha", P::kFloat, true},
        {"beta", P::kFloat, true},
        {"transpose_x", P::kBool, true},
        {"transpose_y", P::kBool, true}},
       Gemm},
      {"quern.greater@1", "x > y", 2, 2, true, {}, Binary<graph::Greater>},
      {"quern.greater_or_equal@1",
       "x >= y",
       2,
       2,
       true,
       {},
       Binary<graph::GreaterOrEqual>},
      {"quern.group_norm@1",
       "each of `groups` of channels of x of [batch, channels, ..] normalized "
       "by itself, with scale and bias of [channels]",
       3,
       3,
       true,
       {{"epsilon", P::kFloat, true}, {"groups", P::kInt}},
       GroupNorm},
      {"quern.hard_sigmoid@1",
       "`alpha` x + `beta` between 0 and 1; 0.2 and 0.5 if left out",
       1,
       1,
       true,
       {{"alpha", P::kFloat, true}, {"beta", P::kFloat, true}},
       HardSigmoid},
      {"quern.hard_swish@1",
       "x times (x / 6 + 1/2 between 0 and 1)",
       1,
       1,
       true,
       {},
       Unary<graph::HardSwish>},
      {"quern.is_nan@1",
       "true where x is NaN",
       1,
       1,
       true,
       {},
       Unary<graph::IsNan>},
      {"quern.layer_norm@1",
       "x normalized over `axes`, times a scale and plus a bias if there are "
       "any; `epsilon` is 1e-5 if left out",
       1, 3, true, normalized, LayerNorm},
      {"quern.leaky_relu@1",
       "x, or x times the slope where x is negative",
       2,
       2,
       true,
       {},
       Binary<graph::LeakyRelu>},
      {"quern.less_or_equal@1",
       "x <= y",
       2,
       2,
       true,
       {},
       Binary<graph::LessOrEqual>},
      {"quern.log@1", "natural logarithm", 1, 1, true, {}, Unary<graph::Log>},
      {"quern.log_softmax@1", "the logarithm of softmax", 1, 1, true, axes,
       LogSoftmax},
      {"quern.matmul@1",
       "the product of matrices, with NumPy's rules for other ranks",
       2,
       2,
       true,
       {},
       Binary<graph::MatMul>},
      {"quern.mish@1",
       "x tanh(log(1 + e^x))",
       1,
       1,
       true,
       {},
       Unary<graph::Mish>},
      {"quern.not_equal@1", "x != y", 2, 2, true, {}, Binary<graph::NotEqual>},
      {"quern.one_hot@1",
       "a new `axis` of `depth`: the third operand at the position in the "
       "first, the second elsewhere",
       3,
       3,
       true,
       {{"axis", P::kInt, true}, {"depth", P::kSize}},
       OneHot},
      {"quern.pad@1",
       "padding by `mode`: constant, edge, reflect or wrap; negative sizes cut "
       "off",
       1,
       1,
       true,
       {{"after", P::kSizes},
        {"before", P::kSizes},
        {"mode", P::kText},
        {"value", P::kNumber, true}},
       PadWith},
      {"quern.pow@1", "x^y", 2, 2, true, {}, Binary<graph::Pow>},
      {"quern.reciprocal@1", "1 / x", 1, 1, true, {}, Unary<graph::Reciprocal>},
      {"quern.reduce_l1@1", "the sum of absolute values over `axes`, or all", 1,
       1, true, reduced, Reduce<Reduction::kL1>},
      {"quern.reduce_l2@1", "the root of the sum of squares", 1, 1, true,
       reduced, Reduce<Reduction::kL2>},
      {"quern.reduce_log_sum@1", "the logarithm of the sum", 1, 1, true,
       reduced, Reduce<Reduction::kLogSum>},
      {"quern.reduce_log_sum_exp@1", "the logarithm of the sum of e^x", 1, 1,
       true, reduced, Reduce<Reduction::kLogSumExp>},
      {"quern.reduce_max@1", "the greatest element over `axes`, or all", 1, 1,
       true, reduced, Reduce<Reduction::kMax>},
      {"quern.reduce_mean@1", "the mean over `axes`, or all", 1, 1, true,
       reduced, Reduce<Reduction::kMean>},
      {"quern.reduce_min@1", "the least element over `axes`, or all", 1, 1,
       true, reduced, Reduce<Reduction::kMin>},
      {"quern.reduce_product@1", "the product over `axes`, or all", 1, 1, true,
       reduced, Reduce<Reduction::kProduct>},
      {"quern.reduce_sum@1", "the sum over `axes`, or all", 1, 1, true, reduced,
       Reduce<Reduction::kSum>},
      {"quern.reduce_sum_square@1", "the sum of squares", 1, 1, true, reduced,
       Reduce<Reduction::kSumSquare>},
      {"quern.relu@1",
       "x, or 0 where x is negative",
       1,
       1,
       true,
       {},
       Unary<graph::Relu>},
      {"quern.rms_norm@1",
       "x divided by the root of its mean square over `axes`, times a scale "
       "and plus a bias if there are any",
       1, 3, true, normalized, RmsNorm},
      {"quern.round@1",
       "the nearest integer, halves to even",
       1,
       1,
       true,
       {},
       Unary<graph::Round>},
      {"quern.sigmoid@1",
       "1 / (1 + e^-x)",
       1,
       1,
       true,
       {},
       Unary<graph::Sigmoid>},
      {"quern.sign@1", "-1, 0 or 1", 1, 1, true, {}, Unary<graph::Sign>},
      {"quern.sinh@1", "hyperbolic sine", 1, 1, true, {}, Unary<graph::Sinh>},
      {"quern.slice@1",
       "begin, begin + step, .. before end of each of `axes`, as in NumPy",
       1,
       1,
       true,
       {{"axes", P::kInts},
        {"begins", P::kSizes},
        {"ends", P::kSizes},
        {"steps", P::kInts, true}},
       Slice},
      {"quern.softmax@1", "e^x divided by its sum over `axes`", 1, 1, true,
       axes, Softmax},
      {"quern.softplus@1",
       "log(1 + e^x)",
       1,
       1,
       true,
       {},
       Unary<graph::Softplus>},
      {"quern.split@1",
       "parts of `sizes` along `axis`, a result each",
       1,
       1,
       false,
       {{"axis", P::kInt}, {"sizes", P::kSizes}},
       Split},
      {"quern.square@1", "x x", 1, 1, true, {}, Unary<graph::Square>},
      {"quern.squeeze@1", "`axes` of size 1 removed", 1, 1, true, axes,
       Squeeze},
      {"quern.stack@1", "operands along a new `axis`", 1, -1, true, axis,
       Stack},
      {"quern.swish@1",
       "x times the sigmoid of `alpha` x",
       1,
       1,
       true,
       {{"alpha", P::kFloat, true}},
       Swish},
      {"quern.take@1",
       "slices of x at the indices along `axis`; negative ones count from the "
       "end",
       2, 2, true, axis, Take},
      {"quern.tan@1", "tangent of radians", 1, 1, true, {}, Unary<graph::Tan>},
      {"quern.tile@1",
       "x repeated along each axis",
       1,
       1,
       true,
       {{"repeats", P::kSizes}},
       Tile},
      {"quern.transpose@1",
       "the last two axes exchanged",
       1,
       1,
       true,
       {},
       Unary<graph::Transpose>},
      {"quern.triangle@1",
       "the lower, or `upper`, triangle of the last two axes from a `diagonal` "
       "on, zeros elsewhere",
       1,
       1,
       true,
       {{"diagonal", P::kInt, true}, {"upper", P::kBool, true}},
       Triangle},
      {"quern.trunc_mod@1",
       "the remainder with the sign of x",
       2,
       2,
       true,
       {},
       Binary<graph::TruncMod>},
      {"quern.unsqueeze@1", "axes of size 1 added at `axes`", 1, 1, true, axes,
       Unsqueeze},
  };
}

}  // namespace quern::graph_import
