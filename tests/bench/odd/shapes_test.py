#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pairs hold what they are there for.

Runs itself in an environment of the end-to-end tests where this Python has no
onnx, and ends with 77 where there is none.
"""

import importlib.util
import math
import os
import pathlib
import sys
import unittest

if importlib.util.find_spec("onnx") is None:
    python = pathlib.Path(__file__).resolve().parents[3] / (
        ".venv/python/bin/python")
    if sys.executable == str(python) or not python.exists():
        print(f"[SKIP] there is no onnx here, and no {python}")
        sys.exit(77)
    os.execv(python, [str(python), *sys.argv])

import shapes


class Shapes(unittest.TestCase):

    def setUp(self):
        self.pairs = shapes.pairs()

    def odd(self, op: str) -> list:
        return [pair.odd for pair in self.pairs if pair.odd.op == op]

    def test_neighbours_are_of_nearly_the_same_size(self):
        for pair in self.pairs:
            ratio = pair.work(pair.odd) / pair.work(pair.round)
            self.assertTrue(0.45 < ratio < 1.35, pair)

    def test_one_to_seven_rows(self):
        rows = {tuple(odd.inputs["x"])[0] for odd in self.odd("MatMul")}
        self.assertLessEqual(set(range(1, 8)), rows)

    def test_odd_channels_prime_sizes_and_batches_up_to_33(self):
        convs = [tuple(odd.inputs["x"]) for odd in self.odd("Conv")]
        self.assertTrue(any(x[1] % 2 == 1 for x in convs))
        self.assertTrue(any(x[2] % 2 == 1 for x in convs))
        self.assertEqual({1, 33} & {x[0] for x in convs}, {1, 33})
        self.assertTrue(any(
            all(size > 1 and all(size % d for d in range(2, math.isqrt(size) + 1))
                for size in odd.inputs["x"]) for odd in self.odd("MatMul")))

    def test_share_is_that_of_the_work_in_a_second(self):
        pair = shapes.Pair(shapes.product(8, 8, 8), shapes.product(16, 8, 8))
        self.assertEqual(pair.share(1, 1), 0.5)
        self.assertEqual(pair.share(1, 2), 1)


if __name__ == "__main__":
    unittest.main()
