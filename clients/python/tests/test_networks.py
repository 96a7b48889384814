# SPDX-License-Identifier: Apache-2.0
"""Whole networks, and what the compiler makes of expressions."""

import re
import unittest

import numpy as np

import quern
from daemon import ServedTestCase


def values(*shape, seed=0):
    random = np.random.default_rng(seed)
    return random.uniform(-1, 1, shape).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def conv(x, w, bias, padding):
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))
    return np.einsum("bchwij,fcij->bfhw", windows, w) + bias[:, None, None]


class NetworksTest(ServedTestCase):
    def test_a_convolutional_network(self):
        for batch, side in ((2, 12), (3, 11)):
            with self.subTest(side=side):
                x = values(batch, 3, side, side)
                w, bias = values(7, 3, 3, 3, seed=1), values(7, seed=2)
                half = side // 2
                dense = values(7 * half * half, 10, seed=3)
                y = quern.conv2d(quern.Tensor(x), quern.weight(w),
                                 quern.weight(bias), padding=1).relu()
                y = quern.max_pool2d(y, 2).flatten() @ quern.weight(dense)
                y = y.softmax()
                want = np.maximum(conv(x, w, bias, 1), 0)
                want = want[:, :, :2 * half, :2 * half].reshape(
                    batch, 7, half, 2, half, 2).max((3, 5))
                want = softmax(want.reshape(batch, -1) @ dense)
                np.testing.assert_allclose(y.numpy(), want, 1e-4, 1e-5)

    def test_pools_pad_and_step(self):
        x = values(2, 3, 9, 7)
        view = np.lib.stride_tricks.sliding_window_view
        low = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)],
                     constant_values=-np.inf)
        zero = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
        np.testing.assert_allclose(
            quern.max_pool2d(quern.Tensor(x), 3, 2, 1).numpy(),
            view(low, (3, 3), (2, 3))[:, :, ::2, ::2].max((-1, -2)))
        np.testing.assert_allclose(
            quern.avg_pool2d(quern.Tensor(x), (3, 2), (2, 1), 1).numpy(),
            view(zero, (3, 2), (2, 3))[:, :, ::2].mean((-1, -2)), 1e-5, 1e-6)

    def test_an_attention_block(self):
        batch, heads, length, width = 2, 3, 13, 8
        shape = (batch, heads, length, width)
        q, k, v = (values(*shape, seed=i) for i in range(3))
        scale, bias = values(width, seed=4), values(width, seed=5)
        x, y, z = quern.Tensor(q), quern.Tensor(k), quern.Tensor(v)
        scores = x @ y.transpose() / np.sqrt(width)
        causal = quern.arange(length).unsqueeze(1) >= quern.arange(length)
        mixed = quern.where(causal, scores, -1e9).softmax() @ z
        out = quern.layer_norm(mixed + x, quern.weight(scale),
                               quern.weight(bias))

        want = q @ k.swapaxes(-1, -2) / np.sqrt(width)
        want = np.where(np.tril(np.ones((length, length), bool)), want, -1e9)
        want = softmax(want) @ v + q
        centered = want - want.mean(-1, keepdims=True)
        want = centered / np.sqrt((centered ** 2).mean(-1, keepdims=True)
                                  + 1e-5) * scale + bias
        np.testing.assert_allclose(out.numpy(), want, 1e-4, 1e-4)

    def test_a_stack_of_numbers_times_an_input_is_one_kernel_of_two_buffers(
            self):
        y = quern.stack([1, 2, 3]) * quern.Tensor(
            np.array([5, 7, 11], np.float32))
        self.assertEqual(y.dtype, quern.f32)
        self.assertEqual(y.numpy().tolist(), [5, 14, 33])
        self.assertEqual(len(self.client.kernels(y)), 1)
        steps = [line for line in
                 self.client.explain(y, "schedule").splitlines()
                 if line.startswith("run ")]
        self.assertEqual(len(steps), 1)
        self.assertEqual(re.findall(r"(\w+)\[\d+ \w+\]", steps[0]),
                         ["output0", "input0"])
        self.assertNotIn("weight", self.client.explain(y, "graph"))

    def test_two_devices_are_joined_by_a_copy(self):
        a = values(37)
        c = quern.Tensor([float(i % 7) for i in range(37)])
        x = quern.Tensor(a).to("cpu")
        self.assertEqual(x.device, "cpu")
        y = (x + c).to("ref")
        z = y * c
        self.assertEqual(z.device, "ref")
        constants = np.arange(37, dtype=np.float32) % 7
        np.testing.assert_allclose(z.numpy(), (a + constants) * constants,
                                   1e-6)
        self.assertEqual({kernel.device for kernel in self.client.kernels(z)},
                         {"cpu", "ref"})
        with self.assertRaisesRegex(ValueError, "operands are on 'cpu' and "
                                    "'ref'; bring one to the other by .to"):
            x + y

    def test_a_chain_of_five_thousand_steps(self):
        x = quern.Tensor(values(33))
        y = x
        for i in range(2500):
            y = y * 0.5 + float(i % 3)
        want = values(33).astype(np.float64)
        for i in range(2500):
            want = want * 0.5 + i % 3
        np.testing.assert_allclose(y.numpy(), want, 1e-5)
        self.assertEqual(len(quern.graph.ordered([y.value])), 1 + 2 * 5000)

    def test_odd_sizes(self):
        for rows, inner, columns in ((1, 1, 1), (3, 17, 5), (31, 63, 33),
                                     (129, 7, 1)):
            with self.subTest(rows=rows, inner=inner, columns=columns):
                a, b = values(rows, inner), values(inner, columns, seed=1)
                np.testing.assert_allclose(
                    (quern.Tensor(a) @ quern.Tensor(b)).numpy(), a @ b, 1e-4,
                    1e-5)

    def test_empty_tensors(self):
        x = quern.Tensor(np.zeros((0, 3), np.float32))
        self.assertEqual((x + 1).numpy().shape, (0, 3))
        self.assertEqual(x.sum(0).numpy().tolist(), [0, 0, 0])


if __name__ == "__main__":
    unittest.main()
