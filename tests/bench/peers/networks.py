# SPDX-License-Identifier: Apache-2.0
"""Well-known networks with random weights, as an exporter would write them.

EfficientNet-B0: Tan and Le, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", 2019, table 1. ConvNeXt-T: Liu et al., "A
ConvNet for the 2020s", 2022, section 2. Normalizations that follow a
convolution are folded into it.
"""

import math

import numpy
import onnx

IMAGE = (1, 3, 224, 224)
CLASSES = 1000


class Network:
    """A graph under construction; every method gives the name of a value."""

    def __init__(self, name: str):
        self._name = name
        self._random = numpy.random.default_rng(1)
        self._nodes = []
        self._weights = []

    def constant(self, values) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(onnx.numpy_helper.from_array(
            numpy.asarray(values, "f4"), name))
        return name

    def weight(self, shape: tuple[int, ...], fan_in: int) -> str:
        """Uniform, so that what is summed keeps its variance."""
        bound = math.sqrt(3 / fan_in)
        return self.constant(self._random.uniform(-bound, bound, shape))

    def bias(self, size: int, around: float = 0) -> str:
        return self.constant(around + self._random.uniform(-0.1, 0.1, size))

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(
            onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, channels: int, out: int, kernel: int,
             stride: int = 1, pad: int = 0, groups: int = 1) -> str:
        each = channels // groups
        weight = self.weight((out, each, kernel, kernel), each * kernel ** 2)
        return self.op("Conv", x, weight, self.bias(out), pads=[pad] * 4,
                       kernel_shape=[kernel] * 2, strides=[stride] * 2,
                       group=groups)

    def linear(self, x: str, size: int, out: int) -> str:
        product = self.op("MatMul", x, self.weight((size, out), size))
        return self.op("Add", product, self.bias(out))

    def layer_norm(self, x: str, size: int) -> str:
        return self.op("LayerNormalization", x, self.bias(size, 1),
                       self.bias(size), axis=-1, epsilon=1e-6)

    def swish(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def gelu(self, x: str) -> str:
        erf = self.op("Erf", self.op("Div", x, self.constant(math.sqrt(2))))
        one = self.op("Add", erf, self.constant(1))
        return self.op("Mul", self.op("Mul", x, one), self.constant(0.5))

    def model(self, output: str) -> onnx.ModelProto:
        """Of the input "x", an image, to `output`, the classes."""
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes, self._name,
            [helper.make_tensor_value_info("x", kind, IMAGE)],
            [helper.make_tensor_value_info(output, kind, (1, CLASSES))],
            self._weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def squeeze(net: Network, x: str, channels: int, reduced: int) -> str:
    """Weighs channels by what their means say."""
    mean = net.op("GlobalAveragePool", x)
    inner = net.swish(net.conv(mean, channels, reduced, 1))
    return net.op("Mul", x, net.op(
        "Sigmoid", net.conv(inner, reduced, channels, 1)))


def inverted(net: Network, x: str, channels: int, out: int, widen: int,
             kernel: int, stride: int) -> str:
    """EfficientNet's block: wide in the middle, and there by channel."""
    wide = channels * widen
    y = x if widen == 1 else net.swish(net.conv(x, channels, wide, 1))
    y = net.swish(net.conv(y, wide, wide, kernel, stride, kernel // 2, wide))
    y = net.conv(squeeze(net, y, wide, channels // 4), wide, out, 1)
    return net.op("Add", x, y) if stride == 1 and channels == out else y


def efficientnet_b0() -> onnx.ModelProto:
    net = Network("efficientnet_b0")
    x, channels = net.swish(net.conv("x", 3, 32, 3, 2, 1)), 32
    for widen, out, blocks, stride, kernel in (
            (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3)):
        for block in range(blocks):
            x = inverted(net, x, channels, out, widen, kernel,
                         stride if block == 0 else 1)
            channels = out
    x = net.swish(net.conv(x, channels, 1280, 1))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model(net.linear(x, 1280, CLASSES))


def norm_of_channels(net: Network, x: str, channels: int) -> str:
    last = net.op("Transpose", x, perm=[0, 2, 3, 1])
    return net.op("Transpose", net.layer_norm(last, channels),
                  perm=[0, 3, 1, 2])


def convnext_block(net: Network, x: str, channels: int) -> str:
    y = net.conv(x, channels, channels, 7, 1, 3, channels)
    y = net.op("Transpose", y, perm=[0, 2, 3, 1])
    y = net.linear(net.layer_norm(y, channels), channels, 4 * channels)
    y = net.linear(net.gelu(y), 4 * channels, channels)
    y = net.op("Mul", y, net.bias(channels, 0.5))
    return net.op("Add", x, net.op("Transpose", y, perm=[0, 3, 1, 2]))


def convnext_t() -> onnx.ModelProto:
    net = Network("convnext_t")
    x, channels = net.conv("x", 3, 96, 4, 4), 96
    x = norm_of_channels(net, x, channels)
    for stage, blocks in enumerate((3, 3, 9, 3)):
        if stage > 0:
            x = net.conv(norm_of_channels(net, x, channels), channels,
                         2 * channels, 2, 2)
            channels *= 2
        for _ in range(blocks):
            x = convnext_block(net, x, channels)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model(net.linear(net.layer_norm(x, channels), channels,
                                CLASSES))


NETWORKS = {"efficientnet_b0": efficientnet_b0, "convnext_t": convnext_t}
