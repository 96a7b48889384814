# SPDX-License-Identifier: Apache-2.0
"""Pairs of shapes: an odd one, and the round one next to it."""

import dataclasses
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "peers"))
from operations import Operation, conv, gemv

# What the odd shape may lose of the round one's efficiency.
LEAST_SHARE = 0.85


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two operations, and what bounds them: "flop" or "bytes"."""
    odd: Operation
    round: Operation
    bound: str = "flop"

    def work(self, operation: Operation) -> float:
        work = operation.work()
        return work["flop"] if self.bound == "flop" else (
            work["read_bytes"] + work["written_bytes"])

    def share(self, odd_seconds: float, round_seconds: float) -> float:
        """The efficiency of the odd one as a part of the round one's."""
        return (self.work(self.odd) / odd_seconds /
                (self.work(self.round) / round_seconds))


def product(rows: int, inner: int, columns: int) -> Operation:
    """A matrix product with weights."""
    return Operation(f"mm_{rows}_{inner}_{columns}", "odd", "MatMul",
                     {"x": (rows, inner)}, {"w": (inner, columns)},
                     (rows, columns), 2 * rows * inner * columns)


def pairs() -> list[Pair]:
    # Prime sizes.
    found = [Pair(product(*odd), product(*near)) for odd, near in (
        ((127, 509, 509), (128, 512, 512)), ((131, 521, 523), (128, 512, 512)),
        ((257, 1021, 1031), (256, 1024, 1024)))]
    # One to seven rows, which read the weights at the speed of memory.
    found += [Pair(gemv(rows, 4093), gemv(rows, 4096), "bytes")
              for rows in range(1, 8)]
    # Odd channels, odd images, both.
    found += [Pair(conv(*odd, kernel), conv(*near, kernel))
              for kernel in (1, 3) for odd, near in (
                  ((61, 67, 56), (64, 64, 56)), ((64, 64, 55), (64, 64, 56)),
                  ((131, 127, 27), (128, 128, 28)),
                  ((257, 251, 15), (256, 256, 14)))]
    # Batches up to 33.
    found += [Pair(conv(32, 32, 28, 3, batch=odd),
                   conv(32, 32, 28, 3, batch=near))
              for odd, near in ((1, 2), (3, 4), (5, 4), (7, 8), (17, 16),
                                (33, 32))]
    found += [Pair(product(batch, 1024, 1024), product(near, 1024, 1024))
              for batch, near in ((9, 8), (17, 16), (33, 32))]
    return found
