# SPDX-License-Identifier: Apache-2.0
"""What each entry of the vocabulary makes of shapes and types.

The server decides; these rules say the same beforehand, so that a mistake is
raised in the line that makes it and `shape` costs no call. A rule takes what is
known of the operands and the parameters by name, and gives what is known of the
results. A test compares every rule with the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Optional

from quern import dtypes, shapes
from quern.dtypes import DType, promote
from quern.graph import Dim, Shape, Spec

Operands = Sequence[Spec]
Parameters = Mapping[str, Any]
Rule = Callable[[str, Operands, Parameters], "list[Spec]"]

RULES: dict[str, Rule] = {}


def infer(op: str, operands: Operands,
          parameters: Parameters) -> Optional[list[Spec]]:
    """The results of a node; None if there is no rule for `op`.

    Raises ValueError for shapes and TypeError for types that do not fit.
    """
    rule = RULES.get(op)
    if rule is None:
        return None
    least, greatest = _ARITY[op]
    if len(operands) < least or (greatest >= 0 and len(operands) > greatest):
        expected = str(least)
        if greatest != least:
            expected += " or more" if greatest < 0 else f" to {greatest}"
        raise TypeError(f"{op}: expected {expected} operands, got "
                        f"{len(operands)}")
    try:
        return rule(op, operands, parameters)
    except KeyError as error:
        raise TypeError(f"{op}: the parameter {error} is missing") from None


_ARITY: dict[str, tuple[int, int]] = {}


def _rule(names: str, least: int,
          greatest: Optional[int] = None) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        for name in names.split():
            RULES[name] = rule
            _ARITY[name] = (least, least if greatest is None else greatest)
        return rule
    return add


def _quern(names: str) -> str:
    return " ".join(f"quern.{name}@1" for name in names.split())


def _common(op: str, operands: Operands) -> DType:
    del op
    return reduce(promote, (operand.dtype for operand in operands))


def _types(op: str, operands: Operands) -> TypeError:
    return TypeError(f"{op} of " + " and ".join(
        str(operand.dtype) for operand in operands))


def _broadcast(op: str, operands: Operands) -> Shape:
    return shapes.broadcast([operand.shape for operand in operands], op)


# Elementwise.

@_rule("add sub mul " + _quern("divide floor_mod trunc_mod"), 2)
def _arithmetic(op: str, x: Operands, p: Parameters) -> list[Spec]:
    dtype = _common(op, x)
    if dtype == dtypes.bool_:
        raise _types(op, x)
    return [Spec(_broadcast(op, x), dtype)]


@_rule("max min", 2)
def _extremes(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(_broadcast(op, x), _common(op, x))]


@_rule("div", 2)
def _division(op: str, x: Operands, p: Parameters) -> list[Spec]:
    dtype = _common(op, x)
    if dtype == dtypes.weak_int:
        dtype = dtypes.weak_float
    if not dtype.is_float:
        raise _types(op, x)
    return [Spec(_broadcast(op, x), dtype)]


@_rule("fma", 3)
def _fma(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if not _common(op, x).is_float:
        raise _types(op, x)
    return [Spec(_broadcast(op, x), _common(op, x))]


@_rule("idiv mod shl shr", 2)
def _integers(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if not _common(op, x).is_integer:
        raise _types(op, x)
    return [Spec(_broadcast(op, x), _common(op, x))]


@_rule("and or xor", 2)
def _bits(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if _common(op, x).is_float:
        raise _types(op, x)
    return [Spec(_broadcast(op, x), _common(op, x))]


@_rule("cmplt cmpeq cmpne " + _quern(
    "greater greater_or_equal less_or_equal not_equal"), 2)
def _comparisons(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(_broadcast(op, x), dtypes.bool_)]


@_rule("where", 3)
def _where(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if x[0].dtype != dtypes.bool_:
        raise TypeError(f"where: expected a condition of type bool, got "
                        f"{x[0].dtype}")
    return [Spec(_broadcast(op, x), _common(op, x[1:]))]


@_rule("neg " + _quern("abs ceil floor relu round sign square"), 1)
def _numbers(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if x[0].dtype == dtypes.bool_ and op == "neg":
        raise _types(op, x)
    return [x[0]]


@_rule("sqrt exp2 log2 sin tanh erf trunc", 1)
def _reals(op: str, x: Operands, p: Parameters) -> list[Spec]:
    dtype = x[0].dtype
    if dtype == dtypes.weak_int:
        dtype = dtypes.weak_float
    if not dtype.is_float:
        raise _types(op, x)
    return [Spec(x[0].shape, dtype)]


@_rule(_quern(
    "acos acosh asin asinh atan atanh cos cosh elu exp gelu gelu_tanh "
    "hard_sigmoid hard_swish log log_softmax mish reciprocal sigmoid sinh "
    "softmax softplus swish tan"), 1)
def _functions(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if "softmax" in op:
        shapes.axes_of(p["axes"], len(x[0].shape), op)
    if not x[0].dtype.is_float:
        raise TypeError(f"{op} of {x[0].dtype}, expected a float type")
    return [x[0]]


@_rule(_quern("pow"), 2)
def _power(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(_broadcast(op, x), x[0].dtype)]


@_rule(_quern("leaky_relu"), 2)
def _leaky_relu(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(_broadcast(op, x), _common(op, x))]


@_rule(_quern("clip"), 1)
def _clip(op: str, x: Operands, p: Parameters) -> list[Spec]:
    dtype = x[0].dtype
    for bound in (p.get("least"), p.get("greatest")):
        if bound is not None:
            dtype = promote(dtype, dtypes.weak_float
                            if isinstance(bound, float) else dtypes.weak_int)
    return [Spec(x[0].shape, dtype)]


@_rule(_quern("is_nan"), 1)
def _is_nan(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(x[0].shape, dtypes.bool_)]


@_rule("cast", 1)
def _cast(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(x[0].shape, p["data_type"])]


@_rule("bitcast", 1)
def _bitcast(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if x[0].dtype.size != p["data_type"].size:
        raise TypeError(f"bitcast from {x[0].dtype} to {p['data_type']}, "
                        "expected types of one size")
    return [Spec(x[0].shape, p["data_type"])]


@_rule("copy", 1)
def _copy(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [x[0]]


# Constants.

@_rule("const", 0)
def _const(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec((), _constant_type(p, [p["value"]]))]


@_rule("const_array", 0)
def _const_array(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape = tuple(p.get("dims", [len(p["values"])]))
    if shapes.product(shape) != len(p["values"]):
        raise ValueError(f"const_array: {len(p['values'])} values do not fill "
                         f"{shapes.text(shape)}")
    return [Spec(shape, _constant_type(p, p["values"]))]


def _constant_type(p: Parameters, values: Sequence[Any]) -> DType:
    if "data_type" in p:
        dtype: DType = p["data_type"]
        return dtype
    real = any(isinstance(value, float) for value in values)
    return dtypes.weak_float if real else dtypes.weak_int


@_rule("iota", 0)
def _iota(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec((p["size"],), dtypes.weak_int)]


# Movement.

@_rule("reshape", 1)
def _reshape(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(shapes.reshaped(x[0].shape, list(p["dims"])), x[0].dtype)]


@_rule("permute", 1)
def _permute(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape = x[0].shape
    if sorted(p["order"]) != list(range(len(shape))):
        raise ValueError(f"permute: expected an order of the {len(shape)} axes "
                         f"of {shapes.text(shape)}, got {list(p['order'])}")
    return [Spec(tuple(shape[axis] for axis in p["order"]), x[0].dtype)]


@_rule(_quern("transpose"), 1)
def _transpose(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape = x[0].shape
    if len(shape) < 2:
        raise ValueError(f"{op} of {shapes.text(shape)}, expected two axes")
    return [Spec((*shape[:-2], shape[-1], shape[-2]), x[0].dtype)]


@_rule("expand " + _quern("broadcast_to"), 1)
def _expand(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape, dims = x[0].shape, tuple(p["dims"])
    common = shapes.broadcast([shape, dims], op)
    if op == "expand" and common != dims:
        raise ValueError(f"expand of {shapes.text(shape)} to "
                         f"{shapes.text(dims)}")
    return [Spec(common, x[0].dtype)]


@_rule("pad " + _quern("pad"), 1)
def _pad(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape, before, after = x[0].shape, p["before"], p["after"]
    if len(before) != len(shape) or len(after) != len(shape):
        raise ValueError(f"pad: expected {len(shape)} sizes before and after, "
                         f"got {len(before)} and {len(after)}")
    dims: list[Dim] = []
    for dim, low, high in zip(shape, before, after):
        if low or high:
            dim = shapes.known(dim, "pad") + low + high
            if dim < 0:
                raise ValueError(f"pad of {shapes.text(shape)} by {before} and "
                                 f"{after} cuts off more than there is")
        dims.append(dim)
    return [Spec(tuple(dims), x[0].dtype)]


@_rule("shrink", 1)
def _shrink(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape, sizes = x[0].shape, tuple(p["sizes"])
    if len(sizes) != len(shape) or len(p["begins"]) != len(shape):
        raise ValueError(f"shrink: expected {len(shape)} begins and sizes, got "
                         f"{len(p['begins'])} and {len(sizes)}")
    return [Spec(sizes, x[0].dtype)]


@_rule(_quern("slice"), 1)
def _slice(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape = list(x[0].shape)
    axes, begins, ends = p["axes"], p["begins"], p["ends"]
    steps = p.get("steps") or [1] * len(axes)
    if not len(axes) == len(begins) == len(ends) == len(steps):
        raise ValueError(f"slice: expected begins, ends and steps of "
                         f"{len(axes)} axes, got {len(begins)}, {len(ends)} "
                         f"and {len(steps)}")
    for axis, begin, end, step in zip(axes, begins, ends, steps):
        axis = shapes.axis_of(axis, len(shape), "slice")
        size = shapes.known(shape[axis], "slice")
        if step == 0:
            raise ValueError("slice: expected a step other than 0")
        shape[axis] = len(range(*slice(begin, end, step).indices(size)))
    return [Spec(tuple(shape), x[0].dtype)]


@_rule(_quern("split"), 1)
def _split(op: str, x: Operands, p: Parameters) -> list[Spec]:
    axis = shapes.axis_of(p["axis"], len(x[0].shape), "split")
    size = shapes.known(x[0].shape[axis], "split")
    if sum(p["sizes"]) > size:
        raise ValueError(f"split: expected sizes of {size} in all, got "
                         f"{list(p['sizes'])}")
    return [Spec((*x[0].shape[:axis], part, *x[0].shape[axis + 1:]),
                 x[0].dtype) for part in p["sizes"]]


@_rule("flip", 1)
def _flip(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shapes.axes_of(p["axes"], len(x[0].shape), op)
    return [x[0]]


@_rule(_quern("squeeze"), 1)
def _squeeze(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape = x[0].shape
    axes = shapes.axes_of(p["axes"], len(shape), "squeeze")
    for axis in axes:
        if shape[axis] != 1:
            raise ValueError(f"squeeze: expected size 1 of axis {axis} of "
                             f"{shapes.text(shape)}")
    return [Spec(tuple(dim for i, dim in enumerate(shape) if i not in axes),
                 x[0].dtype)]


@_rule(_quern("unsqueeze"), 1)
def _unsqueeze(op: str, x: Operands, p: Parameters) -> list[Spec]:
    dims = list(x[0].shape)
    rank = len(dims) + len(p["axes"])
    for axis in shapes.axes_of(p["axes"], rank, "unsqueeze"):
        dims.insert(axis, 1)
    return [Spec(tuple(dims), x[0].dtype)]


@_rule(_quern("flatten"), 1)
def _flatten(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape, axis = x[0].shape, p.get("axis", 1)
    rank = len(shape)
    if not -rank <= axis <= rank:
        raise ValueError(f"flatten: expected an axis from {-rank} to {rank}, "
                         f"got {axis}")
    axis += rank if axis < 0 else 0
    return [Spec((_merged(shape[:axis]), _merged(shape[axis:])), x[0].dtype)]


def _merged(shape: Shape) -> Dim:
    rest = [dim for dim in shape if dim != 1]
    if len(rest) == 1:
        return rest[0]
    return shapes.product(shapes.known(dim, "flatten") for dim in shape)


@_rule("concat", 1, -1)
def _concat(op: str, x: Operands, p: Parameters) -> list[Spec]:
    axis = shapes.axis_of(p["axis"], len(x[0].shape), "concat")
    want: list[Optional[Dim]] = list(x[0].shape)
    want[axis] = None
    for part in x:
        shapes.same(want, part.shape, f"concat along axis {axis}")
    sizes = [part.shape[axis] for part in x]
    total: Dim = sizes[0] if len(sizes) == 1 else sum(
        shapes.known(size, "concat") for size in sizes)
    shape = x[0].shape
    return [Spec((*shape[:axis], total, *shape[axis + 1:]), _common(op, x))]


@_rule(_quern("stack"), 1, -1)
def _stack(op: str, x: Operands, p: Parameters) -> list[Spec]:
    for part in x:
        shapes.same(x[0].shape, part.shape, "stack")
    axis = shapes.axis_of(p["axis"], len(x[0].shape) + 1, "stack")
    shape = x[0].shape
    return [Spec((*shape[:axis], len(x), *shape[axis:]), _common(op, x))]


@_rule(_quern("tile"), 1)
def _tile(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape, repeats = x[0].shape, p["repeats"]
    if len(repeats) != len(shape):
        raise ValueError(f"tile: expected {len(shape)} repeats, got "
                         f"{list(repeats)}")
    return [Spec(tuple(dim if count == 1 else shapes.known(dim, "tile") * count
                       for dim, count in zip(shape, repeats)), x[0].dtype)]


@_rule(_quern("triangle"), 1)
def _triangle(op: str, x: Operands, p: Parameters) -> list[Spec]:
    if len(x[0].shape) < 2:
        raise ValueError(f"triangle of {shapes.text(x[0].shape)}, expected two "
                         "axes")
    return [x[0]]


@_rule("window", 1)
def _window(op: str, x: Operands, p: Parameters) -> list[Spec]:
    dims = list(x[0].shape)
    axis = shapes.axis_of(p["axis"], len(dims), "window")
    dims[axis] = shapes.windows(dims[axis], p["taps"], p.get("stride", 1),
                                p.get("dilation", 1), 0, "window")
    return [Spec((*dims, p["taps"]), x[0].dtype)]


# Indexed.

def _indices(op: str, spec: Spec) -> None:
    if not spec.dtype.is_integer:
        raise TypeError(f"{op}: expected indices of an integer type, got "
                        f"{spec.dtype}")


@_rule("gather " + _quern("take"), 2)
def _take(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shape = x[0].shape
    axis = shapes.axis_of(p["axis"], len(shape), op)
    _indices(op, x[1])
    return [Spec((*shape[:axis], *x[1].shape, *shape[axis + 1:]), x[0].dtype)]


@_rule(_quern("gather_elements"), 2)
def _gather_elements(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shapes.axis_of(p["axis"], len(x[0].shape), op)
    _indices(op, x[1])
    if len(x[1].shape) != len(x[0].shape):
        raise ValueError(f"{op}: expected indices of rank {len(x[0].shape)}, "
                         f"got {shapes.text(x[1].shape)}")
    return [Spec(x[1].shape, x[0].dtype)]


@_rule(_quern("one_hot"), 3)
def _one_hot(op: str, x: Operands, p: Parameters) -> list[Spec]:
    _indices(op, x[0])
    shape = x[0].shape
    axis = shapes.axis_of(p.get("axis", -1), len(shape) + 1, op)
    hot = (*shape[:axis], p["depth"], *shape[axis:])
    return [Spec(shapes.broadcast([hot, x[1].shape, x[2].shape], op),
                 _common(op, x[1:]))]


# Reductions.

def _reduced(shape: Shape, axes: list[int], keep: bool) -> Shape:
    return tuple(1 if i in axes else dim for i, dim in enumerate(shape)
                 if keep or i not in axes)


@_rule("reduce " + _quern(
    "reduce_l1 reduce_l2 reduce_log_sum reduce_log_sum_exp reduce_max "
    "reduce_mean reduce_min reduce_product reduce_sum reduce_sum_square"), 1)
def _reductions(op: str, x: Operands, p: Parameters) -> list[Spec]:
    axes = shapes.axes_of(p["axes"] if op == "reduce" else p.get("axes"),
                          len(x[0].shape), op)
    extreme = p.get("operation", op[13:16]) in ("max", "min")
    if x[0].dtype == dtypes.bool_ and not extreme:
        raise _types(op, x)
    return [Spec(_reduced(x[0].shape, axes, p.get("keep", False)), x[0].dtype)]


@_rule(_quern("argmax argmin"), 1)
def _positions(op: str, x: Operands, p: Parameters) -> list[Spec]:
    axes = [shapes.axis_of(p["axis"], len(x[0].shape), op)]
    return [Spec(_reduced(x[0].shape, axes, p.get("keep", False)), dtypes.i64)]


@_rule(_quern("cumulative"), 1)
def _cumulative(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shapes.axis_of(p["axis"], len(x[0].shape), op)
    return [x[0]]


@_rule(_quern("layer_norm rms_norm"), 1, 3)
def _normalized(op: str, x: Operands, p: Parameters) -> list[Spec]:
    shapes.axes_of(p["axes"], len(x[0].shape), op)
    return [Spec(_broadcast(op, x), x[0].dtype)]


@_rule(_quern("batch_norm"), 5)
def _batch_norm(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return _per_channel(op, x)


@_rule(_quern("group_norm"), 3)
def _group_norm(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return _per_channel(op, x)


def _per_channel(op: str, x: Operands) -> list[Spec]:
    if len(x[0].shape) < 2:
        raise ValueError(f"{op} of {shapes.text(x[0].shape)}, expected "
                         "[batch,channels,..]")
    for operand in x[1:]:
        shapes.same([x[0].shape[1]], operand.shape, op)
    return [x[0]]


# Contractions.

@_rule(_quern("matmul"), 2)
def _matmul(op: str, x: Operands, p: Parameters) -> list[Spec]:
    return [Spec(shapes.matmul(x[0].shape, x[1].shape), _common(op, x))]


@_rule(_quern("gemm"), 2, 3)
def _gemm(op: str, x: Operands, p: Parameters) -> list[Spec]:
    for operand in x[:2]:
        shapes.same([None, None], operand.shape, op)
    left = x[0].shape[::-1] if p.get("transpose_x") else x[0].shape
    right = x[1].shape[::-1] if p.get("transpose_y") else x[1].shape
    shape = shapes.matmul(left, right)
    if len(x) > 2 and shapes.broadcast([x[2].shape, shape], op) != shape:
        raise ValueError(f"{op}: {shapes.text(x[2].shape)} does not broadcast "
                         f"to {shapes.text(shape)}")
    return [Spec(shape, _common(op, x[:2]))]


@_rule(_quern("conv conv_transposed"), 2, 3)
def _conv(op: str, x: Operands, p: Parameters) -> list[Spec]:
    data, taps = x[0].shape, x[1].shape
    what = f"{op} of {shapes.text(data)} with {shapes.text(taps)}"
    count, groups = len(data) - 2, p.get("groups", 1)
    if count < 1 or len(taps) != len(data):
        raise ValueError(f"{what}: expected [batch,channels,spatial..] and as "
                         "many axes of filters")
    sizes = [shapes.known(dim, what) for dim in taps]
    transposed = op == "quern.conv_transposed@1"
    filters = sizes[1] * groups if transposed else sizes[0]
    channels = sizes[0] if transposed else sizes[1] * groups
    if groups < 1 or data[1] != channels or filters % groups:
        raise ValueError(f"{what} in {groups} groups: expected {channels} "
                         f"channels, got {data[1]}")
    if len(x) > 2:
        shapes.same([filters], x[2].shape, f"{what}: bias")
    spatial: list[Dim] = []
    values = [shapes.per_axis(p.get(name), count, default, f"{what}: {name}")
              for name, default in (("strides", 1), ("dilations", 1),
                                    ("pads_before", 0), ("pads_after", 0),
                                    ("extra", 0))]
    for i, (stride, dilation, before, after, extra) in enumerate(zip(*values)):
        dim, size = data[2 + i], sizes[2 + i]
        if transposed:
            spatial.append((shapes.known(dim, what) - 1) * stride
                           + dilation * (size - 1) + 1 - before - after + extra)
        else:
            spatial.append(shapes.windows(dim, size, stride, dilation,
                                          before + after, what))
    return [Spec((data[0], filters, *spatial), _common(op, x[:2]))]
