# SPDX-License-Identifier: Apache-2.0
"""Expressions as nodes, and the one message that a set of them becomes.

Nodes are immutable and know their operands, so an expression is kept by its
last node. build() walks them without recursion, gives equal steps one name, and
numbers everything by first use: the same expression is the same bytes, whatever
its inputs hold, and the server knows it by their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import numpy.typing as npt

from quern._proto import graph_pb2, tensor_pb2
from quern.dtypes import DType, as_dtype, by_number

Array = npt.NDArray[Any]
Dim = Union[int, str]
"""A size: a number, or the name of a size that is free until the run."""
Shape = tuple[Dim, ...]
Scalar = Union[bool, int, float]
AttributeValue = Union[Scalar, str, DType, Sequence[int], Sequence[float],
                       Sequence[Dim]]

# Parameters of the vocabulary whose field cannot be told from the value: floats
# that may be written as integers, and single sizes.
_FLOATS = frozenset({"alpha", "beta", "epsilon"})
_SIZES = frozenset({"depth", "size"})


class Spec(NamedTuple):
    """What is known of a value before it is computed."""

    shape: Shape
    dtype: DType


@dataclass(frozen=True, eq=False)
class InputSource:
    """Where the elements of an input come from; identity makes the input."""

    name: str  # Empty: chosen by build().
    device: str
    array: Optional[Array]  # None: given at the run.


@dataclass(frozen=True, eq=False)
class WeightSource:
    """A weight's elements and the hash that the server knows them by."""

    content: bytes
    sha256: bytes


@dataclass(frozen=True, eq=False)
class Node:
    """One step, input or weight; compare by identity."""

    op: str
    operands: tuple[Value, ...]
    attributes: tuple[tuple[str, bytes], ...]  # Serialized; sorted by name.
    results: tuple[Spec, ...]
    device: Optional[str]  # None: wherever it is needed; "": the default one.
    source: Union[InputSource, WeightSource, None] = None


class Value(NamedTuple):
    """One result of a node."""

    node: Node
    result: int = 0

    @property
    def shape(self) -> Shape:
        return self.node.results[self.result].shape

    @property
    def dtype(self) -> DType:
        return self.node.results[self.result].dtype


class Expression:
    """What stands for a value that a server can compute."""

    __slots__ = ("_value",)
    _value: Value

    @property
    def value(self) -> Value:
        """The node that computes it."""
        return self._value


@dataclass(frozen=True)
class BuiltGraph:
    """A graph as it is submitted, with what its runs need."""

    content: bytes
    """A serialized quern.v1.Graph."""
    sha256: bytes
    feeds: Mapping[str, Array]
    """The inputs that have elements."""
    placeholders: Mapping[str, Spec]
    """The inputs that do not: they are given at the run."""
    weights: tuple[WeightSource, ...]
    outputs: Mapping[str, Spec]


def input_node(array: Optional[Array], spec: Spec, name: str,
               device: str) -> Node:
    if name.startswith("%"):
        raise ValueError(f"expected an input's name without '%' in front, got "
                         f"{name!r}")
    return Node("input", (), (), (spec,), device,
                InputSource(name, device, array))


def weight_node(array: Array, spec: Spec) -> Node:
    content = array.tobytes()
    return Node("weight", (), (), (spec,), None,
                WeightSource(content, hashlib.sha256(content).digest()))


def encode(name: str, value: AttributeValue) -> bytes:
    """A parameter of a node as a serialized quern.v1.Attribute.

    Raises TypeError for a value of no type that parameters have.
    """
    attribute = graph_pb2.Attribute()
    if isinstance(value, DType):
        attribute = graph_pb2.Attribute(data_type=wire_type(value))
    elif isinstance(value, (bool, np.bool_)):
        attribute.bool_value = bool(value)
    elif isinstance(value, (int, np.integer)):
        if name in _FLOATS:
            attribute.float_value = float(value)
        elif name in _SIZES:
            attribute.size.constant = int(value)
        else:
            attribute.int_value = int(value)
    elif isinstance(value, (float, np.floating)):
        attribute.float_value = float(value)
    elif isinstance(value, str):
        if name in _SIZES:
            attribute.size.variable = value
        else:
            attribute.string_value = value
    elif isinstance(value, Sequence):
        _encode_list(name, value, attribute)
    else:
        raise TypeError(f"expected a number, text, a type or a list of numbers "
                        f"or sizes for {name!r}, got {type(value).__name__}")
    return attribute.SerializeToString()


def _encode_list(name: str, values: Sequence[Any],
                 attribute: graph_pb2.Attribute) -> None:
    if all(isinstance(v, (int, np.integer)) for v in values):
        attribute.ints.values.extend(int(v) for v in values)
        attribute.ints.SetInParent()
    elif all(isinstance(v, (int, np.integer, str)) for v in values):
        for v in values:
            size = attribute.sizes.values.add()
            if isinstance(v, str):
                size.variable = v
            else:
                size.constant = int(v)
    elif all(isinstance(v, (int, float, np.integer, np.floating))
             for v in values):
        attribute.floats.values.extend(float(v) for v in values)
    else:
        raise TypeError(f"expected numbers or sizes in {name!r}, got "
                        f"{list(values)!r}")


def ordered(outputs: Sequence[Value]) -> list[Node]:
    """The nodes of `outputs`, each once and after those that it reads."""
    order: list[Node] = []
    begun: set[int] = set()
    stack: list[tuple[Node, bool]] = [
        (value.node, False) for value in reversed(outputs)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in begun:
            begun.add(id(node))
            stack.append((node, True))
            stack.extend((operand.node, False)
                         for operand in reversed(node.operands))
    return order


class _Builder:
    """One graph in the making."""

    def __init__(self, reserved: set[str]) -> None:
        self.graph = graph_pb2.Graph()
        self.names: dict[int, str] = {}  # By id of a node.
        self.known: dict[tuple[Any, ...], str] = {}  # Equal steps.
        self.reserved = reserved
        self.taken: set[str] = set()
        self.feeds: dict[str, Array] = {}
        self.placeholders: dict[str, Spec] = {}
        self.weights: list[WeightSource] = []

    def name_of(self, value: Value) -> str:
        name = self.names[id(value.node)]
        return f"{name}.{value.result}" if value.result else name

    def add(self, node: Node) -> None:
        """Adds a node whose operands have been added."""
        operands = tuple(self.name_of(operand) for operand in node.operands)
        if isinstance(node.source, InputSource):
            name = self._add_input(node, node.source)
        elif isinstance(node.source, WeightSource):
            spec = node.results[0]
            key: tuple[Any, ...] = (node.source.sha256, spec)
            name = self.known.get(key) or self._add_weight(node.source, spec)
            self.known[key] = name
        else:
            key = (node.op, operands, node.attributes)
            name = self.known.get(key) or self._add_step(node, operands)
            self.known[key] = name
        self.names[id(node)] = name

    def _add_input(self, node: Node, source: InputSource) -> str:
        spec = node.results[0]
        name = source.name
        number = len(self.graph.inputs)
        while not name or (not source.name and name in self.reserved):
            name = f"input{number}"
            number += 1
        if name in self.taken:
            raise ValueError(f"two inputs have the name {name!r}")
        self.taken.add(name)
        entry = self.graph.inputs.add(
            name=name, device=source.device,
            data_type=wire_type(spec.dtype))
        for dim in spec.shape:
            if isinstance(dim, str):
                entry.dims.add(variable=dim)
            else:
                entry.dims.add(constant=dim)
        if source.array is None:
            self.placeholders[name] = spec
        else:
            self.feeds[name] = source.array
        return name

    def _add_weight(self, source: WeightSource, spec: Spec) -> str:
        name = f"%w{len(self.graph.weights)}"
        self.graph.weights.add(
            name=name, sha256=source.sha256,
            data_type=wire_type(spec.dtype),
            dims=[dim for dim in spec.shape if isinstance(dim, int)])
        self.weights.append(source)
        return name

    def _add_step(self, node: Node, operands: tuple[str, ...]) -> str:
        name = f"%{len(self.graph.nodes)}"
        step = self.graph.nodes.add(op=node.op, operands=operands)
        step.results.extend(f"{name}.{i}" if i else name
                            for i in range(len(node.results)))
        for key, content in node.attributes:
            step.attributes[key].ParseFromString(content)
        return name


def build(outputs: Mapping[str, Expression]) -> BuiltGraph:
    """The graph that computes `outputs`.

    Raises ValueError if there are none, or if two inputs have one name. Costs
    time linear in the number of nodes.
    """
    if not outputs:
        raise ValueError("expected at least one output, got none")
    values = {name: output.value for name, output in outputs.items()}
    order = ordered(list(values.values()))
    builder = _Builder({node.source.name for node in order
                        if isinstance(node.source, InputSource)})
    for node in order:
        builder.add(node)
    for name, value in values.items():
        builder.graph.outputs.add(name=name, value=builder.name_of(value))
    # The order of map entries is not fixed otherwise.
    content = builder.graph.SerializeToString(deterministic=True)
    return BuiltGraph(
        content, hashlib.sha256(content).digest(), builder.feeds,
        builder.placeholders, tuple(builder.weights),
        {name: Spec(value.shape, value.dtype.strong)
         for name, value in values.items()})


def wire_type(dtype: DType) -> str:
    """The name of a quern.v1.DataType."""
    return tensor_pb2.DataType.Name(dtype.number)


def to_array(tensor: tensor_pb2.Tensor) -> Array:
    """A tensor of the wire as an array that cannot be written to."""
    dtype = by_number(tensor.data_type).numpy
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.dims))


def to_wire(array: Array, dtype: Optional[DType] = None) -> tensor_pb2.Tensor:
    """An array as a tensor of the wire; TypeError for types it has none for."""
    array = np.asarray(array)
    dtype = dtype or as_dtype(array.dtype)
    return tensor_pb2.Tensor(
        data_type=wire_type(dtype),
        dims=array.shape, data=little_endian(array).tobytes())


def little_endian(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)
