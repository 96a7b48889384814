# SPDX-License-Identifier: Apache-2.0
"""Tensor: an expression that is computed when its elements are asked for.

Constants (Python numbers and lists) have no device and a weak type: they take
the type of what they meet. An array of NumPy is an input: its elements travel
with each run and are no part of the graph. quern.weight makes one part of it.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from quern import dtypes, shapes
from quern.client import Client, default_client
from quern.dtypes import DType, DTypeLike, as_dtype, promote
from quern.graph import (Array, AttributeValue, Dim, Expression, InputSource,
                         Node, Scalar, Shape, Spec, Value, encode, input_node,
                         little_endian, weight_node)
from quern.rules import infer
from quern.shapes import Axes

TensorLike = Union["Tensor", Array, np.generic, Scalar, Sequence[Any]]
Index = Union[int, slice, None, "builtins.ellipsis"]

# The server's limit for constants in a graph.
_MAX_CONSTANTS = 65_536


class Tensor(Expression):
    """A lazy tensor.

    `data` is a NumPy array of any shape (an input, copied), a number or a
    nested list of numbers (a constant), a scalar of NumPy (a constant of its
    type) or a Tensor. `dtype` converts; a constant without one is weak. `name`
    and `device` are an input's name in a published model, and where it arrives.

    Operators broadcast as NumPy's and promote by quern.dtypes; see there.
    Raises TypeError for data or types that do not fit, ValueError for lists
    that are empty, ragged or too long.
    """

    __slots__ = ("_cached",)
    # NumPy leaves `array + tensor` to the tensor.
    __array_ufunc__ = None

    def __init__(self, data: TensorLike, dtype: Optional[DTypeLike] = None, *,
                 name: str = "", device: str = "") -> None:
        self._cached: Optional[Array] = None
        if (name or device) and not isinstance(data, np.ndarray):
            raise TypeError("expected a NumPy array with a name or a device, "
                            f"got {type(data).__name__}")
        if isinstance(data, Tensor):
            self._value = (data if dtype is None else data.cast(dtype)).value
        elif isinstance(data, np.ndarray):
            kind = as_dtype(data.dtype if dtype is None else dtype)
            self._value = Value(input_node(*_host(data, kind), name, device))
        else:
            self._value = _constant(data, dtype)

    @staticmethod
    def _of(value: Value) -> Tensor:
        tensor = Tensor.__new__(Tensor)
        tensor._value = value
        tensor._cached = None
        return tensor

    # What is known without computing.

    @property
    def shape(self) -> Shape:
        """The sizes, outermost first; a free size is its name."""
        return self._value.shape

    @property
    def dtype(self) -> DType:
        """The type of the elements, weak if nothing has decided yet."""
        return self._value.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements there are; ValueError if a size is free."""
        return shapes.product(shapes.known(d, "size") for d in self.shape)

    @property
    def device(self) -> Optional[str]:
        """Where it is: "" for the default device, None for anywhere."""
        return self._value.node.device

    def __repr__(self) -> str:
        where = f", device={self.device!r}" if self.device else ""
        return (f"Tensor({self.dtype}{shapes.text(self.shape)}, "
                f"op={self._value.node.op!r}{where})")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return shapes.known(self.shape[0], "len")

    def __bool__(self) -> bool:
        raise TypeError("a lazy tensor has no truth value; ask .numpy() or "
                        ".item() for its elements")

    # Computing.

    def numpy(self, client: Optional[Client] = None) -> Array:
        """The elements, in an array that cannot be written to.

        Computed by `client`, or quern.default_client(), at the first call and
        kept; the expression stays as it is. Type wint is int64, wfloat is
        float32, bf16 is ml_dtypes.bfloat16, or its bits in uint16 where that
        is not installed. Raises quern.Error if the server cannot.
        """
        if self._cached is None:
            (self._cached,) = (client or default_client()).evaluate([self])
        return self._cached

    def realize(self, client: Optional[Client] = None) -> Tensor:
        """Computes, and becomes an input that holds the elements; itself."""
        realize(self, client=client)
        return self

    def item(self, client: Optional[Client] = None) -> Any:
        """The only element as a Python number."""
        return self.numpy(client).item()

    def __array__(self, dtype: Optional[npt.DTypeLike] = None,
                  copy: Optional[bool] = None) -> Array:
        array = self.numpy()
        return np.array(array, dtype) if copy else np.asarray(array, dtype)

    def to(self, device: str) -> Tensor:
        """The same tensor on the named device.

        An input that is nowhere yet arrives there; all else is copied there.
        The device of what is computed is that of its operands, and two devices
        meet only by this copy. An unknown name is an Error when it runs.
        """
        if self.device == device:
            return self
        node = self._value.node
        if isinstance(node.source, InputSource) and not node.device:
            return _placed(node, device)
        return call("copy", self, device=device)

    # Types.

    def cast(self, dtype: DTypeLike) -> Tensor:
        """Converted; float to integer truncates, saturates, NaN gives 0."""
        kind = as_dtype(dtype)
        return self if kind == self.dtype else call("cast", self,
                                                    data_type=kind)

    astype = cast

    def bitcast(self, dtype: DTypeLike) -> Tensor:
        """The same bits as another type of the same size."""
        return call("bitcast", self, data_type=as_dtype(dtype))

    # Arithmetic. Integers wrap; `/` of integers is done in f32.

    def __add__(self, other: TensorLike) -> Tensor:
        return call("add", self, other)

    def __radd__(self, other: TensorLike) -> Tensor:
        return call("add", other, self)

    def __sub__(self, other: TensorLike) -> Tensor:
        return call("sub", self, other)

    def __rsub__(self, other: TensorLike) -> Tensor:
        return call("sub", other, self)

    def __mul__(self, other: TensorLike) -> Tensor:
        return call("mul", self, other)

    def __rmul__(self, other: TensorLike) -> Tensor:
        return call("mul", other, self)

    def __truediv__(self, other: TensorLike) -> Tensor:
        return call("div", _real(self), _real(other))

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return call("div", _real(other), _real(self))

    def __floordiv__(self, other: TensorLike) -> Tensor:
        return _floor_divide(self, other)

    def __rfloordiv__(self, other: TensorLike) -> Tensor:
        return _floor_divide(other, self)

    def __mod__(self, other: TensorLike) -> Tensor:
        return call("quern.floor_mod@1", self, other)

    def __rmod__(self, other: TensorLike) -> Tensor:
        return call("quern.floor_mod@1", other, self)

    def __pow__(self, other: TensorLike) -> Tensor:
        return call("quern.pow@1", *alike(self, other))

    def __rpow__(self, other: TensorLike) -> Tensor:
        return call("quern.pow@1", *alike(other, self))

    def __matmul__(self, other: TensorLike) -> Tensor:
        return call("quern.matmul@1", self, other)

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return call("quern.matmul@1", other, self)

    def __neg__(self) -> Tensor:
        return call("neg", self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return self.abs()

    # Comparisons give bool, element by element. NaN equals nothing.

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return call("cmpeq", self, _operand(other))

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return call("cmpne", self, _operand(other))

    def __lt__(self, other: TensorLike) -> Tensor:
        return call("cmplt", self, other)

    def __gt__(self, other: TensorLike) -> Tensor:
        return call("quern.greater@1", self, other)

    def __le__(self, other: TensorLike) -> Tensor:
        return call("quern.less_or_equal@1", self, other)

    def __ge__(self, other: TensorLike) -> Tensor:
        return call("quern.greater_or_equal@1", self, other)

    # Bits, of integers and bool.

    def __and__(self, other: TensorLike) -> Tensor:
        return call("and", self, other)

    def __rand__(self, other: TensorLike) -> Tensor:
        return call("and", other, self)

    def __or__(self, other: TensorLike) -> Tensor:
        return call("or", self, other)

    def __ror__(self, other: TensorLike) -> Tensor:
        return call("or", other, self)

    def __xor__(self, other: TensorLike) -> Tensor:
        return call("xor", self, other)

    def __rxor__(self, other: TensorLike) -> Tensor:
        return call("xor", other, self)

    def __invert__(self) -> Tensor:
        return call("xor", self, True if self.dtype == dtypes.bool_ else -1)

    def __lshift__(self, other: TensorLike) -> Tensor:
        return call("shl", self, other)

    def __rshift__(self, other: TensorLike) -> Tensor:
        return call("shr", self, other)

    # Elementwise functions; those of real numbers take integers as f32.

    def abs(self) -> Tensor:
        return call("quern.abs@1", self)

    def exp(self) -> Tensor:
        return call("quern.exp@1", _real(self))

    def log(self) -> Tensor:
        """The natural logarithm."""
        return call("quern.log@1", _real(self))

    def sqrt(self) -> Tensor:
        return call("sqrt", _real(self))

    def sin(self) -> Tensor:
        return call("sin", _real(self))

    def cos(self) -> Tensor:
        return call("quern.cos@1", _real(self))

    def tanh(self) -> Tensor:
        return call("tanh", _real(self))

    def erf(self) -> Tensor:
        return call("erf", _real(self))

    def sigmoid(self) -> Tensor:
        return call("quern.sigmoid@1", _real(self))

    def relu(self) -> Tensor:
        return call("quern.relu@1", self)

    def gelu(self) -> Tensor:
        """x times the normal distribution's integral up to x, by erf."""
        return call("quern.gelu@1", _real(self))

    def softmax(self, axis: Union[int, Sequence[int]] = -1) -> Tensor:
        """e^x divided by its sum over `axis`."""
        axes = shapes.axes_of(axis, self.ndim, "softmax")
        return call("quern.softmax@1", _real(self), axes=axes)

    # Reductions over `axis`: one, several, or all for None.

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """The type stays, but bool is counted in i64."""
        x = self.cast(dtypes.i64) if self.dtype == dtypes.bool_ else self
        return _reduce("quern.reduce_sum@1", x, axis, keepdims)

    def prod(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        x = self.cast(dtypes.i64) if self.dtype == dtypes.bool_ else self
        return _reduce("quern.reduce_product@1", x, axis, keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Integers are averaged in f32."""
        return _reduce("quern.reduce_mean@1", _real(self), axis, keepdims)

    def max(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return _reduce("quern.reduce_max@1", self, axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return _reduce("quern.reduce_min@1", self, axis, keepdims)

    def argmax(self, axis: int, keepdims: bool = False) -> Tensor:
        """The first position of the greatest element, i64."""
        return call("quern.argmax@1", self, axis=axis, keep=keepdims)

    def argmin(self, axis: int, keepdims: bool = False) -> Tensor:
        """The first position of the least element, i64."""
        return call("quern.argmin@1", self, axis=axis, keep=keepdims)

    # Shapes.

    def reshape(self, *shape: Union[Dim, Sequence[Dim]]) -> Tensor:
        """The same elements in row-major order; one size may be -1."""
        dims = shapes.reshaped(self.shape, _dims(shape))
        return self if dims == self.shape else call("reshape", self, dims=dims)

    def permute(self, *order: Union[int, Sequence[int]]) -> Tensor:
        """Axes in another order; negative ones count from the last."""
        axes = [shapes.axis_of(axis, self.ndim, "permute")
                if isinstance(axis, int) else axis for axis in _dims(order)]
        return call("permute", self, order=axes)

    def transpose(self, first: int = -2, second: int = -1) -> Tensor:
        """Two axes exchanged: the last two, if none are named."""
        order = list(range(self.ndim))
        first = shapes.axis_of(first, self.ndim, "transpose")
        second = shapes.axis_of(second, self.ndim, "transpose")
        order[first], order[second] = order[second], order[first]
        return call("permute", self, order=order)

    @property
    def T(self) -> Tensor:
        """All axes reversed, as NumPy's."""
        return call("permute", self, order=list(range(self.ndim))[::-1])

    def expand(self, *shape: Union[Dim, Sequence[Dim]]) -> Tensor:
        """Axes of size 1 repeated, and axes added in front."""
        return call("expand", self, dims=_dims(shape))

    broadcast_to = expand

    def flatten(self, axis: int = 1) -> Tensor:
        """Axes before `axis` merged, and those from it on: [rows, columns]."""
        return call("quern.flatten@1", self, axis=axis)

    def squeeze(self, axis: Axes = None) -> Tensor:
        """Axes of size 1 removed; all of them for None."""
        axes = ([i for i, dim in enumerate(self.shape) if dim == 1]
                if axis is None else shapes.axes_of(axis, self.ndim, "squeeze"))
        return call("quern.squeeze@1", self, axes=axes) if axes else self

    def unsqueeze(self, axis: Union[int, Sequence[int]]) -> Tensor:
        """Axes of size 1 added, so that they are `axis` of the result."""
        axes = [axis] if isinstance(axis, int) else list(axis)
        return call("quern.unsqueeze@1", self, axes=axes)

    def pad(self, widths: Sequence[tuple[int, int]], mode: str = "constant",
            value: Union[int, float] = 0) -> Tensor:
        """Padded by (before, after) elements of each axis.

        `mode` is constant, edge, reflect or wrap; negative widths cut off.
        """
        if len(widths) != self.ndim:
            raise ValueError(f"pad: expected {self.ndim} pairs of widths, got "
                             f"{len(widths)}")
        before = [width[0] for width in widths]
        after = [width[1] for width in widths]
        if mode == "constant" and value == 0 and min(before + after,
                                                     default=0) >= 0:
            return call("pad", self, before=before, after=after)
        return call("quern.pad@1", self, before=before, after=after, mode=mode,
                    value=value)

    def flip(self, axis: Axes = None) -> Tensor:
        """Axes reversed."""
        return call("flip", self, axes=shapes.axes_of(axis, self.ndim, "flip"))

    def __getitem__(self, key: Union[Index, tuple[Index, ...]]) -> Tensor:
        """Basic indexing: integers, slices, None and one Ellipsis.

        A tensor of indices is quern.take's to use.
        """
        return _index(self, key if isinstance(key, tuple) else (key,))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))


def as_tensor(like: TensorLike) -> Tensor:
    """`like` itself if it is a Tensor, otherwise one made of it."""
    return like if isinstance(like, Tensor) else Tensor(like)


Results = Sequence[tuple[Sequence[Dim], DTypeLike]]
"""The shape and the type of each result."""


def call_all(op: str, *operands: TensorLike,
             results: Optional[Results] = None,
             **parameters: Optional[AttributeValue]) -> list[Tensor]:
    """All results of one entry of the vocabulary; see call().

    `results` says what an entry gives that is newer than this client:
    [(shape, dtype), ..].
    """
    return _call(op, operands, parameters, results)


def _call(op: str, operands: Sequence[TensorLike],
          parameters: Mapping[str, Optional[AttributeValue]],
          results: Optional[Results]) -> list[Tensor]:
    tensors = [as_tensor(operand) for operand in operands]
    given = {name: value for name, value in parameters.items()
             if value is not None}
    specs = infer(op, [Spec(t.shape, t.dtype) for t in tensors], given)
    if specs is None:
        if results is None:
            raise ValueError(f"{op} is not known to this client: quern.call_all"
                             " takes results=[(shape, dtype), ..]")
        specs = [Spec(tuple(shape), as_dtype(dtype))
                 for shape, dtype in results]
    attributes = tuple((name, encode(name, given[name]))
                       for name in sorted(given))
    node = Node(op, tuple(t.value for t in tensors), attributes, tuple(specs),
                _device_of(op, tensors, given))
    return [Tensor._of(Value(node, i)) for i in range(len(specs))]


def call(op: str, *operands: TensorLike,
         **parameters: Optional[AttributeValue]) -> Tensor:
    """The result of any operation or function of the server's vocabulary.

    `op` is its name, with its version for a function: "quern.mish@1".
    Parameters have the names and types of the vocabulary; None leaves one out.
    Raises TypeError and ValueError for types and shapes that do not fit. An
    entry that is newer than this client is called by quern.call_all, which
    takes the shapes and types of its results.
    """
    tensors = _call(op, operands, parameters, None)
    if len(tensors) != 1:
        raise ValueError(f"{op} has {len(tensors)} results; quern.call_all "
                         "gives them")
    return tensors[0]


def placeholder(name: str, shape: Sequence[Dim], dtype: DTypeLike = dtypes.f32,
                device: str = "") -> Tensor:
    """An input whose elements come with the run, or with a model's request.

    A size given as text is free: placeholder("x", ("batch", 64)).
    """
    if not name:
        raise ValueError("expected a placeholder's name, got none")
    spec = Spec(tuple(shape), as_dtype(dtype))
    return Tensor._of(Value(input_node(None, spec, name, device)))


def weight(array: Array, dtype: Optional[DTypeLike] = None) -> Tensor:
    """A tensor that belongs to the graph.

    Its elements are copied, hashed, uploaded once for all graphs that use them,
    and kept by the server where they are used. For what stays the same from run
    to run; a Tensor made from an array travels with every run.
    """
    array = np.asarray(array)
    kind = as_dtype(array.dtype if dtype is None else dtype)
    return Tensor._of(Value(weight_node(*_host(array, kind))))


def from_bits(array: Array, dtype: DTypeLike) -> Tensor:
    """An input whose elements are the bits in `array`, of the same size.

    For types that NumPy has not: from_bits(uint16_array, "bf16").
    """
    kind = as_dtype(dtype)
    bits = np.array(little_endian(np.asarray(array)), order="C")
    if bits.dtype.itemsize != kind.size:
        raise TypeError(f"expected elements of {kind.size} bytes for {kind}, "
                        f"got {bits.dtype}")
    spec = Spec(bits.shape, kind)
    return Tensor._of(Value(input_node(bits.view(kind.numpy), spec, "", "")))


def realize(*tensors: Tensor, client: Optional[Client] = None) -> None:
    """Computes several tensors as one graph; each becomes an input."""
    waiting = [tensor for tensor in tensors
               if not isinstance(tensor.value.node.source, InputSource)]
    if not waiting:
        return
    arrays = (client or default_client()).evaluate(waiting)
    for tensor, array in zip(waiting, arrays):
        spec = Spec(array.shape, tensor.dtype.strong)
        tensor._value = Value(input_node(array, spec, "", tensor.device or ""))
        tensor._cached = array


def alike(x: TensorLike, y: TensorLike) -> tuple[Tensor, Tensor]:
    """Both in the type to which they promote.

    For functions whose result has the type of their first operand.
    """
    a, b = as_tensor(x), as_tensor(y)
    dtype = promote(a.dtype, b.dtype)
    return _in(a, dtype), _in(b, dtype)


def _in(x: Tensor, dtype: DType) -> Tensor:
    if x.dtype == dtype:
        return x
    if not dtype.is_weak:
        return x.cast(dtype)
    # The wire has no weak types; meeting a weak float makes one.
    return call("mul", x, 1.0)


def _real(x: TensorLike) -> Tensor:
    """`x` if it is of a float type; integers as f32, or as a weak float."""
    tensor = as_tensor(x)
    if tensor.dtype.is_float:
        return tensor
    return _in(tensor, dtypes.weak_float if tensor.dtype.is_weak
               else dtypes.f32)


def _floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    a, b = alike(x, y)
    if a.dtype.is_float:
        return call("quern.floor@1", call("div", a, b))
    return call("idiv", a - a % b, b)


def _operand(other: object) -> Tensor:
    if isinstance(other, (Tensor, np.ndarray, np.generic, bool, int, float,
                          list, tuple)):
        return as_tensor(other)
    raise TypeError("expected a tensor, an array or a number, got "
                    f"{type(other).__name__}")


def _reduce(op: str, x: Tensor, axis: Axes, keep: bool) -> Tensor:
    axes = shapes.axes_of(axis, x.ndim, op[6:-2])
    return call(op, x, axes=axes, keep=keep)


def _dims(values: Sequence[Union[Dim, Sequence[Dim]]]) -> tuple[Dim, ...]:
    """Sizes given one by one or as one sequence."""
    if len(values) == 1 and not isinstance(values[0], (int, str)):
        values = values[0]
    if not all(isinstance(value, (int, np.integer, str)) for value in values):
        raise TypeError(f"expected integers, got {values!r}")
    return tuple(v if isinstance(v, str) else int(v)  # type: ignore[arg-type]
                 for v in values)


def _device_of(op: str, tensors: Sequence[Tensor],
               parameters: Mapping[str, AttributeValue]) -> Optional[str]:
    if op == "copy":
        return str(parameters["device"])
    devices = [t.device for t in tensors if t.device is not None]
    for device in devices[1:]:
        if device != devices[0]:
            first, second = (repr(d) if d else "the default device"
                             for d in (devices[0], device))
            raise ValueError(f"{op}: operands are on {first} and {second}; "
                             "bring one to the other by .to()")
    return devices[0] if devices else None


def _placed(node: Node, device: str) -> Tensor:
    """An input that arrives on `device`."""
    assert isinstance(node.source, InputSource)
    return Tensor._of(Value(input_node(node.source.array, node.results[0],
                                       node.source.name, device)))


def _host(array: Array, dtype: DType) -> tuple[Array, Spec]:
    """A copy of `array` in `dtype` that no one else can change."""
    if dtype == dtypes.bf16 and dtypes.BFLOAT16 is None:
        raise TypeError("bf16 needs the package ml_dtypes; quern.from_bits "
                        "takes its bits without it")
    copy = np.array(array, dtype.numpy, order="C")
    copy.flags.writeable = False
    return copy, Spec(copy.shape, dtype)


def _constant(data: Any, dtype: Optional[DTypeLike]) -> Value:
    kind = None if dtype is None else as_dtype(dtype)
    if isinstance(data, np.generic):
        kind = kind or as_dtype(data.dtype)
        data = data.item()
    values: list[Scalar] = []
    shape = _flatten(data, values)
    for value in values:
        if not isinstance(value, (bool, int, float)):
            raise TypeError("expected numbers, an array or a Tensor, got "
                            f"{type(value).__name__}; quern.stack takes lists "
                            "of tensors")
        if isinstance(value, int) and not -2**63 <= value < 2**63:
            raise ValueError(f"expected integers of 64 bits, got {value}")
    if not values or len(values) > _MAX_CONSTANTS:
        raise ValueError(f"expected 1 to {_MAX_CONSTANTS} constants, got "
                         f"{len(values)}; use a NumPy array")
    if all(isinstance(value, bool) for value in values):
        kind = kind or dtypes.bool_
    if any(isinstance(value, float) for value in values) or (
            kind is not None and kind.is_float):
        values = [float(value) for value in values]
        if kind is not None and not kind.is_float:
            raise TypeError(f"expected integers for {kind}, got floats")
    else:
        values = [int(value) for value in values]
    if not shape:
        return call("const", data_type=kind, value=values[0]).value
    return call("const_array", data_type=kind, dims=shape,
                values=values).value


def _flatten(data: Any, values: list[Scalar]) -> list[int]:
    """Appends the numbers of nested lists; their shape."""
    if not isinstance(data, (list, tuple)):
        values.append(data)
        return []
    inner = [_flatten(part, values) for part in data]
    if any(shape != inner[0] for shape in inner):
        raise ValueError("expected lists of one length, got ragged ones")
    return [len(data), *(inner[0] if inner else [])]


def _index(x: Tensor, keys: tuple[Index, ...]) -> Tensor:
    full = slice(None)
    count = builtins.sum(key is not None and key is not Ellipsis
                         for key in keys)
    if count > x.ndim:
        raise IndexError(f"expected at most {x.ndim} indices into "
                         f"{shapes.text(x.shape)}, got {count}")
    dots = [i for i, key in enumerate(keys) if key is Ellipsis]
    if len(dots) > 1:
        raise IndexError("expected one Ellipsis at most")
    at = dots[0] if dots else len(keys)
    keys = (*keys[:at], *[full] * (x.ndim - count), *keys[at + 1:])
    axes: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    steps: list[int] = []
    flipped: list[int] = []
    dropped: list[int] = []
    added: list[int] = []
    axis = place = 0  # Of the tensor, and of the result.
    for key in keys:
        if key is None:
            added.append(place)
            place += 1
            continue
        if isinstance(key, slice):
            place += 1
            if key == full:
                axis += 1
                continue
            size = shapes.known(x.shape[axis], "slice")
            positions = range(*key.indices(size))
            if positions.step < 0:
                flipped.append(axis)
                positions = range(size - 1 - positions.start,
                                  size - 1 - positions.stop, -positions.step)
        elif isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            size = shapes.known(x.shape[axis], "index")
            if not -size <= key < size:
                raise IndexError(f"expected an index from {-size} to "
                                 f"{size - 1} of axis {axis} of "
                                 f"{shapes.text(x.shape)}, got {key}")
            positions = range(int(key) % size, int(key) % size + 1)
            dropped.append(axis)
        else:
            raise TypeError("expected integers, slices, None or Ellipsis, got "
                            f"{type(key).__name__}; quern.take takes tensors "
                            "of indices")
        axes.append(axis)
        begins.append(positions.start)
        ends.append(max(positions.start, positions.stop))
        steps.append(positions.step)
        axis += 1
    if flipped:
        x = call("flip", x, axes=flipped)
    if axes:
        x = call("quern.slice@1", x, axes=axes, begins=begins, ends=ends,
                 steps=steps)
    if dropped:
        x = call("quern.squeeze@1", x, axes=dropped)
    if added:
        x = call("quern.unsqueeze@1", x, axes=added)
    return x
