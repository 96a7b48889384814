#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the formatting of C++ files with clang-format 14.

Tables (.inc) are aligned by hand.
"""

import concurrent.futures
import os
import subprocess
import sys

import tree

BATCH = 16


def check(names: list[str]) -> list[str]:
    """One line for the first violation of each file."""
    command = ["clang-format-14", "--dry-run", "-Werror", "--ferror-limit=1"]
    result = subprocess.run(command + names, cwd=tree.ROOT,
                            capture_output=True, text=True)
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    if result.returncode and not lines:
        return [result.stderr.strip()]
    return lines


def main() -> int:
    names = tree.files(".h", ".cc")
    batches = [names[i:i + BATCH] for i in range(0, len(names), BATCH)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [p for found in pool.map(check, batches) for p in found]
    return tree.finish(problems, len(names), "format")


if __name__ == "__main__":
    sys.exit(main())
