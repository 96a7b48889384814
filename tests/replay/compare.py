#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what two versions of the compiler made of one corpus.

compare.py BASE HEAD: two folders that quern-replay wrote. Prints which texts
differ, how the kernels' estimates moved, and the first of the differences; ends
with 0 if there are none, with 1 if there are.
"""

import collections
import csv
import pathlib
import subprocess
import sys

NUMBERS = ("share_of_peak", "operations", "live_vectors")
MOST_ROWS = 40
MOST_LINES = 120


def texts(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    return {str(path.relative_to(folder)): path
            for path in sorted(folder.glob("*/*.txt"))}


def kernels(folder: pathlib.Path) -> dict[tuple, dict]:
    with open(folder / "kernels.tsv", newline="") as file:
        return {(row["level"], row["subject"], row["kernel"]): row
                for row in csv.DictReader(file, delimiter="\t")}


def differing(base: pathlib.Path, head: pathlib.Path) -> list[str]:
    """What is there in both and is not equal."""
    a, b = texts(base), texts(head)
    return [name for name in a.keys() & b.keys()
            if a[name].read_bytes() != b[name].read_bytes()]


def only_in(base: pathlib.Path, head: pathlib.Path) -> list[str]:
    return sorted(texts(base).keys() - texts(head).keys())


def moved(base: dict[tuple, dict], head: dict[tuple, dict]) -> list[str]:
    """A line for each kernel whose schedule or estimates are others."""
    lines = []
    for key in sorted(base.keys() & head.keys()):
        old, new = base[key], head[key]
        changes = [f"{name} {old[name]} -> {new[name]}" for name in NUMBERS
                   if old[name] != new[name]]
        if old["schedule"] != new["schedule"]:
            changes.append(f"[{old['schedule']}] -> [{new['schedule']}]")
        if changes:
            lines.append(f"  {' '.join(key)}: {', '.join(changes)}")
    return lines


def print_some(title: str, lines: list[str], most: int) -> None:
    if not lines:
        return
    print(f"{title}: {len(lines)}")
    for line in lines[:most]:
        print(line)
    if len(lines) > most:
        print(f"  and {len(lines) - most} more")


def compare(base: pathlib.Path, head: pathlib.Path) -> bool:
    """True if the folders hold the same; says how they differ."""
    changed = sorted(differing(base, head))
    gone, new = only_in(base, head), only_in(head, base)
    old_kernels, new_kernels = kernels(base), kernels(head)
    by_level = collections.Counter(pathlib.Path(n).parts[0] for n in changed)
    print(f"replay: {len(texts(head))} texts with {len(new_kernels)} kernels, "
          f"{len(changed)} differ" + "".join(
              f", {n} of {level}" for level, n in sorted(by_level.items())))
    print_some("no longer there", [f"  {n}" for n in gone], MOST_ROWS)
    print_some("new", [f"  {n}" for n in new], MOST_ROWS)
    print_some("kernels whose estimates moved",
               moved(old_kernels, new_kernels), MOST_ROWS)
    lines = []
    for name in changed:
        if len(lines) > MOST_LINES:
            break
        lines += subprocess.run(
            ["diff", "-u", base / name, head / name],
            stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    print_some("lines of the first differences", lines, MOST_LINES)
    return not (changed or gone or new)


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: compare.py BASE HEAD", file=sys.stderr)
        return 2
    base, head = (pathlib.Path(argument) for argument in sys.argv[1:])
    return 0 if compare(base, head) else 1


if __name__ == "__main__":
    sys.exit(main())
