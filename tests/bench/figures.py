# SPDX-License-Identifier: Apache-2.0
"""What benchmarks say about times: figures, ratios, tables. No clock here."""

import html
import math
import statistics
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def cv(values: Sequence[float]) -> float:
    """The coefficient of variation: standard deviation over mean."""
    return statistics.pstdev(values) / statistics.fmean(values)


def trimmed(values: Sequence[float], share: float) -> list[float]:
    """All but the greatest values, of which at most `share` are left out."""
    return sorted(values)[:len(values) - math.floor(share * len(values))]


def summary(rounds: Sequence[Sequence[float]], scale: float) -> dict:
    """The figures of all samples of all rounds, each times `scale`."""
    values = [value * scale for samples in rounds for value in samples]
    return {"samples": len(values),
            "median": statistics.median(values),
            "mean": statistics.fmean(values),
            "cv": cv(values),
            "p99": quantile(values, 0.99),
            "min": min(values),
            "round_medians": [statistics.median(samples) * scale
                              for samples in rounds]}


def ratios(numerators: Sequence[Sequence[float]],
           denominators: Sequence[Sequence[float]]) -> dict:
    """Ratios of the medians round by round: their median and their spread.

    Both sides of a ratio ran within the same second or two, so that what slows
    the machine for a while slows both.
    """
    each = [statistics.median(above) / statistics.median(below)
            for above, below in zip(numerators, denominators, strict=True)]
    return {"median": statistics.median(each),
            "min": min(each), "max": max(each), "rounds": each}


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def spread(ratio: dict) -> str:
    """A ratio for people: 1.02 (0.98 to 1.10)."""
    return (f"{number(ratio['median'])} ({number(ratio['min'])} to "
            f"{number(ratio['max'])})")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column is text, the others numbers."""
    ruler = ["---"] + ["---:"] * (len(header) - 1)
    return "".join("| " + " | ".join(line) + " |\n"
                   for line in [header, ruler, *rows])


def bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float]]]]
         ) -> str:
    """A picture (SVG) of groups of horizontal bars, each with its name."""
    colours = ["#33658a", "#f6ae2d", "#f26419", "#86bbd8"]
    height, left, width = 16, 130, 480
    longest = max((value for _, group_bars in groups
                   for _, value in group_bars), default=1)
    parts, y = [], 36
    for group, group_bars in groups:
        parts.append(f'<text x="{left - 8}" y="{y + 12}" '
                     f'text-anchor="end">{html.escape(group)}</text>')
        for i, (name, value) in enumerate(group_bars):
            length = value / longest * width
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length:.1f}" '
                f'height="{height - 2}" fill="{colours[i % len(colours)]}"/>'
                f'<text x="{left + length + 4:.1f}" y="{y + 12}">'
                f'{html.escape(name)} {number(value)}</text>')
            y += height
        y += height // 2
    return (f'<svg xmlns="http://www.w3.org/2000/svg" '
            f'width="{left + width + 150}" height="{y}" '
            f'font-family="sans-serif" font-size="12">'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<text x="8" y="20" font-weight="bold">'
            f'{html.escape(title)}</text>'
            + "".join(parts) + "</svg>\n")
