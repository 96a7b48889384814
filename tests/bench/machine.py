# SPDX-License-Identifier: Apache-2.0
"""Which machine and which commit a result is from."""

import os
import pathlib
import platform
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
# The greatest that a CPU has gives its results their name.
LEVELS = (("amx_tile", "amx"), ("avx512f", "avx512"), ("avx2", "avx2"))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_facts(cpuinfo: str) -> dict[str, str]:
    """The first CPU in the text of /proc/cpuinfo."""
    lines = cpuinfo.split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_id(facts: dict[str, str], core_count: int) -> str:
    """A name for files: vendor, family, model, vectors and cores."""
    flags = facts.get("flags", "").split()
    level = next((name for flag, name in LEVELS if flag in flags), "baseline")
    if "vendor_id" not in facts:
        return f"{platform.machine()}-{core_count}cores"
    vendor = VENDORS.get(facts["vendor_id"], facts["vendor_id"].lower())
    return (f"{vendor}-family{facts.get('cpu family')}-"
            f"model{facts.get('model')}-{level}-{core_count}cores")


def command(name: str, arguments: list[str]) -> str:
    """What was run, for others: of folders elsewhere only the name is kept."""
    words = []
    for argument in arguments:
        flag, equals, value = argument.rpartition("=")
        path = pathlib.PurePath(value)
        if path.is_absolute():
            value = (str(path.relative_to(ROOT)) if path.is_relative_to(ROOT)
                     else f".../{path.name}")
        words.append(flag + equals + value)
    return " ".join(["./dev bench", name, shlex.join(words)]).rstrip()


def commit() -> str:
    """The commit of the checkout, with a + if files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--exclude=*",
         "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return described.stdout.strip() or "unknown"


def describe() -> dict:
    facts = cpu_facts(pathlib.Path("/proc/cpuinfo").read_text())
    return {"id": cpu_id(facts, cores()),
            "cpu": facts.get("model name", platform.machine()),
            "features": facts.get("flags", facts.get("Features", "")),
            "cores": cores(),
            "system": platform.platform(),
            "commit": commit()}
