#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the direction of includes against the table layers.txt."""

import pathlib
import re
import sys
from typing import NamedTuple

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
OURS = ("backends/", "clients/", "engine/", "proto/", "server/", "tests/")
# Folders of the operating system and the standard library.
SYSTEM = {"arpa", "asm", "linux", "net", "netinet", "sys"}


class Layer(NamedTuple):
    prefix: str
    own: list[str]
    others: list[str]


def read_layers(text: str) -> list[Layer]:
    rows = [line for line in text.splitlines()
            if line.strip() and not line.startswith("#")]
    layers = []
    for row in rows:
        prefix, own, others = (part.strip() for part in row.split(":"))
        layers.append(Layer(prefix, own.split(), others.split()))
    return layers


def check_file(layers: list[Layer], name: str, text: str) -> list[str]:
    """The includes of file `name` that its layer does not allow."""
    rows = [layer for layer in layers if name.startswith(layer.prefix)]
    if not rows:
        return [f"{name}: no row of layers.txt covers this file"]
    layer = max(rows, key=lambda row: len(row.prefix))
    problems = []
    for match in INCLUDE.finditer(text):
        quote, path = match.groups()
        line = text.count("\n", 0, match.start(1)) + 1
        if path.startswith(OURS):
            allowed = path.startswith(tuple(layer.own))
        elif quote == '"' and "/" not in path:
            problems.append(f'{name}:{line}: "{path}" is not a path from the '
                            "root")
            continue
        elif "/" not in path:
            continue
        else:
            folder = path.split("/")[0]
            allowed = (folder in SYSTEM or folder in layer.others
                       or "*" in layer.others)
        if not allowed:
            problems.append(f"{name}:{line}: {layer.prefix} may not include "
                            f"{path}")
    return problems


def main() -> int:
    table = pathlib.Path(__file__).with_name("layers.txt").read_text()
    layers = read_layers(table)
    names = [n for n in tree.files(".h", ".cc", ".inc", ".mm")
             if n.startswith(OURS)]
    problems = []
    for name in names:
        problems += check_file(layers, name, (tree.ROOT / name).read_text())
    return tree.finish(problems, len(names), "layers")


if __name__ == "__main__":
    sys.exit(main())
