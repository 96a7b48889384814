# SPDX-License-Identifier: Apache-2.0
"""What the floors need beside models that take turns with their peers."""

import contextlib
import pathlib
import statistics
import subprocess
import tempfile
from collections.abc import Iterator

import compare
import models
import turns

# What is done to a graph before its kernels are made one by one, without the
# checks of each pass.
GRAPH_PASSES = ("validate", "import", "simplify", "fuse", "rangeify",
                "memory_plan")
LOADS = 5
REQUEST_SECONDS = 2


def runner(model: models.Model, threads: int, *flags: object) -> turns.Runner:
    return turns.Runner([compare.PROGRAMS / "peers-runner", "--model",
                         model.path, "--inputs", model.inputs, "--threads",
                         threads, *flags])


def loaded(model: models.Model, threads: int, cache: str) -> dict:
    started = runner(model, threads, "--cache", cache)
    started.close()
    return started.introduction


def load(model: models.Model, options) -> dict:
    """Loads, each in a new process: with an empty cache of kernels and, less
    the time to read the file, with the one that the first load left."""
    cold, cached = [], []
    for _ in range(LOADS):
        with tempfile.TemporaryDirectory(prefix="quern-bench-") as cache:
            cold.append(loaded(model, options.threads, cache))
            cached.append(loaded(model, options.threads, cache))
            if cached[-1]["compiled"] > 0:
                raise turns.RunnerError(
                    f"the second load compiled {cached[-1]['compiled']} "
                    "kernels, expected none")
    return {"name": model.name, "cold": cold, "cached": cached,
            "cold_ms": [each["load_ms"] for each in cold],
            "cached_ms": [each["load_ms"] - each["read_ms"]
                          for each in cached],
            "passes_ms": [sum(ms for name, ms in each["pass_ms"]
                              if name in GRAPH_PASSES)
                          for each in (*cold, *cached)]}


def cost_of_statistics(model: models.Model, options) -> dict:
    """How much longer runs take, round by round, when launches are timed."""
    with contextlib.ExitStack() as stack:
        both = {}
        for name, flags in (("on", ()), ("off", ("--no-statistics",))):
            both[name] = runner(model, options.threads, *flags)
            stack.callback(both[name].close)
        times = turns.take(both, 2 * options.rounds, options.seconds)
    return {"name": model.name,
            "cost": [statistics.median(on) / statistics.median(off) - 1
                     for on, off in zip(times["on"], times["off"],
                                        strict=True)]}


@contextlib.contextmanager
def daemon(repository: pathlib.Path, threads: int
           ) -> Iterator[tuple[int, str]]:
    """quernd on the models of a folder: its process and its gRPC address."""
    process = subprocess.Popen(
        [str(word) for word in (
            compare.PROGRAMS / "quernd", "--model-repository", repository,
            "--cache-dir", repository.parent / "cache", "--threads", threads,
            "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0",
            "--metrics-address", "127.0.0.1:0", "--log-level", "warning")],
        stdout=subprocess.PIPE, text=True)
    try:
        words = [word.partition("=")
                 for word in process.stdout.readline().split()]
        address = next((value for name, _, value in words if name == "grpc"),
                       None)
        if address is None:
            raise turns.RunnerError("quernd is not ready")
        yield process.pid, address
    finally:
        process.terminate()
        process.wait(timeout=60)


def status_bytes(pid: int, field: str) -> int:
    """A size in /proc/PID/status."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines
                if line.startswith(f"{field}:"))


def resident_bytes(pid: int) -> int:
    """Of a process, and what those that it started have for themselves: of
    files they map the same."""
    listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return status_bytes(pid, "VmRSS") + sum(
        status_bytes(int(child), "RssAnon") for child in listed.split())


def rss(model: models.Model, options) -> dict:
    """Memory of a daemon that has answered requests for the model, one for each
    thread at a time, and of its compilers, less the size of the model's file.
    """
    value = models.read_inputs(model.inputs)[0]
    with tempfile.TemporaryDirectory(prefix="quern-bench-") as work:
        folder = pathlib.Path(work) / "models" / model.name / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").symlink_to(model.path.resolve())
        with daemon(folder.parents[1], options.threads) as (pid, address):
            subprocess.run(
                [compare.PROGRAMS / "serving-client", "--address", address,
                 "--model", model.name, "--input", value["name"], "--shape",
                 ",".join(map(str, value["dims"])), "--data",
                 model.inputs / value["file"], "--clients",
                 str(options.threads), "--seconds", str(REQUEST_SECONDS)], check=True, stdout=subprocess.DEVNULL)
            resident = resident_bytes(pid)
    above = resident - model.path.stat().st_size
    return {"name": model.name, "resident_bytes": resident,
            "above_weights_mb": [above * 1e-6]}


PROBES = {"load": load, "statistics": cost_of_statistics, "rss": rss}
