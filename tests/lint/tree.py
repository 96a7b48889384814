# SPDX-License-Identifier: Apache-2.0
"""The files that lints look at."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", "build", "node_modules"}


def files(*suffixes: str) -> list[str]:
    """Paths from the root of the files with one of the suffixes, sorted.

    What git ignores is left out; without git, the folders in SKIPPED are.
    """
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
    else:
        names = []
        for folder, subfolders, found in os.walk(ROOT):
            subfolders[:] = [s for s in subfolders if s not in SKIPPED]
            names += [os.path.relpath(os.path.join(folder, f), ROOT)
                      for f in found]
    return sorted(n for n in set(names)
                  if n.endswith(suffixes) and (ROOT / n).is_file())


def finish(problems: list[str], checked: int, what: str) -> int:
    """Prints the problems and returns the exit status."""
    for problem in problems:
        print(problem)
    print(f"{what}: {checked} checked, {len(problems)} problems")
    return 1 if problems or not checked else 0
