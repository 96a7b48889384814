# SPDX-License-Identifier: Apache-2.0
"""Tensors compared with NumPy, computed by the real daemon."""

import unittest

import numpy as np

import quern
from daemon import ServedTestCase


def values(*shape, dtype=np.float32, seed=0):
    random = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return random.uniform(-2, 2, shape).astype(dtype)
    return random.integers(1, 20, shape).astype(dtype)


class TensorTest(ServedTestCase):
    def check(self, tensor, expected, rtol=1e-5, atol=1e-6):
        """Also that the shape was known beforehand."""
        self.assertEqual(tensor.shape, np.shape(expected))
        np.testing.assert_allclose(tensor.numpy(), expected, rtol, atol)

    def test_shapes_broadcast_as_in_numpy(self):
        table = [((), ()), ((3,), ()), ((3,), (1,)), ((2, 3), (3,)),
                 ((2, 1), (1, 3)), ((4, 1, 3), (2, 1)), ((1,), (5, 1, 1)),
                 ((7, 1, 5), (1, 11, 1)), ((1, 1), (1,)), ((2, 3, 5), (2, 3, 5)),
                 ((13,), (17, 13)), ((1, 6, 1, 2), (3, 1, 4, 1))]
        for left, right in table:
            with self.subTest(left=left, right=right):
                a, b = values(*left), values(*right, seed=1)
                self.check(quern.Tensor(a) + quern.Tensor(b), a + b)
                self.check(quern.Tensor(a) * quern.Tensor(b), a * b)
                self.check(quern.where(quern.Tensor(a) < quern.Tensor(b),
                                       quern.Tensor(a), 7),
                           np.where(a < b, a, 7))

    def test_operators_compute_as_numpys(self):
        a, b = values(5, 7), values(5, 7, seed=1)
        x, y = quern.Tensor(a), quern.Tensor(b)
        for got, want in [
                (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b),
                (-x, -a), (abs(x), abs(a)), (1 - x, 1 - a), (2 / x, 2 / a),
                (x % y, a % b), (x // y, a // b), (x ** 2, a ** 2),
                (x ** 3, a ** 3), (2 ** x, 2 ** a), (7 % y, 7 % b),
                (abs(x) ** y, abs(a) ** b), (a + y, a + b), (a @ y.T, a @ b.T),
                (quern.maximum(x, y), np.maximum(a, b)),
                (quern.clip(x, -0.5, 0.5), a.clip(-0.5, 0.5))]:
            self.check(got, want, rtol=2e-5, atol=2e-5)

    def test_integers_divide_down_as_in_numpy(self):
        a = np.array([7, -7, 7, -7, 0], np.int32)
        b = np.array([2, 2, -2, -2, 3], np.int32)
        x, y = quern.Tensor(a), quern.Tensor(b)
        self.check(x // y, a // b)
        self.check(x % y, a % b)
        self.check(x / y, a / b)
        self.check(7 // y, 7 // b)
        self.assertEqual((x // y).dtype, quern.i32)
        self.check(x & 3, a & 3)
        self.check(~x, ~a)
        self.check(x << 2, a << 2)
        self.check(x >> 1, a >> 1)

    def test_comparisons_give_bool_and_nan_equals_nothing(self):
        a = np.array([1, 2, np.nan, 3], np.float32)
        b = np.array([2, 2, 2, 2], np.float32)
        x = quern.Tensor(a)
        for other, number in ((quern.Tensor(b), b), (2, 2), (2.0, 2)):
            for got, want in [
                    (x < other, a < number), (x <= other, a <= number),
                    (x > other, a > number), (x >= other, a >= number),
                    (x == other, a == number), (x != other, a != number)]:
                self.assertEqual(got.numpy().dtype, np.bool_)
                np.testing.assert_array_equal(got.numpy(), want)

    def test_functions_compute_as_numpys(self):
        a = values(3, 11)
        x, p = quern.Tensor(a), quern.Tensor(abs(a) + 0.1)
        with np.errstate(all="ignore"):
            for got, want in [
                    (quern.exp(x), np.exp(a)), (quern.sin(x), np.sin(a)),
                    (quern.cos(x), np.cos(a)), (quern.tanh(x), np.tanh(a)),
                    (quern.log(p), np.log(abs(a) + np.float32(0.1))),
                    (quern.sqrt(p), np.sqrt(abs(a) + np.float32(0.1))),
                    (quern.sigmoid(x), 1 / (1 + np.exp(-a))),
                    (quern.relu(x), np.maximum(a, 0)),
                    (quern.silu(x), a / (1 + np.exp(-a))),
                    (quern.exp(quern.Tensor(np.arange(4))), np.exp(range(4))),
                    (quern.exp(2), np.exp(2)),
                    (quern.sqrt(quern.stack([1, 4, 2])), np.sqrt([1, 4, 2]))]:
                self.check(got, want, rtol=2e-5, atol=1e-5)
        gelu = quern.gelu(x).numpy()
        half = (0.5 * x * (1 + quern.erf(x / np.sqrt(2)))).numpy()
        np.testing.assert_allclose(gelu, half, rtol=1e-4, atol=1e-6)

    def test_reductions_take_any_axes(self):
        a = values(3, 5, 7)
        x = quern.Tensor(a)
        for axis in (None, 0, -1, (0, 2), (1,)):
            for keep in (False, True):
                for name in ("sum", "max", "min", "mean", "prod"):
                    with self.subTest(name=name, axis=axis, keep=keep):
                        self.check(getattr(x, name)(axis, keepdims=keep),
                                   getattr(a, name)(axis, keepdims=keep),
                                   rtol=1e-4, atol=1e-4)
        self.check(x.argmax(1), a.argmax(1))
        self.check(x.argmin(-1), a.argmin(-1))
        self.check((x > 0).sum(), (a > 0).sum())
        self.check(quern.Tensor(np.arange(4)).mean(), 1.5)

    def test_shapes_change_as_in_numpy(self):
        a = values(2, 3, 5)
        x = quern.Tensor(a)
        for got, want in [
                (x.reshape(5, -1), a.reshape(5, -1)),
                (x.reshape((30,)), a.reshape(30)),
                (x.permute(2, 0, 1), a.transpose(2, 0, 1)),
                (x.permute(-1, 0, 1), a.transpose(2, 0, 1)),
                (x.transpose(), a.swapaxes(-1, -2)), (x.T, a.T),
                (x.transpose(0, 2), a.swapaxes(0, 2)),
                (x.flatten(), a.reshape(2, 15)),
                (x[:, :1].expand(2, 3, 5), np.broadcast_to(a[:, :1], a.shape)),
                (x.expand(4, 2, 3, 5), np.broadcast_to(a, (4, 2, 3, 5))),
                (x[:1].squeeze(), a[0]), (x.unsqueeze((0, -1)), a[None, ..., None]),
                (x.flip(1), a[:, ::-1]),
                (x.pad([(1, 0), (0, 2), (3, 1)]),
                 np.pad(a, [(1, 0), (0, 2), (3, 1)])),
                (x.pad([(0, 0), (2, 1), (0, 0)], "edge"),
                 np.pad(a, [(0, 0), (2, 1), (0, 0)], "edge")),
                (x.pad([(0, 0), (1, 0), (0, 0)], value=4.5),
                 np.pad(a, [(0, 0), (1, 0), (0, 0)], constant_values=4.5)),
                (quern.concat([x, x * 2], 1), np.concatenate([a, a * 2], 1)),
                (quern.stack([x, -x], -1), np.stack([a, -a], -1))]:
            self.check(got, want)

    def test_basic_indexing_is_numpys(self):
        a = values(7, 5, 6)
        x = quern.Tensor(a)
        keys = [np.s_[0], np.s_[-1], np.s_[1:3], np.s_[::2], np.s_[1:-1:3],
                np.s_[..., 0], np.s_[:, 2], np.s_[None], np.s_[..., None],
                np.s_[1, None, ..., 1:], np.s_[:, None, 3, None], np.s_[5:2],
                np.s_[::-1], np.s_[6:1:-2, ::-1], np.s_[1, 2, 3], np.s_[...],
                np.s_[-3:], np.s_[:100], np.s_[()]]
        for key in keys:
            with self.subTest(key=key):
                if a[key].size:
                    self.check(x[key], a[key])
                else:
                    self.assertEqual(x[key].shape, a[key].shape)
        self.assertEqual(len([row.shape for row in x]), 7)

    def test_gathers_read_at_positions(self):
        a = values(5, 4)
        index = np.array([[4, 0], [-1, 2]])
        self.check(quern.take(quern.Tensor(a), quern.Tensor(index)), a[index])
        self.check(quern.take(quern.Tensor(a), [0, 3], axis=1), a[:, [0, 3]])
        order = np.argsort(a, 1)
        self.check(quern.take_along_axis(quern.Tensor(a), quern.Tensor(order), 1),
                   np.take_along_axis(a, order, 1))
        first, second = quern.split(quern.Tensor(a), [3, 2])
        self.check(first, a[:3])
        self.check(first.sum() + second, a[:3].sum() + a[3:])

    def test_any_entry_of_the_vocabulary_can_be_called(self):
        a = values(3, 4)
        self.check(quern.call("quern.cumulative@1", quern.Tensor(a), axis=1),
                   np.cumsum(a, 1), rtol=1e-4)
        self.check(quern.call("quern.triangle@1", quern.Tensor(a)), np.tril(a))
        self.check(quern.call("quern.one_hot@1", quern.Tensor(np.array([2, 0])),
                              0.0, 1.0, depth=3), np.eye(3)[[2, 0]])
        (tensor,) = quern.call_all("quern.mish@1", quern.Tensor(a))
        self.check(tensor, a * np.tanh(np.log1p(np.exp(a))), rtol=1e-4)

    def test_every_type_goes_and_comes_back(self):
        for dtype in (np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8,
                      np.uint16, np.uint32, np.uint64, np.float16, np.float32,
                      np.float64, ">f4"):
            with self.subTest(dtype=dtype):
                a = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
                back = quern.Tensor(a)[:, ::2].numpy()
                np.testing.assert_array_equal(back, a[:, ::2])
                self.assertEqual(back.dtype, np.dtype(dtype).newbyteorder("<"))

    def test_bf16_is_ml_dtypes_or_its_bits(self):
        bits = np.array([0x3F80, 0x4000, 0xC000], np.uint16)  # 1, 2, -2
        x = quern.from_bits(bits, "bf16")
        self.assertEqual(x.dtype, quern.bf16)
        self.check((x * x).cast("f32"), [1, 4, 4])
        back = (x + 1).numpy()
        self.assertEqual(back.view(np.uint16).tolist(), [0x4000, 0x4040, 0xBF80])

    def test_types_promote_by_the_lattice_that_the_server_has(self):
        arrays = {dtype: np.ones(2, dtype.numpy) for dtype in
                  (quern.bool_, quern.i8, quern.u8, quern.i16, quern.u16,
                   quern.i32, quern.u32, quern.i64, quern.u64, quern.f16,
                   quern.f32, quern.f64)}
        operands = [quern.Tensor(array) for array in arrays.values()]
        operands += [quern.Tensor([2, 3]), quern.Tensor([2.5, 3])]
        outputs = {}
        for i, x in enumerate(operands):
            for j, y in enumerate(operands):
                if (x.dtype, y.dtype) != (quern.bool_, quern.bool_):
                    outputs[f"{i}+{j}"] = x + y
        graph = self.client.submit(outputs)
        for spec, tensor in zip(graph.outputs, outputs.values()):
            self.assertEqual(spec.dtype, tensor.dtype.strong)
        result = self.client.execute(outputs).outputs
        for name, tensor in outputs.items():
            self.assertEqual(result[name].dtype, tensor.dtype.strong.numpy)
        self.assertEqual((operands[5] * 2.5).numpy().tolist(), [2.5, 2.5])
        self.assertEqual((operands[9] * 2.5).numpy().dtype, np.float16)

    def test_constants_need_no_device(self):
        for tensor, want, dtype in [
                (quern.Tensor(3), 3, np.int64),
                (quern.Tensor([1.5, 2]), [1.5, 2], np.float32),
                (quern.stack([1, 2, 3]) * 2 + 0.5, [2.5, 4.5, 6.5], np.float32),
                (quern.Tensor([[True, False]]), [[True, False]], np.bool_),
                (quern.Tensor(np.float16(1.5)) * 2, 3, np.float16),
                (quern.arange(5) * quern.arange(5), [0, 1, 4, 9, 16], np.int64),
                (quern.zeros((2, 2)) + quern.ones((2,)), np.ones((2, 2)),
                 np.float32),
                (quern.Tensor([1, 2], "f64") / 4, [0.25, 0.5], np.float64),
                (quern.Tensor(7) // 2, 3, np.int64),
                (quern.Tensor(-7) / 2, -3.5, np.float32)]:
            self.assertIsNone(tensor.device)
            self.check(tensor, want)
            self.assertEqual(tensor.numpy().dtype, dtype)

    def test_a_value_is_kept_and_realize_makes_an_input_of_it(self):
        x = quern.Tensor(values(3))
        y = x + 1
        self.assertIs(y.numpy(), y.numpy())
        self.assertFalse(y.numpy().flags.writeable)
        z = y * 2
        self.assertIs(z.realize(), z)
        self.assertIn("input", repr(z))
        self.check(z - 1, (values(3) + 1) * 2 - 1)
        a, b = x + 3, x - 3
        quern.realize(a, b)
        self.check(a + b, values(3) * 2)
        self.assertEqual((x - x).sum().item(), 0)
        np.testing.assert_array_equal(np.asarray(y), y.numpy())


if __name__ == "__main__":
    unittest.main()
