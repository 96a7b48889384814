# SPDX-License-Identifier: Apache-2.0
"""Element types, and how they promote.

The lattice is the server's: bool, then the weak integer, the integers, the weak
float, the floats. A weak type is that of a constant that has met nothing yet; a
strong operand of its kind or above decides for it. What is still weak at the
end is i64 or f32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

try:
    from ml_dtypes import bfloat16
except ImportError:
    BFLOAT16: Optional[np.dtype[Any]] = None
else:
    BFLOAT16 = np.dtype(bfloat16)


@dataclass(frozen=True)
class DType:
    """A type of elements; compare by ==, print by str()."""

    name: str
    """As in the server's texts: "f32", "wint"."""
    size: int
    """Bytes of an element; 0 if weak."""
    kind: str
    """bool, signed, unsigned or float."""
    number: int
    """In quern.v1.DataType; 0 if weak."""
    v2: str
    """In the V2 protocol: "FP32"; empty if weak."""

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"quern.{self.name}"

    @property
    def is_weak(self) -> bool:
        return self.size == 0

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Signed or unsigned, not bool."""
        return self.kind in ("signed", "unsigned")

    @property
    def strong(self) -> DType:
        """The type when nothing decides: i64 or f32 for the weak ones."""
        if not self.is_weak:
            return self
        return f32 if self.is_float else i64

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's type; uint16 for bf16 where ml_dtypes is not installed."""
        if self == bf16 and BFLOAT16 is not None:
            return BFLOAT16
        dtype: np.dtype[Any] = np.dtype(_NUMPY[self.strong.name])
        return dtype


bool_ = DType("bool", 1, "bool", 1, "BOOL")
i8 = DType("i8", 1, "signed", 2, "INT8")
i16 = DType("i16", 2, "signed", 3, "INT16")
i32 = DType("i32", 4, "signed", 4, "INT32")
i64 = DType("i64", 8, "signed", 5, "INT64")
u8 = DType("u8", 1, "unsigned", 6, "UINT8")
u16 = DType("u16", 2, "unsigned", 7, "UINT16")
u32 = DType("u32", 4, "unsigned", 8, "UINT32")
u64 = DType("u64", 8, "unsigned", 9, "UINT64")
f16 = DType("f16", 2, "float", 10, "FP16")
bf16 = DType("bf16", 2, "float", 11, "BF16")
f32 = DType("f32", 4, "float", 12, "FP32")
f64 = DType("f64", 8, "float", 13, "FP64")
weak_int = DType("wint", 0, "signed", 0, "")
weak_float = DType("wfloat", 0, "float", 0, "")

STRONG = (bool_, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64)

# bf16 stands for its bits. Little-endian, as on the wire.
_NUMPY = {"bool": "?", "i8": "i1", "i16": "<i2", "i32": "<i4", "i64": "<i8",
          "u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "f16": "<f2",
          "bf16": "<u2", "f32": "<f4", "f64": "<f8"}
_BY_NAME = {dtype.name: dtype for dtype in STRONG}
_BY_NUMPY = {np.dtype(text): _BY_NAME[name] for name, text in _NUMPY.items()
             if name != "bf16"}
_BY_NUMBER = {dtype.number: dtype for dtype in STRONG}
_BY_V2 = {dtype.v2: dtype for dtype in STRONG}

DTypeLike = Union[DType, str, "npt.DTypeLike"]


def as_dtype(like: DTypeLike) -> DType:
    """The type that `like` names: quern.f32, "f32", "float32", np.float32.

    Raises TypeError if it names none that tensors can have.
    """
    if isinstance(like, DType):
        return like
    if isinstance(like, str) and like in _BY_NAME:
        return _BY_NAME[like]
    if isinstance(like, str) and like == "bfloat16":
        return bf16
    try:
        dtype = np.dtype(like)
    except TypeError:
        dtype = np.dtype(object)
    if BFLOAT16 is not None and dtype == BFLOAT16:
        return bf16
    known = _BY_NUMPY.get(dtype.newbyteorder("<"))
    if known is None:
        raise TypeError(f"expected one of the types {' '.join(_BY_NAME)}, or "
                        f"NumPy's name of one, got {like!r}")
    return known


def by_number(number: int) -> DType:
    """The type of a quern.v1.DataType."""
    return _BY_NUMBER[number]


def by_v2(name: str) -> DType:
    """The type of a datatype of the V2 protocol; KeyError if there is none."""
    return _BY_V2[name]


def _level(dtype: DType) -> int:
    """The place of a kind in the lattice; weak types stand below their kind."""
    if dtype == bool_:
        return 0
    if dtype.is_weak:
        return 3 if dtype.is_float else 1
    return 4 if dtype.is_float else 2


def promote(a: DType, b: DType) -> DType:
    """The type in which an operation on `a` and `b` is done."""
    if a == b:
        return a
    if _level(a) != _level(b):
        return a if _level(a) > _level(b) else b
    if a.is_float:
        if a.size == b.size:  # Neither 16-bit format holds the other.
            return f32
        return a if a.size > b.size else b
    if a.kind == b.kind:
        return a if a.size > b.size else b
    signed, unsigned = (a, b) if a.kind == "signed" else (b, a)
    if signed.size > unsigned.size:
        return signed
    # u64 with a signed type is f32, as in JAX.
    return {1: i16, 2: i32, 4: i64}.get(unsigned.size, f32)
