#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the coefficients of engine/kernel/transcendental.cc.

Each polynomial is the weighted minimax fit on a grid of Chebyshev points, by
least squares that give the worst points more weight round by round (Lawson,
1961), in 60 digits. The coefficients are then rounded to the type one after
the other, lowest first, and the others are fitted again, so that a later
coefficient makes up for the rounding of an earlier one.

Needs mpmath (gmpy2 makes it faster): pip install mpmath gmpy2
Usage: fit_polynomials.py [NAME...]
"""
import struct
import sys

from mpmath import cos, erf, erfc, expm1, fdot, log, lu_solve, matrix
from mpmath import mp, mpf, pi, sin, sqrt

mp.dps = 60

ROUNDS = 20


def to_f32(x):
    """The nearest f32 (through f64, which is safe for these values)."""
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def to_f64(x):
    return mpf(float(x))


def evaluate(coefficients, powers, x):
    return sum(c * x**p for c, p in zip(coefficients, powers))


def minimax(points, target, weight, powers):
    """(error, coefficients of `powers`) with the least max weight*|error|."""
    count = len(powers)
    rows = [[w * x**p for p in powers] for x, w in zip(points, weight)]
    right = [w * t for t, w in zip(target, weight)]
    emphasis = [mpf(1)] * len(points)
    best = None
    for _ in range(ROUNDS):
        normal = matrix(count, count)
        sums = matrix(count, 1)
        for row, r, e in zip(rows, right, emphasis):
            for i in range(count):
                scaled = e * row[i]
                sums[i] += scaled * r
                for j in range(i, count):
                    normal[i, j] += scaled * row[j]
        for i in range(count):
            for j in range(i):
                normal[i, j] = normal[j, i]
        solution = lu_solve(normal, sums)
        coefficients = [solution[i] for i in range(count)]
        error = [abs(fdot(coefficients, row) - r)
                 for row, r in zip(rows, right)]
        worst = max(error)
        if best is None or worst < best[0]:
            best = (worst, coefficients)
        total = fdot(emphasis, error)
        emphasis = [e * d / total for e, d in zip(emphasis, error)]
    return best


def fit(name, low, high, target, weight, powers, rounded, fixed=()):
    """Fits fixed + sum of c_p x^p to target; prints the c_p."""
    size = 16 * (len(powers) + 1)
    points = [(low + high) / 2 - (high - low) / 2 * cos(pi * i / (size - 1))
              for i in range(size)]
    points = [x for x in points if abs(x) > mpf(10)**-40]
    weights = [abs(weight(x)) for x in points]
    rest = [target(x) - evaluate([c for _, c in fixed], [p for p, _ in fixed],
                                 x) for x in points]
    exact, _ = minimax(points, rest, weights, powers)
    done = []
    for k, power in enumerate(powers):
        _, coefficients = minimax(points, rest, weights, powers[k:])
        c = rounded(coefficients[0])
        done.append(c)
        rest = [t - c * x**power for t, x in zip(rest, points)]
    worst = max(abs(w * t) for w, t in zip(weights, rest))
    print(f"{name}: [{float(low):.4f}, {float(high):.4f}], error "
          f"2^{float(log(worst, 2)):.1f} (unrounded "
          f"2^{float(log(exact, 2)):.1f})")
    for power, c in zip(powers, done):
        print(f"    {float(c).hex()},  // x^{power}")


def split(name, value, bits):
    """Prints `value` as a sum of parts of the given numbers of bits."""
    print(name)
    for count in bits:
        exponent = int(mp.floor(log(abs(value), 2)))
        scale = mpf(2)**(count - 1 - exponent)
        part = mp.nint(value * scale) / scale
        print(f"    {float(part).hex()},")
        value -= part


def words(name, value, first, width, count):
    """Prints the bits of `value` below 2^-first as words, highest first."""
    print(name)
    for i in range(count):
        shifted = mp.floor(value * mpf(2)**(first + width * (i + 1) - 1))
        print(f"    0x{int(shifted) % 2**width:0{width // 4}x},")


def fit_exp2(kind, rounded, degree):
    # 2^x = 1 + x Q(x).
    fit(f"exp2 {kind}", mpf(-0.5), mpf(0.5), lambda x: (mpf(2)**x - 1) / x,
        lambda x: x / mpf(2)**x, list(range(degree)), rounded)


def fit_log2(kind, rounded, degree):
    # log2(1 + x) = x log2(e) + x^2 Q(x).
    def target(x):
        return (log(1 + x, 2) - x / log(2)) / x**2

    fit(f"log2 {kind}", sqrt(mpf(0.5)) - 1, sqrt(mpf(2)) - 1, target,
        lambda x: x**2 / log(1 + x, 2), list(range(degree - 1)), rounded)


def fit_sin(kind, rounded, terms):
    # sin(x) = x + x^3 Q(x^2), fitted in y = x^2.
    def target(y):
        return (sin(sqrt(y)) / sqrt(y) - 1) / y

    fit(f"sin {kind}", mpf(10)**-30, (pi / 4 * mpf("1.0001"))**2, target,
        lambda y: y * sqrt(y) / sin(sqrt(y)), list(range(terms)), rounded)


def fit_cos(kind, rounded, terms):
    # cos(x) = 1 + x^2 Q(x^2), fitted in y = x^2; the first term is -1/2.
    def target(y):
        return (cos(sqrt(y)) - 1) / y

    fit(f"cos {kind}", mpf(10)**-30, (pi / 4 * mpf("1.0001"))**2, target,
        lambda y: y / cos(sqrt(y)), list(range(1, terms)), rounded,
        [(0, mpf(-0.5))])


def fit_tanh(kind, rounded, degree):
    # (e^2x - 1) / 2 = x + x^2 Q(x) where 2 x / log(2) is in [-0.01, 0.99].
    unit = log(mpf(2)) / 2
    fit(f"tanh {kind}", -unit * mpf("0.011"), unit * mpf("0.991"),
        lambda x: (expm1(2 * x) / 2 - x) / x**2,
        lambda x: 2 * x**2 / expm1(2 * x), list(range(degree - 1)), rounded)


def fit_erf_small(kind, rounded, limit, terms):
    # erf(x) = x + x Q(x^2), fitted in y = x^2.
    fit(f"erf small {kind}", mpf(10)**-30, mpf(limit)**2,
        lambda y: erf(sqrt(y)) / sqrt(y) - 1,
        lambda y: sqrt(y) / erf(sqrt(y)), list(range(terms)), rounded)


def fit_erf_large(kind, rounded, low, high, degree):
    # log2(1 - erf(x)) = Q(x); what counts is the error of erf.
    fit(f"erf large {kind}", mpf(low), mpf(high),
        lambda x: log(erfc(x), 2),
        lambda x: erfc(x) * log(mpf(2)) / erf(x), list(range(degree + 1)),
        rounded)


FITS = {
    "exp2_f32": lambda: fit_exp2("f32", to_f32, 6),
    "exp2_f64": lambda: fit_exp2("f64", to_f64, 11),
    "log2_f32": lambda: fit_log2("f32", to_f32, 10),
    "log2_f64": lambda: fit_log2("f64", to_f64, 21),
    "sin_f32": lambda: fit_sin("f32", to_f32, 3),
    "sin_f64": lambda: fit_sin("f64", to_f64, 6),
    "cos_f32": lambda: fit_cos("f32", to_f32, 4),
    "cos_f64": lambda: fit_cos("f64", to_f64, 7),
    "tanh_f32": lambda: fit_tanh("f32", to_f32, 7),
    "tanh_f64": lambda: fit_tanh("f64", to_f64, 12),
    "erf_small_f32": lambda: fit_erf_small("f32", to_f32, 0.875, 6),
    "erf_small_f64": lambda: fit_erf_small("f64", to_f64, 1, 12),
    "erf_large_f32": lambda: fit_erf_large("f32", to_f32, 0.875, 4, 6),
    "erf_large_f64": lambda: fit_erf_large("f64", to_f64, 1, 6, 17),
    "parts": lambda: (split("log2(e) f32", 1 / log(mpf(2)), [24, 24]),
                      split("log2(e) f64", 1 / log(mpf(2)), [53, 53]),
                      split("log(2)/2 f32", log(mpf(2)) / 2, [17, 24]),
                      split("log(2)/2 f64", log(mpf(2)) / 2, [44, 53]),
                      split("pi/2 f32", pi / 2, [24, 24, 24]),
                      split("pi/2 f64", pi / 2, [53, 53, 53]),
                      split("pi/2 f32, short", pi / 2, [12, 12, 12, 24]),
                      split("pi/2 f64, short", pi / 2, [33, 33, 33, 53])),
    "words": lambda: (words("1/pi f32", 1 / pi, -22, 64, 4),
                      words("1/pi f64", 1 / pi, -51, 64, 19)),
}

if __name__ == "__main__":
    for fit_name in sys.argv[1:] or FITS:
        mp.dps = 400 if fit_name == "words" else 60
        FITS[fit_name]()
