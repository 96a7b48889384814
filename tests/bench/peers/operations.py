# SPDX-License-Identifier: Apache-2.0
"""Single operations as ONNX models, with the work that each of them is.

GEMMs have two inputs, everything else has its weights in the model. All are
f32, and their values lie in [-1, 1).
"""

import dataclasses
import math
import zlib
from collections.abc import Sequence

import numpy
import onnx

FLOAT = onnx.TensorProto.FLOAT
# 64 MB of f32, as rows of 4096.
LARGE = (4096, 4096)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A node, its inputs and weights by name and shape, and its output."""
    name: str
    group: str
    op: str
    inputs: dict[str, Sequence[int]]
    weights: dict[str, Sequence[int]]
    output: Sequence[int]
    flop: int
    attributes: dict = dataclasses.field(default_factory=dict)

    def work(self) -> dict[str, int]:
        """Operations, and bytes if each tensor is read or written once."""
        shapes = [*self.inputs.values(), *self.weights.values()]
        return {"flop": self.flop,
                "read_bytes": 4 * sum(map(math.prod, shapes)),
                "written_bytes": 4 * math.prod(self.output)}

    def model(self) -> onnx.ModelProto:
        helper = onnx.helper
        random = numpy.random.default_rng(zlib.crc32(self.name.encode()))
        graph = helper.make_graph(
            [helper.make_node(self.op, [*self.inputs, *self.weights], ["y"],
                              **self.attributes)], self.name,
            [helper.make_tensor_value_info(name, FLOAT, shape)
             for name, shape in self.inputs.items()],
            [helper.make_tensor_value_info("y", FLOAT, self.output)],
            [onnx.numpy_helper.from_array(
                random.uniform(-1, 1, shape).astype("f4"), name)
             for name, shape in self.weights.items()])
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def gemm(size: int) -> Operation:
    square = (size, size)
    return Operation(f"gemm_{size}", "gemm", "MatMul",
                     {"a": square, "b": square}, {}, square, 2 * size ** 3)


def gemv(rows: int, size: int = 4096) -> Operation:
    """A few rows times a square matrix of weights."""
    name = f"gemv_{size}" + (f"_rows{rows}" if rows > 1 else "")
    return Operation(name, "gemv", "MatMul", {"x": (rows, size)},
                     {"w": (size, size)}, (rows, size), 2 * rows * size ** 2)


def conv(channels: int, out: int, size: int, kernel: int, stride: int = 1,
         batch: int = 1) -> Operation:
    """A convolution of a square image with bias, padded by half the kernel."""
    name = f"conv_{channels}x{out}_{size}_k{kernel}"
    name += f"_s{stride}" if stride > 1 else ""
    name += f"_b{batch}" if batch > 1 else ""
    across = (size + 2 * (kernel // 2) - kernel) // stride + 1
    output = (batch, out, across, across)
    return Operation(
        name, "conv", "Conv", {"x": (batch, channels, size, size)},
        {"w": (out, channels, kernel, kernel), "b": (out,)}, output,
        2 * math.prod(output) * channels * kernel ** 2,
        {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4,
         "strides": [stride] * 2})


def large(name: str, op: str, inputs: int = 1, weights: Sequence[str] = (),
          **attributes) -> Operation:
    """An operation on 64 MB that memory bounds: its flop do not count."""
    return Operation(name, "memory", op,
                     {f"x{i}": LARGE for i in range(inputs)},
                     {name: (LARGE[1],) for name in weights}, LARGE, 0,
                     attributes)


# Small and middling 3x3 and 5x5 convolutions: channels, out, size, kernel,
# batch.
PLAIN = ((3, 16, 32, 3, 1), (8, 8, 32, 3, 1), (16, 16, 32, 3, 1),
         (32, 32, 64, 3, 1), (16, 32, 64, 3, 8), (16, 32, 64, 5, 8),
         (32, 64, 128, 3, 16))


def resnet50_convs() -> list[Operation]:
    """Every shape of a convolution in ResNet-50, once."""
    shapes = [(3, 64, 224, 7, 2)]
    channels, size = 64, 56
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        wide, small = 4 * width, size // stride
        shapes += [(channels, width, size, 1, 1),    # The first block.
                   (width, width, size, 3, stride),
                   (width, wide, small, 1, 1),
                   (channels, wide, size, 1, stride),
                   (wide, width, small, 1, 1),       # The blocks after it.
                   (width, width, small, 3, 1)]
        channels, size = wide, small
    return [conv(*shape) for shape in dict.fromkeys(shapes)]


OPERATIONS = {operation.name: operation for operation in [
    *map(gemm, (256, 512, 1024, 2048)),
    *map(gemv, (1, 2, 4, 8, 16)),
    *(conv(*shape, batch=batch) for *shape, batch in PLAIN),
    *resnet50_convs(),
    large("softmax_64mb", "Softmax", axis=-1),
    large("layer_norm_64mb", "LayerNormalization", weights=("scale", "bias"),
          axis=-1),
    large("add_64mb", "Add", inputs=2),
    large("relu_64mb", "Relu")]}
