# SPDX-License-Identifier: Apache-2.0
"""Expressions before they meet a server: bytes, mistakes, one process."""

import subprocess
import sys
import unittest

import numpy as np

import quern
from quern._proto import graph_pb2
from quern.graph import build


def expression(array):
    x = quern.Tensor(array)
    half = quern.weight(np.array([0.5, 0.25], np.float32))
    y = (x * 2 + half).softmax()
    return quern.concat([y, x * 2 + half], 0).sum(0)


def image_expression():
    """With a node of many parameters, whose order is not their own."""
    x = quern.placeholder("x", (1, 3, 8, 8))
    return quern.conv2d(x, x[..., :3, :3]) + 1


def graph_of(**outputs):
    return graph_pb2.Graph.FromString(build(outputs).content)


class BytesTest(unittest.TestCase):
    def test_equal_expressions_are_equal_bytes_whatever_their_inputs_hold(self):
        ones = build({"y": expression(np.ones((3, 2), np.float32))})
        zeros = build({"y": expression(np.zeros((3, 2), np.float32))})
        self.assertEqual(ones.content, zeros.content)
        self.assertEqual(ones.sha256, zeros.sha256)
        other = build({"y": expression(np.ones((4, 2), np.float32))})
        self.assertNotEqual(ones.content, other.content)

    def test_bytes_are_the_same_in_another_process(self):
        program = ("import test_expressions as t; "
                   "print(t.build({'y': t.image_expression()}).sha256.hex())")
        here = build({"y": image_expression()}).sha256.hex()
        for _ in range(3):
            run = subprocess.run([sys.executable, "-c", program], check=True,
                                 capture_output=True, text=True)
            self.assertEqual(run.stdout.strip(), here)

    def test_equal_steps_and_weights_are_shared(self):
        graph = graph_of(y=expression(np.ones((3, 2), np.float32)))
        self.assertEqual(sorted(node.op for node in graph.nodes),
                         ["add", "concat", "const", "mul", "quern.reduce_sum@1",
                          "quern.softmax@1"])
        self.assertEqual(len(graph.inputs), 1)
        array = np.ones(3, np.float32)
        graph = graph_of(y=quern.weight(array) + quern.weight(array.copy()))
        self.assertEqual(len(graph.weights), 1)

    def test_numbers_that_compare_equal_are_told_apart(self):
        x = quern.Tensor(np.ones(2, np.float32))
        for one, other in ((1, 1.0), (0.0, -0.0), (1, True)):
            outputs = quern.stack([quern.Tensor(one), quern.Tensor(one)])
            mixed = quern.stack([quern.Tensor(one), quern.Tensor(other)])
            self.assertEqual(len(graph_of(y=outputs, x=x).nodes), 2)
            self.assertEqual(len(graph_of(y=mixed, x=x).nodes), 3)
        nan = float("nan")
        self.assertEqual(len(graph_of(y=(x + nan) * nan).nodes), 3)

    def test_names_of_inputs_do_not_collide(self):
        a = quern.Tensor(np.ones(1), name="input0")
        b, c = quern.Tensor(np.ones(1)), quern.placeholder("%x"[1:], (1,))
        graph = graph_of(y=b + a + c)
        self.assertEqual([i.name for i in graph.inputs],
                         ["input1", "input0", "x"])
        with self.assertRaisesRegex(ValueError, "two inputs have the name 'x'"):
            build({"y": c + quern.placeholder("x", (1,))})

    def test_an_array_that_changes_later_does_not_change_the_tensor(self):
        array = np.ones(2, np.float32)
        tensor = quern.Tensor(array)
        array[0] = 7
        feeds = build({"y": tensor}).feeds
        self.assertEqual(feeds["input0"].tolist(), [1, 1])

    def test_free_sizes_pass_through(self):
        x = quern.placeholder("x", ("n", 3, 8, 8))
        y = quern.conv2d(x, quern.weight(np.ones((4, 3, 3, 3), np.float32)))
        self.assertEqual(y.shape, ("n", 4, 6, 6))
        self.assertEqual(y.reshape(-1, 144).shape, ("n", 144))
        self.assertEqual(y.reshape("n", -1).shape, ("n", 144))
        self.assertEqual(y.flatten().shape, ("n", 144))
        self.assertEqual((y[:, 0] + y[:, 1]).mean((1, 2)).shape, ("n",))
        with self.assertRaisesRegex(ValueError, "got the free size 'n'"):
            x[1:]
        with self.assertRaisesRegex(ValueError, r"do not broadcast: \[n\] and"):
            quern.placeholder("a", ("n",)) + quern.placeholder("b", ("m",))


class MistakesTest(unittest.TestCase):
    def test_each_is_raised_where_it_is_made(self):
        x = quern.Tensor(np.ones((2, 3), np.float32))
        image = quern.Tensor(np.ones((1, 3, 8, 8), np.float32))
        table = [
            (lambda: x + np.ones(4), ValueError,
             r"add: shapes do not broadcast: \[2,3\] and \[4\]"),
            (lambda: x @ x, ValueError,
             r"matmul of \[2,3\] and \[2,3\]: inner sizes differ: 3 and 2"),
            (lambda: x.sum(2), ValueError,
             "reduce_sum: expected an axis from -2 to 1 of a tensor of rank 2, "
             "got 2"),
            (lambda: x.sum((0, -2)), ValueError, "an axis is named twice"),
            (lambda: x.reshape(4, 2), ValueError,
             r"reshape of \[2,3\] to \[4,2\]: expected 6 elements, got 8"),
            (lambda: x.reshape(-1, 4), ValueError, "do not divide by 4"),
            (lambda: x.permute(0, 0), ValueError, "expected an order of the 2"),
            (lambda: x.expand(2, 4), ValueError, "do not broadcast"),
            (lambda: x[5], IndexError,
             r"from -2 to 1 of axis 0 of \[2,3\], got 5"),
            (lambda: x[0, 0, 0], IndexError, "at most 2 indices"),
            (lambda: x[x], TypeError, "quern.take takes tensors"),
            (lambda: x.pad([(0, 1)]), ValueError, "expected 2 pairs"),
            (lambda: quern.concat([x, image]), ValueError,
             r"concat along axis 0: expected the shape \[any,3\]"),
            (lambda: quern.where(x, x, x), TypeError,
             "expected a condition of type bool, got f32"),
            (lambda: x & 1, TypeError, "and of f32 and wint"),
            (lambda: quern.take(x, x), TypeError, "indices of an integer type"),
            (lambda: quern.conv2d(image, np.ones((4, 2, 3, 3))), ValueError,
             "expected 2 channels, got 3"),
            (lambda: quern.conv2d(x, x), ValueError,
             r"conv2d: expected the shape \[any,any,any,any\], got \[2,3\]"),
            (lambda: quern.max_pool2d(image, 9), ValueError,
             "a window of 9 does not fit into 8"),
            (lambda: quern.Tensor([[1], [1, 2]]), ValueError, "ragged"),
            (lambda: quern.Tensor([]), ValueError, "got 0"),
            (lambda: quern.Tensor("text"), TypeError, "expected numbers"),
            (lambda: quern.Tensor(np.array(["a"])), TypeError, "<U1"),
            (lambda: quern.Tensor(2 ** 64), ValueError, "64 bits"),
            (lambda: quern.Tensor([1.5], "i32"), TypeError, "got floats"),
            (lambda: x.cast("complex64"), TypeError, "complex64"),
            (lambda: bool(x == x), TypeError, "no truth value"),
            (lambda: quern.call("quern.nope@1", x), ValueError, "not known"),
            (lambda: quern.call("iota"), TypeError, "'size' is missing"),
            (lambda: quern.call("add", x), TypeError, "2 operands, got 1"),
            (lambda: x == "x", TypeError, "got str"),
        ]
        for make, error, message in table:
            with self.subTest(message=message):
                with self.assertRaisesRegex(error, message):
                    make()

    def test_a_server_that_is_not_there_is_unavailable(self):
        with quern.Client("127.0.0.1:1", timeout=20) as client:
            self.assertFalse(client.live())
            with self.assertRaises(quern.Error) as raised:
                quern.Tensor(1).numpy(client)
            self.assertEqual(raised.exception.code.name, "UNAVAILABLE")
        with self.assertRaisesRegex(quern.Error, "CANCELLED"):
            client.devices()


class ProcessTest(unittest.TestCase):
    def test_other_packages_have_the_same_messages_in_any_order(self):
        names = ["quern", "onnx", "tritonclient.grpc"]
        for implementation in ("upb", "python"):
            for order in (names, names[::-1]):
                program = f"import {', '.join(order)}; quern.Client()"
                subprocess.run(
                    [sys.executable, "-c", program], check=True, env={
                        "PYTHONPATH": ":".join(sys.path),
                        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION":
                            implementation})


if __name__ == "__main__":
    unittest.main()
