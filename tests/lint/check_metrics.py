#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that metrics named in documents, the dashboard and alerts exist.

The table engine/telemetry/metrics.inc says which there are, and which labels
each of them has.
"""

import json
import re
import sys

import tree

ROW = re.compile(r'^QUERN_METRIC\(\w+,\s*"(\w+)",\s*(\w+),\s*"[^"]*",\s*'
                 r'"([^"]*)"', re.MULTILINE)
NAME = re.compile(r"\b((?:quern|nv)_[a-z0-9_]+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")
# What Prometheus puts on every series.
SCRAPED = {"instance", "job"}
# Other names that documents may mention: functions in CMake, parameters of
# requests and responses.
OTHERS = {"quern_library", "quern_test", "quern_timing", "quern_kernels",
          "quern_queue_ns", "quern_input_ns", "quern_execute_ns",
          "quern_output_ns"}


def read_metrics(text: str) -> dict[str, set[str]]:
    """Labels by the name of a series, from the table's text."""
    series = {}
    for name, kind, labels in ROW.findall(text):
        own = SCRAPED | {label for label in labels.split(",") if label}
        if kind == "kHistogram":
            series[f"{name}_bucket"] = own | {"le"}
            series[f"{name}_count"] = series[f"{name}_sum"] = own
        series[name] = own
    return series


def check_text(series: dict[str, set[str]], text: str) -> list[str]:
    """What is wrong with the metrics and labels that a text names."""
    problems = []
    for name, selector in NAME.findall(text):
        if name.endswith("_"):  # As in quern_kernel_*.
            if not any(known.startswith(name) for known in series):
                problems.append(f"no metric begins with {name}")
        elif name not in series:
            if name not in OTHERS:
                problems.append(f"no such metric: {name}")
        else:
            problems += [f"{name} has no label {label}"
                         for label in LABEL.findall(selector)
                         if label not in series[name]]
    every = {"le"}.union(*series.values())
    for labels in GROUPING.findall(text):
        problems += [f"no metric has the label {label.strip()}"
                     for label in labels.split(",")
                     if label.strip() and label.strip() not in every]
    return problems


def strings(value) -> list[str]:
    """The texts in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def check_file(series: dict[str, set[str]], name: str) -> list[str]:
    text = (tree.ROOT / name).read_text()
    if name.endswith(".json"):
        text = "\n".join(strings(json.loads(text)))
    elif name.endswith(".md"):
        # Prose may say "by (..)" too; only the names count.
        text = "\n".join(f"{found}{{{selector}}}"
                         for found, selector in NAME.findall(text))
    else:
        text = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    return [f"{name}: {problem}" for problem in check_text(series, text)]


def main() -> int:
    table = tree.ROOT / "engine/telemetry/metrics.inc"
    series = read_metrics(table.read_text())
    names = tree.files(".md") + [
        name for name in tree.files(".json", ".yml")
        if name.startswith("deploy/observability/")]
    problems = [p for name in names for p in check_file(series, name)]
    if not series:
        problems.append(f"{table}: no rows were understood")
    return tree.finish(problems, len(names), "metrics")


if __name__ == "__main__":
    sys.exit(main())
