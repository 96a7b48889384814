#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks names, licence lines, lists in CMake, links, and forbidden texts."""

import pathlib
import re
import sys

import tree

CODE = (".h", ".cc", ".inc", ".mm", ".proto", ".py", ".sh", "CMakeLists.txt",
        ".cmake")
LICENCE = "SPDX-License-Identifier: Apache-2.0"
# Names that say nothing about what a thing is.
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "misc",
               "manager"}
ALLOWED_FOLDERS = ("backends/common/",)
CLASS = re.compile(r"^\s*(?:class|struct)\s+(?:\[\[\w+\]\]\s+|[A-Z_]+\s+)?"
                   r"(\w+)", re.MULTILINE)
CMAKE_LIST = re.compile(r"\b(HEADERS|SOURCES|PROTOS)\s+([^)A-Z]+)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
# Where a text may not stand: pattern, folders, folders left out, reason.
FORBIDDEN = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b"), ("",), (),
     "unfinished work belongs into an issue"),
    (re.compile(r"\bgetenv\s*\("), ("engine/", "backends/", "server/"),
     ("server/config.cc",), "only server/config.cc reads the environment"),
    (re.compile(r'==\s*"(cpu|cuda|metal|ref|vulkan)"'),
     ("engine/graph/", "engine/schedule/", "engine/kernel/"), (),
     "a pass reads the target, never a backend's name"),
]


def check_name(name: str) -> list[str]:
    rest = name
    for folder in ALLOWED_FOLDERS:
        rest = rest.removeprefix(folder)
    words = set(re.split(r"[/._-]", rest.lower())) & EMPTY_WORDS
    return [f"{name}: a name without meaning: {word}" for word in sorted(words)]


def check_licence(name: str, text: str) -> list[str]:
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    if lines and LICENCE in lines[0]:
        return []
    return [f"{name}:1: expected the line {LICENCE}"]


def check_classes(name: str, text: str) -> list[str]:
    problems = []
    for match in CLASS.finditer(text):
        words = re.findall(r"[A-Z][a-z0-9]*", match.group(1))
        for word in words:
            if word.lower() in EMPTY_WORDS:
                problems.append(f"{name}: a class name without meaning: "
                                f"{match.group(1)}")
    return problems


def check_cmake(name: str, text: str) -> list[str]:
    problems = []
    for kind, words in CMAKE_LIST.findall(text):
        items = [w for w in words.split() if "$" not in w]
        if items != sorted(items):
            problems.append(f"{name}: {kind} is not sorted: {' '.join(items)}")
    if re.search(r"\bfile\s*\(\s*GLOB|\bFetchContent", text):
        problems.append(f"{name}: no globs and no FetchContent")
    return problems


def check_links(name: str, text: str, root: pathlib.Path) -> list[str]:
    folder = (root / name).parent
    return [f"{name}: broken link: {target}" for target in LINK.findall(text)
            if not (folder / target).exists()]


def check_forbidden(name: str, text: str) -> list[str]:
    problems = []
    for pattern, folders, left_out, reason in FORBIDDEN:
        if not name.startswith(folders) or name in left_out:
            continue
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{name}:{line}: {match.group(0)}: {reason}")
    return problems


def main() -> int:
    names = tree.files(*CODE, ".md")
    problems = []
    for name in names:
        text = (tree.ROOT / name).read_text()
        problems += check_name(name)
        problems += check_forbidden(name, text)
        if name.endswith(".md"):
            problems += check_links(name, text, tree.ROOT)
            continue
        problems += check_licence(name, text)
        if name.endswith((".h", ".cc")):
            problems += check_classes(name, text)
        if name.endswith("CMakeLists.txt"):
            problems += check_cmake(name, text)
    return tree.finish(problems, len(names), "tree")


if __name__ == "__main__":
    sys.exit(main())
