# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on shapes, with messages for those who got one wrong.

A size is a number or the name of a free size. Free sizes pass through; what
would have to compute with one says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional, Union

from quern.graph import Dim, Shape

Axes = Union[int, Sequence[int], None]


def text(shape: Shape) -> str:
    """[2,3,n]"""
    return "[" + ",".join(str(dim) for dim in shape) + "]"


def known(dim: Dim, what: str) -> int:
    if isinstance(dim, int):
        return dim
    raise ValueError(f"{what}: expected a known size, got the free size {dim!r}")


def axis_of(axis: int, rank: int, what: str) -> int:
    """`axis` counted from the first."""
    if not -rank <= axis < rank:
        raise ValueError(f"{what}: expected an axis from {-rank} to {rank - 1} "
                         f"of a tensor of rank {rank}, got {axis}")
    return axis % rank


def axes_of(axes: Axes, rank: int, what: str) -> list[int]:
    """Axes counted from the first, in order; all of them for None."""
    if axes is None:
        return list(range(rank))
    if isinstance(axes, int):
        axes = [axes]
    found = sorted(axis_of(axis, rank, what) for axis in axes)
    if len(set(found)) != len(found):
        raise ValueError(f"{what}: an axis is named twice: {list(axes)}")
    return found


def broadcast(shapes: Sequence[Shape], what: str) -> Shape:
    """NumPy's common shape."""
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for i, dim in enumerate(shape, rank - len(shape)):
            if result[i] == 1:
                result[i] = dim
            elif dim not in (1, result[i]):
                raise ValueError(
                    f"{what}: shapes do not broadcast: "
                    + " and ".join(text(other) for other in shapes))
    return tuple(result)


def product(dims: Iterable[Dim]) -> int:
    """The product of the sizes that are numbers."""
    result = 1
    for dim in dims:
        result *= dim if isinstance(dim, int) else 1
    return result


def reshaped(shape: Shape, dims: Sequence[Dim]) -> Shape:
    """`dims` with its one -1, if any, as what is left of `shape`."""
    what = f"reshape of {text(shape)} to {text(tuple(dims))}"
    if any(isinstance(dim, int) and dim < -1 for dim in dims):
        raise ValueError(f"{what}: expected sizes, and -1 at most once")
    free = sorted(dim for dim in shape if isinstance(dim, str))
    wanted = sorted(dim for dim in dims if isinstance(dim, str))
    if dims.count(-1) > 1:
        raise ValueError(f"{what}: expected -1 at most once")
    left = list(free)
    for dim in wanted:
        if dim not in left:
            raise ValueError(f"{what}: there is no free size {dim!r} to keep")
        left.remove(dim)
    have = product(shape)
    given = product(dim for dim in dims if dim != -1)
    if -1 in dims:
        if left and not (len(left) == 1 and have == given):
            raise ValueError(f"{what}: name the free size {left[0]!r}")
        if given == 0 or have % given != 0:
            raise ValueError(f"{what}: {have} elements do not divide by {given}")
        fill: Dim = left[0] if left else have // given
        return tuple(fill if dim == -1 else dim for dim in dims)
    if left or have != given:
        raise ValueError(f"{what}: expected {_count(shape)} elements, got "
                         f"{_count(tuple(dims))}")
    return tuple(dims)


def _count(shape: Shape) -> str:
    free = [dim for dim in shape if isinstance(dim, str)]
    return "*".join([*free, str(product(shape))])


def windows(size: Dim, taps: int, stride: int, dilation: int, padding: int,
            what: str) -> Dim:
    """How many windows fit into `size` with `padding` around it."""
    if taps < 1 or stride < 1 or dilation < 1:
        raise ValueError(f"{what}: expected taps, strides and dilations of at "
                         f"least 1, got {taps}, {stride} and {dilation}")
    reach = dilation * (taps - 1)
    if stride == 1 and padding == reach:
        return size
    room = known(size, what) + padding - reach - 1
    if room < 0:
        raise ValueError(f"{what}: a window of {reach + 1} does not fit into "
                         f"{size} with {padding} around it")
    return room // stride + 1


def matmul(x: Shape, y: Shape) -> Shape:
    """NumPy's shape of x @ y."""
    what = f"matmul of {text(x)} and {text(y)}"
    if not x or not y:
        raise ValueError(f"{what}: expected at least one axis each")
    left = x if len(x) > 1 else (1, *x)
    right = y if len(y) > 1 else (*y, 1)
    if left[-1] != right[-2]:
        raise ValueError(f"{what}: inner sizes differ: {left[-1]} and "
                         f"{right[-2]}")
    batch = broadcast([left[:-2], right[:-2]], what)
    rows = left[-2:-1] if len(x) > 1 else ()
    columns = right[-1:] if len(y) > 1 else ()
    return (*batch, *rows, *columns)


def per_axis(value: Union[int, Sequence[int], None], count: int, default: int,
             what: str) -> list[int]:
    """A number for each of `count` axes from one, several or none."""
    if value is None:
        return [default] * count
    if isinstance(value, int):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{what}: expected {count} numbers, got {list(value)}")
    return list(value)


def same(dims: Sequence[Optional[Dim]], shape: Shape, what: str) -> None:
    """Checks `shape` against sizes of which None may be any."""
    if len(dims) != len(shape) or any(
            want is not None and want != got
            for want, got in zip(dims, shape)):
        expected = ",".join("any" if d is None else str(d) for d in dims)
        raise ValueError(f"{what}: expected the shape [{expected}], got "
                         f"{text(shape)}")
