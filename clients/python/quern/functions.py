# SPDX-License-Identifier: Apache-2.0
"""Functions of tensors, and of what becomes one.

What the vocabulary has is one node; the server composes it. Shapes are written
as [batch, channels, height, width].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union

import numpy as np

from quern import dtypes, shapes
from quern.dtypes import DTypeLike, as_dtype
from quern.shapes import Axes
from quern.tensor import Tensor, TensorLike, alike, as_tensor, call, call_all
from quern.tensor import _real

Pair = Union[int, Sequence[int]]
"""One number for both spatial axes, or one for each."""


def exp(x: TensorLike) -> Tensor:
    """e^x; integers as f32, as for all functions of real numbers here."""
    return as_tensor(x).exp()


def log(x: TensorLike) -> Tensor:
    """The natural logarithm."""
    return as_tensor(x).log()


def sqrt(x: TensorLike) -> Tensor:
    """The square root."""
    return as_tensor(x).sqrt()


def sin(x: TensorLike) -> Tensor:
    """The sine of radians."""
    return as_tensor(x).sin()


def cos(x: TensorLike) -> Tensor:
    """The cosine of radians."""
    return as_tensor(x).cos()


def tanh(x: TensorLike) -> Tensor:
    """The hyperbolic tangent."""
    return as_tensor(x).tanh()


def erf(x: TensorLike) -> Tensor:
    """The error function."""
    return as_tensor(x).erf()


def sigmoid(x: TensorLike) -> Tensor:
    """1 / (1 + e^-x)"""
    return as_tensor(x).sigmoid()


def relu(x: TensorLike) -> Tensor:
    """x, or 0 where x is negative."""
    return as_tensor(x).relu()


def gelu(x: TensorLike, approximate: bool = False) -> Tensor:
    """x times the normal distribution's integral; or its approximation by
    tanh."""
    name = "quern.gelu_tanh@1" if approximate else "quern.gelu@1"
    return call(name, _real(x))


def silu(x: TensorLike) -> Tensor:
    """x times the sigmoid of x."""
    return call("quern.swish@1", _real(x))


def absolute(x: TensorLike) -> Tensor:
    """The absolute value."""
    return as_tensor(x).abs()


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """The greater; NaN if either is NaN."""
    return call("max", x, y)


def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """The lesser; NaN if either is NaN."""
    return call("min", x, y)


def clip(x: TensorLike, least: Union[int, float, None] = None,
         greatest: Union[int, float, None] = None) -> Tensor:
    """x between bounds; None is no bound."""
    return call("quern.clip@1", x, least=least, greatest=greatest)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """x where the bool `condition` is true, else y."""
    return call("where", condition, x, y)


def softmax(x: TensorLike, axis: Union[int, Sequence[int]] = -1) -> Tensor:
    """e^x divided by its sum over `axis`."""
    return as_tensor(x).softmax(axis)


def log_softmax(x: TensorLike, axis: Union[int, Sequence[int]] = -1) -> Tensor:
    """The logarithm of softmax."""
    tensor = _real(x)
    axes = shapes.axes_of(axis, tensor.ndim, "log_softmax")
    return call("quern.log_softmax@1", tensor, axes=axes)


def layer_norm(x: TensorLike, scale: Optional[TensorLike] = None,
               bias: Optional[TensorLike] = None, *, axis: Axes = -1,
               epsilon: float = 1e-5) -> Tensor:
    """x normalized over `axis`, times `scale` and plus `bias`, in x's type."""
    if bias is not None and scale is None:
        scale = 1
    operands = [part for part in (scale, bias) if part is not None]
    tensor = as_tensor(x)
    axes = shapes.axes_of(axis, tensor.ndim, "layer_norm")
    return call("quern.layer_norm@1", tensor, *operands, axes=axes,
                epsilon=epsilon)


def rms_norm(x: TensorLike, scale: Optional[TensorLike] = None, *,
             axis: Axes = -1, epsilon: float = 1e-5) -> Tensor:
    """x divided by the root of its mean square over `axis`, times `scale`."""
    operands = [] if scale is None else [scale]
    tensor = as_tensor(x)
    axes = shapes.axes_of(axis, tensor.ndim, "rms_norm")
    return call("quern.rms_norm@1", tensor, *operands, axes=axes,
                epsilon=epsilon)


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """[.., m, k] @ [.., k, n] -> [.., m, n], with NumPy's rules otherwise."""
    return call("quern.matmul@1", x, y)


def conv2d(x: TensorLike, filters: TensorLike,
           bias: Optional[TensorLike] = None, *, stride: Pair = 1,
           padding: Pair = 0, dilation: Pair = 1, groups: int = 1) -> Tensor:
    """The convolution of images with filters.

    x [batch, channels, height, width] and filters [filters, channels / groups,
    rows, columns] give [batch, filters, height', width']; `bias` is [filters].
    `padding` zeros stand on both sides of an axis.
    """
    tensor = as_tensor(x)
    shapes.same([None] * 4, tensor.shape, "conv2d")
    pads = shapes.per_axis(padding, 2, 0, "conv2d: padding")
    operands = [] if bias is None else [bias]
    return call("quern.conv@1", tensor, filters, *operands,
                strides=shapes.per_axis(stride, 2, 1, "conv2d: stride"),
                dilations=shapes.per_axis(dilation, 2, 1, "conv2d: dilation"),
                pads_before=pads, pads_after=pads, groups=groups)


def max_pool2d(x: TensorLike, size: Pair, stride: Optional[Pair] = None,
               padding: Pair = 0) -> Tensor:
    """The greatest element of each window of [batch, channels, height, width].

    `stride` is `size` if it is not given; padding never is the greatest.
    """
    tensor = as_tensor(x)
    least: Union[int, float] = -np.inf
    if not tensor.dtype.is_float:
        least = int(np.iinfo(tensor.dtype.numpy).min)
    windows = _windows(tensor, size, stride, padding, least, "max_pool2d")
    return windows.max(axis=(-2, -1))


def avg_pool2d(x: TensorLike, size: Pair, stride: Optional[Pair] = None,
               padding: Pair = 0) -> Tensor:
    """The mean of each window of [batch, channels, height, width].

    `stride` is `size` if it is not given; padding counts as zeros.
    """
    windows = _windows(_real(x), size, stride, padding, 0, "avg_pool2d")
    return windows.mean(axis=(-2, -1))


def _windows(x: Tensor, size: Pair, stride: Optional[Pair], padding: Pair,
             value: Union[int, float], what: str) -> Tensor:
    """[batch, channels, rows, columns, size, size]"""
    shapes.same([None] * 4, x.shape, what)
    taps = shapes.per_axis(size, 2, 1, f"{what}: size")
    strides = taps if stride is None else shapes.per_axis(
        stride, 2, 1, f"{what}: stride")
    pads = shapes.per_axis(padding, 2, 0, f"{what}: padding")
    if any(pads):
        x = x.pad([(0, 0), (0, 0), *((p, p) for p in pads)], value=value)
    for axis in (2, 3):
        x = call("window", x, axis=axis, taps=taps[axis - 2],
                 stride=strides[axis - 2])
    return x


def concat(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Tensors one after the other along one axis."""
    return call("concat", *tensors, axis=axis)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Tensors, or numbers, along a new axis."""
    return call("quern.stack@1", *tensors, axis=axis)


def split(x: TensorLike, sizes: Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts of `sizes` along one axis."""
    return call_all("quern.split@1", x, sizes=sizes, axis=axis)


def take(x: TensorLike, indices: TensorLike, axis: int = 0) -> Tensor:
    """Slices of x at the indices along one axis; negative ones count from the
    end. Positions outside the axis are clamped to it."""
    return call("quern.take@1", x, indices, axis=axis)


gather = take


def take_along_axis(x: TensorLike, indices: TensorLike, axis: int) -> Tensor:
    """x with the coordinate of `axis` replaced by the indices."""
    return call("quern.gather_elements@1", x, indices, axis=axis)


def arange(size: int) -> Tensor:
    """0, 1, .. size - 1 as weak integers, on no device."""
    return call("iota", size=size)


def full(shape: Sequence[int], value: Union[bool, int, float],
         dtype: Optional[DTypeLike] = None) -> Tensor:
    """One constant in every element, on no device."""
    return Tensor(value, dtype).expand(tuple(shape))


def zeros(shape: Sequence[int], dtype: DTypeLike = dtypes.f32) -> Tensor:
    """Zeros, on no device."""
    return full(shape, 0, as_dtype(dtype))


def ones(shape: Sequence[int], dtype: DTypeLike = dtypes.f32) -> Tensor:
    """Ones, on no device."""
    return full(shape, 1, as_dtype(dtype))


def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """x / y rounded down."""
    return as_tensor(x) // y


def power(x: TensorLike, y: TensorLike) -> Tensor:
    """x to the power y."""
    return call("quern.pow@1", *alike(x, y))
